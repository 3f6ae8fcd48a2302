"""One network of a solution: its graphs, its training, its scores, and the files that it leaves.

FOLDER/networks/MODEL-NUMBER/weights.safetensors, scores.parquet, curve.csv and, written last, identity: a digest of all
that decides the result. What has another identity is never taken for it, and is made anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import polars as pl
import torch
from safetensors.torch import load_file, save

from stages.engine import code, files, kept
from stages.engine.errors import InputError
from stages.gnn.checkpoint import Checkpoint
from stages.gnn.training import deterministic
from stages.graphs import dataset
from stages.graphs.collection import is_tile
from stages.graphs.dataset import PackedGraph
from stages.scoring import scores
from stages.winners.training import graphs, scoring, solutions
from stages.winners.training.graphs import Source
from stages.winners.training.solutions import Model, Stream
from stages.winners.training.trainer import Part, Trainer

#: modules whose imports, and theirs, shape a result, beside those of the recipe itself. This file counts without its
#: imports: a change of the gnn stage, from which it has checkpoints, is to train nothing anew here.
CODE = ("stages.winners.training.trainer", "stages.winners.training.graphs")
VALID = 1000  # configurations of a valid layout graph that are scored at the end: the official protocol has so many
#: configurations of a valid graph by which weights are chosen; the first place takes all
WATCHED = {"first-place layout": None}


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        name: Of the solution.
        size: One of `solutions.SIZES`.
        collections: Official names of those that the data have.
        root: The folder that holds `npz/`.
        folder: Where the result lies.
        packed: Where packed graphs of all recipes lie.
        device: "cpu" or "cuda".
        scale: As in `solutions.Model`.
        seed: Of the first network; the others have the next ones.
    """

    name: str
    size: str
    collections: tuple[str, ...]
    root: Path
    folder: Path
    packed: Path
    device: str
    scale: float = 1.0
    seed: int = 0

    @property
    def models(self) -> dict[str, Model]:
        """The networks by their names, each after those that it starts from."""
        found = solutions.models(self.name, self.size, self.collections, self.scale)
        return {model.name: model for model in found}

    def source(self, model: Model, collection: str) -> Source:
        """A collection's graphs as a network takes them."""
        return Source(self.root, collection, model.settings.pruning, self.packed)

    def statistics(self, model: Model) -> list[Source]:
        """Other graphs that features are fitted on, whole ones of some places; none where they are the train graphs."""
        pruning, layouts = getattr(model.settings, "statistics", None), model.streams[0].collections
        if pruning is None or any(map(is_tile, layouts)):
            return []
        return [Source(self.root, collection, pruning, self.packed) for collection in layouts]

    def start(self, model: Model) -> Model | None:
        """The network whose weights a training starts from; None for new ones."""
        wanted = getattr(model.settings, "starts_from", None)
        return next((other for other in self.models.values() if other.scores == (wanted,)), None)

    def sources(self) -> list[Source]:
        """All that is to be packed, each once."""
        found = {}
        for model in self.models.values():
            every = [self.source(model, name) for stream in model.streams for name in stream.collections]
            for source in [*every, *self.statistics(model)]:
                found[source.data, source.collection] = source
        return list(found.values())

    def place(self, model: Model, number: int) -> Path:
        """The folder of a network."""
        return self.folder / "networks" / f"{model.name}-{number}"


def identity(request: Request, model: Model, number: int) -> str:
    """Digest of what decides a network's weights and scores: code, libraries, settings, seed, device and data."""
    recipes = [stream.recipe for stream in model.streams]
    modules = sorted({*CODE, *(recipe.build.__module__ for recipe in recipes)})
    sources = [request.source(model, name) for stream in model.streams for name in stream.collections]
    statistics, start = request.statistics(model), request.start(model)
    decides = {
        "code": [code.digest(*modules), hashlib.sha256(Path(__file__).read_bytes()).hexdigest()],
        "libraries": [version(name) for name in ("torch", "torch_geometric")],
        "recipes": [recipe.name for recipe in recipes],
        "streams": [[stream.collections, stream.graphs, stream.configurations] for stream in model.streams],
        "settings": asdict(model.settings),
        "watched": [model.watched, VALID, WATCHED.get(model.recipe.name, VALID)],
        "scale": model.scale,
        "seed": request.seed + number,
        "device": request.device,
        "data": [source.identity() for source in [*sources, *statistics]],
        "start": identity(request, start, 0) if start else None,
    }
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()


def done(request: Request, model: Model, number: int) -> bool:
    """Whether a network's files are there and are those that are asked for."""
    try:
        return (request.place(model, number) / kept.NAME).read_text() == identity(request, model, number)
    except (OSError, ValueError):
        return False


