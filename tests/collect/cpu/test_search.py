"""The two searches over layout configurations, on nodes and costs made up."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.collect.cpu import search
from stages.collect.hlo_text import MAX_RANK, ConfigurableNode, Instruction, layouts_of, row_major

RANKS = st.lists(st.tuples(st.integers(2, 6), st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=8)
SEEDS = st.integers(0, 2**32 - 1)


def nodes_of(ranks):
    """Nodes whose tensors have the given ranks, 0 for none."""

    def tensor(number, slot, rank):
        name = f"%n{number}.{slot}"
        return Instruction(name, number, False, "f32", (2,) * rank, row_major(rank), "dot", (), "") if rank else None

    nodes = []
    for number, triple in enumerate(ranks):
        output, *operands = (tensor(number, slot, rank) for slot, rank in enumerate(triple))
        nodes.append(ConfigurableNode(output, (output, *operands)))
    return nodes


def is_valid(configuration, nodes):
    """Whether every slot is a permutation of its rank, and -1 beyond."""
    return all(
        sorted(configuration[position, slot, :rank]) == list(range(rank))
        and (configuration[position, slot, rank:] == -1).all()
        for position, node in enumerate(nodes)
        for slot, rank in enumerate(node.ranks)
    )


def distinct(members):
    return len({member.tobytes() for member in members})


@given(RANKS, SEEDS, st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=60, deadline=None)
def test_mutated_keeps_every_slot_a_permutation_and_leaves_the_parent_alone(ranks, seed, rate, theme_share):
    nodes = nodes_of(ranks)
    parent = layouts_of("", nodes)
    before = parent.copy()
    child = search.mutated(parent, nodes, rate, theme_share, np.random.default_rng(seed))
    assert is_valid(child, nodes)
    assert child.dtype == np.int8 and (parent == before).all()
    if rate == 0:
        assert (child != parent).any(axis=(1, 2)).sum() <= 1


def test_mutated_changes_a_node_even_at_rate_zero():
    nodes = nodes_of([(6, 6, 0)] * 4)
    start = layouts_of("", nodes)
    rng = np.random.default_rng(0)
    changed = [(search.mutated(start, nodes, 0.0, 0.0, rng) != start).any(axis=(1, 2)).sum() for _ in range(10)]
    assert changed.count(1) >= 8, "all but the rare draws of the same permutation"


def test_a_whole_theme_gives_tensors_of_one_rank_one_layout():
    nodes = nodes_of([(4, 4, 2)] * 6)
    child = search.mutated(layouts_of("", nodes), nodes, 1.0, 1.0, np.random.default_rng(3))
    start = layouts_of("", nodes)
    changed = {tuple(row) for row in child[:, :2].reshape(-1, MAX_RANK)} - {tuple(start[0, 0])}
    assert len(changed) == 1


@given(RANKS, SEEDS, st.integers(1, 24))
@settings(max_examples=25, deadline=None)
def test_searches_give_distinct_valid_configurations_from_the_start(ranks, seed, count):
    nodes = nodes_of(ranks)
    start = layouts_of("", nodes)
    random = search.random_search(start, nodes, count, np.random.default_rng(seed))
    bred = search.evolutionary_search(
        start, nodes, count, np.random.default_rng(seed), lambda members: np.arange(len(members))
    )
    for members in (random, bred):
        assert 1 <= len(members) <= count
        assert distinct(members) == len(members)
        assert (members[0] == start).all()
        assert all(is_valid(member, nodes) for member in members)


def cost(members, wanted):
    return np.array([np.abs(member - wanted).sum() for member in members])


def both_searches(nodes, count, seed):
    """Members of the random and of the evolutionary search, the latter by distance to `wanted`, and `wanted`."""
    start = layouts_of("", nodes)
    wanted = search.mutated(start, nodes, 1.0, 0.0, np.random.default_rng(seed + 1000))

    def measure(members):
        return cost(members, wanted)

    random = search.random_search(start, nodes, count, np.random.default_rng(seed))
    bred = search.evolutionary_search(start, nodes, count, np.random.default_rng(seed), measure)
    return random, bred, wanted


def test_searches_reach_the_count_in_a_large_space_and_repeat_with_the_seed():
    nodes = nodes_of([(4, 4, 4), (3, 2, 0), (4, 1, 0)] * 3)
    random, bred, _ = both_searches(nodes, 42, seed=5)
    assert len(random) == len(bred) == 42
    random_again, bred_again, _ = both_searches(nodes, 42, seed=5)
    assert random.tobytes() == random_again.tobytes() and bred.tobytes() == bred_again.tobytes()
    other, other_bred, _ = both_searches(nodes, 42, seed=6)
    assert random.tobytes() != other.tobytes() and bred.tobytes() != other_bred.tobytes()


def test_searches_give_all_of_a_small_space_and_stop():
    random, bred, _ = both_searches(nodes_of([(2, 2, 1)]), 30, seed=1)
    assert len(random) == len(bred) == 4


def test_evolutionary_search_descends():
    nodes = nodes_of([(4, 4, 4)] * 12)
    for seed in range(3):
        random, bred, wanted = both_searches(nodes, 90, seed)
        costs = cost(bred, wanted)
        first, last = np.array_split(costs, search.GENERATIONS)[:: search.GENERATIONS - 1]
        assert last.mean() < first.mean()
        assert last.mean() < cost(random, wanted).mean()
        assert costs.min() < costs[0]
