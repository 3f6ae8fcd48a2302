"""The five collections of TpuGraphs, their splits, and where their files lie."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stages.engine.errors import InputError

COLLECTIONS = ("tile:xla", "layout:xla:random", "layout:xla:default", "layout:nlp:random", "layout:nlp:default")
SPLITS = ("train", "valid", "test")
SUFFIXES = ("_pruned", ".npz", ".pb", ".safetensors")  # what file names of stages and archives end in; no graph id does
LONGEST_NAME = 200  # bytes of a graph id; file systems take 255, and stages add to it


def slug(collection: str) -> str:
    """Name of a collection in files, folders and pipeline stages: 'layout:xla:random' is 'layout-xla-random'."""
    return _checked(collection).replace(":", "-")


def from_slug(text: str) -> str:
    """Official name of a collection given in either form; InputError lists the five for anything else."""
    return _checked(text.replace("-", ":"), text)


def ordered(names: Iterable[str]) -> list[str]:
    """The official names of collections given in either form, each once, in the order of `COLLECTIONS`.

    Raises:
        InputError: there is no name, or one that is none of the five.
    """
    collections = sorted({from_slug(name) for name in names}, key=COLLECTIONS.index)
    if not collections:
        raise InputError(f"collections: the list is empty; give some of {', '.join(COLLECTIONS)}")
    return collections


def is_tile(collection: str) -> bool:
    """Whether a configuration is the tile size of one kernel, and not the layouts of a whole program."""
    return _checked(collection).startswith("tile:")


def folder(root: str | Path, collection: str, split: str) -> Path:
    """Folder of a split's npz files below `root`, the folder that holds `npz/` (params.yaml: data.root)."""
    if split not in SPLITS:
        raise InputError(f"{split!r} is no split: use one of {', '.join(SPLITS)}")
    return Path(root, "npz", *_checked(collection).split(":"), split)


def npz_files(root: str | Path, collection: str, split: str) -> list[Path]:
    """Lists the npz files of a split.

    Args:
        root: The folder that holds `npz/`.
        collection: Official name.
        split: One of `SPLITS`.

    Returns:
        Paths, sorted by graph id.

    Raises:
        InputError: The folder is missing or has no npz file, or a file has a name that is no graph id.
    """
    split_folder = folder(root, collection, split)
    remedy = f"put the {split} files of {collection} there or mend data.root"
    if not split_folder.is_dir():
        raise InputError(f"{split_folder}: no such folder; {remedy}")
    paths = sorted(split_folder.glob("*.npz"), key=lambda path: path.stem)
    for path in paths:
        if fault := name_fault(path.stem):
            name = path.name[:LONGEST_NAME]
            raise InputError(f"{split_folder}: the name {name!r} {fault}; rename the file or remove it")
    if not paths:
        raise InputError(f"{split_folder}: holds no npz file; {remedy}")
    return paths


def name_fault(name: str) -> str | None:
    """Says why a name can be no graph id, which names files of later stages and rows of a CSV.

    Args:
        name: The name of an npz file without its suffix.

    Returns:
        The fault, as the rest of a sentence about the name; None for a good one.
    """
    if not name.isprintable():  # nor is what is not UTF-8 on disk: Python holds it as lone surrogates
        return "has a character that cannot be printed"
    if name.startswith("."):
        return "begins with a dot"
    if suffix := next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None):
        return f"ends in {suffix!r} before .npz, as no graph does"
    if len(name.encode()) > LONGEST_NAME:
        return f"is longer than {LONGEST_NAME} bytes"
    return None


def _checked(collection: str, text: str | None = None) -> str:
    """The collection if it is one of the five; text: how the user wrote it."""
    if collection not in COLLECTIONS:
        raise InputError(f"{(text or collection)!r} is no collection: use one of {', '.join(COLLECTIONS)}")
    return collection
