"""The winning solutions as their own code has them, one file a network, and what training each takes.

A module ends in one or more `parts.Recipe`s, which all have the same functions:

    recipe.settings(collection)    the settings of the networks whose scores are added up: one, but for the sixth
                                   place's xla:default two. Full sizes; `dataclasses.replace` makes smaller ones.
    recipe.fit(graphs)             what features take from train: means, deviations, ranges. `graphs` are
                                   `stages.graphs.dataset.PackedGraph`s, packed as `settings.pruning` says.
    recipe.prepare(graph, fitted)  `parts.Prepared`, whose `inputs(indices)` are a network's inputs for these
                                   configurations of the graph
    recipe.build(settings, fitted) the network, `parts.Network`; `network(inputs)` gives (k,) scores, smaller is faster
    recipe.labels(graph, fitted)   (c,) what the loss compares, in the original's unit and type
    recipe.loss(scores, labels)    of (b, k), b graphs with k configurations each. Where k differs, a step's loss is the
                                   mean of the losses of its graphs, each with b = 1.
    recipe.optimizer(network, settings)

A training step, with `parts.rate(settings, step, steps)` as the factor of the learning rate:

    network.start_step()
    scores = torch.stack([network(inputs) for inputs in batch])
    (recipe.loss(scores, labels) + network.penalty(batch)).backward()
    network.clip(settings)
    optimizer.step()

`node_pairs`, `shortest_paths` and `middle_fusion` have no original to be read: they follow what is told of the
fourth, the ninth and the tenth place, and say what it leaves open.

`gst_paper` trains by segments: `network.segment_scores(inputs, segment)`, `Table` and `estimate` stand in place of
`network(inputs)`. Each module's docstring says what of its original is not here.

`python -m benchmarks.parity` runs the originals' own code beside these networks; its table is reports/parity.csv.
"""
