"""The official metrics of every member beside the baselines and the ceiling, the submission, and the page's frames.

Members: `blend`; what it blends (`gnn` and `gbdt`), each the mean of its seeds' ranks; the baselines of
stages/scoring/baselines.py; `ceiling`, what one timing pass scores as a prediction of the other. The ceiling is a mark
to read scores by and no upper bound: both passes are noisy, while run times are the smaller of the two, so perfect
knowledge could score somewhat more.

Valid and test never mix. The valid scores of `blend` flatter it, for its weights were chosen there, as the epochs of
the network were. Other rules of blending (stages/blend/rules.py) are scored beside it, never chosen by test.

The mean of the collections needs a score in each. A layout baseline that has none on tile (`copy_count`, `row_major`)
takes the one of `largest_tile` there, so that the blend meets a whole baseline in the mean. `largest_tile` by itself
has none on layout, and so no mean.
"""

import json
import sys
from pathlib import Path

import polars as pl

from stages.engine import checks, files
from stages.graphs.collection import COLLECTIONS, ordered
from stages.leaderboard import budgets, graphs, inputs, metrics, places
from stages.leaderboard.board import Board
from stages.leaderboard.intervals import resamples
from stages.leaderboard.result import Counts, LeaderboardResult
from stages.scoring import submission


@checks.entry("leaderboard", writes=True)
def run(
    *,
    collections: list[str],
    solution: str | Path | None,
    programs: str | Path | None,
    sample_submission: str | Path | None = None,
    data: str | Path = "data",
    reports: str | Path = "reports",
) -> LeaderboardResult:
    """Scores every member and writes the submission.

    Writes:

    DATA/leaderboard/submission.csv   the blend's ranking of every test graph
    DATA/leaderboard/rules.csv        what other rules of blending score, and the blend's lead over each
    DATA/leaderboard/graphs.csv       the metric of every member, by graph
    REPORTS/metrics.json              the score of every member, by split and collection

    Test run times are used for nothing but the metrics. Where `collections` are not all five, a line on standard error
    names those that the submission lacks.

    Args:
        collections: names of collections.
        solution: CSV of the test run times. None, absent, or of other graphs (the competition's data): there are no
            test metrics, and the result's `notes` say so.
        programs: CSV that describes each graph, its kin and its ceiling. None, absent, or of other graphs: there is
            neither kin nor ceiling, and `notes` say so.
        sample_submission: the competition's own sample_submission.csv. The submission must have its IDs of these
            collections, all and no others.
        data: the folder of the stages' outputs.
        reports: the folder of the reports.

    Returns:
        The page's frames, and what its sentences name.

    Raises:
        InputError: a member's file is absent (the message names the stage to run), or files do not fit each other.
    """
    data, reports, collections = Path(data), Path(reports), ordered(collections)
    record = inputs.record(data, collections)
    board = Board(collections, trained=record.members, judged=inputs.judged(data))
    notes = _notes(board)
    expected = submission.expected(data, collections)
    if sample_submission is not None:
        submission.same_ids(expected, sample_submission, _lacking(collections))
    truth = inputs.solution(solution, expected, notes)
    described = inputs.programs(programs, expected, notes)
    _fill(board, data, truth, described)

    drawn = resamples(board)
    scores, by_graph, rules = metrics.scores(board, drawn), graphs.metrics(board, described), metrics.rules(board, data)
    submission_path, rules_path = (data / "leaderboard" / name for name in ("submission.csv", "rules.csv"))
    submission.write(_rows(board), expected, submission_path)
    _write_metrics(reports, scores)
    _write_csv(rules_path, rules)
    _write_csv(rules_path.with_name("graphs.csv"), by_graph)
    return LeaderboardResult(
        scores=scores,
        versus=metrics.versus(board, drawn),
        rules=rules,
        disagreement=metrics.disagreement(board),
        graphs=by_graph,
        kin=graphs.kin(by_graph, board.names()),
        properties=graphs.properties(board, data, by_graph),
        buys=budgets.closeness_by_budget(board),
        places=places.places(board),
        examples=places.examples(board),
        counts=_counts(expected),
        collections=board.collections,
        trained=board.trained,
        rule=record.rule,
        splits=board.splits,
        notes=notes,
        label="; ".join(described["times"].drop_nulls().unique().sort()) if described is not None else "",
        submission=str(submission_path),
        rules_file=str(rules_path),
        reports=str(reports),
    )


def _lacking(collections: list[str]) -> list[str]:
    return [name for name in COLLECTIONS if name not in collections]


def _notes(board: Board) -> list[str]:
    """What is unusual in how valid is judged and in what the submission holds; the latter is printed too."""
    notes = []
    if board.judged:
        notes.append("Valid metrics of layouts are of the configurations that the official protocol lists.")
    if lacking := _lacking(board.collections):
        notes.append(f"The submission lacks {', '.join(lacking)}; the competition's has all five collections.")
        print(notes[-1], file=sys.stderr, flush=True)
    return notes


def _fill(board: Board, data: Path, truth: dict, described: pl.DataFrame | None) -> None:
    for collection in board.collections:
        inputs.fill_targets(board, data, collection, truth)
        inputs.fill_members(board, data, collection)
    inputs.fill_values(board, described)


def _rows(board: Board) -> list[submission.Row]:
    """The submission's rows: the blend's ranking of every test graph."""
    return [
        submission.row(collection, graph, score)
        for collection in board.collections
        for graph, score in board.members["test", collection, "blend"].items()
    ]


def _write_metrics(reports: Path, scores: pl.DataFrame) -> None:
    reports.mkdir(parents=True, exist_ok=True)
    # allow_nan: NaN and Infinity are no JSON, and no member's score.
    text = json.dumps(metrics.nested(scores), indent=2, sort_keys=True, allow_nan=False) + "\n"
    files.replace(reports / "metrics.json", text.encode())


def _write_csv(path: Path, table: pl.DataFrame) -> None:
    files.replace(path, table.write_csv(float_precision=6).encode())


def _counts(expected: dict[str, int]) -> dict[str, Counts]:
    """collection -> what the submission ranks; from ID -> number of configurations."""
    counts: dict[str, Counts] = {}
    for identifier, configurations in expected.items():
        of_collection = counts.setdefault(submission.collection_of(identifier), Counts())
        of_collection.graphs += 1
        of_collection.configurations += configurations
    return counts
