"""The winners' solutions as parameters of this pipeline: `python -m stages.studies.recipes NAME …`.

recipes/NAME.yaml holds the parameters in which a solution differs from params.yaml, in its structure. A run takes place
in a copy of the project below .dvc/tmp/recipes, as one of DVC's experiments: `dvc exp show` lists it beside the
default, stages that the recipe does not touch come from the cache, and the workspace stays as it is, but for a few rows
in reports/recipes.csv. A run cut short goes on in its copy. notebooks/recipes.ipynb shows the table.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure

from stages import checks, files, inputs
from stages.engine import elapsed_times
from stages.errors import InputError
from stages.graphs import dataset
from stages.graphs.collection import COLLECTIONS, slug
from stages.reporting import figures
from stages.runner import params
from stages.scoring import scores
from stages.scoring.metrics import collection_score, graph_scores
from stages.scoring.score import read_solution

TABLE = Path("reports", "recipes.csv")
SCHEMA = {
    "recipe": pl.String,
    "collection": pl.String,
    "split": pl.String,
    "mean": pl.Float64,
    "sd": pl.Float64,
    "seeds": pl.Int64,
    "train_seconds": pl.Float64,
    "together": pl.Float64,
}
OURS, FIRST = "ours", "first-place"


def main(arguments: Sequence[str] | None = None, project: str | Path = ".") -> int:
    """Run recipes from the command line; return the exit status: 0, or 1 after one line on stderr."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        if not given or given[0] in ("-h", "--help"):
            print(f"usage: python -m stages.studies.recipes NAME …; recipes: {', '.join(names(project))}")
            return 0 if given else 1
        for name in given:
            parameters(name, project)
        for name in given:
            found = run(name, project)
            with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=120, float_precision=3):
                print(found)
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

    Raises InputError for an unknown recipe (lists them), and for a section or a parameter that params.yaml lacks.
    """
    if name not in names(project):
        raise InputError(f"no recipe {name!r}; the recipes are {', '.join(names(project)) or 'none here'}")
    file, own = Path(project, "recipes", f"{name}.yaml"), Path(project, "params.yaml")
    given, default = params.read(file), params.read(own)
    for section, values in given.items():
        if section not in default:
            raise InputError(f"{file}: no section '{section}'; params.yaml has {', '.join(default)}")
        if unknown := [key for key in values if key not in default[section]]:
            known = ", ".join(default[section])
            raise InputError(f"{file}, {section}: unknown parameter '{unknown[0]}'; params.yaml has {known}")
    lines, theirs = own.read_text().splitlines(), file.read_text().splitlines()
    ours, places = _places(lines), _places(theirs)
    for section, key in [(name, key) for name, values in given.items() for key in values]:
        for path, known in ((file, places), (own, ours)):
            if (section, key) not in known:
                raise InputError(
                    f"{path}: {section}.{key} does not begin a line; write a parameter a line, two spaces in"
                )
    for key in sorted(places, key=ours.__getitem__, reverse=True):  # from below, so that the lines above keep theirs
        lines[slice(*ours[key])] = theirs[slice(*places[key])]
    return "\n".join(lines) + "\n"


def run(name: str, project: str | Path = ".") -> pl.DataFrame:
    """Runs the pipeline by a recipe, keeps it as experiment NAME and its scores in reports/recipes.csv.

    Returns the recipe's rows, see `measured`. Training that nobody has timed, because its result came from the cache,
    is done again. Raises InputError for an unknown recipe, where the project is no git clone with DVC, and where the
    pipeline fails; its own line stands above.
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
    for stage in params.read(copy / "params.yaml")["blend"]["members"]:
        for collection in _collections(copy):
            if elapsed_times.read(copy / "data", stage, collection) is None:
                _dvc(copy, "repro", "--force", "--single-item", f"{stage}@{slug(collection)}")
    elapsed_times.merge(copy / "data", project / "data")
    found = measured(name, copy)
    reference = f"refs/exps/{head[:2]}/{head[2:]}/{name}"
    _git(project, "fetch", "--quiet", "--no-write-fetch-head", str(copy), f"+{reference}:{reference}")
    table = read(project) if (project / TABLE).exists() else found.clear()
    table = pl.concat([table.filter(pl.col("recipe") != name), found]).sort("recipe", maintain_order=True)
    files.replace(project / TABLE, table.write_csv(float_precision=6).encode())
    shutil.rmtree(copy)
    return found


