"""Image classifiers that mix the patches of an image by dense layers."""

from functools import partial

from stages.collect.cpu.programs.xla.building import program
from stages.collect.cpu.programs.xla.layers import CLASSES, load_keras


def _mixer(size, patch, blocks, width, tokens, activation="gelu"):
    """MLP-Mixer (Tolstikhin 2021)."""
    keras = load_keras()
    layers = keras.layers
    inputs = keras.Input((size, size, 3))
    x = layers.Reshape((-1, width))(layers.Conv2D(width, patch, strides=patch)(inputs))
    patches = x.shape[1]
    for _ in range(blocks):
        y = layers.Permute((2, 1))(layers.LayerNormalization()(x))
        y = layers.Dense(patches)(layers.Dense(tokens, activation=activation)(y))
        x = layers.Add()([x, layers.Permute((2, 1))(y)])
        y = layers.Dense(2 * width, activation=activation)(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(width)(y)])
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling1D()(x)))


def _spatial_gate(size, patch, width):
    """Vision gMLP (Liu 2021), one block: a gate that mixes the patches."""
    keras = load_keras()
    layers = keras.layers
    grid = size // patch
    inputs = keras.Input((size, size, 3))
    x = layers.Permute((1, 3, 2, 4, 5))(layers.Reshape((grid, patch, grid, patch, 3))(inputs))
    x = layers.Dense(width)(layers.Reshape((grid * grid, patch * patch * 3))(x))
    y = layers.Dense(2 * width, activation="relu")(layers.LayerNormalization()(x))
    gate = layers.Permute((2, 1))(layers.Dense(grid * grid)(layers.Permute((2, 1))(y[..., width:])))
    x = layers.Add()([x, layers.Dense(width)(y[..., :width] * gate)])
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling1D()(x)))


# Families: a call gives one program of its family.
mixer = partial(program, "mixer", _mixer)
spatial_gate = partial(program, "spatial_gate", _spatial_gate)

#: in the order in which a family's programs are measured
PROGRAMS = [
    mixer("train", "l2_w64_r32", 8, "forward", size=32, patch=4, blocks=2, width=64, tokens=64),
    mixer("train", "l1_w96_r32", 2, "forward", size=32, patch=2, blocks=1, width=96, tokens=96),
    mixer("train", "l3_w48_r40", 2, "forward", size=40, patch=4, blocks=3, width=48, tokens=64),
    mixer("train", "l1_w64_r32", 4, "train", size=32, patch=4, blocks=1, width=64, tokens=32, activation="relu"),
    mixer("test", "l1_w80_r40", 4, "train", size=40, patch=5, blocks=1, width=80, tokens=96, activation="relu"),
    mixer("train", "l1_w48_r48", 4, "forward", size=48, patch=4, blocks=1, width=48, tokens=96),
    mixer("test", "l1_w80_r32", 4, "forward", size=32, patch=4, blocks=1, width=80, tokens=48),
    spatial_gate("train", "w64_r32", 8, "forward", size=32, patch=4, width=64),
    spatial_gate("train", "w96_r48", 4, "forward", size=48, patch=4, width=96),
    spatial_gate("test", "w48_r40", 8, "forward", size=40, patch=4, width=48),
]
