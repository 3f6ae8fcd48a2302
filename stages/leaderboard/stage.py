"""The official metrics of every member beside the baselines and the ceiling, the submission, and what the report shows.

Members: `blend`; what it blends (`gnn` and `gbdt`), each the mean of its seeds' ranks; the baselines of
stages/scoring/baselines.py; `ceiling`, what one timing pass scores as a prediction of the other. It is a mark to read
scores by and no upper bound: both passes are noisy, while run times are the smaller of the two, so perfect knowledge
could score somewhat more.

Valid and test never mix. The valid scores of `blend` flatter it, for its weights were chosen there, as the epochs of
the network were. Other rules of blending (stages/blend/stage.py) are scored beside it, never chosen by test.

The mean of the collections needs a score in each. A layout baseline that has none on tile (`copy_count`, `row_major`)
takes the one of `largest_tile` there, so that the blend meets a whole baseline in the mean; `largest_tile` by itself
has none on layout, and so no mean.
"""

import json
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import rankdata

from stages import checks, files, score
from stages.errors import InputError
from stages.graphs import dataset
from stages.graphs.collection import COLLECTIONS, is_tile, slug
from stages.scoring import baselines, eval_indices, scores, submission
from stages.scoring.metrics import closeness, collection_score, disagreement, graph_scores, random_closeness

TILE_STAND_IN = "largest_tile"
LABEL = "measured on XLA:CPU, not TPU"
RESAMPLES = 2000
BUDGETS = 30  # numbers of configurations timed, from one to all, for "what the ranking buys"
SHOWN_GRAPHS = 18  # of a collection, in the pictures of places
SHOWN_PLACES = 400  # of a graph in them
ENTRIES = ("nodes", "configurable", "configurations")  # of prune's manifest
PROGRAM_COLUMNS = {
    "collection": pl.String,
    "split": pl.String,
    "id": pl.String,
    "family": pl.String,
    "kin": pl.String,
    "nodes": pl.Int64,
    "configurable": pl.Int64,
    "configurations": pl.Int64,
    "slowest_over_fastest": pl.Float64,
    "repeatability": pl.Float64,
    "ceiling": pl.Float64,
}


