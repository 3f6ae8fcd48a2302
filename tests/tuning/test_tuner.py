"""The search with stand-ins for the compiler and the models."""

import json
import zlib

import numpy as np
import pytest

from stages.collect.tpu import search
from stages.collect.tpu.choices import FREE
from stages.collect.tpu_data.store import Tried
from stages.statistics.columns import standardised
from stages.tuning import proposals, tuner
from stages.tuning.attempts import Attempts, Picks, Risk
from stages.tuning.surrogate import Surrogate
from tests.support.tuning import OWN_NS, Rows, additive, toy

JUDGES = ("models", *tuner.BASELINES)


class Judge:
    """Knows the times, but for a noise of its own, and takes what does not compile for fast."""

    def __init__(self, problem):
        self.problem, self.asked, self.seen = problem, 0, set()

    def columns(self, choices):
        self.asked += 1
        self.seen.update(choice.tobytes() for choice in choices)
        times = np.array([self.problem.cost(choice) or OWN_NS / 2 for choice in choices])
        noise = [zlib.crc32(choice.tobytes()) % 1000 for choice in choices]
        return standardised(np.column_stack([times + 3 * np.array(noise)]))


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch):
    monkeypatch.setattr(proposals, "NEWCOMERS", 60)
    monkeypatch.setattr(proposals, "GENERATIONS", 2)
    monkeypatch.setattr(tuner, "SHORTLIST", 40)


def run(problem, folder, name, budget, compile_=None, identity="1"):
    """The attempts of a search in a folder, what was compiled there before taken from there; and its judge."""
    tried = Tried(folder / "tried.jsonl", identity)
    attempts = Attempts(problem.free, problem.own_ns, compile_ or problem.cost, tried, budget)
    judge = Judge(problem)
    try:
        if name == "models":
            picks = Picks(folder / "picks.json", identity)
            tuner.by_judge(problem, judge, Rows(problem), attempts, picks, 0)
        else:
            tuner.by_baseline(name, problem, attempts, 0)
    finally:
        tried.close(keep=True)
    return attempts, judge


def as_lists(attempts):
    return [choice.tolist() for choice in attempts.choices], attempts.times_ns


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize("budget", [1, 7, 25])
def test_the_budget_is_kept_exactly(tmp_path, name, budget):
    compiled = []
    problem = toy()
    attempts, _ = run(problem, tmp_path, name, budget, lambda choice: compiled.append(1) or problem.cost(choice))
    assert len(compiled) == len(attempts.choices) == len(attempts.times_ns) == budget
    assert len({choice.tobytes() for choice in attempts.choices}) == budget  # none is compiled twice
    assert not any((choice == FREE).all() for choice in attempts.choices)  # the compiler's own is known


@pytest.mark.parametrize("name", JUDGES)
def test_the_budget_counts_what_does_not_compile(tmp_path, name):
    cost = additive(3, len(toy().slots))
    problem = toy(lambda choice: None if (choice[::3] == 1).any() else cost(choice))
    attempts, _ = run(problem, tmp_path, name, 20)
    assert len(attempts.times_ns) == 20 and None in attempts.times_ns


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize("at", [0, 1, 4, 17])
def test_a_search_that_was_killed_ends_as_one_that_was_not(tmp_path, name, at):
    problem, left = toy(), [at]

    def dying(choice):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return problem.cost(choice)

    with pytest.raises(KeyboardInterrupt):
        run(problem, tmp_path / "cut", name, 25, dying)
    recompiled = []
    again, _ = run(problem, tmp_path / "cut", name, 25, lambda choice: recompiled.append(1) or problem.cost(choice))
    whole, _ = run(problem, tmp_path / "whole", name, 25)
    assert as_lists(again) == as_lists(whole)
    assert len(recompiled) == 25 - at


def test_more_compilations_go_on_where_fewer_ended(tmp_path):
    problem = toy()
    few, _ = run(problem, tmp_path / "one", "models", 10)
    more, judge = run(problem, tmp_path / "one", "models", 25)
    whole, at_once = run(problem, tmp_path / "other", "models", 25)
    assert as_lists(more) == as_lists(whole)
    assert as_lists(few)[0] == as_lists(more)[0][:10]
    assert judge.asked < at_once.asked  # rounds that were picked are not judged again


def test_picks_and_times_of_another_program_are_thrown_away(tmp_path):
    problem = toy()
    run(problem, tmp_path, "models", 10)
    compiled = []
    other = toy(additive(5, len(problem.slots)))
    attempts, _ = run(other, tmp_path, "models", 10, lambda each: compiled.append(1) or other.cost(each), "2")
    assert len(compiled) == 10
    assert as_lists(attempts) == as_lists(run(other, tmp_path / "fresh", "models", 10, None, "2")[0])