def measured(name: str, project: str | Path) -> pl.DataFrame:
    """What a pipeline that has run scores: a row per split with known run times and collection, and for their mean.

    Columns: recipe; collection, "mean" for the mean over all; split; mean and sd (of a sample) over the seeds of the
    blend of single seeds; seeds; train_seconds, processor seconds in which all seeds of all blended members were
    trained; together, the score of all seeds' ranks together, which is what is submitted.
    """
    project = Path(project)
    values = params.read(project / "params.yaml")
    table = scores.read(project / "data" / "blend" / "seeds.parquet")
    together = json.loads((project / "reports" / "metrics.json").read_text())
    solution = inputs.path(values, "leaderboard", "solution")
    known = read_solution(project / solution) if solution and (project / solution).exists() else {}
    rows = []
    collections = [found for found in COLLECTIONS if found in set(table["collection"])]
    spent = {
        found: sum(elapsed_times.read(project / "data", stage, found) or 0.0 for stage in values["blend"]["members"])
        for found in collections
    }
    for split in ("valid", "test"):
        by_seed = []
        for collection in collections:
            targets = {graph.id: graph.target for graph in dataset.graphs(project / "data", collection, split)}
            if split == "test":
                targets = {graph: known.get(f"{collection}:{graph}") for graph in targets}
            if not targets or any(target is None for target in targets.values()):
                continue
            part = table.filter(pl.col("split") == split, pl.col("collection") == collection)
            seeds = [scores.by_graph(seed) for seed in part.sort("seed").partition_by("seed", maintain_order=True)]
            by_seed.append([collection_score(graph_scores(collection, seed, targets)) for seed in seeds])
            rows.append(_row(name, collection, split, by_seed[-1], spent[collection], together))
        if len(by_seed) == len(collections):
            rows.append(_row(name, "mean", split, np.mean(by_seed, axis=0), sum(spent.values()), together))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


@checks.entry("recipes")
def read(project: str | Path = ".") -> pl.DataFrame:
    """The table of all recipes run so far; InputError where there is none, or one of something else."""
    path = Path(project, TABLE)
    if not path.exists():
        raise InputError(f"{path}: not there; run some recipes: make recipe NAME={OURS}")
    table = pl.read_csv(path)
    if list(table.columns) != list(SCHEMA):
        raise InputError(f"{path}: holds other columns than {', '.join(SCHEMA)}; remove it and run the recipes again")
    return table.cast(SCHEMA)


def board(table: pl.DataFrame, split: str) -> pl.DataFrame:
    """A row per recipe, best first: "mean ± sd" of the seeds in the mean of the collections, that of all seeds
    together, minutes of training, and "mean ± sd" in each collection."""
    part = table.filter(pl.col("split") == split)
    cells = {
        (row["recipe"], row["collection"]): f"{row['mean']:.3f}{figures.SPACE}±{figures.SPACE}{row['sd'] or 0:.3f}"
        for row in part.iter_rows(named=True)
    }
    columns = [name for name in COLLECTIONS if name in set(part["collection"])]
    rows = [
        [name, cells[name, "mean"], together, f"{spent / 60:.1f}", *(cells.get((name, column)) for column in columns)]
        for name, together, spent in _means(table, split).select("recipe", "together", "train_seconds").iter_rows()
    ]
    schema = {"recipe": pl.String, "mean": pl.String, "seeds together": pl.Float64, "training, minutes": pl.String}
    return pl.DataFrame(rows, schema=schema | dict.fromkeys(columns, pl.String), orient="row")


