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

import itertools
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
from stages.prune.packing import Options
from stages.ranking import tree_text

#: the stages whose scores can be blended
MEMBERS = ("gnn", "gbdt")
WEIGHTS = "blend/weights.json"
#: what to do about a file that is damaged or does not fit
REMEDY = "run make repro again, or give other --models"
#: numbers of a network that is built without a look at its file
SMALL_NETWORK = 1 << 26
MOST_SEEDS, MOST_FOLDS, MOST_PERMUTATIONS = 1_000, 1_000_000, 1_000


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
        scalers: of the columns, by "node", of tiles "tile" and perhaps "statistics", of layouts perhaps "assigned".
        rule: of `blend.rules.RULES`.
        weights: member -> its weight in the blend, in the blend's order.
        network: of the member gnn; None where it is none.
        trees: of the member gbdt; None where it is none.
        trained_on: (n,) split and id of the graphs whose run times the models have seen.
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
    rule, weights = _blend(folder, collection)
    manifest = folder / _manifest_name(collection)
    with refusing(manifest):
        options = None if is_tile(collection) else _options(_json(manifest))
    graphs = _trained_on(folder, collection)
    scaler = folder / _scaler_name(collection)
    with refusing(scaler):
        padding, scalers = _scalers(_json(scaler), collection)
    network = _network(folder, collection, scalers) if "gnn" in weights else None
    trees = _trees(folder, collection, graphs) if "gbdt" in weights else None
    return Models(collection, options, padding, scalers, rule, weights, network, trees, graphs)


def names(folder: Path, collection: str) -> list[str]:
    """Names, below the folder, of the files that the models of a collection are read from.

    Raises:
        InputError: A file that tells which others there are is missing or damaged.
    """
    _, weights = _blend(folder, collection)
    listed = [WEIGHTS, _manifest_name(collection), _scaler_name(collection)]
    if "gnn" in weights:
        settings = _settings(folder, "gnn", collection)
        listed += [_stage_file("gnn", collection, "parameters.json"), *_weights_names(folder, collection, settings)]
    if "gbdt" in weights:
        settings = _settings(folder, "gbdt", collection)
        listed += [_stage_file("gbdt", collection, f"{name}.json") for name in ("parameters", "trees", "statistics")]
        listed += [name for name, _ in _model_names(folder, collection, settings, _trained_on(folder, collection))]
    return listed


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
    content = _bytes(file)
    with refusing(file):
        mapping = parsed(content)
        if not isinstance(mapping, dict):
            raise TypeError
    return mapping


def _stage_file(stage: str, collection: str, name: str) -> str:
    return f"{stage}/{slug(collection)}/{name}"


def _manifest_name(collection: str) -> str:
    return _stage_file("prune", collection, "manifest.json")


def _scaler_name(collection: str) -> str:
    return _stage_file("pad", collection, "scaler.json")


def _blend(folder: Path, collection: str) -> tuple[str, dict[str, float]]:
    """The rule of a collection's blend, and the weight of each member."""
    with refusing(folder / WEIGHTS):
        record = _json(folder / WEIGHTS)[collection]
        rule, weights = record["rule"], {name: float(weight) for name, weight in record["weights"].items()}
        sound = all(0 <= weight <= 1 for weight in weights.values()) and abs(sum(weights.values()) - 1) < 1e-3
        if rule not in RULES or not set(weights) <= set(MEMBERS) or not sound:
            raise ValueError
    return rule, weights


def _trained_on(folder: Path, collection: str) -> list[tuple[str, str]]:
    """Split and id of the graphs that the models were trained on or chosen by, in the order of the training."""
    file = folder / _manifest_name(collection)
    with refusing(file):
        graphs = _json(file)["graphs"]
        return [(split, _id(entry)) for split in LABELLED for entry in graphs[split]]


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
    groups = ["node", "tile"] if is_tile(collection) else ["node"]
    beside = "statistics" if is_tile(collection) else "assigned"
    groups += [beside] if beside in content else []
    return content["layout_padding"], {group: _scaler(content[group], pad.COLUMNS[group]) for group in groups}


def _scaler(content: Mapping, most: int) -> pad.Scaler:
    columns = np.array(content["columns"], np.int64)
    mean, deviation = (np.array(content[name], np.float64) for name in ("mean", "deviation"))
    if columns.ndim != 1 or not columns.shape == mean.shape == deviation.shape:
        raise ValueError
    ascending = (np.diff(columns) > 0).all() and (columns >= 0).all() and (columns < most).all()
    if not (ascending and np.isfinite(mean).all() and np.isfinite(deviation).all() and (deviation > 0).all()):
        raise ValueError
    return pad.Scaler(columns, mean, deviation)


