"""Image classifiers put together from convolutions: no library has these families at a small size."""

from functools import partial

from stages.collect.cpu.programs.xla.building import program
from stages.collect.cpu.programs.xla.layers import (
    CLASSES,
    channel_axis,
    concatenate,
    convolution,
    depthwise_convolution,
    image_shape,
    load_keras,
)


def _resnext(size, filters, groups):
    """ResNeXt bottlenecks (Xie 2017)."""
    keras = load_keras()
    inputs = keras.Input(image_shape(size))
    x = convolution(inputs, filters[0])
    for width in filters:
        y = convolution(x, width, 1)
        y = convolution(y, width, 3, strides=2, groups=groups)
        y = convolution(y, 2 * width, 1, activation=None)
        shortcut = convolution(x, 2 * width, 1, strides=2, activation=None)
        x = keras.layers.Activation("relu")(keras.layers.Add()([y, shortcut]))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(x))


def _shuffle(x, groups: int):
    """Channel shuffle of ShuffleNet: split the channels in groups, swap, join."""
    layers = load_keras().layers
    shape = x.shape[1:]
    if channel_axis() == -1:
        x = layers.Reshape((shape[0], shape[1], groups, shape[2] // groups))(x)
        return layers.Reshape(shape)(layers.Permute((1, 2, 4, 3))(x))
    x = layers.Reshape((groups, shape[0] // groups, shape[1], shape[2]))(x)
    return layers.Reshape(shape)(layers.Permute((2, 1, 3, 4))(x))


def _shufflenet(size, filters, groups):
    """ShuffleNet units (Zhang 2017)."""
    keras = load_keras()
    layers = keras.layers
    inputs = keras.Input(image_shape(size))
    x = convolution(inputs, filters[0])
    for width in filters:
        y = _shuffle(convolution(x, width, 1, groups=groups), groups)
        y = convolution(depthwise_convolution(y, 3, 2, None), width, 1, groups=groups, activation=None)
        x = layers.Activation("relu")(concatenate(layers.AveragePooling2D(3, 2, padding="same")(x), y))
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x)))


def _inception(size, stem, widths):
    """Inception blocks (Szegedy 2015): four parallel branches."""
    keras = load_keras()
    layers = keras.layers
    inputs = keras.Input(image_shape(size))
    x = convolution(inputs, stem, 3, strides=2)
    for width in widths:
        pooled = layers.AveragePooling2D(3, 1, padding="same")(x)
        x = concatenate(
            convolution(x, width, 1),
            convolution(convolution(x, width, 1), width, 5),
            convolution(convolution(convolution(x, width, 1), width, 3), width, 3),
            convolution(pooled, width, 1),
        )
        x = layers.MaxPooling2D(padding="same")(x)
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x)))


def _convnext(size, widths, blocks, patch=4, activation="gelu"):
    """ConvNeXt (Liu 2022); keras.applications has it with four fixed stages only."""
    keras = load_keras()
    layers = keras.layers
    x = inputs = keras.Input((size, size, 3))
    for stage, width in enumerate(widths):
        stride = 2 if stage else patch
        x = layers.LayerNormalization(epsilon=1e-6)(layers.Conv2D(width, stride, strides=stride)(x))
        for _ in range(blocks):
            y = layers.LayerNormalization(epsilon=1e-6)(layers.DepthwiseConv2D(7, padding="same")(x))
            x = layers.Add()([x, layers.Dense(width)(layers.Dense(4 * width, activation=activation)(y))])
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x)))


# Families: a call gives one program of its family.
resnext = partial(program, "resnext", _resnext)
shufflenet = partial(program, "shufflenet", _shufflenet)
inception = partial(program, "inception", _inception)
convnext = partial(program, "convnext", _convnext)

#: in the order in which a family's programs are measured
PROGRAMS = [
    resnext("valid", "g4_f16-32_r32", 4, "forward_nchw", size=32, filters=[16, 32], groups=4),
    resnext("valid", "g2_f24_r24", 2, "train", size=24, filters=[24], groups=2),
    shufflenet("test", "g4_f16-32_r24", 4, "forward", size=24, filters=[16, 32], groups=4),
    shufflenet("test", "g2_f24_r16", 2, "train", size=16, filters=[24], groups=2),
    inception("test", "f16-24_r48", 4, "forward", size=48, stem=16, widths=[16, 24]),
    inception("test", "f16-32_r40", 2, "forward_nchw", size=40, stem=24, widths=[16, 32]),
    convnext("test", "d2_w32-64_r32", 4, "forward", size=32, widths=[32, 64], blocks=1, patch=2),
    convnext("test", "d1_w48_r24", 2, "train", size=24, widths=[48], blocks=1, patch=2, activation="relu"),
]
