"""Variants of the graph network beside the default: what each choice is worth, on valid.

    python -m benchmarks.variants [--variants NAME …] [--collections NAME …] [--seeds 3] [--workers 2]

Every variant changes some of the parameters that params.yaml gives a collection. A line per variant, collection and
seed goes to reports/gnn-variants.csv as soon as it is there; a run goes on with what is missing, and trains anew what
other parameters or other data have made stale. Needs `data/prune` and `data/pad`: run `dvc repro pad` first.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from benchmarks.gnn import stage_knobs
from stages import files
from stages.collection import COLLECTIONS, is_tile
from stages.dataset import model_graphs
from stages.gnn.batch import Memory, prepare
from stages.gnn.checkpoint import identity
from stages.gnn.inference import predict
from stages.gnn.settings import Settings
from stages.gnn.training import Training, build, deterministic
from stages.metrics import collection_score, graph_score

VARIANTS: dict[str, dict] = {
    "default": {},
    "full": {"gst": "full"},
    "gst": {"gst": "gst"},
    "gst+e": {"gst": "gst+e"},
    "gst+ef": {"gst": "gst+ef"},
    "gst+ed": {"gst": "gst+ed"},
    "1 segment": {"segments": 1},
    "1 segment, keep .5": {"segments": 1, "keep": 0.5},
    "64 nodes, 1 segment": {"segment_nodes": 64, "segments": 1},
    "keep .5": {"keep": 0.5},
    "metis": {"partition": "metis"},
    "node_splits": {"partition": "node_splits"},
    "no cross attention": {"cross_attention": False},
    "channel attention": {"channel_attention": True},
    "no copies": {"copies": False},
    "contracted": {"graph": "contracted"},
    "producers only": {"direction": "producers"},
    "gatv2": {"messages": "gatv2"},
    "no norm": {"norm": "none"},
    "instance norm, dense": {"norm": "instance", "gst": "full"},
    "mean readout": {"readout": "mean"},
    "max readout": {"readout": "max", "gst": "full"},
    "one layer": {"layers": 1},
    "three layers": {"layers": 3},
    "width 32": {"width": 32},
    "width 128": {"width": 128},
    "no dropout": {"dropout": 0.0},
    "dropout .5": {"dropout": 0.5},
    "logistic": {"loss": "logistic"},
    "listmle": {"loss": "listmle"},
    "margin": {"loss": "margin"},
    "16 configurations": {"configurations": 16},
    "16, spread": {"configurations": 16, "sampling": "spread"},
    "4 graphs a step": {"graphs": 4},
    "average .98": {"average": 0.98},
    "early fusion": {"fusion": "early"},
}
TILE_ONLY = ("early fusion",)
BOTH = (
    "default",
    "no norm",
    "one layer",
    "three layers",
    "width 32",
    "width 128",
    "no dropout",
    "dropout .5",
    "logistic",
)
COLUMNS = ["variant", "collection", "seed", "split", "score", "train_seconds", "identity"]
OUT = Path("reports/gnn-variants.csv")


def settings_of(collection: str, variant: str) -> Settings:
    """The collection's settings in params.yaml, with what the variant changes; on the CPU, so that times compare."""
    return Settings(**{**stage_knobs(collection), **VARIANTS[variant], "device": "cpu"})


def applies(variant: str, collection: str) -> bool:
    return variant in TILE_ONLY or variant in BOTH if is_tile(collection) else variant not in TILE_ONLY


def train(job: tuple[str, str, int]) -> tuple[tuple[str, str, int], float, float, str]:
    """Trains one network: the job, its official metric on valid, seconds of training with validation, its identity."""
    variant, collection, seed = job
    settings = settings_of(collection, variant)
    graphs = {split: model_graphs("data", collection, split) for split in ("train", "valid")}
    known = identity(collection, seed, settings, [*graphs["train"], *graphs["valid"]])
    view, memory = settings.view(collection), Memory()
    statics = {split: [prepare(graph, view, memory=memory) for graph in graphs[split]] for split in graphs}
    with deterministic(seed):
        start = time.monotonic()
        network = build(collection, statics["train"][0], settings)
        Training(network, statics["train"], statics["valid"], settings, collection, seed).run()
        seconds = time.monotonic() - start
        found = [(predict(network, static), static.graph.target) for static in statics["valid"]]
    return job, collection_score(graph_score(collection, score, target) for score, target in found), seconds, known


def summary(table: pl.DataFrame) -> pl.DataFrame:
    """Mean over seeds per variant and collection, each with its standard deviation over seeds, their mean over the
    layout collections (over all, where there is none) with its own, and the mean training seconds; best first."""
    wide = table.pivot("collection", index=["variant", "seed"], values="score")
    columns = [name for name in COLLECTIONS if name in wide.columns]
    wide = wide.with_columns(mean=pl.mean_horizontal([name for name in columns if not is_tile(name)] or columns))
    seconds = table.group_by("variant").agg(pl.col("train_seconds").mean().alias("seconds"))
    found = [
        part for name in [*columns, "mean"] for part in (pl.col(name).mean(), pl.col(name).std().alias(f"{name} sd"))
    ]
    return wide.group_by("variant").agg(found).join(seconds, on="variant").sort("mean", descending=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--collections", nargs="+", choices=COLLECTIONS, default=list(COLLECTIONS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="trainings at a time, a thread each")
    options = parser.parse_args()
    jobs = [
        (variant, collection, seed)
        for variant in options.variants
        for collection in options.collections
        for seed in range(options.seeds)
        if applies(variant, collection)
    ]
    rows = pl.read_csv(OUT).to_dicts() if OUT.exists() else []
    data = {
        name: [graph for split in ("train", "valid") for graph in model_graphs("data", name, split)]
        for name in options.collections
    }
    fresh = {(row["variant"], row["collection"], row["seed"]): row["identity"] for row in rows}
    open_jobs = [
        job for job in jobs if fresh.get(job) != identity(job[1], job[2], settings_of(job[1], job[0]), data[job[1]])
    ]
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(options.workers, mp_context=context) as pool:
        running = [pool.submit(train, job) for job in open_jobs]
        for done in tqdm(as_completed(running), total=len(running), mininterval=2):
            job, score, seconds, known = done.result()
            rows = [row for row in rows if (row["variant"], row["collection"], row["seed"]) != job]
            values = (*job, "valid", round(score, 5), round(seconds, 2), known)
            rows.append(dict(zip(COLUMNS, values, strict=True)))
            order = sorted(rows, key=lambda row: (row["variant"], row["collection"], row["seed"]))
            files.replace(OUT, pl.DataFrame(order).write_csv().encode())
    table = pl.DataFrame(rows).filter(
        pl.col("variant").is_in(options.variants), pl.col("collection").is_in(options.collections)
    )
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=220, float_precision=3, fmt_str_lengths=40):
        print(summary(table))
    assert np.isfinite(table["score"].to_numpy()).all()


if __name__ == "__main__":
    main()
