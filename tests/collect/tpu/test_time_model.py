import numpy as np
import pytest

from stages.collect.tpu import time_model
from stages.collect.tpu.real_runs import FILE, fitted, row, runs_of, weights_of
from stages.collect.tpu.schedule import Copy, Schedule
from stages.collect.tpu.time_model import CLOCK, Constants, Terms
from stages.engine.errors import InputError

#: nothing but bandwidth, and one side hidden by the other whole
PLAIN = Constants(bandwidth=100.0, piece_ns=0.0, step_ns=0.0, launch_ns=0.0, command_cycles=0.0, overlap=60.0)


def copy(inward=True, count=4, size=1000.0, pieces=1.0, commands=0.0, pipelined=True):
    return Copy(inward, 0, count, size, pieces, commands, pipelined)


def time(cycles, steps, copies, **changed):
    constants = Constants(**{**vars(PLAIN), **changed})
    (estimate,) = time_model.times_ns(Terms.of([Schedule(cycles, steps, 10, tuple(copies), 0)]), constants)
    return pytest.approx(estimate, rel=1e-6)


def test_the_longer_of_two_and_what_has_nothing_beside_it():
    # 4 copies of 10 ns; computing 4 × 94 cycles of 100 ns a step: the first copy has nothing beside it.
    assert time(4 * 94, 4, [copy()]) == 400 + 10
    # Computing 4 × 5 ns under copies of 40 ns: the last step's computing has nothing beside it.
    assert time(4 * 5 * CLOCK, 4, [copy()]) == 40 + 5


def test_each_constant_counts_what_it_says():
    moved = [copy(pieces=3.0), copy(inward=False, count=2, size=500.0)]
    bare = 4 * 10 + 2 * 5
    assert time(0, 4, moved) == bare
    assert time(0, 4, moved, piece_ns=7.0) == bare + 4 * 3 * 7 + 2 * 7
    assert time(0, 4, moved, step_ns=3.0) == bare + 4 * 3
    assert time(0, 4, moved, launch_ns=500.0) == bare + 500
    commands = [copy(commands=6.0)]
    assert time(0, 4, commands, command_cycles=94.0) == 4 * 6 * 100 + 10


def test_copies_outside_the_pipeline_hide_nothing_and_code_without_copies_has_no_launch():
    assert time(4 * 94, 4, [copy(), copy(pipelined=False, count=1, size=300.0)]) == 400 + 10 + 3
    assert time(94, 1, [], launch_ns=500.0, step_ns=50.0) == 100


def test_times_of_many_are_those_of_each():
    schedules = [
        Schedule(900.0, 3, 10, (copy(count=3), copy(False, 3, 200.0, 2.0)), 0),
        Schedule(10.0, 1, 10, (), 0),
        Schedule(50.0, 5, 10, (copy(count=5, size=9000.0, commands=4.0),), 0),
    ]
    together = time_model.times_ns(Terms.of(schedules))
    assert together == pytest.approx([time_model.times_ns(Terms.of([each]))[0] for each in schedules])
    record = {"schedules": [schedule.record() for schedule in schedules]}
    assert time_model.kernel_ns(record) == pytest.approx(together.sum())
    assert time_model.kernel_ns({"schedules": []}) == 0


def test_physics_of_the_constants():
    constants = time_model.CONSTANTS
    assert 0.8 * 450 < constants.bandwidth <= 450  # one core's half of a chip's 900 GB/s
    assert 1 <= constants.overlap


def test_row_judges_the_order_and_the_size():
    measured = np.array([100.0, 200, 300, 400, 500, 600])
    judged = row("k", np.array([500.0, 100, 200, 300, 400, 600]), measured)
    assert judged.first == pytest.approx(1.0)  # its first choice takes 200
    assert judged.five == pytest.approx(0.0)
    assert judged.tau == pytest.approx((15 - 2 * 4) / 15)
    assert judged.ratio == pytest.approx(np.median([5, 0.5, 2 / 3, 0.75, 0.8, 1]))
    assert row("k", measured[:4], measured[:4]).tau is None


def test_fit_finds_the_constants_that_made_the_times():
    rng = np.random.default_rng(0)
    schedules = [
        Schedule(
            float(rng.integers(1, 10**5)), steps, 9, (copy(count=steps, size=float(rng.integers(10**3, 10**6))),), 0
        )
        for steps in rng.integers(1, 50, 60)
    ]
    terms = Terms.of(schedules)
    true = Constants(**{**vars(time_model.CONSTANTS), "bandwidth": 300.0, "launch_ns": 800.0})
    found = fitted(terms, time_model.times_ns(terms, true), np.ones(60))
    estimates = time_model.times_ns(terms, found)
    assert np.abs(np.log(estimates / time_model.times_ns(terms, true))).mean() < 0.02


def test_weights_give_small_kernels_their_say():
    weights = weights_of(np.array([0, 0, 0, 1]))
    assert weights.sum() == pytest.approx(1)
    assert weights[3] == pytest.approx(0.5 / 4 + 0.5 / 2) and weights[0] == pytest.approx(0.5 / 4 + 0.5 / 6)


def test_missing_and_broken_files_are_one_line(tmp_path):
    pytest.importorskip("jaxlib")
    with pytest.raises(InputError, match=FILE):
        runs_of(tmp_path)
    (tmp_path / FILE).write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match=f"{FILE}: not a file of tuning data"):
        runs_of(tmp_path)
