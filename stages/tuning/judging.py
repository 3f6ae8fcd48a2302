"""The judge: a collection's trained models, which rank configurations that were never compiled.

Scores of models mean something only beside others of the same ranking, so those that are to be compared are judged
together.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages.collect import official
from stages.engine.errors import InputError
from stages.graphs.collection import from_slug, is_tile
from stages.statistics.assignment import COUNTS
from stages.statistics.columns import standardised
from stages.tuning.problem import Problem
from stages.tuning.surrogate import Layouts


class Judge:
    """Judges choices of a program by the models of a collection.

    Args:
        problem: The program.
        models: Of `stages.ranking.models`.
        layouts: The program's replayed layouts.
    """

    def __init__(self, problem: Problem, models: object, layouts: Layouts) -> None:
        self._problem, self._models, self._layouts = problem, models, layouts
        self.judged = 0

    def columns(self, choices: Sequence[np.ndarray]) -> np.ndarray:
        """What the members of the blend and the replay say of choices beside one another.

        Returns:
            (c, k) of mean 0 and deviation 1, smaller is faster: a column for each member, then the replay's estimate.
        """
        from stages.ranking import scoring

        self.judged += len(choices)
        with tempfile.TemporaryDirectory(prefix="tune-") as work:
            # Named as no graph of the data is: the trees score those out of fold.
            file = Path(work, "candidates.npz")
            official.write(file, self._problem.arrays(choices), 0)
            ranking = scoring.rank(file, self._models, Path(work))
        members = [ranking.members[name] for name, weight in self._models.weights.items() if weight > 0]
        sums = self._layouts.estimates(choices)
        estimate = sums[:, COUNTS.index("bytes")] + sums[:, COUNTS.index("copy_bytes")]
        return standardised(np.column_stack([*members, estimate]))


def collection_of(problem: Problem, collection: str | None) -> str:
    """The official name of the layout collection whose models judge a program.

    Args:
        collection: As the user named it; None: that of random search, of `xla` where the program convolves, else `nlp`.

    Raises:
        InputError: It is no collection of layouts.
    """
    if collection is None:
        return f"layout:{'xla' if problem.has_convolutions else 'nlp'}:random"
    return layout_collection(collection)


def layout_collection(collection: str) -> str:
    """The official name of a collection of layouts; InputError where it is none."""
    name = from_slug(collection)
    if is_tile(name):
        raise InputError(f"--collection: {name} is of tiles; give one of layouts, or leave it out")
    return name


def digest(folder: Path, collection: str) -> str:
    """Names the models of a collection by their content."""
    from stages.ranking import models

    content = hashlib.sha256()
    for name in models.names(folder, collection):
        content.update(name.encode() + b"\0" + hashlib.sha256((folder / name).read_bytes()).digest())
    return content.hexdigest()


def read(folder: Path, collection: str) -> object:
    """The models of a collection.

    Raises:
        InputError: There are none, or they are damaged.
    """
    from stages.ranking import models

    check(folder, collection)
    return models.read(folder, collection)


def check(folder: Path, collection: str | None = None) -> None:
    """Raises InputError where a folder has no models, or none of a collection, by its official name."""
    from stages.ranking import models

    known = models.collections(folder)
    if collection is not None and collection not in known:
        raise InputError(
            f"{folder}: has no models of {collection}, only of {', '.join(known)}; give another --collection"
        )
