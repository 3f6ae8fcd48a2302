"""Shared states against their definition: nested tuples of what a node and those it hears of are configured as."""

from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from stages.gnn import states

#: limits of the renumbering: as they are, keys that would overflow, sorting, nothing held
LIMITS = ({"_TABLE": states._TABLE}, {"_LARGEST_KEY": 6}, {"_TABLE": -(10**9)}, {"_CACHED": -1})


@st.composite
def problems(draw):
    """Arguments of `states.find`: few layouts a node, so that states repeat; nodes and configurations may be alike."""
    nodes = draw(st.integers(1, 7))
    pairs = [(v, u) for v in range(nodes) for u in range(nodes) if u != v]
    edges = draw(st.lists(st.sampled_from(pairs), max_size=10)) if pairs else []
    config = draw(st.lists(st.sampled_from(range(nodes)), unique=True, max_size=5))
    codes = np.random.default_rng(draw(st.integers(0, 999))).integers(
        draw(st.integers(1, 3)), size=(draw(st.integers(1, 8)), len(config))
    )
    masks = st.one_of(st.none(), st.lists(st.booleans(), min_size=nodes, max_size=nodes).map(np.array))
    return {
        "codes": codes.astype(np.uint16),
        "config_nodes": np.array(config, np.int64),
        "neighbours": relation(nodes, edges),
        "layers": draw(st.integers(0, 3)),
        "read": draw(masks),
        "held": draw(masks),
        "constants": draw(st.booleans()),
    }


def relation(nodes, edges):
    rows, columns = np.array(edges, np.int64).reshape(-1, 2).T
    matrix = csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=(nodes, nodes))
    matrix.sum_duplicates()
    return matrix


def heard(neighbours, node):
    return neighbours.indices[neighbours.indptr[node] : neighbours.indptr[node + 1]].tolist()


def neighbourhoods(codes, config_nodes, neighbours, layers, **_):
    """found[level][configuration][node], nested tuples: what the node knows after so many layers."""
    nodes = range(neighbours.shape[0])
    place = {node: column for column, node in enumerate(config_nodes.tolist())}
    level = [[(row[place[node]] if node in place else None,) for node in nodes] for row in codes.tolist()]
    found = [level]
    for _ in range(layers):
        level = [[(row[v], tuple(row[u] for u in sorted(heard(neighbours, v)))) for v in nodes] for row in level]
        found.append(level)
    return found


def needed(known, neighbours, read, held, constants, **_):
    """The nodes of each level, by definition: what is read and, unless `constants`, differs; below, what these hear."""
    nodes = range(neighbours.shape[0])
    top = {v for v in nodes if read is None or read[v]}
    if not constants:
        top = {v for v in top if len({row[v] for row in known[-1]}) > 1}
    levels = [top]
    for _ in known[1:]:
        levels.append(levels[-1] | {u for v in levels[-1] for u in heard(neighbours, v)})
    if held is not None:
        levels[-1] = levels[-1] | {v for v in nodes if held[v]}
    return [sorted(level) for level in levels[::-1]]


@settings(max_examples=80, deadline=None)
@given(problem=problems(), limits=st.sampled_from(LIMITS))
def test_two_configurations_share_a_nodes_state_where_and_only_where_its_neighbourhoods_are_equal(problem, limits):
    with mock.patch.multiple(states, **limits):
        levels = states.find(**problem)
    known = neighbourhoods(**problem)
    every = np.arange(len(problem["codes"]))
    assert len(levels) == problem["layers"] + 1
    assert [level.nodes.tolist() for level in levels] == needed(known, **problem)
    for level, picked, truth in zip(levels, states.pick(levels, every), known, strict=True):
        found = states.occurrences(picked, every)
        number: dict[tuple, int] = {}
        for configuration, row in enumerate(truth):
            for place, node in enumerate(level.nodes.tolist()):
                state = found[configuration, place]
                assert number.setdefault((node, row[node]), state) == state
                assert level.states(np.array([configuration]), np.array([place]))[0] == state
        assert sorted(number.values()) == list(range(level.size))
        for (node, neighbourhood), state in number.items():
            assert level.nodes[level.place[state]] == node
            assert truth[level.example[state]][node] == neighbourhood
        several = [len({row[node] for row in truth}) > 1 for node in level.nodes.tolist()]
        assert level.varying.tolist() == np.flatnonzero(several).tolist()


@settings(max_examples=40, deadline=None)
@given(problem=problems(), seed=st.integers(0, 999), size=st.integers(1, 9))
def test_a_sample_picks_the_states_it_touches_and_counts_them(problem, seed, size):
    """Of any order and with repetitions; `number` finds each state, `occurrences` says where it occurs."""
    levels = states.find(**problem)
    every = np.arange(len(problem["codes"]))
    chosen = np.random.default_rng(seed).integers(len(every), size=size)
    for whole, part in zip(states.pick(levels, every), states.pick(levels, chosen), strict=True):
        truth = states.occurrences(whole, every)[chosen]
        kept, count = np.unique(truth, return_counts=True)
        assert part.states.tolist() == kept.tolist() and part.count.tolist() == count.tolist()
        assert part.number[kept].tolist() == list(range(len(kept)))
        assert (np.delete(part.number, kept) == -1).all()
        np.testing.assert_array_equal(part.states[states.occurrences(part, chosen)], truth)
        np.testing.assert_array_equal(part.place, part.level.place[kept])
        np.testing.assert_array_equal(part.example, part.level.example[kept])


