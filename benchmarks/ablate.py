"""Measures on valid what each choice is worth: a variant changes one choice of params.yaml.

    python -m benchmarks.ablate [--groups NAME …] [--variants NAME …] [--collections NAME …] [--seeds 3] [--workers 2]

It writes a row per variant, collection and seed to reports/ablation.csv as soon as it is measured. The next run goes on
with the missing rows and repeats those that other parameters, code or data made stale. Graphs are pruned and padded
here, from `data.root`. The rules of blending take the scores of the pipeline, so they need `dvc repro` first. Without
--groups all groups run except `network`, further choices of the network, in the order of `VARIANTS`.
`python -m stages.run ablation` makes a page of the rows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from tqdm import tqdm

from stages import pad
from stages.blend import stage as blend
from stages.blend.rules import SCALES
from stages.engine import code, files, params
from stages.engine.errors import InputError
from stages.gbdt.ensemble import combined, fit
from stages.gbdt.feature_table import FeatureTable, labelled
from stages.gbdt.settings import Settings as TreeSettings
from stages.gnn.inference import predict
from stages.gnn.memory import Caches
from stages.gnn.network import build
from stages.gnn.prepared_graph import PreparedGraph, prepare
from stages.gnn.settings import Settings
from stages.gnn.training import Training, deterministic
from stages.graphs.collection import COLLECTIONS, folder, is_tile, slug
from stages.graphs.dataset import model_graphs, prune_folder
from stages.prune import stage as prune
from stages.scoring import scores
from stages.scoring.metrics import collection_score, graph_score
from stages.statistics import layout
from stages.studies import ablation

#: group -> variant -> stage -> changed parameters; for trees "without" -> the group of statistics that is left out
VARIANTS: dict[str, dict[str, dict]] = {
    "default": {"network": {}, "trees": {"without": ""}},
    "pruning": {
        "none": {"prune": {"hops": "all"}},
        "2 hops": {"prune": {"hops": 2}},
        "3 hops": {"prune": {"hops": 3}},
        "5 hops": {"prune": {"hops": 5}},
        "contracted": {"gnn": {"graph": "contracted"}},
    },
    "padding": {"0": {"pad": {"layout_padding": 0}}},
    "attention": {"off": {"gnn": {"cross_attention": False}}},
    "segments": {name: {"gnn": {"gst": name}} for name in ("full", "gst", "gst+e", "gst+ef", "gst+ed")},
    "trees": {f"without {name}": {"without": name} for name in (*layout.GROUPS, "program")},
    "blend": {rule: {"rule": rule} for rule in SCALES},
    "network": {
        "1 segment": {"gnn": {"segments": 1}},
        "1 segment, keep .5": {"gnn": {"segments": 1, "keep": 0.5}},
        "64 nodes, 1 segment": {"gnn": {"segment_nodes": 64, "segments": 1}},
        "keep .5": {"gnn": {"keep": 0.5}},
        "metis": {"gnn": {"partition": "metis"}},
        "node_splits": {"gnn": {"partition": "node_splits"}},
        "channel attention": {"gnn": {"channel_attention": True}},
        "no facts": {"gnn": {"facts": False}},
        "no copies": {"gnn": {"copies": False}},
        "neither facts nor copies": {"gnn": {"facts": False, "copies": False}},
        "overridden": {"gnn": {"overridden": True}},
        "producers only": {"gnn": {"direction": "producers"}},
        "consumers only": {"gnn": {"direction": "consumers"}},
        "gatv2": {"gnn": {"messages": "gatv2"}},
        "gcn": {"gnn": {"messages": "gcn"}},
        "no norm": {"gnn": {"norm": "none"}},
        "instance norm, dense": {"gnn": {"norm": "instance", "gst": "full"}},
        "mean readout": {"gnn": {"readout": "mean"}},
        "max readout": {"gnn": {"readout": "max", "gst": "full"}},
        "one layer": {"gnn": {"layers": 1}},
        "three layers": {"gnn": {"layers": 3}},
        "width 32": {"gnn": {"width": 32}},
        "width 128": {"gnn": {"width": 128}},
        "no dropout": {"gnn": {"dropout": 0.0}},
        "dropout .5": {"gnn": {"dropout": 0.5}},
        "logistic": {"gnn": {"loss": "logistic"}},
        "listmle": {"gnn": {"loss": "listmle"}},
        "margin": {"gnn": {"loss": "margin"}},
        "16 configurations": {"gnn": {"configurations": 16}},
        "16, spread": {"gnn": {"configurations": 16, "sampling": "spread"}},
        "4 graphs a step": {"gnn": {"graphs": 4}},
        "average .98": {"gnn": {"average": 0.98}},
        "early fusion": {"gnn": {"fusion": "early"}},
    },
}
#: variants that change tiles too, and those that change nothing else
ON_TILES = {("default", "network"), ("padding", "0")} | {
    ("network", name)
    for name in ("no norm", "three layers", "width 32", "width 128", "no dropout", "dropout .5", "logistic")
}
TILES_ONLY = {("network", "early fusion")}
FURTHER = "network"
#: modules on which a row depends, with all that they import
CODE = tuple(f"stages.{stage}" for stage in ("prune.stage", "pad", "gnn.stage", "gbdt.stage", "blend.stage"))


class Job(NamedTuple):
    """One row of the table: a variant of a group, on a collection, trained with a seed."""

    group: str
    variant: str
    collection: str
    seed: int

    @property
    def changes(self) -> dict:
        """The changes of the variant, see `VARIANTS`."""
        return VARIANTS[self.group][self.variant]


def applies(group: str, variant: str, collection: str) -> bool:
    """Whether a variant changes anything for a collection."""
    if group == "blend":
        return True
    if (group, variant) in TILES_ONLY:
        return is_tile(collection)
    if VARIANTS[group][variant].get("without") == "search":
        return _section("gbdt", collection)["searched"]
    return not is_tile(collection) or (group, variant) in ON_TILES


def knobs(stage: str, collection: str, variant: Mapping) -> dict:
    """A stage's parameters in params.yaml, with the changes of a variant."""
    return _section(stage, collection) | variant.get(stage, {})


