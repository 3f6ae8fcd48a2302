"""Runs one stage: its parameters, its lock, its notebook, its page and its times."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stages.engine import checks, elapsed_times, engine, files, lifetime, params
from stages.graphs import collection as collections
from stages.graphs import roots
from stages.runner import failures, kernel, notebook, page, parameters, surroundings

FRONT = "leaderboard"  # the stage to whose page all others link
#: pages of a collection in the order of the story, and what follows on them all
STORY, AFTER = ("configuration", "prune", "pad", "gnn", "gbdt"), ("blend", FRONT)
ROOTED = "prune"  # the stage that reads npz files


def run(stage: str, overrides: Mapping[str, object], project: str | Path = ".") -> Path:
    """Executes notebooks/STAGE.ipynb and writes reports/STAGE[-SLUG].html.

    The notebook runs with the project's folder as working directory.

    Args:
        stage: the notebook's name.
        overrides: parameters that replace those of params.yaml, see `parameters.of`.
        project: the project's folder.

    Returns:
        The report's path.

    Raises:
        InputError: the stage, a parameter or the collection is unknown; a value is of a wrong type; or the notebook
            failed, and its partial copy is kept as reports/STAGE[-SLUG].failed.ipynb.
    """
    project = Path(project).resolve()
    source = notebook.read(project, stage)
    values = parameters.of(source, stage, overrides, project)
    collection = values.get("collection")
    name = f"{stage}-{collections.slug(collection)}" if collection else stage
    report, failed = (project / "reports" / f"{name}{suffix}" for suffix in (".html", ".failed.ipynb"))
    data = project / values.get("data", "data")
    if stage == ROOTED:
        roots.check(values["root"], [collection], project)
    for folder in (report.parent, data):
        failures.check_writable(folder)
    executor = engine.of(params.read(project / "params.yaml").get("engine", {}))
    executor.check()
    lock = project / ".dvc" / "tmp" / f"run-{name}.lock"
    variables = engine.exported(executor) | {kernel.LOCK: str(lock)}
    with _alone(lock, name), surroundings.timed() as times, surroundings.environment(variables):
        executed = notebook.execute(source, values, project, stage, failed)
        checks.made_by(stage, values | {"data": str(data)})
    title = f"{stage} · {collection}" if collection else stage
    files.replace(report, page.html(executed, title, links(stage, collection)).encode())
    failed.unlink(missing_ok=True)
    elapsed_times.ran(project / "data", name, stage, collection, times.seconds, times.processor)
    return report


def links(stage: str, collection: str | None) -> dict[str, str]:
    """The links of a page's first line: the front page, and what comes before and after it in the story.

    Args:
        stage: of the page.
        collection: of the page; None where there is one page of all.

    Returns:
        What a link says -> name of the file.
    """
    if stage == FRONT:
        return {}
    found = {"Front page": f"{FRONT}.html"}
    story = [*STORY, *AFTER]
    if stage not in story:
        return found
    place = story.index(stage)
    before, after = story[max(place - 1, 0)], story[place + 1]
    slug = f"-{collections.slug(collection)}" if collection else ""
    if place and (collection or before in AFTER):
        found[f"← {before}"] = f"{before}{slug}.html"
    found[f"{after} →"] = f"{after}{'' if after in AFTER else slug}.html"
    return found


@contextmanager
def _alone(path: Path, name: str) -> Iterator[None]:
    """Holds the stage's lock, which its kernel joins; InputError if another run of the stage does not end."""

    def busy(holder: str) -> str:
        return f"{name}: is at work in this folder already, in process {holder}; wait for it"

    descriptor = lifetime.lock(path, busy, lifetime.PATIENCE, shared=True)
    try:
        yield
    finally:
        os.close(descriptor)
