"""Pad: packed graphs to model-ready features, in which -1 means "no such place" and 0 the dimension 0.

The published features pad lists of dimension numbers with 0, which is also a dimension's number. The first place of the
competition found this to cost most of what a node's own layout tells (Kaggle discussion 456343) and extracted the
features again; here the padding is put back from each node's rank and opcode.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from stages.engine import checks, engine, files
from stages.engine.errors import InputError
from stages.graphs import dataset
from stages.graphs.collection import SPLITS, is_tile, slug
from stages.graphs.opcodes import CONVOLUTION, OPCODE_NUMBERS, TRANSPOSE
from stages.graphs.tensors import CONVOLUTION_NUMBERS, DIMENSIONS, LAYOUT, MAX_RANK, SHAPE, TILE_FEATURES
from stages.statistics import assignment_columns
from stages.statistics.columns import standardised
from stages.statistics.tile import DESCRIPTIONS
from stages.statistics.tile import tile_statistics as statistics_of_tiles

INPUT_SPATIAL, KERNEL_SPATIAL = slice(95, 99), slice(101, 105)
NUMERIC = 134  # columns before the layout
#: columns of each group before scaling
COLUMNS = {
    "node": NUMERIC,
    "tile": TILE_FEATURES,
    "statistics": len(DESCRIPTIONS),
    "assigned": len(assignment_columns.COLUMNS),
}
# Sizes and counts, from 1 to 1e8: shapes, tuple size and parameter number, windows, group counts, slices and pads.
SIZES = np.r_[21:31, 37:91, 107:133]
# Instructions that name at least one dimension.
NAMES_A_DIMENSION = [
    OPCODE_NUMBERS[name]
    for name in (
        "all-gather all-gather-start all-to-all concatenate get-dimension-size iota reduce reduce-scatter reverse"
        " set-dimension-size sort"
    ).split()
]
FARTHEST = 10  # deviations from the mean that a feature can be
BYTES_PER_WORKER = 1 << 27  # of features: with fewer, one process more takes longer to start than it saves
LARGEST_DIMENSION = 5  # of the vocabulary -1..5 shared with the configurations' layouts


@dataclass(frozen=True)
class Scaler:
    """Which columns vary on train, and how.

    Attributes:
        columns: (F,) int64; the columns that vary.
        mean: (F,) float64; their mean on train.
        deviation: (F,) float64; their standard deviation on train.
    """

    columns: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray

    def apply(self, features: np.ndarray) -> np.ndarray:
        """Scales the columns that vary, and clips them to +-FARTHEST.

        The deviation of a column that varies in a few train nodes is tiny. Unclipped, a node of another family would be
        hundreds of deviations away and drown what a network makes of its other columns.

        Args:
            features: (rows, all columns).

        Returns:
            (rows, F) float32.
        """
        scaled = (features[:, self.columns] - self.mean) / self.deviation
        return np.clip(scaled, -FARTHEST, FARTHEST).astype(np.float32)


@checks.entry("pad", writes=True)
def run(
    *, collection: str, layout_padding: int = -1, statistics: bool = True, data: str | Path = "data"
) -> pl.DataFrame:
    """Writes the model-ready features of every packed graph of a collection to DATA/pad/SLUG, with scaler.json.

    Scalers are fitted on train graphs only: no file of valid or test changes them.

    Args:
        collection: Official name.
        layout_padding: -1, or 0 for the data as published.
        statistics: Whether tiles have the handcrafted statistics beside their bounds, and configurations of layouts
            what layout assignment makes of them beside theirs.
        data: The folder of all outputs.

    Returns:
        A row per column: group ("node", "tile", "statistics" or "assigned"), column, mean, deviation (of the
        transformed values on train) and kept.

    Raises:
        InputError: Prune has not run, or a parameter is faulty.
    """
    if layout_padding not in (-1, 0):
        raise InputError(f"pad.layout_padding: {layout_padding!r} is neither -1 nor 0; mend params.yaml")
    graphs = {split: dataset.graphs(data, collection, split) for split in SPLITS}
    folder = dataset.pad_folder(data, collection)
    train = graphs["train"]
    scalers = {"node": fit(lambda: (features(g.node_feat, g.node_opcode, layout_padding) for g in train))}
    if is_tile(collection):
        scalers["tile"] = fit(lambda: (signed_log(g.config_feat.astype(np.float64)) for g in train))
    keys = [(split, graph.id) for split in SPLITS for graph in graphs[split]]
    parallel = 1 + sum(graph.node_feat.nbytes for split in SPLITS for graph in graphs[split]) // BYTES_PER_WORKER

    def spread(task: Callable, name: str) -> None:
        """Does a task for every graph, with a bar."""
        finished = engine.configured().spread(task, keys, memory_knob="prune.hops", parallel=parallel)
        for _ in tqdm(finished, f"{name} {collection}", len(keys), mininterval=2):
            pass

    work = Path(data, "checkpoints", "pad", slug(collection))
    if statistics:
        # Computed once a graph: fitting reads those of train twice, and writing all of them again.
        spread(partial(_write_columns, collection=collection, data=data, folder=work), "statistics")
        group = "statistics" if is_tile(collection) else "assigned"
        scalers[group] = fit(lambda: (_read_columns(work, "train", g.id) for g in train))
    write = partial(
        _write, collection=collection, layout_padding=layout_padding, scalers=scalers, data=data, columns=work
    )
    spread(write, "pad")
    shutil.rmtree(work, ignore_errors=True)
    dataset.remove_stale(folder, {split: [graph.id for graph in graphs[split]] for split in SPLITS})
    content = {"collection": collection, "layout_padding": layout_padding}
    dataset.write_json(folder / "scaler.json", content | {group: _json(scaler) for group, scaler in scalers.items()})
    return pl.concat([_frame(group, scaler) for group, scaler in scalers.items()])


def features(node_feat: np.ndarray, node_opcode: np.ndarray, layout_padding: int = -1) -> np.ndarray:
    """Transforms all columns of a graph's nodes but the layout; they are not scaled yet.

    Sizes and counts become sign(x) log(1 + |x|).

    Args:
        node_feat: (n, 140) as published.
        node_opcode: (n,).
        layout_padding: With -1 the lists of dimension numbers, columns 31-36 and 93-106, end in -1 and not in 0.

    Returns:
        (n, 134) float64.
    """
    columns = node_feat[:, :NUMERIC].astype(np.float64)
    if layout_padding:
        rank = ranks(node_feat)
        _pad(columns[:, DIMENSIONS], _named_dimensions(node_feat, node_opcode, rank), layout_padding)
        convolution = (node_opcode == CONVOLUTION) | columns[:, CONVOLUTION_NUMBERS].any(1)
        for spatial in (INPUT_SPATIAL, KERNEL_SPATIAL):
            _pad(columns[:, spatial], rank - 2, layout_padding)
        columns[~convolution, CONVOLUTION_NUMBERS] = layout_padding
    columns[:, SIZES] = signed_log(columns[:, SIZES])
    return columns


def own_layout(node_feat: np.ndarray, layout_padding: int = -1) -> np.ndarray:
    """Pads each node's own minor-to-major order beyond its rank.

    A node of rank 2 or more whose six entries are all 0 has no layout: no order repeats a dimension. Dimensions beyond
    5, of the few tensors of rank 7 and more, become 5, the last of the vocabulary.

    Args:
        node_feat: (n, 140) as published.
        layout_padding: What follows the last dimension; 0 for the columns as published.

    Returns:
        (n, 6) int8.
    """
    order = np.minimum(node_feat[:, LAYOUT], LARGEST_DIMENSION).astype(np.int8)
    if layout_padding:
        rank = ranks(node_feat)
        _pad(order, np.where((rank > 1) & ~order.any(1), 0, rank), layout_padding)
    return order


def ranks(node_feat: np.ndarray) -> np.ndarray:
    """Finds the rank of each node's tensor.

    Dimensions are counted to the last that is not zero, so that an empty tensor such as f32[0,3] has rank 2, and up to
    the largest dimension its layout names, which finds f32[3,0].

    Args:
        node_feat: (n, 140) as published.

    Returns:
        (n,) int64, at most 6; 0 for scalars and tuples.
    """
    sized = _length(node_feat[:, SHAPE])
    order = node_feat[:, LAYOUT]
    named = np.where(order.any(1), order.max(1) + 1, 0).astype(np.int64)
    return np.minimum(np.maximum(sized, named), MAX_RANK)


def signed_log(values: np.ndarray) -> np.ndarray:
    """sign(x) log(1 + |x|): products reach 8e8, and paddings can be negative."""
    return np.sign(values) * np.log1p(np.abs(values))


def fit(blocks: Callable[[], Iterable[np.ndarray]]) -> Scaler:
    """Fits a scaler in two passes; columns that are constant over all rows are dropped.

    Args:
        blocks: Each call yields all rows again, in arrays (rows, columns).

    Returns:
        The scaler.
    """
    rows, total, low, high = 0, 0.0, np.inf, -np.inf
    for block in blocks():
        rows, total = rows + len(block), total + block.sum(0)
        low, high = np.minimum(low, block.min(0)), np.maximum(high, block.max(0))
    columns = np.flatnonzero(low < high)
    mean = total[columns] / rows
    squares = sum(((block[:, columns] - mean) ** 2).sum(0) for block in blocks())
    return Scaler(columns, mean, np.sqrt(squares / rows))


def _write(
    key: tuple[str, str],
    *,
    collection: str,
    layout_padding: int,
    scalers: dict[str, Scaler],
    data: str | Path,
    columns: Path,
) -> None:
    """Writes the features of one graph, by split and id."""
    graph = dataset.graph(data, collection, *key)
    path = dataset.graph_file(dataset.pad_folder(data, collection), *key)
    made = _read_columns(columns, *key) if {"statistics", "assigned"} & scalers.keys() else None
    dataset.write_padded(path, tensors(graph, layout_padding, scalers, made))


def _write_columns(key: tuple[str, str], *, collection: str, data: str | Path, folder: Path) -> None:
    """Writes the columns of one graph's configurations, by split and id."""
    content = io.BytesIO()
    np.save(content, configuration_columns(dataset.graph(data, collection, *key)), allow_pickle=False)
    files.replace(_columns_file(folder, *key), content.getvalue())


