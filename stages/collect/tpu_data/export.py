"""`python -m stages.collect.tpu_data.export`: the records as a data set in TpuGraphs' official layout.

Drops what is of no use, by rule, and names it in dropped.csv. Test run times go to solution.csv and are zero in the npz
files, as in the competition. Programs that stand in the data set and of which there is no record stay in it.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import polars

from stages.collect import official, record
from stages.collect.programs.program import Program
from stages.collect.programs.registry import PROGRAMS
from stages.collect.tpu.search import LEAST_SPREAD, worthless
from stages.collect.tpu_data import readme, record_arrays, standing, tiles
from stages.collect.tpu_data.__main__ import RECORDS
from stages.collect.tpu_data.compiled import Compiled
from stages.collect.tpu_data.kinds import splits
from stages.collect.tpu_data.standing import Standing
from stages.collect.tpu_data.store import Store
from stages.collect.tpu_data.work import collections_of
from stages.engine.errors import InputError
from stages.graphs.collection import SPLITS, folder
from stages.runner import failures

#: columns of programs.csv; what follows `times` only simulated data has
PROGRAM_COLUMNS = {
    "collection": polars.String,
    "split": polars.String,
    "id": polars.String,
    "family": polars.String,
    "kin": polars.String,
    "nodes": polars.Int64,
    "configurable": polars.Int64,
    "configurations": polars.Int64,
    "slowest_over_fastest": polars.Float64,
    "repeatability": polars.Float64,
    "ceiling": polars.Float64,
    "times": polars.String,
    "distinct": polars.Int64,
    "own_over_fastest": polars.Float64,
    "errors": polars.Int64,
    "asked": polars.Int64,
    "training": polars.Boolean,
    "program": polars.String,
    "kind": polars.String,
}
TIMES = "simulated from the TPU compiler's schedule"
DROPPED_COLUMNS = dict.fromkeys(("collection", "split", "id", "family"), polars.String) | {
    "configurations": polars.Int64,
    "distinct": polars.Int64,
    "slowest_over_fastest": polars.Float64,
    "reason": polars.String,
}


def useless_tiles(times_ns: np.ndarray) -> str | None:
    """Why a kernel with these times of its windows is dropped by rule, None where it is kept."""
    if len(times_ns) < tiles.LEAST_WINDOWS:
        return f"{len(times_ns)} windows compile, fewer than {tiles.LEAST_WINDOWS}"
    spread = times_ns.max() / times_ns.min()
    return f"slowest/fastest {spread:.3f}, below {LEAST_SPREAD}" if spread < LEAST_SPREAD else None


class DataSet:
    """Collects the exported graphs, then writes the tables beside them."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.programs: list[dict] = []
        self.dropped: list[dict] = []
        self.solution: list[dict] = []

    def add(
        self,
        collection: str,
        program: Program,
        split: str,
        arrays: dict[str, np.ndarray],
        about: dict,
        reason: str | None,
    ) -> None:
        """Exports a graph, or names it among the dropped.

        Args:
            program: The one that the graph is, or that the kernel stands in.
            arrays: Of the npz file, with run times.
            about: More columns of programs.csv, its id among them.
            reason: Why it is dropped, None where it is kept.
        """
        times = arrays["config_runtime"]
        line = {
            "collection": collection,
            "split": split,
            "family": program.family,
            "configurations": len(times),
        } | about
        line |= {"distinct": len(np.unique(times))}
        line["slowest_over_fastest"] = round(float(times.max() / times.min()), 4) if len(times) else None
        if reason:
            self.dropped.append({key: line[key] for key in DROPPED_COLUMNS if key in line} | {"reason": reason})
            return
        line["own_over_fastest"] = round(float(np.rint(line.pop("own_ns"))) / float(times.min()), 4)
        line |= {"nodes": len(arrays["node_opcode"]), "configurable": len(arrays.get("node_config_ids", ()))}
        line |= {"times": TIMES, "training": program.training, "program": program.id}
        self.programs.append(line)
        if split == "test":
            identifier = f"{collection}:{line['id']}"
            self.solution.append({"ID": identifier, "Runtimes": official.solution_line(collection, arrays)})
            arrays = official.hidden(arrays)
        file = folder(self.target / "npz_all", collection, split) / f"{line['id']}.npz"
        official.write(file, arrays, official.SMALLEST)

    def keep(self, collection: str, identifier: str, program: Program, split: str, before: Standing) -> None:
        """Takes a graph over from the data set as it stands, or its line among the dropped.

        Args:
            program: The one that the graph is, or that the kernel is named after now.
            split: Where it belongs now. A kernel that programs of this split have joined leaves the one it was in.
        """
        about = {"split": split, "family": program.family}
        if (line := before.dropped.get((collection, identifier))) is not None:
            self.dropped.append(line | about)
            return
        if (line := before.lines.get((collection, identifier))) is None:
            return
        if line["split"] == split:
            target = folder(self.target / "npz_all", collection, split) / f"{identifier}.npz"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(before.file(collection, identifier), target)
            self.programs.append(line | about | {"training": program.training, "program": program.id})
            if split == "test":
                name = f"{collection}:{identifier}"
                self.solution.append({"ID": name, "Runtimes": before.solution[name]})
            return
        arrays = before.arrays(collection, identifier)
        own_ns = arrays["config_runtime_normalizers"][0]
        kept = {key: line[key] for key in ("id", "errors", "asked", "kind")} | {"own_ns": own_ns}
        self.add(collection, program, split, arrays, kept, None)

    def drop_twins(self) -> None:
        """Drops kernels that look the same as one of a split further from training.

        Texts of two kernels may differ in what the arrays of a graph do not say. Models see the arrays alone.
        """
        alike: dict[bytes, list[dict]] = defaultdict(list)
        for line in self.programs:
            if line["collection"] == tiles.COLLECTION:
                with np.load(self._file(line), allow_pickle=False) as arrays:
                    content = [arrays[name].tobytes() for name in ("node_feat", "node_opcode", "edge_index")]
                alike[hashlib.sha256(b"".join(content)).digest()].append(line)
        for lines in alike.values():
            last = max(SPLITS.index(line["split"]) for line in lines)
            for line in lines:
                if SPLITS.index(line["split"]) < last:
                    self.programs.remove(line)
                    self._file(line).unlink()
                    reason = f"looks the same as a kernel of {SPLITS[last]}"
                    self.dropped.append({key: line[key] for key in DROPPED_COLUMNS if key in line} | {"reason": reason})

    def _file(self, line: dict) -> Path:
        return folder(self.target / "npz_all", line["collection"], line["split"]) / f"{line['id']}.npz"

    def close(self, failed: list[dict], asked: dict[str, int], kernels: dict[str, list[str]]) -> None:
        """Writes programs.csv, dropped.csv, solution.csv, collected.csv and README.md.

        Args:
            failed: Lines of dropped.csv of programs that cannot be collected.
            asked, kernels: Of `standing.table`.
        """
        trained = {(line["collection"], line["family"]) for line in self.programs if line["split"] == "train"}
        for line in self.programs:
            # The zoo says what was planned; a family whose training graphs were all dropped is unseen after all.
            sibling = (line["collection"], line["family"]) in trained
            line["kin"] = "train" if line["split"] == "train" else "sibling" if sibling else "unseen"
        programs = polars.DataFrame(self.programs, schema=PROGRAM_COLUMNS).sort("collection", "split", "id")
        dropped = polars.DataFrame(self.dropped + failed, schema=DROPPED_COLUMNS).sort("collection", "id")
        programs.write_csv(self.target / "programs.csv")
        dropped.write_csv(self.target / "dropped.csv")
        solution = polars.DataFrame(self.solution, schema=official.SOLUTION_COLUMNS).sort("ID")
        solution.write_csv(self.target / "solution.csv")
        standing.table(asked, kernels).write_csv(self.target / standing.FILE)
        (self.target / "README.md").write_text(readme.text(programs, dropped))


