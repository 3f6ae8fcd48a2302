"""Roots that are not what they should be: the line names the right one, or what is there."""

import shutil
from pathlib import Path

import pytest

from stages.engine.errors import InputError
from stages.graphs import roots
from stages.graphs.collection import COLLECTIONS
from tests.support import samples

ONE = ("tile:xla",)


@pytest.fixture
def project(tmp_path):
    """A project with a whole data set at data/mine/npz_all."""
    samples.write_root(tmp_path / "project" / "data" / "mine", {"train": 1, "valid": 1, "test": 1})
    return tmp_path / "project"


def fault(root, project, collections=COLLECTIONS):
    with pytest.raises(InputError) as caught:
        roots.check(root, collections, project)
    assert "\n" not in str(caught.value) and str(root) in str(caught.value)
    return str(caught.value)


def test_a_whole_root_is_passed_however_it_is_written(project):
    for root in ("data/mine/npz_all", "./data/../data/mine/npz_all/", str(project / "data/mine/npz_all")):
        roots.check(root, COLLECTIONS, project)
    assert roots.held(project / "data/mine/npz_all") == list(COLLECTIONS)


@pytest.mark.parametrize("high", ["data/mine", "data"])
def test_too_high_names_the_folder_below(project, high):
    assert "holds no npz/, but data/mine/npz_all does" in fault(high, project)
    assert f"but {project / 'data/mine/npz_all'} does" in fault(project / high, project)


@pytest.mark.parametrize("low", ["npz", "npz/layout", "npz/tile/xla", "npz/tile/xla/train"])
def test_too_low_names_the_folder_above(project, low):
    assert "name data/mine/npz_all in params.yaml" in fault(f"data/mine/npz_all/{low}", project)
    assert f"name {project / 'data/mine/npz_all'} in" in fault(project / "data/mine/npz_all" / low, project)


def test_the_folder_of_another_machine_is_found_by_the_end_of_its_path(project):
    assert "data/mine/npz_all is: name that" in fault("/home/her/work/mine/npz_all", project)
    assert "data/mine/npz_all is: name that" in fault("/home/her/project/data/mine/npz_all", project)
    shutil.move(project / "data" / "mine", project.parent / "theirs")
    assert "../theirs/npz_all is: name that" in fault("/elsewhere/theirs/npz_all", project)
    assert "is no folder on this machine; name the folder that holds npz/" in fault("/elsewhere/lost", project)


def test_other_folders_are_named_as_what_they_are(project):
    top = project / "data" / "mine" / "npz_all"
    (top / "npz").rename(top / "renamed")
    assert "holds layout and tile itself; call it npz" in fault("data/mine/npz_all/renamed", project)
    (project / "empty" / "npz").mkdir(parents=True)
    assert "empty/npz holds none of the five collections" in fault("empty", project)
    (project / "void").mkdir()
    assert "void holds no npz/; name the folder" in fault("void", project)
    (project / "file").write_text("")
    assert "is no folder on this machine" in fault("file", project)


def test_collections_that_lack_are_told_with_those_that_are_there(project):
    shutil.rmtree(project / "data/mine/npz_all/npz/layout")
    line = fault("data/mine/npz_all", project)
    assert (
        "has no layout-xla-random, layout-xla-default, layout-nlp-random, layout-nlp-default; it has tile-xla:" in line
    )
    assert "out of data.collections in params.yaml" in line
    roots.check("data/mine/npz_all", ONE, project)


@pytest.mark.parametrize("gone", ["test", "test/test_0.npz"])
def test_a_collection_needs_files_of_every_split(project, gone):
    path = project / "data/mine/npz_all/npz/tile/xla" / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(InputError) as caught:
        roots.check("data/mine/npz_all", ONE, project)
    folder = Path("data/mine/npz_all/npz/tile/xla/test")
    assert str(caught.value).startswith(f"{folder}: holds no npz file; put the test files of tile:xla there")
