"""Runs a solution: what it needs, its graphs, its networks, and the submission of them together.

Writes into FOLDER, the data folder's recipes/NAME/SIZE (SIZE-xSCALE for a rehearsal): submission.csv, scores.parquet
(of the networks together), metrics.json, settings.json and networks/ (`network_run`). submission.csv is written last
and removed first, so that it is always of the other files. A run that was cut short goes on where it was.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch

from stages.engine import engine, files
from stages.engine.errors import InputError
from stages.graphs.collection import COLLECTIONS
from stages.scoring import scores, submission
from stages.scoring.metrics import collection_score, graph_score
from stages.scoring.score import evaluate, read_solution
from stages.winners.training import graphs, needs, network_run, scoring, solutions
from stages.winners.training.drawing import Plan
from stages.winners.training.graphs import Size
from stages.winners.training.network_run import Request
from stages.winners.training.solutions import Model
from stages.winners.training.trainer import Part, Trainer

SUBMISSION = "submission.csv"


@dataclass(frozen=True)
class Limits:
    """What a run may take: hours (None for any), and networks that are trained at a time (None: one a core)."""

    hours: float | None = None
    workers: int | None = None


def run(request: Request, limits: Limits, rates: Path = needs.RATES) -> dict:
    """Trains all networks of a solution and writes its submission.

    Args:
        request: What is asked for.
        limits: What it may take.
        rates: File with the rates of a GPU.

    Returns:
        What metrics.json holds: split -> collection or "mean" -> score.

    Raises:
        InputError: The data are faulty, the run does not fit, or a training diverges.
    """
    print(said(request), flush=True)
    sizes = {(source.data, source.collection): source.survey() for source in request.sources()}
    measured: dict[str, needs.Rates] = {}  # networks that are the same are measured once
    gpu, lines = needs.gpu_rates(rates)
    found = [_need(request, model, sizes, lines, measured) for model in request.models.values()]
    workers = _told(request, found, limits, gpu)
    _begin(request)
    for source in request.sources():
        source.pack()
    waves = [[], []]
    for model in request.models.values():
        waves[request.start(model) is not None] += [(model.name, number) for number in range(model.networks)]
    for wave in waves:
        waiting = [task for task in wave if not network_run.done(request, request.models[task[0]], task[1])]
        work = partial(network_run.train_and_score, request=request)
        for finished, (position, _) in enumerate(
            engine.configured().spread(work, waiting, memory_knob="--workers", parallel=workers), 1
        ):
            print(
                f"{waiting[position][0]} {waiting[position][1]}: trained and scored, {finished} of {len(waiting)}",
                flush=True,
            )
    return _finish(request)


def said(request: Request) -> str:
    """What is trained, in what precision, and what is smaller than the original's and why."""
    kinds = sorted({model.settings.precision for model in request.models.values()})
    precision = ", ".join(kinds)
    if request.device == "cpu" and kinds != ["float32"]:
        precision = f"float32 on this CPU ({precision} on a GPU, as theirs)"
    lines = [f"{request.name}, {request.size}: its own networks; {precision}"]
    smaller: dict[str, list[str]] = {}
    for model in request.models.values():
        for name, value in model.shrunk.items():
            text = f"{name} {getattr(model.settings, name)} instead of {value}: {solutions.WHY[name]}"
            smaller.setdefault(text, []).append(model.name)
    lines += [f"  {', '.join(of)}: {text}" for text, of in smaller.items()]
    for model in request.models.values():
        other = getattr(model.settings, "starts_from", None)
        if other is not None and other not in request.collections:
            lines.append(f"  {model.name}: {other} is not among the data, so it starts from new weights")
    if request.scale != 1:
        lines.append(f"  a rehearsal: {request.scale:g} of the steps, of the networks and of valid's configurations")
    return "\n".join(lines)


