"""Kernels that move a window over their input.

Each function builds one operation from a variant's name and the sizes that also name the kernel.
"""

import numpy as np

from stages.collect.cpu.kernels.operation import ACTIVATIONS, Along, Input, Operation


def convolution(variant: str, b: int, h: int, w: int, ci: int, co: int, window: int, stride: int) -> Operation:
    """NHWC input, HWIO window, no padding: h and w are the output's."""

    def compute(jax, x, kernel):
        y = jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return ACTIVATIONS["relu"](jax, y) if variant == "relu" else y

    image = Input((Along(0), Along(1, stride, window), Along(2, stride, window), ci))
    return Operation(compute, (image, Input((window, window, ci, Along(3)))), (b, h, w, co), has_window=True)


def depthwise_convolution(variant: str, b: int, h: int, w: int, c: int, window: int, stride: int) -> Operation:
    """NHWC input, one window a channel, no padding: h and w are the output's."""

    def compute(jax, x, kernel):
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=x.shape[3],
        )

    image = Input((Along(0), Along(1, stride, window), Along(2, stride, window), Along(3)))
    return Operation(compute, (image, Input((window, window, 1, Along(3)))), (b, h, w, c), has_window=True)


def pooling(variant: str, b: int, h: int, w: int, c: int, window: int, stride: int) -> Operation:
    """NHWC input, maximum or mean of each window, no padding: h and w are the output's."""

    def compute(jax, x):
        window_dims, strides = (1, window, window, 1), (1, stride, stride, 1)
        if variant == "max":
            return jax.lax.reduce_window(x, -np.inf, jax.lax.max, window_dims, strides, "VALID")
        return jax.lax.reduce_window(x, 0.0, jax.lax.add, window_dims, strides, "VALID") / window**2

    image = Input((Along(0), Along(1, stride, window), Along(2, stride, window), Along(3)))
    return Operation(compute, (image,), (b, h, w, c))


def stencil(variant: str, *shape: int) -> Operation:
    """Each output cell from its direct neighbours on every axis; the input carries a rim of one cell."""
    inner = (slice(1, -1),) * len(shape)

    def compute(jax, x):
        total = x[inner] * (-2.0 * len(shape))
        for axis in range(len(shape)):
            for side in (slice(None, -2), slice(2, None)):
                total = total + x[inner[:axis] + (side,) + inner[axis + 1 :]]
        return x[inner] + 0.1 * (jax.numpy.tanh(total) if variant == "tanh" else total)

    return Operation(compute, (Input(tuple(Along(axis, 1, 3) for axis in range(len(shape)))),), shape)
