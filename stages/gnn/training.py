"""Training of one network on the graphs of one collection."""

from __future__ import annotations

import copy
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import nn

from stages.errors import InputError
from stages.gnn import state_files
from stages.gnn.batch import Static, join
from stages.gnn.history import History, sampled, stale_weights
from stages.gnn.inference import chunks, embeddings, predict
from stages.gnn.loss import LOSSES
from stages.gnn.network import LayoutNetwork, TileNetwork
from stages.gnn.settings import Settings
from stages.gnn.worker_group import Team
from stages.graphs.collection import is_tile
from stages.scoring.metrics import collection_score, kendall

PRINT_SECONDS = 2
TRIM_SECONDS = 1  # of work between two times that freed memory is handed back
CLIP = 1.0
TOP = 10


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Same seed, same machine: same bits. Sums depend on the number of threads, which is one: the cores train seeds."""
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a tenth of a step; nothing here reads such memory
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.utils.deterministic.fill_uninitialized_memory = filled
        torch.set_num_threads(before[1])


def _precision(device: torch.device) -> AbstractContextManager:
    """bfloat16 for the dense products of a training step on a GPU; scores that are handed on are float32's."""
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()


def build(collection: str, static: Static, settings: Settings) -> nn.Module:
    """An untrained network for graphs with the columns of this one."""
    if is_tile(collection):
        return TileNetwork(static.graph.x.shape[1], static.graph.tile_config.shape[1], settings, static.view)
    return LayoutNetwork(static.graph.x.shape[1], settings, static.view)


