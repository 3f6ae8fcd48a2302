"""The kernels of the tile collection, in the order in which they are measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stages.collect.cpu.kernels import normalisation, pointwise, products, windows
from stages.collect.cpu.kernels.operation import Operation


@dataclass(frozen=True)
class Kernel:
    """One kernel whose output tile size is chosen."""

    id: str  # unique, file-name safe: kind, variant, element type, sizes
    kind: str
    split: str  # 'train', 'valid' or 'test'
    kin: str  # 'sibling' (its kind is trained on, its shape is not), 'unseen' (its kind never is), 'train'
    operation: Operation


@dataclass(frozen=True)
class Kind:
    """All kernels of one kind."""

    build: Callable[..., Operation]
    shapes: str  # each a variant and its sizes, `|` between two
    unseen: str | None = None  # the split that all of them are in; None for a kind that is trained on


#: Positions in a trained kind's shapes that are held out; early ones, so that a short collection has them too.
HELD_OUT = {1: "test", 4: "valid", 9: "test"}

KINDS: dict[str, Kind] = {
    "dot": Kind(
        products.dot,
        "nn 256 192 384|nn 100 128 300|nt 256 128 256|tn 192 96 320|nn 144 200 260|nn 512 64 256|nt 300 100 200|"
        "tn 256 256 128|nn 384 48 384|nn 200 150 333|nt 128 384 192|nn 320 80 500|tn 120 160 420|nn 96 512 128|"
        "nt 450 60 210",
    ),
    "batched_dot": Kind(
        products.batched_dot,
        "nn 8 64 64 64|nt 4 100 48 100|nn 12 48 32 96|nt 16 40 64 40|nn 6 72 50 90|nn 3 128 96 128|nt 8 50 100 70|"
        "nn 24 32 48 64|nt 12 64 16 64|nn 5 110 64 75|nn 2 200 80 160|nt 6 96 32 96|nn 10 60 120 36|nt 20 49 32 49|"
        "nn 32 30 20 50",
    ),
    "dense": Kind(
        products.dense,
        "gelu 256 128 256|relu 100 96 400|tanh 192 64 256|silu 300 80 200|relu 144 144 288|gelu 128 256 128|"
        "sigmoid 320 48 240|tanh 90 200 330|relu 512 32 192|silu 220 120 180|gelu 384 64 150|relu 160 320 160|"
        "sigmoid 125 90 375|gelu 64 192 512|tanh 250 50 250",
    ),
    "convolution": Kind(
        windows.convolution,
        "plain 1 28 28 16 32 3 1|relu 2 14 14 32 48 3 1|plain 1 32 32 8 24 3 1|relu 1 20 30 12 40 3 1|"
        "plain 4 14 14 24 36 1 1|relu 1 16 16 32 64 3 2|plain 1 56 56 3 16 3 2|plain 2 24 24 10 20 3 1|"
        "relu 1 40 40 6 18 5 1|plain 1 25 35 20 30 3 1|plain 2 28 28 32 48 1 1|relu 3 12 12 40 40 3 1|"
        "plain 1 48 48 4 32 5 2|relu 1 36 20 16 28 3 1|plain 4 10 18 16 50 3 1",
    ),
    "depthwise_convolution": Kind(
        windows.depthwise_convolution,
        "plain 1 28 28 32 3 1|plain 2 14 14 48 3 1|plain 1 40 40 16 3 1|plain 1 30 20 40 3 1|plain 1 24 24 36 5 1|"
        "plain 1 20 20 64 3 2|plain 2 16 16 32 3 1|plain 1 48 24 20 3 1|plain 1 33 33 24 3 1|plain 1 22 26 50 3 1|"
        "plain 3 14 14 40 3 1|plain 1 56 28 12 3 2|plain 1 18 18 72 3 1|plain 4 12 12 30 5 1|plain 1 32 32 28 3 2",
    ),
    "reduce": Kind(
        normalisation.reduce,
        "sum2 16 100 256|max1 16 128 300|sum0 48 128 100|norm2 12 200 144|expsum1 20 64 250|sum1 40 64 150|"
        "sumi2 8 300 120|norm1 32 96 160|max0 64 90 120|expsum2 10 120 200|maxi1 24 60 400|sum0 64 50 300|"
        "norm0 32 200 80|max2 24 80 150|expsum0 40 50 200",
    ),
    "transpose": Kind(
        pointwise.transpose,
        "10 512 384|021 16 100 300|102 64 48 200|210 40 96 128|0213 4 64 8 96|10i 300 700|021 8 256 192|"
        "102 100 30 150|0231 4 32 48 64|210 50 60 150|10 1000 250|0321 3 40 60 64|120 64 80 90|201i 48 100 72|"
        "0312 6 20 50 80",
    ),
    "elementwise": Kind(
        pointwise.elementwise,
        "gate 256 300|fma 512 512|swish 16 100 128|adam 300 500|gate 8 96 200|hash 512 300|fma 32 64 150|"
        "swish 384 384|gate 400 250|adam 12 128 160|hash 20 100 144|swish 6 50 400|fma 1000 200|gate 4 32 32 48|"
        "adam 640 256",
    ),
    "softmax": Kind(
        normalisation.softmax,
        "plain 8 100 128|plain 12 64 200|log 16 80 96|plain 4 200 150|log 6 128 256|plain 24 96 64|"
        "plain 5 90 300|log 20 60 100|plain 4 6 50 80|log 10 144 72|plain 6 160 256|plain 32 40 120|log 4 150 160|"
        "plain 2 8 64 64|plain 7 110 190",
    ),
    "layer_norm": Kind(
        normalisation.layer_norm,
        "layer 8 128 192|layer 6 100 256|rms 16 96 128|layer 8 200 100|rms 12 70 300|layer 24 100 96|rms 8 160 200|"
        "layer 10 110 144|rms 20 64 200|layer 6 125 180|rms 5 240 128|layer 32 96 80|rms 9 90 240|layer 4 12 24 160|"
        "rms 7 150 320",
    ),
    "broadcast_bias_activation": Kind(
        pointwise.broadcast_bias_activation,
        "gelu 256 384|relu 16 100 200|tanh 300 400|silu 8 128 150|sigmoid 512 250|relu 640 512|gelu 12 96 120|"
        "tanh 24 50 128|silu 400 333|sigmoid 6 140 180|gelu 1000 100|relu 4 40 40 64|tanh 128 700|silu 20 80 96|"
        "gelu 3 200 240",
    ),
    "gather_rows": Kind(
        pointwise.gather_rows,
        "plain 128 256 1024|plain 200 300 2000|tanh 64 192 800|plain 100 128 3000|tanh 256 200 1200|plain 96 500 600|"
        "plain 300 100 4000|tanh 150 160 1400|plain 48 384 1600|tanh 80 320 900|plain 180 240 1800|plain 64 640 1000|"
        "tanh 120 96 2400|plain 220 150 2600|tanh 40 250 1280",
    ),
    "pooling": Kind(
        windows.pooling,
        "max 3 28 28 48 2 2|mean 6 14 14 64 3 1|max 3 32 32 24 3 2|mean 3 40 20 30 2 2|max 12 16 16 20 3 1|"
        "mean 3 24 36 40 3 2|max 6 25 25 18 5 1",
        unseen="valid",
    ),
    "outer": Kind(
        products.outer,
        "product 4 200 300|tanhsum 8 96 100|distance 2 256 192|product 16 64 256|tanhsum 3 150 250|distance 6 80 220|"
        "product 1 640 512",
        unseen="valid",
    ),
    "attention": Kind(
        products.attention,
        "softmax 8 64 64 32|softmax 4 100 80 24|relu 6 96 48 32|softmax 12 48 50 16|relu 4 160 64 24|"
        "softmax 6 128 60 28|softmax 16 40 40 20|softmax 10 72 50 30",
        unseen="test",
    ),
    "stencil": Kind(
        windows.stencil,
        "plain 300 400|tanh 256 256|plain 24 60 100|tanh 16 48 80|plain 640 500|tanh 150 600|plain 40 40 64|"
        "tanh 10 90 120",
        unseen="test",
    ),
    "pairwise_distance": Kind(
        products.pairwise_distance,
        "l2 256 200 16|l1 128 300 32|l2 400 160 8|l1 200 200 24|l2 96 512 20|l1 333 150 12|l2 180 240 48|l1 500 100 10",
        unseen="test",
    ),
}


def _kernel(kind_name: str, position: int, shape: str) -> Kernel:
    kind = KINDS[kind_name]
    variant, *sizes = shape.split()
    operation = kind.build(variant, *map(int, sizes))
    split = kind.unseen or HELD_OUT.get(position, "train")
    kin = "unseen" if kind.unseen else "train" if split == "train" else "sibling"
    identifier = "_".join([kind_name, variant, operation.dtype, "x".join(sizes)])
    return Kernel(identifier, kind_name, split, kin, operation)


def _registry() -> list[Kernel]:
    """All kernels, the kinds interleaved in proportion to their numbers, so that a prefix has all kinds and splits."""
    turns = []
    for kind_name, kind in KINDS.items():
        shapes = kind.shapes.split("|")
        for position, shape in enumerate(shapes):
            turns.append(((2 * position + 1) / len(shapes), _kernel(kind_name, position, shape)))
    return [kernel for _, kernel in sorted(turns, key=lambda turn: turn[0])]


KERNELS: list[Kernel] = _registry()


def kernels() -> dict[str, Kernel]:
    """All tile kernels by id."""
    return {kernel.id: kernel for kernel in KERNELS}
