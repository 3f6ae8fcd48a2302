"""Instructions and layouts as the text of a module has them."""

import numpy as np

from stages.collect.cpu.constraints import configurable_nodes
from stages.collect.hlo_text import instructions, layouts_of
from tests.support.hlo_module import TEXT, filled


def test_instructions_are_the_array_shaped_ones():
    by_name = instructions(TEXT)
    lines = TEXT.splitlines()
    assert "%pair" not in by_name and "%both" not in by_name
    assert len(by_name) == sum(" = " in line for line in lines) - 2
    assert all(lines[instruction.line].split()[0] in (name, "ROOT") for name, instruction in by_name.items())
    assert [name for name, instruction in by_name.items() if instruction.root] == ["%plus", "%out"]


def test_instruction_fields():
    by_name = instructions(TEXT)
    dot = by_name["%dot.1"]
    assert (dot.element_type, dot.dims, dot.layout, dot.opcode) == ("f32", (32, 48), (1, 0), "dot")
    assert dot.operands == ("%total", "%y.2")
    assert dot.rest == ", lhs_contracting_dims={1}, rhs_contracting_dims={0}"
    assert (by_name["%y.2"].element_type, by_name["%y.2"].layout) == ("bf16", (0, 1))
    assert by_name["%small"].layout == (1, 0), "no layout in the text is row-major"
    assert (by_name["%small"].operands, by_name["%zero"].dims, by_name["%zero"].layout) == ((), (), ())
    assert by_name["%get-tuple-element.5"].operands == ("%pair",)


def test_layouts_of_reads_the_nodes_own_text():
    expected = [
        filled([1, 0], [0], []),
        filled([1, 0], [2, 1, 0], []),
        filled([1, 0], [1, 0], [0, 1]),
        filled([2, 1, 0], [1, 0], []),
    ]
    layouts = layouts_of(TEXT, configurable_nodes(TEXT))
    assert layouts.dtype == np.int8
    assert layouts.tolist() == expected


def test_layouts_of_is_row_major_where_a_name_or_its_opcode_or_shape_is_gone():
    nodes = configurable_nodes(TEXT)
    after = """
  %moved = f32[64,32]{0,1} bitcast(%y.2)
  %copy.3 = f32[32,48]{0,1} copy(%dot.1)
  %back = f32[32,64]{0,1} copy(%flat)
  %dot.1 = f32[32,48]{0,1} dot(%gone, %moved), lhs_contracting_dims={1}
  ROOT %out = f32[32,1,48]{0,2,1} reshape(%copy.3)
"""
    row_major_rows = layouts_of("", nodes)
    layouts = layouts_of(after, nodes)
    assert layouts[:2].tolist() == row_major_rows[:2].tolist()
    assert layouts[2].tolist() == filled([0, 1], [1, 0], [1, 0])
    assert layouts[3].tolist() == filled([0, 2, 1], [0, 1], [])
