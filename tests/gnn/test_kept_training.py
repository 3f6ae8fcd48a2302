"""A page's looks train nothing: what was trained comes back, and other code, settings or data are trained again."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields

import polars as pl
import pytest

from stages.engine import elapsed_times, kept
from stages.gnn import report, tasks
from stages.graphs.collection import slug
from stages.graphs.dataset import graph_file, pad_folder, prune_folder
from stages.scoring import scores
from tests.support import networks
from tests.support.graphs import LAYOUT, TILE, TINY, made_up, outputs, write_data
from tests.support.pipeline import PROJECT, print_every_epoch

RUN = """
import json, os, sys
os.cpu_count = lambda: 1  # all in this process
from stages import gnn
from stages.gnn import report
result = gnn.run(collection="layout:xla:random", knobs=json.loads(sys.argv[1]), data="data")
report.curves(result), report.introduction(result), report.finding(result), report.attention_map(result)
if "stages.gnn.page_tables" in sys.modules:
    print("tables are computed", file=sys.stderr)
assert "torch_geometric" not in sys.modules  # to load it takes longer than all that is done here
"""


@pytest.fixture
def trained(monkeypatch):
    """The seeds that are trained, one after the other in this process."""
    seeds, train_seed = [], tasks.train_seed
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(tasks, "train_seed", lambda seed, **rest: seeds.append(seed) or train_seed(seed, **rest))
    return seeds


def forget(data, collection):
    """Remove the outputs, as DVC does before it runs a stage."""
    shutil.rmtree(data / "gnn" / slug(collection))


@pytest.mark.parametrize("collection", [LAYOUT, TILE])
def test_removed_outputs_come_back_without_training(tmp_path, trained, collection):
    """The same bytes, the same result for the page, and the seconds of the training that there was."""
    write_data(tmp_path, collection, made_up(collection))
    first = networks.run(collection=collection, seeds=2, data=str(tmp_path), **TINY)
    before, seconds = outputs(tmp_path, collection), elapsed_times.read(tmp_path, "gnn", collection)
    assert trained == [0, 1] and seconds > 0
    forget(tmp_path, collection)
    second = networks.run(collection=collection, seeds=2, data=str(tmp_path), **TINY)
    assert trained == [0, 1]
    assert outputs(tmp_path, collection) == before
    assert elapsed_times.read(tmp_path, "gnn", collection) == seconds
    for field in fields(first):
        mine, theirs = getattr(first, field.name), getattr(second, field.name)
        assert mine.equals(theirs) if isinstance(mine, pl.DataFrame) else mine == theirs, field.name
    assert report.finding(first) == report.finding(second)
    assert report.worst(first) == report.worst(second)


@pytest.mark.parametrize(
    ("seeds", "knobs"), [(1, {"dropout": 0.2}), (1, {"permutations": 2}), (2, {})], ids=["training", "scoring", "seeds"]
)
def test_other_settings_train_again(tmp_path, trained, seeds, knobs):
    write_data(tmp_path, LAYOUT, made_up(LAYOUT))
    networks.run(collection=LAYOUT, seeds=1, data=str(tmp_path), **TINY)
    trained.clear()
    networks.run(collection=LAYOUT, seeds=seeds, data=str(tmp_path), **TINY | knobs)
    assert trained == list(range(seeds))
    table = scores.read(tmp_path / "gnn" / slug(LAYOUT) / "scores.parquet")
    assert table["seed"].n_unique() == seeds


@pytest.mark.parametrize("split", ["train", "valid", "test"])
@pytest.mark.parametrize("folder", [prune_folder, pad_folder], ids=["prune", "pad"])
def test_other_data_train_again(tmp_path, trained, split, folder):
    """Of any split and of either stage: here graphs change their files."""
    graphs = made_up(LAYOUT)
    write_data(tmp_path, LAYOUT, graphs)
    networks.run(collection=LAYOUT, seeds=1, data=str(tmp_path), **TINY)
    one, other = (graph_file(folder(tmp_path, LAYOUT), split, graph.id) for graph in graphs[split])
    swapped = (one.read_bytes(), other.read_bytes())
    other.write_bytes(swapped[0]), one.write_bytes(swapped[1])
    if folder is prune_folder:  # both stages' files of a graph have one size
        pads = [graph_file(pad_folder(tmp_path, LAYOUT), split, graph.id) for graph in graphs[split]]
        contents = [path.read_bytes() for path in pads]
        pads[0].write_bytes(contents[1]), pads[1].write_bytes(contents[0])
    networks.run(collection=LAYOUT, seeds=1, data=str(tmp_path), **TINY)
    assert trained == [0, 0]


def test_a_kept_result_that_was_cut_short_is_not_used(tmp_path, trained):
    """Cut short while it was copied, or while the one before was removed: then no identity stands there."""
    write_data(tmp_path, LAYOUT, made_up(LAYOUT))
    networks.run(collection=LAYOUT, seeds=1, data=str(tmp_path), **TINY)
    before, folder = outputs(tmp_path, LAYOUT), tmp_path / "trained" / "gnn" / slug(LAYOUT)
    (folder / kept.NAME).unlink()
    (folder / "weights-0.safetensors").unlink()
    forget(tmp_path, LAYOUT)
    networks.run(collection=LAYOUT, seeds=1, data=str(tmp_path), **TINY)
    assert trained == [0, 0] and outputs(tmp_path, LAYOUT) == before
    assert (folder / kept.NAME).is_file() and (folder / "weights-0.safetensors").is_file()


@pytest.fixture
def project(tmp_path):
    """The project's stages and the data of a tiny collection, with a line on the console for every epoch."""
    shutil.copytree(PROJECT / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("collect"))
    print_every_epoch(tmp_path / "stages" / "gnn" / "training.py")
    write_data(tmp_path / "data", LAYOUT, made_up(LAYOUT))
    return tmp_path


