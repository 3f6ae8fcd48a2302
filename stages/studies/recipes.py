"""The winners' solutions: `python -m stages.studies.recipes NAME …`.

A solution that has networks in `stages.winners` trains these: `stages.winners.training`. With `--network ours`, and
where a solution has none, this project's pipeline runs with the solution's parameters:

recipes/NAME.yaml holds the parameters in which a solution differs from params.yaml, in the structure of that file. A
recipe runs in a copy of the project below .dvc/tmp/recipes, as an experiment of DVC. `dvc exp show` lists it beside the
default, and stages that the recipe does not change come from the cache. The workspace gets a few rows in
reports/recipes.csv and stays as it is otherwise. An interrupted run goes on in its copy. notebooks/recipes.ipynb shows
the table.

We make the copy ourselves because `dvc exp run --temp -S` is not enough: it removes its copy when a run fails, with the
checkpoints, and `-S` refuses a value per collection (Hydra has no key like "layout:*").
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import polars as pl

from stages import inputs
from stages.engine import elapsed_times, files, lifetime, params
from stages.engine.errors import InputError
from stages.gnn.device import device_of
from stages.graphs import roots
from stages.graphs.collection import COLLECTIONS, slug
from stages.runner import failures
from stages.studies import recipe_table
from stages.winners.training import NAMES

THEIRS, OURS = "theirs", "ours"


def main(arguments: Sequence[str] | None = None, project: str | Path = ".") -> int:
    """Runs recipes from the command line.

    Returns:
        The exit status: 0, 130 after an interrupt, or 1 after one line on stderr.
    """
    arguments = sys.argv[1:] if arguments is None else arguments

    def work() -> int | None:
        parser = _parser(project)
        if not arguments or {"-h", "--help"} & set(arguments):
            parser.print_help()
            return 0 if arguments else 1
        asked = parser.parse_args(arguments)
        for name in asked.names:
            parameters(name, project)
        for name in asked.names:
            if asked.network == THEIRS and name in NAMES:
                show = _train(name, asked, project)
            else:
                _check_options(name, asked)
                show = run(name, project)
            with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=120, float_precision=3):
                print(show)
        return None

    return failures.exit_status(work, "interrupted; run it again, it goes on where it was")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"recipes: {message}; --help tells what can be given")


def _parser(project: str | Path) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m stages.studies.recipes",
        description=f"Runs winners' solutions. Recipes: {', '.join(names(project))}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="of a recipe")
    own = ", ".join(NAMES)
    parser.add_argument(
        "--network",
        default=THEIRS,
        help=f"theirs: the solution's own networks ({own} have some); ours: its ideas in this project's network",
    )
    parser.add_argument("--size", help="of their networks: sample, the default, takes minutes; full is the original's")
    parser.add_argument("--root", help="folder that holds npz/; by default data.root of params.yaml")
    parser.add_argument("--scale", type=float, help="share of steps and networks, for a rehearsal")
    parser.add_argument("--hours", type=float, help="what their training may take; more is refused before it begins")
    parser.add_argument("--workers", type=int, help="networks trained at a time on a CPU; by default one a core")
    parser.add_argument("--seed", type=int, help="of the first of their networks, 0 by default")
    return parser


def _check_options(name: str, asked: argparse.Namespace) -> None:
    """Raises InputError for options of the solutions' own networks where this project's is trained."""
    if asked.network not in (THEIRS, OURS):
        raise InputError(f"network: {asked.network!r} is neither {THEIRS} nor {OURS}; give one of them")
    for option in ("size", "root", "scale", "hours", "workers", "seed"):
        if getattr(asked, option) is not None:
            raise InputError(
                f"{option}: {name} trains this project's network, whose sizes and data stand in params.yaml and "
                f"recipes/{name}.yaml; leave --{option} out"
            )


def _train(name: str, asked: argparse.Namespace, project: str | Path) -> pl.DataFrame:
    """Trains a solution's own networks and returns their scores."""
    from stages.winners.training import needs, network_run, solutions  # torch takes seconds
    from stages.winners.training import run as training

    project, size = Path(project), asked.size or "sample"
    values = params.read(project / "params.yaml")
    collections, root = inputs.collections(values), asked.root or values["data"]["root"]
    solutions.models(name, size, collections, scale := 1.0 if asked.scale is None else asked.scale)
    roots.check(root, collections, project)
    folder = project / "data" / "recipes"
    request = network_run.Request(
        name=name,
        size=size,
        collections=tuple(collections),
        root=project / root,
        folder=folder / name / (size if scale == 1 else f"{size}-x{scale:g}"),
        packed=folder / "packed",
        device=device_of(values["engine"]["device"]),
        scale=scale,
        seed=asked.seed or 0,
    )
    busy = "{}: process {} trains a recipe there; wait until it has ended"
    lock = lifetime.lock(folder / "lock", lambda holder: busy.format(folder, holder))  # recipes share packed graphs
    try:
        scores = training.run(request, training.Limits(asked.hours, asked.workers), project / needs.RATES)
    finally:
        os.close(lock)
    print(f"{request.folder / training.SUBMISSION}: the submission")
    return pl.DataFrame([{"split": split, **of} for split, of in scores.items()])


