"""One program: an id, its place in the splits, and how its function and argument shapes are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Program:
    """One program of the zoo.

    `build()` returns `(function, arguments)`: the arguments are pytrees of `jax.ShapeDtypeStruct`, and the program is
    `jax.jit(function, keep_unused=True).lower(*arguments)`. No library is imported before that call.
    """

    id: str  # unique, file-name safe: network, batch, forward or train
    kind: str  # 'xla' or 'nlp', as TpuGraphs' sources
    family: str
    split: str  # of SPLITS
    training: bool  # a training step: forward, loss, gradients, update of the weights
    build: Callable[[], tuple[Callable, tuple]] = field(repr=False, compare=False)
    kin: str = ""  # 'train', 'sibling' (its family is trained on) or 'unseen'; the registry fills it in
