"""A correction of the judge for one program: what its compilations so far say of layouts not yet compiled.

A program's time is a sum over its kernels, and a kernel is slow or fast by the layouts of the tensors around it. So the
time of a configuration is taken for a weighted sum of what the judge says plus one unknown term for each tensor's
layout, as layout assignment is replayed (`stages.statistics.assignment`), and these are estimated together: a ridge, or
a Gaussian process whose kernel counts the tensors that two configurations lay out alike, with the judge as its mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from stages.statistics import assignment
from stages.tuning.problem import Problem

#: variance of what no layout tells, beside 1 for all that layouts tell
NOISE = 0.01
#: how far the judge's columns are believed before anything is compiled, prior variance of that and of a constant
TRUST, COLUMN, CONSTANT = 0.25, 0.5, 1.0
#: of log times: fewer or equal ones say nothing of how much the program's times differ
LEAST_DEVIATION = 0.03
#: deviations by which a choice may turn out faster than predicted
HOPE = 1.0
#: a tensor's term has a variance that grows with its bytes to this power
BYTES_POWER = 0.5


class Layouts:
    """Layouts that replayed layout assignment gives to all tensors and operands, each choice replayed once."""

    def __init__(self, problem: Problem) -> None:
        self._replay = problem.replay
        program = self._replay.program
        size = np.where(program.dims > 0, program.dims, 1).prod(axis=1) * program.bytes
        self.weight = np.concatenate([size, size[program.producer]]).astype(float) ** BYTES_POWER
        self._rows: dict[bytes, np.ndarray] = {}

    def rows(self, choices: Sequence[np.ndarray]) -> np.ndarray:
        """(c, N + M) int16 numbers of layouts."""
        new = [choice for choice in choices if choice.tobytes() not in self._rows]
        if new:
            for choice, forced in zip(new, self._replay.forced(np.stack(new)), strict=True):
                layouts = np.concatenate(assignment.layouts(self._replay.program, forced))
                self._rows[choice.tobytes()] = layouts.astype(np.int16)
        return np.stack([self._rows[choice.tobytes()] for choice in choices])

    def estimates(self, choices: Sequence[np.ndarray]) -> np.ndarray:
        """(c, k) what the replay counts: bytes by kind of instruction, copies and their bytes; see `assignment`."""
        return assignment.sums(self._replay.program, self._replay.forced(np.stack(choices)))

    def forget(self, kept: Sequence[np.ndarray]) -> None:
        """Keeps the rows of these choices alone."""
        keys = {choice.tobytes() for choice in kept}
        self._rows = {key: row for key, row in self._rows.items() if key in keys}


def _grouped(rows: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns (r, D) that vary, those that are equal joined into one with their weights' sum."""
    varying = np.flatnonzero((rows != rows[0]).any(axis=0))
    columns: dict[bytes, int] = {}
    group = [columns.setdefault(column.tobytes(), len(columns)) for column in np.ascontiguousarray(rows[:, varying].T)]
    first = np.unique(group, return_index=True)[1] if group else np.zeros(0, int)
    return rows[:, varying[first]], np.bincount(group, weight[varying], len(first)).astype(np.float32)


class Surrogate:
    """Predicts log times of choices from those of compiled ones and the judge's columns.

    Args:
        layouts: Of the program.
        choices: n compiled ones, then c others.
        times_ns: (n,) of the compiled ones.
        columns: (n + c, k) what the judge says of all, of mean 0 and deviation 1; smaller is faster.

    Attributes:
        mean: (c,) predictions for the others, in deviations of log times.
        variance: (c,) of what is not known of each.
    """

    def __init__(
        self, layouts: Layouts, choices: Sequence[np.ndarray], times_ns: Sequence[float], columns: np.ndarray
    ) -> None:
        count, columns = len(times_ns), np.asarray(columns, float)
        rows = layouts.rows(choices)
        rows, self._weight = _grouped(rows, layouts.weight)
        self._weight /= max(float(self._weight.sum()), 1e-9)
        logs = np.log(np.asarray(times_ns, float))
        trust = TRUST * columns.mean(axis=1)
        target = (logs - logs[0]) / max(float(logs.std()), LEAST_DEVIATION) - trust[:count]
        self._rows, self._columns = rows[count:], columns[count:]
        inner = self._kernel(rows[:count], columns[:count], rows[:count], columns[:count]) + NOISE * np.eye(count)
        factor = cho_factor(inner)
        cross = self._kernel(self._rows, self._columns, rows[:count], columns[:count])
        self.mean = cross @ cho_solve(factor, target) + trust[count:]
        own = 1 + CONSTANT + COLUMN * np.mean(self._columns**2, axis=1)
        self._cross, self._solved = cross, cho_solve(factor, cross.T)
        self.variance = own - np.einsum("cn,nc->c", cross, self._solved)

    def batch(self, count: int) -> list[int]:
        """Picks places of the others: each in turn the one of which the least time is hoped for, or all if fewer.

        Hoped for is the prediction less a part of its deviation. What is picked counts as compiled with the time that
        was predicted, which makes what is like it certain too: so the next is not its twin.
        """
        variance, known = self.variance.copy(), []
        picked: list[int] = []
        while len(picked) < min(count, len(self.mean)):
            hoped = self.mean - HOPE * np.sqrt(np.maximum(variance, 0))
            hoped[picked] = np.inf
            best = int(np.argmin(hoped))
            shared = self._kernel(self._rows, self._columns, self._rows[[best]], self._columns[[best]])[:, 0]
            shared -= self._cross @ self._solved[:, best] + sum((part * part[best] for part in known), 0.0)
            known.append(shared / np.sqrt(max(variance[best], 0) + NOISE))
            variance -= known[-1] ** 2
            picked.append(best)
        return picked

    def _kernel(self, rows: np.ndarray, columns: np.ndarray, others: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        """(c, d) covariances: the weighted share of tensors laid out alike, and the product of the judge's columns."""
        result = np.empty((len(rows), len(others)))
        for place, other in enumerate(others):
            result[:, place] = (rows == other) @ self._weight
        return result + COLUMN * columns @ theirs.T / max(1, columns.shape[1]) + CONSTANT