@cache
def _section(stage: str, collection: str) -> dict:
    return params.section("params.yaml", stage, collection)


@cache
def data_root(collection: str) -> str:
    """The folder `data.root`, which has a collection's npz files."""
    return params.data("params.yaml", collection)["root"]


def identity(job: Job) -> str:
    """Digest of all that decides a row: the code, the parameters, and the npz files or, for a blend, the scores."""
    group, name, collection, seed = job
    variant = job.changes
    stages = ("blend",) if group == "blend" else ("prune", "pad", "gbdt" if "without" in variant else "gnn")
    digest = hashlib.sha256(_code().encode())
    values = {stage: knobs(stage, collection, variant) for stage in stages}
    digest.update(json.dumps([group, name, collection, seed, variant, values], sort_keys=True).encode())
    digest.update((_scores_digest(collection) if group == "blend" else files_digest(collection)).encode())
    return digest.hexdigest()


def _code() -> str:
    return code.digest(*CODE) + _digest([Path(__file__)])


@cache
def files_digest(collection: str) -> str:
    """Digest of a collection's train and valid files."""
    root = data_root(collection)
    return _digest(
        path for split in ("train", "valid") for path in sorted(folder(root, collection, split).glob("*.npz"))
    )


@cache
def _scores_digest(collection: str) -> str:
    """Digest of the scores of the pipeline's members."""
    members = _section("blend", collection)["members"]
    return _digest(Path("data", member, slug(collection), "scores.parquet") for member in members)


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: not there; run dvc repro first")
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def folder_of(base: str, collection: str, variant: Mapping) -> Path:
    """The folder below `base` for graphs that are pruned and padded with a variant's parameters."""
    values = {stage: knobs(stage, collection, variant) for stage in ("prune", "pad")}
    return Path(base, hashlib.sha256(json.dumps([collection, values], sort_keys=True).encode()).hexdigest()[:16])


