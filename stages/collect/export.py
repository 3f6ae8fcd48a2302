"""`python -m stages.collect.export`: the collector's records as a data set in the official layout.

Drops a graph whose slowest configuration is not at least 1.25 times its fastest or whose two timing passes
disagree (Kendall tau-b below 0.85), and names it in dropped.csv. Test runtimes go to solution.csv and are zero in
the npz files, as in the competition.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import polars

from stages.collect import record
from stages.collect.jobs import kernels, programs
from stages.collect.layout import seed_of
from stages.errors import InputError
from stages.graphs.collection import COLLECTIONS, folder, is_tile
from stages.hlo import hlo_pb2
from stages.hlo.features import GraphArrays, graph_arrays
from stages.scoring.metrics import kendall, slowdown_score

MINIMUM_SPREAD = 1.25
MINIMUM_TAU = 0.85
MINIMUM_LAYOUTS = 40
DROPPED = dict.fromkeys(("collection", "split", "id", "family"), polars.String) | {
    "slowest_over_fastest": polars.Float64,
    "repeatability": polars.Float64,
    "reason": polars.String,
}
SOLUTION = {"ID": polars.String, "Runtimes": polars.String}


def figures(passes: np.ndarray) -> tuple[float, float]:
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


def graph_keys(arrays: GraphArrays) -> dict[str, np.ndarray]:
    """The keys that layout and tile files share, in the dtypes of the published files."""
    return {"node_feat": arrays.node_feat, "node_opcode": arrays.node_opcode, "edge_index": arrays.edge_index}


def official(collection: str, meta: dict, stored: dict[str, np.ndarray], order: np.ndarray) -> dict[str, np.ndarray]:
    """The official npz keys of one record, its configurations in the given order, with their run times."""
    arrays = graph_arrays(hlo_pb2.HloProto.FromString(stored["proto"].tobytes()).hlo_module)
    runtime = stored["passes"].min(axis=0)[order].astype(np.int64)
    if is_tile(collection):
        normalizer = np.full(len(order), stored["untiled"].min(), np.int64)
        rows = stored["config_feat"][order].astype(np.float32)
        return graph_keys(arrays) | {
            "config_feat": rows,
            "config_runtime": runtime,
            "config_runtime_normalizers": normalizer,
        }
    index = {name: position for position, name in enumerate(arrays.names)}
    ids = np.array([index[name] for name in meta["nodes"]], np.int64)
    by_id = np.argsort(ids)
    features = stored["configurations"][order][:, by_id].reshape(len(order), len(ids), 18)
    return graph_keys(arrays) | {
        "node_config_ids": ids[by_id],
        "node_config_feat": features.astype(np.float32),
        "node_splits": arrays.node_splits,
        "config_runtime": runtime,
    }


def row(collection: str, meta: dict, stored: dict[str, np.ndarray], keys: dict[str, np.ndarray]) -> dict:
    """The graph's line of programs.csv."""
    passes = stored["passes"]
    spread, tau = figures(passes)
    both_ways = slowdown_score(passes[0], passes[1]), slowdown_score(passes[1], passes[0])
    ceiling = float(np.mean(both_ways)) if is_tile(collection) else tau
    return {
        "collection": collection,
        "split": meta["split"],
        "id": meta["id"],
        "family": meta["family"],
        "kin": meta["kin"],
        "nodes": len(keys["node_opcode"]),
        "configurable": len(keys.get("node_config_ids", ())),
        "configurations": passes.shape[1],
        "slowest_over_fastest": round(spread, 4),
        "repeatability": round(tau, 4),
        "ceiling": round(ceiling, 4),
    }


def solution_line(collection: str, keys: dict[str, np.ndarray]) -> str:
    """Hidden run times of a test graph in configuration order: nanoseconds, or for a tile runtime/normaliser."""
    if is_tile(collection):
        return ";".join(f"{value:.9g}" for value in keys["config_runtime"] / keys["config_runtime_normalizers"])
    return ";".join(str(value) for value in keys["config_runtime"])