def owners(kernels: dict[str, list[str]]) -> dict[str, Program]:
    """The program that each kernel is named after: of those of the kernel's split the first by id.

    Args:
        kernels: Keys of the kernels of each program, by its id.
    """
    split = splits([(PROGRAMS[identifier].split, keys) for identifier, keys in kernels.items()])
    result: dict[str, Program] = {}
    for identifier in sorted(kernels):
        for key in kernels[identifier]:
            if PROGRAMS[identifier].split == split[key]:
                result.setdefault(key, PROGRAMS[identifier])
    return result


def kernel_id(kind: str, key: str) -> str:
    """A kernel's id in the data set."""
    return f"{kind}_{key}"


def layout_graph(store: Store, program: Program, collection: str, proto: bytes) -> tuple[dict, dict, str | None]:
    """Arrays of a layout graph, more columns of it, and why it is dropped."""
    meta, stored = record.read(store.graph(collection, program.id))
    arrays = record_arrays.layout_arrays(f"{collection}:{program.id}", proto, meta, stored)
    about = {"id": program.id, "own_ns": meta["own_ns"], "errors": meta["errors"], "asked": meta["asked"]}
    return arrays, about, worthless(arrays["config_runtime"])


def tile_graph(store: Store, key: str) -> tuple[dict, dict, str | None]:
    """Arrays of a kernel, more columns of it, and why it is dropped."""
    meta, stored = record.read(store.graph(tiles.COLLECTION, key))
    identifier = kernel_id(meta["kind"], key)
    arrays = record_arrays.tile_arrays(f"{tiles.COLLECTION}:{identifier}", meta, stored)
    about = {
        "id": identifier,
        "own_ns": meta["own_ns"],
        "errors": meta["errors"],
        "asked": meta["asked"],
        "kind": meta["kind"],
    }
    return arrays, about, useless_tiles(arrays["config_runtime"])


