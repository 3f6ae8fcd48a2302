"""Keras itself, and the pieces that the networks share. All pieces follow keras' global data format."""

import os

CLASSES = 10


def load_keras():
    """Keras on its JAX backend; the variables must be set before the first import."""
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras

    return keras


def load_hub():
    """The models of keras_hub, on keras' JAX backend."""
    load_keras()
    import keras_hub

    return keras_hub.models


def image_shape(size: int | tuple, channels: int = 3) -> tuple:
    """Shape of one image (two or three sides) without the batch."""
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if load_keras().config.image_data_format() == "channels_last":
        return (*sides, channels)
    return (channels, *sides)


def channel_axis() -> int:
    """Axis of an image batch that holds the channels."""
    return -1 if load_keras().config.image_data_format() == "channels_last" else 1


def convolution(x, filters: int, kernel: int = 3, strides: int = 1, activation: str | None = "relu", **arguments):
    """Convolution (two- or three-dimensional, as x is), batch normalisation, activation."""
    layers = load_keras().layers
    layer = layers.Conv2D if len(x.shape) == 4 else layers.Conv3D
    x = layer(filters, kernel, strides=strides, padding="same", use_bias=False, **arguments)(x)
    x = layers.BatchNormalization(axis=channel_axis())(x)
    return x if activation is None else layers.Activation(activation)(x)


def depthwise_convolution(x, kernel: int, strides: int = 1, activation: str | None = "relu"):
    """Depthwise convolution, batch normalisation, activation."""
    layers = load_keras().layers
    x = layers.DepthwiseConv2D(kernel, strides=strides, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(axis=channel_axis())(x)
    return x if activation is None else layers.Activation(activation)(x)


def concatenate(*parts):
    """The parts' channels, one after the other."""
    return load_keras().layers.Concatenate(axis=channel_axis())(list(parts))


def classifier(backbone):
    """A backbone with the usual head: pooled features (an image's or a sequence's) and class scores."""
    keras = load_keras()
    x = backbone.output
    pool = keras.layers.GlobalAveragePooling2D if len(x.shape) == 4 else keras.layers.GlobalAveragePooling1D
    return keras.Model(backbone.inputs, keras.layers.Dense(CLASSES)(pool()(x)))


def query_key_value(x, shape):
    """Query, key and value: three dense layers of x, each reshaped."""
    layers = load_keras().layers
    return [layers.Reshape(shape)(layers.Dense(x.shape[-1])(x)) for _ in range(3)]


def attention(query, key, value):
    """Attention over the last but one axis of (..., positions, width), its scores not scaled."""
    ops = load_keras().ops
    *outer, positions, width = range(len(key.shape))
    scores = ops.matmul(query, ops.transpose(key, (*outer, width, positions)))
    return ops.matmul(ops.softmax(scores), value)


def feed_forward(x):
    """x + dense(relu(dense(x))), twice as wide between."""
    layers = load_keras().layers
    width = x.shape[-1]
    return layers.Add()([x, layers.Dense(width)(layers.Dense(2 * width, activation="relu")(x))])
