"""What a run takes from an earlier one, and what makes it train again."""

import shutil
from pathlib import Path

import pytest

from stages.engine import code, elapsed_times, kept
from stages.gbdt import explanation, stage, training
from stages.graphs import dataset
from tests.support import trees
from tests.support.trees import LAYOUT, files, packed

SMALL = {"seeds": 1, "folds": 2, "trees": 3, "min_leaf": 8, "objectives": ["pointwise", "ridge"]}
#: modules that shape what a page shows of a training, below stages/
PAGE = ["gbdt/report.py", "gbdt/stage.py", "gbdt/explanation.py", "gbdt/tune.py", "reporting/figures.py"]
#: some of those that shape a training
SHAPING = ["gbdt/models.py", "gbdt/folds.py", "statistics/tile.py", "statistics/orders.py", "scoring/baselines.py"]


@pytest.fixture
def own(data, tmp_path):
    """A data folder of the test's own."""
    shutil.copytree(Path(data, "prune"), tmp_path / "data" / "prune")
    return str(tmp_path / "data")


@pytest.fixture
def trainings(monkeypatch):
    """The collections that were trained on."""
    return spied(monkeypatch, training, "train")


def spied(monkeypatch, module, name):
    """The first argument of every call of a function."""
    calls, function = [], getattr(module, name)

    def spy(first, *rest):
        calls.append(first)
        return function(first, *rest)

    monkeypatch.setattr(module, name, spy)
    return calls


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A copy of stages/ that is taken for the code of the run."""
    copy = tmp_path / "project" / "stages"
    shutil.copytree(code.STAGES, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "STAGES", copy)
    code.digest.cache_clear()
    yield copy
    code.digest.cache_clear()


def change(path, old="\n", new="\n\n"):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    code.digest.cache_clear()


def run(data, **changes):
    return trees.run(collection=LAYOUT, data=data, **SMALL | changes)


def test_a_second_run_trains_nothing_and_returns_the_same(own, trainings):
    first, written, seconds = run(own), files(own), elapsed_times.read(own, "gbdt", LAYOUT)
    shutil.rmtree(Path(own, "gbdt"))
    second = run(own)
    assert trainings == [LAYOUT] and files(own) == written
    assert first.seconds > 0 and second.seconds is None
    assert 0 < seconds == elapsed_times.read(own, "gbdt", LAYOUT)
    assert (second.collection, second.graphs) == (LAYOUT, first.graphs) == (LAYOUT, 10)
    for name in ("valid", "objectives", "gains", "trees"):
        assert getattr(first, name).equals(getattr(second, name)), name
    assert first.gains["shap"].null_count() == 0


def test_what_was_trained_takes_the_place_of_what_lies_there(own, trainings):
    run(own)
    written = files(own)
    stale = Path(own, "gbdt", "layout-xla-random", "models", "pairwise-9-9.txt")
    stale.write_text("of another run")
    run(own)
    assert trainings == [LAYOUT] and files(own) == written


def test_changed_page_modules_train_nothing(own, trainings, source):
    run(own)
    for module in PAGE:
        change(source / module)
    run(own)
    assert trainings == [LAYOUT]


def test_what_shapes_models_is_in_the_identity(own, source):
    identities = [stage.identity(LAYOUT, own, trees.settings())]
    for module in SHAPING:
        change(source / module)
        identities.append(stage.identity(LAYOUT, own, trees.settings()))
    assert len(set(identities)) == 1 + len(SHAPING)


def test_a_changed_line_of_models_trains_again(own, trainings, source):
    run(own)
    change(source / "gbdt" / "models.py", '"max_bin": BINS,', '"max_bin": BINS + 1,')
    run(own)
    assert trainings == [LAYOUT] * 2


def test_a_changed_setting_trains_again_and_the_last_training_is_kept(own, trainings):
    run(own)
    run(own, trees=4)
    assert trainings == [LAYOUT] * 2
    run(own, trees=4)
    assert trainings == [LAYOUT] * 2
    run(own)
    assert trainings == [LAYOUT] * 3


def test_every_setting_and_the_threads_are_in_the_identity(own, monkeypatch):
    changes = [{"trees": 4}, {"seeds": 2}, {"searched": True}, {"objectives": ["ridge"]}, {"pairs": 70}]
    identities = {stage.identity(LAYOUT, own, trees.settings(**change)) for change in ({}, *changes)}
    monkeypatch.setenv(stage.THREADS, "77")  # the last digits of a ridge's sums depend on it
    identities.add(stage.identity(LAYOUT, own, trees.settings()))
    assert len(identities) == 2 + len(changes)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_changed_graph_is_another_identity(own, split, tmp_path):
    before = stage.identity(LAYOUT, own, trees.settings())
    other = packed(tmp_path / "other", lambda arrays, id: arrays | {"edge_index": arrays["edge_index"][::-1]})
    id = dataset.graph_ids(own, LAYOUT, split)[0]
    here, there = (dataset.graph_file(dataset.prune_folder(data, LAYOUT), split, id) for data in (own, other))
    assert here.read_bytes() != there.read_bytes()
    shutil.copy(there, here)
    assert stage.identity(LAYOUT, own, trees.settings()) != before


def test_a_kept_result_cut_short_is_not_used(own, trainings, monkeypatch):
    def full(source, target, **_):
        Path(target).mkdir(parents=True)
        shutil.copy(Path(source, "statistics.json"), target)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(kept.shutil, "copytree", full)
        run(own)
    assert [path.name for path in Path(own, "trained", "gbdt", "layout-xla-random").iterdir()] == ["statistics.json"]
    run(own)
    assert trainings == [LAYOUT] * 2 and {"scores.parquet", "metrics.parquet"} <= set(files(own))


def test_shap_values_are_worked_out_once_for_a_training_and_its_explanation(own, trainings, source, monkeypatch):
    explained = spied(monkeypatch, explanation, "explanation")
    run(own)
    run(own)
    change(source / "gbdt" / "report.py")
    run(own)
    assert len(explained) == 1
    change(source / "gbdt" / "explanation.py")
    run(own)
    assert len(explained) == 2 and trainings == [LAYOUT]
    run(own, trees=4)
    assert len(explained) == 3
    assert len(list(Path(own, "trained", "gbdt", "layout-xla-random-explanation").iterdir())) == 1


def test_the_identity_of_a_training_holds_what_shapes_it_and_no_page():
    modules = {path.relative_to(code.STAGES).as_posix() for path in code.closure(*stage.CODE)}
    assert not modules & set(PAGE) and not any(name.startswith(("reporting/", "runner/")) for name in modules)
    assert set(SHAPING) <= modules
    names = {path.name for path in (code.STAGES / "statistics").glob("*.py")}
    assert {f"statistics/{name}" for name in names} <= modules
