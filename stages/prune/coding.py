"""The configurations of a layout graph as codes: numbers of its distinct layout triples.

A triple is the output, input and kernel layout of one node in one configuration, 18 whole numbers in -1..5. A graph has
few of them, so a code of 2 bytes stands for 72 bytes of the npz file. Configurations are inflated, coded and compared
block by block, and most of a block is as in the configuration before.
"""

from __future__ import annotations

import itertools
import os
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

import numpy as np

from stages.engine.errors import InputError
from stages.graphs.npz import LAYOUT_RANGE
from stages.graphs.tensor_files import Pieces
from stages.graphs.tensors import LAYOUT_FEATURES, SLOTS

DUPLICATES = ("first", "mean", "minimum")
MOST_TRIPLES = 65_535
CHUNK_BYTES = 1 << 22  # of codes read back together
_RADIX = LAYOUT_RANGE[1] - LAYOUT_RANGE[0] + 1
_POWERS = _RADIX ** np.arange(LAYOUT_FEATURES, dtype=np.int64)
_WORDS = LAYOUT_FEATURES // 2  # 8-byte words of a triple of float32
_HASH_BITS = 20  # so that of a thousand triples hardly two share a slot of the table
_FACTORS = np.random.default_rng(0).integers(1 << 63, size=_WORDS, dtype=np.uint64) * 2 + 1  # odd, to lose no bit