def names(project: str | Path = ".") -> list[str]:
    """The recipes of a project, sorted."""
    return sorted(path.stem for path in Path(project, "recipes").glob("*.yaml"))


def parameters(name: str, project: str | Path = ".") -> str:
    """The text of params.yaml, in which a recipe's lines replace those of the same parameters.

    Raises:
        InputError: the recipe is unknown (the line lists all), or has a section or parameter that params.yaml lacks.
    """
    if name not in names(project):
        raise InputError(f"no recipe {name!r}; the recipes are {', '.join(names(project)) or 'none here'}")
    recipe_path, default_path = Path(project, "recipes", f"{name}.yaml"), Path(project, "params.yaml")
    recipe, default = params.read(recipe_path), params.read(default_path)
    _check_names(recipe_path, recipe, default)
    recipe_lines, lines = recipe_path.read_text().splitlines(), default_path.read_text().splitlines()
    recipe_spans, spans = _spans(recipe_lines), _spans(lines)
    for section, key in [(section, key) for section, values in recipe.items() for key in values]:
        for path, listed in ((recipe_path, recipe_spans), (default_path, spans)):
            if (section, key) not in listed:
                raise InputError(
                    f"{path}: {section}.{key} does not begin a line; write a parameter a line, two spaces in"
                )
    # From the last line up, so that the numbers of the lines above stay valid.
    for parameter in sorted(recipe_spans, key=spans.__getitem__, reverse=True):
        lines[slice(*spans[parameter])] = recipe_lines[slice(*recipe_spans[parameter])]
    return "\n".join(lines) + "\n"


def run(name: str, project: str | Path = ".") -> pl.DataFrame:
    """Runs the pipeline with a recipe's parameters, as experiment NAME, and adds its scores to reports/recipes.csv.

    A training whose time is unknown, because its result came from the cache, is repeated.

    Returns:
        The recipe's rows, see `recipe_table.measured`.

    Raises:
        InputError: the recipe is unknown; the project is no git clone with DVC; or the pipeline fails, after its own
            line.
    """
    project = Path(project).resolve()
    text = parameters(name, project)
    if not (project / ".dvc").is_dir() or not (project / ".git").exists():
        raise InputError(f"{project}: is no git clone with DVC, which keeps the experiments; clone the project")
    copy = project / ".dvc" / "tmp" / "recipes" / name
    head = _copied(project, copy)
    files.replace(copy / "params.yaml", _rooted(text, copy, project).encode())
    elapsed_times.merge(project / "data", copy / "data")
    _dvc(copy, "exp", "run", "--name", name)
    _time_training(copy)
    elapsed_times.merge(copy / "data", project / "data")
    rows = recipe_table.measured(name, copy)
    reference = f"refs/exps/{head[:2]}/{head[2:]}/{name}"
    _git(project, "fetch", "--quiet", "--no-write-fetch-head", str(copy), f"+{reference}:{reference}")
    _add(rows, name, project)
    shutil.rmtree(copy)
    return rows


def _check_names(path: Path, recipe: Mapping[str, Mapping], default: Mapping[str, Mapping]) -> None:
    """Raises InputError for a section or a parameter of a recipe that params.yaml lacks."""
    for section, values in recipe.items():
        if section not in default:
            raise InputError(f"{path}: no section '{section}'; params.yaml has {', '.join(default)}")
        if unknown := [key for key in values if key not in default[section]]:
            listing = ", ".join(default[section])
            raise InputError(f"{path}, {section}: unknown parameter '{unknown[0]}'; params.yaml has {listing}")


