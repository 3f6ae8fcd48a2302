from pathlib import Path

import pytest

from stages.errors import InputError
from stages.graphs.collection import COLLECTIONS, folder, from_slug, is_tile, slug


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
