"""What the tests of the trees share: small tables, and packed graphs whose ids name families."""

import shutil
from pathlib import Path

import numpy as np

from stages import gbdt
from stages.gbdt.feature_table import FeatureTable
from stages.gbdt.settings import OBJECTIVES, Settings
from stages.prune import stage as prune
from stages.scoring import scores
from tests.support.samples import write_root

NAMES = ["copies", "inversions", "program_nodes"]


def table(values, target=None, id="bert_0", split="train"):
    values = np.asarray(values, np.float64)
    target = np.arange(len(values)) if target is None else np.asarray(target, np.float64)
    return FeatureTable(id, split, NAMES, values, target, np.arange(len(values)))


def learnable(seed, rows=30, id="bert_0"):
    """Slow where there are many copies; inversions are noise."""
    rng = np.random.default_rng(seed)
    values = np.stack([rng.integers(0, 20, rows), rng.integers(0, 5, rows), np.full(rows, seed)], axis=1)
    return table(values, 100 * values[:, 0] + rng.integers(0, 30, rows), id)


#: The knobs that a test does not name: they stay, whatever params.yaml has.
DEFAULTS = {
    "seeds": 3,
    "folds": 5,
    "objectives": list(OBJECTIVES),
    "searched": False,
    "trees": 300,
    "leaves": 18,
    "learning_rate": 0.1,
    "min_leaf": 50,
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "patience": 25,
    "configurations": 1000,
    "pairs": 150,
    "opponents": 40,
}


def settings(**changes):
    return Settings(**DEFAULTS | changes)


def run(*, collection, data, **changes):
    """The stage with `DEFAULTS`, and `changes` over them."""
    return gbdt.run(collection=collection, knobs=DEFAULTS | changes, data=data)


KNOBS = settings(seeds=1, trees=30, min_leaf=3, learning_rate=0.3, feature_fraction=1.0, pairs=100, patience=5)


LAYOUT, TILE = "layout:xla:random", "tile:xla"


QUICK = {"seeds": 2, "folds": 3, "trees": 12, "learning_rate": 0.3, "patience": 4, "min_leaf": 8, "pairs": 60}


FAMILIES = ("bert", "resnet", "unet", "vgg")


def packed(path, change=None, families=FAMILIES, collections=(LAYOUT, TILE), **graphs):
    """Packed graphs whose ids name families; `change` turns a file's arrays into others, by its id."""
    root = write_root(path, {"train": 6, "valid": 4, "test": 2} | graphs, configurations=20)
    for file in sorted(root.rglob("*.npz")):
        split, number = file.stem.split("_")
        named = file.with_name(f"{families[int(number) % len(families)]}{number}_{split}.npz")
        file.rename(named)
        if change:
            with np.load(named, allow_pickle=False) as arrays:
                changed = change(dict(arrays), named.stem)
            np.savez(named, **changed)
    for collection in collections:
        prune.run(collection=collection, root=str(root), data=str(path))
    return str(path)


def files(data, collection=LAYOUT):
    folder = Path(data, "gbdt", collection.replace(":", "-"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def scored(data, collection=LAYOUT):
    return scores.read(Path(data, "gbdt", collection.replace(":", "-"), "scores.parquet"))


def forget(data):
    """Removes what was trained, so that the next run trains again."""
    shutil.rmtree(Path(data, "trained"), ignore_errors=True)
