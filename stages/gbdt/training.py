"""Trains the ensemble on a collection, scores its graphs and writes the outputs: all that decides a result.

A finished training is kept under the digest of this module and of all that it imports. So nothing that a page is made
of belongs here.
"""

from __future__ import annotations

import io
import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl
from tqdm import tqdm

from stages.engine import elapsed_times, engine, files
from stages.engine.errors import InputError
from stages.gbdt import model_files
from stages.gbdt.ensemble import Ensemble, combined, fit
from stages.gbdt.feature_table import FeatureTable, described, labelled, whole
from stages.gbdt.settings import Settings
from stages.graphs import dataset
from stages.graphs.collection import slug
from stages.scoring import metrics, scores

#: seconds without a word; longer training shows how far it is, on standard error
SILENCE = 5
#: name of all members together
MEMBER = "gbdt"
#: splits whose scores are written
SCORED = ("valid", "test")
IN_MEMORY = 4  # graphs with all of their configurations at a time, on one machine
MEMORY_KNOB = "gbdt.configurations"  # to lower where memory runs out
#: metric of each member and graph, out of fold; NaN where it is undefined
METRIC_SCHEMA = {"split": pl.String, "graph": pl.String, "seed": pl.Int64, "objective": pl.String, "score": pl.Float64}
METRICS = "metrics.parquet"


def train(collection: str, data: str | Path, settings: Settings) -> float:
    """Trains every member on the train and valid graphs of a collection and scores its valid and test graphs.

    Writes below DATA/gbdt/SLUG:
        models/, trees.json   see `model_files`.
        scores.parquet        of the configurations of valid and test graphs, see `stages.scoring.scores`.
        metrics.parquet       official metric of each member and of all, out of fold, on train and valid graphs.
        statistics.json       what each column of the models measures.

    The training's processor seconds lie in DATA/seconds, see `elapsed_times`.

    Args:
        collection: its name.
        data: the data folder.
        settings: the stage's.

    Returns:
        Seconds that the training took, by the clock.

    Raises:
        InputError: graphs have different columns.
    """
    folder = Path(data, "gbdt", slug(collection))
    tables = labelled(data, collection, settings)
    begin, begin_processor = time.perf_counter(), time.process_time()
    ensemble = fit(tables, settings, partial(tqdm, desc=f"gbdt {collection}", delay=SILENCE))
    seconds, processor = time.perf_counter() - begin, time.process_time() - begin_processor
    scored = _scored(ensemble, tables, collection, data)
    model_files.write(folder, ensemble)
    columns = {name: described(name) for name in (*tables[0].feature_names, *tables[0].pair_names)}
    files.replace(folder / "statistics.json", (json.dumps(columns, indent=1) + "\n").encode())
    _write_metrics([row for graph in scored for row in graph.metrics], folder / METRICS)
    frames = [frame for graph in scored for frame in graph.scores]
    scores.write(pl.concat(frames) if frames else pl.DataFrame(schema=scores.SCHEMA), folder / "scores.parquet")
    if engine.configured().kind == "local":  # else the work was done in other processes
        elapsed_times.write(data, "gbdt", collection, processor)
    return seconds


@dataclass(frozen=True, eq=False)
class _GraphScores:
    """What the members say of one graph.

    Attributes:
        scores: a frame for each seed, see `scores.frame`; none of a train graph.
        metrics: rows of METRIC_SCHEMA; none of a test graph.
    """

    scores: list[pl.DataFrame]
    metrics: list[tuple]


def _scored(ensemble: Ensemble, tables: list[FeatureTable], collection: str, data: str | Path) -> list[_GraphScores]:
    """Scores the train graphs, as they were trained on, and all configurations of the valid and test graphs."""
    train_tables = {(table.split, table.id): table for table in tables if table.split == "train"}
    others = [(split, id) for split in SCORED for id in dataset.graph_ids(data, collection, split)]
    score = partial(
        _score_graph,
        ensemble=ensemble,
        collection=collection,
        data=data,
        train_tables=train_tables,
        names=tables[0].names,
    )
    return list(
        engine.configured().ordered(
            score, [*train_tables, *others], memory_knob=MEMORY_KNOB, parallel=IN_MEMORY, threads=True
        )
    )


def _score_graph(
    task: tuple[str, str],
    *,
    ensemble: Ensemble,
    collection: str,
    data: str | Path,
    train_tables: dict[tuple[str, str], FeatureTable],
    names: list[str],
) -> _GraphScores:
    """Scores one graph, by split and id; `names` are those of the columns that were trained on."""
    split, id = task
    table = train_tables.get(task) or whole(data, collection, split, id, ensemble.settings)
    if table.names != names:
        raise InputError(f"{id}: has other statistics than the train graphs; run the prune stage again")
    frames, rows = [], []
    for seed in range(ensemble.settings.seeds):
        members = ensemble.scores(table, seed)
        members |= {MEMBER: combined(members)}
        if split != "test":
            rows += [
                (split, id, seed, name, metrics.graph_score(collection, score, table.target))
                for name, score in members.items()
            ]
        if split != "train":
            frames.append(scores.frame(split, id, table.config_index, MEMBER, seed, members[MEMBER]))
    return _GraphScores(frames, rows)


def _write_metrics(rows: list[tuple], path: Path) -> None:
    content = io.BytesIO()
    table = pl.DataFrame(rows, schema=METRIC_SCHEMA, orient="row")
    table.write_parquet(content, compression="zstd", statistics=False)
    files.replace(path, content.getvalue())