def make(base: str, collection: str, variant: Mapping) -> None:
    """Prunes and pads a collection into its `folder_of`."""
    data = str(folder_of(base, collection, variant))
    prune.run(
        collection=collection, root=data_root(collection), data=data, workers=1, **knobs("prune", collection, variant)
    )
    pad.run(collection=collection, data=data, **knobs("pad", collection, variant))


def train(base: str, job: Job) -> dict[int, tuple[float, float]]:
    """Trains one network, or the trees of a job's seed: {seed: (official metric on valid, processor seconds)}."""
    collection, seed, variant = job.collection, job.seed, job.changes
    data = str(folder_of(base, collection, variant))
    if "without" in variant:
        return _trees(data, collection, variant, seed)
    settings = Settings(**knobs("gnn", collection, variant))
    statics = prepared(data, collection, settings, ("train", "valid"))
    with deterministic(seed):
        start = time.process_time()
        network = build(collection, statics["train"][0], settings)
        Training(network, statics["train"], statics["valid"], settings, collection, seed).run()
        spent = time.process_time() - start
        pairs = [(predict(network, static), static.graph.target) for static in statics["valid"]]
    return {seed: (collection_score(graph_score(collection, score, target) for score, target in pairs), spent)}


def prepared(data: str, collection: str, settings: Settings, splits: Iterable[str]) -> dict[str, list[PreparedGraph]]:
    """The graphs of some splits in a folder, as the network with these settings takes them."""
    view, caches = settings.view(collection), Caches()
    return {
        split: [prepare(graph, view, caches=caches) for graph in model_graphs(data, collection, split)]
        for split in splits
    }


def _trees(data: str, collection: str, variant: Mapping, seeds: int) -> dict[int, tuple[float, float]]:
    """Trains the seeds 0 to `seeds` in one fit, because the draws of a seed do not depend on other seeds."""
    settings = TreeSettings(**knobs("gbdt", collection, variant) | {"seeds": seeds + 1})
    sheets = [kept(sheet, variant["without"]) for sheet in labelled(data, collection, settings)]
    start = time.process_time()
    ensemble = fit(sheets, settings)
    spent = (time.process_time() - start) / settings.seeds
    return {
        seed: (
            collection_score(
                graph_score(collection, combined(ensemble.scores(sheet, seed)), sheet.target)
                for sheet in sheets
                if sheet.split == "valid"
            ),
            spent,
        )
        for seed in range(settings.seeds)
    }


def kept(sheet: FeatureTable, without: str) -> FeatureTable:
    """A graph without one group of statistics; `program` stands for those that all its configurations share."""
    grouped = {name for group, names in layout.GROUPS.items() if group != without for name in names}
    program = set(sheet.names) - {name for names in layout.GROUPS.values() for name in names}
    if without != "program":
        grouped |= program
    columns = [column for column, name in enumerate(sheet.names) if name in grouped]
    return replace(sheet, names=[sheet.names[column] for column in columns], values=sheet.values[:, columns])


def blends(collection: str, seeds: int) -> dict[tuple[str, int], tuple[float, float]]:
    """Scores the rules of blending on valid, each blend of one seed of every member; nothing is trained.

    Returns:
        (rule, seed) -> (official metric, 0.0 seconds). The weights for a graph are chosen without its family.
    """
    section = _section("blend", collection)
    values = {}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as data:
            Path(data, "prune").mkdir()
            prune_folder(data, collection).symlink_to(prune_folder("data", collection).resolve())
            for member in section["members"]:
                table = scores.read(Path("data", member, slug(collection), "scores.parquet"))
                if not table.filter(pl.col("seed") == seed).height:
                    raise InputError(f"data/{member}/{slug(collection)}: has no seed {seed}; give fewer --seeds")
                one = table.filter(pl.col("seed") == seed)
                scores.write(one, Path(data, member, slug(collection), "scores.parquet"))
            rules = blend.run(collections=[collection], data=data, **section).rules
        nested = rules.filter(pl.col("collection") == collection).select("rule", "nested").drop_nulls()
        if nested.is_empty():
            raise InputError(f"{collection}: valid has one family of programs, none is left to choose weights on")
        values |= {(rule, seed): (value, 0.0) for rule, value in nested.iter_rows()}
    return values


