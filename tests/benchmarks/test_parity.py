"""The parity command on a made-up original, which a driver of a few lines runs in a process of its own."""

import csv
import sys

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.parity import __main__ as command
from benchmarks.parity import cases, graphs
from benchmarks.parity.compare import difference, rounded
from stages.winners import parts
from stages.winners.parts import Prepared, Recipe, Training

DRIVER = """
import sys
sys.path.insert(0, {exchange!r})
import exchange
import numpy as np

def results(original, case):
    exchange.on_path(original)
    import model  # a name that others have too
    file = np.load(case.path("chosen"))
    weight = case["weight/theirs.weight"]
    x = file["config_feat"]
    score = model.score(x, weight)
    return {{
        "features": file["node_feat"],
        "configurations": x,
        "float32/scores": score,
        "float32/loss": score.mean(),
        "float32/gradient/theirs.weight": x.mean(0)[None],
        "float32/step/theirs.weight": weight - 0.1 * x.mean(0)[None],
    }}

exchange.main(results)
"""


class Linear(parts.Network):
    def __init__(self):
        super().__init__()
        self.own = nn.Linear(24, 1, bias=False)

    def forward(self, inputs):
        return self.own(inputs.config).squeeze(-1)


RECIPE = Recipe(
    name="made up",
    settings=lambda collection: (Training(),),
    fit=parts.fit_nothing,
    prepare=lambda graph, fitted: Prepared(
        graph, graph.node_feat, np.zeros((graph.nodes, 6)), config=graph.config_feat
    ),
    build=lambda settings, fitted: Linear(),
    labels=lambda graph, fitted: graph.target.astype(np.float32),
    loss=lambda scores, labels: scores.mean(),
    optimizer=lambda network, settings: torch.optim.SGD(network.parameters(), lr=0.1),
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Clones with the made-up original, and the command told of it alone."""
    drivers = tmp_path / "drivers"
    drivers.mkdir()
    (drivers / "made_up.py").write_text(DRIVER.format(exchange=str(command.DRIVERS)))
    names = [(r"own\.", "theirs.")]
    # As one that needs TensorFlow, because steps of those alone are compared in float32.
    case = cases.Case("made up", RECIPE, "tile:xla", "original", "made_up", names, tensorflow=True)
    missing = cases.Case("not cloned", RECIPE, "tile:xla", "elsewhere", "made_up", names)
    monkeypatch.setattr(command, "CASES", (case, missing))
    monkeypatch.setattr(command, "DRIVERS", drivers)
    (tmp_path / "clones" / "original").mkdir(parents=True)
    (tmp_path / "clones" / "original" / "model.py").write_text(
        "def score(x, weight):\n    return (x @ weight.T)[:, 0]\n"
    )
    return tmp_path


def run(folder, *more):
    out = folder / "parity.csv"
    status = command.main([str(folder / "clones"), "--out", str(out), "--tensorflow", sys.executable, *more])
    with open(out, newline="") as file:
        return status, {row["what"]: row for row in csv.DictReader(file)}


def test_an_equal_original_differs_by_nothing(folder, capsys):
    status, rows = run(folder)
    assert status == 0
    assert list(rows) == ["features", "configurations", "outputs", "loss", "gradients", "step"]
    assert all(float(row["largest_difference"]) < 1e-4 for row in rows.values())
    assert {row["graph"] for row in rows.values()} == {"synthetic"}
    assert rows["outputs"]["note"].startswith("float32; largest ")
    shown = capsys.readouterr()
    assert len([line for line in shown.out.splitlines() if line.startswith("made up")]) == 6
    (line,) = shown.err.splitlines()
    assert line.startswith("not cloned: ") and "elsewhere is missing" in line


def test_another_original_shows(folder):
    (folder / "clones" / "original" / "model.py").write_text(
        "def score(x, weight):\n    return (x @ weight.T)[:, 0] + 1\n"
    )
    rows = run(folder)[1]
    assert float(rows["outputs"]["largest_difference"]) == pytest.approx(1, rel=1e-3)
    assert float(rows["gradients"]["largest_difference"]) < 1e-4


def test_an_original_that_does_not_run_is_a_line(folder, capsys):
    (folder / "clones" / "original" / "model.py").write_text("import no_such_library\n")
    status, rows = run(folder)
    assert status == 0 and not rows
    assert "made up, synthetic: the original did not run: ModuleNotFoundError" in capsys.readouterr().err


def test_rows_of_other_recipes_stay(folder):
    out = folder / "parity.csv"
    out.write_text("recipe,what,graph,largest_difference,note\nother,outputs,g,0,\nmade up,old,g,0,\n")
    rows = run(folder, "--only", "made up")[1]
    assert "old" not in rows and rows["outputs"]["recipe"] in ("made up", "other")
    assert "other," in out.read_text()


def test_real_graphs_are_those_that_are_there(tmp_path):
    first = graphs.REAL["tile:xla"][2]
    path = tmp_path / "npz_all" / "npz" / f"{first}.npz"
    path.parent.mkdir(parents=True)
    arrays = graphs.synthetic_tile(3)
    np.savez(path, **(arrays | {"config_runtime": np.zeros_like(arrays["config_runtime"])}))
    real, synthetic = graphs.graphs("tile:xla", tmp_path)
    assert (real.name, real.note, synthetic.name) == (path.stem, "run times made up", "synthetic")
    assert len(np.unique(real.arrays["config_runtime"])) == len(arrays["config_runtime"])


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([1, 2], [1, 2.5], 0.5),
        ([1, 2], [1], float("inf")),
        ([1, float("nan")], [1, 2], float("inf")),
        ([float("nan")], [float("nan")], 0),
    ],
)
def test_difference(ours, theirs, expected):
    assert difference(np.array(ours), np.array(theirs)) == expected


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [([2000.1, 0.5], [2000, 0.5], True), ([2000, 0.5], [2000, 0.5002], False), ([1, 2], [1], False)],
)
def test_rounding_is_measured_in_each_numbers_own_size(ours, theirs, expected):
    assert rounded(np.array(ours), np.array(theirs)) is expected


def test_names_of_all_recipes_lead_to_one_weight_each():
    for case in cases.CASES:
        ours = ["opcodes.weight", "head.0.weight", "head.weight", "messages.0.lin_l.weight"]
        assert len({case.theirs(name) for name in ours}) == len(ours), case.name
