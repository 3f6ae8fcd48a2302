import numpy as np
import pytest

from stages import prune
from stages.engine.errors import InputError
from stages.graphs import npz
from stages.prune import whole_graph
from tests.support.packing import arrays_of, packed
from tests.support.samples import layout_arrays, write_root

LAYOUT = "layout:xla:random"


def test_contracted_pairs_stop_at_configurable_nodes():
    # 6 -> 5 -> 4 -> 2 -> 0 and 5 -> 3 -> 1; configurable 6, 4, 0, 1.
    edges = [(6, 5), (5, 4), (4, 2), (2, 0), (5, 3), (3, 1)]
    pairs = packed(arrays_of(7, edges, [6, 4, 0, 1])).contracted
    assert pairs.tolist() == [[0, 1], [0, 3], [1, 2]]  # 6 meets 4 and 1; 0 only behind 4


def test_whole_graph_statistics_are_taken_before_the_cut():
    arrays = npz.LayoutArrays(**layout_arrays(nodes=30) | {"node_splits": np.array([0, 30])})
    graph = packed(arrays)
    whole = graph.whole
    assert graph.nodes < 30 == whole["nodes"] == graph.whole_opcodes.sum()
    elements = arrays.node_feat[:, 28].astype(float)
    assert whole["log_elements"] == pytest.approx(np.log1p(elements.sum()))
    assert whole["log_bytes"] == pytest.approx(np.log1p(4 * elements.sum()))  # every sample tensor is f32
    assert whole["log_parameter_bytes"] == pytest.approx(np.log1p(4 * elements[0]))
    assert graph.whole_opcodes[63] == 1


@pytest.mark.parametrize("limit", ["LARGEST_SETS", "MOST_PAIRS"])
def test_a_graph_beyond_the_limits_is_named(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(whole_graph, limit, 1)
    root = write_root(tmp_path)
    with pytest.raises(InputError, match=r"train_\d\.npz: .*leave"):
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