def hidden(keys: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A test graph's keys: run times zero, normalisers one, as published."""
    blank = {"config_runtime": np.zeros_like(keys["config_runtime"])}
    if "config_runtime_normalizers" in keys:
        blank["config_runtime_normalizers"] = np.ones_like(keys["config_runtime_normalizers"])
    return keys | blank


class Sample:
    """Collects the exported graphs, then writes the tables beside them."""

    def __init__(self, target: Path):
        self.target = target
        self.programs: list[dict] = []
        self.dropped: list[dict] = []
        self.solution: list[dict] = []
        self.passes: list[polars.DataFrame] = []

    def add(self, collection: str, source: Path) -> None:
        """Exports one record, or names it among the dropped."""
        meta, stored = record.read(source)
        spread, tau = figures(stored["passes"])
        reason = fault(collection, stored["passes"].shape[1], spread, tau)
        if reason:
            named = {key: meta[key] for key in ("split", "id", "family")}
            measured = {"slowest_over_fastest": round(spread, 4), "repeatability": round(tau, 4)}
            self.dropped.append({"collection": collection} | named | measured | {"reason": reason})
            return
        count = stored["passes"].shape[1]
        # The order of the file says nothing: the searches find slow and fast configurations at different times.
        order = np.random.default_rng(seed_of(f"{collection}:{meta['id']}")).permutation(count)
        keys = official(collection, meta, stored, order)
        self.programs.append(row(collection, meta, stored, keys))
        identifier = f"{collection}:{meta['id']}"
        first, second = stored["passes"][:, order]
        self.passes.append(
            polars.DataFrame(
                {
                    "graph": [identifier] * count,
                    "configuration": np.arange(count, dtype=np.int32),
                    "first_ns": first,
                    "second_ns": second,
                }
            )
        )
        if meta["split"] == "test":
            self.solution.append({"ID": identifier, "Runtimes": solution_line(collection, keys)})
            keys = hidden(keys)
        file = folder(self.target / "npz_all", collection, meta["split"]) / f"{meta['id']}.npz"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(file, **keys)

    def close(self, failed: list[dict]) -> None:
        """Writes programs.csv, dropped.csv, solution.csv and passes.parquet."""
        trained = {(line["collection"], line["family"]) for line in self.programs if line["split"] == "train"}
        for line in self.programs:
            # The registries say what was planned; a family whose training graphs were all dropped is unseen after all.
            if line["split"] != "train":
                line["kin"] = "sibling" if (line["collection"], line["family"]) in trained else "unseen"
        dropped = polars.DataFrame(self.dropped + failed, schema=DROPPED)
        polars.DataFrame(self.programs).sort("collection", "split", "id").write_csv(self.target / "programs.csv")
        dropped.sort("collection", "id").write_csv(self.target / "dropped.csv")
        polars.DataFrame(self.solution, schema=SOLUTION).sort("ID").write_csv(self.target / "solution.csv")
        polars.concat(self.passes).write_parquet(self.target / "passes.parquet")


def failures(records: Path) -> list[dict]:
    """Programs and kernels that could not be measured, as lines of dropped.csv."""
    log = records / "failed.jsonl"
    if not log.exists():
        return []
    lines = []
    layouts, tiles = programs(), kernels()
    for entry in map(json.loads, log.read_text().splitlines()):
        known = layouts.get(entry["id"]) or tiles.get(entry["id"])
        tile = entry["id"] in tiles
        named = {"collection": "tile:xla" if tile else f"layout:{known.source}" if known else ""}
        named |= {"split": known.split, "family": known.kind if tile else known.family} if known else {}
        lines.append(named | {"id": entry["id"], "reason": entry["reason"]})
    return lines


def export(records: Path, sample: Path) -> Sample:
    """Writes the records of a folder as a data set into ``sample`` (npz_all/, solution.csv, programs.csv, …).

    Raises InputError when there is no record. What an earlier export left in ``sample`` is replaced.
    """
    beside = sample.with_name(sample.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    result = Sample(beside)
    for collection in COLLECTIONS:
        for source in sorted(record.path(records, collection, "x").parent.glob("*.npz")):
            result.add(collection, source)
    if not result.programs:
        shutil.rmtree(beside)
        raise InputError(f"{records}: no usable record; measure some with python -m stages.collect --out {records}")
    result.close(failures(records))
    for name in sorted(os.listdir(beside)):
        target = sample / name
        sample.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(beside / name, target)
    beside.rmdir()
    return result


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m stages.collect.export", description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=Path, default=Path("data/records"), help="folder that the collector filled")
    parser.add_argument("--sample", type=Path, default=Path("data/sample"), help="folder of the data set")
    options = parser.parse_args()
    try:
        result = export(options.records, options.sample)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    table = polars.DataFrame(result.programs)
    counts = table.group_by("collection", "split").agg(graphs=polars.len(), configurations=polars.sum("configurations"))
    for collection, split, graphs, configurations in counts.sort("collection", "split").iter_rows():
        print(f"{collection:22s} {split:6s} {graphs:4d} graphs {configurations:6d} configurations")
    print(f"{len(result.dropped)} graphs dropped for their times")
    return 0


if __name__ == "__main__":
    sys.exit(main())
