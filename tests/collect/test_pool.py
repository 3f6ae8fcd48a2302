"""One worker process a core: every job is reported once, whatever its worker does."""

import itertools
import os

from stages.collect import pool


def core():
    return min(os.sched_getaffinity(0))


def test_pool_reports_every_job_once_over_a_retirement_a_fault_and_a_death(task, tmp_path):
    good = [f"good{number:02d}" for number in range(pool.GRAPHS_A_WORKER + 2)]
    jobs = [*good, "raise", "mute", "die", "last"]
    events = list(pool.run(jobs, task, [core()]))
    ends = [(kind, job, reason) for kind, job, reason in events if kind != "tick"]
    assert ends == [
        *(("done", job, None) for job in good),
        ("failed", "raise", "ValueError: the first line"),
        ("failed", "mute", "AssertionError: "),
        ("later", "die", "the worker process died"),
        ("done", "last", None),
    ]
    ticks = [job for kind, job, _ in events if kind == "tick"]
    assert ticks == sorted([*good, *good]) + ["raise", "mute", "die", "last", "last"]
    processes = [(tmp_path / "log" / job).read_text() for job in jobs]
    runs = [len(list(run)) for _, run in itertools.groupby(processes)]
    assert runs == [pool.GRAPHS_A_WORKER, 5, 1]


def test_pool_with_a_death_on_one_core_goes_on_and_ends_on_a_full_worker(task):
    jobs = ["die1", *(f"good{number}" for number in range(pool.GRAPHS_A_WORKER))]
    ends = [(kind, job) for kind, job, _ in pool.run(jobs, task, [core()]) if kind != "tick"]
    assert ends == [("later", "die1"), *(("done", job) for job in jobs[1:])]


def test_pool_with_two_workers_and_with_no_job(task):
    jobs = ["a", "raise", "b", "die", "c"]
    ends = sorted((job, kind) for kind, job, _ in pool.run(jobs, task, [core(), core()]) if kind != "tick")
    assert ends == [("a", "done"), ("b", "done"), ("c", "done"), ("die", "later"), ("raise", "failed")]
    assert list(pool.run([], task, [core()])) == []
