"""Layouts of TPU programs: which may be chosen, how they are written and forced, and the searches over them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.collect.hlo_text import instructions
from stages.collect.programs.before_layout import configurable_nodes
from stages.collect.tpu import choices, search
from stages.collect.tpu.choices import FREE
from stages.collect.tpu.constraints import constrained
from tests.support.tuning import NODES, SLOTS, TEXT


def slot_of(name, slot):
    (position,) = [i for i, node in enumerate(NODES) if node.instruction.name == name]
    return next(s for s in SLOTS if s.node == position and s.slot == slot)


def test_a_convolution_chooses_between_feature_and_batch():
    assert slot_of("%conv", 0).layouts == ((3, 0, 2, 1), (0, 3, 2, 1))
    assert slot_of("%conv", 1).layouts == ((3, 0, 2, 1), (0, 3, 2, 1))
    assert slot_of("%conv", 2).layouts == ((3, 2, 1, 0), (2, 3, 1, 0))


def test_a_dot_chooses_among_what_is_multiplied_and_kept():
    assert slot_of("%dot", 0).layouts == ((3, 2, 1, 0), (2, 3, 1, 0))
    assert slot_of("%dot", 1).layouts == ((2, 3, 1, 0), (3, 2, 1, 0))


def test_padding_is_that_of_tiles_of_8_by_128():
    assert choices.padding((16, 256), (1, 0)) == 1
    assert choices.padding((2, 28, 28, 256), (0, 3, 2, 1)) == 64
    assert choices.padding((12, 100), (1, 0)) == pytest.approx(16 * 128 / 1200)


def test_a_layout_is_drawn_the_less_the_more_it_pads():
    feature, batch = slot_of("%conv", 0).odds
    assert feature / batch == pytest.approx(4)  # a batch of 32 is padded to 128


def test_a_layout_that_fits_no_memory_cannot_be_chosen():
    small = configurable_nodes(TEXT.replace("[32,28,28,", "[2,28,28,"))
    names = {(small[s.node].instruction.name, s.slot) for s in choices.slots_of(small, TEXT)}
    assert ("%conv", 0) not in names and ("%conv", 2) in names


def test_configurations_are_written_as_tpugraphs_writes_them():
    choice = np.full(len(SLOTS), FREE)
    choice[SLOTS.index(slot_of("%conv", 0))] = 1
    out = slot_of("%out", 0)
    choice[SLOTS.index(out)] = out.layouts.index((1, 2, 0))
    rows = choices.configuration(SLOTS, choice, len(NODES))
    names = [node.instruction.name for node in NODES]
    assert rows[names.index("%conv")].tolist() == [[0, 3, -1, -1, -1, -1], [-1] * 6, [-1] * 6]
    assert rows[names.index("%dot")].tolist() == [[-1] * 6] * 3
    assert rows[names.index("%out")].tolist() == [[1, 2, 0, -1, -1, -1], [-1] * 6, [-1] * 6]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_what_is_forced_stands_in_the_text_and_nothing_else_changes(seed):
    choice = search.scattered(SLOTS, 0.5, np.random.default_rng(seed))
    text = constrained(TEXT, choices.forced(NODES, SLOTS, choice))
    by_name = instructions(text)
    forced = [i for i in by_name.values() if 'custom_call_target="LayoutConstraint"' in i.rest]
    wanted = [SLOTS[p].layouts[choice[p]] for p in np.flatnonzero(choice != FREE)]
    assert sorted(i.layout for i in forced) == sorted(wanted)
    assert by_name["%out"].root
    for name, before in instructions(TEXT).items():  # users still find each tensor under its name
        assert by_name[name].dims == before.dims
    if (choice == FREE).all():
        assert text == TEXT


def cost_of(choice):
    """A cost of the choice alone, so that each is distinct."""
    return 1000.0 + float(((choice + 1) * 3.0 ** np.arange(len(choice))).sum())


@pytest.mark.parametrize("name", search.SEARCHES)
def test_a_search_is_deterministic_and_starts_from_the_compilers_choice(name):
    def made(seed):
        runs = search.Runs(SLOTS, cost_of)
        search.SEARCHES[name](runs, 40, search.Palette(SLOTS, 7), np.random.default_rng(seed))
        return np.stack(runs.choices)

    first = made(5)
    assert first.shape == (40, len(SLOTS))
    assert (first[0] == FREE).all()
    assert len(np.unique(first, axis=0)) == 40
    assert np.array_equal(first, made(5)) and not np.array_equal(first, made(6))


@given(st.integers(0, 2**32 - 1), st.data())
@settings(max_examples=30, deadline=None)
def test_what_makes_a_configuration_fail_is_learnt_and_left_out(seed, data):
    guilty = data.draw(st.integers(0, len(SLOTS) - 1))
    layout = data.draw(st.integers(0, len(SLOTS[guilty].layouts) - 1))

    def cost(choice):
        return None if choice[guilty] == layout else cost_of(choice)

    runs = search.Runs(SLOTS, cost)
    search.random_search(runs, 60, search.Palette(SLOTS, seed), np.random.default_rng(seed))
    assert runs.banned <= {(guilty, layout)}
    assert all(choice[guilty] != layout for choice in runs.choices)
    # One failure and its halvings, never again after that.
    assert runs.errors <= 2 + int(np.ceil(np.log2(len(SLOTS))))


def test_two_layouts_that_fail_only_together_cost_one_of_them():
    def cost(choice):
        return None if choice[0] == 1 and choice[3] == 0 else cost_of(choice)

    runs = search.Runs(SLOTS, cost)
    choice = np.full(len(SLOTS), FREE, np.int8)
    choice[[0, 1, 3]] = (1, 1, 0)
    runs.add(choice)
    assert runs.banned == {(3, 0)}
    assert runs.choices[-1].tolist()[:4] == [1, 1, FREE, FREE]


def test_a_program_that_never_compiles_is_an_error():
    runs = search.Runs(SLOTS, lambda choice: None)
    with pytest.raises(ValueError, match="own layouts"):
        search.random_search(runs, 5, search.Palette(SLOTS, 0), np.random.default_rng(0))


def test_every_move_differs_from_what_the_compiler_does():
    own = [replace(slot, own=0) for slot in SLOTS]
    palette, rng, used = search.Palette(own, 3), np.random.default_rng(0), 0
    for _ in range(100):
        move, used = palette.move(rng, used)
        assert np.any(move > 0)


def test_searches_share_the_moves_of_a_palette():
    first, second = (search.Palette(SLOTS, 3) for _ in range(2))
    made = []
    for palette, seed in ((first, 1), (first, 2), (second, 2)):
        rng, used, moves = np.random.default_rng(seed), 0, []
        for _ in range(30):
            move, used = palette.move(rng, used)
            moves.append(move)
        made.append(np.stack(moves))
    assert np.array_equal(made[1], made[2])  # whoever drew from the palette before


def test_the_compilers_own_layouts_are_told_from_the_text_after_layout_assignment():
    assigned = TEXT.replace("f32[32,28,28,512]{3,2,1,0}", "f32[32,28,28,512]{0,3,2,1:T(8,128)}")
    slots = choices.slots_of(NODES, assigned)
    assert slots[SLOTS.index(slot_of("%conv", 0))].own == 1
    assert slots[SLOTS.index(slot_of("%out", 0))].own == slot_of("%out", 0).layouts.index((2, 1, 0))


def test_evolution_finds_faster_configurations_than_chance():
    many = [replace(slot, node=slot.node + 3 * copy) for copy in range(20) for slot in SLOTS]
    weights = np.random.default_rng(3).normal(size=(len(many), 6))

    def cost(choice):
        chosen = choice != FREE
        return 1000.0 + weights[np.flatnonzero(chosen), choice[chosen]].sum()

    fastest = {}
    for name, run_search in search.SEARCHES.items():
        runs = search.Runs(many, cost)
        run_search(runs, 100, search.Palette(many, 1), np.random.default_rng(1))
        fastest[name] = min(runs.costs_ns)
    assert fastest["default"] < fastest["random"] < 1000.0


def test_of_configurations_that_cost_the_same_three_are_kept():
    runs = search.Runs(SLOTS, lambda choice: 1000.0 + (choice[0] == 1))
    search.random_search(runs, 40, search.Palette(SLOTS, 0), np.random.default_rng(0))
    assert sorted(runs.costs_ns) == [1000.0] * 3 + [1001.0] * 3
    assert (runs.choices[0] == FREE).all()


def test_a_small_program_ends_when_it_has_no_more_configurations():
    runs = search.Runs(SLOTS[2:3], cost_of)
    search.random_search(runs, 50, search.Palette(SLOTS[2:3], 0), np.random.default_rng(0))
    assert [choice.tolist() for choice in runs.choices] == [[FREE], [1]]  # 0 is what the compiler does


@pytest.mark.parametrize(
    ("costs", "reason"),
    [
        (np.linspace(100, 200, 100), None),
        (np.tile([100, 200], 50), "2 distinct costs of 100 configurations, fewer than 30"),
        (np.linspace(10000, 10100, 100), "slowest/fastest 1.010, below 1.02"),
    ],
)
def test_the_rule_that_drops_graphs(costs, reason):
    assert search.worthless(costs) == reason
