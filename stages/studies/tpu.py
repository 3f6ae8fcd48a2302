"""Ranks the few real TPU measurements that we have: `python -m stages.tpu [FOLDER]`, $TPUGRAPHS_DIR by default.

First the pipeline's own models, as `make repro` left them: trained on simulated times, with no real run, they rank the
15 kernels of FOLDER/pb/op_tuning_data.pb and the two real layout programs. Then models that train on real runs: the
trees on the other kernels; all members on one program, train/unet3d of layout:xla:default, to rank the official 1000
configurations of another, valid/unet_3d.4x4.bf16. The settings are those of params.yaml; these measurements did not
choose them. notebooks/tpu.ipynb shows the same.
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
from stages.engine import checks, files, params
from stages.engine.errors import InputError
from stages.gbdt.ensemble import Ensemble, combined, fit
from stages.gbdt.feature_table import FeatureTable, feature_table
from stages.gbdt.settings import Settings
from stages.graphs import collection, dataset
from stages.hlo.__main__ import convert
from stages.prune import stage as prune
from stages.ranking import models, scoring
from stages.scoring import baselines, metrics, scores

TILE, LAYOUT = "tile:xla", "layout:xla:default"
TRAIN, VALID = "unet3d", "unet_3d.4x4.bf16"
TOPS = (1, 5)
#: the pipeline's folder, and the time model's estimates of the real runs
DATA, TIME_MODEL = Path("data"), Path("reports/time-model.csv")
REPORT = Path("reports/real-tpu.json")
#: columns of a table of kernels
SLOWDOWNS = ["kernel", "configurations", "member", *(f"top{top}" for top in TOPS)]
#: epochs of the network, each a step on the one program: about as many steps as the sample's programs give it
EPOCHS = 1000


def settings(name: str, path: str | Path = "params.yaml") -> Settings:
    """Settings of the gbdt stage for a collection."""
    return params.settings(Settings, "gbdt", name, {}, path)


@checks.entry("tpu")
def folder(folder: str | Path | None) -> Path:
    """The folder of real files: `folder`, or else TPUGRAPHS_DIR; InputError if it is not set or lacks a file."""
    root = folder or os.environ.get("TPUGRAPHS_DIR")
    if not root:
        raise InputError("TPUGRAPHS_DIR: is not set; name the folder of real TpuGraphs files")
    for needed in ("pb/op_tuning_data.pb", "eval_indices/xla_default.json"):
        if not Path(root, needed).is_file():
            raise InputError(f"{Path(root, needed)}: not there; name the folder of real TpuGraphs files")
    return Path(root)


def kernels(root: Path, knobs: Settings) -> pl.DataFrame:
    """Slowdowns of the tiles that members choose on each kernel after training on the other kernels.

    Args:
        root: the folder of real files.
        knobs: settings of the gbdt stage.

    Returns:
        Columns: kernel; configurations; member (gbdt, ridge, largest_tile, random); top1 and top5, the slowdown of the
        best of the first 1 and 5 tiles: its time divided by that of the fastest tile, less one. For `random` it is the
        expected slowdown of tiles drawn without replacement.
    """
    tables = _real_kernels(root, knobs)
    rows = []
    for held_out in tqdm(tables, "kernels", delay=5):
        rest = [other for other in tables if other is not held_out]
        members = _members(fit(rest, knobs), rest, held_out, baselines.TILE_COLUMNS)
        rows += _slowdowns(held_out, members)
    return pl.DataFrame(rows, schema=SLOWDOWNS, orient="row")


def carried_over(root: Path, data: str | Path = DATA, time_model: Path = TIME_MODEL) -> pl.DataFrame:
    """Slowdowns of the tiles that the pipeline's models choose on each real kernel.

    They were trained on the kernels of the data set in the pipeline's folder, whose times are simulated. The time
    model's few constants were fitted to the real kernels: as a member, `time_model` judges each kernel by constants
    fitted to the others. `estimate` ranks by the one statistic that adds up computing and copying, without training.

    Args:
        root: the folder of real files.
        data: the pipeline's data folder, after a run.
        time_model: what `stages.collect.tpu.real_runs --out` wrote; the member is left out where it is not there.

    Returns:
        As `kernels`, members blend, gnn, gbdt, ridge, baselines, time_model.

    Raises:
        InputError: the pipeline has not run, or the estimates are of other runs.
    """
    carried = _Carried(TILE, Path(data), baselines.TILE_COLUMNS)
    rows = []
    with tempfile.TemporaryDirectory() as work:
        files_of_kernels = convert(root / "pb" / "op_tuning_data.pb", Path(work, "npz"))
        estimates = _estimates(time_model)
        for number, file in enumerate(tqdm(files_of_kernels, "kernels", delay=5)):
            table, members = carried.ranked(file, Path(work, str(number)))
            if estimates is not None:
                if len(estimates[number]) != table.rows:
                    raise InputError(f"{time_model}: is of other runs; make it anew by stages.collect.tpu.real_runs")
                members["time_model"] = estimates[number]
            rows += _slowdowns(table, members)
    return pl.DataFrame(rows, schema=SLOWDOWNS, orient="row")


class _Carried:
    """The pipeline's trained models of a collection, which rank real files, beside the baselines."""

    def __init__(self, collection: str, data: Path, columns: Mapping[str, tuple[str, int]]) -> None:
        models.collections(data)  # says what to do where nothing was trained
        self._models, self._columns, self._knobs = models.read(data, collection), columns, settings(collection)
        train = dataset.graphs(data, collection, "train")
        tables = (feature_table(graph, self._knobs, self._knobs.configurations) for graph in train)
        self._ridge = baselines.ridge((table.names, table.values, table.target) for table in tables)

    def ranked(self, file: Path, work: Path) -> tuple[FeatureTable, dict[str, np.ndarray]]:
        """The statistics of an npz file's configurations, and member -> their scores (c,)."""
        ranking = scoring.rank(file, self._models, work)
        table = feature_table(ranking.graph, self._knobs)
        blended = ranking.table.sort("configuration")["score"].to_numpy()
        members = {"blend": blended, **ranking.members, "ridge": self._ridge.score(table.names, table.values)}
        return table, members | _by_columns(table, self._columns)


