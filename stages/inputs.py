"""The pipeline's input files, checked before a stage reads them: `python -m stages.inputs`, dvc.yaml's first stage.

DVC compares the dependencies of a stage by content, but dvc.yaml cannot say "the file that this parameter names, if it
names one". So data/inputs/STAGE holds a link to each file that a parameter of the stage names. DVC follows links when
it computes the digest of a folder, so a changed file is a changed dependency. The folders are outputs of this stage,
which therefore runs whenever one of the parameters, or a file behind a link, has changed.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from stages.engine import files, params
from stages.engine.errors import InputError
from stages.graphs import roots
from stages.graphs.collection import COLLECTIONS, SPLITS, folder, is_tile, slug
from stages.runner import failures
from stages.scoring import eval_indices

#: stage -> its parameters that name a file or a folder
NAMED = {"blend": ("eval_indices",), "leaderboard": ("solution", "programs", "sample_submission")}
#: parameters that may be `AUTO`, and the file beside data.root that this stands for
BESIDE = {"solution": "solution.csv", "programs": "programs.csv"}
AUTO = "auto"
PER_COLLECTION = ("prune", "pad", "gnn", "gbdt")  # stages with a folder for each collection, data/STAGE/SLUG
CHECKED = "What params.yaml names is there.\n"  # never changes: it only makes other stages wait for this one
Values = Mapping[str, Mapping[str, object]]  # params.yaml: section -> parameter -> value


def main(project: str | Path = ".") -> int:
    """Checks the inputs, writes data/inputs, and removes outputs of collections that params.yaml no longer lists.

    Returns:
        The exit status: 0, 130 after an interrupt, or 1 after one line on stderr.
    """

    def update() -> None:
        write(project)
        _remove_others(Path(project))

    return failures.exit_status(update)


def write(project: str | Path) -> None:
    """Writes data/inputs for params.yaml, and leaves files that are right already untouched.

    Raises:
        InputError: a collection or a file that params.yaml names is missing.
    """
    project = Path(project).resolve()
    values = params.read(project / "params.yaml")
    chosen = collections(values)
    roots.check(_root(values), chosen, project)
    contents = {stage: _content(project, values, stage, chosen) for stage in NAMED}
    inputs_folder = project / "data" / "inputs"
    for stage, content in contents.items():
        if _present(inputs_folder / stage) != content:
            _replace(inputs_folder / stage, content)
    if not (inputs_folder / "checked").is_file() or (inputs_folder / "checked").read_text() != CHECKED:
        files.replace(inputs_folder / "checked", CHECKED.encode())


def collections(values: Values) -> list[str]:
    """Official names of the collections that data.collections lists, each as a line `tile-xla: tile/xla`.

    dvc.yaml makes a stage of each line and takes the folder below npz/ from it, so no other lines are valid.

    Args:
        values: the sections of params.yaml.

    Returns:
        The names in the official order; all five without the parameter.

    Raises:
        InputError: the parameter lists another name or folder, or nothing.
    """
    listed = values.get("data", {}).get("collections", _LINES)
    lines = ", ".join(f"{name}: {path}" for name, path in _LINES.items())
    if not isinstance(listed, Mapping) or not listed or not listed.items() <= _LINES.items():
        raise InputError(
            f"params.yaml, data.collections: {listed!r} is not some of the lines {lines}; take some of these"
        )
    return [name for name in COLLECTIONS if slug(name) in listed]


def path(values: Values, stage: str, name: str) -> str | None:
    """The file or folder that a parameter of a stage names, with `AUTO` resolved; None if it names none."""
    return resolved(values, name, values.get(stage, {}).get(name))


def resolved(values: Values, name: str, value: object) -> object:
    """The value of the parameter `name`; `AUTO` becomes the path of the file beside data.root."""
    if name in BESIDE and value == AUTO:
        return str(Path(_root(values)).parent / BESIDE[name])
    return value


_LINES = {slug(name): folder("", name, SPLITS[0]).parent.relative_to("npz").as_posix() for name in COLLECTIONS}


def _root(values: Values) -> str:
    root = values.get("data", {}).get("root")
    if not isinstance(root, str) or not root:
        raise InputError(f"params.yaml, data.root: is {root!r}; {roots.WANTED}")
    return root


def _content(project: Path, values: Values, stage: str, chosen: list[str]) -> dict[str, Path | str]:
    """The content that a stage's folder should have.

    named.json lists the paths as params.yaml has them, because the page shows them. It also keeps the folder from being
    empty, as git does not store empty folders.

    Returns:
        Name of a link -> its target; and "named.json" -> its text.

    Raises:
        InputError: a parameter is missing or of another type, or names a file that is missing.
    """
    links: dict[str, Path | str] = {}
    paths: dict[str, object] = {}
    for name in NAMED[stage]:
        if name not in values.get(stage, {}):
            raise InputError(f"params.yaml, {stage}.{name}: is not there; write {name}: null for none")
        named = paths[name] = path(values, stage, name)
        if named is None:
            continue
        if not isinstance(named, str) or not named:
            raise InputError(f"params.yaml, {stage}.{name}: is {named!r}; name a file, or give null for none")
        if name == "eval_indices":
            needed = [eval_indices.file(named, collection) for collection in chosen if not is_tile(collection)]
        elif values[stage][name] == AUTO and not (project / named).is_file():
            continue
        else:
            needed = [Path(named)]
        for file in needed:
            if not (project / file).is_file():
                raise InputError(f"params.yaml, {stage}.{name}: {file} is no file here; name another, or give null")
            links[file.name if name == "eval_indices" else f"{name}.csv"] = _target(project, stage, project / file)
    return links | {"named.json": json.dumps(paths, indent=1) + "\n"}


def _target(project: Path, stage: str, file: Path) -> Path:
    """The target of a link in a stage's folder; relative within the project, so that the project can be moved."""
    stage_folder = project / "data" / "inputs" / stage
    if file.is_relative_to(project) and stage_folder.parent.resolve() == stage_folder.parent:
        return Path(os.path.relpath(file, stage_folder))
    return Path(os.path.abspath(file))


def _present(stage_folder: Path) -> dict[str, Path | str]:
    """The content that a stage's folder has, in the form of `_content`; empty if there is no folder."""
    if not stage_folder.is_dir():
        return {}
    entries = (entry for entry in stage_folder.iterdir() if entry.is_symlink() or entry.is_file())
    return {entry.name: entry.readlink() if entry.is_symlink() else entry.read_text() for entry in entries}


def _replace(stage_folder: Path, content: Mapping[str, Path | str]) -> None:
    """Replaces a stage's folder by a new one, which is written beside it first, so that it is never half-written."""
    beside = stage_folder.with_name(f".{stage_folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for name, part in content.items():
        if isinstance(part, str):
            (beside / name).write_text(part)
        else:
            (beside / name).symlink_to(part)
    if stage_folder.is_dir():
        shutil.rmtree(stage_folder)  # the targets of the links stay
    beside.rename(stage_folder)


def _remove_others(project: Path) -> None:
    """Removes the outputs of collections that params.yaml leaves out. DVC's cache still has them.

    They would count otherwise, because blend and leaderboard depend on the whole folders of the stages.
    """
    chosen = set(map(slug, collections(params.read(project / "params.yaml"))))
    for stage in PER_COLLECTION:
        for name in _LINES.keys() - chosen:
            if (project / "data" / stage / name).is_dir():
                shutil.rmtree(project / "data" / stage / name)


if __name__ == "__main__":
    sys.exit(main())
