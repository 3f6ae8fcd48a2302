"""Timed configurations of a TpuGraphs tuning file as the arrays of the official npz files.

What counts as a run, and how its configuration is laid out, follows google-research-datasets/tpu_graphs: a run that
ended in an error or was not timed is left out; layouts are padded with -1, tile bounds with 0.
"""

import numpy as np

from stages.engine.errors import InputError
from stages.graphs.tensors import LAYOUT_FEATURES, MAX_RANK, SLOTS
from stages.hlo.features import GraphArrays, aggregated, leading
from stages.hlo.hlo_pb2 import ConfigProfile, LayoutConfig, ModuleTuningData, TileSizeConfig

COMPILER_CHOOSES = -1


def layout_configurations(tuning: ModuleTuningData, arrays: GraphArrays) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lists the layout configurations of a program: its c timed runs of nc configurable nodes, in the file's order.

    Args:
        tuning: The tuning file.
        arrays: The graph of its module.

    Returns:
        node_config_ids (nc,) int64, node_config_feat (c, nc, 18) float32 (minor-to-major orders of output, input and
        kernel, each padded to six with -1) and config_runtime (c,) int64 in nanoseconds.

    Raises:
        InputError: There is no configurable node or no timed run, a run does not fit the graph, or a layout has more
            than six dimensions.
    """
    nodes = list(tuning.config_index_to_node)
    count = len(arrays.node_opcode)
    if not nodes:
        raise InputError("no node is configurable; give the tuning file of a layout collection")
    if len(set(nodes)) != len(nodes) or max(nodes) >= count:
        raise InputError(f"configurable nodes must be distinct numbers below {count}; fetch the file again")
    runs = [run for run in tuning.runs if run.module_config.HasField("layout_config") and _is_timed(run)]
    if not runs:
        raise InputError("no run has both a layout configuration and a runtime; give a tuning file with timed runs")
    features = np.full((len(runs), len(nodes), LAYOUT_FEATURES), COMPILER_CHOOSES, dtype=np.float32)
    names = [arrays.names[node] for node in nodes]
    for index, run in enumerate(runs):
        features[index] = _layout_rows(run.module_config.layout_config, names)
    return np.array(nodes, dtype=np.int64), features, _runtimes(runs)


def tile_configurations(tuning: ModuleTuningData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lists the tile sizes of a kernel: its c timed runs, in the file's order.

    Args:
        tuning: The tuning data of one kernel.

    Returns:
        config_feat (c, 24) float32 (kernel, output and input bounds, each padded to six with 0, then their sum and
        product), config_runtime (c,) int64 in nanoseconds and config_runtime_normalizers (c,) int64, the run time of
        the default.

    Raises:
        InputError: No run is timed, or none of the timed ones is the default.
    """
    runs = [run for run in tuning.runs if run.op_config.HasField("tile_size_config") and _is_timed(run)]
    if not runs:
        raise InputError("no run has both a tile size and a runtime; give a tuning file with timed runs")
    defaults = [run for run in runs if run.is_default]
    if not defaults:
        raise InputError("no timed run is marked as the default, whose runtime is the normalizer; fetch the file again")
    features = np.array([_tile_row(run.op_config.tile_size_config) for run in runs], dtype=np.int64).astype(np.float32)
    runtimes = _runtimes(runs)
    return features, runtimes, np.full_like(runtimes, defaults[0].profile.compute_time_ns)


def _is_timed(run: ConfigProfile) -> bool:
    return not run.error and run.profile.compute_time_ns > 0


def _runtimes(runs: list[ConfigProfile]) -> np.ndarray:
    return np.array([run.profile.compute_time_ns for run in runs], dtype=np.int64)


def _layout_rows(configuration: LayoutConfig, names: list[str]) -> list[list[int]]:
    if len(configuration.nodes) != len(names):
        raise InputError(
            f"a run configures {len(configuration.nodes)} nodes where {len(names)} are configurable; fetch the file "
            "again"
        )
    rows = []
    for node, name in zip(configuration.nodes, names, strict=True):
        if len(node.tensors) > len(SLOTS):
            raise InputError(
                f"a run gives a node {len(node.tensors)} layouts, at most {len(SLOTS)} are known; fetch the file again"
            )
        rank = max((len(tensor.dims) for tensor in node.tensors), default=0)
        if rank > MAX_RANK:
            raise InputError(
                f"a run gives instruction {name!r} a layout of rank {rank}, and node_config_feat holds {MAX_RANK} "
                "dimensions; leave the program out"
            )
        row = [dim for tensor in node.tensors for dim in leading(tensor.dims, MAX_RANK, COMPILER_CHOOSES)]
        rows.append(leading(row, LAYOUT_FEATURES, COMPILER_CHOOSES))
    return rows


def _tile_row(tile: TileSizeConfig) -> list[int]:
    return [
        column
        for bounds in (tile.kernel_bounds, tile.output_bounds, tile.input_bounds)
        for column in aggregated(bounds, MAX_RANK, empty_product=0)
    ]
