"""`python -m stages.hlo FILE.pb FOLDER`: raw TpuGraphs protobuf to official npz files."""

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError, Message

from stages.errors import InputError
from stages.hlo.features import graph_arrays, left_out
from stages.hlo.hlo_pb2 import ModuleTuningData, TuningData
from stages.hlo.tuning import layout_configurations, tile_configurations

EXTRA = "node_feat_extra"
# Leaves room for the fingerprint and the suffix within the 255 bytes that file systems allow.
MAX_NAME = 200


def main() -> int:
    """Run the command line; 0 when every npz is written, 1 after one line on what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m stages.hlo", description=__doc__)
    parser.add_argument("file", type=Path, help="tuning data of a layout program or of tile kernels (.pb)")
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
        written = convert(arguments.file, arguments.folder, arguments.padding, arguments.extra)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(written)} npz written to {arguments.folder}")
    return 0


def convert(file: Path, folder: Path, padding: int = 0, extra: bool = False) -> list[Path]:
    """Write the official npz of the layout program, or of each tile kernel, of the tuning file `file` into `folder`.

    padding: see `graph_arrays`; with -1 it is no official file, and the pipeline refuses it. extra: adds the array
    node_feat_extra (n, 28) float32 of `left_out`. It has a key of its own, so that node_feat stays the official one and
    whoever reads arrays by their names, as the pipeline does, reads the same as without it.

    A layout npz has the stem of `file`, a tile npz the name and the fingerprint of its kernel. Nothing is written
    unless the whole file can be read. Returns the paths written. Raises InputError for a file that is not tuning data
    and for a folder that cannot be written.
    """
    tuning = read_tuning(file)
    try:
        if isinstance(tuning, ModuleTuningData):
            contents = {file.stem: layout_npz(tuning, padding, extra)}
        else:
            contents = _tile_contents(tuning, padding, extra)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_write(folder / f"{name}.npz", arrays) for name, arrays in contents.items()]
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); name a folder that can") from error


def read_tuning(file: Path) -> ModuleTuningData | TuningData:
    """The tuning data of `file`: ModuleTuningData for a layout program, TuningData for tile kernels.

    Raises InputError when the file cannot be read, is empty, or is neither of the two.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); name a TpuGraphs .pb file") from error
    if not data:
        raise InputError(f"{file}: is empty; fetch it again")
    layout = _parsed(ModuleTuningData, data)
    # A protobuf does not say what it is. Of the two only layout data has runs at its top level.
    if layout is not None and layout.runs and layout.module.computations:
        return layout
    tile = _parsed(TuningData, data)
    if tile is not None and tile.modules and all(kernel.module.computations for kernel in tile.modules):
        return tile
    raise InputError(f"{file}: is not TpuGraphs tuning data, or is cut short; fetch it again")


def layout_npz(tuning: ModuleTuningData, padding: int = 0, extra: bool = False) -> dict[str, np.ndarray]:
    """The arrays of a layout npz by their official keys; InputError when runs and graph do not fit.

    padding, extra: as in `convert`.
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
    } | _extra(tuning, extra)


def tile_npz(tuning: ModuleTuningData, padding: int = 0, extra: bool = False) -> dict[str, np.ndarray]:
    """The arrays of a tile npz by their official keys; InputError when there is no timed run or no default.

    padding, extra: as in `convert`.
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
    } | _extra(tuning, extra)


def _extra(tuning: ModuleTuningData, wanted: bool) -> dict[str, np.ndarray]:
    return {EXTRA: left_out(tuning.module)} if wanted else {}


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


def _parsed(kind: type[Message], data: bytes) -> Message | None:
    try:
        return kind.FromString(data)
    except DecodeError:
        return None


def _write(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    with tempfile.TemporaryDirectory(prefix=".npz-", dir=path.parent) as beside:
        unfinished = Path(beside) / "unfinished.npz"
        np.savez_compressed(unfinished, **arrays)
        os.replace(unfinished, path)
    return path


if __name__ == "__main__":
    sys.exit(main())
