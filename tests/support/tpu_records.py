"""Hand-made records of the TPU data set: a small program of the zoo's name, and kernels."""

from __future__ import annotations

import numpy as np

from stages.collect import record
from stages.collect.tpu_data import tiles
from stages.collect.tpu_data.compiled import Compiled, TiledKernel
from stages.collect.tpu_data.kinds import key_of
from stages.collect.tpu_data.store import Store, as_bytes
from stages.collect.tpu_data.work import collections_of
from stages.hlo import hlo_pb2

#: programs of the zoo: two of a family that is trained on, a test program of another family
TRAIN, VALID, TEST = "resnet50_b32_forward", "xception_b32_forward", "capsnet_mnist_b128_train"
#: nodes of the hand-made graph that may be configured, in another order than the graph's
NAMES = ["reshape.3", "dot.2"]


def module(name: str = "m", size: int = 64) -> hlo_pb2.HloModuleProto:
    """x, w -> dot.2 -> reshape.3, all of size × size"""
    proto = hlo_pb2.HloModuleProto(name=name)
    computation = proto.computations.add(name="main", id=1, root_id=3)
    rows = [("x.0", "parameter", []), ("w.1", "parameter", []), ("dot.2", "dot", [0, 1]), ("reshape.3", "reshape", [2])]
    for number, (instruction, opcode, operands) in enumerate(rows):
        line = computation.instructions.add(name=instruction, opcode=opcode, id=number, operand_ids=operands)
        line.shape.element_type = 11
        line.shape.dimensions.extend([size, size])
        line.shape.layout.minor_to_major.extend([1, 0])
    return proto


def kernel(text: str, kind: str = "dot", time_ns: float = 200.0) -> TiledKernel:
    return TiledKernel(key_of(text), kind, "fusion.1", 1, time_ns, text, (), (8, 1), ())


def write_program(store: Store, identifier: str, kernels: tuple[TiledKernel, ...] = (), asked: int = 40) -> None:
    store.finish(identifier, asked)
    proto = hlo_pb2.HloProto(hlo_module=module()).SerializeToString()
    Compiled("before", "assigned", proto, 5000.0, kernels).write(store.program(identifier), identifier)


def write_layouts(store: Store, identifier: str, times_ns, searches=("random", "default")) -> None:
    """Configuration i constrains the dot's output to layout (i % 2, 1 - i % 2) and names i in the reshape's columns."""
    count = len(times_ns)
    rows = np.full((count, 2, 3, 6), -1, np.int8)
    rows[:, 0, 0, :2] = [(i // 6 % 6, i % 6) for i in range(count)]
    rows[:, 1, 0, :2] = [(i % 2, 1 - i % 2) for i in range(count)]
    meta = {"id": identifier, "names": NAMES, "asked": count, "errors": 2, "banned": [], "own_ns": 5000.0}
    for search in searches:
        path = store.graph(collections_of(identifier)[search], identifier)
        record.write(path, meta, configurations=rows, times_ns=np.array(times_ns, float))


def write_kernel(store: Store, kernel: TiledKernel, times_ns, size: int = 64) -> None:
    rows = np.zeros((len(times_ns), 24), np.int32)
    rows[:, 8] = np.arange(1, len(times_ns) + 1)
    meta = {"id": kernel.key, "kind": kernel.kind, "asked": 60, "errors": 1, "own_ns": kernel.time_ns}
    record.write(
        store.graph(tiles.COLLECTION, kernel.key),
        meta,
        proto=as_bytes(module("kernel", size).SerializeToString()),
        config_feat=rows,
        times_ns=np.array(times_ns, float),
    )


def spread(count: int, factor: float = 2.0) -> np.ndarray:
    """Times of so many different configurations, the slowest `factor` times the fastest."""
    return np.linspace(1e6, factor * 1e6, count)
