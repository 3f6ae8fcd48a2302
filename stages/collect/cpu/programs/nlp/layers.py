"""Keras itself, and what most language networks begin and end with."""

import os

from stages.collect.cpu.programs.nlp.shape import Shape

CLASSES = 16


def load_keras():
    """Keras on the JAX backend, imported late: the backend is read from the environment at import."""
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    return keras


def load_hub():
    """keras_hub, on keras' JAX backend."""
    load_keras()
    import keras_hub

    return keras_hub


def token_input(shape: Shape, name: str = "token_ids", length: int | None = None):
    """Keras input of (batch, length) int32 tokens; `length` is the shape's unless given."""
    return load_keras().Input((length or shape.length,), dtype="int32", name=name)


def head(x, shape: Shape):
    """Logits of the shape's head over a sequence of features (batch, length, width)."""
    keras = load_keras()
    if shape.head == "none":
        return x
    if shape.head in ("class", "encode"):
        x = keras.layers.Dense(shape.width, activation="tanh")(keras.layers.GlobalAveragePooling1D()(x))
        return keras.layers.Dense(CLASSES)(x)
    return keras.layers.Dense(shape.vocabulary if shape.head == "lm" else CLASSES)(x)
