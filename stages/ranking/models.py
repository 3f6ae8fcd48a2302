"""The trained models of a collection, as the pipeline's stages left them below its data folder.

What scoring needs of a collection, all of it written by the stages themselves:

prune/SLUG/manifest.json      how graphs are pruned; which graphs the trees were trained on, for their folds
pad/SLUG/scaler.json          padding, columns, means and deviations
gnn/SLUG/                     parameters.json, weights-SEED.safetensors
gbdt/SLUG/                    parameters.json, trees.json, statistics.json, models/
blend/weights.json            rule and weights of every collection's members

A bundle unpacks to the same folder, see `bundle`. It may come from anybody, so nothing here trusts a file: what is
damaged, missing or of another shape is refused in one line, before a library is handed it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import lightgbm as lgb
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load

from stages import pad
from stages.blend.rules import RULES
from stages.engine.errors import InputError
from stages.gbdt import model_files
from stages.gbdt.ensemble import Ensemble
from stages.gbdt.feature_table import LABELLED
from stages.gbdt.folds import folds
from stages.gbdt.settings import Settings as TreeSettings
from stages.gnn.network import build
from stages.gnn.settings import Settings as NetworkSettings
from stages.graphs.collection import COLLECTIONS, is_tile, name_fault, slug
from stages.graphs.tensors import TILE_FEATURES
from stages.prune.packing import Options
from stages.ranking import tree_text

#: the stages whose scores can be blended
MEMBERS = ("gnn", "gbdt")
WEIGHTS = "blend/weights.json"
#: what to do about a file that is damaged or does not fit
REMEDY = "run make repro again, or give other --models"
LARGEST_FOLDS = 10_000


@dataclass(frozen=True, eq=False)
class Network:
    """The networks of a collection. settings: the stage's knobs; weights: of each seed, safetensors bytes."""

    settings: NetworkSettings
    weights: list[bytes]


@dataclass(frozen=True, eq=False)
class Trees:
    """The trees of a collection. ensemble: of all seeds; columns: names of all columns that its models read."""

    ensemble: Ensemble
    columns: list[str]


@dataclass(frozen=True, eq=False)
class Models:
    """All that is needed to score graphs of one collection.

    Attributes:
        collection: official name.
        options: how its graphs are pruned; None for tiles, which are not.
        padding: -1 or 0, see `pad.run`.
        scalers: of the columns, by "node" and, of tiles, "tile".
        rule: of `blend.rules.RULES`.
        weights: member -> its weight in the blend, in the blend's order.
        network: of the member gnn; None where it is none.
        trees: of the member gbdt; None where it is none.
        trained_on: (n,) split and id of the graphs whose run times the models have seen.
        files: names of the files, below the folder.
    """

    collection: str
    options: Options | None
    padding: int
    scalers: dict[str, pad.Scaler]
    rule: str
    weights: dict[str, float]
    network: Network | None
    trees: Trees | None
    trained_on: list[tuple[str, str]]
    files: list[str]


def collections(folder: Path) -> list[str]:
    """The official names of the collections that have trained models.

    Raises:
        InputError: There are none.
    """
    if not (folder / WEIGHTS).is_file():
        raise InputError(f"{folder}: holds no trained models; run make repro, or give --models FILE")
    known = _json(folder / WEIGHTS)
    if not known or not set(known) <= set(COLLECTIONS):
        raise InputError(f"{folder / WEIGHTS}: names other collections than {', '.join(COLLECTIONS)}; {REMEDY}")
    return [name for name in COLLECTIONS if name in known]


