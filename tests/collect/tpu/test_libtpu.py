"""What needs Google's compiler; the pipeline's own environment has none, and these tests are skipped there."""

import os
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from stages.collect.tpu import cutting, libtpu, passes
from stages.collect.tpu.constraints import constrained
from stages.collect.tpu.real_runs import runs_of
from stages.collect.tpu.simulate import Simulator
from stages.collect.tpu.windows import Window, candidates, forced, own_window, space, was_taken
from stages.engine.errors import InputError
from stages.hlo import hlo_pb2

#: a convolution, a loop of three trips around a dot, and a constant that a stop with a constant of its own would be
#: merged with
TEXT = """HloModule net, entry_computation_layout={(f32[32,14,14,128]{3,2,1,0}, f32[3,3,128,256]{3,2,1,0}, f32[256,256]{1,0})->f32[6272,256]{1,0}}

%body (state: (s32[], f32[6272,256], f32[256,256])) -> (s32[], f32[6272,256], f32[256,256]) {
  %state = (s32[], f32[6272,256], f32[256,256]) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %one = s32[] constant(1)
  %next = s32[] add(%i, %one)
  %x = f32[6272,256] get-tuple-element(%state), index=1
  %w = f32[256,256] get-tuple-element(%state), index=2
  %dot = f32[6272,256] dot(%x, %w), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %tanh = f32[6272,256] tanh(%dot)
  ROOT %out = (s32[], f32[6272,256], f32[256,256]) tuple(%next, %tanh, %w)
}

%condition (state: (s32[], f32[6272,256], f32[256,256])) -> pred[] {
  %state = (s32[], f32[6272,256], f32[256,256]) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %limit = s32[] constant(3)
  ROOT %less = pred[] compare(%i, %limit), direction=LT
}

ENTRY %main (image: f32[32,14,14,128], kernel: f32[3,3,128,256], w: f32[256,256]) -> f32[6272,256] {
  %image = f32[32,14,14,128] parameter(0)
  %kernel = f32[3,3,128,256] parameter(1)
  %w = f32[256,256] parameter(2)
  %conv = f32[32,14,14,256] convolution(%image, %kernel), window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f
  %nought = f32[] constant(0)
  %floor = f32[32,14,14,256] broadcast(%nought), dimensions={}
  %relu = f32[32,14,14,256] maximum(%conv, %floor)
  %rows = f32[6272,256] reshape(%relu)
  %zero = s32[] constant(0)
  %init = (s32[], f32[6272,256], f32[256,256]) tuple(%zero, %rows, %w)
  %loop = (s32[], f32[6272,256], f32[256,256]) while(%init), condition=%condition, body=%body
  ROOT %result = f32[6272,256] get-tuple-element(%loop), index=1
}
"""  # noqa: E501


@pytest.mark.parametrize(("installed", "fault"), [(None, "is not installed"), ("0.0.1", "libtpu 0.0.1 is installed")])
def test_missing_or_other_libtpu_is_one_line(installed, fault, monkeypatch):
    def version(name):
        if installed is None:
            raise metadata.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(InputError, match=fault) as refused:
        libtpu.require()
    assert "make collect" in str(refused.value) and "\n" not in str(refused.value)


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    pytest.importorskip("libtpu", reason="Google's TPU compiler is not installed")
    with Simulator(tmp_path_factory.mktemp("cache") / "kernels.sqlite") as opened:
        yield opened


@pytest.fixture(scope="module")
def stages(simulator):
    return simulator.stages(TEXT)


def test_passes_stop_before_code_and_leave_no_trace(stages):
    assert "stop_here" not in stages.before + stages.assigned
    assert "convolution(" in stages.before and "fusion(" not in stages.before
    module = hlo_pb2.HloProto.FromString(stages.before_proto).hlo_module
    instructions = [each for computation in module.computations for each in computation.instructions]
    assert len(instructions) == sum(line.startswith("  ") for line in stages.before.splitlines())
    assert {each.name for each in instructions} & {"stop_here"} == set()
    assert "fusion(" in stages.optimised and "T(8,128)" in stages.optimised


