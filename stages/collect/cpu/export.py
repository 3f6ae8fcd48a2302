"""`python -m stages.collect.cpu.export`: the collector's records as a data set in the official layout.

Drops a graph whose slowest configuration is not at least 1.25 times its fastest or whose two timing passes
disagree (Kendall tau-b below 0.85), and names it in dropped.csv. Test run times go to solution.csv and are zero in
the npz files, as in the competition.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import polars

from stages.collect import official, record
from stages.collect.seed import seed_of
from stages.engine.errors import InputError
from stages.graphs.collection import COLLECTIONS, folder, is_tile
from stages.hlo import hlo_pb2
from stages.hlo.features import graph_arrays
from stages.scoring.metrics import kendall, slowdown_score

MINIMUM_SPREAD = 1.25
MINIMUM_TAU = 0.85
MINIMUM_LAYOUTS = 40
DROPPED = dict.fromkeys(("collection", "split", "id", "family"), polars.String) | {
    "slowest_over_fastest": polars.Float64,
    "repeatability": polars.Float64,
    "reason": polars.String,
}


@dataclass(frozen=True)
class Exported:
    """A line of programs.csv: one graph of the data set."""

    collection: str
    split: str
    id: str
    family: str
    kin: str  # 'train', 'sibling' (its family is trained on) or 'unseen'
    nodes: int
    configurable: int  # nodes whose layouts are chosen; 0 for a tile kernel
    configurations: int
    slowest_over_fastest: float
    repeatability: float  # Kendall tau-b between the two passes
    ceiling: float  # score that one pass has as the prediction of the other
    times: str = "measured on XLA:CPU"


@dataclass(frozen=True)
class Dropped:
    """A line of dropped.csv: a graph that is no part of the data set."""

    collection: str
    split: str | None
    id: str
    family: str | None
    slowest_over_fastest: float | None
    repeatability: float | None  # Kendall tau-b between the two passes
    reason: str


def spread_and_tau(passes: np.ndarray) -> tuple[float, float]:
    """Slowest over fastest of the minima, and Kendall tau-b between the two passes; passes: (2, c) nanoseconds."""
    best = passes.min(axis=0)
    return float(best.max() / best.min()), kendall(passes[0], passes[1])


def fault(collection: str, configurations: int, spread: float, tau: float) -> str | None:
    """Why a graph can't be used, or None."""
    if configurations < MINIMUM_LAYOUTS and not is_tile(collection):
        return f"fewer than {MINIMUM_LAYOUTS} distinct configurations"
    if spread < MINIMUM_SPREAD:
        return f"slowest/fastest below {MINIMUM_SPREAD}"
    if not tau >= MINIMUM_TAU:
        return f"tau between its two passes below {MINIMUM_TAU}"
    return None


