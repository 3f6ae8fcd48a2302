"""Keras models as pure functions of their weights' shapes."""

from __future__ import annotations

import os
from collections.abc import Callable


def libraries():
    """keras and keras_hub on the JAX backend, imported late: Keras reads its backend as it is imported."""
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import keras_hub

    return keras, keras_hub


def functional(make: Callable, batch: int, length: int | None, training: bool, dtype: str) -> tuple:
    """A Keras model as a pure function, and the shapes of its weights, states and inputs.

    Args:
        make: function without arguments that returns the Keras model.
        length: number of tokens, for every input axis whose size the model leaves open.
        dtype: of activations. Weights are of the same to infer; to train they stay float32 (mixed precision).

    Returns:
        `apply(weights, states, inputs) -> (outputs, new states)`, weights, states, inputs.
    """
    import jax
    import jax.numpy as jnp

    keras, _ = libraries()
    # Layer names are counted over the process and are written into the HLO's metadata: start the count afresh.
    keras.utils.clear_session(free_memory=False)
    keras.config.set_dtype_policy("mixed_bfloat16" if training and dtype == "bfloat16" else dtype)
    try:
        # Without values: Keras would run an initialiser for every weight, and a model of 7 billion fits no memory.
        with keras.StatelessScope(initialize_variables=False):
            model = make()
    finally:
        keras.config.set_dtype_policy("float32")

    def apply(weights, states, inputs):
        return model.stateless_call(weights, states, inputs, training=training)

    def shape(variable):
        return jax.ShapeDtypeStruct(tuple(variable.shape), jnp.dtype(variable.dtype))

    def given(tensor):
        return jax.ShapeDtypeStruct((batch, *(size or length for size in tensor.shape[1:])), jnp.dtype(tensor.dtype))

    weights = [shape(variable) for variable in model.trainable_variables]
    states = [shape(variable) for variable in model.non_trainable_variables]
    return apply, weights, states, jax.tree.map(given, model.input)
