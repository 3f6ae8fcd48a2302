"""What a data set holds already: a collection may grow over days and machines, and its records need not be kept.

The same libtpu gives the same bytes, so a program that stands in the data set is not collected again, and an export
takes over the files of the programs that it has no records of. `collected.csv` has a line for each program: how many
configurations were asked of it, and the keys of all its kernels that have windows, by which a kernel's split and the
program that it is named after are decided anew when programs join.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import polars

from stages.collect.tpu import libtpu
from stages.collect.tpu_data import tiles
from stages.engine.errors import InputError
from stages.graphs.collection import folder

#: where the data set stands, and grows
SAMPLE = Path("data/sample")
FILE = "collected.csv"
COLUMNS = {"program": polars.String, "asked": polars.Int64, "libtpu": polars.String, "kernels": polars.String}
#: of a failed program's line in dropped.csv: its collection names no search
_FAILED = ("layout:xla", "layout:nlp")


@dataclass(frozen=True)
class Standing:
    """The tables of a data set; all empty where there is none.

    Attributes:
        asked: Configurations that were asked of each program, by its id.
        kernels: Keys of each program's kernels.
        lines: Lines of programs.csv by collection and id.
        dropped: Lines of dropped.csv by collection and id.
        solution: Lines of solution.csv, `Runtimes` by `ID`.
    """

    sample: Path
    asked: Mapping[str, int] = field(default_factory=dict)
    kernels: Mapping[str, list[str]] = field(default_factory=dict)
    lines: Mapping[tuple[str, str], dict] = field(default_factory=dict)
    dropped: Mapping[tuple[str, str], dict] = field(default_factory=dict)
    solution: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, sample: Path) -> Standing:
        """Reads the tables of a data set.

        Raises:
            InputError: It was collected with another libtpu, or otherwise, or one of its tables is missing.
        """
        path = sample / FILE
        if not path.is_file():
            if (sample / "programs.csv").is_file():
                raise InputError(f"{sample}: is a data set of another collector, it has no {FILE}; name another folder")
            return cls(sample)
        collected = polars.read_csv(path, schema=COLUMNS)
        others = sorted(set(collected["libtpu"]) - {libtpu.VERSION})
        if others:
            raise InputError(
                f"{path}: was collected with libtpu {others[0]}, this is {libtpu.VERSION}; begin a new folder"
            )
        tables = {}
        for name in ("programs", "dropped", "solution"):
            if not (sample / f"{name}.csv").is_file():
                raise InputError(f"{sample / name}.csv: not there; restore the data set, or remove {path}")
            types = {"Runtimes": polars.String, "reason": polars.String}
            tables[name] = polars.read_csv(sample / f"{name}.csv", infer_schema_length=None, schema_overrides=types)
        keyed = {
            name: {(row["collection"], row["id"]): row for row in tables[name].iter_rows(named=True)}
            for name in ("programs", "dropped")
        }
        return cls(
            sample,
            asked=dict(collected.select("program", "asked").iter_rows()),
            kernels={
                row["program"]: row["kernels"].split(";") if row["kernels"] else []
                for row in collected.iter_rows(named=True)
            },
            lines=keyed["programs"],
            dropped=keyed["dropped"],
            solution=dict(tables["solution"].iter_rows()),
        )

    def holds(self, identifier: str, configurations: int) -> bool:
        """Whether a program was collected with at least so many configurations, or cannot be collected."""
        failed = any((collection, identifier) in self.dropped for collection in _FAILED)
        return failed or self.asked.get(identifier, -1) >= configurations

    def kernel_id(self, key: str) -> str | None:
        """The id of the kernel with this key, kept or dropped; None where there is none."""
        return self._kernel_ids.get(key)

    @cached_property
    def _kernel_ids(self) -> dict[str, str]:
        names = (name for collection, name in [*self.lines, *self.dropped] if collection == tiles.COLLECTION)
        return {name.rpartition("_")[2]: name for name in names}

    def file(self, collection: str, identifier: str) -> Path:
        """The npz file of a graph that stands in `lines`."""
        split = self.lines[collection, identifier]["split"]
        return folder(self.sample / "npz_all", collection, split) / f"{identifier}.npz"

    def arrays(self, collection: str, identifier: str) -> dict[str, np.ndarray]:
        """The arrays of that file; those of a test graph hide its run times."""
        with np.load(self.file(collection, identifier), allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}

    def failures(self) -> list[dict]:
        """Lines of dropped.csv of programs that cannot be collected."""
        return [line for (collection, _), line in self.dropped.items() if collection in _FAILED]


def table(asked: Mapping[str, int], kernels: Mapping[str, list[str]]) -> polars.DataFrame:
    """The content of collected.csv.

    Args:
        asked, kernels: As of `Standing`.
    """
    rows = [(name, asked[name], libtpu.VERSION, ";".join(sorted(kernels[name]))) for name in sorted(asked)]
    return polars.DataFrame(rows, schema=COLUMNS, orient="row")
