"""What a run will take: hours and memory, from a few steps that are measured on a typical and on the largest graph.

Seconds of a step are taken as a fixed part and a part that grows with nodes x configurations of a graph, both from two
measured graphs; hours on a GPU by the same line through the rates that `python -m benchmarks.gpu_winners` left
in reports/gpu.json. Memory: weights with gradients and moments, what one step keeps for its backward pass (counted, not
guessed) on the largest graphs, and what the largest chunk takes in scoring. Packing is not counted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch

from stages.engine.errors import InputError
from stages.winners import parts
from stages.winners.training import scoring
from stages.winners.training.drawing import ROOT, Plan, Pool
from stages.winners.training.graphs import Size
from stages.winners.training.trainer import CACHE, Trainer

RATES = Path("reports", "gpu.json")
MEASURED = {"cpu": 2**15, "cuda": 2**20}  # nodes x configurations of a measured step at most: a second or so
REPEATS = 2
BASE = 700 * 2**20  # bytes of a process that has loaded torch
WORKING = 1.3  # gradients and temporary tensors beside what is kept for the backward pass
ALIVE = 4  # tensors as large as the widest that scoring holds at a time
GIB, HOUR = 2**30, 3600


@dataclass(frozen=True)
class Line:
    """Seconds = fixed + slope x cells, where cells are nodes x configurations of a graph."""

    fixed: float
    slope: float

    def __call__(self, cells: float | np.ndarray) -> float | np.ndarray:
        return self.fixed + self.slope * cells


def line(points: Sequence[tuple[float, float]]) -> Line:
    """The line through the measured (cells, seconds) of the smallest and the largest graph; never falling."""
    (few, fast), (many, slow) = min(points), max(points)
    slope = max(0.0, (slow - fast) / (many - few)) if many > few else 0.0
    return Line(max(0.0, fast - slope * few), slope)


@dataclass(frozen=True)
class Rates:
    """What a network takes on a device.

    Attributes:
        step: Of a graph in a training step.
        score: Of a graph that is scored.
        kept: Bytes that a step keeps for its backward pass, for each node and configuration.
        widest: Bytes of the largest of these tensors, likewise.
        parameters: Of the network.
    """

    step: Line
    score: Line
    kept: float
    widest: float
    parameters: int


@dataclass(frozen=True)
class Need:
    """What the networks of a model take.

    Attributes:
        model: Its name.
        networks: How many are trained.
        steps: Of each training, at most.
        parameters: Of a network.
        step: Seconds of a step, mean.
        hours: Of all networks, one after the other, on this machine.
        gpu_hours: The same on the GPU of the committed rates; None where there are none.
        memory: Bytes at most, of one network.
    """

    model: str
    networks: int
    steps: int
    parameters: int
    step: float
    hours: float
    gpu_hours: float | None
    memory: float


@dataclass(frozen=True)
class Work:
    """The graphs of a model's run.

    Attributes:
        train: Sizes of each stream's train graphs, and graphs and configurations of a step.
        watched: Sizes of the graphs that a look at valid scores; empty where there is none.
        scored: Sizes of all graphs that are scored at the end.
        apart: Whether a step goes through one graph after the other.
    """

    train: Sequence[tuple[Sequence[Size], int, int | None]]
    watched: Sequence[Size]
    scored: Sequence[Size]
    apart: bool


def measured(trainer: Trainer, settings: parts.Training) -> Rates:
    """Measures a step and scoring on each graph of a training's first stream; the training is of no use then."""
    recipe, train = trainer.streams[0].recipe, trainer.streams[0].train
    most = MEASURED[trainer.device.type]
    steps, scores, kept, widest = [], [], 0.0, 0.0
    for position, graph in enumerate(train):
        wanted = taken(settings, graph.configurations, trainer.streams[0].configurations)
        count = max(2, min(wanted, most // graph.nodes))
        indices = np.resize(np.arange(graph.configurations), count)
        size = cells(settings, graph.nodes, count)

        def step(position=position, indices=indices) -> None:
            trainer.step(0, [(position, indices)])

        with _Kept(trainer.network) as held:
            step()
        kept, widest = max(kept, held.total / size), max(widest, held.largest / size)
        steps.append((size, _seconds(step, trainer.device)))
        inputs = trainer.features(recipe, graph)[0].inputs(indices).to(trainer.device)
        trainer.network.eval()
        with torch.inference_mode():
            seconds = _seconds(lambda inputs=inputs: trainer.network(inputs), trainer.device)
            scores.append((scored_cells(settings, graph.nodes, count), seconds))
    parameters = sum(parameter.numel() for parameter in trainer.network.parameters())
    return Rates(line(steps), line(scores), kept, widest, parameters)


def taken(settings: parts.Training, there: int, wanted: int | None) -> int:
    """Configurations that a step takes of a graph that has so many."""
    if wanted is None:
        return there
    return wanted if settings.replacement or settings.drawn == ROOT else min(there, wanted)


def cells(settings: parts.Training, nodes: float, count: float) -> float:
    """Nodes x configurations that a step computes of a graph; of a graph in segments, one segment's."""
    segment = getattr(settings, "segment_nodes", None)
    return scored_cells(settings, nodes, count) / (nodes // segment + 1 if segment else 1)


def scored_cells(settings: parts.Training, nodes: float, count: float) -> float:
    """Nodes x configurations; where a graph is encoded once for all configurations, these count by their share."""
    share = getattr(settings, "configuration_share", None)
    return nodes * count if share is None else nodes * (1 + share * count)


def need(
    name: str,
    networks: int,
    plan: Plan,
    work: Work,
    settings: parts.Training,
    scale: float,
    here: Rates,
    there: tuple[Line, Line] | None,
    device: torch.device,
) -> Need:
    """What a model takes by these rates; `there` are the lines of a step and of scoring on another device."""

    def hours(step: Line, score: Line) -> tuple[float, float]:
        shares = np.array(plan.stream_steps) / plan.epoch
        per_step = [graphs * np.mean(step(_cells(settings, sizes, count))) for sizes, graphs, count in work.train]
        mean = float(shares @ per_step)
        looks = plan.steps // plan.every(scale) if work.watched else 0
        watching = looks * _scoring(score, work.watched, settings, device)
        return mean, networks * (plan.steps * mean + watching + _scoring(score, work.scored, settings, device)) / HOUR

    mean, on_this = hours(here.step, here.score)
    on_gpu = None if there is None else hours(*there)[1]
    return Need(
        name, networks, plan.steps, here.parameters, mean, on_this, on_gpu, _memory(work, settings, here, device)
    )


def gpu_rates(path: Path) -> tuple[str | None, dict[str, tuple[Line, Line]]]:
    """The GPU of the committed rates, and network -> its lines of a step and of scoring there."""
    try:
        content = json.loads(path.read_text())["winners"]
    except (OSError, ValueError, KeyError):
        return None, {}
    points: dict[str, dict[str, list]] = {}
    for row in content["rows"]:
        if row.get("part") == "winners" and row.get("fits"):
            of = points.setdefault(row["network"], {"step": [], "inference": []})
            of[row["work"]].append((row["cells"], row["seconds"]))
    lines = {name: (line(of["step"]), line(of["inference"])) for name, of in points.items() if all(of.values())}
    return content["device"]["name"], lines


def available(device: torch.device) -> int:
    """Bytes that are free for a run: of the GPU, or of the machine."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


def check(needs: Sequence[Need], free: float, wall: float, most: float | None) -> None:
    """Refuses a run that does not fit.

    Args:
        needs: Of all models.
        free: Bytes of memory.
        wall: Hours of the run.
        most: Hours that it may take; None for any.

    Raises:
        InputError: A network needs more memory than is free, or the run more hours than it may take.
    """
    largest = max(needs, key=lambda need: need.memory)
    if largest.memory > free:
        raise InputError(
            f"{largest.model}: needs {largest.memory / GIB:.1f} GiB of memory, and {free / GIB:.1f} are free; "
            "take a larger machine or GPU, or --size sample"
        )
    if most is not None and wall > most:
        raise InputError(f"hours: the run needs about {wall:.1f}, and --hours gives {most:g}; give it more, or --scale")


class _Kept:
    """Counts the bytes that a forward pass keeps for the backward pass, weights left out. A context."""

    def __init__(self, network: torch.nn.Module) -> None:
        self._weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
        self._seen: set[int] = set()
        self.total = self.largest = 0
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)

    def __enter__(self) -> _Kept:
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.__exit__(*error)

    def _pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._weights | self._seen:
            self._seen.add(storage.data_ptr())
            self.total += storage.nbytes()
            self.largest = max(self.largest, storage.nbytes())
        return tensor


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    """The least seconds of a few calls, after one to warm up."""
    found = []
    for _ in range(REPEATS + 1):
        begin = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(time.perf_counter() - begin)
    return min(found[1:])


def _cells(settings: parts.Training, sizes: Sequence[Size], wanted: int | None) -> np.ndarray:
    """`cells` of a step on each of these graphs."""
    return np.array(
        [cells(settings, size.nodes, taken(settings, size.configurations, wanted)) for size in sizes], np.float64
    )


def _scoring(score: Line, sizes: Sequence[Size], settings: parts.Training, device: torch.device) -> float:
    """Seconds of scoring graphs once, chunk by chunk."""
    total = 0.0
    for size in sizes:
        chunk = scoring.chunk(settings, size.nodes, device)
        whole, rest = divmod(size.configurations, chunk)
        total += whole * score(scored_cells(settings, size.nodes, chunk))
        total += score(scored_cells(settings, size.nodes, rest)) if rest else 0
    return total


def _memory(work: Work, settings: parts.Training, rates: Rates, device: torch.device) -> float:
    """Bytes of a process that trains and scores a network, at most."""
    together = max(
        np.sort(_cells(settings, sizes, count))[-1 if work.apart else -graphs :].sum()
        for sizes, graphs, count in work.train
    )
    copies = 4 + (settings.kept != "last")  # weights, gradients, two moments; the best or their sum
    chunks = [
        scored_cells(settings, size.nodes, min(size.configurations, scoring.chunk(settings, size.nodes, device)))
        for size in [*work.watched, *work.scored]
    ]
    step, score = WORKING * rates.kept * together, ALIVE * rates.widest * max(chunks, default=0)
    features = min(CACHE, sum(size.nodes for sizes, *_ in work.train for size in sizes) * 4 * 200)
    return BASE + features + 4 * copies * rates.parameters + max(step, score)


def pools(work: Work) -> list[Pool]:
    """Pools of graphs with these sizes, without run times, to count steps."""
    return [
        Pool([np.empty(size.configurations) for size in sizes], graphs, count) for sizes, graphs, count in work.train
    ]
