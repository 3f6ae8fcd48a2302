"""Which nodes of a program are drawn, and where."""

import numpy as np
import pytest

from stages.configuration import stretch
from tests.support.programs import run_configuration


def line(nodes):
    """Edges of a program in which each node consumes the one before it."""
    return np.array([(node, node - 1) for node in range(1, nodes)])


def test_a_small_program_is_drawn_whole():
    assert stretch.around(stretch.NODES, line(stretch.NODES), [3]).tolist() == list(range(stretch.NODES))


@pytest.mark.parametrize("shape", ["line", "star", "random"])
def test_of_a_large_program_the_nearest_nodes_are_drawn_that_leave_the_names_room(shape):
    nodes = 200
    if shape == "line":
        edges = line(nodes)
    elif shape == "star":  # each of five nodes has many consumers
        edges = np.array([(node, node % 5) for node in range(5, nodes)])
    else:
        rng = np.random.default_rng(0)
        edges = np.array([(node, rng.integers(max(node - 20, 0), node)) for node in range(1, nodes) for _ in range(2)])
    shown = stretch.around(nodes, edges, [100])
    assert 100 in shown and len(shown) <= stretch.NODES and (np.diff(shown) > 0).all()
    _, y = stretch.positions(len(shown), stretch.inside(edges, shown))
    rows = np.unique(y, return_counts=True)[1]
    assert len(rows) <= stretch.DEEPEST and rows.max() <= stretch.WIDEST
    if shape == "line":
        assert len(shown) == stretch.DEEPEST and shown.min() > 80 and shown.max() < 120


def test_a_node_that_everything_uses_is_left_out_unless_the_drawing_is_around_it():
    edges = np.concatenate([line(100), [(node, 0) for node in range(2, 100)]])
    assert 0 not in stretch.around(100, edges, [5]) and 0 in stretch.around(100, edges, [0])


def test_the_edges_between_drawn_nodes():
    assert stretch.inside(np.array([(4, 2), (9, 4), (9, 7)]), np.array([2, 4, 9])).tolist() == [[1, 0], [2, 1]]


def test_the_way_from_one_node_to_another():
    edges = np.array([(1, 0), (2, 1), (3, 2), (3, 1), (4, 0)])
    assert stretch.path(5, edges, 0, 3) == [0, 1, 3]
    assert stretch.path(5, edges, 1, 4) == [1, 4]  # against the edges there is none


def test_a_node_stands_below_its_operands_and_no_two_in_one_place(made):
    example = run_configuration(made)
    x, y = stretch.positions(len(example.opcodes), example.edges)
    consumer, producer = example.edges.T
    assert (y[consumer] < y[producer]).all()
    assert len(set(zip(x.tolist(), y.tolist(), strict=True))) == len(x)
