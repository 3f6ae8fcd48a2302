"""The competition's submission: `ID,TopConfigs`, configuration indices joined by `;`, fastest first.

A layout graph lists all its configurations, a tile graph the five fastest (fewer where it has fewer).
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from stages.engine import files
from stages.engine.errors import InputError
from stages.graphs import dataset
from stages.graphs.collection import COLLECTIONS, SUFFIXES, is_tile
from stages.scoring.metrics import TOP

HEADER = ["ID", "TopConfigs"]
Row = tuple[str, Sequence[int]]


def order(score: np.ndarray) -> np.ndarray:
    """The configurations from the fastest to the slowest.

    Args:
        score: scores (c,), smaller is faster.

    Returns:
        Indices (c,); equal scores stand in the order of their index.
    """
    return np.argsort(np.asarray(score), kind="stable")


def row(collection: str, graph: str, score: np.ndarray) -> Row:
    """The submission's row of one graph from its scores (c,)."""
    listed = order(score)[: TOP if is_tile(collection) else None]
    return f"{collection}:{graph}", listed.tolist()


def expected(data: str | Path, collections: Iterable[str]) -> dict[str, int]:
    """ID -> number of configurations of every test graph, from the manifests of the prune stage."""
    result = {}
    for collection in collections:
        manifest = dataset.manifest(dataset.prune_folder(data, collection))
        for graph in manifest["graphs"]["test"]:
            result[f"{collection}:{graph['id']}"] = graph["configurations"]
    return result


def collection_of(identifier: str) -> str:
    """The collection that an ID belongs to.

    Raises:
        InputError: the ID names none of the five.
    """
    for collection in COLLECTIONS:
        if identifier.startswith(collection + ":") and len(identifier) > len(collection) + 1:
            return collection
    raise InputError(f"ID {identifier!r} begins with no collection; the five are {', '.join(COLLECTIONS)}")


def validate(submission: Iterable[Row], expected: Mapping[str, int]) -> None:
    """Refuses what is not exactly one sound row for each expected ID.

    A layout row must be a permutation of 0..c-1, a tile row min(5, c) different indices. An ID must be expected, stand
    once and carry no suffix.

    Args:
        submission: the rows.
        expected: ID -> number of configurations c.

    Raises:
        InputError: the first fault, with the ID that has it.
    """
    seen = set()
    for identifier, indices in submission:
        _check_id(identifier, expected)
        if identifier in seen:
            raise InputError(f"ID {identifier} stands twice; give each graph one row")
        seen.add(identifier)
        _check_indices(identifier, indices, expected[identifier])
    missing = sorted(expected.keys() - seen)
    if missing:
        raise InputError(f"ID {missing[0]} is missing ({len(missing)} of {len(expected)} are); add a row for each")


def same_ids(expected: Iterable[str], path: str | Path, lacking: Sequence[str] = ()) -> None:
    """Refuses a sample submission that has other IDs than the data.

    Which configurations it lists is not looked at: the competition's has 0;1;2;3;4 for every kernel, however many
    configurations that has.

    Args:
        expected: the IDs of the data's test graphs.
        path: the sample submission.
        lacking: collections that the data lacks; their IDs are passed over.

    Raises:
        InputError: an ID is only in the one or only in the other; the message names the first.
    """
    left_out = tuple(f"{collection}:" for collection in lacking)
    ours = set(expected)
    theirs = {identifier for identifier, _ in read(path) if not identifier.startswith(left_out)}
    if missing := sorted(theirs - ours):
        raise InputError(
            f"{path}: ID {missing[0]} is no test graph of the data ({len(missing)} of {len(theirs)} are none); add its "
            "file below data.root"
        )
    if unknown := sorted(ours - theirs):
        raise InputError(
            f"{path}: lacks ID {unknown[0]}, a test graph of the data ({len(unknown)} of {len(ours)} are); take "
            "its file away below data.root, or give leaderboard.sample_submission: null"
        )