def export(store: Store, sample: Path) -> DataSet:
    """Writes the records as a data set into ``sample`` (npz_all/, solution.csv, programs.csv, …).

    Raises:
        InputError: There is no usable record, or the data set is of another libtpu.
    """
    before = Standing.read(sample)
    with official.replacing(sample) as beside:
        result = DataSet(beside)
        asked, kernels = dict(before.asked), dict(before.kernels)
        new = {name: count for name, count in store.finished().items() if name in PROGRAMS}
        asked |= new
        for name in sorted(new):
            compiled = Compiled.read(store.program(name))
            kernels[name] = [kernel.key for kernel in compiled.kernels]
            for collection in collections_of(name).values():
                if store.graph(collection, name).exists():
                    arrays, about, reason = layout_graph(store, PROGRAMS[name], collection, compiled.proto)
                    result.add(collection, PROGRAMS[name], PROGRAMS[name].split, arrays, about, reason)
        for name in sorted(before.asked.keys() - new.keys()):
            for collection in collections_of(name).values():
                result.keep(collection, name, PROGRAMS[name], PROGRAMS[name].split, before)
        for key, program in sorted(owners(kernels).items()):
            _add_kernel(result, store, key, program, before)
        if not result.programs:
            advice = "collect some with python -m stages.collect --records …"
            raise InputError(f"{store.folder}: no usable record; {advice}")
        result.drop_twins()
        result.close(_failures(store, before), asked, kernels)
    return result


def _add_kernel(result: DataSet, store: Store, key: str, program: Program, before: Standing) -> None:
    """Exports a kernel of the records, or takes it over from the data set as it stands."""
    if store.graph(tiles.COLLECTION, key).exists():
        arrays, about, reason = tile_graph(store, key)
        result.add(tiles.COLLECTION, program, program.split, arrays, about, reason)
        return
    if (identifier := before.kernel_id(key)) is not None:
        result.keep(tiles.COLLECTION, identifier, program, program.split, before)


def _failures(store: Store, before: Standing) -> list[dict]:
    """Programs that could not be collected, as lines of dropped.csv."""
    recorded = {*store.failures(), *store.finished()}
    lines = [line for line in before.failures() if line["id"] not in recorded]
    for identifier, reason in store.failures().items():
        if program := PROGRAMS.get(identifier):
            about = {"collection": f"layout:{program.kind}", "split": program.split, "family": program.family}
            lines.append({"id": identifier, "reason": reason} | about)
    return lines


def tell(result: DataSet, sample: Path) -> None:
    """Prints how much a data set holds."""
    print(readme.counts(polars.DataFrame(result.programs, schema=PROGRAM_COLUMNS)))
    size = sum(path.stat().st_size for path in sample.rglob("*") if path.is_file())
    print(
        f"{size / 1e6:.1f} MB; {len(result.dropped)} graphs dropped by rule; python -m stages.collect.tpu_data.quotas"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m stages.collect.tpu_data.export", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--records", type=Path, default=RECORDS, help="folder that was filled (default: %(default)s)")
    parser.add_argument("--sample", type=Path, default=standing.SAMPLE, help="folder to write (%(default)s)")
    options = parser.parse_args()
    return failures.exit_status(lambda: tell(export(Store(options.records), options.sample), options.sample))


if __name__ == "__main__":
    sys.exit(main())
