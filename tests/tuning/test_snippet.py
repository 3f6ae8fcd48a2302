"""Layouts as JAX takes them, by cases computed by hand."""

import pytest

from stages.hlo import hlo_pb2
from stages.tuning import snippet
from stages.tuning.outcome import Forced
from stages.tuning.snippet import Place
from stages.tuning.source import Source


def forced(node, slot, opcode, shape, minor_to_major):
    return Forced(node, slot, opcode, shape, minor_to_major, None)


def module(**instructions):
    """A serialized HloProto of (opcode, scope, operands) by name; the scope is in a field that hlo.proto leaves out."""
    proto, ids = hlo_pb2.HloProto(), {}
    computation = proto.hlo_module.computations.add(name="main")
    for name, (opcode, scope, operands) in instructions.items():
        ids[name] = len(ids) + 1
        made = hlo_pb2.HloInstructionProto(name=name, opcode=opcode, id=ids[name])
        made.operand_ids.extend(ids[each] for each in operands)
        told = bytes([2 << 3 | 2, len(scope)]) + scope.encode()  # op_name, the second field
        content = made.SerializeToString() + bytes([7 << 3 | 2, len(told)]) + told  # metadata, the seventh
        computation.instructions.append(hlo_pb2.HloInstructionProto.FromString(content))
    return proto.SerializeToString()


CONV, DOT = "conv_general_dilated", "dot_general"


def test_an_instruction_tells_its_equation_and_where_its_operands_come_from():
    proto = module(
        x=("parameter", "", ()),
        k=("constant", "", ()),
        conv=("convolution", "jit(run)/equation3.conv_general_dilated.a.a/conv_general_dilated", "xk"),
        copy=("copy", "jit(run)/transpose", ("conv",)),
        dot=("dot", "jit(run)/equation12.dot_general.a.3/dot_general", ("conv", "copy")),
    )
    assert snippet.places_of(proto) == {
        "conv": Place(3, CONV, ("a", "a"), ("a", "a")),
        "dot": Place(12, DOT, ("a", "3"), ("3", None)),
    }


@pytest.mark.parametrize(
    ("origins", "operands", "alike", "slots"),
    [
        (("4", "5"), ("4", "5"), True, (0, 1, 2)),
        (("4", "5"), ("5", "4"), True, (0, 2, 1)),  # the compiler has exchanged them
        (("a", "5"), ("5", "a"), False, (0, 2, 1)),
        (("4", "4"), ("4", "4"), True, (0, 1, 2)),
        (("4", "5"), (None, "7"), True, (0, None, None)),  # they may be exchanged or not
        (("4", "5"), (None, "7"), False, (0, 1, 2)),  # shapes tell, when the function is traced
        (("4",), ("4",), False, (0, 1, 2)),
    ],
)
def test_operands_that_the_compiler_exchanged_are_found(origins, operands, alike, slots):
    place = Place(1, DOT, origins, operands)
    assert tuple(place.slot(slot, alike) for slot in range(3)) == slots


def test_layouts_turn_from_minor_first_to_major_first():
    layouts = [
        forced("conv", "output", "convolution", "f32[32,28,28,512]", (0, 3, 2, 1)),
        forced("conv", "kernel", "convolution", "f32[3,3,256,512]", (2, 3, 1, 0)),
        forced("dot", "input", "dot", "bf16[64,128]", (0, 1)),
    ]
    places = {"conv": Place(3, CONV, ("a", "a"), ("a", "a")), "dot": Place(12, DOT, ("3", "a"), ("a", "3"))}
    assert snippet.expressible(layouts, places, lambda name: False) == {
        3: {0: ((32, 28, 28, 512), (1, 2, 3, 0)), 2: ((3, 3, 256, 512), (0, 1, 3, 2))},
        12: {2: ((64, 128), (1, 0))},
    }


def place(number, primitive):
    return Place(number, primitive, ("a", "a"), ("a", "a"))


@pytest.mark.parametrize(
    "places",
    [
        {},  # the compiler made both
        {"dot": place(3, "scan"), "dot.1": place(4, "while")},  # within a loop
        {"dot": place(3, CONV), "dot.1": place(5, "reduce_sum")},
        {"dot": place(3, DOT), "dot.1": place(3, DOT)},  # two of one equation
    ],
)
def test_what_is_no_tensor_of_the_function_is_left_out(places):
    layouts = [forced(name, "output", "dot", "f32[64,128]", (0, 1)) for name in ("dot", "dot.1")]
    assert snippet.expressible(layouts, places, lambda name: False) == {}


def test_what_could_not_be_forced_is_left_out():
    layouts = {3: {0: ((2, 3), (1, 0)), 1: ((4, 5), (1, 0))}, 4: {2: ((6, 7), (1, 0))}}
    assert snippet.without(layouts, [(3, 1), (4, 2)]) == {3: {0: ((2, 3), (1, 0))}}


def test_a_program_of_the_data_set_has_no_function():
    assert snippet.make(Source("t5_small_b32_forward", ""), None, [], None) is None


def test_the_file_runs_and_forces_what_it_says(tmp_path):
    jax = pytest.importorskip("jax")

    def function(tree):
        return {"y": jax.nn.gelu(tree["x"] @ tree["w"]), "x": tree["x"].reshape(-1)}

    shapes = {"x": jax.ShapeDtypeStruct((64, 128), "float32"), "w": jax.ShapeDtypeStruct((128, 32), "float32")}
    scope = {}
    layouts = {0: {0: ((64, 32), (1, 0)), 1: ((64, 128), (1, 0))}}
    exec(compile(snippet._file("mine", layouts), "tuned.py", "exec"), scope)
    tuned = scope["tuned"](function, (shapes,), scope["LAYOUTS"])
    text = jax.jit(tuned).lower(shapes).as_text()
    assert text.count("LayoutConstraint") == 2 and "LayoutConstraint" not in jax.jit(function).lower(shapes).as_text()
    values = jax.tree.map(lambda shape: jax.numpy.ones(shape.shape), shapes)
    left = []
    scope["tuned"](function, (shapes,), {0: {0: ((9, 9), (1, 0))}}, tell=lambda *place: left.append(place))(values)
    assert left == [(0, 0)]
    plain = scope["tuned"](function, (shapes,), {})(values)
    assert all(jax.numpy.array_equal(plain[key], function(values)[key]) for key in ("x", "y"))
