import json

import numpy as np
import pytest

from stages.collect.tpu import windows
from stages.collect.tpu.windows import Window

#: TpuGraphs' real kernels in what their windows depend on: a reduction over {3,0,2,1:T(8,128)}, a convolution, and a
#: dot whose output features lie along the sublanes of its kernel
REDUCTION = """HloModule kernel, is_scheduled=true

%v0 {
  %v1 = f32[32,26,26,192]{3,0,2,1:T(8,128)} parameter(0)
  %v2 = f32[] constant(0)
  ROOT %v3 = f32[192]{0:T(256)} reduce(%v1, %v2), dimensions={0,1,2}, to_apply=%v4
}

ENTRY %v5 {
  %v6 = f32[32,26,26,192]{3,0,2,1:T(8,128)} parameter(0)
  ROOT %v7 = f32[192]{0:T(256)} fusion(%v6), kind=kLoop, calls=%v0
}
"""


def convolution(output, data, kernel, labels):
    return f"""HloModule kernel, is_scheduled=true

%v0 {{
  %v1 = {data} parameter(0)
  %v2 = {kernel} parameter(1)
  ROOT %v3 = {output} convolution(%v1, %v2), dim_labels={labels}
}}

ENTRY %v5 {{
  %v6 = {data} parameter(0)
  %v7 = {kernel} parameter(1)
  ROOT %v8 = {output} fusion(%v6, %v7), kind=kOutput, calls=%v0, backend_config={{"flag_configs":[{{"a":"1"}}]}}
}}
"""


CONVOLUTION = convolution(
    "bf16[32,12,12,384]{3,0,2,1:T(8,128)(2,1)}",
    "bf16[32,12,12,192]{3,0,2,1:T(8,128)(2,1)}",
    "f32[3,3,192,384]{3,2,1,0:T(8,128)}",
    "b01f_01io->b01f",
)
DOT = convolution(
    "f32[32,1000]{1,0:T(8,128)}", "f32[32,4096]{1,0:T(8,128)}", "f32[1000,4096]{1,0:T(8,128)}", "bf_oi->bf"
)


def test_extents_are_tiles_in_physical_order():
    space = windows.space(REDUCTION, Window((), (2, 26, 4, 2)))
    assert space.output == (26, 26, 4, 2)
    assert space.output_bounds[0] == (26, 13, 9, 7, 6, 5, 4, 3, 2, 1)  # as in all 61 real runs
    assert space.output_bounds[2:] == ((4, 2, 1), (2, 1))


def test_convolution_shares_output_features_and_groups_sublanes_of_input_features():
    space = windows.space(CONVOLUTION, Window((3, 1, 24, 3), (12, 4, 4, 3)))
    assert space.output == (12, 12, 4, 3) and space.kernel == (3, 3, 24, 3)
    assert space.kernel_bounds[:3] == ((3, 2, 1), (3, 2, 1), (24, 16))
    rng = np.random.default_rng(0)
    drawn = [space.draw(rng) for _ in range(50)]
    assert {window.output[3] for window in drawn} == {1, 2, 3}
    assert all(window.kernel[3] == window.output[3] for window in drawn)


def test_features_along_sublanes_of_the_kernel_follow_the_lanes_of_the_output():
    space = windows.space(DOT, Window((16, 32), (4, 1)))
    assert space.output == (4, 8) and space.kernel == (125, 32)
    rng = np.random.default_rng(0)
    pairs = {(window.output[1], window.kernel[0]) for window in (space.draw(rng) for _ in range(200))}
    assert pairs == {(1, 16), (2, 32), (3, 48), (4, 64), (8, 125)}


def test_steps_count_output_features_once():
    space = windows.space(CONVOLUTION, Window((3, 1, 24, 3), (12, 4, 4, 3)))
    assert space.steps(Window((3, 1, 16, 1), (6, 12, 4, 1))) == 2 * 3 * 3 * 2


