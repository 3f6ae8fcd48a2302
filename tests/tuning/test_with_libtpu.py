"""A function tuned by trained models and Google's compiler, to the JAX function; skipped where there is no libtpu."""

import json

import pytest

from stages.tuning import command, judging, report
from tests.support.pipeline import CHOSEN

FUNCTION = '''
import jax

def f(x, w, v):
    """Its matrix is transposed on the way, so that layouts matter."""
    return jax.nn.gelu((x @ w).reshape(4, 512, 1024).transpose(2, 0, 1).reshape(1024, 2048)) @ v
'''
SHAPES = ("f32[2048,512]", "f32[512,1024]", "f32[2048,512]")


@pytest.fixture(scope="module")
def tuned(request, tmp_path_factory):
    """Two searches of one function, in folders of their own, and their lines."""
    pytest.importorskip("libtpu", reason="Google's TPU compiler is not installed")
    pytest.importorskip("jax")
    reproduced, _ = request.getfixturevalue("reproduced")  # not before: it takes a minute
    folder = tmp_path_factory.mktemp("tuned")
    path = folder / "mine.py"
    path.write_text(FUNCTION)
    results = []
    for name in ("one", "other"):
        options = command.Options(
            f"{path}:f",
            SHAPES,
            compilations=6,
            models=str(reproduced / "data"),
            collection=CHOSEN[1],
            out=folder / name,
            cache=folder / "kernels.sqlite",
        )
        results.append(command.tune(options, lambda text: None))
    return results


def test_a_function_is_tuned_and_the_same_again(tuned):
    (result, folder), (again, other) = tuned
    assert len(result.times_ns) == 6 and result.judged > 6 and result.own_ns > 0
    assert result.found_ns <= result.own_ns
    assert result == again or vars(result) == vars(again)
    for name in (report.PAGE, report.OUTCOME, report.LAYOUTS, report.HLO):
        assert (folder / name).read_bytes() == (other / name).read_bytes()


def test_the_kernels_tell_the_whole_gain(tuned):
    (result, folder), _ = tuned
    saved = sum(kernel.saved_ns for kernel in result.kernels)
    assert saved == pytest.approx(result.own_ns - result.found_ns, abs=1.0)
    assert len(json.loads((folder / report.LAYOUTS).read_text())) == len(result.layouts)


def test_collection_by_the_program(tuned):
    (result, _), _ = tuned
    assert result.collection == CHOSEN[1]
    assert judging.layout_collection("layout-nlp-random") == "layout:nlp:random"
