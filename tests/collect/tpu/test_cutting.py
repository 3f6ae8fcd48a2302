"""Optimised programs, written by hand in the compiler's own way."""

import pytest

from stages.collect.tpu import cutting

CONFIG = (
    'backend_config={"flag_configs":[],"scoped_memory_configs":[],"used_scoped_memory_configs":[],'
    '"aliasing_operands":{"lists":[{"indices":["0","2"]}]}}'
)


def program(prefix="fused", metadata="", config=f", {CONFIG}", limit=5):
    """Two equal fusions and a copy, the copy also in a loop of ``limit`` trips."""
    return f"""HloModule jit_f, is_scheduled=true, entry_computation_layout={{(f32[8,128]{{1,0}})->f32[8,128]{{1,0}}}}

%{prefix}_computation.1 (param_0.1: f32[8,128]) -> f32[8,128] {{
  %param_0.1 = f32[8,128]{{1,0:T(8,128)}} parameter(0)
  ROOT %tanh.1 = f32[8,128]{{1,0:T(8,128)}} tanh(%param_0.1){metadata}
}}

%other_computation (param_0.2: f32[8,128]) -> f32[8,128] {{
  %param_0.2 = f32[8,128]{{1,0:T(8,128)}} parameter(0)
  ROOT %tanh.2 = f32[8,128]{{1,0:T(8,128)}} tanh(%param_0.2)
}}

%body (state: (s32[], f32[8,128])) -> (s32[], f32[8,128]) {{
  %state = (s32[]{{:T(256)}}, f32[8,128]{{1,0:T(8,128)}}) parameter(0)
  %i = s32[]{{:T(256)}} get-tuple-element(%state), index=0
  %one = s32[]{{:T(256)}} constant(2)
  %next = s32[]{{:T(256)}} add(%i, %one)
  %x = f32[8,128]{{1,0:T(8,128)}} get-tuple-element(%state), index=1
  %copy.7 = f32[8,128]{{0,1:T(8,128)}} copy(%x){config}
  ROOT %out = (s32[]{{:T(256)}}, f32[8,128]{{1,0:T(8,128)}}) tuple(%next, %copy.7)
}}

%condition (state.1: (s32[], f32[8,128])) -> pred[] {{
  %state.1 = (s32[]{{:T(256)}}, f32[8,128]{{1,0:T(8,128)}}) parameter(0)
  %i.1 = s32[]{{:T(256)}} get-tuple-element(%state.1), index=0
  %limit = s32[]{{:T(256)}} constant({limit})
  ROOT %less = pred[]{{:T(1024)}} compare(%i.1, %limit), direction=LT
}}

ENTRY %main (p: f32[8,128], q: f32[8,128]) -> f32[8,128] {{
  %p = f32[8,128]{{1,0:T(8,128)}} parameter(0)
  %q = (f32[8,128]{{1,0:T(8,128)}}, /*index=1*/s32[]{{:T(256)}}) parameter(1)
  %stop_here = f32[]{{:T(256)}} custom-call(), custom_call_target="stop_here", custom_call_has_side_effect=true
  %fusion.1 = f32[8,128]{{1,0:T(8,128)}} fusion(%p), kind=kLoop, calls=%{prefix}_computation.1{metadata}{config}
  %fusion.2 = f32[8,128]{{1,0:T(8,128)}} fusion(%fusion.1), kind=kLoop, calls=%other_computation{config}
  %zero = s32[]{{:T(256)}} constant(0)
  %copy.1 = s32[]{{:T(256)}} copy(%zero)
  %init = (s32[]{{:T(256)}}, f32[8,128]{{1,0:T(8,128)}}) tuple(%copy.1, %fusion.2)
  %loop = (s32[]{{:T(256)}}, f32[8,128]{{1,0:T(8,128)}}) while(%init), condition=%condition, body=%body
  %looped = f32[8,128]{{1,0:T(8,128)}} get-tuple-element(%loop), index=1
  ROOT %copy.2 = f32[8,128]{{0,1:T(8,128)}} copy(%looped)
}}
"""


def test_kernels_are_what_runs_with_trips_of_loops():
    kernels = cutting.kernels(program())
    assert [(kernel.name, kernel.opcode, kernel.trips) for kernel in kernels] == [
        ("fusion.1", "fusion", 1),
        ("fusion.2", "fusion", 1),
        ("copy.7", "copy", 3),  # from 0 by 2 below 5
        ("copy.2", "copy", 1),
    ]


def test_equal_kernels_have_equal_text_whatever_their_names_and_places():
    metadata = ', metadata={op_name="jit(f)/tanh" source_file="a.py" stack_frame_id=3}'
    first, second, looped, last = (kernel.text for kernel in cutting.kernels(program("fused", metadata)))
    assert first == second and looped == last and first != last
    assert [kernel.text for kernel in cutting.kernels(program("renamed", config=""))] == [first, first, last, last]
    assert "metadata" not in first and "backend_config" not in first


def test_configuration_that_says_something_stays():
    config = CONFIG.replace('"flag_configs":[]', '"flag_configs":[{"a":"1"}]')
    text = cutting.kernels(program(config=f", {config}"))[0].text
    assert 'backend_config={"flag_configs":[{"a":"1"}]}' in text


def test_operand_used_twice_is_one_parameter():
    text = program().replace("fusion(%p), kind=kLoop", "fusion(%p, %p), kind=kLoop")
    kernel = cutting.kernels(text)[0].text
    assert kernel.count(" parameter(0)") == 2 and " parameter(1)" not in kernel


def test_counter_copied_before_it_is_counted_up_is_still_the_counter():
    copied = "  %i.2 = s32[]{:T(256)S(6)} copy(%i)\n  %next = s32[]{:T(256)} add(%i.2, %one)"
    text = program().replace("  %next = s32[]{:T(256)} add(%i, %one)", copied)
    assert [kernel.trips for kernel in cutting.kernels(text)] == [1, 1, 3, 1]


def test_trips_noted_by_the_compiler_are_taken():
    noted = ', body=%body, backend_config={"known_trip_count":{"n":"11"}}'
    kernels = cutting.kernels(program().replace(", body=%body", noted))
    assert [kernel.trips for kernel in kernels] == [1, 1, 11, 1]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("direction=LT", "direction=GT", "trips"),
        ("add(%i, %one)", "multiply(%i, %one)", "trips"),
        (
            "%loop = ",
            "%loop = f32[8]{0} conditional(%p, %p), branch_computations={%body, %body}\n  %l = ",
            "conditional",
        ),
    ],
)
def test_what_cannot_be_summed_is_refused_in_one_line(old, new, reason):
    with pytest.raises(cutting.Uncuttable, match=reason) as refused:
        cutting.kernels(program().replace(old, new))
    assert "\n" not in str(refused.value)