def _spans(lines: list[str]) -> dict[tuple[str, str], tuple[int, int]]:
    """The lines of each parameter that begins a line.

    Returns:
        (section, parameter) -> (index of its first line, index after its last line).
    """
    spans: dict[tuple[str, str], tuple[int, int]] = {}
    section, parameter = None, None
    for number, line in enumerate(lines):
        if head := re.match(r"(\w+):", line):
            section, parameter = head[1], None
        elif head := re.match(r"  (\w+):", line):
            parameter = section, head[1]
            spans[parameter] = number, number + 1
        elif parameter and line.startswith(("   ", "  -")):
            spans[parameter] = spans[parameter][0], number + 1
    return spans


def _time_training(copy: Path) -> None:
    """Repeats the trainings of the blend's members whose times are unknown."""
    for stage in params.read(copy / "params.yaml")["blend"]["members"]:
        for collection in _collections(copy):
            if elapsed_times.read(copy / "data", stage, collection) is None:
                _dvc(copy, "repro", "--force", "--single-item", f"{stage}@{slug(collection)}")


def _add(rows: pl.DataFrame, name: str, project: Path) -> None:
    """Replaces a recipe's rows in reports/recipes.csv."""
    path = project / recipe_table.TABLE
    others = recipe_table.read(project).filter(pl.col("recipe") != name) if path.exists() else rows.clear()
    table = pl.concat([others, rows]).sort("recipe", maintain_order=True)
    files.replace(path, table.write_csv(float_precision=6).encode())


def _rooted(text: str, copy: Path, project: Path) -> str:
    """The parameters for the copy, with absolute paths to data that the copy lacks because git does not know them."""
    values = params.read(project / "params.yaml")
    paths = {"root": values["data"]["root"]} | {
        name: values[stage].get(name) for stage, names in inputs.NAMED.items() for name in names
    }
    for name, path in paths.items():
        if path not in (None, inputs.AUTO) and not (copy / path).exists():
            line = f'  {name}: "{project / path}"'
            text = re.sub(rf"^  {name}: .*$", lambda _, line=line: line, text, count=1, flags=re.MULTILINE)
    return text


def _collections(copy: Path) -> list[str]:
    return [name for name in COLLECTIONS if (copy / "data" / "prune" / slug(name)).is_dir()]


def _copied(project: Path, copy: Path) -> str:
    """Updates the copy to the state of the project, with its uncommitted changes; returns the commit below them."""
    head = _git(project, "rev-parse", "HEAD").strip()
    if not (copy / ".git").is_dir():
        shutil.rmtree(copy, ignore_errors=True)
        _git(project, "clone", "--quiet", "--shared", "--no-checkout", str(project), str(copy))
        for key, value in (("user.name", "recipes"), ("user.email", "recipes@localhost")):
            _git(copy, "config", key, value)
    _git(copy, "update-ref", "--no-deref", "HEAD", head)
    _git(copy, "read-tree", head)
    names = [name for name in _listed(project) if (project / name).is_file()]
    for name in set(_listed(copy)) - set(names):
        (copy / name).unlink(missing_ok=True)
    for name in names:
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_bytes() != (project / name).read_bytes():
            shutil.copy2(project / name, target)
    cache = _dvc(project, "cache", "dir", printed=False).strip()
    files.replace(copy / ".dvc" / "config.local", f"[cache]\n    dir = {project / cache}\n".encode())
    return head


def _listed(folder: Path) -> list[str]:
    """Files that git tracks or does not ignore; without the links below data/inputs, which each run makes anew."""
    names = _git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")[:-1]
    return [name for name in names if not name.startswith("data/inputs/")]


def _git(folder: Path, *arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"git {arguments[0]}: {' '.join(done.stderr.split())}")
    return done.stdout


def _dvc(folder: Path, *arguments: str, printed: bool = True) -> str:
    """Runs DVC as `make repro` does, with this interpreter first on the path; prints or returns its output."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {"PATH": path, "DVC_NO_ANALYTICS": "1"}
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, stdout=None if printed else subprocess.PIPE, text=True)
    if done.returncode:
        raise InputError(f"dvc {' '.join(arguments)}: failed, see above; run again, it goes on in {folder}")
    return done.stdout or ""


if __name__ == "__main__":
    sys.exit(main())
