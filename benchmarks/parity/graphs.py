"""The graphs that both are run on: real files, and a small synthetic one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.graphs.collection import is_tile
from stages.graphs.opcodes import CONVOLUTION, DOT, OPCODE_NUMBERS, RESHAPE
from stages.graphs.tensors import CONVOLUTION_NUMBERS, DIMENSIONS, ELEMENTS, LAYOUT, ROOT, SHAPE

#: names of real files; what they are compared by
REAL = {
    "layout:xla": ("layout/xla/default/train/unet3d", "layout/xla/default/valid/unet_3d.4x4.bf16"),
    "layout:nlp": ("layout/nlp/random/test/23559853d9702baaaacbb0c83fd32266",),
    "tile:xla": (
        "tile/xla/train/retinanet.2x2.fp32_-342c949e14733d96",
        "tile/xla/valid/inception_v3_batch_128_train_426e203f19335d17",
        "tile/xla/test/0a1c5dcfa9f1f4ebcc1282a1d1ca8ecb",
    ),
}
NODES, TILE_NODES, CONFIGURATIONS, CONFIGURABLE = 40, 9, 40, 7


@dataclass(frozen=True)
class Graph:
    """A graph with what train is for it.

    Attributes:
        name: In the table.
        arrays: Of its npz file; made-up run times where it has none.
        train: Arrays of the one graph that features are fitted on.
        note: What was made up.
    """

    name: str
    arrays: dict[str, np.ndarray]
    train: dict[str, np.ndarray]
    note: str = ""


def graphs(collection: str, real: Path | None) -> list[Graph]:
    """The graphs of a collection's kind: those of `REAL` that are there, and the synthetic one."""
    make = synthetic_tile if is_tile(collection) else synthetic_layout
    found = [Graph("synthetic", make(0), make(1))]
    if real is None:
        return found
    kind = ":".join(collection.split(":")[:2])
    arrays = {}
    for name in REAL[kind]:
        path = Path(real, "npz_all", "npz", f"{name}.npz")
        if path.exists():
            with np.load(path, allow_pickle=False) as file:
                arrays[name] = dict(file)
    train = timed(next(iter(arrays.values()), {}))
    for name, part in arrays.items():
        note = "" if part["config_runtime"].all() else "run times made up"
        found.insert(-1, Graph(Path(name).name, timed(part), train, note))
    return found


def synthetic_layout(seed: int) -> dict[str, np.ndarray]:
    """The arrays of a layout file with 40 nodes, two configurations of which are equal."""
    rng = np.random.default_rng(seed)
    arrays = _nodes(rng, NODES)
    ids = np.sort(rng.choice(NODES, CONFIGURABLE, replace=False))
    arrays["node_opcode"][ids] = rng.choice([CONVOLUTION, DOT, RESHAPE], CONFIGURABLE)
    layouts = np.full((CONFIGURATIONS, CONFIGURABLE, 3, 6), -1, np.float32)
    for place in np.ndindex(CONFIGURATIONS, CONFIGURABLE, 3):
        layouts[place][:3] = rng.permutation(3)
    layouts[:, :, 2][:, arrays["node_opcode"][ids] != CONVOLUTION] = -1
    layouts[-1] = layouts[0]
    return arrays | {
        "node_config_ids": ids,
        "node_config_feat": layouts.reshape(CONFIGURATIONS, CONFIGURABLE, 18),
        "node_splits": np.array([[NODES]]),
        "config_runtime": rng.integers(10**6, 10**7, CONFIGURATIONS),
    }


def synthetic_tile(seed: int) -> dict[str, np.ndarray]:
    """The arrays of a tile file with nine nodes."""
    rng = np.random.default_rng(seed)
    bounds = rng.integers(0, 64, (CONFIGURATIONS, 24)).astype(np.float32)
    return _nodes(rng, TILE_NODES) | {
        "config_feat": bounds,
        "config_runtime": rng.integers(10**4, 10**5, CONFIGURATIONS),
        "config_runtime_normalizers": rng.integers(10**4, 10**4 + 10**3, CONFIGURATIONS),
    }


def _nodes(rng: np.random.Generator, nodes: int) -> dict[str, np.ndarray]:
    columns = np.zeros((nodes, 140), np.float32)
    columns[:, 2 + 11] = 1
    columns[:, SHAPE.start : SHAPE.start + 3] = rng.integers(1, 64, (nodes, 3))
    columns[:, ELEMENTS] = columns[:, SHAPE.start : SHAPE.start + 3].prod(1)
    columns[:, 37:43] = rng.integers(0, 5, (nodes, 6))
    columns[:, [44, 52, 60, 76, 84, 116, 120, 124]] = 1
    columns[:, DIMENSIONS.start : DIMENSIONS.start + 2] = rng.integers(0, 3, (nodes, 2))
    columns[:, LAYOUT.start : LAYOUT.start + 3] = [rng.permutation(3) for _ in range(nodes)]
    columns[-1, ROOT] = 1
    opcode = rng.choice([number for number in OPCODE_NUMBERS.values() if number < 100], nodes).astype(np.uint8)
    opcode[opcode == CONVOLUTION] = DOT
    opcode[1] = CONVOLUTION
    columns[1, SHAPE.start + 3] = 8  # batch, two spatial dimensions, features
    columns[1, ELEMENTS] *= 8
    columns[1, LAYOUT.start : LAYOUT.start + 4] = [3, 2, 1, 0]
    columns[1, CONVOLUTION_NUMBERS] = [0, 3, 1, 2, 0, 0, 2, 3, 0, 1, 0, 0, 0, 3]
    # A consumer comes after its producers; most nodes have two.
    edges = {(int(node), int(rng.integers(0, node))) for node in rng.integers(1, nodes, 2 * nodes)}
    edges |= {(node, node - 1) for node in range(1, nodes)}
    return {"node_feat": columns, "node_opcode": opcode, "edge_index": np.array(sorted(edges), np.int64)}


def timed(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays with made-up run times where there are none."""
    if not arrays or arrays["config_runtime"].all():
        return arrays
    made = np.random.default_rng(0).permutation(len(arrays["config_runtime"])) * 1000 + 10**6
    return arrays | {"config_runtime": made.astype(np.int64)}
