"""Whether data.root is the folder that holds npz/, and what it holds of the five collections.

Data sets are copied, renamed and unpacked one folder deeper than meant, and few people have all five collections. What
is wrong is said before anything runs, with the folder that was probably meant.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

from stages.engine.errors import InputError
from stages.graphs.collection import COLLECTIONS, SPLITS, folder, slug

MOST = 10_000  # folders that are looked into for a data set
WANTED = "name the folder that holds npz/ in params.yaml"


def held(root: str | Path) -> list[str]:
    """The collections, by their official names and in their order, that have a folder below `root`."""
    return [name for name in COLLECTIONS if folder(root, name, SPLITS[0]).parent.is_dir()]


def check(root: str | Path, collections: Iterable[str], project: str | Path = ".") -> None:
    """Raises InputError unless files of every split of these collections lie below `root`.

    Its line names the folder that was probably meant, or the collections that are there. A relative `root` is below the
    project's folder, as for the stages.

    Args:
        root: The folder that should hold npz/, as the user gave it.
        collections: Official names.
        project: The project's folder.
    """
    top = Path(project, root)
    if not (top / "npz").is_dir():
        raise InputError(f"data.root: {root} {_fault(Path(root), Path(project))}")
    wanted, there = list(collections), held(top)
    if missing := [slug(name) for name in wanted if name not in there]:
        if not there:
            raise InputError(f"data.root: {root}/npz holds none of the five collections; {WANTED}")
        raise InputError(
            f"data.root: {root} has no {', '.join(missing)}; it has {', '.join(map(slug, there))}: take the lines of "
            "the others out of data.collections in params.yaml, or name another folder"
        )
    for name, split in itertools.product(wanted, SPLITS):
        if next(folder(top, name, split).glob("*.npz"), None) is None:
            raise InputError(
                f"{folder(root, name, split)}: holds no npz file; put the {split} files of {name} there, or take "
                f"{slug(name)} out of data.collections in params.yaml"
            )


def _fault(root: Path, project: Path) -> str:
    """What is wrong with a root without npz/, and what to do."""
    top = project / root
    if not top.is_dir():
        if here := _moved(root, project):
            return f"is not on this machine; {here} is: name that in params.yaml"
        return f"is no folder on this machine; {WANTED}"
    above = [parent for parent in (root, *root.parents) if parent.name == "npz"]
    if not root.is_absolute() and not above:  # as seen from a folder that lies in a data set itself
        above = [parent for parent in (top.resolve(), *top.resolve().parents) if parent.name == "npz"]
    if above:
        return f"lies too deep; name {above[-1].parent} in params.yaml, which holds npz/"
    if inside := [root / path.relative_to(top) for path in _below(top) if (path / "npz").is_dir()]:
        return f"holds no npz/, but {' and '.join(map(str, inside))} does: name that in params.yaml"
    if kinds := sorted({name.split(":")[0] for name in COLLECTIONS if (top / name.split(":")[0]).is_dir()}):
        return f"holds {' and '.join(kinds)} itself; call it npz, and name the folder that holds it in params.yaml"
    return f"holds no npz/; {WANTED}"


def _below(top: Path) -> Iterator[Path]:
    """Folders in a folder, and in these, as far as they can be read; `MOST` at most."""
    return itertools.islice(
        itertools.chain(_folders(top), (sub for path in _folders(top) for sub in _folders(path))), MOST
    )


def _folders(top: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return sorted(path for path in top.iterdir() if path.is_dir())
    return []


def _moved(root: Path, project: Path) -> Path | None:
    """Where a data set lies that another machine has at `root`: by the end of its path, in the project or beside it."""
    parts = root.parts[1:] if root.is_absolute() else root.parts
    for start, base in itertools.product(range(len(parts)), ("", "data", "..")):
        root_here = Path(base, *parts[start:])
        if (project / root_here / "npz").is_dir():
            return root_here
    return None
