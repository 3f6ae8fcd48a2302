"""The type that both lists of measured programs share."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """One program to measure: an id, its place in the splits, and how to build it.

    `build()` returns `(function, arguments)`; the arguments are pytrees of arrays or `jax.ShapeDtypeStruct`s, and the
    program is `jax.jit(function).lower(*arguments)`. Nothing is built, and no library imported, before that call.
    """

    id: str  # unique, file-name safe: family, size, batch, forward or train
    source: str  # 'xla' or 'nlp', as TpuGraphs' sources
    family: str
    split: str  # 'train', 'valid' or 'test'
    build: Callable[[], tuple[Callable, tuple]]
    kin: str = ""  # 'sibling' (its family is trained on), 'unseen' (it never is), 'train'; the registry fills it in
