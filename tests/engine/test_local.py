"""Tasks on the cores of this machine."""

import os

import pytest

from stages.engine.engine import Engine
from stages.engine.errors import InputError
from tests.support.tasks import broken, killed, refused, square

LOWER = "gnn.configurations"


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


@pytest.mark.parametrize("knobs", [{}, {"parallel": 1}, {"threads": True}, {"parallel": 2}])
def test_results_are_those_of_the_tasks_in_their_order(knobs):
    found = list(Engine().ordered(square, range(7), memory_knob=LOWER, **knobs))
    assert [result for result, _ in found] == [0, 1, 4, 9, 16, 25, 36]
    here = {process == os.getpid() for _, process in found}
    assert here == {knobs == {"parallel": 1} or "threads" in knobs}


def test_nothing_to_do_is_done():
    assert list(Engine().spread(square, [], memory_knob=LOWER)) == []


def test_a_killed_process_is_told_with_what_to_lower():
    with pytest.raises(
        InputError, match=r"^a process was killed, .*; lower gnn\.configurations, or run again, it goes on"
    ):
        list(Engine().spread(killed, range(2), memory_knob=LOWER))


@pytest.mark.parametrize("parallel", [1, 2])
def test_errors_are_the_functions_own(parallel):
    with pytest.raises(InputError, match=r"^file \d: is empty; leave it out$"):
        list(Engine().spread(refused, range(3), memory_knob=LOWER, parallel=parallel))
    with pytest.raises(ZeroDivisionError):
        list(Engine().spread(broken, range(3), memory_knob=LOWER, parallel=parallel))
