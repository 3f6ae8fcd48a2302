"""A Keras model's forward pass: the function returns what is to be tuned and the shapes of its arguments.

python -m stages.tune stages.tuning.examples.keras_model:forward
"""

from __future__ import annotations

import os
from collections.abc import Callable

os.environ["KERAS_BACKEND"] = "jax"  # before Keras is imported

import jax
import keras

BATCH = 64


def network() -> keras.Model:
    """A small convolutional network for images of 64 by 64."""
    image = keras.Input((64, 64, 3))
    x = image
    for filters in (32, 64, 128):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
        x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(image, keras.layers.Dense(1000)(keras.layers.Dense(512, activation="relu")(x)))


def forward() -> tuple[Callable, tuple]:
    """The model as a pure function of its weights, and shapes of weights, states and images."""
    model = network()

    def apply(weights, states, images):
        outputs, _ = model.stateless_call(weights, states, images, training=False)
        return outputs

    def shape(variable: keras.Variable) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(variable.shape, variable.dtype)

    weights = [shape(variable) for variable in model.trainable_variables]
    states = [shape(variable) for variable in model.non_trainable_variables]
    return apply, (weights, states, jax.ShapeDtypeStruct((BATCH, 64, 64, 3), "float32"))
