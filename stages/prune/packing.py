"""One npz file becomes one packed graph."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.engine.errors import InputError
from stages.graphs import dataset, npz
from stages.graphs.opcodes import OPCODES
from stages.graphs.topology import topological_order
from stages.graphs.whole_program import whole_program
from stages.prune import whole_graph
from stages.prune.coding import DUPLICATES, Configurations, changes
from stages.prune.cut import cut

DIRECTIONS = ("both", "producers", "consumers")


@dataclass(frozen=True)
class Options:
    """How layout graphs are packed; the parameters of params.yaml's section `prune`.

    Attributes:
        hops: How many steps from a configurable node are kept, or "all".
        neighbour_edges: Whether edges between two nodes of the outermost step are kept too.
        direction: Where the steps lead, "both" ways, to "producers" or to "consumers".
        duplicates: Which run time equal configurations of a train graph keep, "first", "mean" or "minimum".

    Raises:
        InputError: A value is none of these.
    """

    hops: int | str = 1
    neighbour_edges: bool = False
    direction: str = "both"
    duplicates: str = "first"

    def __post_init__(self) -> None:
        if self.hops != "all" and not (isinstance(self.hops, int) and self.hops >= 1):
            raise InputError(f"prune.hops: {self.hops!r} is neither a whole number from 1 nor 'all'; mend params.yaml")
        for name, choices in (("direction", DIRECTIONS), ("duplicates", DUPLICATES)):
            if (value := getattr(self, name)) not in choices:
                raise InputError(f"prune.{name}: {value!r} is none of {', '.join(choices)}; mend params.yaml")


@dataclass(frozen=True)
class Sizes:
    """The size of a graph before and after.

    Attributes:
        whole_nodes: Nodes in the file.
        nodes: Nodes kept.
        whole_edges: Edges in the file.
        edges: Edges kept.
        configurable: Configurable nodes.
        configurations: Configurations in the file.
        distinct: Different configurations in the file.
        packed_configurations: Configurations kept.
    """

    whole_nodes: int
    nodes: int
    whole_edges: int
    edges: int
    configurable: int
    configurations: int
    distinct: int
    packed_configurations: int


def pack(source: Path, target: Path, split: str, options: Options | None) -> Sizes:
    """Packs one npz file.

    Args:
        source: The npz file.
        target: The packed graph, which is written whole or not at all; its folder need not exist.
        split: The split of the graph. Only in train equal configurations become one, and only test may have no run
            times.
        options: How a layout graph is packed; None for a tile graph, which is packed whole.

    Returns:
        What was read, and what was written.

    Raises:
        InputError: The file is faulty or beyond what memory may hold; its line begins with the file's path.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _pack_tile(source, target, split) if options is None else _pack_layout(source, target, split, options)
    except InputError as error:
        if str(error).startswith(str(source)):
            raise
        raise InputError(f"{source}: {error}") from None


def _pack_tile(source: Path, target: Path, split: str) -> Sizes:
    arrays = npz.read_tile(source)
    _check_runtime(arrays.config_runtime, split)
    tensors = {
        "node_feat": arrays.node_feat,
        "node_opcode": arrays.node_opcode,
        "edge_index": arrays.edge_index,
        "config_feat": arrays.config_feat,
        "normalizer": arrays.config_runtime_normalizers,
        "runtime": arrays.config_runtime,
        "config_index": np.arange(len(arrays.config_runtime)),
        "whole_opcodes": np.bincount(arrays.node_opcode, minlength=OPCODES),
    }
    order = topological_order(len(arrays.node_feat), arrays.edge_index)
    statistics = whole_graph.statistics(arrays, order, config_nodes=np.empty(0, np.int64), contracted=0)
    dataset.write_packed(target, tensors, statistics)
    return _sizes(arrays, tensors, len({row.tobytes() for row in arrays.config_feat}))


def _pack_layout(source: Path, target: Path, split: str, options: Options) -> Sizes:
    with npz.LayoutFile(source) as layout, tempfile.TemporaryFile(dir=target.parent) as scratch:
        _check_runtime(layout.config_runtime, split)
        order = topological_order(len(layout.node_feat), layout.edge_index)
        contracted = whole_graph.contract(order, layout.edge_index, layout.node_config_ids)
        tensors = cut(layout, options.hops, options.neighbour_edges, options.direction)
        tensors["whole_opcodes"] = np.bincount(layout.node_opcode, minlength=OPCODES)
        tensors["contracted"] = contracted
        tensors |= whole_program(layout)
        statistics = whole_graph.statistics(layout, order, layout.node_config_ids, len(contracted))
        configurations = Configurations(len(layout.node_config_ids), scratch, layout.check)
        for layouts, changed in changes(layout.blocks()):
            configurations.add(layouts, changed)
        duplicates = options.duplicates if split == "train" else None
        tensors |= configurations.tensors(layout.config_runtime, duplicates)
        dataset.write_packed(target, tensors, statistics)
    return _sizes(layout, tensors, configurations.distinct)


def _check_runtime(runtime: np.ndarray, split: str) -> None:
    if split != "test" and not runtime.all():
        raise InputError(f"config_runtime has a zero; a {split} file needs all of its run times")


def _sizes(graph: npz.LayoutFile | npz.TileArrays, tensors: dict[str, np.ndarray], distinct: int) -> Sizes:
    return Sizes(
        whole_nodes=len(graph.node_feat),
        nodes=len(tensors["node_feat"]),
        whole_edges=len(graph.edge_index),
        edges=len(tensors["edge_index"]),
        configurable=len(tensors.get("config_nodes", ())),
        configurations=len(graph.config_runtime),
        distinct=distinct,
        packed_configurations=len(tensors["runtime"]),
    )
