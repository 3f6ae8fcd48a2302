from pathlib import Path

import pytest

from stages.engine.errors import InputError
from stages.graphs.collection import COLLECTIONS, folder, from_slug, is_tile, npz_files, ordered, slug
from tests.support.samples import write_tile


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_both_forms_of_a_name_lead_back_to_the_official_one(collection):
    assert from_slug(slug(collection)) == from_slug(collection) == collection
    assert ":" not in slug(collection)


def test_an_unknown_collection_is_answered_with_the_five():
    with pytest.raises(InputError) as error:
        from_slug("layout-xla-fast")
    assert "'layout-xla-fast'" in str(error.value)
    assert all(collection in str(error.value) for collection in COLLECTIONS)
    for function in (slug, is_tile):
        with pytest.raises(InputError):
            function("layout-xla-random")  # only from_slug takes the file name's form


def test_folders_are_the_official_ones():
    assert folder("root", "layout:nlp:default", "valid") == Path("root/npz/layout/nlp/default/valid")
    assert folder("root", "tile:xla", "test") == Path("root/npz/tile/xla/test")
    with pytest.raises(InputError, match="'validation' is no split: use one of train, valid, test"):
        folder("root", "tile:xla", "validation")


def test_only_tile_is_tile():
    assert [is_tile(collection) for collection in COLLECTIONS] == [True, False, False, False, False]


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(InputError, match=r"npz/tile/xla/valid: no such folder; .*data\.root"):
        npz_files(tmp_path, "tile:xla", "valid")
    (tmp_path / "npz/tile/xla/valid").mkdir(parents=True)
    with pytest.raises(InputError, match="npz/tile/xla/valid: holds no npz file"):
        npz_files(tmp_path, "tile:xla", "valid")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("a\nb", "cannot be printed"),
        ("a\u00a0b", "cannot be printed"),
        (b"a\xff".decode("utf-8", "surrogateescape"), "cannot be printed"),
        (".hidden", "begins with a dot"),
        ("", "begins with a dot"),  # .npz
        ("graph_pruned", "ends in '_pruned'"),
        ("graph.pb", "ends in '.pb'"),
        ("ä" * 101, "is longer than 200 bytes"),
    ],
)
def test_a_name_that_can_be_no_graph_id_is_refused(tmp_path, name, fault):
    folder = tmp_path / "npz/tile/xla/valid"
    write_tile(folder, "good")
    write_tile(folder, name)
    with pytest.raises(InputError, match=f"npz/tile/xla/valid: the name .* {fault}.*; rename the file") as error:
        npz_files(tmp_path, "tile:xla", "valid")
    assert str(error.value).isprintable()


def test_names_of_any_language_and_the_published_ones_pass(tmp_path):
    names = ["retinanet.2x2.fp32_-342c949e14733d96", "unet_3d.4x4.bf16", "Ünï çödé 模", "we ird;a,b:c\"q'", "a" * 200]
    for name in names:
        write_tile(tmp_path / "npz/tile/xla/valid", name)
    assert {file.stem for file in npz_files(tmp_path, "tile:xla", "valid")} == set(names)


def test_collections_are_ordered_and_named_officially():
    assert ordered(["layout-nlp-random", "tile:xla", "tile-xla"]) == ["tile:xla", "layout:nlp:random"]
    with pytest.raises(InputError, match="layout:nlp:default"):
        ordered([])