def changes(blocks: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Finds where configurations differ from the one before, bit by bit.

    A search changes few nodes from one configuration to the next, and what is as before is not looked at again.

    Args:
        blocks: All configurations of one graph in order, as arrays (r, nc, 18) float32.

    Yields:
        Each block, contiguous, and where it differs: sorted indices into its r * nc layout triples. Of the first
        configuration all are there.
    """
    last = None
    for layouts in map(np.ascontiguousarray, blocks):  # in Fortran's order the last axis lies apart: it has no words
        words = layouts.reshape(len(layouts), -1).view(np.uint64)
        changed = np.ones(words.shape, bool)
        np.not_equal(words[1:], words[:-1], out=changed[1:])
        if last is not None:
            np.not_equal(words[0], last, out=changed[0])
        last = words[-1].copy()
        yield layouts, _triples_of(changed)


class Configurations:
    """The configurations of one graph, taken block by block and coded by its distinct layout triples.

    In memory are the triples, and some 200 bytes for each configuration. Equal configurations are found by a hash of
    their codes, and then compared.

    Args:
        configurable: How many nodes are configurable, nc.
        scratch: An empty file, which takes the codes until all triples are known.
        check: Raises InputError where layouts (k, 18) hold what they may not. It sees whatever is not known to be good;
            by default nothing is looked at.
    """

    def __init__(
        self, configurable: int, scratch: BinaryIO, check: Callable[[np.ndarray], None] = lambda layouts: None
    ) -> None:
        self._scratch, self._triples = scratch, _Triples(check)
        self._codes = np.zeros(configurable, np.uint16)  # of the last configuration
        self._group_by_hash: dict[int, int] = {}
        self._group = array("q")  # of each configuration: equal ones share a group
        self._first = array("q")  # configuration of each group

    @property
    def distinct(self) -> int:
        """How many different configurations there have been so far."""
        return len(self._first)

    def add(self, layouts: np.ndarray, changed: np.ndarray) -> None:
        """Takes in the next configurations.

        Args:
            layouts: (r, nc, 18) float32.
            changed: Where they differ from the configuration before each, as `changes` finds it.

        Raises:
            InputError: There are more than 65,535 distinct triples, or `check` refuses one.
        """
        words = layouts.reshape(-1, layouts.shape[-1]).view(np.uint64)
        numbers = self._triples.numbers(words.take(changed, axis=0))
        rows, nodes = np.divmod(changed, len(self._codes))
        ends = np.searchsorted(rows, np.arange(len(layouts)), side="right")
        codes = np.empty((len(layouts), len(self._codes)), np.uint16)
        start = 0
        for row, end in zip(codes, ends.tolist(), strict=True):
            self._codes[nodes[start:end]] = numbers[start:end]
            row[:] = self._codes
            start = end
        self._scratch.write(codes.data)
        self._scratch.flush()
        self._group.extend(map(self._group_of, codes))

    def tensors(self, runtime: np.ndarray, duplicates: str | None) -> dict[str, np.ndarray | Pieces]:
        """The configurations as tensors of a packed graph.

        Args:
            runtime: (c,) int64 in nanoseconds.
            duplicates: Which run time equal configurations keep, "first", "mean" (rounded) or "minimum". With None
                every configuration stays.

        Returns:
            codes, triples, runtime and config_index of `dataset.PackedGraph`. Triples are sorted, so that nothing
            depends on the blocks. The codes come in pieces that are read from the scratch file.
        """
        triples, ranks = self._triples.sorted()
        index = np.arange(len(self._group))
        if duplicates:
            index = np.array(self._first)
            runtime = _group_runtime(runtime, index, np.array(self._group), duplicates)
        codes = Pieces((len(index), len(self._codes)), self._pieces(ranks, index))
        return {"codes": codes, "triples": triples, "runtime": runtime, "config_index": index}

    def _group_of(self, codes: np.ndarray) -> int:
        """The group of the next configuration; it is a new one where there has been no equal configuration."""
        content = codes.tobytes()
        for attempt in itertools.count():
            number = hash((content, attempt))
            group = self._group_by_hash.setdefault(number, len(self._first))
            if group == len(self._first):
                self._first.append(len(self._group))
                return group
            if self._read(self._first[group], 1) == content:
                return group

    def _read(self, start: int, count: int) -> bytes:
        """Codes of `count` configurations from the scratch file."""
        size = self._codes.nbytes
        return os.pread(self._scratch.fileno(), count * size, start * size)

    def _pieces(self, ranks: np.ndarray, index: np.ndarray) -> Iterator[np.ndarray]:
        """Codes (r, nc) into the sorted triples, of the configurations `index` only."""
        rows = max(1, CHUNK_BYTES // self._codes.nbytes)
        kept = np.zeros(len(self._group), bool)
        kept[index] = True
        for start in range(0, len(kept), rows):
            codes = np.frombuffer(self._read(start, rows), np.uint16).reshape(-1, len(self._codes))
            yield ranks[codes[kept[start : start + rows]]]


class _Triples:
    """Distinct layout triples, numbered in the order in which they are met.

    A triple of whole numbers -1..5 is a number of 18 digits in base 7, below 2^51: its key. Most of those looked up are
    found by a hash of their bytes, in a table where one triple may overwrite another; the rest are found by their keys.
    What is looked up may be no such triple at all, so whatever the table gives is compared.

    Args:
        check: As in `Configurations`.
    """

    def __init__(self, check: Callable[[np.ndarray], None]) -> None:
        self._check = check
        self._keys, self._numbers = np.empty(0, np.int64), np.empty(0, np.uint16)  # sorted keys, and their numbers
        self._words = np.empty((256, _WORDS), np.uint64)  # by number; more than there are triples yet
        self._table = np.zeros(1 << _HASH_BITS, np.uint16)  # numbers by hash

    def numbers(self, words: np.ndarray) -> np.ndarray:
        """Numbers (k,) uint16 of triples of float32, given as 8-byte words (k, 9)."""
        if not len(self._keys):
            self._learn(words[:1])
        numbers = self._table.take(_hashes(words))
        unknown = _triples_of(self._words.take(numbers, axis=0) != words)
        if len(unknown):
            numbers[unknown] = self._learn(words[unknown])
        return numbers

    def sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """The triples (t, 18) int8 in order, and the rank of each by its number, (t,) uint16."""
        ranks = np.empty(len(self._keys), np.uint16)
        ranks[self._numbers] = np.arange(len(self._keys))
        digits = self._keys[:, None] // _POWERS % _RADIX
        return (digits + LAYOUT_RANGE[0]).astype(np.int8), ranks

    def _learn(self, words: np.ndarray) -> np.ndarray:
        """Numbers of triples that may be new, and that may be none."""
        layouts = words.view(np.float32)
        self._check(layouts)
        layouts = layouts + np.float32(0)  # which makes 0 of -0
        keys = _keys(layouts)
        new_keys, chosen = np.unique(keys, return_index=True)
        new = ~np.isin(new_keys, self._keys)
        new_keys, words = new_keys[new], layouts[chosen[new]].view(np.uint64)
        before, total = len(self._keys), len(self._keys) + len(new_keys)
        if total > MOST_TRIPLES:
            raise InputError(f"more than {MOST_TRIPLES} distinct layouts of a node; leave the graph out")
        while len(self._words) < total:
            self._words = np.concatenate([self._words, np.empty_like(self._words)])
        self._words[before:total] = words
        self._table[_hashes(words)] = np.arange(before, total)
        ranks = np.searchsorted(self._keys, new_keys)
        self._keys = np.insert(self._keys, ranks, new_keys)
        self._numbers = np.insert(self._numbers, ranks, np.arange(before, total))
        return self._numbers[np.searchsorted(self._keys, keys)]


def _triples_of(words: np.ndarray) -> np.ndarray:
    """Sorted indices of the triples of which at least one word is marked; words: bool, 9 for each triple."""
    triples = np.flatnonzero(words) // _WORDS
    first = np.ones(len(triples), bool)
    np.not_equal(triples[1:], triples[:-1], out=first[1:])
    return triples[first]


def _hashes(words: np.ndarray) -> np.ndarray:
    """Hashes (k,) of triples given as words (k, 9): the upper bits of a sum of products, where the carries end."""
    return ((words @ _FACTORS) >> np.uint64(64 - _HASH_BITS)).astype(np.int64)


def _keys(layouts: np.ndarray) -> np.ndarray:
    """Keys (k,) int64 of triples (k, 18) float32. Six digits at a time, because float32 holds those exactly."""
    digits = LAYOUT_FEATURES // len(SLOTS)
    with np.errstate(all="ignore"):  # of what is no triple
        parts = (layouts.reshape(-1, digits) @ _POWERS[:digits].astype(np.float32)).astype(np.int64)
    return parts.reshape(-1, len(SLOTS)) @ _POWERS[::digits] - LAYOUT_RANGE[0] * _POWERS.sum()


def _group_runtime(runtime: np.ndarray, first: np.ndarray, group: np.ndarray, duplicates: str) -> np.ndarray:
    """Run times of groups of equal configurations.

    Args:
        runtime: (c,) int64 in nanoseconds.
        first: (g,); the first configuration of each group.
        group: (c,); the group of each configuration.
        duplicates: "first", "mean" (rounded, a half to even) or "minimum" of the run times in a group.

    Returns:
        (g,) int64 in nanoseconds.
    """
    if duplicates == "first":
        return runtime[first]
    if duplicates == "minimum":
        least = runtime[first]
        np.minimum.at(least, group, runtime)
        return least
    totals = [0] * len(first)  # in Python's whole numbers: a sum of many large ones is beyond int64
    for number, nanoseconds in zip(group.tolist(), runtime.tolist(), strict=True):
        totals[number] += nanoseconds
    means = []
    for total, count in zip(totals, np.bincount(group).tolist(), strict=True):
        mean, rest = divmod(total, count)
        means.append(mean + (2 * rest > count or (2 * rest == count and mean % 2)))
    return np.array(means, np.int64)
