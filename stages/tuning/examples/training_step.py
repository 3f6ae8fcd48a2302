"""A training step: loss, gradients and updated weights of a network of dense layers.

python -m stages.tune stages.tuning.examples.training_step:step
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

WIDTHS = (784, 2048, 2048, 1024, 10)
BATCH, RATE = 512, 1e-3


def loss(weights: list[jax.Array], images: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean cross-entropy of images (batch, 784) and labels (batch,)."""
    x = images
    for weight in weights[:-1]:
        x = jax.nn.gelu(x @ weight)
    chosen = jax.nn.one_hot(labels, WIDTHS[-1])
    return -jnp.mean(jnp.sum(jax.nn.log_softmax(x @ weights[-1]) * chosen, axis=-1))


def step() -> tuple[Callable, tuple]:
    """One step of gradient descent, and the shapes of its arguments."""

    def train(weights, images, labels):
        value, gradients = jax.value_and_grad(loss)(weights, images, labels)
        return value, jax.tree.map(lambda weight, gradient: weight - RATE * gradient, weights, gradients)

    shapes = [jax.ShapeDtypeStruct(sizes, "float32") for sizes in zip(WIDTHS, WIDTHS[1:], strict=False)]
    images = jax.ShapeDtypeStruct((BATCH, WIDTHS[0]), "float32")
    return train, (shapes, images, jax.ShapeDtypeStruct((BATCH,), "int32"))
