"""How two members disagree, drawn from a small frame."""

from stages.reporting import disagreement
from tests.support.frames import DISAGREEMENT


def test_a_panel_for_each_collection_and_a_dot_for_each_graph():
    *panels, last = disagreement.drawing(DISAGREEMENT).axes
    assert [panel.get_title(loc="left") for panel in panels] == ["tile:xla", "layout:xla:random"]
    dots = [
        {line.get_label(): line.get_xydata().tolist() for line in panel.lines if line.get_label().startswith("blend")}
        for panel in panels
    ]
    assert dots[0] == {"blend above both": [[0.5, 0.4]], "blend between": [[1.0, 1.0]], "blend below both": []}
    assert dots[1] == {"blend above both": [], "blend between": [[-0.2, 0.3]], "blend below both": []}
    assert [line.get_xdata().tolist() for line in last.lines if line.get_marker() == "o"] == [[0.1], [-0.4]]