def read(folder: Path, collection: str) -> Models:
    """Reads the models of a collection.

    Args:
        folder: The pipeline's data folder, or what a bundle was unpacked to.
        collection: Official name.

    Raises:
        InputError: A file is missing, damaged, or does not fit the others.
    """
    name = slug(collection)
    manifest_file, scaler_file = f"prune/{name}/manifest.json", f"pad/{name}/scaler.json"
    with refusing(folder / WEIGHTS):
        rule, weights = _blend(_json(folder / WEIGHTS)[collection])
    with refusing(folder / manifest_file):
        manifest = _json(folder / manifest_file)
        options = None if is_tile(collection) else _options(manifest)
        graphs = [(split, _id(entry)) for split in LABELLED for entry in manifest["graphs"][split]]
    with refusing(folder / scaler_file):
        padding, scalers = _scalers(_json(folder / scaler_file), collection)
    files = [WEIGHTS, manifest_file, scaler_file]
    network = trees = None
    if "gnn" in weights:
        network, of_network = _network(folder, collection, scalers)
        files += of_network
    if "gbdt" in weights:
        trees, of_trees = _trees(folder, collection, graphs)
        files += of_trees
    return Models(collection, options, padding, scalers, rule, weights, network, trees, graphs, files)


@contextmanager
def refusing(file: Path) -> Iterator[None]:
    """Turns what a damaged file makes fail into one line that names it."""
    try:
        yield
    except InputError as error:
        raise InputError(error if str(error).startswith(str(file.parent)) else f"{file}: {error}; {REMEDY}") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError):
        raise InputError(f"{file}: does not hold what its stage writes; {REMEDY}") from None


