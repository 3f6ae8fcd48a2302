"""The five collections of TpuGraphs, their splits and where their files lie."""

from __future__ import annotations

from pathlib import Path

from stages.errors import InputError

COLLECTIONS = ("tile:xla", "layout:xla:random", "layout:xla:default", "layout:nlp:random", "layout:nlp:default")
SPLITS = ("train", "valid", "test")
SUFFIXES = ("_pruned", ".npz", ".pb", ".safetensors")  # what file names of stages and archives end in; no graph id does


def slug(collection: str) -> str:
    """Name of a collection in files, folders and pipeline stages: 'layout:xla:random' is 'layout-xla-random'."""
    return _known(collection).replace(":", "-")


def from_slug(text: str) -> str:
    """Official name of a collection given in either form; InputError lists the five for anything else."""
    return _known(text.replace("-", ":"), text)


def is_tile(collection: str) -> bool:
    """Whether a configuration is the tile size of one kernel, and not the layouts of a whole program."""
    return _known(collection).startswith("tile:")


def folder(root: str | Path, collection: str, split: str) -> Path:
    """Folder of a split's npz files below `root`, the folder that holds `npz/` (params.yaml: data.root)."""
    if split not in SPLITS:
        raise InputError(f"{split!r} is no split: use one of {', '.join(SPLITS)}")
    return Path(root, "npz", *_known(collection).split(":"), split)


def _known(collection: str, given: str | None = None) -> str:
    if collection not in COLLECTIONS:
        raise InputError(f"{(given or collection)!r} is no collection: use one of {', '.join(COLLECTIONS)}")
    return collection
