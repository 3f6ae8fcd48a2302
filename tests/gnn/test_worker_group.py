"""Training over several processes beside training in one: the same weights but for rounding."""

from contextlib import contextmanager
from datetime import timedelta

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import distributed, multiprocessing

from stages.gnn.checkpoint import Checkpoint
from stages.gnn.training import deterministic
from tests.gnn.test_checkpoint import fresh
from tests.support import networks
from tests.support.graphs import LAYOUT, TILE, TINY, TINY_SEGMENTS, prepared, sample

PROCESSES = 2
#: moves all scores of a graph alike: its true slope is 0, and AdamW makes steps of what rounding leaves of that
FREE = "head.2.bias"
VARIANTS = {
    "full": (LAYOUT, {"graphs": 2}),
    "gst": (LAYOUT, TINY_SEGMENTS | {"gst": "gst", "graphs": 3}),
    "gst+efd, average": (LAYOUT, TINY_SEGMENTS | {"gst": "gst+efd", "graphs": 4, "average": 0.9}),
    "tile": (TILE, {"graphs": 3}),
}
LEFT = "gst+efd, average"  # the variant of the training that a team leaves in its middle
STOPPED = "stopped"


def settings(name):
    collection, knobs = VARIANTS[name]
    small = TINY | {"epochs": 3, "configurations": 5, "dropout": 0.0, "loss": "logistic"}
    return collection, networks.settings(**small | knobs)


def trained(name, folder):
    """Train on four graphs, one of them with nothing to rank, and watch one; keep how it ended."""
    collection, chosen = settings(name)
    graphs = [
        sample(collection, seed, nodes=9 + seed, configurations=1 if seed == 2 else 6 + seed) for seed in range(5)
    ]
    with deterministic(1):
        run = fresh(prepared(graphs, chosen), chosen, collection)
        checkpoint = Checkpoint(folder / "checkpoint", "identity")
        checkpoint.restore(run)
        after = run.run(lambda: checkpoint.after_step(run))
    rank = run.group.rank
    weights = {name: value.numpy() for name, value in run.network.state_dict().items()}
    curve = {key: np.array([row[key] for row in after], float) for key in ("epoch", "loss", "valid")}
    rows = {"rows": np.array(0 if run.history is None else len(run.history.array))}
    save_file(weights | curve | rows, folder / f"{rank}.safetensors")


@contextmanager
def connected(rank, folder):
    """This process as one of a team, which meets in the folder."""
    known = {"init_method": f"file://{folder}/meeting", "rank": rank, "world_size": PROCESSES}
    distributed.init_process_group("gloo", timeout=timedelta(seconds=120), **known)
    yield
    distributed.destroy_process_group()


def member(rank, folders):
    """All trainings of a process of the team, one after the other: to start it takes longer than they do."""
    for name, folder in folders.items():
        with connected(rank, folder):
            stopped(rank, folder) if name == STOPPED else trained(name, folder)


@pytest.fixture(scope="module")
def teams(tmp_path_factory):
    """The folder of each training that a team of processes has made, and of the one that it left in its middle."""
    folders = {name: tmp_path_factory.mktemp("team") for name in (*VARIANTS, STOPPED)}
    multiprocessing.spawn(member, (folders,), PROCESSES)
    return folders


@pytest.fixture(scope="module", params=VARIANTS)
def both(request, teams, tmp_path_factory):
    """How a training in one process ended, and how each process of a team's did."""
    alone, team = tmp_path_factory.mktemp("alone"), teams[request.param]
    trained(request.param, alone)
    ends = [load_file(path) for path in (alone / "0.safetensors", *sorted(team.glob("*.safetensors")))]
    return request.param, team, ends


def test_the_weights_are_those_of_one_process(both):
    _, _, (alone, *team) = both
    assert len(team) == PROCESSES
    for member in team:
        assert set(member) == set(alone)
        for name in set(alone) - {"rows", FREE}:
            np.testing.assert_allclose(member[name], alone[name], rtol=2e-4, atol=2e-5, err_msg=name)


def test_every_process_has_the_same_bits(both):
    _, _, (_, first, second) = both
    assert all(first[name].tobytes() == second[name].tobytes() for name in set(first) - {"rows"})


def test_the_table_is_dealt_out(both):
    name, _, (alone, first, second) = both
    assert first["rows"] + second["rows"] == alone["rows"]
    assert (first["rows"] > 0) == (second["rows"] > 0) == ("+" in name)


def test_one_process_goes_on_from_a_teams_checkpoint(both, tmp_path):
    """The team left a finished training, which is the same to whoever reads it."""
    name, team, (_, first, _) = both
    (tmp_path / "checkpoint").write_bytes((team / "checkpoint").read_bytes())
    trained(name, tmp_path)
    again = load_file(tmp_path / "0.safetensors")
    assert all(again[name].tobytes() == first[name].tobytes() for name in set(first) - {"rows"})


def stopped(rank, folder):
    """A team that is asked to leave at its second step: by one of its members, not the one that leads."""
    collection, chosen = settings(LEFT)
    graphs = [sample(collection, seed, nodes=9 + seed, configurations=6 + seed) for seed in range(5)]
    with deterministic(1):
        run = fresh(prepared(graphs, chosen), chosen, collection)
        checkpoint, steps = Checkpoint(folder / "checkpoint", "identity"), []

        def after_step():
            steps.append(1)
            if len(steps) == 2 and rank == 1:
                checkpoint.ask()
            checkpoint.after_step(run)

        with pytest.raises(SystemExit):
            run.run(after_step)
        assert len(steps) == 2


def test_one_process_goes_on_from_the_middle_of_a_teams_training(teams):
    """The table of embeddings is whole in the checkpoint, whoever kept which part of it."""
    collection, chosen = settings(LEFT)
    graphs = [sample(collection, seed, nodes=9 + seed, configurations=6 + seed) for seed in range(5)]
    ends = []
    for restored in (True, False):
        with deterministic(1):
            run = fresh(prepared(graphs, chosen), chosen, collection)
            if restored:
                assert Checkpoint(teams[STOPPED] / "checkpoint", "identity").restore(run)
                assert (run.progress.epoch, run.progress.step) == (3, 0)
            run.run()
            ends.append({name: value.clone() for name, value in run.network.state_dict().items()})
    for name in set(ends[0]) - {FREE}:
        torch.testing.assert_close(ends[0][name], ends[1][name], rtol=2e-4, atol=2e-5)
