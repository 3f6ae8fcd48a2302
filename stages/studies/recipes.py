"""The winners' solutions as parameters of this pipeline: `python -m stages.studies.recipes NAME …`.

recipes/NAME.yaml holds the parameters in which a solution differs from params.yaml, in its structure. A run takes place
in a copy of the project below .dvc/tmp/recipes, as one of DVC's experiments: `dvc exp show` lists it beside the
default, stages that the recipe does not touch come from the cache, and the workspace stays as it is, but for a few rows
in reports/recipes.csv. A run cut short goes on in its copy. notebooks/recipes.ipynb shows the table.

The copy is ours, and not that of `dvc exp run --temp -S`: DVC removes its own when a run fails, with the checkpoints to
go on from, and its `-S` refuses a value per collection (Hydra has no key like "layout:*").
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from stages import inputs
from stages.engine import elapsed_times, files, params
from stages.engine.errors import InputError
from stages.graphs.collection import COLLECTIONS, slug
from stages.studies import recipe_table


def main(arguments: Sequence[str] | None = None, project: str | Path = ".") -> int:
    """Runs recipes from the command line.

    Returns:
        The exit status: 0, 130 after an interrupt, or 1 after one line on stderr.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if not arguments or arguments[0] in ("-h", "--help"):
            print(f"usage: python -m stages.studies.recipes NAME …; recipes: {', '.join(names(project))}")
            return 0 if arguments else 1
        for name in arguments:
            parameters(name, project)
        for name in arguments:
            rows = run(name, project)
            with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=120, float_precision=3):
                print(rows)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run it again, it goes on where it was", file=sys.stderr)
        return 130
    return 0


def names(project: str | Path = ".") -> list[str]:
    """The recipes of a project, sorted."""
    return sorted(path.stem for path in Path(project, "recipes").glob("*.yaml"))


def parameters(name: str, project: str | Path = ".") -> str:
    """The text of params.yaml with the lines of a recipe in place of its own.

    Raises:
        InputError: an unknown recipe (the line lists them), or a section or a parameter that params.yaml lacks.
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
    # From below, so that the lines above keep their numbers.
    for parameter in sorted(recipe_spans, key=spans.__getitem__, reverse=True):
        lines[slice(*spans[parameter])] = recipe_lines[slice(*recipe_spans[parameter])]
    return "\n".join(lines) + "\n"


def run(name: str, project: str | Path = ".") -> pl.DataFrame:
    """Runs the pipeline by a recipe, keeps it as experiment NAME and its scores in reports/recipes.csv.

    Training that nobody has timed, because its result came from the cache, is done again.

    Returns:
        The recipe's rows, see `recipe_table.measured`.

    Raises:
        InputError: an unknown recipe; the project is no git clone with DVC; the pipeline fails, whose own line stands
            above.
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
    """(section, parameter) -> its first line and the one after its last, of parameters that begin a line."""
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
    """Trains again what the blend takes and nobody has timed."""
    for stage in params.read(copy / "params.yaml")["blend"]["members"]:
        for collection in _collections(copy):
            if elapsed_times.read(copy / "data", stage, collection) is None:
                _dvc(copy, "repro", "--force", "--single-item", f"{stage}@{slug(collection)}")


def _add(rows: pl.DataFrame, name: str, project: Path) -> None:
    """Puts a recipe's rows in place of its earlier ones in reports/recipes.csv."""
    path = project / recipe_table.TABLE
    others = recipe_table.read(project).filter(pl.col("recipe") != name) if path.exists() else rows.clear()
    table = pl.concat([others, rows]).sort("recipe", maintain_order=True)
    files.replace(path, table.write_csv(float_precision=6).encode())


def _rooted(text: str, copy: Path, project: Path) -> str:
    """The parameters for the copy, where data that git does not know lie where they lay."""
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
    """Brings the copy to where the project stands, its uncommitted changes too; returns the commit they are on."""
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
    cache = _dvc(project, "cache", "dir", shown=False).strip()
    files.replace(copy / ".dvc" / "config.local", f"[cache]\n    dir = {project / cache}\n".encode())
    return head


def _listed(folder: Path) -> list[str]:
    """Files that git knows there, or would; not the links below data/inputs, which a run makes for its own folder."""
    names = _git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")[:-1]
    return [name for name in names if not name.startswith("data/inputs/")]


def _git(folder: Path, *arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"git {arguments[0]}: {' '.join(done.stderr.split())}")
    return done.stdout


def _dvc(folder: Path, *arguments: str, shown: bool = True) -> str:
    """Runs DVC as `make repro` does, this interpreter first on the path; what it prints is shown, or returned."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {"PATH": path, "DVC_NO_ANALYTICS": "1"}
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, stdout=None if shown else subprocess.PIPE, text=True)
    if done.returncode:
        raise InputError(f"dvc {' '.join(arguments)}: failed, see above; what was done in {folder} is gone on from")
    return done.stdout or ""


if __name__ == "__main__":
    sys.exit(main())
