"""`python -m stages.hlo FILE.pb FOLDER`: raw TpuGraphs protobuf, or a compiler's HLO dump, to official npz files."""

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

import numpy as np

from stages.engine.errors import InputError
from stages.hlo.features import graph_arrays, left_out
from stages.hlo.hlo_pb2 import HloModuleProto, ModuleTuningData, TuningData
from stages.hlo.reading import Source, read
from stages.hlo.tuning import layout_configurations, tile_configurations
from stages.hlo.unsaid import check_ranks, unsaid

EXTRA = "node_feat_extra"
# Leaves room for the fingerprint and the suffix within the 255 bytes that file systems allow.
MAX_NAME = 200


def main() -> int:
    """Run the command line; 0 when every npz is written, 1 after one line on what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m stages.hlo", description=__doc__)
    parser.add_argument(
        "file", type=Path, help="tuning data of a layout program or of tile kernels (.pb), or an HLO dump (.hlo.pb)"
    )
    parser.add_argument("folder", type=Path, help="where the npz files go; made if it is not there")
    parser.add_argument(
        "--padding",
        type=int,
        choices=(0, -1),
        default=0,
        help="after node_feat's lists of dimension numbers: 0 as published, or -1 as the first place had it, which "
        "this project's pipeline does not take (its pad stage puts the -1 in)",
    )
    parser.add_argument(
        "--extra",
        action="store_true",
        help=f"adds the array {EXTRA}: dimension numbers of dots and gathers, which the official files leave out",
    )
    arguments = parser.parse_args()
    try:
        source = read(arguments.file)
        written = write(source, arguments.file, arguments.folder, arguments.padding, arguments.extra)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    if line := unsaid(_modules(source)):
        print(f"{arguments.file}: {line}", file=sys.stderr)
    kind = " (a graph without configurations)" if isinstance(source, HloModuleProto) else ""
    print(f"{len(written)} npz written to {arguments.folder}{kind}")
    return 0


def convert(file: Path, folder: Path, padding: int = 0, extra: bool = False) -> list[Path]:
    """Reads `file` and writes its npz files, as `read` and `write` do; returns the paths written."""
    return write(read(file), file, folder, padding, extra)


def write(source: Source, file: Path, folder: Path, padding: int = 0, extra: bool = False) -> list[Path]:
    """Write the official npz of the layout program, or of each tile kernel, or the graph of a dump, into `folder`.

    A layout npz has the stem of `file`, a tile npz the name and the fingerprint of its kernel. The npz of a dump has
    the name of `file` without .hlo.pb and the arrays of the graph alone: nothing was timed. Nothing is written unless
    the whole file can be read.

    Args:
        source: What `file` holds.
        file: Where it comes from.
        folder: Where the npz files go; made if it is not there.
        padding: As in `graph_arrays`. With -1 the result is no official file, and the pipeline refuses it.
        extra: Adds the array node_feat_extra (n, 28) float32 of `left_out`. It has a key of its own, so that node_feat
            stays the official one. Whoever reads arrays by their names, as the pipeline does, reads the same as without
            it.

    Returns:
        The paths written.

    Raises:
        InputError: Runs and graph do not fit, a tensor has more than six dimensions where that matters (in a dump, or
            in a configuration's layout), or the folder cannot be written.
    """
    try:
        if isinstance(source, HloModuleProto):
            contents = {file.stem.removesuffix(".hlo"): graph_npz(source, padding, extra)}
        elif isinstance(source, ModuleTuningData):
            contents = {file.stem: layout_npz(source, padding, extra)}
        else:
            contents = _tile_contents(source, padding, extra)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_write(folder / f"{name}.npz", arrays) for name, arrays in contents.items()]
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); name a folder that can") from error


def graph_npz(module: HloModuleProto, padding: int = 0, extra: bool = False) -> dict[str, np.ndarray]:
    """Makes the arrays of a program without configurations.

    Args:
        module: The program.
        padding: As in `write`, and so is extra.

    Returns:
        Arrays by the keys that a layout npz has for them.

    Raises:
        InputError: A tensor has more than six dimensions, or the graph is broken.
    """
    check_ranks(module)
    graph = graph_arrays(module, padding)
    return {
        "node_feat": graph.node_feat,
        "node_opcode": graph.node_opcode,
        "edge_index": graph.edge_index,
        "node_splits": graph.node_splits,
    } | _extra(module, extra)


def layout_npz(tuning: ModuleTuningData, padding: int = 0, extra: bool = False) -> dict[str, np.ndarray]:
    """Makes the arrays of a layout npz.

    Args:
        tuning: The tuning file of a program.
        padding: As in `write`, and so is extra.

    Returns:
        Arrays by their official keys.

    Raises:
        InputError: Runs and graph do not fit.
    """
    graph = graph_arrays(tuning.module, padding)
    node_config_ids, node_config_feat, config_runtime = layout_configurations(tuning, graph)
    return {
        "node_feat": graph.node_feat,
        "node_opcode": graph.node_opcode,
        "edge_index": graph.edge_index,
        "node_config_ids": node_config_ids,
        "node_splits": graph.node_splits,
        "node_config_feat": node_config_feat,
        "config_runtime": config_runtime,
    } | _extra(tuning.module, extra)


def tile_npz(tuning: ModuleTuningData, padding: int = 0, extra: bool = False) -> dict[str, np.ndarray]:
    """Makes the arrays of a tile npz.

    Args:
        tuning: The tuning data of one kernel.
        padding: As in `write`, and so is extra.

    Returns:
        Arrays by their official keys.

    Raises:
        InputError: There is no timed run, or no default among them.
    """
    graph = graph_arrays(tuning.module, padding)
    config_feat, config_runtime, normalizers = tile_configurations(tuning)
    return {
        "node_feat": graph.node_feat,
        "node_opcode": graph.node_opcode,
        "edge_index": graph.edge_index,
        "config_feat": config_feat,
        "config_runtime": config_runtime,
        "config_runtime_normalizers": normalizers,
    } | _extra(tuning.module, extra)


def _extra(module: HloModuleProto, wanted: bool) -> dict[str, np.ndarray]:
    return {EXTRA: left_out(module)} if wanted else {}


def _modules(source: Source) -> list[HloModuleProto]:
    if isinstance(source, TuningData):
        return [kernel.module for kernel in source.modules]
    return [source.module if isinstance(source, ModuleTuningData) else source]


def _tile_contents(tuning: TuningData, padding: int, extra: bool) -> dict[str, dict[str, np.ndarray]]:
    contents = {}
    for number, kernel in enumerate(tuning.modules):
        # The name comes from the file: it must not lead out of the folder.
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", kernel.module.name).lstrip(".")[:MAX_NAME] or "kernel"
        name = f"{name}_{kernel.fingerprint:016x}" if kernel.fingerprint else f"{name}_{number}"
        if name in contents:
            name = f"{name}_{number}"
        try:
            contents[name] = tile_npz(kernel, padding, extra)
        except InputError as error:
            raise InputError(f"kernel {number}: {error}") from error
    return contents


def _write(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    with tempfile.TemporaryDirectory(prefix=".npz-", dir=path.parent) as beside:
        unfinished = Path(beside) / "unfinished.npz"
        np.savez_compressed(unfinished, **arrays)
        os.replace(unfinished, path)
    return path


if __name__ == "__main__":
    sys.exit(main())
