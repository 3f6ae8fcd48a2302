"""What cannot be tuned is told in a line."""

import pytest

from stages.engine.errors import InputError
from stages.tuning import source


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("f32[32,224,224,3]", ("float32", (32, 224, 224, 3))),
        ("bf16[768, 768]", ("bfloat16", (768, 768))),
        ("int32[8]", ("int32", (8,))),
        ("pred[]", ("bool", ())),
    ],
)
def test_shapes_are_read(shape, expected):
    assert source.parsed(shape) == expected


@pytest.mark.parametrize("shape", ["", "f32", "f32[a]", "f99[2]", "f32[2", "f32[2,]", "[2]", "f32[-1]", "f32[2]f32[2]"])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(InputError, match="is no shape: give TYPE"):
        source.parsed(shape)


MODULE = """
SIZE = 3

def matmul(x, y):
    return x @ y

def optional(x, y=None, *, flag=False):
    return x @ x if y is None else x @ y

def wrong():
    return 5

def broken():
    raise ValueError("no weights here")

def program():
    import jax
    shape = jax.ShapeDtypeStruct((256, 256), "float32")
    return (lambda pair: pair["x"] @ pair["y"]), ({"x": shape, "y": shape},)
"""


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(MODULE)
    return str(path)


def refused(program, shapes=None):
    with pytest.raises(InputError) as caught:
        source.read(program, shapes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("program", "fault"),
    [
        ("nothing", "is no MODULE:FUNCTION and no program of the data set"),
        (":f", "names no module or no function"),
        ("net:", "names no module or no function"),
        ("no_such_module_1:f", "there is no module no_such_module_1; give its dotted name"),
        ("stages.no_such_module:f", "there is no module stages.no_such_module"),
        ("no/such/file.py:f", "there is no file no/such/file.py"),
    ],
)
def test_a_program_that_is_not_there(program, fault):
    assert refused(program).startswith(f"{program}: ") and fault in refused(program)


def test_a_program_of_the_data_set_has_its_shapes():
    assert "whose shapes are known" in refused("t5_small_b32_forward", ["f32[2]"])


def test_a_function_that_is_not_there_or_none(module):
    assert refused(f"{module}:absent").endswith("the module has no absent; give the name of one of its functions")
    assert "SIZE is no function but of int" in refused(f"{module}:SIZE")


def test_a_module_with_a_fault_is_told_with_its_line(tmp_path):
    (tmp_path / "faulty.py").write_text("import math\nmath.nothing\n")
    told = refused(f"{tmp_path}/faulty.py:f")
    assert "cannot be imported: AttributeError" in told and "at faulty.py:2" in told
    (tmp_path / "needy.py").write_text("import no_such_package_1\n")
    assert "needs a module no_such_package_1, which is not installed" in refused(f"{tmp_path}/needy.py:f")


def test_functions_without_shapes(module):
    assert "takes x, y, whose shapes are missing; give one for each: --shapes" in refused(f"{module}:matmul")
    assert "returns no (function, arguments)" in refused(f"{module}:wrong")
    told = refused(f"{module}:broken")
    assert "cannot be called: ValueError: no weights here at net.py:" in told


def test_shapes_that_do_not_fit(module):
    pytest.importorskip("jax")
    assert "takes x, y, and 1 shape was given" in refused(f"{module}:matmul", ["f32[8,8]"])
    assert "takes x, y, and 3 shapes were given" in refused(f"{module}:matmul", ["f32[8,8]"] * 3)
    assert "cannot be traced: TypeError" in refused(f"{module}:matmul", ["f32[8,8]", "f32[9,9]"])


def test_a_function_becomes_a_module(module):
    pytest.importorskip("jax")
    read = source.read(f"{module}:matmul", ["f32[256,128]", "bf16[128,64]"])
    assert "f32[256,128]" in read.text and "bf16[128,64]" in read.text and "dot(" in read.text
    assert read.name.endswith("net.matmul")
    assert "dot(" in source.read(f"{module}:optional", ["f32[64,64]"]).text
    assert "f32[256,256]" in source.read(f"{module}:program", None).text
