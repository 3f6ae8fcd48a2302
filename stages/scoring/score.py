"""`python -m stages.score SUBMISSION SOLUTION`: the official metric of any submission.

The solution is a CSV `ID,Runtimes`: run times joined by `;` in the order of the configurations (tile: divided by their
normalizers), as data/sample/solution.csv. A tile row of the submission may list more than five configurations.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from stages.engine.errors import InputError
from stages.graphs.collection import COLLECTIONS, is_tile
from stages.scoring import submission
from stages.scoring.metrics import TOP, collection_score, graph_score

HEADER = ["ID", "Runtimes"]


def read_solution(path: str | Path) -> dict[str, np.ndarray]:
    """The run times of a solution.

    Returns:
        ID -> run times (c,) float64, finite and positive. float64 holds nanoseconds exactly up to 104 days.

    Raises:
        InputError: there is no file, its header is another, an ID stands twice or is of no collection, or a run time is
            not above zero.
    """
    solution = {}
    for identifier, text in submission.read_columns(path, HEADER):
        try:
            submission.collection_of(identifier)
        except InputError as fault:
            raise InputError(f"{path}: {fault}") from fault
        if identifier in solution:
            raise InputError(f"{path}: ID {identifier} stands twice; give each graph one row")
        try:
            runtimes = np.array(submission.numbers(text, float))
        except ValueError as fault:
            raise InputError(f"{path}: {identifier}: {text[:40]!r} is not a list of numbers joined by ';'") from fault
        if not np.all(np.isfinite(runtimes) & (runtimes > 0)):
            raise InputError(f"{path}: {identifier}: a run time is not a number above zero; give measured run times")
        solution[identifier] = runtimes
    if not solution:
        raise InputError(f"{path}: no rows; give the run times of at least one graph")
    return solution


def evaluate(rows: list[submission.Row], solution: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """The official metric of every graph of the solution.

    Of a tile row the metric takes the first five indices, or as many as the kernel has configurations where these are
    fewer. What follows is not looked at: the official baseline (`rank_config_indices` in tpu_graphs) writes ten, with
    zeros at the end for a kernel of fewer.

    Args:
        rows: the submission.
        solution: ID -> run times (c,).

    Returns:
        collection -> ID -> metric, NaN where it is undefined; of the collections that the solution holds.

    Raises:
        InputError: what is looked at is no valid submission for exactly the graphs of the solution.
    """
    rows = [(identifier, _looked_at(identifier, indices, solution)) for identifier, indices in rows]
    submission.validate(rows, {identifier: len(runtimes) for identifier, runtimes in solution.items()})
    predicted = {identifier: _places(indices, len(solution[identifier])) for identifier, indices in rows}
    result: dict[str, dict[str, float]] = {collection: {} for collection in COLLECTIONS}
    for identifier in sorted(solution):
        collection = submission.collection_of(identifier)
        result[collection][identifier] = graph_score(collection, predicted[identifier], solution[identifier])
    return {collection: graphs for collection, graphs in result.items() if graphs}


def _looked_at(identifier: str, indices: Sequence[int], solution: Mapping[str, np.ndarray]) -> Sequence[int]:
    if identifier not in solution or not is_tile(submission.collection_of(identifier)):
        return indices
    return indices[: min(TOP, len(solution[identifier]))]


def _places(indices: Sequence[int], configurations: int) -> np.ndarray:
    """The place (c,) of each configuration in a row, from 0."""
    # Unlisted configurations share the place after the last: only the listed ones can be in the top 5.
    places = np.full(configurations, len(indices))
    places[list(indices)] = np.arange(len(indices))
    return places


def report(scores: Mapping[str, Mapping[str, float]]) -> str:
    """The aligned table that the command prints: one line per collection, then the unweighted mean of them."""
    lines = [f"{'collection':<20} {'metric':<14} {'graphs':>6} {'score':>9}"]
    means = {collection: collection_score(graphs) for collection, graphs in scores.items()}
    for collection, mean in means.items():
        metric = "slowdown top 5" if is_tile(collection) else "Kendall tau-b"
        lines.append(f"{collection:<20} {metric:<14} {len(scores[collection]):>6} {mean:>9.6f}")
    total = sum(len(graphs) for graphs in scores.values())
    label = f"mean of {len(means)}" + ("" if len(means) == len(COLLECTIONS) else f", not {len(COLLECTIONS)}")
    return "\n".join([*lines, f"{label:<20} {'':<14} {total:>6} {np.mean(list(means.values())):>9.6f}"])


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; a fault is one line on standard error and status 1."""
    parser = argparse.ArgumentParser(prog="python -m stages.score", description="The official metric of a submission.")
    parser.add_argument("submission", help="CSV with the header ID,TopConfigs")
    parser.add_argument("solution", help="CSV with the header ID,Runtimes")
    files = parser.parse_args(arguments)
    try:
        solution = read_solution(files.solution)
        rows = submission.read(files.submission)
        try:
            print(report(evaluate(rows, solution)))
        except InputError as fault:
            raise InputError(f"{files.submission}: {fault}") from fault
    except InputError as fault:
        print(fault, file=sys.stderr)
        return 1
    return 0