def train_and_score(task: tuple[str, int], *, request: Request) -> None:
    """Trains a network (name of the model, number), or goes on from its checkpoint, and writes its files."""
    model, number = request.models[task[0]], task[1]
    of, seed, place = identity(request, model, number), request.seed + number, request.place(model, number)
    (place / kept.NAME).unlink(missing_ok=True)
    with conditions(seed, request.device):
        trainer = build(request, model, seed)
        checkpoint = Checkpoint(request.folder / "checkpoints" / f"{model.name}-{number}.safetensors", of)
        checkpoint.restore(trainer)
        curve = trainer.run(lambda: checkpoint.after_step(trainer))
        table = _scores(request, model, number, trainer)
    weights = {name: value.detach().cpu().contiguous() for name, value in trainer.network.state_dict().items()}
    files.replace(place / "weights.safetensors", save(weights))
    scores.write(table, place / "scores.parquet")
    schema = {"step": pl.Int64, "loss": pl.Float64, "valid": pl.Float64}
    files.replace(place / "curve.csv", pl.DataFrame(curve, schema=schema).write_csv().encode())
    files.replace(place / kept.NAME, of.encode())
    checkpoint.path.unlink(missing_ok=True)


def build(request: Request, model: Model, seed: int) -> Trainer:
    """The training of a network that has not begun."""
    streams = [_part(request, model, stream) for stream in model.streams]
    fitted = fit(request, model, streams)
    network = model.recipe.build(model.settings, fitted)
    if start := request.start(model):
        network.start_from(load_file(request.place(start, 0) / "weights.safetensors"))
    valid = [
        _watched(model, graph) for name in model.scores for graph in graphs.read(request.source(model, name), "valid")
    ]
    options = {"scale": model.scale, "watched": model.watched}
    return Trainer(model.name, network.to(request.device), streams, valid, model.settings, fitted, seed, **options)


def fit(request: Request, model: Model, streams: list[Part]) -> object:
    """What the features take from train."""
    others = [graph for source in request.statistics(model) for graph in graphs.read(source, "train")]
    return model.recipe.fit(others or streams[0].train)


def taken(model: Model, ids: Mapping[str, int]) -> list[str]:
    """Which train graphs, id -> configurations, a solution takes; it leaves some out by name or as too small."""
    without = getattr(model.settings, "without", None)
    least = getattr(model.settings, "least_configurations", 0)
    found = [id for id, count in ids.items() if count >= least and not (without and without in id)]
    if not found:
        raise InputError(
            f"{model.name}: no train graph is left of {len(ids)}; this solution leaves out too small ones"
            f"{f' and those named {without}' if without else ''}: add others"
        )
    return found


def _part(request: Request, model: Model, stream: Stream) -> Part:
    """A stream's recipe and train graphs."""
    found: list[PackedGraph] = []
    most = getattr(model.settings, "most_configurations", None)
    for name in stream.collections:
        every = {graph.id: graph for graph in graphs.read(request.source(model, name), "train")}
        ids = taken(model, {id: graph.configurations for id, graph in every.items()})
        found += [graphs.thirds(every[id], most) if most else every[id] for id in ids]
    return Part(stream.recipe, found, *model.of_step(stream))


def _watched(model: Model, graph: PackedGraph) -> PackedGraph:
    """A valid graph with the configurations by which weights are chosen."""
    most = getattr(model.settings, "most_configurations", None)
    if most:
        graph = graphs.thirds(graph, most)
    elif not is_tile(graph.collection) and (most := WATCHED.get(model.recipe.name, VALID)):
        graph = graphs.drawn(graph, most)
    return graph if model.scale == 1 else graphs.drawn(graph, max(2, round(model.scale * graph.configurations)))


def _scores(request: Request, model: Model, number: int, trainer: Trainer) -> pl.DataFrame:
    """The scores of all graphs of valid, in `VALID` configurations, and test, with a column for the collection."""
    frames = []
    recipes = {name: stream.recipe for stream in model.streams for name in stream.collections}
    for name in model.scores:
        for split in ("valid", "test"):
            for graph in graphs.read(request.source(model, name), split):
                if split == "valid":
                    most = max(2, round(model.scale * VALID))
                    graph = graph if is_tile(name) else graphs.drawn(graph, most)
                prepared, _ = trainer.features(recipes[name], graph)
                score = scoring.predict(trainer.network, prepared, model.settings)
                frame = scores.frame(split, graph.id, graph.config_index, model.name, number, score)
                frames.append(frame.insert_column(0, pl.lit(name).alias("collection")))
    return pl.concat(frames)


@contextmanager
def conditions(seed: int, device: str) -> Iterator[None]:
    """Those of a training: deterministic as in the gnn stage, on a GPU as far as these networks' sums can be."""
    with deterministic(seed):
        if device == "cuda":
            torch.use_deterministic_algorithms(True, warn_only=True)
        yield


def configurations(source: Source, split: str) -> dict[str, int]:
    """Id -> configurations of a collection's packed graphs."""
    listed = dataset.manifest(dataset.prune_folder(source.data, source.collection))["graphs"][split]
    return {graph["id"]: graph["configurations"] for graph in listed}