@dataclass
class Board:
    """What is known of the graphs: key of `targets`: (split, collection); of `members`: (split, collection, member).

    targets: graph -> (c,) run times, for splits whose run times are known; members: graph -> (c,) scores; values:
    graph -> official metric; seeds: seed -> collection score. trained: the members that are blended. judged:
    collection -> graph -> (k,) configurations that the valid metrics are of, where the blend stage was given the
    official ones; targets and members hold those alone.
    """

    collections: list[str]
    trained: list[str] = field(default_factory=list)
    targets: dict[tuple, dict[str, np.ndarray]] = field(default_factory=dict)
    members: dict[tuple, dict[str, np.ndarray]] = field(default_factory=dict)
    values: dict[tuple, dict[str, float]] = field(default_factory=dict)
    seeds: dict[tuple, dict[int, float]] = field(default_factory=dict)
    judged: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    @property
    def splits(self) -> list[str]:
        return [split for split in ("valid", "test") if any(key[0] == split for key in self.targets)]

    def names(self) -> list[str]:
        """Members in the order of the report: blend, what it blends, baselines by name, ceiling."""
        found = {member for _, _, member in self.values}
        first = [name for name in ("blend", *self.trained) if name in found]
        return first + sorted(found - {*first, "ceiling"}) + (["ceiling"] if "ceiling" in found else [])

    def only(self, split: str, collection: str, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """graph -> values (c,), of valid graphs at the `judged` configurations."""
        return eval_indices.only(values, self.judged.get(collection, {})) if split == "valid" else values

    def source(self, split: str, collection: str, member: str) -> str | None:
        """The member whose score stands for `member` in the mean of the collections; None where there is none."""
        if (split, collection, member) in self.values:
            return member
        stands_in = is_tile(collection) and member not in ("blend", *self.trained, "ceiling")
        return TILE_STAND_IN if stands_in and (split, collection, TILE_STAND_IN) in self.values else None


@checks.entry("leaderboard", writes=True)
def run(
    *,
    collections: list[str],
    solution: str | Path | None,
    programs: str | Path | None,
    sample_submission: str | Path | None = None,
    data: str | Path = "data",
    reports: str | Path = "reports",
) -> dict:
    """Writes data/leaderboard/submission.csv, REPORTS/metrics.json and REPORTS/leaderboard.csv (one row per graph).

    Beside the submission rules.csv: what other ways of blending score, and the blend's lead over each.

    solution: CSV of test run times; programs: CSV that describes each graph, its kin and its ceiling. Either may be
    None, absent, or of other graphs (the competition's data): then test metrics, or kin and ceiling, are absent and
    `notes` says so. Test run times are used for nothing but the metrics. sample_submission: the competition's own
    sample_submission.csv, whose IDs of these collections the submission must have, all and no others. Where
    `collections` are not all five, `notes` and a line on standard error name those that the submission lacks.

    Returns, for the notebook: frames `scores`, `versus`, `rules`, `kin`, `buys`, `places`, `examples`, `odd`,
    `disagreement`, `graphs`, the mapping `counts`, the lists `notes`, `collections` and `trained` (the blended
    members), `rule` (that blends them), `label` (what the figures were measured on, or ""), `splits` with known run
    times, and `path`, `others` and `reports`, where the outputs lie.
    Raises InputError for a missing member's file, naming the stage to run, or for files that do not fit each other.
    """
    collections = submission.ordered(collections)
    record = _record(data, collections)
    board = Board(collections, trained=list(record["weights"]), judged=_judged(data))
    notes = []
    if board.judged:
        notes.append("Valid metrics of layouts are of the configurations that the official protocol lists.")
    if lacking := [name for name in COLLECTIONS if name not in collections]:
        notes.append(f"The submission lacks {', '.join(lacking)}; the competition's has all five collections.")
        print(notes[-1], file=sys.stderr, flush=True)
    expected = submission.expected(data, board.collections)
    if sample_submission is not None:
        submission.same_ids(expected, sample_submission, lacking)
    truth = _solution(solution, expected, notes)
    described = _programs(programs, expected, notes)
    for collection in board.collections:
        _targets(board, data, collection, truth)
        _members(board, data, collection)
    _evaluate(board, described)
    path = Path(data) / "leaderboard" / "submission.csv"
    rows = [
        submission.row(collection, graph, ranking)
        for collection in board.collections
        for graph, ranking in board.members["test", collection, "blend"].items()
    ]
    submission.write(rows, expected, path)
    resampled = _resamples(board)
    table = _scores(board, resampled)
    graphs = _graphs(board, described)
    rules = _rules(board, data)
    Path(reports).mkdir(parents=True, exist_ok=True)
    # allow_nan: NaN and Infinity are no JSON, and no member's score.
    text = json.dumps(metrics(table), indent=2, sort_keys=True, allow_nan=False) + "\n"
    files.replace(Path(reports) / "metrics.json", text.encode())
    files.replace(Path(reports) / "leaderboard.csv", graphs.write_csv(float_precision=6).encode())
    files.replace(path.with_name("rules.csv"), rules.write_csv(float_precision=6).encode())
    return {
        "scores": table,
        "versus": _versus(board, resampled),
        "rules": rules,
        "kin": _kin(graphs, board.names()),
        "buys": _buys(board),
        "places": _places(board),
        "examples": _examples(board),
        "odd": _odd(board, data, graphs),
        "disagreement": _disagreement(board),
        "graphs": graphs,
        "counts": _counts(expected),
        "collections": board.collections,
        "trained": board.trained,
        "rule": record["rule"],
        "splits": board.splits,
        "notes": notes,
        "label": LABEL if described is not None else "",
        "path": str(path),
        "others": str(path.with_name("rules.csv")),
        "reports": str(reports),
    }


def metrics(table: pl.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """{split: {collection or "mean": {member: score}}}, six decimals, from the `scores` frame."""
    result: dict = {}
    for split, collection, member, value in table.select("split", "collection", "member", "score").iter_rows():
        result.setdefault(split, {}).setdefault(collection, {})[member] = round(value, 6)
    return result


def _record(data: str, collections: list[str]) -> dict:
    """What the blend stage wrote of one of the collections: which members it blended, by which rule."""
    path = Path(data) / "blend" / "weights.json"
    try:
        record = json.loads(path.read_text())
        missing = [collection for collection in collections if collection not in record]
    except (OSError, ValueError) as fault:
        raise InputError(f"{path}: not there or damaged; run the blend stage for {collections[0]}") from fault
    if missing:
        raise InputError(f"{path}: holds no {missing[0]}; run the blend stage with it")
    return record[collections[0]]


def _judged(data: str) -> dict[str, dict[str, np.ndarray]]:
    """collection -> graph -> configurations that its valid metric is of, as the blend stage wrote them."""
    path = Path(data) / "blend" / "judged.json"
    try:
        listed = json.loads(path.read_text())
    except (OSError, ValueError) as fault:
        raise InputError(f"{path}: not there or damaged; run the blend stage again") from fault
    return {name: {graph: np.array(places) for graph, places in part.items()} for name, part in listed.items()}


def _solution(path: str | None, expected: dict[str, int], notes: list[str]) -> dict[str, np.ndarray]:
    """Run times of the expected test graphs; empty, with a note, where the file is not there or of other graphs."""
    if path is None or not Path(path).exists():
        notes.append(f"No run times of the test graphs ({path or 'solution: null'}): there are no test scores.")
        return {}
    found = score.read_solution(path)
    wanted = {identifier: found[identifier] for identifier in expected if identifier in found}
    if not wanted:
        notes.append(f"{path} holds the run times of other graphs: there are no test scores.")
        return {}
    for identifier, configurations in expected.items():
        if len(wanted.get(identifier, ())) != configurations:
            raise InputError(
                f"{path}: {len(wanted.get(identifier, ()))} run times of {identifier}, which has {configurations} "
                "configurations; give the solution of these graphs, or solution: null"
            )
    return wanted


def _programs(path: str | None, expected: dict[str, int], notes: list[str]) -> pl.DataFrame | None:
    """programs.csv, checked; None, with a note, where the file is not there or of other graphs."""
    if path is None or not Path(path).exists():
        notes.append(f"No description of the graphs ({path or 'programs: null'}): no ceiling, no kin.")
        return None
    try:
        table = pl.read_csv(path, schema_overrides=PROGRAM_COLUMNS, null_values=["", "nan", "NaN"])
        table = table.select(pl.col(name).cast(dtype) for name, dtype in PROGRAM_COLUMNS.items())
    except (pl.exceptions.PolarsError, OSError) as fault:
        raise InputError(f"{path}: not a CSV with the columns {','.join(PROGRAM_COLUMNS)}") from fault
    test = table.filter(pl.col("split") == "test")
    if not expected.keys() & {f"{row['collection']}:{row['id']}" for row in test.iter_rows(named=True)}:
        notes.append(f"{path} describes other graphs: no ceiling, no kin.")
        return None
    return table


def _targets(board: Board, data: str, collection: str, truth: dict[str, np.ndarray]) -> None:
    valid = dataset.graphs(data, collection, "valid")
    targets = {graph.id: np.asarray(graph.target) for graph in valid}
    board.targets["valid", collection] = board.only("valid", collection, targets)
    if truth:
        test = dataset.graphs(data, collection, "test")
        board.targets["test", collection] = {graph.id: truth[f"{collection}:{graph.id}"] for graph in test}


def _members(board: Board, data: str, collection: str) -> None:
    """Reads or computes every member's scores of one collection into the board, and those of single seeds."""
    folder = Path(data)
    tables = [
        _read(folder / member / slug(collection) / "scores.parquet", member, collection) for member in board.trained
    ]
    seeds = [*tables, _blended(data, "seeds", collection)]
    tables += [_blended(data, "scores", collection), baselines.table(data, collection)]
    for table in tables:
        for (split, member), part in table.group_by(["split", "member"], maintain_order=True):
            found = scores.by_graph(scores.ranking(part), f"{collection}: {member}")
            board.members[split, collection, member] = board.only(split, collection, found)
    for table in seeds:
        for (split, member, seed), single in table.group_by(["split", "member", "seed"], maintain_order=True):
            targets = board.targets.get((split, collection))
            if targets is not None:
                found = board.only(split, collection, scores.by_graph(single, f"{collection}: {member}"))
                values = graph_scores(collection, found, targets)
                board.seeds.setdefault((split, collection, member), {})[seed] = collection_score(values)
    for split in ("valid", "test"):
        if (split, collection, "blend") not in board.members:
            path = folder / "blend" / "scores.parquet"
            raise InputError(f"{path}: no {split} scores of {collection}; run the blend stage with {collection}")


def _blended(data: str, name: str, collection: str) -> pl.DataFrame:
    """What a file of the blend stage holds of one collection."""
    path = Path(data) / "blend" / f"{name}.parquet"
    table = _read(path, "blend", collection)
    if "collection" not in table.columns:
        raise InputError(f"{path}: no column collection; run the blend stage again")
    return table.filter(pl.col("collection") == collection).drop("collection")


def _read(path: Path, stage: str, collection: str) -> pl.DataFrame:
    if not path.is_file():
        raise InputError(f"{path}: not there; run the {stage} stage for {collection}")
    return scores.read(path)


def _evaluate(board: Board, described: pl.DataFrame | None) -> None:
    for (split, collection, member), found in board.members.items():
        if (split, collection) in board.targets:
            values = graph_scores(collection, found, board.targets[split, collection])
            if not np.isnan(collection_score(values)):
                board.values[split, collection, member] = values
    if described is None:
        return
    for (split, collection), targets in board.targets.items():
        rows = described.filter((pl.col("split") == split) & (pl.col("collection") == collection))
        known = dict(rows.select("id", "ceiling").iter_rows())
        ceilings = {graph: known.get(graph) for graph in targets}
        if any(value is not None for value in ceilings.values()):
            board.values[split, collection, "ceiling"] = {
                graph: np.nan if value is None else value for graph, value in ceilings.items()
            }


def _resamples(board: Board) -> dict[tuple, np.ndarray]:
    """(split, collection, member) -> (2000,) collection scores of programs drawn with replacement.

    All members see the same draws, so that differences between them are paired. So do the collections of one source:
    layout:xla:random and layout:xla:default hold the same programs, and drawn apart they would feign twice as many. A
    drawn program that one of them lacks is absent there. Seeded by the names: the same on every machine.
    """
    programs: dict[tuple, set[str]] = {}
    for (split, collection), targets in board.targets.items():
        programs.setdefault((split, _source(collection)), set()).update(targets)
    result = {}
    for (split, collection, member), values in board.values.items():
        source = _source(collection)
        array = np.array([values.get(program, np.nan) for program in sorted(programs[split, source])])
        seed = zlib.crc32(f"{split}:{source}".encode())
        drawn = array[np.random.default_rng(seed).integers(0, len(array), (RESAMPLES, len(array)))]
        known = ~np.isnan(drawn)
        counts = known.sum(axis=1)
        sums = np.where(known, drawn, 0.0).sum(axis=1)
        # A draw of nothing but undefined or absent graphs says nothing: the mean stands for it.
        result[split, collection, member] = np.where(counts > 0, sums / np.maximum(counts, 1), np.nanmean(array))
    for split in board.splits:
        for member in board.names():
            parts = [board.source(split, collection, member) for collection in board.collections]
            if None not in parts:
                pairs = zip(board.collections, parts, strict=True)
                result[split, "mean", member] = np.mean([result[split, name, part] for name, part in pairs], axis=0)
    return result


def _source(collection: str) -> str:
    """Where a collection's programs come from: layout:xla of layout:xla:random. Tiles are kernels of their own."""
    return ":".join(collection.split(":")[:2])


def _scores(board: Board, resampled: dict[tuple, np.ndarray]) -> pl.DataFrame:
    """One row per split, collection (and "mean") and member: score, 90% interval, number of graphs, seeds' mean, sd."""
    rows = []
    for split in board.splits:
        for collection in [*board.collections, "mean"]:
            for member in board.names():
                if (split, collection, member) not in resampled:
                    continue
                key = (split, collection, member)
                interval = _interval(board, *key, resampled[key])
                seeds = _seeds(board, *key)
                mean = float(np.mean(seeds)) if seeds else None
                deviation = float(np.std(seeds, ddof=1)) if len(seeds) > 1 else None
                graphs = _defined(board, *key)
                rows.append((*key, _score(board, *key), *interval, graphs, len(seeds) or None, mean, deviation))
    schema = {"split": pl.String, "collection": pl.String, "member": pl.String}
    schema |= dict.fromkeys(("score", "low", "high"), pl.Float64) | dict.fromkeys(("graphs", "seeds"), pl.Int64)
    schema |= dict.fromkeys(("seed_mean", "seed_sd"), pl.Float64)
    return pl.DataFrame(rows, schema=schema, orient="row")


def _interval(board: Board, split: str, collection: str, member: str, drawn: np.ndarray) -> tuple:
    """5th and 95th percentile of the draws; (None, None) where a collection has one graph: its draws are all alike."""
    names = board.collections if collection == "mean" else [collection]
    if min(_defined(board, split, name, member) for name in names) < 2:
        return None, None
    low, high = np.percentile(drawn, [5, 95])
    return float(low), float(high)


def _score(board: Board, split: str, collection: str, member: str) -> float:
    if collection != "mean":
        return collection_score(board.values[split, collection, member])
    parts = ((name, board.source(split, name, member)) for name in board.collections)
    return float(np.mean([collection_score(board.values[split, name, part]) for name, part in parts]))


def _seeds(board: Board, split: str, collection: str, member: str) -> list[float]:
    """The score of each single seed; for the mean, of those seeds that every collection was trained with."""
    if collection != "mean":
        return list(board.seeds.get((split, collection, member), {}).values())
    each = [board.seeds.get((split, name, member), {}) for name in board.collections]
    common = set.intersection(*(set(seeds) for seeds in each))
    return [float(np.mean([seeds[seed] for seeds in each])) for seed in sorted(common)]


def _defined(board: Board, split: str, collection: str, member: str) -> int:
    names = board.collections if collection == "mean" else [collection]
    parts = [board.values[split, name, board.source(split, name, member)] for name in names]
    return sum(int(np.sum(~np.isnan(list(values.values())))) for values in parts)


def _versus(board: Board, resampled: dict[tuple, np.ndarray]) -> pl.DataFrame:
    """The blend's lead over each other member, paired over the same resampled programs: lead, 90% interval."""
    rows = []
    for (split, collection, member), drawn in resampled.items():
        if member not in ("blend", "ceiling") and (split, collection, "blend") in resampled:
            low, high = _interval(board, split, collection, member, resampled[split, collection, "blend"] - drawn)
            lead = _score(board, split, collection, "blend") - _score(board, split, collection, member)
            rows.append((split, collection, member, lead, low, high))
    schema = {"split": pl.String, "collection": pl.String, "member": pl.String}
    return pl.DataFrame(rows, schema=schema | dict.fromkeys(("lead", "low", "high"), pl.Float64), orient="row")


def _rules(board: Board, data: str) -> pl.DataFrame:
    """What other rules make of the same members, with the blend's lead over each, paired: score, lead, 90% interval."""
    tables = {collection: _blended(data, "rules", collection) for collection in board.collections}
    rules = list(
        dict.fromkeys(rule for table in tables.values() for rule in table["member"].unique(maintain_order=True))
    )
    others = Board(board.collections, rules, board.targets)
    for collection, table in tables.items():
        for (split, rule), part in table.group_by(["split", "member"], maintain_order=True):
            found = scores.by_graph(part, f"{collection}: {rule}")
            others.members[split, collection, rule] = board.only(split, collection, found)
        for split in ("valid", "test"):
            others.members[split, collection, "blend"] = board.members[split, collection, "blend"]
    _evaluate(others, None)
    resampled = _resamples(others)
    leads = _versus(others, resampled)
    keys = ["split", "collection", "member"]
    joined = _scores(others, resampled).select(*keys, "score").join(leads, on=keys, how="inner", maintain_order="left")
    return joined.rename({"member": "rule"})


def _disagreement(board: Board) -> pl.DataFrame:
    """Every two trained members on each graph: their metrics, the blend's, and tau between their rankings."""
    schema = dict.fromkeys(("split", "collection", "graph", "first", "second"), pl.String)
    schema |= dict.fromkeys(("first_score", "second_score", "blend", "tau"), pl.Float64)
    rows = []
    for split, collection in board.targets:
        if (split, collection, "blend") in board.values:
            ranked = {member: board.members[split, collection, member] for member in board.trained}
            values = {member: board.values[split, collection, member] for member in board.trained}
            rows += [
                (split, collection, graph, *names, board.values[split, collection, "blend"][graph], tau)
                for graph, *names, tau in disagreement(ranked, values)
            ]
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("tau").fill_nan(None))


def _graphs(board: Board, described: pl.DataFrame | None) -> pl.DataFrame:
    """One row per graph: split, collection, graph, what programs.csv says of it, then a column per member."""
    key = {"split": pl.String, "collection": pl.String, "graph": pl.String}
    rows: dict[tuple, dict] = {}
    for (split, collection, member), values in board.values.items():
        for graph, value in values.items():
            known = rows.setdefault((split, collection, graph), {"split": split, "collection": collection})
            known |= {"graph": graph, member: None if np.isnan(value) else value}
    columns = key | dict.fromkeys(board.names(), pl.Float64)
    table = pl.DataFrame([{name: row.get(name) for name in columns} for row in rows.values()], schema=columns)
    if described is not None:
        about = described.rename({"id": "graph"}).drop("ceiling")
        table = table.join(about, on=list(key), how="left", maintain_order="left")
        table = table.select(*key, *(name for name in about.columns if name not in key), *board.names())
    place = {name: number for number, name in enumerate(("valid", "test", *COLLECTIONS))}
    return table.sort(*(pl.col(name).replace_strict(place) for name in ("split", "collection")), "graph")


def _kin(graphs: pl.DataFrame, members: list[str]) -> pl.DataFrame:
    """Mean score of each member for siblings of training programs and for families never trained on, 90% interval.

    The interval is of graphs drawn again within the group, the same ones for every member; none of a single graph.
    """
    schema = {"split": pl.String, "collection": pl.String, "kin": pl.String, "member": pl.String}
    schema |= {"graphs": pl.Int64} | dict.fromkeys(("score", "low", "high"), pl.Float64)
    rows = []
    if "kin" in graphs.columns:
        known = graphs.drop_nulls("kin")
        for key, part in known.group_by(["split", "collection", "kin"], maintain_order=True):
            for member in members:
                values = part[member].drop_nulls().to_numpy()
                if len(values):
                    rows.append((*key, member, len(values), float(values.mean()), *_spread(":".join(key), values)))
    return pl.DataFrame(rows, schema=schema, orient="row")


def _spread(name: str, values: np.ndarray) -> tuple:
    """5th and 95th percentile of the mean of values (g,) drawn again, seeded by `name`; (None, None) of one value."""
    if len(values) < 2:
        return None, None
    drawn = np.random.default_rng(zlib.crc32(name.encode())).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [5, 95])
    return float(low), float(high)


