"""LightGBM's text of a model, looked at before LightGBM reads it.

LightGBM believes the text: a size that is wrong, a column beyond the table's last, or a child that is its own ancestor
makes it read memory that is not its own, or never end. So the text of a model must have exactly the form that the
pipeline's models have: one class, no categories, no linear leaves, and trees that are trees.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: LightGBM's names of the objectives of the pipeline's members
OBJECTIVES = {"lambdarank": "lambdarank", "pointwise": "regression", "pairwise": "binary sigmoid:1"}
VERSION = "v4"
#: numbers of each inner node, of each leaf; a tree without inner nodes has only its leaf's value
INNER = ("split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child")
INNER_STATISTICS = ("internal_value", "internal_weight", "internal_count")
LEAF = ("leaf_value", "leaf_weight", "leaf_count")
TREE = ("num_leaves", "num_cat", *INNER, *LEAF, *INNER_STATISTICS, "is_linear", "shrinkage")
HEADER = (
    "version num_class num_tree_per_iteration label_index max_feature_idx objective feature_names feature_infos "
    "tree_sizes"
).split()
END = "end of trees\n"
#: bits of decision_type: a category; the others say which way missing values and zeros go
CATEGORICAL = 1
WAYS = 16


def check(text: str, objective: str, columns: Sequence[str]) -> None:
    """Refuses a model that is not as the pipeline writes it.

    Args:
        text: All of the model's file.
        objective: The member's name.
        columns: Names of the columns that models of the ensemble may read.

    Raises:
        ValueError: Says what is wrong, as a part of a sentence. KeyError and IndexError where something is missing.
    """
    header, body = _header(text)
    names = header["feature_names"].split(" ")
    _require(header["version"] == VERSION, f"version {header['version'][:20]!r} and not {VERSION}")
    _require(header["objective"] == OBJECTIVES.get(objective), f"objective {header['objective'][:40]!r}")
    _require(header["num_class"] == header["num_tree_per_iteration"] == "1", "more than one class")
    _require(set(names) <= set(columns), "other columns than statistics.json")
    _require(int(header["max_feature_idx"]) == len(names) - 1, "a wrong number of columns")
    _require(len(header["feature_infos"].split(" ")) == len(names), "a wrong number of columns' ranges")
    for number, size in enumerate(map(int, header["tree_sizes"].split())):
        _require(0 < size <= len(body), "a wrong size of a tree")
        _tree(body[:size], number, len(names))
        body = body[size:]
    _require(body.startswith(END), "trees beyond their sizes")
    _require(body.rstrip("\n").endswith("\npandas_categorical:null"), "no end, or categories")


def _header(text: str) -> tuple[dict[str, str], str]:
    """The lines of the header by their names, and what follows them."""
    head, separator, rest = text.partition("\n\nTree=0\n")
    lines = head.split("\n")
    _require(bool(separator) and lines[0] == "tree", "no header")
    header = dict(line.split("=", 1) for line in lines[1:])
    _require(list(header) == HEADER and len(lines) == 1 + len(HEADER), "another header")
    return header, f"Tree=0\n{rest}"


def _tree(text: str, number: int, columns: int) -> None:
    """Refuses a tree whose numbers are not those of a tree over so many columns."""
    first, *lines = text.rstrip("\n").split("\n")
    _require(first == f"Tree={number}", "a wrong size of a tree")
    values = dict(line.split("=", 1) for line in lines)
    _require(tuple(values) == TREE and len(lines) == len(TREE), "another tree")
    leaves = int(values["num_leaves"])
    _require(leaves >= 1 and values["num_cat"] == values["is_linear"] == "0", "categories or linear leaves")
    _finite(values["shrinkage"], 1)
    _finite(values["leaf_value"], leaves)
    if leaves == 1:
        return
    inner = leaves - 1
    for name in ("split_gain", "threshold", *INNER_STATISTICS):
        _finite(values[name], inner)
    for name in ("leaf_weight", "leaf_count"):
        _finite(values[name], leaves)
    feature, way, left, right = (
        _whole(values[name], inner) for name in ("split_feature", "decision_type", "left_child", "right_child")
    )
    _require(((feature >= 0) & (feature < columns)).all(), "a split by a column that is not there")
    _require(((way >= 0) & (way < WAYS) & (way & CATEGORICAL == 0)).all(), "a split of an unknown kind")
    # Every node but the first is the child of exactly one: with as many children as nodes, nothing leads back to a node
    # that a path from the first has met. A leaf is the complement of its number.
    _require(
        np.array_equal(np.sort(np.concatenate([left, right])), np.r_[-leaves:0, 1:inner]), "a child that is no node's"
    )


def _whole(text: str, count: int) -> np.ndarray:
    numbers = np.array(list(map(int, text.split(" "))), np.int64)
    _require(len(numbers) == count, "too few or too many numbers of a tree")
    return numbers


def _finite(text: str, count: int) -> None:
    numbers = np.array(list(map(float, text.split(" "))))
    _require(len(numbers) == count, "too few or too many numbers of a tree")
    _require(bool(np.isfinite(numbers).all()), "a number that is NaN or infinite")


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise ValueError(fault)
