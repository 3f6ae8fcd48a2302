"""Where a training stands, and the line that says so."""

from __future__ import annotations

from dataclasses import dataclass, field

from stages.graphs.collection import is_tile


@dataclass
class Progress:
    """Where a training stands; with weights, moments and embeddings, all that it needs to go on from there.

    part: "network", then "head" if that is trained on alone, then "done"; epoch counts from 1 and step from 0 within
    it; losses: of the steps of this epoch; curve: a row per finished epoch; best: the row of the best valid metric.
    """

    part: str = "network"
    epoch: int = 1
    step: int = 0
    losses: list[float] = field(default_factory=list)
    curve: list[dict] = field(default_factory=list)
    best: int | None = None

    def patience_left(self, patience: int) -> bool:
        """Whether one of the last `patience` epochs of this part was the best, or validation says nothing."""
        if self.best is None:
            return True
        rows = sum(row["part"] == self.part for row in self.curve)
        return min(rows, len(self.curve) - 1 - self.best) < patience


def line(collection: str, row: dict, epochs: int, best: float) -> str:
    """What the console shows of an epoch.

    Args:
        collection: of the graphs.
        row: of the curve.
        epochs: of its part, at most.
        best: valid metric so far.
    """
    name = "top-10" if is_tile(collection) else "tau"
    part = "" if row["part"] == "network" else f"{row['part']} "
    return (
        f"{collection} seed {row['seed']} {part}epoch {row['epoch']}/{epochs} loss {row['loss']:.2f} "
        f"valid {name} {row['valid']:.3f} (best {best:.3f})"
    )
