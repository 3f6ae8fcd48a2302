import pytest

from stages.collect.tpu.constraints import constrained

TEXT = """HloModule jit_f, entry_computation_layout={(f32[8,4]{1,0}, f32[4,16]{1,0})->f32[8,16]{1,0}}

ENTRY %main (a: f32[8,4], b: f32[4,16]) -> f32[8,16] {
  %a = f32[8,4]{1,0} parameter(0)
  %b = f32[4,16]{1,0} parameter(1)
  ROOT %dot.1 = f32[8,16]{1,0} dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}
"""
DOT = "f32[8,16]{1,0} dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}"


def constraint(shape, layout, row_major, operand):
    return (
        f'{shape}{{{layout}}} custom-call({operand}), custom_call_target="LayoutConstraint",'
        f" operand_layout_constraints={{{shape}{{{row_major}}}}}"
    )


def test_output_keeps_its_name_and_its_place_as_root():
    lines = constrained(TEXT, {"dot.1": {0: (0, 1)}}).splitlines()
    assert lines[5] == f"  %dot.1.free = {DOT}"
    assert lines[6] == f"  ROOT %dot.1 = {constraint('f32[8,16]', '0,1', '1,0', '%dot.1.free')}"


def test_operands_are_constrained_before_their_use():
    lines = constrained(TEXT, {"dot.1": {2: (0, 1)}}).splitlines()
    assert lines[5] == f"  %dot.1.slot2 = {constraint('f32[4,16]', '0,1', '1,0', '%b')}"
    assert lines[6] == "  ROOT %dot.1 = " + DOT.replace("%b)", "%dot.1.slot2)")


def test_nothing_constrained_changes_nothing():
    assert constrained(TEXT, {}) == TEXT == constrained(TEXT, {"dot.1": {}})


@pytest.mark.parametrize(
    ("layouts", "fault"),
    [({"dot.2": {0: (0, 1)}}, KeyError), ({"dot.1": {3: (0, 1)}}, KeyError), ({"dot.1": {0: (0, 0)}}, ValueError)],
)
def test_what_is_not_there_is_refused(layouts, fault):
    with pytest.raises(fault):
        constrained(TEXT, layouts)