def _buys(board: Board) -> pl.DataFrame:
    """Mean of fastest / fastest found when timing only the k first, by each member's order; `random`: the expectation.

    k goes from 1 to all configurations of the largest graph; smaller ones are timed whole by then.
    """
    rows = []
    for (split, collection), targets in board.targets.items():
        most = max(map(len, targets.values()), default=0)
        steps = np.geomspace(1, most, BUDGETS).round().astype(int) if most else np.zeros(0, int)
        budgets = np.union1d(steps, [min(5, most)] if most else steps)
        for member in board.names():
            if member == "ceiling" or (split, collection, member) not in board.members:
                continue
            total = np.zeros(len(budgets))
            for graph, target in targets.items():
                if member == "random":
                    total += [random_closeness(target, k) for k in budgets.tolist()]
                else:
                    found = closeness(board.members[split, collection, member][graph], target)
                    total += found[np.minimum(budgets, len(target)) - 1]
            mean = total / len(targets)
            rows += [(split, collection, member, *pair) for pair in zip(budgets.tolist(), mean.tolist(), strict=True)]
    schema = {"split": pl.String, "collection": pl.String, "member": pl.String, "k": pl.Int64, "closeness": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _ranked(board: Board, split: str) -> list[tuple[float, str, str]]:
    """(metric of the blend, collection, graph) of every layout graph of a split, ascending."""
    return sorted(
        (value, collection, graph)
        for collection in board.collections
        if not is_tile(collection)
        for graph, value in board.values.get((split, collection, "blend"), {}).items()
        if not np.isnan(value)
    )


def _places_of(board: Board, split: str, found: list[tuple[float, str, str]], limit: int) -> pl.DataFrame:
    """Places 1..c, predicted by the blend and true, of some graphs; `limit` configurations of each at most."""
    schema = {"split": pl.String, "collection": pl.String, "graph": pl.String}
    schema |= {"score": pl.Float64, "predicted": pl.Float64, "true": pl.Float64}
    frames = [pl.DataFrame(schema=schema)]
    for value, collection, graph in found:
        true = rankdata(board.targets[split, collection][graph])
        predicted = rankdata(board.members[split, collection, "blend"][graph])
        kept = np.argsort(true, kind="stable")
        kept = kept[np.unique(np.linspace(0, len(kept) - 1, limit).round().astype(int))]
        constants = {"split": split, "collection": collection, "graph": graph, "score": value}
        places = pl.DataFrame({"predicted": predicted[kept], "true": true[kept]})
        places = places.with_columns(pl.lit(value).alias(name) for name, value in constants.items())
        frames.append(places.select(pl.col(name).cast(dtype) for name, dtype in schema.items()))
    return pl.concat(frames)


def _places(board: Board) -> pl.DataFrame:
    """Places of the layout graphs of the last split, the best of each collection first.

    Of a collection of more than `SHOWN_GRAPHS` those at equal steps from the best to the worst.
    """
    ranked = _ranked(board, board.splits[-1])[::-1]
    shown = []
    for collection in board.collections:
        mine = [row for row in ranked if row[1] == collection]
        steps = np.unique(np.linspace(0, len(mine) - 1, SHOWN_GRAPHS).round().astype(int)) if mine else []
        shown += [mine[step] for step in steps]
    return _places_of(board, board.splits[-1], shown, SHOWN_PLACES)


def _examples(board: Board) -> pl.DataFrame:
    """Places of the blend's best, median and worst layout graph of the last split; column `which` says which."""
    split = board.splits[-1]
    ranked = _ranked(board, split)
    frames = [
        _places_of(board, split, ranked[place : place + 1], SHOWN_PLACES).select(pl.lit(which).alias("which"), pl.all())
        for which, place in (("best", len(ranked) - 1), ("median", len(ranked) // 2), ("worst", 0))
        if ranked
    ]
    return pl.concat(frames) if frames else _places_of(board, split, [], 0).select(pl.lit("").alias("which"), pl.all())


def _odd(board: Board, data: str, graphs: pl.DataFrame) -> pl.DataFrame:
    """One row per graph of the last split: its members' metrics, and what might make it odd.

    spread: slowest / fastest configuration; nodes (after pruning), configurable, configurations; kin, null where
    programs.csv does not tell.
    """
    split, rows = board.splits[-1], []
    for collection in board.collections:
        listed = dataset.manifest(dataset.prune_folder(data, collection))["graphs"][split]
        for entry in listed:
            target = board.targets[split, collection][entry["id"]]
            spread = float(target.max() / target.min())
            rows.append((collection, entry["id"], spread, *(entry.get(name) for name in ENTRIES)))
    schema = {"collection": pl.String, "graph": pl.String, "spread": pl.Float64} | dict.fromkeys(ENTRIES, pl.Int64)
    about = pl.DataFrame(rows, schema=schema, orient="row")
    members = [name for name in board.names() if name in graphs.columns]
    known = graphs.filter(split=split).select("collection", "graph", *(set(graphs.columns) & {"kin"}), *members)
    absent = [
        pl.lit(None, dtype).alias(name)
        for name, dtype in (("kin", pl.String), ("ceiling", pl.Float64))
        if name not in known.columns
    ]
    return about.join(known.with_columns(absent), on=["collection", "graph"], how="inner", maintain_order="left")


def _counts(expected: dict[str, int]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for identifier, configurations in expected.items():
        count = counts.setdefault(submission.collection_of(identifier), {"graphs": 0, "configurations": 0})
        count["graphs"] += 1
        count["configurations"] += configurations
    return counts
