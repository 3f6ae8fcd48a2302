"""`python -m stages.rank`: a file gets the scores that the pipeline gives its graph, and each fault is one line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages import rank as command
from stages.engine.errors import InputError
from stages.graphs import npz
from stages.graphs.collection import is_tile, slug
from stages.hlo.hlo_pb2 import TuningData
from stages.rank import choose, rank
from stages.ranking import models, scoring, words
from stages.scoring import metrics
from tests.support import hlo, samples
from tests.support.packing import packed
from tests.support.pipeline import CHOSEN

PROJECT = Path(__file__).parents[1]
TILE, LAYOUT = CHOSEN
COLUMNS = ["graph", "rank", "configuration", "score"]


@pytest.fixture(scope="module")
def data(reproduced):
    """The data folder of the tiny pipeline, models and sample; nothing writes there."""
    return reproduced[0] / "data"


def file(data, collection, split="test", number=0):
    return data / "sample" / "npz_all" / "npz" / collection.replace(":", "/") / split / f"{split}_{number}.npz"


def run(capsys, *arguments):
    """Status, standard output and standard error of the command in this process."""
    status = command.main([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def refused(capsys, *arguments):
    """The one line of a command that is refused."""
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (1, "") and err.count("\n") == 1 and err.endswith("\n")
    return err


def of_pipeline(data, collection, folder, split, graph):
    """Scores of a graph in the pipeline's outputs, by member and seed."""
    table = pl.read_parquet(data / folder / "scores.parquet").filter(split=split, graph=graph)
    table = table.filter(collection=collection) if "collection" in table.columns else table
    return {
        (member, seed): part.sort("configuration")["score"].to_list()
        for (member, seed), part in table.group_by("member", "seed")
    }


@pytest.mark.parametrize("collection", CHOSEN)
@pytest.mark.parametrize(("split", "number"), [("test", 0), ("test", 1), ("valid", 0), ("valid", 1)])
def test_a_graph_gets_the_scores_that_the_pipeline_gave_it(data, tmp_path, collection, split, number):
    path = file(data, collection, split, number)
    ranking = scoring.rank(path, models.read(data, collection), tmp_path)
    alone = {}
    for member in ("gnn", "gbdt"):
        expected = of_pipeline(data, collection, f"{member}/{slug(collection)}", split, path.stem)
        assert len(expected) == 2  # seeds
        alone |= expected
    found = {
        (member, seed): part.sort("configuration")["score"].to_list()
        for (member, seed), part in ranking.seeds.group_by("member", "seed")
    }
    assert found == alone
    blended = of_pipeline(data, collection, "blend", split, path.stem)
    assert {("blend", -1): ranking.table.sort("configuration")["score"].to_list()} == blended
    assert ranking.seen == (split if split == "valid" else None)
    if split == "test":
        assert ranking.metric is None
    else:
        runtime = ranking.graph.target
        assert ranking.metric == metrics.graph_score(collection, np.array(blended["blend", -1]), runtime)


@pytest.mark.parametrize("collection", CHOSEN)
def test_from_python_a_frame_fastest_first(data, collection):
    table = rank(file(data, collection), models=data)
    assert table.columns == COLUMNS
    assert table["graph"].unique().to_list() == ["test_0"]
    assert table["rank"].to_list() == list(range(1, 9))
    assert sorted(table["configuration"]) == list(range(8))
    assert table["score"].is_sorted()


def test_the_command_shows_the_first_and_writes_all(data, tmp_path, capsys):
    shutil.copy(file(data, LAYOUT, "valid"), tmp_path / "mine.npz")
    given = [tmp_path / "mine.npz", file(data, TILE), "--models", data]
    tables = {}
    for suffix in (".csv", ".parquet"):
        status, out, err = run(capsys, *given, "--out", tmp_path / f"out{suffix}")
        assert (status, err) == (0, "")
        tables[suffix] = (pl.read_csv if suffix == ".csv" else pl.read_parquet)(tmp_path / f"out{suffix}")
    assert tables[".csv"].equals(tables[".parquet"])
    assert tables[".csv"].equals(pl.concat([rank(path, data) for path in given[:2]]))
    lines = out.splitlines()
    assert lines[0] == f"{tmp_path}/mine.npz: 8 configurations of 3 nodes, ranked by the models of {LAYOUT}"
    assert lines[1].split()[:5] == ["rank", "configuration", "score", "gnn", "gbdt"]
    listed = tables[".csv"].filter(graph="mine")["configuration"].to_list()
    assert [int(line.split()[1]) for line in lines[2:10]] == listed
    assert lines[10].startswith("by the file's run times: Kendall tau-b ") and "seen" not in lines[10]
    assert lines[11].endswith(f"test_0.npz: 8 configurations, ranked by the models of {TILE}")
    assert len(lines) == 21 and "output " in lines[13]


