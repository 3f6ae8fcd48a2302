"""The tables of the page, from the scores, the weights and the graphs. They are kept, see `stage.run`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from stages.gnn.attention import attention
from stages.gnn.memory import Caches
from stages.gnn.prepared_graph import PreparedGraph, partitioned, prepare
from stages.gnn.settings import Settings
from stages.graphs.collection import is_tile
from stages.graphs.dataset import ModelGraph, model_graphs
from stages.scoring import scores
from stages.scoring.metrics import graph_score


def tables(collection: str, settings: Settings, data: str | Path, outputs: Path) -> dict[str, pl.DataFrame]:
    """The tables that `Result` explains.

    Args:
        collection: official name.
        settings: of the networks.
        data: the folder of all data.
        outputs: the folder of the scores and the weights.

    Returns:
        Name -> table: valid, segments, sharing, attention.
    """
    view, caches = settings.view(collection), Caches()
    graphs = model_graphs(data, collection, "valid")
    valid = valid_table(scores.read(outputs / "scores.parquet"), graphs)
    prepared = [] if is_tile(collection) else [prepare(graph, view, data, caches) for graph in graphs]
    weights = (outputs / "weights-0.safetensors").read_bytes()
    return {
        "valid": valid,
        "segments": segment_table(model_graphs(data, collection, "train"), settings, collection),
        "sharing": sharing_table(prepared),
        "attention": attention(collection, settings, weights, _median(valid, prepared)),
    }


def _median(valid: pl.DataFrame, prepared: list[PreparedGraph]) -> PreparedGraph | None:
    """The graph of the median metric; None if no graph can be ranked."""
    ranked = valid.drop_nans("all")["graph"].to_list()
    by_id = {whole.graph.id: whole for whole in prepared}
    return by_id.get(ranked[len(ranked) // 2]) if ranked else None


def segment_table(train: list[ModelGraph], settings: Settings, collection: str) -> pl.DataFrame:
    """A row per train graph: graph, nodes, segments."""
    view = settings.view(collection)
    rows = [(graph.id, len(graph.x), len(partitioned(graph, view))) for graph in train]
    return pl.DataFrame(rows, schema=["graph", "nodes", "segments"], orient="row")


def sharing_table(prepared: list[PreparedGraph]) -> pl.DataFrame:
    """What shared states save, a row per layout graph whose states are found once.

    Returns:
        Columns: graph, nodes, configurations, segments; and for each level its distinct states as a share of nodes x
        configurations. No column without such a graph.
    """
    rows = []
    for whole in prepared:
        if not whole.keeps_states or whole.graph.config_nodes is None:
            continue
        numbers, configurations = range(len(whole.segments)), whole.graph.configurations
        states = np.sum([[level.size for level in whole.states(number).levels] for number in numbers], axis=0)
        cells = whole.nodes * configurations
        row = {"graph": whole.graph.id, "nodes": whole.nodes, "configurations": configurations}
        shares = {f"level {level}": count / cells for level, count in enumerate(states.tolist())}
        rows.append(row | {"segments": len(numbers)} | shares)
    return pl.DataFrame(rows)


def valid_table(table: pl.DataFrame, valid: list[ModelGraph]) -> pl.DataFrame:
    """The official metric of each valid graph.

    Args:
        table: scores of all seeds.
        valid: the graphs, with their run times.

    Returns:
        A row per graph, worst first: graph, nodes, configurations, mean and sd of the metric over the seeds, and `all`,
        the metric of the seeds' mean rank.
    """
    rows = []
    for graph in valid:
        own = table.filter(pl.col("split") == "valid", pl.col("graph") == graph.id)
        by_seed = [
            graph_score(graph.collection, part["score"].to_numpy(), graph.target)
            for part in own.partition_by("seed", maintain_order=True)
        ]
        together = scores.ranking(own).sort("configuration")["score"].to_numpy()
        rows.append(
            {
                "graph": graph.id,
                "nodes": len(graph.x),
                "configurations": graph.configurations,
                "mean": float(np.mean(by_seed)),
                "sd": float(np.std(by_seed)),
                "all": graph_score(graph.collection, together, graph.target),
            }
        )
    schema = {"graph": pl.String, "nodes": pl.Int64, "configurations": pl.Int64}
    schema |= dict.fromkeys(("mean", "sd", "all"), pl.Float64)
    return pl.DataFrame(rows, schema=schema).sort("all", "graph")
