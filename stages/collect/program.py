"""The type every registry of measured programs shares."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """One program to measure: an id, its place in the splits, and how to build it.

    `build()` returns `(function, arguments)`; the arguments are pytrees of arrays or `jax.ShapeDtypeStruct`s, and the
    program is `jax.jit(function).lower(*arguments)`. Nothing is built, and no library imported, before that call.
    """

    id: str  # unique, file-name safe: family, size, batch, forward or train
    source: str  # 'xla' or 'nlp'
    family: str
    split: str  # 'train', 'valid' or 'test'
    kin: str  # 'sibling' (its family is trained on), 'unseen' (its family never is); 'train' for training programs
    build: Callable[[], tuple[Callable, tuple]]
