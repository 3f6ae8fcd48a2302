"""Sizes of the machine that layouts and tiles are measured against."""

from __future__ import annotations

from dataclasses import dataclass

from stages.engine.errors import InputError


@dataclass(frozen=True)
class Hardware:
    """Sizes of registers and cache lines.

    Attributes:
        lanes: elements of a TPU's vector register along the minor dimension of the tile that a tensor is padded to.
        sublanes: and along the second minor dimension.
        cache_line: bytes of a CPU's cache line.
        vector: bytes of a CPU's vector register.

    Raises:
        InputError: a size is below one.
    """

    lanes: int = 128
    sublanes: int = 8
    cache_line: int = 64
    vector: int = 32

    def __post_init__(self) -> None:
        for name, size in vars(self).items():
            if size < 1:
                raise InputError(f"params.yaml, gbdt.{name}: {size} is too small; give 1 or more")


#: a TPU's registers as TpuGraphs' machines have them, and an AVX2 processor's
DEFAULT = Hardware()