def test_of_a_graph_that_the_models_have_seen_the_metric_says_so(data, tmp_path, capsys):
    _, out, _ = run(capsys, file(data, LAYOUT, "train"), "--models", data)
    assert out.splitlines()[-1].endswith("(the models have seen these: train_0 is one of their train graphs)")
    shutil.copy(file(data, LAYOUT, "valid"), tmp_path)
    _, out, _ = run(capsys, tmp_path / "valid_0.npz", "--models", data)
    assert "valid_0 is one of their valid graphs" in out


def test_more_than_ten_configurations_are_in_the_file_alone(data, tmp_path, capsys):
    path = samples.write_layout(tmp_path, "many", configurations=30)
    _, out, _ = run(capsys, path, "--models", data, "--out", tmp_path / "many.csv")
    assert len(out.splitlines()) == 2 + words.SHOWN + 1
    assert pl.read_csv(tmp_path / "many.csv").height == 30


def test_the_command_needs_no_project(data, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "stages.rank", file(data, LAYOUT), "--models", data],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "") and len(done.stdout.splitlines()) == 10
    assert not list(tmp_path.iterdir())


def test_raw_tuning_data_is_ranked_as_its_npz_file_is(data, tmp_path, capsys):
    layouts, tiles = tmp_path / "program.pb", tmp_path / "kernels.pb"
    hlo.saved(tmp_path, hlo.layout_tuning(), layouts.name)
    hlo.saved(tmp_path, TuningData(modules=[hlo.tile_tuning(), hlo.tile_tuning("fusion.2", 9)]), tiles.name)
    status, out, err = run(capsys, layouts, tiles, "--models", data, "--out", tmp_path / "out.csv")
    assert (status, err) == (0, "")
    written = [path for path in (tmp_path / "npz").rglob("*")] if (tmp_path / "npz").exists() else []
    assert not written
    table = pl.read_csv(tmp_path / "out.csv")
    assert table["graph"].unique(maintain_order=True).to_list() == [
        "program",
        "fusion.1_0000000000000007",
        "fusion.2_0000000000000009",
    ]
    assert table["configuration"].to_list()[0] == 0 and table.height == 5
    assert "by the file's run times: they order nothing" in out  # a single configuration
    assert f"{tiles}, fusion.1_0000000000000007: 2 configurations" in out


@hlo.needs_real_files
def test_a_real_protobuf_is_ranked(data):
    table = rank(Path(hlo.REAL, "pb", "module_tuning_data_layout.pb"), data)
    assert table.columns == COLUMNS and table.height == 112
    kernels = rank(Path(hlo.REAL, "pb", "op_tuning_data.pb"), data)
    assert kernels["graph"].n_unique() == 15


@hlo.needs_real_files
@pytest.mark.parametrize("collection", CHOSEN)
def test_real_files_are_ranked(data, collection):
    for path in sorted(Path(hlo.REAL, "npz_all", "npz").glob(f"{collection.split(':')[0]}/**/*.npz")):
        table = rank(path, data, collection)
        assert sorted(table["configuration"]) == list(range(table.height)), path


def test_the_path_tells_the_collection_or_the_form_does():
    known = ["tile:xla", "layout:xla:random", "layout:nlp:random"]
    for path, expected in {
        "npz/layout/nlp/random/test/a.npz": "layout:nlp:random",
        "layout-xla-random/a.npz": "layout:xla:random",
        "layout/nlp/random/layout-xla-random/a.npz": "layout:xla:random",
    }.items():
        assert choose(Path(path), False, known, Path("data")) == expected
    assert choose(Path("layout-xla-random/a.npz"), True, known, Path("data")) == "tile:xla"
    assert choose(Path("a.npz"), False, ["tile:xla", "layout:xla:random"], Path("data")) == "layout:xla:random"
    assert choose(Path("npz/layout/nlp/random/a.npz"), False, known, Path("data"), "layout-xla-random") == known[1]


