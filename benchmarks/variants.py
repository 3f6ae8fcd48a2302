"""Variants of the graph network beside the default: what each choice is worth, on valid.

    python -m benchmarks.variants [--variants NAME …] [--collections NAME …] [--seeds 3]

Every variant changes some of the parameters that params.yaml gives a collection. A line per variant, collection and
seed goes to reports/gnn-variants.csv as soon as it is there; a run goes on with what is missing, and trains anew what
other parameters or other data have made stale. Needs `data/prune` and `data/pad`: run `dvc repro pad` first.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from benchmarks.gnn import stage_knobs
from stages import files
from stages.collection import COLLECTIONS, is_tile
from stages.dataset import model_graphs
from stages.gnn.batch import prepare
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
    statics = {split: [prepare(graph, settings.view(collection)) for graph in graphs[split]] for split in graphs}
    with deterministic(seed):
        start = time.monotonic()
        network = build(collection, statics["train"][0], settings)
        Training(network, statics["train"], statics["valid"], settings, collection, seed).run()
        seconds = time.monotonic() - start
        found = [(predict(network, static), static.graph.target) for static in statics["valid"]]
    return job, collection_score(graph_score(collection, score, target) for score, target in found), seconds, known


def summary(table: pl.DataFrame) -> pl.DataFrame:
    """Mean over seeds per variant and collection, the mean of the layout collections with its standard deviation over
    seeds, and the mean training seconds; best first."""
    layouts = [name for name in COLLECTIONS if not is_tile(name)]
    wide = table.pivot("collection", index=["variant", "seed"], values="score")
    there = [name for name in layouts if name in wide.columns]
    wide = wide.with_columns(layout=pl.mean_horizontal(there))
    seconds = table.group_by("variant").agg(pl.col("train_seconds").mean().alias("seconds"))
    columns = [name for name in COLLECTIONS if name in wide.columns]
    means = wide.group_by("variant").agg(
        *(pl.col(name).mean() for name in [*columns, "layout"]), pl.col("layout").std().alias("sd")
    )
    return means.join(seconds, on="variant").sort("layout", descending=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--collections", nargs="+", choices=COLLECTIONS, default=list(COLLECTIONS))
    parser.add_argument("--seeds", type=int, default=3)
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
        name: [g for split in ("train", "valid") for g in model_graphs("data", name, split)] for name in COLLECTIONS
    }
    fresh = {(row["variant"], row["collection"], row["seed"]): row["identity"] for row in rows}
    open_jobs = [
        job for job in jobs if fresh.get(job) != identity(job[1], job[2], settings_of(job[1], job[0]), data[job[1]])
    ]
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        for job, score, seconds, known in tqdm(pool.map(train, open_jobs), total=len(open_jobs), mininterval=2):
            rows = [row for row in rows if (row["variant"], row["collection"], row["seed"]) != job]
            values = (*job, "valid", round(score, 5), round(seconds, 2), known)
            rows.append(dict(zip(COLUMNS, values, strict=True)))
            order = sorted(rows, key=lambda row: (row["variant"], row["collection"], row["seed"]))
            files.replace(OUT, pl.DataFrame(order).write_csv().encode())
    table = pl.DataFrame(rows).filter(pl.col("variant").is_in(options.variants))
    with pl.Config(tbl_rows=-1, tbl_cols=-1, float_precision=3, fmt_str_lengths=40):
        print(summary(table))
    assert np.isfinite(table["score"].to_numpy()).all()


if __name__ == "__main__":
    main()
