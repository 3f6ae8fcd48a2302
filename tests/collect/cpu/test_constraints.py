"""Which nodes are configurable on XLA:CPU, and how their layouts are forced."""

import numpy as np
import pytest

from stages.collect.cpu.constraints import configurable_nodes, constrained
from stages.collect.hlo_text import instructions
from tests.support.hlo_module import TEXT, filled

CONFIGURABLE_NAMES = ["%back", "%total", "%dot.1", "%out"]
CONFIGURATION = np.array(
    [
        filled([0, 1], [0], []),
        filled([1, 0], [0, 2, 1], []),
        filled([0, 1], [1, 0], [0, 1]),
        filled([1, 0, 2], [0, 1], []),
    ],
    np.int8,
)
CONSTRAINED = {
    "%back": [
        "  %back.free = f32[32,64] reshape(%flat)",
        '  %back = f32[32,64]{0,1} custom-call(%back.free), custom_call_target="LayoutConstraint",'
        " operand_layout_constraints={f32[32,64]{1,0}}",
    ],
    "%total": [
        '  %total.constrained1 = f32[4,32,64]{0,2,1} custom-call(%cube), custom_call_target="LayoutConstraint",'
        " operand_layout_constraints={f32[4,32,64]{2,1,0}}",
        "  %total.free = f32[32,64] reduce(%total.constrained1, %zero), dimensions={0}, to_apply=%sum",
        '  %total = f32[32,64]{1,0} custom-call(%total.free), custom_call_target="LayoutConstraint",'
        " operand_layout_constraints={f32[32,64]{1,0}}",
    ],
    "%dot.1": [
        '  %dot.1.constrained1 = f32[32,64]{1,0} custom-call(%total), custom_call_target="LayoutConstraint",'
        " operand_layout_constraints={f32[32,64]{1,0}}",
        '  %dot.1.constrained2 = bf16[64,48]{0,1} custom-call(%y.2), custom_call_target="LayoutConstraint",'
        " operand_layout_constraints={bf16[64,48]{1,0}}",
        "  %dot.1.free = f32[32,48] dot(%dot.1.constrained1, %dot.1.constrained2),"
        " lhs_contracting_dims={1}, rhs_contracting_dims={0}",
        '  %dot.1 = f32[32,48]{0,1} custom-call(%dot.1.free), custom_call_target="LayoutConstraint",'
        " operand_layout_constraints={f32[32,48]{1,0}}",
    ],
    "%out": [
        '  %out.constrained1 = f32[32,48]{0,1} custom-call(%dot.1), custom_call_target="LayoutConstraint",'
        " operand_layout_constraints={f32[32,48]{1,0}}",
        "  %out.free = f32[32,1,48] reshape(%out.constrained1)",
        '  ROOT %out = f32[32,1,48]{1,0,2} custom-call(%out.free), custom_call_target="LayoutConstraint",'
        " operand_layout_constraints={f32[32,1,48]{2,1,0}}",
    ],
}


def test_configurable_nodes_skip_the_small_the_flat_the_tupled_and_rank_seven():
    nodes = configurable_nodes(TEXT)
    assert [node.instruction.name for node in nodes] == CONFIGURABLE_NAMES
    assert [node.ranks for node in nodes] == [(2, 1, 0), (2, 3, 0), (2, 2, 2), (3, 2, 0)]
    assert [tensor.name for tensor in nodes[2].tensors] == ["%dot.1", "%total", "%y.2"]


def test_constrained_text_line_by_line():
    expected = []
    for line in TEXT.splitlines():
        name = next((word for word in line.split()[:2] if word in CONSTRAINED), None)
        expected += CONSTRAINED[name] if name and " = " in line else [line]
    assert constrained(TEXT, configurable_nodes(TEXT), CONFIGURATION).splitlines() == expected


def test_constrained_wants_a_row_for_every_node():
    with pytest.raises(ValueError):
        constrained(TEXT, configurable_nodes(TEXT), CONFIGURATION[:3])


def test_layouts_of_reads_back_what_constrained_wrote():
    nodes = configurable_nodes(TEXT)
    text = constrained(TEXT, nodes, CONFIGURATION)
    forced = instructions(text)
    for node, row in zip(nodes, CONFIGURATION, strict=True):
        free = forced[f"{node.instruction.name}.free"]
        tensors = [forced[node.instruction.name], *(forced[name] for name in free.operands)]
        for slot, rank in enumerate(node.ranks):
            if rank >= 2:
                assert tensors[slot].layout == tuple(row[slot][:rank])
