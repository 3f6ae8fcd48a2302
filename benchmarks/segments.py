"""Trains the network on whole programs of the sample, with Graph Segment Training and without it.

    python -m benchmarks.segments [--collections NAME …] [--variants NAME …] [--seeds 3]

Programs are not pruned here, so that they have thousands of nodes, and segments are the paper's: 1,000 nodes, one of
them with gradients in a step, the embeddings of the others kept in a table and dropped half of the time. The other
parameters are those of params.yaml. A row per variant, collection and seed goes to reports/segments.csv as soon as it
is measured; the next run goes on with the missing rows, and repeats those of other code, parameters or data.

valid, test    Kendall's tau-b of the network that was best on valid; nothing is chosen on test
epochs         of the network and of its head, trained until valid does not grow any more
seconds        of the processor for the whole training
peak           bytes that the process holds at most while it trains, beyond those before its first step

Each training is a process of its own, with one thread.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import polars.selectors as cs
from tqdm import tqdm

from benchmarks import ablate, measure
from benchmarks.gst import in_child
from stages.engine import code, files
from stages.gnn.inference import predict
from stages.gnn.network import build
from stages.gnn.settings import Settings
from stages.gnn.training import Training, deterministic
from stages.graphs.collection import COLLECTIONS, folder, is_tile
from stages.runner import failures
from stages.scoring.metrics import collection_score, graph_score
from stages.scoring.score import read_solution

TABLE = Path("reports/segments.csv")
VARIANTS = {"whole graphs": "full", "gst": "gst", "gst+efd": "gst+efd"}
#: of the paper (Cao et al. 2023): nodes of a segment at most, segments with gradients in a step, stale ones kept
PAPER = {"segment_nodes": 1000, "segments": 1, "keep": 0.5}
LAYOUTS = [name for name in COLLECTIONS if not is_tile(name)]
KEYS = ["variant", "collection", "seed"]
SCHEMA = {
    "variant": pl.String,
    "collection": pl.String,
    "seed": pl.Int64,
    "valid": pl.Float64,
    "test": pl.Float64,
    "epochs": pl.Int64,
    "seconds": pl.Float64,
    "peak": pl.Int64,
    "identity": pl.String,
}


def changes(variant: str) -> dict[str, dict]:
    """What a variant changes of params.yaml, by stage."""
    return {"prune": {"hops": "all"}, "gnn": {"gst": VARIANTS[variant], **PAPER}}


def train(data: str, collection: str, variant: str, seed: int, solution: str) -> dict:
    """Trains a network on the graphs in a folder; the row of it, without its identity."""
    settings = Settings(**ablate.knobs("gnn", collection, changes(variant)))
    statics = ablate.prepared(data, collection, settings, ("train", "valid", "test"))
    with deterministic(seed):
        network = build(collection, statics["train"][0], settings)
        training = Training(network, statics["train"], statics["valid"], settings, collection, seed)
        measure.reset_peak()
        held, start = measure.resident_bytes(), time.process_time()
        curve = training.run()
        seconds, peak = time.process_time() - start, measure.peak_bytes()
    hidden = read_solution(solution)
    runtimes = {
        "valid": [static.graph.target for static in statics["valid"]],
        "test": [hidden[f"{collection}:{static.graph.id}"] for static in statics["test"]],
    }
    scores = {
        split: collection_score(
            graph_score(collection, predict(network, static), target)
            for static, target in zip(statics[split], targets, strict=True)
        )
        for split, targets in runtimes.items()
    }
    return {**scores, "epochs": len(curve), "seconds": seconds, "peak": peak - held}


def solution_of(collection: str) -> Path:
    """The run times of a collection's test graphs."""
    return Path(ablate.data_root(collection)).parent / "solution.csv"


def identity(collection: str, variant: str) -> str:
    """Digest of what decides a row, but for its seed."""
    digest = hashlib.sha256(code.digest("stages.prune.stage", "stages.pad", "stages.gnn.stage").encode())
    knobs = {stage: ablate.knobs(stage, collection, changes(variant)) for stage in ("prune", "pad", "gnn")}
    digest.update(Path(__file__).read_bytes() + json.dumps(knobs, sort_keys=True).encode())
    digest.update(ablate.files_digest(collection).encode() + solution_of(collection).read_bytes())
    for path in sorted(folder(ablate.data_root(collection), collection, "test").glob("*.npz")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def summary(table: pl.DataFrame) -> pl.DataFrame:
    """Means and deviations over seeds of the mean of the collections, by variant; mean seconds, largest peak."""
    seeds = table.group_by("variant", "seed").agg(
        pl.col("valid", "test", "seconds").mean(), pl.col("peak").max(), collections=pl.len()
    )
    spread = {f"{name} sd": pl.col(name).std() for name in ("valid", "test")}
    grouped = seeds.group_by("variant").agg(
        pl.col("collections").first(), pl.col("valid", "test", "seconds").mean(), pl.col("peak").max(), **spread
    )
    order = pl.col("variant").replace_strict({name: place for place, name in enumerate(VARIANTS)})
    return grouped.sort(order)


def run(collections: Sequence[str], variants: Sequence[str], seeds: int, path: Path = TABLE) -> pl.DataFrame:
    """Measures the missing rows, and returns those that were asked for."""
    table = pl.read_csv(path, schema=SCHEMA) if path.exists() else pl.DataFrame(schema=SCHEMA)
    wanted = [(variant, name, seed) for name in collections for variant in variants for seed in range(seeds)]
    identities = {(variant, name): identity(name, variant) for name in collections for variant in variants}
    with tempfile.TemporaryDirectory(prefix="segments-") as base:
        for variant, collection, seed in tqdm(wanted, "trainings", mininterval=2):
            name = identities[variant, collection]
            key = dict(zip(KEYS, (variant, collection, seed), strict=True))
            if table.filter(**key, identity=name).height:
                continue
            data = ablate.folder_of(base, collection, changes(variant))
            if not data.exists():
                in_child(ablate.make, base, collection, changes(variant))
            row = in_child(train, str(data), collection, variant, seed, str(solution_of(collection)))
            made = pl.DataFrame([key | row | {"identity": name}], schema=SCHEMA).with_columns(cs.float().round(5))
            table = pl.concat([table.join(made, on=KEYS, how="anti"), made]).sort(KEYS)
            content = io.BytesIO()
            table.write_csv(content)
            files.replace(path, content.getvalue())
    return table.filter(pl.col("collection").is_in(collections) & pl.col("variant").is_in(variants))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.segments", description=__doc__.splitlines()[0])
    parser.add_argument("--collections", nargs="+", choices=LAYOUTS, default=LAYOUTS, help="default: all of layouts")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="default: all")
    parser.add_argument("--seeds", type=int, default=3, help="default: %(default)s")
    options = parser.parse_args(arguments)

    def command() -> None:
        table = run(options.collections, options.variants, options.seeds)
        with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_hide_dataframe_shape=True, float_precision=3):
            print(f"on {measure.processor()}", summary(table), sep="\n")

    return failures.exit_status(command)


if __name__ == "__main__":
    sys.exit(main())
