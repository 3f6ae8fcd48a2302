"""What is made anew is compared byte by byte; the maker is played here, and real in `test_with_libtpu`."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages.collect.tpu_data import check, work
from stages.collect.tpu_data.export import export
from stages.collect.tpu_data.plan import Job
from stages.collect.tpu_data.store import Store
from stages.engine.errors import InputError
from tests.support import samples
from tests.support import tpu_records as made

KERNEL = made.kernel("a kernel")


def write(store, times):
    made.write_program(store, made.TEST, (KERNEL,))
    made.write_layouts(store, made.TEST, times)
    made.write_kernel(store, KERNEL, np.linspace(100, 800, 14))


@pytest.fixture
def sample(tmp_path):
    write(Store(tmp_path / "records"), made.spread(36))
    export(Store(tmp_path / "records"), tmp_path / "sample")
    return tmp_path / "sample"


def options(sample, **changed):
    given = {"check": 3, "sample": sample, "programs": ["*"], "seed": 1, "workers": 1, "cache": None, "part": None}
    return Namespace(**(given | changed))


def maker(times, jobs_seen=None):
    """A `work.run` that writes hand-made records."""

    def run(jobs, workers, task):
        for job in jobs:
            if jobs_seen is not None:
                jobs_seen.append(job)
            write(Store(Path(job.records)), times)
            yield job, "done", None

    return run


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_part_is_found_in_the_whole(split):
    whole = samples.layout_arrays(configurations=9)
    part = whole | {name: whole[name][[5, 2]] for name in ("node_config_feat", "config_runtime")}
    committed = whole
    if split == "test":
        line = ";".join(map(str, whole["config_runtime"]))
        committed = whole | {"config_runtime": np.zeros(9, np.int64), "solution": np.array(line)}
    assert check.missing(committed, part) is None
    assert check.missing(committed, part | {"config_runtime": part["config_runtime"] + 1}) == "a run time"
    assert check.missing(committed, part | {"node_config_feat": part["node_config_feat"] + 1}) == "a configuration"
    assert check.missing(committed, part | {"node_opcode": part["node_opcode"] + 1}) == "node_opcode"


def test_of_a_part_the_random_search_alone_is_made_anew(sample, monkeypatch, capsys):
    jobs = []
    monkeypatch.setattr(work, "run", maker(made.spread(36), jobs))
    assert check.run(options(sample, part=7)) == 0
    assert jobs[0].configurations == 7 and not hasattr(jobs[0], "kernels")
    shown = capsys.readouterr().out
    assert "the same in 36 configurations" in shown and "default" not in shown  # as many as the played maker makes


def test_what_is_made_alike_is_the_same(sample, monkeypatch, capsys):
    jobs = []
    monkeypatch.setattr(work, "run", maker(made.spread(36), jobs))
    assert check.run(options(sample)) == 0
    assert capsys.readouterr().out.count("the same") == 3  # two graphs of the program, and a kernel
    program, kernel = jobs
    assert (program.identifier, program.configurations, program.kernels) == (made.TEST, 36, 0)
    assert (kernel.identifier, kernel.key, kernel.windows) == (made.TEST, KERNEL.key, 60)


def test_another_time_is_told_by_the_key_that_differs(sample, monkeypatch, capsys):
    times = made.spread(36)
    times[7] += 1
    monkeypatch.setattr(work, "run", maker(times))
    assert check.run(options(sample)) == 1
    assert capsys.readouterr().out.count("solution differs") == 2  # of a test graph the npz file hides the times


def test_what_cannot_be_made_anew_is_no_success(sample, monkeypatch, capsys):
    monkeypatch.setattr(work, "run", lambda jobs, workers, task: [(job, "failed", "crashed") for job in jobs])
    assert check.run(options(sample)) == 1
    assert "cannot be made anew: crashed" in capsys.readouterr().err


def test_only_programs_that_are_named_are_made(sample):
    with pytest.raises(InputError, match="no graph of resnet"):
        check.run(options(sample, programs=["resnet"]))


def test_a_data_set_that_is_not_there_is_a_fault(tmp_path):
    with pytest.raises(InputError, match="programs.csv: not there"):
        check.run(options(tmp_path))


def test_a_draw_is_told_by_its_seed():
    rows = [("layout:xla:random", f"p{i}") for i in range(9)] + [("tile:xla", f"k{i}") for i in range(9)]
    table = pl.DataFrame(rows, schema=["collection", "id"], orient="row")
    programs, kernels = check.drawn(table, 3, np.random.default_rng(5))
    assert check.drawn(table[::-1], 3, np.random.default_rng(5)) == (programs, kernels)
    assert len(set(programs)) == len(set(kernels)) == 3
    assert all(name.startswith("p") for name in programs) and all(name.startswith("k") for name in kernels)


def test_a_job_of_a_program_is_that_of_the_collector(monkeypatch):
    done = []
    monkeypatch.setattr(work, "perform", lambda job, progress: done.append(job))
    job = Job("p", 5, 0, 0, "r", "c")
    check.perform(job, lambda steps: None)
    assert done == [job]
