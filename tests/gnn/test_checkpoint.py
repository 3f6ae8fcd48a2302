"""Trainings that are cut short go on with the same bytes."""

import copy
import os
import signal
import time

import pytest

from stages.gnn import checkpoint as checkpoints
from stages.gnn import tasks
from stages.gnn.checkpoint import Checkpoint
from stages.gnn.network import build
from stages.gnn.training import Training, deterministic
from tests.support import networks
from tests.support.graphs import (
    LAYOUT,
    TILE,
    TINY,
    TINY_SEGMENTS,
    prepared,
    sample,
)


def fresh(statics, chosen, collection=LAYOUT, seed=1):
    """A training that has not begun, as the stage makes it."""
    network = build(collection, statics[0], chosen)
    return Training(network, statics[:-1], statics[-1:], chosen, collection, seed)


def outcome(run):
    return run.progress.curve, {name: value.numpy().tobytes() for name, value in run.network.state_dict().items()}


CUT_SHORT = {
    "full": (LAYOUT, {}),
    "full, average": (LAYOUT, {"average": 0.9, "sampling": "spread", "messages": "gatv2"}),
    "gst": (LAYOUT, {"gst": "gst"}),
    "gst+e": (LAYOUT, {"gst": "gst+e"}),
    "gst+efd, average": (LAYOUT, {"gst": "gst+efd", "average": 0.9}),
    "tile": (TILE, {"average": 0.9}),
}


@pytest.mark.parametrize("name", CUT_SHORT)
def test_a_training_cut_short_after_every_step_ends_with_the_same_bytes(tmp_path, name):
    """Each step in a training of its own, which goes on from the file that the one before left on SIGTERM."""
    collection, knobs = CUT_SHORT[name]
    chosen = networks.settings(**TINY | TINY_SEGMENTS | {"epochs": 3, "configurations": 5} | knobs)
    graphs = [sample(collection, seed, nodes=9 + seed) for seed in range(4)]  # three to train on, in steps of 2 and 1
    statics = prepared(graphs, chosen)
    with deterministic(1):
        whole = fresh(statics, chosen, collection)
        steps = []
        whole.run(lambda: steps.append(whole.progress.part))
    expected = outcome(whole)
    cuts, run = [], None
    while run is None or run.progress.part != "done":
        checkpoint = Checkpoint(tmp_path / "file", "identity")
        with deterministic(1):
            run = fresh(statics, chosen, collection)
            assert checkpoint.restore(run) == bool(cuts)
            checkpoint.ask()
            with pytest.raises(SystemExit) as left:
                run.run(lambda: checkpoint.after_step(run))  # noqa: B023, called before they change
            assert left.value.code == 128 + signal.SIGTERM
        cuts.append(run.progress.part)
        assert len(cuts) <= len(steps)
    assert cuts == steps and ("head" in steps) == ("f" in chosen.gst.removeprefix("full"))
    assert outcome(run) == expected
    with deterministic(1):
        again = fresh(statics, chosen, collection)
        assert Checkpoint(tmp_path / "file", "identity").restore(again)
        again.run()
    assert outcome(again) == expected  # nothing is left to do


@pytest.mark.parametrize("cut", [1, 4, 5, 8, 9])
def test_a_training_that_dies_without_warning_goes_on_from_the_last_state(cut):
    """Also where steps were taken after the state that is gone on from."""
    chosen = networks.settings(**TINY | TINY_SEGMENTS | {"gst": "gst+ef", "average": 0.5, "graphs": 1})
    statics = prepared([sample(LAYOUT, seed) for seed in range(3)], chosen)
    with deterministic(1):
        whole = fresh(statics, chosen)
        count, kept = [0], []

        def after_step():
            count[0] += 1
            if count[0] == cut:
                kept.append(copy.deepcopy(whole.state()))

        whole.run(after_step)
    assert count[0] == 9  # two epochs of two steps for each part, and the end
    with deterministic(1):
        run = fresh(statics, chosen)
        run.resume(*kept[0])
        run.run()
    assert outcome(run) == outcome(whole)


def test_a_checkpoint_is_refused_where_it_is_missing_damaged_or_anothers(tmp_path):
    chosen = networks.settings(**TINY)
    statics = prepared([sample(LAYOUT, seed) for seed in range(4)], chosen)
    path = tmp_path / "folder" / "file"
    checkpoint = Checkpoint(path, "mine")
    run = fresh(statics, chosen)
    assert not checkpoint.restore(run)
    checkpoint.ask()
    with pytest.raises(SystemExit):
        run.run(lambda: checkpoint.after_step(run))
    whole = path.read_bytes()
    untouched = fresh(statics, chosen)
    before = outcome(untouched)
    assert not Checkpoint(path, "another's").restore(untouched)
    for content in (b"", whole[:7], whole[: len(whole) // 2], whole[:-1], b"x" * len(whole)):
        path.write_bytes(content)
        assert not Checkpoint(path, "mine").restore(untouched)
    assert outcome(untouched) == before and untouched.progress.step == 0
    path.write_bytes(whole)
    assert Checkpoint(path, "mine").restore(untouched) and untouched.progress.step == 1


def test_a_checkpoint_is_written_now_and_then_and_at_the_end(tmp_path, monkeypatch):
    """Not at every step: writing takes a twentieth of the time at most."""
    chosen, now, writes = networks.settings(**TINY), [0.0], []
    run = fresh(prepared([sample(LAYOUT)] * 2, chosen), chosen)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(checkpoints.files, "replace", lambda path, content: (writes.append(now[0]), slow()))

    def slow():
        now[0] += 1

    checkpoint = Checkpoint(tmp_path / "file", "mine")
    for second in range(60):
        now[0] = max(now[0], second)
        checkpoint.after_step(run)
    assert writes == [5, 26, 47]  # the first after five seconds, others twenty times as long after as one takes
    run.progress.part = "done"
    checkpoint.after_step(run)
    assert len(writes) == 4


def test_sigterm_asks_for_a_checkpoint_and_is_handled_as_before_afterwards(tmp_path):
    chosen = networks.settings(**TINY)
    run = fresh(prepared([sample(LAYOUT)] * 2, chosen), chosen)
    checkpoint = Checkpoint(tmp_path / "file", "mine")
    checkpoint.after_step(run)
    assert not checkpoint.path.exists()
    before = signal.getsignal(signal.SIGTERM)
    with tasks._on_sigterm(checkpoint.ask):
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(SystemExit):
            checkpoint.after_step(run)
    assert checkpoint.path.exists() and signal.getsignal(signal.SIGTERM) == before
