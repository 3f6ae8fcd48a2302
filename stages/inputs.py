"""What the pipeline takes in, looked at before anything runs: `python -m stages.inputs`, the first stage of dvc.yaml.

DVC compares what a stage depends on by content, but its files cannot say "the file that this parameter names, if it
names one". So data/inputs/STAGE holds a link to each file that a parameter of the stage names; DVC follows links when
it takes the digest of a folder, so a changed file is a changed dependency. The folders are this stage's outputs: it
runs where one of the parameters, or a file behind a link, is not what it was.
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
CHECKED = "What params.yaml names is there.\n"  # the same always: what depends on it comes after this stage, no more
Values = Mapping[str, Mapping[str, object]]  # params.yaml: section -> parameter -> value


def main(project: str | Path = ".") -> int:
    """Checks and writes data/inputs, and removes what earlier runs made of collections that are left out now."""
    project = Path(project)
    try:
        write(project)
        _remove_others(project)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        if not (line := failures.of_system(error)):
            raise
        print(line, file=sys.stderr)
        return 1
    return 0


def write(project: str | Path) -> None:
    """Writes data/inputs as params.yaml asks, and touches nothing that is so already.

    Raises InputError where a collection or a file that params.yaml names is not there.
    """
    project = Path(project).resolve()
    values = params.read(project / "params.yaml")
    chosen = collections(values)
    roots.check(_root(values), chosen, project)
    contents = {stage: _content(project, values, stage, chosen) for stage in NAMED}
    made = project / "data" / "inputs"
    for stage, content in contents.items():
        if _present(made / stage) != content:
            _replace(made / stage, content)
    if not (made / "checked").is_file() or (made / "checked").read_text() != CHECKED:
        files.replace(made / "checked", CHECKED.encode())


def collections(values: Values) -> list[str]:
    """Official names of the collections that data.collections lists, each a line `tile-xla: tile/xla`.

    DVC makes a stage of each line and takes the folder below npz/ from it, so nothing else can stand there. Without the
    parameter: all five. Raises InputError for another name or folder, and for none.
    """
    given = values.get("data", {}).get("collections", _LINES)
    lines = ", ".join(f"{name}: {path}" for name, path in _LINES.items())
    if not isinstance(given, Mapping) or not given or not given.items() <= _LINES.items():
        raise InputError(
            f"params.yaml, data.collections: {given!r} is not some of the lines {lines}; take some of these"
        )
    return [name for name in COLLECTIONS if slug(name) in given]


def path(values: Values, stage: str, name: str) -> str | None:
    """The file or folder that a parameter of a stage names, `AUTO` resolved; None where it names none."""
    return resolved(values, name, values.get(stage, {}).get(name))


def resolved(values: Values, name: str, value: object) -> object:
    """The value of a parameter of this name, the file beside data.root in place of `AUTO`."""
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
    """Of a stage's folder: name of a link -> what it leads to; and named.json -> its text, the paths as given.

    The paths too, because the page shows them, and because a folder that could be empty would not be kept by git.
    """
    links: dict[str, Path | str] = {}
    paths: dict[str, object] = {}
    for name in NAMED[stage]:
        if name not in values.get(stage, {}):
            raise InputError(f"params.yaml, {stage}.{name}: is not there; write {name}: null for none")
        given = paths[name] = path(values, stage, name)
        if given is None:
            continue
        if not isinstance(given, str) or not given:
            raise InputError(f"params.yaml, {stage}.{name}: is {given!r}; name a file, or give null for none")
        if name == "eval_indices":
            wanted = [eval_indices.file(given, collection) for collection in chosen if not is_tile(collection)]
        elif values[stage][name] == AUTO and not (project / given).is_file():
            continue
        else:
            wanted = [Path(given)]
        for file in wanted:
            if not (project / file).is_file():
                raise InputError(f"params.yaml, {stage}.{name}: {file} is no file here; name another, or give null")
            links[file.name if name == "eval_indices" else f"{name}.csv"] = _target(project, stage, project / file)
    return links | {"named.json": json.dumps(paths, indent=1) + "\n"}


def _target(project: Path, stage: str, file: Path) -> Path:
    """What a link in a stage's folder says: within the project a relative path, so that the project can be moved."""
    place = project / "data" / "inputs" / stage
    if file.is_relative_to(project) and place.parent.resolve() == place.parent:
        return Path(os.path.relpath(file, place))
    return Path(os.path.abspath(file))


def _present(place: Path) -> dict[str, Path | str]:
    """What lies in a stage's folder, as `_content` has it; nothing where there is none."""
    if not place.is_dir():
        return {}
    entries = (entry for entry in place.iterdir() if entry.is_symlink() or entry.is_file())
    return {entry.name: entry.readlink() if entry.is_symlink() else entry.read_text() for entry in entries}


def _replace(place: Path, content: Mapping[str, Path | str]) -> None:
    """Makes a stage's folder anew, whole or not at all: beside it first."""
    beside = place.with_name(f".{place.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for name, part in content.items():
        if isinstance(part, str):
            (beside / name).write_text(part)
        else:
            (beside / name).symlink_to(part)
    if place.is_dir():
        shutil.rmtree(place)  # what links lead to stays
    beside.rename(place)


def _remove_others(project: Path) -> None:
    """Removes the outputs of collections that are left out: blend and leaderboard depend on the stages' folders.

    DVC's cache has them still.
    """
    chosen = set(map(slug, collections(params.read(project / "params.yaml"))))
    for stage in PER_COLLECTION:
        for name in _LINES.keys() - chosen:
            if (project / "data" / stage / name).is_dir():
                shutil.rmtree(project / "data" / stage / name)


if __name__ == "__main__":
    sys.exit(main())
