"""Programs have ids of their own, the right kin, and an order of which every beginning is a fair sample."""

from collections import Counter

import pytest

from stages.collect.cpu.programs.program import Program
from stages.collect.cpu.programs.registry import (
    NLP_PROGRAMS,
    XLA_PROGRAMS,
    in_order,
    interleaved,
    programs,
    with_kin,
)

SOURCES = pytest.mark.parametrize("source", [XLA_PROGRAMS, NLP_PROGRAMS], ids=["xla", "nlp"])


def named(*ids):
    """Programs by id, where an id is family and number: 'a1'."""
    return [Program(name, "xla", name[0], "train", tuple) for name in ids]


def ids(listed):
    return [program.id for program in listed]


def test_a_family_gives_one_program_each_time_it_is_named_and_the_rest_the_last_time():
    families = {"a": named("a1", "a2", "a3"), "b": named("b1", "b2"), "c": named("c1")}
    assert ids(in_order("ab a cb".replace(" ", ""), families)) == ["a1", "b1", "a2", "a3", "c1", "b2"]


@pytest.mark.parametrize(("order", "odd"), [("a", "b"), ("abc", "c")])
def test_a_family_that_is_not_named_or_has_no_program_is_an_error(order, odd):
    with pytest.raises(ValueError, match=f"'{odd}'"):
        in_order(order, {"a": named("a1"), "b": named("b1")})


def test_kin_by_hand():
    splits = {"a1": "train", "a2": "test", "b1": "valid", "b2": "test"}
    listed = [Program(name, "xla", name[0], split, tuple) for name, split in splits.items()]
    assert [program.kin for program in with_kin(listed)] == ["train", "sibling", "unseen", "unseen"]


def test_interleaved_takes_families_in_turn_and_splits_in_proportion():
    train = [Program(name, "xla", name[0], "train", tuple, "train") for name in ("a1", "a2", "a3", "b1")]
    test = [Program(name, "xla", name[0], "test", tuple, "unseen") for name in ("c1", "d1")]
    assert ids(interleaved(train + test)) == ["a1", "c1", "b1", "a2", "d1", "a3"]


@SOURCES
def test_every_beginning_has_all_splits_and_kins(source):
    assert {(program.split, program.kin) for program in source} == {
        ("train", "train"),
        ("valid", "sibling"),
        ("valid", "unseen"),
        ("test", "sibling"),
        ("test", "unseen"),
    }
    third = Counter((program.split, program.kin) for program in source[: len(source) // 3])
    assert set(third) == {(program.split, program.kin) for program in source}


@SOURCES
def test_unseen_families_of_valid_and_test_are_not_the_same(source):
    unseen = {
        split: {program.family for program in source if program.kin == "unseen" and program.split == split}
        for split in ("valid", "test")
    }
    assert unseen["valid"] and unseen["test"] and not unseen["valid"] & unseen["test"]


def test_all_programs_are_measured_with_most_training_steps_last():
    listed = programs()
    assert len(listed) == len(XLA_PROGRAMS) + len(NLP_PROGRAMS)
    assert all(program.id == name for name, program in listed.items())
    steps = [name.endswith(("_train", "_tune")) for name in listed]
    assert set(steps[-20:]) == {True} and not all(steps[: len(steps) // 2]) and any(steps[: len(steps) // 2])