@pytest.mark.parametrize(
    ("path", "tile", "known", "collection", "fault"),
    [
        ("a.npz", False, ["layout:xla:random", "layout:nlp:random"], None, "does not tell its collection; give --coll"),
        ("a.npz", True, ["layout:xla:random"], None, "data has no models for a tile, only of layout:xla:random"),
        ("a.npz", False, ["tile:xla"], None, "data has no models for layouts, only of tile:xla"),
        ("layout/nlp/random/a.npz", False, ["layout:xla:random"], None, "has no models of layout:nlp:random, only of"),
        ("a.npz", False, ["layout:xla:random"], "layout:nlp:random", "has no models of layout:nlp:random"),
        ("a.npz", False, ["layout:xla:random", "tile:xla"], "tile:xla", "is a file of layouts, and tile:xla is not"),
        ("a.npz", False, ["layout:xla:random"], "layout:gpu", "'layout:gpu' is no collection: use one of tile:xla"),
    ],
)
def test_a_file_of_which_no_model_knows_is_refused(path, tile, known, collection, fault):
    with pytest.raises(InputError) as caught:
        choose(Path(path), tile, known, Path("data"), collection)
    assert fault in str(caught.value)


def broken(folder, collection=LAYOUT, **arrays):
    """A file of which some arrays are other ones."""
    made = samples.tile_arrays() if is_tile(collection) else samples.layout_arrays()
    return samples.save(folder / "broken.npz", made | arrays)


def nan_features(folder):
    features = samples.layout_arrays()["node_feat"].copy()
    features[3, 30] = np.nan
    return broken(folder, node_feat=features)


def no_configuration(folder):
    arrays = samples.layout_arrays(configurations=1)
    return broken(folder, node_config_feat=arrays["node_config_feat"][:0], config_runtime=arrays["config_runtime"][:0])


def no_tile(folder):
    arrays = samples.tile_arrays()
    names = ("config_feat", "config_runtime", "config_runtime_normalizers")
    return broken(folder, TILE, **{name: arrays[name][:0] for name in names})


