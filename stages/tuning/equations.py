"""A JAX function with layouts forced on the tensors of some of its equations, which are told by their numbers.

An equation's number is its place in the function's jaxpr, calls within it unfolded. This file needs nothing but JAX: a
search writes it into the program's own `tuned.py`, with the layouts that it found.
"""

import contextlib

import jax
from jax.experimental.layout import Layout, with_layout_constraint
from jax.extend.core import Literal

#: calls that are unfolded, by the parameter that holds what they call
CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr"}


def tuned(function, arguments, layouts, named=False, tell=lambda number, slot: None):
    """The function with layouts forced.

    Args:
        function: What `jax.jit` takes.
        arguments: Its positional arguments: trees of arrays or of `jax.ShapeDtypeStruct`.
        layouts: {equation: {slot: (shape, major to minor)}}; slot 0 is its result, 1 and 2 are its operands.
        named: Whether each equation gets a scope that says its number, its primitive and, by their equations' numbers,
            where its operands come from ("a" for arguments and constants).
        tell: Called with the number and the slot of a layout that was not forced: the tensor has another shape.

    Returns:
        A function of such arguments.
    """
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
    structure = jax.tree.structure(shapes)

    def run(*arguments):
        inputs = [(each, "a") for each in jax.tree.leaves(arguments)]
        outputs = _evaluated(closed, inputs, iter(range(1 << 62)), layouts, named, tell)
        return jax.tree.unflatten(structure, [value for value, _ in outputs])

    return run


def _evaluated(closed, inputs, numbers, layouts, named, tell):
    """What a closed jaxpr makes of its inputs, equation by equation: values, each with the equation it comes from."""
    values = dict(zip(closed.jaxpr.constvars, [(each, "a") for each in closed.consts], strict=True))
    values |= dict(zip(closed.jaxpr.invars, inputs, strict=True))

    def read(variable):
        return (variable.val, "a") if isinstance(variable, Literal) else values[variable]

    for equation in closed.jaxpr.eqns:
        primitive, inputs = equation.primitive, [read(each) for each in equation.invars]
        called = equation.params.get(CALLS.get(primitive.name))
        if called is not None:
            results = _evaluated(called, inputs, numbers, layouts, named, tell)
        else:
            number = next(numbers)
            wanted, operands = layouts.get(number, {}), [value for value, _ in inputs]
            for slot in sorted(slot for slot in wanted if 0 < slot <= len(operands)):
                operands[slot - 1] = _forced(operands[slot - 1], wanted[slot], number, slot, tell)
            scope = ".".join([f"equation{number}", primitive.name, *(str(origin) for _, origin in inputs[:2])])
            with jax.named_scope(scope) if named else contextlib.nullcontext():
                results = primitive.bind(*operands, **primitive.get_bind_params(equation.params))
            results = list(results) if primitive.multiple_results else [results]
            if 0 in wanted:
                results[0] = _forced(results[0], wanted[0], number, 0, tell)
            results = [(each, number) for each in results]
        values.update(zip(equation.outvars, results, strict=True))
    return [read(each) for each in closed.jaxpr.outvars]


def _forced(value, wanted, number, slot, tell):
    shape, major_to_minor = wanted
    if tuple(value.shape) != tuple(shape):
        tell(number, slot)
        return value
    return with_layout_constraint(value, Layout(major_to_minor=tuple(major_to_minor)))
