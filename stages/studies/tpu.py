"""The members on real TPU measurements, few as there are: `python -m stages.tpu [FOLDER]`, $TPUGRAPHS_DIR by default.

Kernels: the trees on each kernel of FOLDER/pb/op_tuning_data.pb, trained on the others. Layouts: trained on one
program, train/unet3d of layout:xla:default, judged on valid/unet_3d.4x4.bf16 at the official 1000 configurations.
Settings are those of params.yaml; nothing here chose them. notebooks/tpu.ipynb shows the same.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import rankdata
from tqdm import tqdm

from stages import gnn, pad
from stages.engine import checks, params
from stages.engine.errors import InputError
from stages.gbdt.ensemble import Ensemble, combined, fit
from stages.gbdt.feature_table import FeatureTable, feature_table
from stages.gbdt.settings import Settings
from stages.graphs import collection, dataset
from stages.hlo.__main__ import convert
from stages.prune import stage as prune
from stages.scoring import baselines, metrics, scores

TILE, LAYOUT = "tile:xla", "layout:xla:default"
TRAIN, VALID = "unet3d", "unet_3d.4x4.bf16"
TOPS = (1, 5)
#: of the network, each a step on the one program: about as many steps as the sample's programs give it
EPOCHS = 1000


def settings(name: str, path: str | Path = "params.yaml") -> Settings:
    """Settings of the gbdt stage for a collection."""
    return params.settings(Settings, "gbdt", name, {}, path)


@checks.entry("tpu")
def folder(folder: str | Path | None) -> Path:
    """The folder of real files: `folder`, else TPUGRAPHS_DIR. InputError where there is none."""
    root = folder or os.environ.get("TPUGRAPHS_DIR")
    if not root:
        raise InputError("TPUGRAPHS_DIR: is not set; name the folder of real TpuGraphs files")
    for needed in ("pb/op_tuning_data.pb", "eval_indices/xla_default.json"):
        if not Path(root, needed).is_file():
            raise InputError(f"{Path(root, needed)}: not there; name the folder of real TpuGraphs files")
    return Path(root)


def kernels(root: Path, knobs: Settings) -> pl.DataFrame:
    """Slowdown of the best of the first 1 and 5 tiles of each kernel, by members that trained on the others.

    Columns: kernel, configurations, member (gbdt, ridge, largest_tile, random), top1, top5: time over that of the
    fastest tile, less one. random is the expectation over all drawings without replacement.
    """
    with tempfile.TemporaryDirectory() as data:
        train = collection.folder(data, TILE, "train")
        files = convert(root / "pb" / "op_tuning_data.pb", train)
        for split in ("valid", "test"):  # the stage wants every split filled; these are not looked at
            _link(files[0], collection.folder(data, TILE, split))
        prune.run(collection=TILE, root=data, data=data)
        found = [feature_table(graph, knobs) for graph in dataset.graphs(data, TILE, "train")]
    rows = []
    for held_out in tqdm(found, "kernels", delay=5):
        rest = [other for other in found if other is not held_out]
        members = _members(fit(rest, knobs), rest, held_out, baselines.TILE_COLUMNS)
        for member, score in members.items():
            tops = [1 - metrics.slowdown_score(score, held_out.target, top) for top in TOPS]
            rows.append((held_out.id, held_out.rows, member, *tops))
        best = held_out.target.min()
        rows.append(
            (held_out.id, held_out.rows, "random", *(metrics.random_best(held_out.target, k) / best - 1 for k in TOPS))
        )
    schema = ["kernel", "configurations", "member", *(f"top{top}" for top in TOPS)]
    return pl.DataFrame(rows, schema=schema, orient="row")


def layouts(root: Path, knobs: Settings, network: Mapping[str, object]) -> pl.DataFrame:
    """Kendall tau-b of each member on the official configurations of the valid program. Columns: member, tau.

    network: knobs of the gnn stage. The program that judges chooses nothing: the trees have no held-out program, the
    network's epoch is the one best on the program it trains on, and `blend` is the mean of the two members' ranks.
    """
    listed = json.loads((root / "eval_indices" / "xla_default.json").read_text())[VALID]
    with tempfile.TemporaryDirectory() as data:
        for split, source, name in (("train", "train", TRAIN), ("valid", "train", TRAIN), ("test", "valid", VALID)):
            file = collection.folder(root / "npz_all", LAYOUT, source) / f"{name}.npz"
            _link(file, collection.folder(data, LAYOUT, split))
        prune.run(collection=LAYOUT, root=data, data=data)
        pad.run(collection=LAYOUT, data=data)
        (train,), (judged,) = (
            [feature_table(graph, knobs, limit) for graph in dataset.graphs(data, LAYOUT, split)]
            for split, limit in (("train", knobs.configurations), ("test", None))
        )
        gnn.run(collection=LAYOUT, knobs=network, data=data)
        table = scores.read(Path(data, "gnn", collection.slug(LAYOUT), "scores.parquet")).filter(split="test")
        ranks = scores.by_graph(scores.ranking(table), "gnn")[VALID]
    ensemble = fit([train], knobs)
    trees = _members(ensemble, [train], judged, baselines.LAYOUT_COLUMNS)
    members = {"blend": rankdata(ranks) + rankdata(trees["gbdt"]), "gnn": ranks} | trees
    for objective in knobs.objectives:
        members[f"gbdt, {objective} alone"] = _together(
            [ensemble.scores(judged, seed)[objective] for seed in range(knobs.seeds)]
        )
    taus = [(member, metrics.kendall(score[listed], judged.target[listed])) for member, score in members.items()]
    return pl.DataFrame(taus, schema=["member", "tau"], orient="row")


def network(path: str | Path = "params.yaml") -> dict:
    """Knobs of the gnn stage for layouts, with epochs enough for a single program."""
    return params.section(path, "gnn", LAYOUT) | {"epochs": EPOCHS, "patience": EPOCHS}


def means(table: pl.DataFrame) -> pl.DataFrame:
    """Mean slowdowns over the kernels, a row for each member."""
    return table.group_by("member", maintain_order=True).agg(pl.col(f"top{top}").mean() for top in TOPS)


def _members(
    ensemble: Ensemble, train: list[FeatureTable], held_out: FeatureTable, columns: Mapping[str, tuple[str, int]]
) -> dict[str, np.ndarray]:
    """member -> scores (c,): gbdt, the baselines' ridge on the same train graphs, rankings by one column."""
    seeds = [combined(ensemble.scores(held_out, seed)) for seed in range(ensemble.settings.seeds)]
    model = baselines.ridge((other.names, other.values, other.target) for other in train)
    members = {"gbdt": _together(seeds), "ridge": model.score(held_out.names, held_out.values)}
    for member, (name, sign) in columns.items():
        members[member] = sign * held_out.values[:, held_out.names.index(name)]
    return members


def _together(seeds: list[np.ndarray]) -> np.ndarray:
    """Mean over the seeds of within-graph ranks, as `stages.scoring.scores.ranking` has it."""
    return np.mean([rankdata(score) for score in seeds], axis=0)


def _link(file: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file.name).symlink_to(file.resolve())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="holds pb/, npz_all/ and eval_indices/; TPUGRAPHS_DIR by default")
    root = folder(parser.parse_args(arguments).folder)
    table = kernels(root, settings(TILE))
    with pl.Config(tbl_rows=-1, tbl_hide_dataframe_shape=True, float_precision=3, fmt_str_lengths=60):
        print(f"{table['kernel'].n_unique()} kernels, each by models that trained on the others: mean slowdown")
        print(means(table))
        print(f"{LAYOUT}: trained on {TRAIN}, Kendall tau-b on the official configurations of {VALID}")
        print(layouts(root, settings(LAYOUT), network()))
