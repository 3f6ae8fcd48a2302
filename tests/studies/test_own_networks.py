"""A solution's own networks from the data to a checked submission, at tiny sizes."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import yaml
from safetensors.numpy import load_file

from stages.gnn import checkpoint
from stages.graphs.collection import COLLECTIONS, folder
from stages.scoring import score, submission
from stages.studies import recipes
from stages.winners.training import NAMES, needs, network_run, run, solutions
from stages.winners.training.trainer import Trainer
from tests.support import samples

PROJECT = Path(__file__).parents[2]
#: sizes of a second, in place of the sample's
TINY = {
    "width": 8,
    "widths": (4, 8, 8),
    "first_width": 8,
    "token_width": 8,
    "dense_width": 8,
    "near": 2,
    "across": 1,
    "graphs": 2,
    "configurations": 4,
    "tile_graphs": 2,
    "tile_configurations": 4,
    "segment_nodes": 5,
    "steps": 4,
    "epochs": None,
    "evaluate": 2,
}
TWO = ("tile-xla", "layout-xla-random")


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """One process, tiny sizes; a kernel of this sample has fewer configurations than the official one wants."""
    sizes = {
        model.recipe.name: {name: value for name, value in TINY.items() if hasattr(model.settings, name)}
        for name in NAMES
        for model in solutions.models(name, "full", COLLECTIONS)
    }
    for changes in sizes.values():
        if "token_width" in changes and "tile_graphs" in changes:
            changes |= {"graphs": 2}
    sizes["fifth-place layout"].pop("token_width")
    for name in ("middle fusion layout", "middle fusion tile", "fourteenth-place list"):
        sizes[name] |= {"heads": 2, "layers": 1}
    for name in ("official layout", "official tile"):
        sizes[name] |= {"least_configurations": 2}
    monkeypatch.setattr(solutions, "_SMALL", sizes)


@pytest.fixture
def project(tmp_path):
    return made(tmp_path)


def made(path, collections=None):
    """A project with the recipes, and small data with all five collections, of which params.yaml may name fewer."""
    samples.write_root(path / "data" / "sample")
    shutil.copytree(PROJECT / "recipes", path / "recipes")
    values = yaml.safe_load((PROJECT / "params.yaml").read_text())
    if collections:
        named = values["data"]["collections"]
        values["data"]["collections"] = {name: named[name] for name in collections}
    (path / "params.yaml").write_text(yaml.safe_dump(values))
    return path


def ran(project, *arguments):
    assert recipes.main([*arguments, "--workers", "1"], project) == 0
    return project / "data" / "recipes" / arguments[0] / "sample"


def refused(project, capsys, *arguments):
    """The one line on stderr of a run that is refused."""
    capsys.readouterr()
    assert recipes.main([*arguments], project) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err.strip()


def contents(place):
    """Every file of a result, with its bytes."""
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", NAMES)
def test_a_solution_ends_with_a_checked_submission(name, project, capfd):
    place = ran(project, name)
    out = capfd.readouterr().out
    assert "hours at most" in out and "steps 4 instead of" in out
    rows = submission.read(place / "submission.csv")
    solution = score.read_solution(project / "data" / "sample" / "solution.csv")
    assert len(rows) == 10 and set(score.evaluate(rows, solution)) == set(COLLECTIONS)
    metrics = json.loads((place / "metrics.json").read_text())
    assert all(metrics[split].keys() == {*COLLECTIONS, "mean"} for split in ("valid", "test"))
    networks = sorted(path.name for path in (place / "networks").iterdir())
    assert len(networks) == {"fifth-place": 2, "sixth-place": 6, "middle-fusion": 3, "fourteenth-place": 6}.get(name, 5)
    for network in networks:
        assert load_file(place / "networks" / network / "weights.safetensors")
    assert {path.suffix for path in place.rglob("*") if path.is_file()} == {
        *(".csv", ".json", ".parquet", ".safetensors", "")
    }
    assert not list((place / "checkpoints").glob("*"))


def test_a_run_killed_anywhere_goes_on_with_the_same_bytes(tmp_path, monkeypatch):
    whole = contents(ran(made(tmp_path / "whole", TWO), "gst-paper"))
    project = made(tmp_path / "killed", TWO)
    monkeypatch.setattr(checkpoint, "SECONDS", 0)
    monkeypatch.setattr(checkpoint, "SHARE", 1e9)
    step, taken = Trainer._advance, []

    def advance(self):
        taken.append(1)
        if len(taken) in (3, 8):
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(Trainer, "_advance", advance)
    place = project / "data" / "recipes" / "gst-paper" / "sample"
    for _ in range(2):
        assert recipes.main(["gst-paper", "--workers", "1"], project) == 130
        assert not (place / "submission.csv").exists()
    assert list((place / "checkpoints").glob("*.safetensors"))
    again = contents(ran(project, "gst-paper"))
    settings = [json.loads(of.pop("settings.json")) for of in (whole, again)]
    assert [of.pop("root") != "" for of in settings] == [True, True] and settings[0] == settings[1]
    assert again == whole
    assert len(taken) == 2 * 4 + 2  # no step is taken twice


def test_a_result_of_other_settings_or_data_is_never_taken(tmp_path, monkeypatch):
    project, trained, build = made(tmp_path, TWO), [], network_run.build

    def counted(request, model, seed):
        trained.append(model.name)
        return build(request, model, seed)

    monkeypatch.setattr(network_run, "build", counted)

    def trains(*arguments):
        trained.clear()
        ran(project, "official-baseline", *arguments)
        return set(trained)

    every = set(TWO)
    assert trains() == every and trains() == set()
    old = project / "data" / "recipes" / "official-baseline" / "sample" / "networks" / "tile-xla-1"
    old.mkdir()
    assert trains("--seed", "5") == every and not old.exists()
    samples.write_layout(folder(project / "data" / "sample" / "npz_all", COLLECTIONS[1], "train"), "train_0", seed=77)
    assert trains("--seed", "5") == {"layout-xla-random"}
    monkeypatch.setitem(solutions._SMALL, "official tile", solutions._SMALL["official tile"] | {"steps": 3})
    assert trains("--seed", "5") == {"tile-xla"}


def test_networks_of_a_scaled_full_run_are_the_originals_sizes(project, monkeypatch):
    found = {}
    monkeypatch.setattr("stages.winners.training.run.run", lambda request, *_: found.update(request=request) or {})
    assert recipes.main(["first-place", "--size", "full", "--scale", "0.1"], project) == 0
    request = found["request"]
    assert request.folder.name == "full-x0.1"
    model = request.models["layout-xla-default"]
    assert (model.settings.width, model.settings.epochs, model.networks, model.shrunk) == (256, 750, 2, {})


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["forth-place"], "no recipe 'forth-place'; the recipes are "),
        (["first-place", "--size", "large"], "size: 'large' is none of sample, full; give one of them"),
        (["first-place", "--scale", "2"], "scale: 2 is no share above 0 and up to 1"),
        (["first-place", "--scale", "x"], "recipes: argument --scale: invalid float value: 'x'"),
        (["first-place", "--network", "mine"], "network: 'mine' is neither theirs nor ours"),
        (["ours", "--size", "full"], "size: ours trains this project's network"),
        (["first-place", "--network", "ours", "--size", "full"], "size: first-place trains this project's network"),
        (["first-place", "--root", "nowhere"], "data.root: nowhere is no folder on this machine"),
        (["first-place", "--hours", "0.000001"], "hours: the run needs about"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(arguments, line, project, capsys):
    assert refused(project, capsys, *arguments).startswith(line)


def test_a_missing_collection_is_refused_or_left_out(project, capsys):
    shutil.rmtree(project / "data" / "sample" / "npz_all" / "npz" / "tile")
    assert "has no tile-xla; it has" in refused(project, capsys, "official-baseline")
    values = yaml.safe_load((project / "params.yaml").read_text())
    values["data"]["collections"] = {"layout-xla-random": "layout/xla/random"}
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    place = ran(project, "fifth-place")
    assert [path.name for path in (place / "networks").iterdir()] == ["layout-0"]


def test_memory_that_cannot_fit_is_refused_before_anything_is_trained(project, capsys, monkeypatch):
    monkeypatch.setattr(needs, "available", lambda device: 2**20)
    line = refused(project, capsys, "official-baseline")
    assert "GiB of memory, and 0.0 are free; take a larger machine or GPU" in line
    assert not (project / "data" / "recipes" / "official-baseline").exists()


def test_a_faulty_file_is_named(project, capsys):
    path = folder(project / "data" / "sample" / "npz_all", COLLECTIONS[1], "train") / "train_1.npz"
    path.write_bytes(b"nothing")
    assert str(path) in refused(project, capsys, "official-baseline")


def test_networks_start_from_those_of_another_collection(project):
    request = network_run.Request("sixth-place", "sample", COLLECTIONS, Path(), Path(), Path(), "cpu")
    names = list(request.models)
    assert names.index("layout-nlp-random") < names.index("layout-xla-random")
    assert request.start(request.models["layout-xla-random"]).name == "layout-nlp-random"
    (whole,) = request.statistics(request.models["layout-xla-random"])
    assert (whole.collection, whole.pruning.hops) == ("layout:xla:random", "all")
    assert request.statistics(request.models["tile-xla"]) == []
    alone = network_run.Request("sixth-place", "sample", COLLECTIONS[:2], Path(), Path(), Path(), "cpu")
    assert alone.start(alone.models["layout-xla-random"]) is None
    assert "xla-random: layout:nlp:random is not among the data, so it starts from new weights" in run.said(alone)


def test_every_solution_is_a_recipe_and_says_what_the_sample_shrinks(monkeypatch):
    monkeypatch.undo()
    assert set(NAMES) <= set(recipes.names(PROJECT))
    for name in NAMES:
        for model in solutions.models(name, "sample", COLLECTIONS):
            full = {each.name: each for each in solutions.models(name, "full", COLLECTIONS)}[model.name]
            assert model.shrunk and model.shrunk.keys() <= solutions.WHY.keys() and full.shrunk == {}
            changed = {
                field
                for field in vars(model.settings)
                if getattr(model.settings, field) != getattr(full.settings, field)
            }
            assert changed - {"epochs"} == model.shrunk.keys() - {"epochs"}


def test_small_graphs_or_named_ones_are_left_out():
    (model,) = (m for m in solutions.models("second-place", "full", COLLECTIONS) if m.name == "layout-xla-random")
    assert network_run.taken(model, {"unet3d": 9, "bert": 9}) == ["bert"]
    with pytest.raises(ValueError, match="layout-xla-random: no train graph is left of 1; .* named unet: add others"):
        network_run.taken(model, {"unet3d": 9})


def test_scores_of_two_networks_of_a_collection_add_up(tmp_path):
    place = ran(made(tmp_path, ["layout-xla-default"]), "sixth-place")
    key = ["split", "graph", "configuration"]
    each = [
        pl.read_parquet(place / "networks" / f"layout-xla-default-{number}-0" / "scores.parquet").sort(key)
        for number in (1, 2)
    ]
    joined = pl.read_parquet(place / "scores.parquet").filter(pl.col("collection") == "layout:xla:default").sort(key)
    assert joined["score"].to_numpy() == pytest.approx(sum(table["score"].to_numpy() for table in each))