def jobs(groups: list[str], variants: list[str] | None, collections: list[str], seeds: int) -> list[Job]:
    """The rows to measure, in order."""
    return [
        Job(group, variant, collection, seed)
        for group in groups
        for variant in VARIANTS[group]
        if variants is None or group == "default" or variant in variants
        for collection in collections
        if applies(group, variant, collection)
        for seed in range(seeds)
    ]


class Rows:
    """The rows of reports/ablation.csv; each new row writes the whole file."""

    def __init__(self, path: Path):
        self.path = path
        rows = ablation.read(path).to_dicts() if path.exists() else []
        self.by_job = {Job(*(row[name] for name in Job._fields)): row for row in rows}

    def missing(self, jobs: list[Job]) -> list[Job]:
        """The jobs that have no row, or one of other code, parameters or data."""
        return [job for job in jobs if self.by_job.get(job, {}).get("identity") != identity(job)]

    def add(self, job: Job, score: float, spent: float) -> None:
        values = (*job, "valid", round(score, 5), round(spent, 2), identity(job))
        self.by_job[job] = dict(zip(ablation.SCHEMA, values, strict=True))
        variants = [(group, variant) for group in VARIANTS for variant in VARIANTS[group]]
        jobs = [job for job in self.by_job if (job.group, job.variant) in variants]
        jobs.sort(key=lambda job: (variants.index((job.group, job.variant)), *_order(job)))
        table = pl.DataFrame([self.by_job[job] for job in jobs], schema=ablation.SCHEMA)
        files.replace(self.path, table.write_csv().encode())


def _order(job: Job) -> tuple[int, int]:
    """The order of the rows of a variant."""
    return COLLECTIONS.index(job.collection), job.seed


def run(wanted: list[Job], workers: int, path: Path = ablation.TABLE) -> None:
    """Measures the missing rows of the wanted jobs."""
    rows = Rows(path)
    missing = rows.missing(wanted)
    seeds = 1 + max((job.seed for job in wanted), default=0)
    # One task trains the trees of all seeds; the last seed's job stands for it.
    trainings = [job for job in missing if job.group != "blend"]
    tasks = dict.fromkeys(job._replace(seed=seeds - 1) if "without" in job.changes else job for job in trainings)
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    base = tempfile.mkdtemp(prefix="ablate-")
    try:
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            folders = {folder_of(base, job.collection, job.changes): job for job in tasks}
            making = [pool.submit(make, base, job.collection, job.changes) for job in folders.values()]
            for done in tqdm(as_completed(making), "prune, pad", len(making), mininterval=2):
                done.result()
            running = {pool.submit(train, base, job): job for job in tasks}
            for done in tqdm(as_completed(running), "trainings", len(running), mininterval=2):
                for seed, (score, spent) in done.result().items():
                    rows.add(running[done]._replace(seed=seed), score, spent)
    finally:
        shutil.rmtree(base)
    for collection in sorted({job.collection for job in missing if job.group == "blend"}, key=COLLECTIONS.index):
        for (rule, seed), (score, spent) in blends(collection, seeds).items():
            rows.add(Job("blend", rule, collection, seed), score, spent)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    groups = [group for group in VARIANTS if group != FURTHER]
    parser.add_argument("--groups", nargs="+", choices=VARIANTS, default=groups)
    parser.add_argument("--variants", nargs="+", choices=[name for group in VARIANTS.values() for name in group])
    parser.add_argument("--collections", nargs="+", choices=COLLECTIONS, default=list(COLLECTIONS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="trainings at a time, a thread each")
    options = parser.parse_args()
    groups = ["default", *(group for group in options.groups if group != "default")]
    try:
        run(jobs(groups, options.variants, options.collections, options.seeds), options.workers)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    table = ablation.read(ablation.TABLE)
    assert np.isfinite(table["score"].to_numpy()).all()
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160, float_precision=3, fmt_str_lengths=40):
        for group in ablation.groups(table):
            print(group, ablation.summary(table, group), ablation.meaning(table, group), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