@matplotlib.rc_context(figures.STYLE)
def picture(table: pl.DataFrame, split: str) -> Figure:
    """Each recipe's mean score with its deviation over the seeds, beside the time of its training; best on top."""
    found = _means(table, split)
    figure = Figure(figsize=(8, 0.6 + 0.36 * max(1, found.height)), layout="constrained")
    score, time = figure.subplots(1, 2, sharey=True, width_ratios=[2, 1])
    places = np.arange(found.height)
    colours = [figures.BLUE if name == OURS else figures.GREY for name in found["recipe"]]
    score.errorbar(found["mean"], places, xerr=found["sd"].fill_null(0), fmt="none", ecolor="#444444", elinewidth=1)
    score.scatter(found["mean"], places, c=colours, s=36, zorder=3)
    score.set(xlabel=f"mean of the collections, {split}, single seeds (± sd)", yticks=places)
    score.set_yticklabels(found["recipe"].to_list())
    score.invert_yaxis()
    time.barh(places, found["train_seconds"] / 60, color=colours, height=0.6)
    time.set(xlabel="training, minutes")
    return figure


def standing(table: pl.DataFrame, split: str) -> str:
    """Which recipe is best in the mean, where ours stands beside it, and what the first place's costs, in words."""
    found = {row["recipe"]: row for row in _means(table, split).iter_rows(named=True)}
    if not found:
        return f"No recipe has a mean on {split}: not every collection has a score there."
    best, *others = found
    text = [f"On {split}, {best} is best of {len(found)} in the mean of the collections, {found[best]['mean']:.3f}"]
    if others:
        second = found[others[0]]
        lead, spread = found[best]["mean"] - second["mean"], max(found[best]["sd"] or 0, second["sd"] or 0)
        word = "further behind" if lead > spread else "no further behind"
        text[0] += f"; {others[0]} follows with {second['mean']:.3f}, {word} than single seeds move ({spread:.3f})"
    if OURS in found and best != OURS:
        text.append(f"{OURS} is {found[best]['mean'] - found[OURS]['mean']:.3f} behind it")
    if OURS in found and FIRST in found:
        share = found[OURS]["train_seconds"] / max(found[FIRST]["train_seconds"], 1e-9)
        text.append(f"{OURS} trains in {share:.2f} of the time of {FIRST}")
    return ". ".join(text) + "."


def collections_won(table: pl.DataFrame, split: str) -> str:
    """Which recipe is best in each collection, in words."""
    part = table.filter(pl.col("split") == split, pl.col("collection") != "mean")
    best = part.sort("mean", "recipe", descending=[True, False]).group_by("collection", maintain_order=True).first()
    won = {
        name: f"{recipe} on {name} ({mean:.3f})" for name, recipe, mean in best["collection", "recipe", "mean"].rows()
    }
    return "Best in each collection: " + ", ".join(won[name] for name in COLLECTIONS if name in won) + "."


def cost(table: pl.DataFrame, split: str) -> str:
    """Which recipes train longest and shortest, in words."""
    found = _means(table, split).sort("train_seconds", "recipe")
    if found.is_empty():
        return f"No recipe has a mean on {split}."
    (short, least), *_, (long, most) = found.select("recipe", pl.col("train_seconds") / 60).rows() * 2
    return f"{long} trains longest, {most:.1f} processor minutes, and {short} shortest, {least:.1f}."


def _means(table: pl.DataFrame, split: str) -> pl.DataFrame:
    part = table.filter(pl.col("split") == split, pl.col("collection") == "mean")
    return part.sort("mean", "recipe", descending=[True, False])


def _row(name: str, collection: str, split: str, values: Sequence[float], spent: float, together: dict) -> tuple:
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    whole = together.get(split, {}).get(collection, {}).get("blend")
    return name, collection, split, float(np.mean(values)), deviation, len(values), spent, whole


def _places(lines: list[str]) -> dict[tuple[str, str], tuple[int, int]]:
    """(section, parameter) -> first line and the one after its last, of parameters that begin a line."""
    found, section, key = {}, None, None
    for number, line in enumerate(lines):
        if head := re.match(r"(\w+):", line):
            section, key = head[1], None
        elif head := re.match(r"  (\w+):", line):
            key = section, head[1]
            found[key] = number, number + 1
        elif key and line.startswith(("   ", "  -")):
            found[key] = found[key][0], number + 1
    return found


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
    ours = [name for name in _listed(project) if (project / name).is_file()]
    for name in set(_listed(copy)) - set(ours):
        (copy / name).unlink(missing_ok=True)
    for name in ours:
        there = copy / name
        there.parent.mkdir(parents=True, exist_ok=True)
        if not there.exists() or there.read_bytes() != (project / name).read_bytes():
            shutil.copy2(project / name, there)
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