def parsed(content: bytes) -> object:
    """JSON without what only Python takes for a number: NaN and Infinity. Raises ValueError for anything else."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(content, parse_constant=refuse)


def _json(file: Path) -> dict:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); {REMEDY}") from None
    with refusing(file):
        mapping = parsed(content)
        if not isinstance(mapping, dict):
            raise TypeError
    return mapping


def _blend(record: Mapping) -> tuple[str, dict[str, float]]:
    rule, weights = record["rule"], {str(name): float(weight) for name, weight in record["weights"].items()}
    sound = all(0 <= weight <= 1 for weight in weights.values()) and abs(sum(weights.values()) - 1) < 1e-3
    if rule not in RULES or not weights or not set(weights) <= set(MEMBERS) or not sound:
        raise ValueError
    return rule, weights


def _options(manifest: Mapping) -> Options:
    options = Options(**{name: manifest[name] for name in ("hops", "neighbour_edges", "direction", "duplicates")})
    if not isinstance(options.neighbour_edges, bool) or isinstance(options.hops, bool):
        raise TypeError
    return options


def _id(entry: Mapping) -> str:
    id = entry["id"]
    if not isinstance(id, str) or name_fault(id):
        raise ValueError
    return id


def _scalers(content: Mapping, collection: str) -> tuple[int, dict[str, pad.Scaler]]:
    if content["layout_padding"] not in (-1, 0):
        raise ValueError
    columns = {"node": pad.NUMERIC} | ({"tile": TILE_FEATURES} if is_tile(collection) else {})
    return content["layout_padding"], {group: _scaler(content[group], most) for group, most in columns.items()}


def _scaler(content: Mapping, most: int) -> pad.Scaler:
    columns = np.array(content["columns"], np.int64)
    mean, deviation = (np.array(content[name], np.float64) for name in ("mean", "deviation"))
    if columns.ndim != 1 or not columns.shape == mean.shape == deviation.shape:
        raise ValueError
    ascending = (np.diff(columns) > 0).all() and (columns >= 0).all() and (columns < most).all()
    if not (ascending and np.isfinite(mean).all() and np.isfinite(deviation).all() and (deviation > 0).all()):
        raise ValueError
    return pad.Scaler(columns, mean, deviation)


def _settings(file: Path, kind: type, collection: str) -> object:
    """The knobs that a stage was run with, from the parameters.json beside its outputs."""
    knobs = _json(file)
    with refusing(file):
        if knobs.pop("collection") != collection:
            raise ValueError
        return kind(**knobs)


def _network(folder: Path, collection: str, scalers: Mapping[str, pad.Scaler]) -> tuple[Network, list[str]]:
    parameters = f"gnn/{slug(collection)}/parameters.json"
    settings = _settings(folder / parameters, NetworkSettings, collection)
    weights, files = [], [parameters]
    while len(weights) < settings.seeds:
        name = f"gnn/{slug(collection)}/weights-{len(weights)}.safetensors"
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise InputError(f"{folder / name}: cannot be read ({error.strerror}); {REMEDY}") from None
        if fault := _weights_fault(content, collection, settings, scalers):
            raise InputError(f"{folder / name}: {fault}; {REMEDY}")
        weights.append(content)
        files.append(name)
    return Network(settings, weights), files


def _weights_fault(
    content: bytes, collection: str, settings: NetworkSettings, scalers: Mapping[str, pad.Scaler]
) -> str | None:
    """Why these are not the weights of the network that the settings describe; None where they are."""
    try:
        tensors = load(content)
    except SafetensorError:
        return "is no safetensors file or is cut off"
    if settings.layers > len(tensors):  # so that building it ends
        return f"has {len(tensors)} tensors, too few for {settings.layers} layers"
    columns = {group: np.empty((0, len(scaler.columns))) for group, scaler in scalers.items()}
    graph = SimpleNamespace(x=columns["node"], tile_config=columns.get("tile"))
    try:
        with torch.device("meta"):  # which takes no memory, however wide the network claims to be
            network = build(collection, SimpleNamespace(graph=graph, view=settings.view(collection)), settings)
    except (RuntimeError, ValueError, TypeError):
        return f"cannot be of a network as wide as {settings.width}"
    wanted = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in network.named_parameters()}
    found = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    if different := sorted(wanted.keys() ^ found.keys()):
        return f"{'lacks' if different[0] in wanted else 'has'} a tensor {different[0]!r:.80}, unlike the network"
    for name, shape in wanted.items():
        if found[name] != shape:
            return f"{name} is {found[name][1]} {found[name][0]}, and the network's is {shape[1]} {shape[0]}"
        if not torch.isfinite(tensors[name]).all():
            return f"{name} has a value that is NaN or infinite"
    return None


def _trees(folder: Path, collection: str, graphs: Sequence[tuple[str, str]]) -> tuple[Trees, list[str]]:
    place = f"gbdt/{slug(collection)}"
    parameters, asked, statistics = (f"{place}/{name}.json" for name in ("parameters", "trees", "statistics"))
    settings = _settings(folder / parameters, TreeSettings, collection)
    columns = list(_json(folder / statistics))
    trees = _json(folder / asked)
    with refusing(folder / asked):
        if not all(len(trees[name]) == settings.seeds for name in settings.objectives):
            raise ValueError
    if settings.folds > LARGEST_FOLDS:
        raise InputError(f"{folder / parameters}: claims {settings.folds} folds; {REMEDY}")
    names = []
    for seed in range(settings.seeds):
        count = int(folds([id for _, id in graphs], settings.folds, seed).max(initial=0)) + 1
        for objective in settings.objectives:
            names += [
                _checked_model(folder, f"{place}/models/{objective}-{seed}-{fold}", objective, columns)
                for fold in range(count)
            ]
    with refusing(folder / place):
        try:
            ensemble = model_files.read(folder / place, settings, graphs)
        except lgb.basic.LightGBMError:
            raise InputError(f"{folder / place / 'models'}: LightGBM cannot read a model; {REMEDY}") from None
    return Trees(ensemble, columns), [parameters, asked, statistics, *names]


def _checked_model(folder: Path, name: str, objective: str, columns: Sequence[str]) -> str:
    """The name of a model's file with its suffix; InputError where there is none, or one that is unsound."""
    trees, ridge = folder / f"{name}.txt", folder / f"{name}.json"
    if trees.is_file():
        try:
            tree_text.check(trees.read_text("ascii"), objective, columns)
        except (ValueError, IndexError, KeyError) as fault:
            raise InputError(f"{trees}: is no LightGBM model as the pipeline writes it ({fault}); {REMEDY}") from None
        return f"{name}.txt"
    if not ridge.is_file():
        raise InputError(f"{trees}: no such file; {REMEDY}")
    weights = _json(ridge)
    with refusing(ridge):
        if not all(isinstance(weight, int | float) and math.isfinite(weight) for weight in weights.values()):
            raise InputError("has a weight that is no finite number")
        if not set(weights) <= set(columns):
            raise InputError("has weights of other statistics than statistics.json")
    return f"{name}.json"
