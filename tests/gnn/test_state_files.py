"""States on disk: as they were found, or found anew."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stages.gnn import state_files, states
from stages.gnn.batch import join
from stages.gnn.prepared_graph import prepare
from tests.support import networks
from tests.support.graphs import (
    LAYOUT,
    TILE,
    TINY,
    sample,
    untrained,
)
from tests.support.networks import SEGMENTS


def segments_of(data, graph, chosen):
    static = prepare(graph, chosen.view(graph.collection), str(data))
    return [static.states(number) for number in range(len(static.segments))]


def equal(first, second):
    """Whether two graphs' states are the same, array by array."""
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(equal, first, second))
    if hasattr(first, "indptr"):
        parts = ("data", "indices", "indptr")
        return first.shape == second.shape and all(equal(getattr(first, n), getattr(second, n)) for n in parts)
    return all(equal(getattr(first, n), getattr(second, n)) for n in first.__dataclass_fields__)


@pytest.mark.parametrize("knobs", [{}, {"gst": "full"}, {"layers": 0}], ids=["segments", "whole", "no layer"])
def test_states_come_back_from_disk_as_they_were_found(tmp_path, monkeypatch, knobs):
    graph = sample(LAYOUT, nodes=16, configurable=1, choices=2)
    chosen = networks.settings(**SEGMENTS | knobs)
    found = segments_of(tmp_path, graph, chosen)
    monkeypatch.setattr(states, "find", None)  # nothing is found again
    read = segments_of(tmp_path, graph, chosen)
    assert len(found) == len(read) == (1 if "gst" in knobs else 4)
    assert all(map(equal, found, read))
    static = prepare(graph, chosen.view(LAYOUT), str(tmp_path))
    monkeypatch.undo()
    fresh = prepare(graph, chosen.view(LAYOUT))
    network = untrained(static, chosen)
    scores = [network(join([form], [np.arange(8)]).to(torch.float64)) for form in (static, fresh)]
    assert torch.equal(*scores)


def test_states_of_another_view_or_damaged_ones_are_found_anew(tmp_path):
    graph, chosen = sample(LAYOUT), networks.settings(**SEGMENTS)
    found = segments_of(tmp_path, graph, chosen)
    files = sorted(state_files.folder(tmp_path, LAYOUT).rglob("*.safetensors"))
    assert len(files) == len(found) > 1
    whole = files[0].read_bytes()
    other = segments_of(tmp_path, graph, replace(chosen, layers=1))
    assert [len(part.levels) for part in other] == [2] * len(other)
    for content in (b"", whole[:40], whole[: len(whole) // 2], b"x" * 500):
        files[0].write_bytes(content)
        assert all(map(equal, found, segments_of(tmp_path, graph, chosen)))
        assert files[0].read_bytes() == whole


def test_the_states_of_a_kernel_come_back_too(tmp_path):
    graph, chosen = sample(TILE), networks.settings(**TINY)
    found = segments_of(tmp_path, graph, chosen)
    assert len(list(state_files.folder(tmp_path, TILE).rglob("*.safetensors"))) == 1
    assert all(map(equal, found, segments_of(tmp_path, graph, chosen)))