def test_picks_that_were_cut_off_are_made_again(tmp_path):
    problem = toy()
    whole, _ = run(problem, tmp_path, "models", 10)
    path = tmp_path / "picks.json"
    path.write_text(path.read_text()[:-20])
    assert as_lists(run(problem, tmp_path, "models", 10)[0]) == as_lists(whole)
    assert len(json.loads(path.read_text())["rounds"]) == 4  # of 3, 3, 3 and one


def test_a_third_of_a_round_is_compiled_whatever_the_judge_says(tmp_path):
    problem = toy()
    judge, judged = Judge(problem), []

    def compile_(choice):
        judged.append(choice.tobytes() in judge.seen)
        return problem.cost(choice)

    attempts = Attempts(problem.free, problem.own_ns, compile_, Tried(tmp_path / "tried.jsonl", "1"), 18)
    tuner.by_judge(problem, judge, Rows(problem), attempts, Picks(tmp_path / "picks.json", "1"), 0)
    assert judged == [True, True, False] * 6


def test_with_a_judge_that_knows_more_is_found_than_without(tmp_path):
    found = {}
    for name in JUDGES:
        attempts, _ = run(toy(), tmp_path / name, name, 30)
        found[name] = attempts.best[1]
    assert found["models"] < min(found["random"], found["evolution"]) < OWN_NS


def test_where_nothing_is_faster_the_compilers_own_is_best(tmp_path):
    problem = toy(lambda choice: OWN_NS + 10.0 * (choice != FREE).sum())
    attempts, _ = run(problem, tmp_path, "models", 12)
    choice, time_ns = attempts.best
    assert (choice == FREE).all() and time_ns == OWN_NS


@pytest.mark.parametrize("name", JUDGES)
def test_a_small_program_ends_when_nothing_is_new(tmp_path, name):
    problem = toy()
    del problem.slots[2:]
    attempts, _ = run(problem, tmp_path, name, 50)
    assert 1 <= len(attempts.times_ns) <= 8  # of two slots with two layouts or none, what the compiler does left out


def test_rounds_grow_with_what_is_compiled():
    assert [tuner.round_size(count) for count in (0, 9, 20, 100)] == [3, 3, 4, 20]


def test_blame_goes_to_what_never_compiled():
    kinds = np.array([0, 0, 1, 1])
    good = [np.array([-1, -1, -1, -1]), np.array([0, -1, 0, -1])]
    failed = [np.array([0, 1, 0, -1]), np.array([-1, 1, -1, 0])]
    risk = Risk(kinds, good, failed)
    assert risk.of(np.array([-1, -1, -1, -1])) == 0
    assert risk.of(np.array([0, -1, 0, -1])) == 0  # as one that compiled
    assert risk.of(np.array([-1, 1, -1, -1])) > 0.9  # alone suspected in the first
    assert risk.of(np.array([-1, -1, -1, 0])) < 0.2  # the second failed by the other
    assert 0 < risk.of(np.array([1, -1, -1, -1])) < 1  # of a kind of which another failed
    assert 0 < risk.of(np.array([-1, -1, -1, 5])) < 1  # nothing is known of it


def test_without_failures_nothing_is_risky():
    risk = Risk(np.zeros(3), [np.array([-1, 0, 1])], [])
    assert risk.of(np.array([1, 1, 1])) == 0


def test_the_surrogate_learns_which_tensor_is_slow():
    """Two slots matter; what was compiled tells them apart, though the judge says nothing."""
    problem = toy(lambda choice: OWN_NS + 5000.0 * (choice[0] == 1) - 5000.0 * (choice[1] == 1))
    rng = np.random.default_rng(0)
    compiled = [problem.free, *(search.scattered(problem.slots, 0.3, rng) for _ in range(40))]
    slow, fast = problem.free, problem.free
    slow[0], fast[1] = 1, 1
    times = [problem.cost(choice) for choice in compiled]
    surrogate = Surrogate(Rows(problem), [*compiled, slow, fast, problem.free], times, np.zeros((44, 1)))
    slow_mean, fast_mean, own_mean = surrogate.mean
    assert fast_mean < own_mean < slow_mean
    assert surrogate.batch(1) == [1] and sorted(surrogate.batch(9)) == [0, 1, 2]


def test_a_batch_holds_no_twins():
    problem = toy()
    one, twin, other = problem.free, problem.free, problem.free
    one[:20] = twin[:20] = 1
    twin[0] = -1
    other[40:60] = 1
    columns = np.array([[0.0], [-1.0], [-1.0], [-0.9]])
    surrogate = Surrogate(Rows(problem), [problem.free, one, twin, other], [OWN_NS], columns)
    first, second = surrogate.batch(2)
    assert {first, second} in ({0, 2}, {1, 2})