@pytest.mark.parametrize("text", [REDUCTION, CONVOLUTION])
def test_forced_window_stands_on_the_kernel_beside_what_was_there(text):
    window = Window((1, 2), (3, 4))
    lines = windows.forced(text, window).splitlines()
    assert [line for line in lines if "window_config" in line] == [lines[-2]]
    config = json.loads(lines[-2].split("backend_config=")[1])
    assert config["window_config"]["output_window_bounds"] == ["3", "4"]
    assert config["window_config"]["kernel_window_bounds"] == ["1", "2"]
    assert config["flag_configs"] == ([] if text == REDUCTION else [{"a": "1"}])
    again = windows.forced("\n".join(lines), Window((), (5,)))
    assert again.count("window_config") == 1 and '"output_window_bounds":["5"]' in again


#: a copy that turns a tensor, with the compiler's own windows over its output and over its input
COPY = """HloModule kernel, is_scheduled=true

ENTRY %v0 {
  %v1 = bf16[8,20,28,2]{0,3,2,1:T(4,128)(2,1)} parameter(0)
  ROOT %v2 = bf16[8,20,28,2]{3,2,1,0:T(8,128)(2,1)} copy(%v1)
}
"""
OWN_OF_COPY = Window((), (8, 10, 4, 1), (10, 28, 1, 1))


def test_both_windows_of_a_turning_copy_hold_the_same_elements():
    space = windows.space(COPY, OWN_OF_COPY)
    assert space.output == (8, 20, 4, 1)
    # What lies along the 128 lanes of the input goes whole, though the output could cut it anywhere.
    assert space.output_bounds == ((8,), (20, 10, 7, 5, 4, 3, 2, 1), (4, 2, 1), (1,))
    rng = np.random.default_rng(0)
    for window in (space.draw(rng) for _ in range(50)):
        images, rows, columns, features = window.output
        assert window.input == (rows, min(28, 8 * columns), features, 1)


def test_copy_whose_windows_hold_other_elements_keeps_its_own():
    own = Window((), (8, 10, 4, 1), (20, 28, 1, 1))
    assert windows.candidates(COPY, own, 60, np.random.default_rng(0)) == [own]


def test_candidates_begin_with_the_own_window_and_differ():
    own = Window((3, 1, 24, 3), (12, 4, 4, 3))
    chosen = windows.candidates(CONVOLUTION, own, 60, np.random.default_rng(3))
    assert chosen[0] == own and len(set(chosen)) == len(chosen) == 60
    assert chosen == windows.candidates(CONVOLUTION, own, 60, np.random.default_rng(3))


def test_kernel_whose_bounds_count_nothing_known_keeps_its_own_window():
    own = Window((), (7, 100))
    assert windows.candidates(REDUCTION, own, 60, np.random.default_rng(0)) == [own]


def test_columns_are_bounds_with_sum_and_product():
    columns = Window((3, 1, 24, 3), (12, 4, 4, 3)).columns()
    assert columns[:8] == [3, 1, 24, 3, 0, 0, 31, 216]
    assert columns[8:16] == [12, 4, 4, 3, 0, 0, 23, 576]
    assert columns[16:] == [0] * 8


def test_a_window_that_the_compiler_replaced_was_not_taken():
    said = {"kernel_window_bounds": ["3"], "output_window_bounds": ["2", "26"], "input_window_bounds": ["4", "26"]}
    assert windows.was_taken(Window((3,), (2, 26)), {"window": said})  # whatever it made of the input
    assert not windows.was_taken(Window((3,), (2, 13)), {"window": said})
    assert not windows.was_taken(Window((1,), (2, 26)), {"window": said})
    assert not windows.was_taken(Window((3,), (2, 26)), {"window": None})


def test_own_window_is_read_from_what_the_compiler_says():
    config = {"kernel_window_bounds": [], "output_window_bounds": ["2", "26"], "input_window_bounds": ["26", "2"]}
    assert windows.own_window({"window": config}) == Window((), (2, 26), (26, 2))
    assert windows.own_window({"window": None}) is None
    assert windows.own_window({"window": {**config, "output_window_bounds": []}}) is None
