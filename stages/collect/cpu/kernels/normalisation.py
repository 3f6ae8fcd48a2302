"""Kernels that need an axis whole: reductions, softmax, layer normalisation.

Each function builds one operation from a variant's name and the sizes that also name the kernel.
"""

from stages.collect.cpu.kernels.operation import Along, Input, Operation, along_all


def reduce(variant: str, *shape: int) -> Operation:
    """`variant` is function and reduced axis; a trailing i makes it int32."""
    name, axis, dtype = variant[:-1], int(variant[-1]), "f32"
    if name.endswith("i"):
        name, dtype = name[:-1], "s32"
    compute = {
        "sum": lambda jax, x: jax.numpy.sum(x, axis),
        "max": lambda jax, x: jax.numpy.max(x, axis),
        "norm": lambda jax, x: jax.numpy.sqrt(jax.numpy.sum(x * x, axis)),
        "expsum": lambda jax, x: jax.numpy.sum(jax.numpy.exp(x), axis),
    }[name]
    dims = [Along(position - (position > axis)) for position in range(len(shape))]
    dims[axis] = shape[axis]
    return Operation(compute, (Input(tuple(dims), dtype),), shape[:axis] + shape[axis + 1 :], dtype)


def softmax(variant: str, *shape: int) -> Operation:
    """Softmax over the last axis, or its logarithm."""
    compute = {
        "plain": lambda jax, x: jax.nn.softmax(x, axis=-1),
        "log": lambda jax, x: jax.nn.log_softmax(x, axis=-1),
    }[variant]
    return Operation(compute, (along_all(shape),), shape, whole_axes=(len(shape) - 1,))


def layer_norm(variant: str, *shape: int) -> Operation:
    """Normalisation over the last axis, as a layer norm or by the root mean square, then scale (and offset)."""

    def layer(jax, x, scale, offset):
        centred = x - jax.numpy.mean(x, -1, keepdims=True)
        return centred * jax.lax.rsqrt(jax.numpy.mean(centred * centred, -1, keepdims=True) + 1e-5) * scale + offset

    def root_mean_square(jax, x, scale):
        return x * jax.lax.rsqrt(jax.numpy.mean(x * x, -1, keepdims=True) + 1e-5) * scale

    compute, vectors = {"layer": (layer, 2), "rms": (root_mean_square, 1)}[variant]
    inputs = (along_all(shape), *[Input((shape[-1],))] * vectors)
    return Operation(compute, inputs, shape, whole_axes=(len(shape) - 1,))
