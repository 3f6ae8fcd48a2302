"""Which programs are collected, and in which order."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from stages.collect.programs.program import Program
from stages.collect.programs.registry import PROGRAMS
from stages.collect.tpu_data import plan


def program(name, kind="xla", family="f", split="train", training=False):
    return Program(name, kind, family, split, training, lambda: None)


def test_small_programs_come_first():
    programs = [program("c", family="1"), program("a", family="2"), program("b", family="3")]
    assert [each.id for each in plan.ordered(programs, {"a": 900, "b": 300, "c": 500})] == ["b", "c", "a"]


def test_families_take_turns_where_sizes_are_alike():
    programs = [program(name, family=name[0]) for name in ("a1", "a2", "a3", "b1")]
    order = plan.ordered(programs, {"a1": 100, "a2": 101, "a3": 102, "b1": 120})
    assert [each.id for each in order] == ["a1", "b1", "a2", "a3"]


def test_a_program_of_unknown_size_counts_as_the_largest():
    programs = [program("new", family="1"), program("small", family="2")]
    assert [each.id for each in plan.ordered(programs, {"small": 10, "other": 999})] == ["small", "new"]


def test_a_collection_cut_short_holds_sources_and_splits_in_their_shares():
    programs = [program(f"{kind}{split}{i}", kind, f"{i}", split) for kind in ("xla", "nlp")
                for split, count in (("train", 20), ("valid", 5), ("test", 5)) for i in range(count)]  # fmt: skip
    first = plan.ordered(programs, {})[:12]
    assert Counter((each.kind, each.split) for each in first) == Counter(
        {("xla", "train"): 4, ("nlp", "train"): 4, **{(k, s): 1 for k in ("xla", "nlp") for s in ("valid", "test")}}
    )


def test_training_steps_take_turns_with_forward_passes_though_they_are_larger():
    programs = [program(f"{i}{mode}", family=f"{i}", training=mode == "t") for i in range(6) for mode in "ft"]
    order = plan.ordered(programs, {each.id: 9000 if each.training else 300 for each in programs})
    assert [each.training for each in order] == [False, True] * 6


@given(st.permutations(sorted(PROGRAMS)))
def test_the_order_is_that_of_the_sizes_and_not_of_the_registry(names):
    nodes = {name: 1000 + position for position, name in enumerate(sorted(names))}
    assert plan.ordered([PROGRAMS[name] for name in names], nodes) == plan.ordered(PROGRAMS.values(), nodes)


def test_programs_are_named_by_id_family_source_or_split():
    programs = [program("a", "xla", "resnet"), program("b", "nlp", "bert", "test")]
    assert [each.id for each in plan.matching(programs, ["res*"])] == ["a"]
    assert [each.id for each in plan.matching(programs, ["nlp", "a"])] == ["b", "a"]  # in the order of the names
    assert [each.id for each in plan.matching(programs, ["test"])] == ["b"]
    assert plan.matching(programs, ["c"]) == []


def test_the_programs_that_are_searched_longer_are_there_in_both_sources_and_all_splits():
    longer = [PROGRAMS[name] for name in plan.LONG]
    assert len(longer) == 8
    assert {each.kind for each in longer} == {"xla", "nlp"}
    assert {each.split for each in longer} == {"train", "valid", "test"}
    assert plan.configurations_of(plan.LONG[0]) == 1000
    assert plan.configurations_of("vgg16_b32_train") == 100
    assert plan.configurations_of(plan.LONG[0], 0) == 0