def _settings(folder: Path, stage: str, collection: str) -> NetworkSettings | TreeSettings:
    """The knobs that a stage was run with, from the parameters.json beside its outputs."""
    file = folder / _stage_file(stage, collection, "parameters.json")
    knobs = _json(file)
    with refusing(file):
        if knobs.pop("collection") != collection:
            raise ValueError
        settings = {"gnn": NetworkSettings, "gbdt": TreeSettings}[stage](**knobs)
    claims = {"seeds": MOST_SEEDS, "folds": MOST_FOLDS, "permutations": MOST_PERMUTATIONS}
    for name, most in claims.items():  # so that what follows ends
        if getattr(settings, name, 0) > most:
            raise InputError(f"{file}: claims {getattr(settings, name)} {name}, more than {most}; {REMEDY}")
    return settings


def _weights_names(folder: Path, collection: str, settings: NetworkSettings) -> list[str]:
    return [_stage_file("gnn", collection, f"weights-{seed}.safetensors") for seed in range(settings.seeds)]


def _network(folder: Path, collection: str, scalers: Mapping[str, pad.Scaler]) -> Network:
    settings, weights = _settings(folder, "gnn", collection), []
    for name in _weights_names(folder, collection, settings):
        content = _bytes(folder / name)
        if fault := _weights_fault(content, collection, settings, scalers):
            raise InputError(f"{folder / name}: {fault}; {REMEDY}")
        weights.append(content)
    return Network(settings, weights)


def _weights_fault(
    content: bytes, collection: str, settings: NetworkSettings, scalers: Mapping[str, pad.Scaler]
) -> str | None:
    """Why these are not the weights of the network that the settings describe; None where they are."""
    try:
        tensors = load(content)
    except (SafetensorError, KeyError, ValueError, RuntimeError):  # KeyError: of a type that torch has not
        return "is no safetensors file or is cut off"
    # The network is built to be compared, so what it claims must be about what there is, but for a small one.
    claimed, there = max(1, settings.layers) * settings.width**2, sum(tensor.numel() for tensor in tensors.values())
    if settings.layers > len(tensors) or claimed > 4 * there + SMALL_NETWORK:
        return f"has {there} numbers, too few for {settings.layers} layers {settings.width} wide"
    configured = np.empty((0, sum(len(scaler.columns) for group, scaler in scalers.items() if group != "node")))
    node = np.empty((0, len(scalers["node"].columns)))
    graph = SimpleNamespace(x=node, tile_config=configured, layout_config=configured)
    network = build(collection, SimpleNamespace(graph=graph, view=settings.view(collection)), settings)
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


def _model_names(
    folder: Path, collection: str, settings: TreeSettings, graphs: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """Yields the name and the objective of each model's file; InputError where there is none."""
    for seed in range(settings.seeds):
        # At most as many folds as graphs, so this ends.
        count = int(folds([id for _, id in graphs], settings.folds, seed).max(initial=0)) + 1
        for objective, fold in itertools.product(settings.objectives, range(count)):
            name = _stage_file("gbdt", collection, f"models/{objective}-{seed}-{fold}")
            suffix = next((suffix for suffix in (".txt", ".json") if (folder / f"{name}{suffix}").is_file()), None)
            if suffix is None:
                raise InputError(f"{folder / name}.txt: no such file; {REMEDY}")
            yield name + suffix, objective


def _trees(folder: Path, collection: str, graphs: Sequence[tuple[str, str]]) -> Trees:
    settings = _settings(folder, "gbdt", collection)
    place = folder / "gbdt" / slug(collection)
    columns, asked = list(_json(place / "statistics.json")), _json(place / model_files.TREES)
    with refusing(place / model_files.TREES):
        if not all(len(asked[name]) == settings.seeds for name in settings.objectives):
            raise ValueError
    for name, objective in _model_names(folder, collection, settings, graphs):
        _check_model(folder / name, objective, columns)
    try:
        return Trees(model_files.read(place, settings, graphs), columns)
    except lgb.basic.LightGBMError:
        raise InputError(f"{place / 'models'}: LightGBM cannot read a model; {REMEDY}") from None


def _check_model(file: Path, objective: str, columns: Sequence[str]) -> None:
    """Refuses a model that is unsound: LightGBM's text, or the weights of a ridge."""
    if file.suffix == ".txt":
        try:
            tree_text.check(_bytes(file).decode("ascii"), objective, columns)
        except InputError:
            raise
        except (ValueError, IndexError, KeyError, OverflowError) as fault:
            text = fault if type(fault) is ValueError else "damaged"
            raise InputError(f"{file}: is no LightGBM model as the pipeline writes it ({text}); {REMEDY}") from None
        return
    weights = _json(file)
    with refusing(file):
        if not all(type(weight) in (int, float) and math.isfinite(weight) for weight in weights.values()):
            raise InputError("has a weight that is no finite number")
        if not set(weights) <= set(columns):
            raise InputError("has weights of other statistics than statistics.json")


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); {REMEDY}") from None