@settings(max_examples=40, deadline=None)
@given(problem=problems(), seed=st.integers(0, 999), size=st.integers(1, 9), shared=st.booleans())
def test_entries_and_own_lead_to_what_a_state_heard_one_level_below(problem, seed, size, shared):
    """Checked in every configuration of the sample a state occurs in, not only in its example."""
    neighbours, codes = problem["neighbours"], problem["codes"]
    levels = states.find(**problem)
    if not shared:
        levels = states.unshared(len(codes), neighbours.shape[0], problem["layers"])
    weighted = csr_array((np.arange(neighbours.nnz) + 1, neighbours.indices, neighbours.indptr), neighbours.shape)
    chosen = np.random.default_rng(seed).integers(len(codes), size=size)
    picked = states.pick(levels, chosen)
    for below, above in zip(picked[:-1], picked[1:], strict=True):
        occurs_below, occurs_above = states.occurrences(below, chosen), states.occurrences(above, chosen)
        at = {node: place for place, node in enumerate(below.level.nodes.tolist())}
        state, row, edge = states.entries(above, below, weighted)
        own = states.own(above, below)
        assert len(own) == len(above.states) and (np.diff(row) >= 0).all()
        for number, place in np.ndindex(size, len(above.level.nodes)):
            node, mine = above.level.nodes[place], occurs_above[number, place]
            entry = row == mine
            assert own[mine] == occurs_below[number, at[node]]
            assert state[entry].tolist() == [occurs_below[number, at[u]] for u in heard(weighted, node)]
            expected = weighted.data[weighted.indptr[node] : weighted.indptr[node + 1]]
            assert weighted.data[edge[entry]].tolist() == expected.tolist()


def test_unshared_gives_every_node_a_state_in_every_configuration():
    for configurations in (1, 3):
        levels = states.unshared(configurations, nodes=4, layers=2)
        assert len(levels) == 3
        for picked in states.pick(levels, np.arange(configurations)):
            found = states.occurrences(picked, np.arange(configurations))
            assert found.tolist() == [[node * configurations + c for node in range(4)] for c in range(configurations)]
            assert picked.example.tolist() == list(range(configurations)) * 4
            assert (picked.count == 1).all()


def test_the_states_of_a_star_by_hand():
    """Two leaves of two layouts each around node 2, which hears both; node 3 hears node 2 and nobody hears of 4."""
    codes = np.array([[0, 0], [0, 1], [1, 0], [0, 0]])
    levels = states.find(codes, np.array([0, 1]), relation(5, [(2, 0), (2, 1), (3, 2), (3, 4)]), layers=2)
    assert [level.nodes.tolist() for level in levels] == [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [0, 1, 2, 3]]
    assert [np.diff(level.starts).tolist() for level in levels] == [[2, 2, 1, 1, 1], [2, 2, 3, 1, 1], [2, 2, 3, 3]]
    assert states.share(levels, 5, 4) == [7 / 20, 9 / 20, 10 / 20]


def test_pairs_are_told_apart_by_both_ends():
    codes = np.array([[0, 0, 7], [0, 1, 7], [1, 0, 7], [0, 0, 7]])
    (bottom,) = states.find(codes, np.array([1, 0, 3]), relation(4, []), 0, held=np.ones(4, bool))
    level = states.pairs(bottom, np.array([0, 3, 3]), np.array([1, 1, 2]))
    assert level.nodes.tolist() == [0, 1, 2]
    assert np.diff(level.starts).tolist() == [3, 2, 1]  # both ends vary; one does; neither does
    (picked,) = states.pick([level], np.arange(4))
    found = states.occurrences(picked, np.arange(4))
    assert len({*found[:3, 0].tolist()}) == 3 and found[0].tolist() == found[3].tolist()
    assert found[0, 1] == found[1, 1] != found[2, 1]


def test_more_states_than_sixteen_bits_number():
    configurations = 2**16 + 3
    codes = np.stack([np.arange(configurations) // 300, np.arange(configurations) % 300], axis=1).astype(np.uint16)
    levels = states.find(codes, np.array([0, 1]), relation(3, [(2, 0), (2, 1)]), layers=1)
    assert np.diff(levels[1].starts).tolist() == [219, 300, configurations]
    (top,) = states.pick(levels[1:], np.arange(configurations))
    assert len(np.unique(states.occurrences(top, np.arange(configurations))[:, 2])) == configurations
