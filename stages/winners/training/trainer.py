"""One network's training, which can be left after any step and goes on from there with the same bytes."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from cachetools import LRUCache

from stages.engine.errors import InputError
from stages.gnn.worker_group import WorkerGroup
from stages.graphs.dataset import PackedGraph
from stages.winners import gst_paper, parts
from stages.winners.parts import Network, Prepared, Recipe, Training
from stages.winners.training import scoring
from stages.winners.training.drawing import Plan, Pool, rate_steps

CACHE = 2**31  # bytes of features that are kept for the next step
TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass
class Progress:
    """Where a training stands, beside its tensors.

    Attributes:
        part: "network", then "done".
        step: Steps taken.
        loss: Sum of the losses since the last look at valid, and `losses` their number; without those of steps that
            float16 skips.
        curve: A row for each look: step, loss, valid.
        best: Row of the best look.
        averaged: Checkpoints in the average.
        counters: What an optimiser holds that is no tensor.
        scaler: State of the loss's scale, in float16.
    """

    part: str = "network"
    step: int = 0
    loss: float = 0.0
    losses: int = 0
    curve: list[dict] = field(default_factory=list)
    best: int | None = None
    averaged: int = 0
    counters: dict[str, float] = field(default_factory=dict)
    scaler: dict = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Part:
    """A stream's recipe with its train graphs, and how many of a step."""

    recipe: Recipe
    train: Sequence[PackedGraph]
    graphs: int
    configurations: int | None


class Features:
    """Prepared graphs and labels, the last used ones kept up to `CACHE` bytes."""

    def __init__(self, fitted: object) -> None:
        self._fitted = fitted
        self._kept: LRUCache = LRUCache(CACHE, getsizeof=lambda entry: entry[0].nbytes)

    def __call__(self, recipe: Recipe, graph: PackedGraph) -> tuple[Prepared, np.ndarray]:
        # By the object, which the entry keeps alive: a graph may come again with some of its configurations alone.
        key = recipe.name, id(graph)
        if key not in self._kept:
            entry = recipe.prepare(graph, self._fitted), recipe.labels(graph, self._fitted)
            if entry[0].nbytes > CACHE:
                return entry
            self._kept[key] = entry
        return self._kept[key]


