"""The originals' own code beside our networks: `python -m benchmarks.parity FOLDER [--real TPUGRAPHS_DIR]`.

reports/parity.csv was made by

    python -m benchmarks.parity FOLDER --real TPUGRAPHS_DIR --wide --torch PYTHON --tensorflow PYTHON

some recipes at a time, by --only.

FOLDER holds clones of the originals, a subfolder each; what is missing is named in a line and left out:

    google_fast_or_slow                    github.com/thanhhau097/google_fast_or_slow at 626c463
    kaggle_latenciaga                      github.com/Obs01ete/kaggle_latenciaga at b6b55b1
    kaggle_latenciaga_diff_mat             the same at ca55746
    kaggle_tpu_graph                       github.com/jafluri/kaggle_tpu_graph at c03e864
    kaggle_tpu_graph_tile                  the same at 379e4d5
    kaggle-tpu-graph-5th-place             github.com/knshnb/kaggle-tpu-graph-5th-place at 3f2dfb8
    solution-predict-ai-model-runtime      github.com/hengck23/solution-predict-ai-model-runtime at c9c5194
    kaggle-fast-or-slow                    github.com/mattdeak/kaggle-fast-or-slow at 23b7727
    GST                                    github.com/kaidic/GST at d19f412
    tpu_graphs                             github.com/google-research-datasets/tpu_graphs at ddd187c

TPUGRAPHS_DIR holds npz_all/npz with real files of the data set; without it there is the synthetic graph alone. An
original runs in a process of its own: that of the Python that runs this, or PYTHON, which then needs torch,
torch_geometric, networkx, pandas, scikit-learn and yacs, or TensorFlow 2.15, tensorflow_gnn and tensorflow_ranking.
Other modules that an original imports are stood in for (theirs/exchange.py). Arrays go to and fro in npz files.

A row of the table is what was compared of a recipe on a graph, and the largest absolute difference:

nodes, edges       columns of the nodes that pruning left, and edges among them by their new numbers
duplicates         run times that are left where equal configurations became one, in order
features           columns as the network takes them; configurations: those of tiles, layouts on min-max; opcode; labels
outputs            scores of some configurations, with equal weights
loss, gradients    of these scores; gradients of all weights
step               all weights after a step of the optimiser, clipped; from equal weights
estimate, pushed   of a step by segments: scores with stale ones, and what the table is given

Each is computed in float32, and where the original can in float64 too, which tells rounding from difference: on the
synthetic graph, on the graphs of networks that see few nodes, and with --wide on all. Both networks are given the
original's features, so what follows is theirs alone. A step of Adam divides a gradient by its own size, so that one
which is 0 but for rounding moves a weight as far as any other; steps are compared in float64 but for TensorFlow's.
"""