def _estimates(path: Path) -> list[np.ndarray] | None:
    """The time model's nanoseconds of each kernel's runs; None where the file is not there."""
    if not path.is_file():
        return None
    table = pl.read_csv(path)
    return [part["estimate_ns"].to_numpy() for part in table.partition_by("kernel", maintain_order=True)]


def _real_kernels(root: Path, knobs: Settings) -> list[FeatureTable]:
    with tempfile.TemporaryDirectory() as data:
        train = collection.folder(data, TILE, "train")
        converted = convert(root / "pb" / "op_tuning_data.pb", train)
        for split in ("valid", "test"):  # the stage needs a graph in every split; these are not used
            _link(converted[0], collection.folder(data, TILE, split))
        prune.run(collection=TILE, root=data, data=data)
        return [feature_table(graph, knobs) for graph in dataset.graphs(data, TILE, "train")]


def _slowdowns(judged: FeatureTable, members: Mapping[str, np.ndarray]) -> list[tuple]:
    """Rows of `SLOWDOWNS` of one kernel, that of `random` last."""
    rows = []
    for member, score in members.items():
        tops = [1 - metrics.slowdown_score(score, judged.target, top) for top in TOPS]
        rows.append((judged.id, judged.rows, member, *tops))
    chance = [metrics.random_best(judged.target, k) / judged.target.min() - 1 for k in TOPS]
    return [*rows, (judged.id, judged.rows, "random", *chance)]


def layouts(root: Path, knobs: Settings, network: Mapping[str, object]) -> pl.DataFrame:
    """Kendall tau-b of each member on the official configurations of the valid program.

    The valid program chooses nothing: the trees have no held-out program, the network takes the epoch that is best on
    its training program, and `blend` is the mean of both members' ranks.

    Args:
        root: the folder of real files.
        knobs: settings of the gbdt stage.
        network: knobs of the gnn stage.

    Returns:
        Columns: member, tau.
    """
    official = json.loads((root / "eval_indices" / "xla_default.json").read_text())[VALID]
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
    taus = [(member, metrics.kendall(score[official], judged.target[official])) for member, score in members.items()]
    return pl.DataFrame(taus, schema=["member", "tau"], orient="row")


