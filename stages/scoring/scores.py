"""Scores of members: who predicts what for which configuration. SMALLER IS FASTER.

One row per configuration: split, graph, configuration (index in the original file), member, seed, score; in a file that
holds several collections also collection. Stored as Parquet.
"""

import io
from pathlib import Path

import numpy as np
import polars as pl

from stages.engine import files
from stages.engine.errors import InputError

SCHEMA = {
    "split": pl.String,
    "graph": pl.String,
    "configuration": pl.Int32,
    "member": pl.String,
    "seed": pl.Int32,
    "score": pl.Float64,
}
KEY = ["split", "graph", "member", "seed"]


def frame(split: str, graph: str, configuration, member: str, seed: int, score) -> pl.DataFrame:
    """The scores that one seed of one member gives to the configurations of one graph.

    Args:
        split, graph, member, seed: constants of all rows.
        configuration: indices (c,) in the original file.
        score: scores (c,), smaller is faster.

    Returns:
        A frame with the columns of `SCHEMA`, a row for each configuration.
    """
    configuration = np.asarray(configuration, dtype=np.int32)
    score = np.asarray(score, dtype=np.float64)
    if configuration.shape != score.shape or score.ndim != 1:
        raise ValueError(f"{graph}: {score.shape} scores for {configuration.shape} configurations")
    constants = {"split": split, "graph": graph, "member": member, "seed": seed}
    columns = {"configuration": configuration, "score": score}
    return pl.DataFrame(columns).select(
        (pl.col(name) if name in columns else pl.lit(constants[name])).cast(dtype).alias(name)
        for name, dtype in SCHEMA.items()
    )


def write(table: pl.DataFrame, path: str | Path) -> None:
    """Writes scores as Parquet, whole or not at all.

    Raises:
        InputError: the scores are unsound, as in `read`.
    """
    path = Path(path)
    _check(table, path)
    content = io.BytesIO()
    table.write_parquet(content, compression="zstd", statistics=False)
    files.replace(path, content.getvalue())


def read(path: str | Path) -> pl.DataFrame:
    """Reads scores.

    Raises:
        InputError: there is no file, it is no Parquet, or the scores are unsound. Unsound are other columns, an empty
            value, a score that is not finite or given twice, and a seed without a score for every configuration that
            another seed of the member scores in the graph.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: not there; run the stage that writes it")
    try:
        table = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as fault:
        raise InputError(f"{path}: not readable as Parquet; run the stage that writes it again") from fault
    _check(table, path)
    return table


def ranks(table: pl.DataFrame) -> pl.DataFrame:
    """The scores with a column `rank`: the average rank within one seed's scores of a graph, divided by their number.

    A rank is in (0, 1]; equal scores have equal ranks.
    """
    group = [name for name in ("collection", *KEY) if name in table.columns]
    return table.with_columns((pl.col("score").rank("average") / pl.len()).over(group).alias("rank"))


def ranking(table: pl.DataFrame) -> pl.DataFrame:
    """Each member's ranking: the mean over its seeds of within-graph ranks, as scores with seed -1."""
    return together(table, "rank")


def together(table: pl.DataFrame, scale: str) -> pl.DataFrame:
    """Each member's seeds as one: the mean over them of the scores, brought to one scale within a graph.

    Args:
        table: scores.
        scale: "rank", as in `ranks`; "minmax", (score - smallest) / (largest - smallest), which is in [0, 1]; or
            "zscore", (score - mean) / standard deviation, whose mean is 0. Where a seed gives all configurations of a
            graph one score, that becomes 0 by the last two.

    Returns:
        Scores with seed -1.
    """
    group = [name for name in ("collection", "split", "graph", "configuration", "member") if name in table.columns]
    # Sorted before the mean: a mean of floats depends on its order in the last bit, and bits must repeat.
    mean = (
        _scaled(table, scale).sort([*group, "seed"]).group_by(group, maintain_order=True).agg(pl.col("scaled").mean())
    )
    mean = mean.with_columns(pl.lit(-1, dtype=pl.Int32).alias("seed")).rename({"scaled": "score"})
    return mean.select(name for name in ("collection", *SCHEMA) if name in mean.columns)


def _scaled(table: pl.DataFrame, scale: str) -> pl.DataFrame:
    """The scores with a column `scaled`: the score on a scale of `together`, within one seed's scores of a graph."""
    if scale == "rank":
        return ranks(table).rename({"rank": "scaled"})
    group = [name for name in ("collection", *KEY) if name in table.columns]
    score, value = pl.col("score"), pl.col("scaled")
    spread = (score.max() - score.min()).over(group)
    table = table.with_columns(
        pl.when(spread > 0).then((score - score.min().over(group)) / spread).otherwise(0.0).alias("scaled")
    )
    if scale == "minmax":
        return table
    # Of the values in [0, 1], whose deviation cannot be lost to rounding: a linear map leaves the z-scores as they are.
    deviation = value.std(ddof=0).over(group)
    return table.with_columns(
        pl.when(deviation > 0).then((value - value.mean().over(group)) / deviation).otherwise(0.0).alias("scaled")
    )


def by_graph(table: pl.DataFrame, source: str = "scores") -> dict[str, np.ndarray]:
    """The scores of each graph.

    Args:
        table: scores of ONE split, member and seed.
        source: where they are from, for the message.

    Returns:
        graph -> scores (c,) in the order of the configurations; the graphs are sorted.

    Raises:
        InputError: the configurations of a graph are not 0 to c-1.
    """
    result = {}
    for (graph,), part in table.sort("graph", "configuration").group_by(["graph"], maintain_order=True):
        if not np.array_equal(part["configuration"].to_numpy(), np.arange(part.height)):
            raise InputError(f"{source}: configurations of {graph} are not 0..{part.height - 1}; run the stage again")
        result[graph] = part["score"].to_numpy()
    return result


def _check(table: pl.DataFrame, path: Path) -> None:
    columns = {name: dtype for name, dtype in table.schema.items() if name != "collection"}
    if columns != SCHEMA or table.schema.get("collection", pl.String) != pl.String:
        wanted = ", ".join(f"{name} {dtype}" for name, dtype in SCHEMA.items())
        raise InputError(f"{path}: columns are not those of scores ({wanted}); run the stage that writes it again")
    if empty := [name for name in table.columns if table[name].null_count()]:
        raise InputError(f"{path}: column {empty[0]} has an empty value; run the stage that writes it again")
    unsound = table.filter(~pl.col("score").is_finite())
    if unsound.height:
        row = unsound.row(0, named=True)
        raise InputError(
            f"{path}: score of {row['member']} for {row['graph']}, configuration {row['configuration']}, "
            "is not a finite number; train it again with a smaller learning rate"
        )
    twice = table.filter(table.select(pl.exclude("score")).is_duplicated())
    if twice.height:
        row = twice.row(0, named=True)
        raise InputError(
            f"{path}: two scores of {row['member']} for {row['graph']}, configuration {row['configuration']}; "
            "run the stage that writes it again"
        )
    # Without this the mean over seeds would take what the seeds have of a configuration, and rank it by other ones.
    group = [name for name in ("collection", "split", "graph", "member") if name in table.columns]
    seeds, configurations = pl.col("seed").n_unique(), pl.col("configuration").n_unique()
    uneven = table.group_by(group, maintain_order=True).agg((pl.len() != seeds * configurations).alias("uneven"))
    uneven = uneven.filter("uneven")
    if uneven.height:
        row = uneven.row(0, named=True)
        raise InputError(
            f"{path}: the seeds of {row['member']} score different configurations of {row['graph']}; "
            "run the stage that writes it again"
        )
