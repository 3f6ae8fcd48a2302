"""What a search has tried stays on disk."""

import numpy as np

from stages.collect.tpu_data.store import Store, Tried

CHOICE, OTHER = np.array([0, -1, 1], np.int8), np.array([1, -1, 1], np.int8)


def test_what_was_tried_is_there_when_the_search_starts_again(tmp_path):
    first = Tried(tmp_path / "t" / "p.jsonl", "one")
    first[CHOICE], first[OTHER] = 1 / 3, None
    again = Tried(tmp_path / "t" / "p.jsonl", "one")
    assert CHOICE in again and OTHER in again
    assert again[CHOICE] == 1 / 3
    assert again[OTHER] is None
    assert len(again) == 2


def test_a_line_that_was_cut_off_is_tried_again(tmp_path):
    path = tmp_path / "p.jsonl"
    first = Tried(path, "one")
    first[CHOICE], first[OTHER] = 10.0, 20.0
    path.write_bytes(path.read_bytes()[:-3])
    again = Tried(path, "one")
    assert CHOICE in again and OTHER not in again
    again[OTHER] = 20.0
    assert Tried(path, "one")[OTHER] == 20.0


def test_times_of_another_compiler_are_thrown_away(tmp_path):
    first = Tried(tmp_path / "p.jsonl", "one")
    first[CHOICE] = 10.0
    assert len(Tried(tmp_path / "p.jsonl", "two")) == 0


def test_a_search_that_is_done_leaves_no_file(tmp_path):
    Tried(tmp_path / "p.jsonl", "one").close()
    assert not (tmp_path / "p.jsonl").exists()


def test_failures_are_told_by_program(tmp_path):
    store = Store(tmp_path)
    store.fail("b", "no")
    store.fail("a", "not at all")
    assert store.failures() == {"a": "not at all", "b": "no"}