def _need(
    request: Request,
    model: Model,
    sizes: Mapping,
    lines: Mapping[str, tuple[needs.Line, needs.Line]],
    measured: dict[str, needs.Rates],
) -> needs.Need:
    """What a model takes, by its rates among those measured, to which they are added, and by a GPU's lines."""
    of = {
        name: sizes[(source := request.source(model, name)).data, source.collection]
        for stream in model.streams
        for name in stream.collections
    }
    train = []
    for stream in model.streams:
        found = []
        for name in stream.collections:
            every = {size.id: size for size in of[name] if size.split == "train"}
            ids = network_run.taken(model, {id: size.configurations for id, size in every.items()})
            found += [(name, _capped(every[id], getattr(model.settings, "most_configurations", None))) for id in ids]
        train.append((found, *model.of_step(stream)))
    work = needs.Work(
        [([size for _, size in found], count, configurations) for found, count, configurations in train],
        _watched(model, of),
        [_scored(model, size) for name in model.scores for size in of[name] if size.split != "train"],
        model.recipe.apart,
    )
    if (network := solutions.rate_name(model)) not in measured:
        measured[network] = _measured(request, model, *train[0])
    return needs.need(
        model.name,
        model.networks,
        Plan(needs.pools(work), model.settings, request.seed, model.scale),
        work,
        model.settings,
        model.scale,
        measured[network],
        lines.get(network) if model.shrunk == {} else None,
        torch.device(request.device),
    )