def write(submission: Iterable[Row], expected: Mapping[str, int], path: str | Path) -> None:
    """Writes a submission whole or not at all, its rows by collection and then by graph.

    Args:
        submission: the rows, in any order.
        expected: as in `validate`.
        path: where it is written.

    Raises:
        InputError: the submission is not valid, as in `validate`; nothing is written.
    """
    rows = list(submission)
    path = Path(path)
    try:
        validate(rows, expected)
    except InputError as fault:
        raise InputError(f"{path}: not written: {fault}") from fault
    rows.sort(key=lambda row: (COLLECTIONS.index(collection_of(row[0])), row[0]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows([identifier, ";".join(map(str, indices))] for identifier, indices in rows)
    files.replace(path, text.getvalue().encode())


def read(path: str | Path) -> list[Row]:
    """A submission's rows as they stand.

    Raises:
        InputError: there is no file, its header is another, or a row holds something else than integers.
    """
    return [(identifier, _integers(path, identifier, text)) for identifier, text in read_columns(path, HEADER)]


def read_columns(path: str | Path, header: list[str]) -> list[tuple[str, str]]:
    """The rows of a CSV of two columns that are named as in `header`.

    Raises:
        InputError: the file cannot be read or has other columns; the message names the line.
    """
    path = Path(path)
    csv.field_size_limit(2**31 - 1)  # a file of 100,000 configurations has rows longer than the module's 128 KiB
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        reason = getattr(fault, "strerror", None) or "not a CSV text"
        raise InputError(f"{path}: {reason}; give a CSV file with the header {','.join(header)}") from fault
    if not rows or rows[0] != header:
        first = ",".join(rows[0])[:60] if rows else "an empty file"
        raise InputError(f"{path}: header must be {','.join(header)}, found {first}")
    result = []
    for line, row in enumerate(rows[1:], start=2):
        if row and len(row) != 2:
            raise InputError(f"{path}: line {line} has {len(row)} fields; each row is {','.join(header)}")
        if row:
            result.append((row[0], row[1]))
    return result


def numbers(text: str, kind: Callable[[str], float]) -> list:
    """The numbers that are joined by `;` in a text.

    Args:
        text: such as "3;0;1".
        kind: reads one number: int or float.

    Raises:
        ValueError: something is no number, or is one in Python alone: 1_0, and digits of other scripts.
    """
    if "_" in text or not text.isascii():
        raise ValueError("only plain decimals are numbers")
    return [kind(part) for part in text.split(";")]


def _integers(path: str | Path, identifier: str, text: str) -> list[int]:
    try:
        return numbers(text, int)
    except ValueError as fault:
        raise InputError(f"{path}: {identifier}: {text[:40]!r} is not a list of integers joined by ';'") from fault


def _check_id(identifier: str, expected: Mapping[str, int]) -> None:
    for suffix in SUFFIXES:
        if identifier.endswith(suffix):
            raise InputError(f"ID {identifier} ends in {suffix!r}; an ID ends in the bare name of its graph")
    if identifier not in expected:
        raise InputError(f"ID {identifier} is none of the {len(expected)} test graphs; remove its row")


def _check_indices(identifier: str, indices: Sequence[int], configurations: int) -> None:
    tile = is_tile(collection_of(identifier))
    wanted = min(TOP, configurations) if tile else configurations
    outside = [index for index in indices if not 0 <= index < configurations]
    if outside:
        raise InputError(
            f"{identifier}: index {str(outside[0])[:20]} is out of range, it has {configurations} configurations"
        )
    if len(set(indices)) != len(indices):
        raise InputError(f"{identifier}: an index stands twice; list each configuration once")
    if len(indices) != wanted:
        what = f"the {wanted} fastest" if tile else f"a permutation of all {wanted} configurations"
        raise InputError(f"{identifier}: {len(indices)} indices, must be {what}")