def work_of(project):
    """What a run of the stage does, by what it prints: "trains", "computes", both, or neither."""
    command = [sys.executable, "-c", RUN, json.dumps(networks.DEFAULTS | TINY | {"seeds": 1})]
    ended = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
    printed = {"trains": " epoch ", "computes": "tables are computed"}
    return {work for work, text in printed.items() if text in ended.stderr}


def changed(file, pattern, replacement):
    text, count = re.subn(pattern, replacement, file.read_text(), flags=re.MULTILINE)
    assert count == 1
    file.write_text(text)


def test_a_pages_looks_train_and_compute_nothing_and_the_networks_forward_pass_does(project):
    assert work_of(project) == {"trains", "computes"}
    before = outputs(project / "data", LAYOUT)
    changed(project / "stages" / "reporting" / "colours.py", '= "#0072B2", ', '= "#123456", ')
    changed(project / "stages" / "gnn" / "report.py", r"linewidth=1\.2", 'linewidth=2, markerfacecolor="red"')
    changed(project / "stages" / "gnn" / "stage.py", "top-10 slowdown score", "slowdown of the first ten")
    forget(project / "data", LAYOUT)
    assert work_of(project) == set() and outputs(project / "data", LAYOUT) == before
    changed(project / "stages" / "gnn" / "attention.py", "^CONFIGURATIONS = 64", "CONFIGURATIONS = 3")
    assert work_of(project) == {"computes"} and outputs(project / "data", LAYOUT) == before
    forward = r"first = state = gelu\(self\.encoder\(batch\)\)"
    changed(project / "stages" / "gnn" / "network.py", forward, "first = state = gelu(2 * self.encoder(batch))")
    assert work_of(project) == {"trains", "computes"}
    assert outputs(project / "data", LAYOUT)["weights-0.safetensors"] != before["weights-0.safetensors"]
