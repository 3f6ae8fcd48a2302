"""The table of historical segment embeddings, and what Graph Segment Training makes of it.

Cao et al., NeurIPS 2023 (arXiv 2305.12322): gradients flow through a few sampled segments of a graph; what the
others add to its embedding comes from a table that is written whenever a segment is computed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from stages.gnn import mapped_files

#: bytes of the table beyond which it lies in a file, memory-mapped
BUDGET = 2**24
_LARGEST = np.finfo(np.float16).max


class History:
    """Embeddings in half precision, keyed by graph, configuration and segment."""

    def __init__(
        self, shapes: list[tuple[int, int]], width: int, folder: str | Path | None = None, budget: int = BUDGET
    ):
        """A table of zeros.

        Args:
            shapes: configurations and segments of each graph, no configurations of one that another process keeps.
            width: channels of an embedding.
            folder: where a table beyond the budget lies; a temporary folder by default.
            budget: bytes that are held in memory at most.
        """
        cells = np.array([configurations * segments for configurations, segments in shapes])
        self._first = np.concatenate([[0], np.cumsum(cells)])
        self._segments = [segments for _, segments in shapes]
        size = (int(self._first[-1]), width)
        self._folder = None
        if size[0] * width * 2 <= budget:
            self.array = np.zeros(size, np.float16)
        else:
            self._folder = tempfile.TemporaryDirectory(dir=folder, prefix="history-")
            self.array = np.memmap(Path(self._folder.name, "table"), np.float16, "w+", shape=size)

    def rows(self, graph: int, sample: np.ndarray, segments: np.ndarray) -> np.ndarray:
        """(k, s) rows of the array for configurations (k,) and segments (s,) of a graph."""
        return self._first[graph] + sample[:, None] * self._segments[graph] + segments

    def part(self, graph: int) -> np.ndarray:
        """All rows of a graph, (configurations x segments, width)."""
        return self.array[self._first[graph] : self._first[graph + 1]]

    def read(self, graph: int, sample: np.ndarray, segments: np.ndarray) -> np.ndarray:
        """(k, width) float32: sum over the segments (s,)."""
        total = self.array[self.rows(graph, sample, segments)].sum(axis=1, dtype=np.float32)
        self._release()
        return total

    def write(self, graph: int, sample: np.ndarray, segment: int, values: np.ndarray) -> None:
        """Writes the embeddings of a segment.

        Args:
            graph: its position.
            sample: (k,) configurations.
            segment: its number.
            values: (k, width) its embeddings in these.
        """
        rows = self.rows(graph, sample, np.array([segment]))[:, 0]
        self.array[rows] = np.clip(values, -_LARGEST, _LARGEST)
        self._release()

    def _release(self) -> None:
        if self._folder is not None:
            mapped_files.release(self.array)


def sampled(segments: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Segments that gradients flow through, ascending: `count` of them, all where there are no more."""
    return np.arange(segments) if segments <= count else np.sort(rng.choice(segments, count, replace=False))


def stale_weights(
    segments: int, fresh: np.ndarray, keep: float | None, rng: np.random.Generator
) -> tuple[float, np.ndarray]:
    """Weight of each fresh segment, and the stale segments that are kept, each with weight 1.

    Stale embedding dropout keeps a stale embedding with probability p = `keep` and gives the S fresh ones of J the
    weight p + (1 - p) J / S, so that the expected total weight stays J.

    Args:
        segments: J.
        fresh: (S,) numbers of the segments that gradients flow through.
        keep: p; None to drop nothing.
        rng: what the draw is taken from.

    Returns:
        The weight of each fresh segment, and the numbers of the stale ones that are kept.
    """
    stale = np.setdiff1d(np.arange(segments), fresh)
    if keep is None or not len(stale):
        return 1.0, stale
    return keep + (1 - keep) * segments / len(fresh), stale[rng.random(len(stale)) < keep]
