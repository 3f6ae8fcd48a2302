"""SIZE=full of every recipe on tiny data: it tells what it needs, refuses what cannot fit, and takes its first step."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.graphs.collection import COLLECTIONS
from stages.studies import recipes
from stages.winners.training import NAMES, needs, solutions
from stages.winners.training.trainer import Trainer
from tests.support import samples

PROJECT = Path(__file__).parents[2]
CONFIGURATIONS = 20  # of a graph; with fewer than 16 some recipes have nothing to train on


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    path = tmp_path_factory.mktemp("project")
    samples.write_root(path / "data" / "sample", {"train": 2, "valid": 1, "test": 1}, configurations=CONFIGURATIONS)
    shutil.copytree(PROJECT / "recipes", path / "recipes")
    shutil.copy(PROJECT / "params.yaml", path)
    return path


@pytest.fixture
def measured(monkeypatch):
    """The rates that were measured, once each; and on how many threads."""
    measure, found, threads = needs.measured, {}, set()

    def once(trainer, settings):
        threads.add(torch.get_num_threads())
        if trainer.name not in found:
            found[trainer.name] = measure(trainer, settings)
        return found[trainer.name]

    monkeypatch.setattr(needs, "measured", once)
    return found, threads


def rows(out):
    """Network -> (trained, steps, hours, GiB) of the table that is shown before a run."""
    cells = [[cell.strip() for cell in line.strip("│").split("┆")] for line in out.splitlines() if line.startswith("│")]
    header = cells[0]
    wanted = [header.index(name) for name in ("trained", "steps", "hours", "GiB")]
    return {row[0]: tuple(float(row[place]) for place in wanted) for row in cells[1:]}


@pytest.mark.parametrize("name", NAMES)
def test_full_size_tells_refuses_and_starts(name, project, measured, monkeypatch, capsys):
    models = {model.name: model for model in solutions.models(name, "full", COLLECTIONS)}
    place = project / "data" / "recipes" / name / "full"
    rates, threads = measured

    def run(*more):
        return recipes.main([name, "--size", "full", "--workers", "1", *more], project)

    assert run("--hours", "1e-9") == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("hours: the run needs about") and shown.err.count("\n") == 1
    assert "instead of" not in shown.out and "hours at most" in shown.out
    told = rows(shown.out)
    assert told.keys() == models.keys()
    for each, (trained, steps, _, memory) in told.items():
        assert trained == models[each].networks and memory * needs.GIB > needs.BASE
        assert steps == models[each].settings.steps or steps >= models[each].settings.epochs
    assert threads == {1}  # as a network is trained
    assert all(rate.parameters > 10_000 and rate.kept > 0 and rate.step(1e9) > 0 for rate in rates.values())

    with monkeypatch.context() as poor:
        poor.setattr(needs, "available", lambda device: 2**20)
        assert run() == 1
    err = capsys.readouterr().err
    assert err.partition(":")[0] in models and "GiB of memory, and 0.0 are free; take a larger machine" in err
    assert not place.exists()

    advance, begun = Trainer._advance, []

    def first(self):
        advance(self)
        begun.append(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_advance", first)
    assert run() == 130
    (trainer,) = begun
    assert np.isfinite(trainer.progress.loss) and trainer.settings == models[trainer.name].settings
    assert trainer.plan.steps == told[trainer.name][1]
    written = json.loads((place / "settings.json").read_text())
    assert (written["size"], written["models"].keys()) == ("full", models.keys())
    assert not (place / "submission.csv").exists()