def _read_columns(folder: Path, split: str, id: str) -> np.ndarray:
    return np.load(_columns_file(folder, split, id), allow_pickle=False)


def _columns_file(folder: Path, split: str, id: str) -> Path:
    return folder / split / f"{id}.npy"


def configuration_columns(graph: dataset.PackedGraph) -> np.ndarray:
    """What is computed of a graph's configurations (c, f), each column with mean 0 and deviation 1 among them.

    Of a kernel the handcrafted statistics of its tiles, of a program what layout assignment makes of its layouts. Which
    configuration is good follows from how it compares with the others, also in a graph of another size. Columns that
    say something of the graph alone are 0, and so dropped by the scaler.
    """
    if graph.codes is None:
        return standardised(statistics_of_tiles(graph)[1])
    return standardised(assignment_columns.assigned(graph, np.arange(graph.configurations)))


def tensors(
    graph: dataset.PackedGraph, layout_padding: int, scalers: dict[str, Scaler], columns: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The tensors of a graph as `dataset.write_padded` takes them.

    Args:
        graph: As packed.
        layout_padding: As of `run`.
        scalers: Of the groups "node", of tiles "tile" and perhaps "statistics", of layouts perhaps "assigned".
        columns: `configuration_columns` of the graph, where they are there already.
    """
    if columns is None and {"statistics", "assigned"} & scalers.keys():
        columns = configuration_columns(graph)
    result = {
        "x": scalers["node"].apply(features(graph.node_feat, graph.node_opcode, layout_padding)),
        "opcode": graph.node_opcode,
        "layout": own_layout(graph.node_feat, layout_padding),
    }
    if "tile" in scalers:
        parts = [scalers["tile"].apply(signed_log(graph.config_feat.astype(np.float64)))]
        if "statistics" in scalers:
            parts.append(scalers["statistics"].apply(columns))
        result["tile_config"] = np.concatenate(parts, axis=1)
    else:
        none = np.empty((graph.configurations, 0), np.float32)
        result["layout_config"] = scalers["assigned"].apply(columns) if "assigned" in scalers else none
    return result


def _named_dimensions(node_feat: np.ndarray, node_opcode: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """How many dimensions each node names in columns 31-36.

    They end at the last that is not 0 but for a transpose, which names all of its dimensions, and instructions that
    name dimension 0 alone. A broadcast whose six entries are 0 counts as that of a scalar, by far the most frequent.
    """
    least = np.where(node_opcode == TRANSPOSE, rank, np.isin(node_opcode, NAMES_A_DIMENSION))
    return np.maximum(_length(node_feat[:, DIMENSIONS]), least)


def _length(lists: np.ndarray) -> np.ndarray:
    """Length (n,) of each row without its trailing zeros."""
    nonzero = lists != 0
    return np.where(nonzero.any(1), lists.shape[1] - nonzero[:, ::-1].argmax(1), 0)


def _pad(lists: np.ndarray, length: np.ndarray, padding: int) -> None:
    """Overwrites what follows the first `length` entries of each row, in place."""
    lists[np.arange(lists.shape[1]) >= length[:, None]] = padding


def _json(scaler: Scaler) -> dict[str, list]:
    return {name: getattr(scaler, name).tolist() for name in ("columns", "mean", "deviation")}


def _frame(group: str, scaler: Scaler) -> pl.DataFrame:
    columns = COLUMNS[group]
    # The types are named because those of no column at all, where every one is constant, cannot be told.
    schema = {"column": pl.Int64, "mean": pl.Float64, "deviation": pl.Float64}
    kept = pl.DataFrame({"column": scaler.columns, "mean": scaler.mean, "deviation": scaler.deviation}, schema)
    kept = kept.with_columns(kept=pl.lit(True))
    every = pl.DataFrame({"group": [group] * columns, "column": np.arange(columns)})
    return every.join(kept, on="column", how="left", maintain_order="left").with_columns(
        pl.col("kept").fill_null(False)
    )