def adamw(module: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """AdamW in one pass over each parameter, not the dozen of torch's default on a CPU."""
    return torch.optim.AdamW(
        module.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )


@dataclass
class Progress:
    """Where a training stands; with weights, moments and embeddings, all that it needs to go on from there.

    part: "network", then "head" if that is trained on alone, then "done"; epoch counts from 1 and step from 0 within
    it; losses: of the steps of this epoch; curve: a row per finished epoch; best: the row of the best valid metric.
    """

    part: str = "network"
    epoch: int = 1
    step: int = 0
    losses: list[float] = field(default_factory=list)
    curve: list[dict] = field(default_factory=list)
    best: int | None = None

    def patience_left(self, patience: int) -> bool:
        """Whether one of the last `patience` epochs of this part was the best, or validation says nothing."""
        if self.best is None:
            return True
        rows = sum(row["part"] == self.part for row in self.curve)
        return min(rows, len(self.curve) - 1 - self.best) < patience


class Training:
    """One seed's training, which can be left after any step and goes on from there with the same bytes.

    Every random choice of a step is drawn from (seed, part, epoch, step), so that what `state` returns is all there is.
    """

    def __init__(
        self,
        network: nn.Module,
        train: list[Static],
        valid: list[Static],
        settings: Settings,
        collection: str,
        seed: int,
    ):
        self.network, self.train, self.valid = network, train, valid
        self.settings, self.collection, self.seed = settings, collection, seed
        self.progress = Progress()
        self.averaged = copy.deepcopy(network) if settings.average else network
        self.best_weights: dict[str, torch.Tensor] | None = None
        self.optimizer = adamw(network, settings)
        self.team = Team()
        self.history: History | None = None
        if settings.stores() and not is_tile(collection):
            kept = [static.graph.configurations * self.team.owns(place) for place, static in enumerate(train)]
            shapes = [(count, len(static.segments)) for count, static in zip(kept, train, strict=True)]
            self.history = History(shapes, settings.width)
        self._printed = self._trimmed = 0.0

    def run(self, after_step: Callable[[], None] = lambda: None) -> list[dict]:
        """Trains to the end and leaves the weights of the best epoch in the network; returns the training curve.

        AdamW, learning rate on a cosine to zero, gradients clipped to norm 1; an epoch visits every training graph
        once, in a new order. The best epoch has the best validation metric (`quality`); `patience` epochs without a
        better one end the training. Where validation says nothing (no graph that can be ranked) the last epoch stays.
        Head finetuning then trains the last layer alone, on embeddings of all segments as the best network gives them.
        A line every few seconds goes to stderr, because when it comes is the clock's choice: the console shows it, the
        report, which has the same bytes every time, leaves it out.

        after_step: called when a step's results are in `state`. Rows of the curve: seed, part ("network" or "head"),
        epoch (from 1), loss, valid. Raises InputError where the loss or a score is no number.
        """
        progress, settings = self.progress, self.settings
        if progress.part == "network":
            if self.history is not None and progress.epoch == 1 and progress.step == 0:
                self._refresh()
            self._epochs(settings.epochs, self._network_step, self._predictions, after_step)
            self._restore()
            self.averaged = self.network
            finetunes = settings.finetunes() and settings.finetune > 0 and self.history is not None
            progress.part, progress.epoch, progress.step = "head" if finetunes else "done", 1, 0
            self.optimizer = adamw(self.network.head, settings) if finetunes else self.optimizer
        if progress.part == "head":
            self._refresh()
            pooled = [_pooled(self.network, static) if own else None for static, own in self._watched()]
            self._epochs(settings.finetune, self._head_step, lambda: self._head_predictions(pooled), after_step)
            progress.part = "done"
        self._restore()
        after_step()
        return progress.curve

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """All that `resume` needs: arrays, and what goes into JSON. Of a team every process takes part, and the one
        that leads has it whole."""
        arrays = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        if self.averaged is not self.network:
            arrays |= {f"averaged.{name}": value for name, value in self.averaged.state_dict().items()}
        if self.best_weights is not None:
            arrays |= {f"best.{name}": value for name, value in self.best_weights.items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            arrays |= {f"moments.{number}.{name}": value for name, value in moments.items()}
        arrays = {name: value.detach().cpu().numpy().copy() for name, value in arrays.items()}
        if self.history is not None and self.progress.part == "network":
            arrays["history"] = self._table()
        return arrays, asdict(self.progress)

    def resume(self, arrays: dict[str, np.ndarray], progress: dict) -> None:
        """Puts a training that has not begun where `state` was taken."""
        parts: dict[str, dict] = {}
        for name, value in arrays.items():
            part, _, rest = name.partition(".")
            parts.setdefault(part, {})[rest] = value
        device = next(self.network.parameters()).device
        weights = {
            part: {name: torch.from_numpy(value.copy()).to(device) for name, value in parts[part].items()}
            for part in ("network", "averaged", "best", "moments")
            if part in parts
        }
        self.progress = Progress(**progress)
        self.network.load_state_dict(weights["network"])
        self.best_weights = weights.get("best")
        if self.progress.part == "network" and "averaged" in weights:
            self.averaged.load_state_dict(weights["averaged"])
        if self.progress.part != "network":
            self.averaged = self.network
            self.optimizer = adamw(self.network.head, self.settings)
        moments: dict[int, dict] = {}
        for name, value in weights.get("moments", {}).items():
            number, _, rest = name.partition(".")
            moments.setdefault(int(number), {})[rest] = value
        if moments:
            self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
        if "history" in parts:
            rows = np.split(parts["history"][""], np.cumsum(self._cells())[:-1])
            for place in filter(self.team.owns, range(len(self.train))):
                self.history.part(place)[:] = rows[place]

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.train) // self.settings.graphs)

    def _cells(self) -> list[int]:
        """Rows of the table of each training graph, whoever keeps them."""
        return [static.graph.configurations * len(static.segments) for static in self.train]

    def _table(self) -> np.ndarray:
        if self.team.size == 1:
            return np.asarray(self.history.array)
        empty = [np.broadcast_to(np.float16(0), (cells, self.settings.width)) for cells in self._cells()]
        owned = [self.history.part(place) if self.team.owns(place) else part for place, part in enumerate(empty)]
        return self.team.rows(owned, self.device)

    def _epochs(self, epochs: int, step: Callable, predictions: Callable, after_step: Callable[[], None]) -> None:
        progress = self.progress
        while progress.epoch <= epochs and progress.patience_left(self.settings.patience):
            while progress.step < self.steps:
                rate = 0.5 * (1 + math.cos(math.pi * (progress.epoch - 1 + progress.step / self.steps) / epochs))
                for group in self.optimizer.param_groups:
                    group["lr"] = self.settings.learning_rate * rate
                draw = [self.seed, progress.part == "head", progress.epoch, progress.step]
                torch.manual_seed(int(np.random.default_rng(draw).integers(2**62)))
                chosen = self._graphs()
                progress.losses.append(step(chosen, np.random.default_rng([*draw, 1])))
                progress.step += 1
                if progress.step == self.steps:
                    self._epoch_ends(predictions(), epochs)
                    after_step()
                    break
                after_step()

    def _graphs(self) -> np.ndarray:
        """Places of the training graphs of this step."""
        progress, size = self.progress, self.settings.graphs
        draw = [self.seed, progress.part == "head", progress.epoch]
        order = np.random.default_rng(draw).permutation(len(self.train))
        return order[progress.step * size : (progress.step + 1) * size]

    def _epoch_ends(self, predictions: list[np.ndarray], epochs: int) -> None:
        progress = self.progress
        loss = float(np.mean(progress.losses))
        if not np.isfinite(loss) or not all(np.isfinite(scores).all() for scores in predictions):
            raise InputError(
                f"gnn, {self.collection}: seed {self.seed} diverged in epoch {progress.epoch} (loss {loss}); "
                f"lower gnn.learning_rate, now {self.settings.learning_rate:g}, and train again"
            )
        value = quality(predictions, self.valid)
        row = {"seed": self.seed, "part": progress.part, "epoch": progress.epoch, "loss": loss, "valid": value}
        progress.curve.append(row)
        best = math.nan if progress.best is None else progress.curve[progress.best]["valid"]
        if value > best or (math.isnan(best) and not math.isnan(value)):
            progress.best, best = len(progress.curve) - 1, value
            self.best_weights = copy.deepcopy(self.averaged.state_dict())
        progress.epoch, progress.step, progress.losses = progress.epoch + 1, 0, []
        if self.team.leads and time.monotonic() - self._printed >= PRINT_SECONDS:
            self._printed = time.monotonic()
            print(_line(self.collection, row, epochs, best), file=sys.stderr, flush=True)

    def _network_step(self, chosen: np.ndarray, rng: np.random.Generator) -> float:
        """A step on the graphs at these places; every process of a team draws for all and computes its own."""
        settings, network = self.settings, self.network
        statics = [self.train[place] for place in chosen]
        samples = [sample(static, settings, rng) for static in statics]
        fresh = [sampled(len(static.segments), settings.segments, rng) for static in statics]
        stale = None
        if any(len(static.segments) > len(taken) for static, taken in zip(statics, fresh, strict=True)):
            keep = settings.keep if settings.drops() else None
            pairs = zip(statics, fresh, strict=True)
            stale = [stale_weights(len(static.segments), taken, keep, rng) for static, taken in pairs]
        network.train()
        judged = [np.ptp(static.order[taken]) > 0 for static, taken in zip(statics, samples, strict=True)]
        mine = [row for row, place in enumerate(chosen) if self.team.owns(place)]
        loss = torch.zeros((), device=self.device)
        if mine:
            own, statics, samples, fresh = ([of[row] for row in mine] for of in (chosen, statics, samples, fresh))
            batch = join(statics, samples, fresh).to(self.device)
            others = weight = None
            with _precision(self.device):
                state = network.states(batch)
            if stale is not None:
                weight, others = self._others(own, samples, fresh, [stale[row] for row in mine], batch.order.shape[1])
            with _precision(self.device):
                score = network.scores(state, batch, weight, others)
            loss = LOSSES[settings.loss](score, batch.order, settings.margin, batch.mask)
            loss = loss * (sum(judged[row] for row in mine) / max(sum(judged), 1))
        self._descend(loss, network)
        if mine and self.history is not None:
            with torch.no_grad():
                units = iter(network.embeddings(state, batch).cpu().numpy())
            for place, indices, numbers in zip(own, samples, fresh, strict=True):
                for number in numbers:
                    self.history.write(place, indices, number, next(units)[: len(indices)])
        if settings.average:
            with torch.no_grad():
                for ours, theirs in zip(self.averaged.parameters(), network.parameters(), strict=True):
                    ours.lerp_(theirs, 1 - settings.average)
        if time.monotonic() - self._trimmed >= TRIM_SECONDS:
            state_files.trim()
            self._trimmed = time.monotonic()
        return float(self.team.total(loss.detach().clone()))

    def _others(self, chosen, samples, fresh, stale, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights (units,) of the sampled segments, and what the others' embeddings add up to, (b, k, width)."""
        weights, sums = [], np.zeros((len(chosen), k, self.settings.width), np.float32)
        rows = zip(chosen, samples, fresh, stale, strict=True)
        for row, (place, indices, numbers, (weight, kept)) in enumerate(rows):
            weights += [weight] * len(numbers)
            if self.history is not None:
                sums[row, : len(indices)] = self.history.read(place, indices, kept)
                continue
            with torch.no_grad():
                for number in kept:
                    found = embeddings(self.network, self.train[place], indices, int(number))
                    sums[row, : len(indices)] += found.cpu().numpy()
        return torch.tensor(weights, device=self.device), torch.from_numpy(sums).to(self.device)

    def _head_step(self, chosen: np.ndarray, rng: np.random.Generator) -> float:
        settings, losses = self.settings, []
        for place in chosen:
            static = self.train[place]
            indices = sample(static, settings, rng)
            if not self.team.owns(place):
                continue
            rows = torch.from_numpy(self.history.read(place, indices, np.arange(len(static.segments))))
            score = self.network.head(rows.to(self.device))[:, 0][None]
            order = torch.from_numpy(static.order[indices])[None].to(self.device)
            losses.append(LOSSES[settings.loss](score, order, settings.margin))
        share = len(losses) / len(chosen)
        loss = torch.stack(losses).mean() * share if losses else torch.zeros((), device=self.device)
        self._descend(loss, self.network.head)
        return float(self.team.total(loss.detach().clone()))

    def _descend(self, loss: torch.Tensor, module: nn.Module) -> None:
        self.optimizer.zero_grad()
        if loss.requires_grad:  # a graph whose configurations are all alike says nothing
            loss.backward()
        self.team.add_gradients(module)
        nn.utils.clip_grad_norm_(module.parameters(), CLIP)
        self.optimizer.step()

    def _predictions(self) -> list[np.ndarray]:
        return self._judged([predict(self.averaged, static) if own else None for static, own in self._watched()])

    def _head_predictions(self, pooled: list[torch.Tensor | None]) -> list[np.ndarray]:
        with torch.no_grad():
            return self._judged(
                [None if rows is None else self.network.head(rows)[:, 0].double().cpu().numpy() for rows in pooled]
            )

    def _watched(self) -> Iterator[tuple[Static, bool]]:
        """The validation graphs, and whether they are this process's to score."""
        return ((static, self.team.owns(place)) for place, static in enumerate(self.valid))

    def _judged(self, parts: list[np.ndarray | None]) -> list[np.ndarray]:
        return self.team.scores(parts, [static.graph.configurations for static in self.valid], self.device)

    def _refresh(self) -> None:
        """Writes every segment's embeddings anew."""
        self.network.eval()
        with torch.no_grad():
            for place, static in enumerate(self.train):
                for indices in chunks(static) if self.team.owns(place) else ():
                    for number in range(len(static.segments)):
                        values = embeddings(self.network, static, indices, number)
                        self.history.write(place, indices, number, values.cpu().numpy())
        state_files.trim()

    def _restore(self) -> None:
        """The best epoch's weights, or the last ones where validation says nothing."""
        self.network.load_state_dict(self.best_weights or self.averaged.state_dict())

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device


def fit(
    network: nn.Module, train: list[Static], valid: list[Static], settings: Settings, collection: str, seed: int
) -> list[dict]:
    """Trains a network in place, see `Training.run`, and returns the training curve."""
    return Training(network, train, valid, settings, collection, seed).run()


def quality(predictions: list[np.ndarray], statics: list[Static]) -> float:
    """Validation metric, larger is better: mean over the graphs that can be ranked; NaN where there are none.

    predictions: scores of the configurations of each graph. Layout: Kendall tau-b. Tile: 2 - mean of the predicted ten
    / mean of the best ten; the official best of five is too noisy to choose an epoch by (first-place solution).
    """
    pairs = zip(predictions, statics, strict=True)
    return collection_score(_graph_quality(scores, static) for scores, static in pairs)


def smoothed_slowdown(score: np.ndarray, target: np.ndarray, top: int = TOP) -> float:
    """2 - mean target of the `top` first by score (stable) / mean of the `top` smallest targets; at most 1."""
    chosen = target[np.argsort(score, kind="stable")[:top]]
    return 2 - float(chosen.mean() / np.sort(target)[:top].mean())


def sample(static: Static, settings: Settings, rng: np.random.Generator) -> np.ndarray:
    """Configurations of a graph for one step, ascending: reading them from a memory-mapped file is then one pass.

    All, where there are no more than wanted. uniform: any; spread: one of each of so many equal stretches of the
    ranking, so that fast and slow ones are always there.
    """
    count, wanted = static.graph.configurations, settings.configurations
    if count <= wanted:
        return np.arange(count)
    if settings.sampling == "uniform":
        return np.sort(rng.choice(count, wanted, replace=False))
    ranking = np.argsort(static.order, kind="stable")
    ends = np.linspace(0, count, wanted + 1).astype(np.int64)
    return np.sort(ranking[rng.integers(ends[:-1], ends[1:])])


def _pooled(network: nn.Module, static: Static) -> torch.Tensor:
    """(c, width) the sum of all segments' embeddings of all configurations."""
    network.eval()
    every = np.arange(static.graph.configurations)
    with torch.no_grad():
        return sum(embeddings(network, static, every, number) for number in range(len(static.segments)))


def _graph_quality(scores: np.ndarray, static: Static) -> float:
    target = np.asarray(static.graph.target)
    if not is_tile(static.graph.collection):
        return kendall(scores, target)
    return smoothed_slowdown(scores, target) if len(np.unique(target)) > 1 else float("nan")


def _line(collection: str, row: dict, epochs: int, best: float) -> str:
    name = "top-10" if is_tile(collection) else "tau"
    part = "" if row["part"] == "network" else f"{row['part']} "
    return (
        f"{collection} seed {row['seed']} {part}epoch {row['epoch']}/{epochs} loss {row['loss']:.2f} "
        f"valid {name} {row['valid']:.3f} (best {best:.3f})"
    )