def test_module_before_layout_assignment_can_be_compiled_again(simulator, stages):
    again = simulator.stages(stages.before)
    assert again.before == stages.before
    texts = [[kernel.text for kernel in cutting.kernels(each.optimised)] for each in (stages, again)]
    assert texts[0] == texts[1]


def test_program_is_the_sum_of_its_kernels_times_trips(simulator, stages):
    result = simulator.program(stages.before)
    looped = [cost for cost in result.kernels if cost.kernel.trips == 3]
    assert looped and not result.faults
    assert result.time_ns == pytest.approx(sum(cost.time_ns * cost.kernel.trips for cost in result.kernels))
    # 6.2 GFLOP at 61 TFLOP/s, a v3 core's peak, take 0.1 ms; float32 may be computed in bfloat16
    assert 100_000 < result.time_ns < 1_000_000


def test_second_time_compiles_nothing(simulator, stages):
    compiled = []
    simulator.program(stages.before)
    simulator.program(stages.before, lambda: compiled.append(1))
    assert compiled == []


def test_constraint_reaches_the_convolution(simulator, stages):
    name = next(line.split(" = ")[0].strip() for line in stages.before.splitlines() if "convolution(" in line)
    other = simulator.stages(constrained(stages.before, {name.lstrip("%"): {0: (0, 3, 2, 1)}}))
    assert "{0,3,2,1:T(8,128)}" in other.optimised and "{0,3,2,1:T(8,128)}" not in stages.optimised


def test_forced_window_is_taken(simulator, stages):
    kernels = [kernel for kernel in cutting.kernels(stages.optimised) if "convolution" in kernel.text]
    for kernel in kernels:
        own = own_window(simulator.records([kernel.text])[0])
        smaller = next(
            window
            for window in candidates(kernel.text, own, 30, np.random.default_rng(0))
            if space(kernel.text, own).steps(window) > space(kernel.text, own).steps(own)
        )
        default, other = simulator.records([kernel.text, forced(kernel.text, smaller)])
        assert was_taken(smaller, other)
        assert other["schedules"][0]["steps"] == space(kernel.text, own).steps(smaller)
        assert default["schedules"][0]["steps"] == space(kernel.text, own).steps(own)


def test_module_with_a_fault_is_refused_in_one_line(simulator):
    with pytest.raises(libtpu.CompileError) as refused:
        simulator.stages(TEXT.replace("dot(%x, %w)", "dot(%x, %nothing)"))
    assert "\n" not in str(refused.value)


def test_real_windows_keep_the_rules(simulator):
    folder = os.environ.get("TPUGRAPHS_DIR")
    if not folder:
        pytest.skip("TPUGRAPHS_DIR names no folder of real TpuGraphs files")
    tuning = hlo_pb2.TuningData.FromString((Path(folder) / "pb" / "op_tuning_data.pb").read_bytes())
    texts = {run.kernel: run.text for run in runs_of(Path(folder))}
    kept = 0
    for number, module in enumerate(tuning.modules):
        tiles = [(run.is_default, run.op_config.tile_size_config) for run in module.runs]
        windows = [(default, Window(tuple(tile.kernel_bounds), tuple(tile.output_bounds))) for default, tile in tiles]
        own = next(window for default, window in windows if default)
        if own.output:
            whole = space(texts[number], own)
            for _, window in windows:
                assert all(bound in bounds for bound, bounds in zip(window.output, whole.output_bounds, strict=True))
                kept += 1
    assert kept > 700


def test_jax_function_becomes_a_module(simulator):
    libtpu.set_environment()
    jax = pytest.importorskip("jax")
    shape = jax.ShapeDtypeStruct((64, 256), "float32")
    text = passes.module_of(lambda x, y: jax.numpy.tanh(x @ y.T), (shape, shape))
    assert simulator.program(text).time_ns > 0


def test_requirements_pin_the_compiler_that_the_code_wants():
    pinned = Path("requirements-libtpu.txt").read_text().splitlines()
    assert f"libtpu=={libtpu.VERSION}" in pinned
