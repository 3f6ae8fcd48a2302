"""Trains the winners' networks and writes a submission: `python -m stages.studies.recipes NAME --size full|sample`.

solutions.py    which networks make a solution, and what SIZE=sample shrinks
graphs.py       how large a collection's graphs are; packs them as a network's `settings.pruning` says
drawing.py      which graphs and configurations a step takes
trainer.py      one network's training, which goes on where it was
scoring.py      scores of a network, and of several networks together
needs.py        what a run will take, by steps that are measured before it begins
network_run.py  one network, from its graphs to the files that it leaves
run.py          all of it, into DATA/recipes/NAME/SIZE

What is theirs and not here:
- Scores are computed in float32; the first place's and the sixth's were in half precision.
- Valid is looked at only where a look decides which weights are kept or when training ends.
- The data set's own networks are chosen by Kendall's tau of 1,000 configurations a graph, and not by the ordered pairs
  of 16 (layout/train_lib.py) or 10; the fifth place's and the others' last scores of valid are of 1,000 drawn ones.
- An epoch takes each graph once; the second place's lists of files hold a graph many times, so a step may repeat one.
- The sixth place's xla:random starts from the last nlp:random weights, not from early ones; checkpoints are averaged
  over the steps that it names, or over the same share of a shorter training.
"""

#: the solutions that have networks in stages/winners
NAMES = (
    "first-place",
    "second-place",
    "third-place",
    "node-pairs",
    "fifth-place",
    "sixth-place",
    "shortest-paths",
    "middle-fusion",
    "fourteenth-place",
    "gst-paper",
    "official-baseline",
)
SIZES = ("sample", "full")