def arrays_of(collection: str, meta: dict, stored: dict[str, np.ndarray], order: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of one record's npz file, with their run times: the smaller of the two passes, in nanoseconds.

    Args:
        collection: official name.
        meta, stored: as `record.read` returns them.
        order: (c,) the configurations' numbers in the record, in the order of the file.
    """
    graph = graph_arrays(hlo_pb2.HloProto.FromString(stored["proto"].tobytes()).hlo_module)
    runtime = stored["passes"].min(axis=0)[order].astype(np.int64)
    if is_tile(collection):
        return official.tile_arrays(graph, stored["config_feat"], order, runtime, stored["untiled"].min())
    return official.layout_arrays(graph, meta["nodes"], stored["configurations"], order, runtime)


def exported(collection: str, meta: dict, passes: np.ndarray, arrays: dict[str, np.ndarray]) -> Exported:
    """The graph's line of programs.csv.

    Args:
        passes: (2, c) nanoseconds.
        arrays: of its npz file.
    """
    spread, tau = spread_and_tau(passes)
    both_ways = slowdown_score(passes[0], passes[1]), slowdown_score(passes[1], passes[0])
    ceiling = float(np.mean(both_ways)) if is_tile(collection) else tau
    return Exported(
        collection=collection,
        split=meta["split"],
        id=meta["id"],
        family=meta["family"],
        kin=meta["kin"],
        nodes=len(arrays["node_opcode"]),
        configurable=len(arrays.get("node_config_ids", ())),
        configurations=passes.shape[1],
        slowest_over_fastest=round(spread, 4),
        repeatability=round(tau, 4),
        ceiling=round(ceiling, 4),
    )


class Sample:
    """Collects the exported graphs, then writes the tables beside them."""

    def __init__(self, target: Path):
        self.target = target
        self.programs: list[Exported] = []
        self.dropped: list[Dropped] = []
        self.solution: list[dict] = []
        self.passes: list[polars.DataFrame] = []

    def add(self, collection: str, source: Path) -> None:
        """Exports one record, or names it among the dropped."""
        meta, stored = record.read(source)
        passes = stored["passes"]
        spread, tau = spread_and_tau(passes)
        reason = fault(collection, passes.shape[1], spread, tau)
        if reason:
            names = (collection, meta["split"], meta["id"], meta["family"])
            self.dropped.append(Dropped(*names, round(spread, 4), round(tau, 4), reason))
            return
        identifier = f"{collection}:{meta['id']}"
        # The order of the file says nothing: the searches find slow and fast configurations at different times.
        order = np.random.default_rng(seed_of(identifier)).permutation(passes.shape[1])
        arrays = arrays_of(collection, meta, stored, order)
        self.programs.append(exported(collection, meta, passes, arrays))
        self._add_passes(identifier, passes[:, order])
        if meta["split"] == "test":
            self.solution.append({"ID": identifier, "Runtimes": official.solution_line(collection, arrays)})
            arrays = official.hidden(arrays)
        file = folder(self.target / "npz_all", collection, meta["split"]) / f"{meta['id']}.npz"
        official.write(file, arrays)

    def _add_passes(self, identifier: str, passes: np.ndarray) -> None:
        first, second = passes
        columns = {
            "graph": [identifier] * len(first),
            "configuration": np.arange(len(first), dtype=np.int32),
            "first_ns": first,
            "second_ns": second,
        }
        self.passes.append(polars.DataFrame(columns))

    def close(self, failed: list[Dropped]) -> None:
        """Writes programs.csv, dropped.csv, solution.csv and passes.parquet."""
        self.programs = _with_kin(self.programs)
        programs = polars.DataFrame([asdict(line) for line in self.programs])
        dropped = polars.DataFrame([asdict(line) for line in self.dropped + failed], schema=DROPPED)
        programs.sort("collection", "split", "id").write_csv(self.target / "programs.csv")
        dropped.sort("collection", "id").write_csv(self.target / "dropped.csv")
        polars.DataFrame(self.solution, schema=official.SOLUTION_COLUMNS).sort("ID").write_csv(
            self.target / "solution.csv"
        )
        polars.concat(self.passes).write_parquet(self.target / "passes.parquet")


def _with_kin(programs: list[Exported]) -> list[Exported]:
    """The programs with their kin as it is in this data set.

    The registries say what was planned; a family whose training graphs were all dropped is unseen after all.
    """
    trained = {(line.collection, line.family) for line in programs if line.split == "train"}

    def kin(line: Exported) -> str:
        return "sibling" if (line.collection, line.family) in trained else "unseen"

    return [line if line.split == "train" else replace(line, kin=kin(line)) for line in programs]


def failures(records: Path, planned: Callable[[str], record.Planned | None]) -> list[Dropped]:
    """Programs and kernels that could not be measured, as lines of dropped.csv; `planned` as in `export`."""
    log = records / "failed.jsonl"
    if not log.exists():
        return []
    lines = []
    for entry in map(json.loads, log.read_text().splitlines()):
        graph = planned(entry["id"]) or record.Planned("", None, None)
        lines.append(Dropped(graph.collection, graph.split, entry["id"], graph.family, None, None, entry["reason"]))
    return lines


def export(records: Path, sample: Path, planned: Callable[[str], record.Planned | None]) -> Sample:
    """Writes the records of a folder as a data set.

    Args:
        records: Folder that the collector filled.
        sample: Folder of the data set (npz_all/, solution.csv, programs.csv, …). What an earlier export left there is
            replaced.
        planned: Says of the id of a program or kernel that failed what it was to become, None if there is no such id.

    Raises:
        InputError: there is no usable record.
    """
    with official.replacing(sample) as beside:
        result = Sample(beside)
        for collection in COLLECTIONS:
            for source in sorted(record.path(records, collection, "x").parent.glob("*.npz")):
                result.add(collection, source)
        if not result.programs:
            advice = f"measure some with python -m stages.collect --target cpu --out {records}"
            raise InputError(f"{records}: no usable record; {advice}")
        result.close(failures(records, planned))
    return result


def main() -> int:
    from stages.collect.cpu.jobs import planned

    parser = argparse.ArgumentParser(prog="python -m stages.collect.cpu.export", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--records", type=Path, default=Path("data/records-cpu"), help="folder that the collector filled"
    )
    parser.add_argument("--sample", type=Path, default=Path("data/sample-cpu"), help="folder of the data set")
    options = parser.parse_args()
    try:
        result = export(options.records, options.sample, planned)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    table = polars.DataFrame([asdict(line) for line in result.programs])
    counts = table.group_by("collection", "split").agg(graphs=polars.len(), configurations=polars.sum("configurations"))
    for collection, split, graphs, configurations in counts.sort("collection", "split").iter_rows():
        print(f"{collection:22s} {split:6s} {graphs:4d} graphs {configurations:6d} configurations")
    print(f"{len(result.dropped)} graphs dropped for their times")
    return 0


if __name__ == "__main__":
    sys.exit(main())