def layouts_carried_over(root: Path, data: str | Path = DATA, trained: str = LAYOUT) -> pl.DataFrame:
    """Kendall tau-b of each member on all configurations of the two real programs, by the pipeline's models.

    Args:
        root: the folder of real files.
        data: the pipeline's data folder, after a run on simulated programs.
        trained: the collection whose models rank them.

    Returns:
        Columns: graph, member, tau.
    """
    carried = _Carried(trained, Path(data), baselines.LAYOUT_COLUMNS)
    rows = []
    for name, split in ((TRAIN, "train"), (VALID, "valid")):
        with tempfile.TemporaryDirectory() as work:
            file = collection.folder(root / "npz_all", LAYOUT, split) / f"{name}.npz"
            table, members = carried.ranked(file, Path(work))
            rows += [(name, member, metrics.kendall(score, table.target)) for member, score in members.items()]
    return pl.DataFrame(rows, schema=["graph", "member", "tau"], orient="row")


def network(path: str | Path = "params.yaml") -> dict:
    """Knobs of the gnn stage for layouts, with enough epochs for a single program."""
    return params.section(path, "gnn", LAYOUT) | {"epochs": EPOCHS, "patience": EPOCHS}


def report(kernels: pl.DataFrame, layouts: pl.DataFrame) -> dict:
    """What reports/real-tpu.json holds of models trained on simulated times alone.

    Args:
        kernels: of `carried_over`.
        layouts: of `layouts_carried_over`.

    Returns:
        Of kernels the slowdowns of the first choice and of the best of five, as fractions; of each program tau.
    """
    rows = means(kernels).iter_rows(named=True)
    taus: dict[str, dict[str, float]] = {}
    for graph, member, tau in layouts.iter_rows():
        taus.setdefault(graph, {})[member] = round(tau, 6)
    slowdowns = {row["member"]: {"first": round(row["top1"], 6), "five": round(row["top5"], 6)} for row in rows}
    return {"kernels": slowdowns} | taus


def means(table: pl.DataFrame) -> pl.DataFrame:
    """Mean slowdowns over the kernels, a row for each member."""
    return table.group_by("member", maintain_order=True).agg(pl.col(f"top{top}").mean() for top in TOPS)


def _members(
    ensemble: Ensemble, train: list[FeatureTable], held_out: FeatureTable, columns: Mapping[str, tuple[str, int]]
) -> dict[str, np.ndarray]:
    """Scores of the members on a held-out graph.

    Args:
        ensemble: the trained trees.
        train: the graphs that they were trained on, on which the ridge regression is fitted too.
        held_out: the graph that is scored.
        columns: name of a ranking by one column -> (name of the column, sign).

    Returns:
        Member -> scores (c,).
    """
    seeds = [combined(ensemble.scores(held_out, seed)) for seed in range(ensemble.settings.seeds)]
    model = baselines.ridge((other.names, other.values, other.target) for other in train)
    members = {"gbdt": _together(seeds), "ridge": model.score(held_out.names, held_out.values)}
    return members | _by_columns(held_out, columns)


def _by_columns(table: FeatureTable, columns: Mapping[str, tuple[str, int]]) -> dict[str, np.ndarray]:
    """Scores (c,) of the baselines that rank by one column."""
    return {member: sign * table.values[:, table.names.index(name)] for member, (name, sign) in columns.items()}


def _together(seeds: list[np.ndarray]) -> np.ndarray:
    """Mean rank over the seeds, as in `stages.scoring.scores.ranking`."""
    return np.mean([rankdata(score) for score in seeds], axis=0)


def _link(file: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file.name).symlink_to(file.resolve())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="holds pb/, npz_all/ and eval_indices/; TPUGRAPHS_DIR by default")
    root = folder(parser.parse_args(arguments).folder)
    simulated, programs = carried_over(root), layouts_carried_over(root)
    table = kernels(root, settings(TILE))
    with pl.Config(tbl_rows=-1, tbl_hide_dataframe_shape=True, float_precision=3, fmt_str_lengths=60):
        print(f"{table['kernel'].n_unique()} kernels by models that trained on simulated ones alone: mean slowdown")
        print(means(simulated))
        print(f"{LAYOUT}: trained on simulated programs alone, Kendall tau-b on all configurations of real ones")
        print(programs.pivot("graph", index="member", values="tau"))
        files.replace(REPORT, (json.dumps(report(simulated, programs), indent=1) + "\n").encode())
        print(f"{REPORT} has these; each kernel by models that trained on the other real ones:")
        print(means(table))
        print(f"{LAYOUT}: trained on {TRAIN}, Kendall tau-b on the official configurations of {VALID}")
        print(layouts(root, settings(LAYOUT), network()))
