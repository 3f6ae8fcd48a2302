"""Kinds of kernels, which of a program's are tiled, and their splits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.collect.tpu_data.kinds import KINDS, MOST_OF_A_KIND, chosen, kind_of, splits


def kernel(*lines):
    body = "\n".join(f"  {line}" for line in lines)
    return f"HloModule kernel\n\nENTRY %entry {{\n  %v0 = f32[8,128]{{1,0}} parameter(0)\n{body}\n}}\n"


CONVOLUTION = "%v1 = f32[8,128]{1,0} convolution(%v0, %v0), window={size=3x3}, dim_labels=b01f_01io->b01f"
DOT = "%v1 = f32[8,128]{1,0} convolution(%v0, %v0), dim_labels=bf_io->bf"
SUM = "%v2 = f32[8]{0} reduce(%v0, %v0), dimensions={1}, to_apply=%add"


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ((CONVOLUTION, "ROOT " + SUM), "convolution"),
        ((DOT, "ROOT %v2 = f32[8,128]{1,0} tanh(%v1)"), "dot"),
        (("ROOT " + SUM,), "reduction"),
        (("ROOT %v1 = f32[8,128]{0,1} copy(%v0)",), "copy"),
        (("%v1 = f32[128,8]{1,0} transpose(%v0), dimensions={1,0}", "ROOT %v2 = f32[1024]{0} reshape(%v1)"), "copy"),
        (("%v1 = f32[8,128]{0,1} copy(%v0)", "ROOT %v2 = f32[8,128]{1,0} add(%v0, %v1)"), "elementwise"),
    ],
)
def test_a_kernel_is_of_the_kind_of_its_dearest_work(lines, kind):
    assert kind_of(kernel(*lines)) == kind


def test_no_kind_has_more_than_half_of_a_programs_kernels():
    many = [(f"{i:02d}", "elementwise") for i in range(20)] + [("zz", "dot"), ("zy", "copy")]
    assert chosen(many, 8) == ["00", "01", "02", "03", "zy", "zz"]


def test_a_kind_has_a_kernel_even_where_one_is_asked_for():
    assert chosen([("b", "dot"), ("a", "copy")], 1) == ["a"]
    assert chosen([("b", "dot")], 0) == []


@given(st.lists(st.tuples(st.text("abc", min_size=1), st.sampled_from(KINDS)), unique_by=lambda each: each[0]))
def test_the_choice_keeps_its_bounds_and_does_not_depend_on_the_order(kernels):
    keys = chosen(kernels, 6)
    assert keys == chosen(kernels[::-1], 6)
    assert len(keys) <= 6
    kinds = [dict(kernels)[key] for key in keys]
    assert all(kinds.count(kind) <= 6 * MOST_OF_A_KIND for kind in KINDS)


def test_a_kernel_of_a_test_program_is_a_test_kernel_whatever_else_has_it():
    programs = [("test", ["a", "b"]), ("train", ["a", "c", "d"]), ("valid", ["b", "c"])]
    assert splits(programs) == {"a": "test", "b": "test", "c": "valid", "d": "train"}
    assert splits(programs[::-1]) == splits(programs)