def _measured(
    request: Request, model: Model, train: list[tuple[str, Size]], count: int, configurations: int | None
) -> needs.Rates:
    """Measures a model on its typical and its largest train graph, (collection, size) each, as it will be trained."""
    by_size = sorted(train, key=lambda named: named[1].nodes)
    chosen = {place: by_size[place] for place in (len(by_size) // 2, len(by_size) - 1)}
    packed = [request.source(model, name).one(size) for name, size in chosen.values()]
    with network_run.conditions(0, request.device):  # a core for each network, not all cores for one
        fitted = model.recipe.fit(packed)
        network = model.recipe.build(model.settings, fitted).to(request.device)
        part = Part(model.recipe, packed, count, configurations)
        trainer = Trainer(model.name, network, [part], [], model.settings, fitted, request.seed)
        return needs.measured(trainer, model.settings)


def _capped(size: Size, most: int | None) -> Size:
    return size if most is None else replace(size, configurations=min(most, size.configurations))


def _watched(model: Model, of: Mapping[str, list[Size]]) -> list[Size]:
    """Sizes of the valid graphs as a look at them takes them; none where nothing depends on a look."""
    if model.settings.kept != "best" and model.settings.early_stop is None:
        return []
    most = getattr(model.settings, "most_configurations", None) or network_run.WATCHED.get(
        model.recipe.name, network_run.VALID
    )
    sizes = [_capped(size, most) for name in model.scores for size in of[name] if size.split == "valid"]
    return [replace(size, configurations=max(2, round(model.scale * size.configurations))) for size in sizes]


def _scored(model: Model, size: Size) -> Size:
    return size if size.split == "test" else _capped(size, max(2, round(model.scale * network_run.VALID)))


def _told(request: Request, found: list[needs.Need], limits: Limits, gpu: str | None) -> int:
    """Shows the needs, refuses what does not fit, and returns how many networks are trained at a time."""
    gpu = gpu if any(need.gpu_hours is not None for need in found) else None
    device = torch.device(request.device)
    free, largest = needs.available(device), max(need.memory for need in found)
    fits = max(1, int(free // largest))
    workers = 1 if device.type == "cuda" else min(limits.workers or os.cpu_count() or 1, fits)
    workers = max(1, min(workers, sum(need.networks for need in found)))
    wall = sum(need.hours for need in found) / workers
    with pl.Config(
        tbl_rows=-1, tbl_cols=-1, tbl_width_chars=120, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True
    ):
        print(_table(found, gpu))
    where = "this GPU" if device.type == "cuda" else f"this machine, {workers} at a time"
    line = f"{where}: {wall:.2f} hours at most, {workers * largest / needs.GIB:.1f} GiB of {free / needs.GIB:.1f} free"
    hours = [need.gpu_hours for need in found]
    if gpu and None not in hours:
        line += f"; one {gpu}: {sum(hours):.2f} hours"
    print(line, flush=True)
    needs.check(found, free, wall, limits.hours)
    return workers


def _table(found: Sequence[needs.Need], gpu: str | None) -> pl.DataFrame:
    """The table that is shown before a run begins; gpu: name of the GPU of the committed rates."""
    rows = [
        {
            "network": need.model,
            "trained": need.networks,
            "steps": need.steps,
            "parameters": need.parameters,
            "s a step": round(need.step, 4),
            "hours": round(need.hours, 2),
            **({} if gpu is None else {f"hours, {gpu}": None if need.gpu_hours is None else round(need.gpu_hours, 2)}),
            "GiB": round(need.memory / needs.GIB, 2),
        }
        for need in found
    ]
    return pl.DataFrame(rows)


def _begin(request: Request) -> None:
    """Writes settings.json, and removes a submission of other settings or that would become one of other networks."""
    of = {
        model.name: {"networks": model.networks, "scale": model.scale, **asdict(model.settings)}
        for model in request.models.values()
    }
    content = {
        "solution": request.name,
        "size": request.size,
        "seed": request.seed,
        "root": str(request.root),
        "device": request.device,
        "models": of,
    }
    with suppress(FileNotFoundError):
        (request.folder / SUBMISSION).unlink()
    files.replace(request.folder / "settings.json", (json.dumps(content, indent=1) + "\n").encode())


def _finish(request: Request) -> dict:
    """Joins the networks' scores and writes what is told of them; networks of an earlier run with more are removed."""
    current = {request.place(model, number) for model in request.models.values() for number in range(model.networks)}
    for place in set((request.folder / "networks").iterdir()) - current:
        shutil.rmtree(place)
    table = pl.concat([_joined(request, name) for name in COLLECTIONS if name in request.collections])
    scores.write(table, request.folder / "scores.parquet")
    test = table.filter(pl.col("split") == "test")
    rows, expected = [], {}
    for name in request.collections:
        for id, score in scores.by_graph(test.filter(pl.col("collection") == name)).items():
            rows.append(submission.row(name, id, score))
        source = request.source(next(model for model in request.models.values() if name in model.scores), name)
        expected |= {f"{name}:{id}": count for id, count in network_run.configurations(source, "test").items()}
    submission.validate(rows, expected)
    metrics = {"valid": _valid(request, table)}
    if test_metrics := _test(request, rows):
        metrics["test"] = test_metrics
    files.replace(request.folder / "metrics.json", (json.dumps(metrics, indent=1) + "\n").encode())
    submission.write(rows, expected, request.folder / SUBMISSION)
    return metrics


def _joined(request: Request, collection: str) -> pl.DataFrame:
    """The scores of a collection: of each model's networks together, and those of several models added up."""
    total: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]] = {}
    for model in request.models.values():
        if collection not in model.scores:
            continue
        places = [request.place(model, number) for number in range(model.networks)]
        tables = [scores.read(place / "scores.parquet").filter(pl.col("collection") == collection) for place in places]
        every = pl.concat(tables).sort("split", "graph", "configuration", "seed")
        for (split, graph), part in every.group_by(["split", "graph"], maintain_order=True):
            each = part.partition_by("seed", maintain_order=True)
            joined = scoring.together([one["score"].to_numpy() for one in each], model.settings.together)
            _, before = total.get((split, graph), (None, 0.0))
            total[split, graph] = each[0]["configuration"].to_numpy(), before + joined
    frames = [scores.frame(*key, *value[:1], request.name, 0, value[1]) for key, value in sorted(total.items())]
    return pl.concat(frames).insert_column(0, pl.lit(collection).alias("collection"))


def _valid(request: Request, table: pl.DataFrame) -> dict[str, float]:
    """The official metric on valid, of the configurations that were scored."""
    found = {}
    for name in request.collections:
        model = next(model for model in request.models.values() if name in model.scores)
        targets = {graph.id: graph.target for graph in graphs.read(request.source(model, name), "valid")}
        part = table.filter(pl.col("split") == "valid", pl.col("collection") == name)
        values = [
            graph_score(name, of["score"].to_numpy(), targets[id][of["configuration"].to_numpy()])
            for (id,), of in part.group_by(["graph"], maintain_order=True)
        ]
        found[name] = collection_score(values)
    return found | {"mean": float(np.mean(list(found.values())))}


def _test(request: Request, rows: list[submission.Row]) -> dict[str, float]:
    """The official metric on test where solution.csv lies beside the data; empty without."""
    path = request.root.parent / "solution.csv"
    if not path.exists():
        return {}
    ids = {identifier for identifier, _ in rows}
    solution = {identifier: times for identifier, times in read_solution(path).items() if identifier in ids}
    if solution.keys() != ids:
        raise InputError(
            f"{path}: lacks {min(ids - solution.keys())}, a test graph of the data; mend it or take it away"
        )
    found = {name: collection_score(of) for name, of in evaluate(rows, solution).items()}
    return found | {"mean": float(np.mean(list(found.values())))}