def written(name, content):
    def write(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return write


FILES = {
    "absent": (lambda folder: folder / "absent.npz", "no such file; give the path of an npz file"),
    "absent protobuf": (lambda folder: folder / "absent.pb", "cannot be read (No such file or directory)"),
    "of another kind": (written("notes.txt", b"fast"), "is no npz file and no .pb; give one"),
    "no npz": (written("text.npz", b"node_feat\n" * 50), "is no npz file or is cut off"),
    "no protobuf": (written("text.pb", b"\xff" * 50), "is neither TpuGraphs tuning data nor an HLO dump"),
    "not a number": (nan_features, "node_feat has a value that is NaN or infinite"),
    "no configuration": (no_configuration, "config_runtime is empty: the file has no configuration"),
    "no tile": (no_tile, "config_runtime is empty: the file has no configuration"),
    "a name that is none": (lambda folder: samples.write_layout(folder, "x.pb"), "the name ends in '.pb' before .npz"),
}


@pytest.mark.parametrize("fault", FILES)
def test_a_faulty_file_is_one_line_and_nothing_is_written(data, tmp_path, capsys, fault):
    make, message = FILES[fault]
    path = make(tmp_path)
    before = sorted(tmp_path.iterdir())
    line = refused(capsys, path, "--models", data, "--out", tmp_path / "out.csv")
    assert line.startswith(str(path)) and message in line
    assert sorted(tmp_path.iterdir()) == before


def test_a_graph_without_configurations_is_nothing_to_rank(data, tmp_path, capsys):
    shutil.copy(PROJECT / "tests" / "data" / "module.hlo.pb", tmp_path)
    line = refused(capsys, tmp_path / "module.hlo.pb", "--models", data)
    assert line.startswith(f"{tmp_path}/module.hlo.pb: is a graph without configurations")


def test_what_the_command_line_gets_wrong_is_one_line(data, tmp_path, capsys, monkeypatch):
    path = file(data, LAYOUT)
    assert "'xla' is no collection" in refused(capsys, path, "--models", data, "--collection", "xla")
    assert "is a file of layouts" in refused(capsys, path, "--models", data, "--collection", TILE)
    assert "ends in neither .csv nor .parquet" in refused(capsys, path, "--models", data, "--out", tmp_path / "a.txt")
    empty = refused(capsys, path, "--models", tmp_path)
    assert empty == f"{tmp_path}: holds no trained models; run make repro, or give --models FILE\n"
    monkeypatch.chdir(tmp_path)
    assert refused(capsys, path) == "data: holds no trained models; run make repro, or give --models FILE\n"
    assert "absent.zip: no such file; give --models" in refused(capsys, path, "--models", tmp_path / "absent.zip")
    (tmp_path / "in_the_way").touch()
    status, _, err = run(capsys, path, "--models", data, "--out", tmp_path / "in_the_way" / "out.csv")
    assert status == 1 and err.count("\n") == 1 and "cannot be written" in err


def test_two_files_of_one_graph_cannot_be_told_apart_in_one_table(data, tmp_path, capsys):
    path = file(data, LAYOUT)
    status, _, err = run(capsys, path, path, "--models", data, "--out", tmp_path / "out.csv")
    assert status == 1 and "holds a graph test_0, as" in err and not (tmp_path / "out.csv").exists()


def test_trees_of_other_statistics_are_refused(data, tmp_path):
    for stage in ("prune", "pad", "gnn", "gbdt", "blend"):
        shutil.copytree(data / stage, tmp_path / stage)
    folder = tmp_path / "gbdt" / slug(LAYOUT)
    statistics = folder / "statistics.json"
    sound = statistics.read_text()
    statistics.write_text(sound.replace('"copies_bits"', '"copies_wits"'))
    with pytest.raises(InputError, match="other columns than statistics.json"):
        rank(file(data, LAYOUT), tmp_path)
    statistics.write_text(sound.replace("copies_bits", "copies_wits"))  # as if all had been trained so
    for model in (folder / "models").iterdir():
        model.write_text(model.read_text().replace("copies_bits", "copies_wits"))
    with pytest.raises(InputError, match=f"the trees of {LAYOUT} read other statistics than this code makes"):
        rank(file(data, LAYOUT), tmp_path)


def test_the_words_of_a_change():
    arrays = samples.layout_arrays(configurations=4)
    layouts = arrays["node_config_feat"]
    layouts[:] = -1
    layouts[:, :, :2] = [1, 0]
    layouts[2, 1, :2] = [0, 1]
    layouts[2, 2, :2] = -1
    graph, nodes = packed(arrays, "all", collection=LAYOUT), arrays["node_config_ids"]
    opcodes = {26: "convolution", 34: "dot", 75: "reshape"}
    second, third = (f"{opcodes[int(arrays['node_opcode'][node])]} {node}" for node in nodes[1:])
    assert (
        words.changes(graph, nodes, 0, 2) == f"2 nodes: {second} output {{1,0}} → {{0,1}}; {third} output {{1,0}} → –"
    )
    assert words.changes(graph, nodes, 0, 3) == "the same"
    assert words.most_common(graph.codes) == words.Reference(0, 3)
    assert str(words.most_common(graph.codes)) == "configuration 0, the most common, 3 times"
    assert str(words.most_common(graph.codes[1:3])) == "configuration 0, the file's first"


def test_the_words_of_a_tile():
    tile = np.zeros(24, np.float32)
    assert words.bounds(tile) == "–"
    tile[0:2], tile[8:11] = [3, 4], [8, 128, 1]
    assert words.bounds(tile) == "kernel 3×4, output 8×128×1"


def test_the_layouts_of_a_file_are_streamed(data, tmp_path, monkeypatch):
    """Whole, they are never in memory: `read_layout` is not called, and codes are mapped."""
    monkeypatch.setattr(npz, "read_layout", None)
    path = samples.write_layout(tmp_path, "many", configurations=50)
    ranking = scoring.rank(path, models.read(data, LAYOUT), tmp_path / "work")
    base = ranking.graph.codes
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap) and ranking.table.height == 50
