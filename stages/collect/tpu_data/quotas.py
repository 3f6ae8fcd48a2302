"""`python -m stages.collect.tpu_data.quotas`: holds the npz files of a data set against what it must have.

It reads them with the pipeline's reader, so in the pipeline's environment.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars

from stages.collect.tpu.search import LEAST_DISTINCT, LEAST_SPREAD
from stages.collect.tpu_data.standing import SAMPLE
from stages.engine.errors import InputError
from stages.graphs import npz
from stages.graphs.collection import COLLECTIONS, SPLITS, folder, is_tile
from stages.runner import failures
from stages.scoring.score import read_solution

#: least programs and families of a source
PROGRAMS, FAMILIES = 60, {"xla": 20, "nlp": 15}
#: fewest and most nodes of a layout graph, and the least median
NODES, MEDIAN_NODES = (200, 9000), 1000
TRAINING_SHARE = 1 / 3
#: configurations of a layout graph, and how many graphs have many
CONFIGURATIONS, MANY, GRAPHS_OF_MANY = 100, 1000, 8
KERNELS, WINDOWS, MEAN_WINDOWS = 500, 60, 12
#: shares of the splits, and how far they may be off
SHARES, OFF = {"train": 0.70, "valid": 0.15, "test": 0.15}, 0.05
LARGEST_BYTES = 40 * 10**6


@dataclass(frozen=True)
class Graph:
    """What the files say of a graph.

    Attributes:
        configurations, distinct: Configurations that differ, and times.
        spread: Slowest over fastest.
        blank: Whether the npz file hides its run times.
    """

    id: str
    split: str
    nodes: int
    configurations: int
    distinct: int
    spread: float
    blank: bool


@dataclass
class Report:
    """Lines that tell what is met, and whether all is."""

    lines: list[str] = field(default_factory=list)
    good: bool = True

    def quota(self, text: str, met: bool) -> None:
        self.good = self.good and met
        self.lines.append(f"{'met    ' if met else 'NOT MET'} {text}")

    def tell(self, text: str) -> None:
        self.lines.append(f"        {text}")


def graphs_of(sample: Path, collection: str) -> list[Graph]:
    """The graphs of a collection, their configurations and times read from the npz files and solution.csv.

    Raises:
        InputError: A file is missing or broken.
    """
    graphs = []
    for split in SPLITS:
        paths = sorted(folder(sample / "npz_all", collection, split).glob("*.npz"))
        solution = read_solution(sample / "solution.csv") if split == "test" and paths else {}
        for path in paths:
            arrays = npz.read(path, collection)
            rows = arrays.config_feat if is_tile(collection) else arrays.node_config_feat
            rows = rows.reshape(len(rows), -1).astype(np.int32)
            times = arrays.config_runtime.astype(float)
            blank = not times.any()
            if split == "test":
                times = solution.get(f"{collection}:{path.stem}")
                if times is None or len(times) != len(rows):
                    raise InputError(f"{sample / 'solution.csv'}: no run times of {path.stem}; export again")
            count = len({row.tobytes() for row in rows})
            size = len(arrays.node_opcode)
            spread = float(max(times) / min(times)) if min(times) else np.inf
            graphs.append(Graph(path.stem, split, size, count, len(np.unique(times)), spread, blank))
    return graphs


def _shares(report: Report, name: str, graphs: list[Graph], table: polars.DataFrame) -> None:
    kin = {(row["split"], row["id"]): row["kin"] for row in table.iter_rows(named=True)}
    for split in SPLITS:
        part = [graph for graph in graphs if graph.split == split]
        share = len(part) / max(1, len(graphs))
        report.quota(
            f"{name} {split}: {len(part)} graphs, {share:.0%} (about {SHARES[split]:.0%})",
            abs(share - SHARES[split]) <= OFF,
        )
        if split != "train":
            kins = [kin.get((split, graph.id), "not in programs.csv") for graph in part]
            told = ", ".join(f"{kins.count(each)} {each}" for each in sorted(set(kins)))
            report.quota(f"{name} {split}: {told or 'none'} (siblings and unseen)", set(kins) == {"sibling", "unseen"})
    hidden = all(graph.blank == (graph.split == "test") for graph in graphs)
    report.quota(f"{name}: run times are hidden in test, and only there", hidden)


def _layouts(report: Report, collection: str, graphs: list[Graph], table: polars.DataFrame) -> None:
    source = collection.split(":")[1]
    nodes = [graph.nodes for graph in graphs] or [0]
    families, training = table["family"].n_unique(), table["training"].sum()
    low, high = NODES
    report.quota(f"{collection}: {len(graphs)} programs (at least {PROGRAMS})", len(graphs) >= PROGRAMS)
    report.quota(f"{collection}: {families} families (at least {FAMILIES[source]})", families >= FAMILIES[source])
    report.quota(
        f"{collection}: {min(nodes)} to {max(nodes)} nodes ({low} to {high})", low <= min(nodes) <= max(nodes) <= high
    )
    report.quota(
        f"{collection}: median {np.median(nodes):.0f} nodes ({MEDIAN_NODES})", np.median(nodes) >= MEDIAN_NODES
    )
    report.quota(f"{collection}: {training} training steps (a third)", training >= TRAINING_SHARE * len(graphs))
    short = [graph.id for graph in graphs if graph.configurations < CONFIGURATIONS]
    report.quota(f"{collection}: {len(short)} graphs of fewer than {CONFIGURATIONS} distinct configurations", not short)
    if short:
        report.tell(" ".join(short))
    poor = [graph.id for graph in graphs if graph.distinct < LEAST_DISTINCT or graph.spread < LEAST_SPREAD]
    report.quota(f"{collection}: {len(poor)} graphs of too few costs, or too near ones", not poor)
    if graphs:
        distinct, spreads = ([getattr(graph, name) for graph in graphs] for name in ("distinct", "spread"))
        report.tell(
            f"{collection}: distinct costs {min(distinct)} to {max(distinct)}, median {np.median(distinct):.0f}; "
            f"slowest/fastest {min(spreads):.2f} to {max(spreads):.2f}, median {np.median(spreads):.2f}"
        )


def _tiles(report: Report, graphs: list[Graph], table: polars.DataFrame) -> None:
    windows = [graph.configurations for graph in graphs] or [0]
    report.quota(f"tile:xla: {len(graphs)} kernels (at least {KERNELS})", len(graphs) >= KERNELS)
    report.quota(f"tile:xla: {max(windows)} windows at most ({WINDOWS})", max(windows) <= WINDOWS)
    report.quota(
        f"tile:xla: {np.mean(windows):.1f} windows on average ({MEAN_WINDOWS})", np.mean(windows) >= MEAN_WINDOWS
    )
    names = [graph.id for graph in graphs]
    report.quota("tile:xla: no kernel stands in two splits", len(set(names)) == len(names))
    kinds = table["kind"].value_counts(sort=True).iter_rows()
    report.tell("tile:xla: " + ", ".join(f"{count} {kind}" for kind, count in kinds))


def report_of(sample: Path) -> Report:
    """Holds a data set against the quotas.

    Raises:
        InputError: programs.csv or another file is missing or broken.
    """
    if not (sample / "programs.csv").is_file():
        raise InputError(f"{sample / 'programs.csv'}: not there; name the folder of a data set")
    programs, report, many = polars.read_csv(sample / "programs.csv"), Report(), 0
    for collection in COLLECTIONS:
        graphs = graphs_of(sample, collection)
        table = programs.filter(polars.col("collection") == collection)
        if is_tile(collection):
            _tiles(report, graphs, table)
        else:
            _layouts(report, collection, graphs, table)
            many += sum(graph.configurations >= MANY for graph in graphs)
        _shares(report, collection, graphs, table)
    report.quota(f"{many} layout graphs of {MANY} configurations (at least {GRAPHS_OF_MANY})", many >= GRAPHS_OF_MANY)
    size = sum(path.stat().st_size for path in sample.rglob("*") if path.is_file())
    report.quota(f"{size / 1e6:.1f} MB (at most {LARGEST_BYTES / 1e6:.0f})", size <= LARGEST_BYTES)
    return report


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m stages.collect.tpu_data.quotas", description=__doc__.splitlines()[0]
    )
    parser.add_argument("sample", nargs="?", type=Path, default=SAMPLE, help="default: %(default)s")
    sample = parser.parse_args().sample

    def command() -> int:
        report = report_of(sample)
        print("\n".join(report.lines))
        return 0 if report.good else 1

    return failures.exit_status(command)


if __name__ == "__main__":
    sys.exit(main())
