"""Training of one network on the graphs of one collection."""

from __future__ import annotations

import copy
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict

import numpy as np
import torch
from torch import nn

from stages.engine.errors import InputError
from stages.gnn import memory, sampling
from stages.gnn.batch import Batch, join
from stages.gnn.history import History
from stages.gnn.inference import chunks, embeddings, predict
from stages.gnn.loss import LOSSES
from stages.gnn.prepared_graph import PreparedGraph
from stages.gnn.progress import Progress, line
from stages.gnn.sampling import GraphDraw
from stages.gnn.settings import Settings
from stages.gnn.validation import quality
from stages.gnn.worker_group import WorkerGroup
from stages.graphs.collection import is_tile

PRINT_SECONDS = 2
TRIM_SECONDS = 1  # of work between two times that freed memory is handed back
CLIP = 1.0


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


def adamw(module: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """AdamW in one pass over each parameter, not the dozen of torch's default on a CPU."""
    return torch.optim.AdamW(
        module.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )


class Training:
    """One seed's training, which can be left after any step and goes on from there with the same bytes.

    Every random choice of a step is drawn from (seed, part, epoch, step), so that what `state` returns is all there is.
    """

    def __init__(
        self,
        network: nn.Module,
        train: list[PreparedGraph],
        valid: list[PreparedGraph],
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
        self.group = WorkerGroup()
        self.history: History | None = None
        if settings.stores() and not is_tile(collection):
            self.history = History(self._table_shapes(), settings.width)
        self._printed = self._trimmed = 0.0

    def run(self, after_step: Callable[[], None] = lambda: None) -> list[dict]:
        """Trains to the end and leaves the weights of the best epoch in the network.

        AdamW, learning rate on a cosine to zero, gradients clipped to norm 1; an epoch visits every training graph
        once, in a new order. The best epoch has the best validation metric (`quality`); `patience` epochs without a
        better one end the training. Where validation says nothing (no graph that can be ranked) the last epoch stays.
        Head finetuning then trains the last layer alone, on embeddings of all segments as the best network gives them.
        A line every few seconds goes to stderr, because when it comes is the clock's choice: the console shows it, the
        report, which has the same bytes every time, leaves it out.

        Args:
            after_step: called when a step's results are in `state`.

        Returns:
            The training curve, a row per epoch: seed, part ("network" or "head"), epoch (from 1), loss, valid.

        Raises:
            InputError: the loss or a score is no number.
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
            pooled = self._pooled_by_position()
            self._epochs(settings.finetune, self._head_step, lambda: self._head_predictions(pooled), after_step)
            progress.part = "done"
        self._restore()
        after_step()
        return progress.curve

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """All that `resume` needs: arrays, and what goes into JSON. Of a worker group every process takes part, and
        the one that leads has it whole."""
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
            for position in filter(self.group.owns, range(len(self.train))):
                self.history.part(position)[:] = rows[position]

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.train) // self.settings.graphs)

    def _table_shapes(self) -> list[tuple[int, int]]:
        """Configurations and segments of each training graph in this process's table; 0 and segments of others'."""
        counts = [
            prepared.graph.configurations if self.group.owns(position) else 0
            for position, prepared in enumerate(self.train)
        ]
        return [(count, len(prepared.segments)) for count, prepared in zip(counts, self.train, strict=True)]

    def _cells(self) -> list[int]:
        """Rows of the table of each training graph, whoever keeps them."""
        return [prepared.graph.configurations * len(prepared.segments) for prepared in self.train]

    def _table(self) -> np.ndarray:
        """The table of historical embeddings, whole on the process that leads."""
        if self.group.size == 1:
            return np.asarray(self.history.array)
        parts = [
            self.history.part(position)
            if self.group.owns(position)
            else np.broadcast_to(np.float16(0), (cells, self.settings.width))
            for position, cells in enumerate(self._cells())
        ]
        return self.group.rows(parts, self.device)

    def _epochs(self, epochs: int, step: Callable, predictions: Callable, after_step: Callable[[], None]) -> None:
        progress = self.progress
        while progress.epoch <= epochs and progress.patience_left(self.settings.patience):
            while progress.step < self.steps:
                rate = 0.5 * (1 + math.cos(math.pi * (progress.epoch - 1 + progress.step / self.steps) / epochs))
                for group in self.optimizer.param_groups:
                    group["lr"] = self.settings.learning_rate * rate
                draw = [self.seed, progress.part == "head", progress.epoch, progress.step]
                torch.manual_seed(int(np.random.default_rng(draw).integers(2**62)))
                progress.losses.append(step(self._positions(), np.random.default_rng([*draw, 1])))
                progress.step += 1
                if progress.step == self.steps:
                    self._epoch_ends(predictions(), epochs)
                    after_step()
                    break
                after_step()

    def _positions(self) -> np.ndarray:
        """Positions of the training graphs of this step."""
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
        if self.group.leads and time.monotonic() - self._printed >= PRINT_SECONDS:
            self._printed = time.monotonic()
            print(line(self.collection, row, epochs, best), file=sys.stderr, flush=True)

    def _network_step(self, positions: np.ndarray, rng: np.random.Generator) -> float:
        """A step on the graphs at these positions; returns its loss.

        Every process of a worker group draws for all and computes its own graphs.
        """
        draws = sampling.draw(self.train, positions, self.settings, rng)
        own = [each for each in draws if self.group.owns(each.position)]
        self.network.train()
        loss, batch, states = torch.zeros((), device=self.device), None, None
        if own:
            batch = self._batch(own)
            with _precision(self.device):
                states = self.network.states(batch)
            # The mean over a step's graphs that can be ranked, of which this process has a part.
            share = sum(each.rankable for each in own) / max(sum(each.rankable for each in draws), 1)
            loss = self._loss(own, states, batch) * share
        self._descend(loss, self.network)
        if own and self.history is not None:
            self._write_fresh(own, states, batch)
        self._average()
        self._trim()
        return float(self.group.total(loss.detach().clone()))

    def _batch(self, draws: list[GraphDraw]) -> Batch:
        graphs, samples = [each.prepared for each in draws], [each.sample for each in draws]
        return join(graphs, samples, [each.fresh for each in draws]).to(self.device)

    def _loss(self, draws: list[GraphDraw], states: object, batch: Batch) -> torch.Tensor:
        """The ranking loss of the batch, whose states the network has computed."""
        weight = stale = None
        if draws[0].stale is not None:
            weights = [each.weight for each in draws for _ in each.fresh]
            weight = torch.tensor(weights, device=self.device)
            stale = self._stale_sums(draws, batch.order.shape[1])
        with _precision(self.device):
            score = self.network.scores(states, batch, weight, stale)
        return LOSSES[self.settings.loss](score, batch.order, self.settings.margin, batch.mask)

    def _stale_sums(self, draws: list[GraphDraw], k: int) -> torch.Tensor:
        """(b, k, width) what the embeddings of the stale segments add up to: from the table, or computed anew."""
        sums = np.zeros((len(draws), k, self.settings.width), np.float32)
        for row, each in zip(sums, draws, strict=True):
            own = row[: len(each.sample)]
            if self.history is not None:
                own[:] = self.history.read(each.position, each.sample, each.stale)
                continue
            with torch.no_grad():
                for number in each.stale:
                    own += embeddings(self.network, each.prepared, each.sample, int(number)).cpu().numpy()
        return torch.from_numpy(sums).to(self.device)

    def _write_fresh(self, draws: list[GraphDraw], states: object, batch: Batch) -> None:
        """Writes to the table what the fresh segments add, as the weights before the step give it."""
        with torch.no_grad(), _precision(self.device):
            units = iter(self.network.embeddings(states, batch).float().cpu().numpy())
        for each in draws:
            for number in each.fresh:
                self.history.write(each.position, each.sample, number, next(units)[: len(each.sample)])

    def _average(self) -> None:
        """Moves the averaged weights towards the network's."""
        if not self.settings.average:
            return
        with torch.no_grad():
            for averaged, weight in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
                averaged.lerp_(weight, 1 - self.settings.average)

    def _trim(self) -> None:
        """Hands freed memory back now and then."""
        if time.monotonic() - self._trimmed >= TRIM_SECONDS:
            memory.trim()
            self._trimmed = time.monotonic()

    def _head_step(self, positions: np.ndarray, rng: np.random.Generator) -> float:
        """A step of the last layer alone, on embeddings from the table; returns its loss."""
        settings, losses = self.settings, []
        for position in positions:
            prepared = self.train[position]
            sample = sampling.sample(prepared, settings, rng)
            if not self.group.owns(position):
                continue
            rows = torch.from_numpy(self.history.read(position, sample, np.arange(len(prepared.segments))))
            score = self.network.head(rows.to(self.device))[:, 0][None]
            order = torch.from_numpy(prepared.order[sample])[None].to(self.device)
            losses.append(LOSSES[settings.loss](score, order, settings.margin))
        share = len(losses) / len(positions)
        loss = torch.stack(losses).mean() * share if losses else torch.zeros((), device=self.device)
        self._descend(loss, self.network.head)
        return float(self.group.total(loss.detach().clone()))

    def _descend(self, loss: torch.Tensor, module: nn.Module) -> None:
        self.optimizer.zero_grad()
        if loss.requires_grad:  # a graph whose configurations are all alike says nothing
            loss.backward()
        self.group.add_gradients(module)
        nn.utils.clip_grad_norm_(module.parameters(), CLIP)
        self.optimizer.step()

    def _predictions(self) -> list[np.ndarray]:
        """Scores (c,) of every validation graph."""
        return self._gathered(lambda position: predict(self.averaged, self.valid[position]))

    def _head_predictions(self, pooled: dict[int, torch.Tensor]) -> list[np.ndarray]:
        """The same, by the last layer alone from the graphs' embeddings."""
        with torch.no_grad():
            return self._gathered(lambda position: self.network.head(pooled[position])[:, 0].double().cpu().numpy())

    def _gathered(self, scored: Callable[[int], np.ndarray]) -> list[np.ndarray]:
        """Scores of all validation graphs, of which this process computes its own, by their positions."""
        parts = [scored(position) if self.group.owns(position) else None for position in range(len(self.valid))]
        return self.group.scores(parts, [prepared.graph.configurations for prepared in self.valid], self.device)

    def _pooled_by_position(self) -> dict[int, torch.Tensor]:
        """(c, width) embeddings of the validation graphs that this process scores."""
        positions = filter(self.group.owns, range(len(self.valid)))
        return {position: _pooled(self.network, self.valid[position]) for position in positions}

    def _refresh(self) -> None:
        """Writes the embeddings of every segment to the table, as the weights give them now."""
        self.network.eval()
        with torch.no_grad():
            for position in filter(self.group.owns, range(len(self.train))):
                self._refresh_graph(position)
        memory.trim()

    def _refresh_graph(self, position: int) -> None:
        prepared = self.train[position]
        for sample in chunks(prepared):
            for number in range(len(prepared.segments)):
                values = embeddings(self.network, prepared, sample, number)
                self.history.write(position, sample, number, values.cpu().numpy())

    def _restore(self) -> None:
        """The best epoch's weights, or the last ones where validation says nothing."""
        self.network.load_state_dict(self.best_weights or self.averaged.state_dict())

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device


def fit(
    network: nn.Module,
    train: list[PreparedGraph],
    valid: list[PreparedGraph],
    settings: Settings,
    collection: str,
    seed: int,
) -> list[dict]:
    """Trains a network in place, see `Training.run`, and returns the training curve."""
    return Training(network, train, valid, settings, collection, seed).run()


def _pooled(network: nn.Module, prepared: PreparedGraph) -> torch.Tensor:
    """(c, width) the sum of all segments' embeddings of all configurations."""
    network.eval()
    every = np.arange(prepared.graph.configurations)
    with torch.no_grad():
        return sum(embeddings(network, prepared, every, number) for number in range(len(prepared.segments)))