class Trainer:
    """A network's training.

    Args:
        name: Of the model, for messages.
        network: New, or with the weights that it starts from; on the device that trains.
        streams: What it is trained on.
        valid: Graphs by which weights are chosen.
        settings: Sizes and training.
        fitted: What the features took from train.
        seed: Of all draws.
        scale: As in `solutions.Model`, and so is `watched`.
    """

    def __init__(
        self,
        name: str,
        network: Network,
        streams: Sequence[Part],
        valid: Sequence[PackedGraph],
        settings: Training,
        fitted: object,
        seed: int,
        scale: float = 1.0,
        watched: str = "tau",
    ) -> None:
        self.name, self.network, self.streams, self.valid = name, network, list(streams), list(valid)
        self.settings, self.seed, self.scale, self.watched = settings, seed, scale, watched
        pools = [Pool([g.runtime for g in each.train], each.graphs, each.configurations) for each in self.streams]
        self.plan = Plan(pools, settings, seed, scale)
        self.fitted, self.features = fitted, Features(fitted)
        self.optimizer = self.streams[0].recipe.optimizer(network, settings)
        self.progress = Progress()
        self.group = WorkerGroup()  # of one; `stages.gnn.checkpoint` asks it
        self.best: dict[str, torch.Tensor] | None = None
        self.sums: dict[str, torch.Tensor] | None = None
        segments = isinstance(settings, gst_paper.Settings)
        self.table = gst_paper.Table(settings.segment_nodes) if segments else None
        scaled = settings.precision == "float16" and self.device.type == "cuda"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=scaled)

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def run(self, after_step: Callable[[], None] = lambda: None) -> list[dict]:
        """Trains to the end and leaves the weights that are kept in the network.

        Valid is looked at where something depends on it: where the best weights are kept or training may end early.

        Args:
            after_step: Called when a step's results are in `state`.

        Returns:
            A row for each look: step, loss (the mean since the look before; None if all steps were skipped), valid.

        Raises:
            InputError: The loss is no number; in float16, not even after the scale has fallen to 1.
        """
        progress = self.progress
        looks = self.settings.kept == "best" or self.settings.early_stop is not None
        every = self.plan.every(self.scale)
        while progress.part == "network" and progress.step < self.plan.steps:
            self._advance()
            progress.step += 1
            last = progress.step == self.plan.steps
            if looks and (progress.step % every == 0 or (last and not progress.curve)):
                self._look()
            if self.settings.kept == "average":
                self._average(every)
            if self._enough():
                break
            if not last:
                after_step()
        if progress.part == "network":
            self._restore()
            progress.part = "done"
            if progress.losses:
                self._row(None)
            after_step()
        return progress.curve

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """All that `resume` needs: arrays, and what goes into JSON."""
        arrays = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        for part, weights in (("best", self.best), ("sums", self.sums)):
            arrays |= {f"{part}.{name}": value for name, value in (weights or {}).items()}
        if self.table is not None:
            arrays |= {f"table.{name}": value for name, value in self.table.known.items()}
        counters = {}
        for number, moments in self.optimizer.state_dict()["state"].items():
            for name, value in moments.items():
                if isinstance(value, torch.Tensor):
                    arrays[f"moments.{number}.{name}"] = value
                else:
                    counters[f"{number}.{name}"] = value
        progress = asdict(self.progress) | {"counters": counters, "scaler": self.scaler.state_dict()}
        return {name: value.detach().cpu().numpy().copy() for name, value in arrays.items()}, progress

    def resume(self, arrays: dict[str, np.ndarray], progress: dict) -> None:
        """Puts a training that has not begun where `state` was taken."""
        found: dict[str, dict[str, torch.Tensor]] = {}
        for name, value in arrays.items():
            part, _, rest = name.partition(".")
            found.setdefault(part, {})[rest] = torch.from_numpy(value.copy())
        self.progress = Progress(**progress)
        self.network.load_state_dict(found["network"])
        on_device = {part: {name: value.to(self.device) for name, value in of.items()} for part, of in found.items()}
        self.best, self.sums = on_device.get("best"), on_device.get("sums")
        if self.table is not None:
            self.table.known = found.get("table", {})
        moments: dict[int, dict] = {}
        for name, value in [*found.get("moments", {}).items(), *self.progress.counters.items()]:
            number, _, rest = name.partition(".")
            moments.setdefault(int(number), {})[rest] = value
        if moments:
            self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
        self.scaler.load_state_dict(self.progress.scaler)

    def _advance(self) -> None:
        """The next step of the plan."""
        progress, settings = self.progress, self.settings
        factor = parts.rate(settings, *rate_steps(settings, self.plan, progress.step, self.table is not None))
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * factor
        draw = self.plan.draw(progress.step)
        seed = int(np.random.default_rng([self.seed, 3, progress.step]).integers(2**62))
        torch.manual_seed(seed)  # of dropout
        random.seed(seed)  # of the share of edges that the fifth place drops
        loss = self.step(draw.stream, draw.graphs)
        if np.isfinite(loss):
            progress.loss, progress.losses = progress.loss + loss, progress.losses + 1
        elif self.scaler.get_scale() <= 1:  # of float16's steps, which are skipped and halve it; others have none
            raise InputError(
                f"{self.name}: seed {self.seed} diverged, the loss of step {progress.step + 1} is no number; "
                "take another --seed"
            )

    def step(self, stream: int, drawn: Sequence[tuple[int, np.ndarray]]) -> float:
        """A step on these graphs of a stream, (position, configurations) each; returns its loss."""
        self.network.train()
        self.network.start_step()
        self.optimizer.zero_grad()
        loss = self._descend(stream, drawn)
        self.scaler.unscale_(self.optimizer)
        self.network.clip(self.settings)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss

    def _descend(self, stream: int, drawn: Sequence[tuple[int, np.ndarray]]) -> float:
        """Adds up the gradients of a step; returns its loss."""
        recipe, train = self.streams[stream].recipe, self.streams[stream].train
        if not recipe.apart:
            batch = [self._inputs(recipe, train[position], indices) for position, indices in drawn]
            with self._precision():
                scores = [self.network(inputs) for inputs, _ in batch]
            loss = _loss(recipe, [score.float() for score in scores], [labels for _, labels in batch])
            loss = loss + self.network.penalty([inputs for inputs, _ in batch])
            self._backward(loss)
            return float(loss.detach())
        total, writes = 0.0, []
        for position, indices in drawn:
            inputs, labels = self._inputs(recipe, train[position], indices)
            with self._precision():
                if self.table is None:
                    score = self.network(inputs)
                else:
                    score, write = self._estimate(train[position], inputs, indices)
                    writes.append(write)
            loss = recipe.loss(score.float()[None], labels[None]) / len(drawn)
            self._backward(loss)
            total += float(loss.detach())
        for table, indices, segment, fresh in writes:
            table[indices, segment] = fresh  # of a configuration drawn twice the last stays
        return total

    def _estimate(self, graph: PackedGraph, inputs: parts.LayoutInputs, indices: np.ndarray):
        """A graph's scores by segments, and what is written to the table after the step."""
        table = self.table.scores(graph).numpy()
        segment = int(torch.randint(table.shape[1], ()))
        fresh = self.network.segment_scores(inputs, segment)[:, 0].float()
        stale = torch.from_numpy(np.delete(table[indices], segment, axis=1))
        kept = (torch.rand(stale.shape) < self.settings.kept_stale).float()
        score = gst_paper.estimate(fresh, stale.to(fresh.device), kept.to(fresh.device))
        return score, (table, indices, segment, fresh.detach().cpu().numpy())

    def _inputs(self, recipe: Recipe, graph: PackedGraph, indices: np.ndarray):
        prepared, labels = self.features(recipe, graph)
        return prepared.inputs(indices).to(self.device), torch.from_numpy(labels[indices]).to(self.device)

    def _backward(self, loss: torch.Tensor) -> None:
        if loss.requires_grad:  # a single configuration has no pairs
            self.scaler.scale(loss).backward()

    def _precision(self) -> AbstractContextManager:
        """The solution's precision on a GPU; float32 on a CPU, where narrow types are slower."""
        kind = TYPES.get(self.settings.precision)
        return nullcontext() if kind is None or self.device.type == "cpu" else torch.autocast("cuda", kind)

    def _look(self) -> None:
        """Scores valid, and keeps the weights if they are the best so far."""
        recipes = {collection: each.recipe for each in self.streams for collection in _collections(each)}
        scores = [
            scoring.predict(self.network, self.features(recipes[graph.collection], graph)[0], self.settings)
            for graph in self.valid
        ]
        value = scoring.quality(self.watched, scores, self.valid) if self.valid else float("nan")
        progress = self.progress
        self._row(value)
        best = None if progress.best is None else progress.curve[progress.best]["valid"]
        if not np.isnan(value) and (best is None or value > best):
            progress.best = len(progress.curve) - 1
            self.best = copy.deepcopy(self.network.state_dict())

    def _row(self, value: float | None) -> None:
        progress = self.progress
        loss = progress.loss / progress.losses if progress.losses else None
        progress.curve.append({"step": progress.step, "loss": loss, "valid": value})
        progress.loss, progress.losses = 0.0, 0

    def _enough(self) -> bool:
        """Whether the last looks were no better than one before them."""
        progress, patience = self.progress, self.settings.early_stop
        return (
            patience is not None and progress.best is not None and len(progress.curve) - 1 - progress.best >= patience
        )

    def _average(self, every: int) -> None:
        """Adds the weights to the average where the solution keeps a checkpoint."""
        step = self.progress.step
        first, last = averaged(self.settings, self.plan.steps)
        if first <= step <= last and (step % every == 0 or (step == last and self.sums is None)):
            weights = self.network.state_dict()
            self.sums = {
                name: value.double() if self.sums is None else self.sums[name] + value
                for name, value in weights.items()
            }
            self.progress.averaged += 1

    def _restore(self) -> None:
        """Puts the weights that are kept into the network."""
        if self.settings.kept == "best" and self.best is not None:
            self.network.load_state_dict(self.best)
        if self.settings.kept == "average" and self.sums is not None:
            mean = {name: value / self.progress.averaged for name, value in self.sums.items()}
            self.network.load_state_dict({name: value.float() for name, value in mean.items()})


def averaged(settings: Training, steps: int) -> tuple[int, int]:
    """First and last step whose weights are averaged, of a training with so many.

    The sixth place names steps of its own trainings; in a shorter one they are the same share, up to the last step.
    """
    first, last = getattr(settings, "averaged", None) or (1, steps)
    return (first, last) if last <= steps else (max(1, first * steps // last), steps)


def _collections(part: Part) -> set[str]:
    return {graph.collection for graph in part.train}


def _loss(recipe: Recipe, scores: list[torch.Tensor], labels: list[torch.Tensor]) -> torch.Tensor:
    """The loss of a step's graphs; where they differ in configurations, the mean of each one's."""
    if len({len(score) for score in scores}) == 1:
        return recipe.loss(torch.stack(scores), torch.stack(labels))
    each = zip(scores, labels, strict=True)
    return torch.stack([recipe.loss(score[None], label[None]) for score, label in each]).mean()
