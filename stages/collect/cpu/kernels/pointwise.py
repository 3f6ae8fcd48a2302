"""Kernels that compute or copy one cell at a time.

Each function builds one operation from a variant's name and the sizes that also name the kernel.
"""

from stages.collect.cpu.kernels.operation import ACTIVATIONS, Along, Input, Operation, along_all


def transpose(variant: str, *shape: int) -> Operation:
    """`variant` is the permutation, with a trailing i for int32; `shape` is the input's."""
    dtype = "s32" if variant.endswith("i") else "f32"
    order = tuple(int(digit) for digit in variant.rstrip("i"))
    dims = tuple(Along(order.index(position)) for position in range(len(shape)))
    output = tuple(shape[position] for position in order)
    return Operation(lambda jax, x: jax.numpy.transpose(x, order), (Input(dims, dtype),), output, dtype)


def elementwise(variant: str, *shape: int) -> Operation:
    """One expression of one to three inputs of the same shape."""
    compute, arity, dtype = {
        "gate": (lambda jax, x, y: jax.numpy.tanh(x) * jax.nn.sigmoid(y), 2, "f32"),
        "fma": (lambda jax, x, y, z: x * y + z, 3, "f32"),
        "swish": (lambda jax, x: x * jax.nn.sigmoid(x), 1, "f32"),
        "adam": (lambda jax, x, m, v: x - 0.01 * m / (jax.numpy.sqrt(jax.numpy.abs(v)) + 1e-3), 3, "f32"),
        "hash": (lambda jax, x, y: ((x ^ (x >> 15)) * 73244475 + y) & 0xFFFF, 2, "s32"),
    }[variant]
    dims = Input(tuple(Along(axis) for axis in range(len(shape))), dtype)
    return Operation(compute, (dims,) * arity, shape, dtype)


def broadcast_bias_activation(variant: str, *shape: int) -> Operation:
    """A bias on the last axis, then the activation that `variant` names."""
    bias = Input((Along(len(shape) - 1),))
    return Operation(lambda jax, x, b: ACTIVATIONS[variant](jax, x + b), (along_all(shape), bias), shape)


def gather_rows(variant: str, rows: int, width: int, count: int) -> Operation:
    """`count` rows of a table (rows,width), as they are or their tanh."""
    compute = {
        "plain": lambda jax, table, index: jax.numpy.take(table, index, axis=0, mode="clip"),
        "tanh": lambda jax, table, index: jax.numpy.tanh(jax.numpy.take(table, index, axis=0, mode="clip")),
    }[variant]
    return Operation(compute, (Input((rows, Along(1))), Input((Along(0),), "s32")), (count, width))
