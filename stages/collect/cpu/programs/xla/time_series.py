"""Networks over time steps: recurrent cells, and dense layers along time."""

from functools import partial

from stages.collect.cpu.programs.xla.building import program
from stages.collect.cpu.programs.xla.layers import CLASSES, attention, feed_forward, image_shape, load_keras


def _recurrent(steps, features, units, cell, bidirectional=False, depth=1):
    """Sequence classifier; unrolled, so that every step's nodes stand in the entry computation."""
    keras = load_keras()
    x = inputs = keras.Input((steps, features))
    for level in range(depth):
        layer = getattr(keras.layers, cell)(units, unroll=True, return_sequences=level < depth - 1)
        x = keras.layers.Bidirectional(layer)(x) if bidirectional else layer(x)
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(x))


def _convlstm(steps, size, filters):
    """Convolutional LSTM (Shi 2015), unrolled; its last state as an image."""
    keras = load_keras()
    inputs = keras.Input((steps, *image_shape(size)))
    x = keras.layers.ConvLSTM2D(filters, 3, padding="same", unroll=True)(inputs)
    return keras.Model(inputs, keras.layers.Conv2D(3, 1)(x))


def _ts_mixer(steps, features, width, blocks=1):
    """TSMixer (Chen 2023): dense layers along time and along features in turn, and a forecast."""
    keras = load_keras()
    layers = keras.layers
    x = inputs = keras.Input((steps, features))
    for _ in range(blocks):
        y = layers.Dense(steps, activation="relu")(layers.Permute((2, 1))(layers.LayerNormalization()(x)))
        x = layers.Add()([x, layers.Permute((2, 1))(y)])
        y = layers.Dense(width, activation="relu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(features)(y)])
    return keras.Model(inputs, layers.Permute((2, 1))(layers.Dense(steps // 2)(layers.Permute((2, 1))(x))))


def _patch_tst(steps, features, patch, width):
    """PatchTST (Nie 2023), one head: each series cut in patches, attention over them, a forecast a series."""
    keras = load_keras()
    layers = keras.layers
    inputs = keras.Input((steps, features))
    patches = steps // patch
    x = layers.Dense(width)(layers.Reshape((features, patches, patch))(layers.Permute((2, 1))(inputs)))
    query, key, value = (layers.Dense(width)(x) for _ in range(3))
    y = attention(query, key, value)
    x = feed_forward(layers.Add()([x, y]))
    x = layers.Dense(patch)(layers.Reshape((features, patches * width))(x))
    return keras.Model(inputs, layers.Permute((2, 1))(x))


def _causal_convolutions(steps, features, width, dilations):
    """Temporal convolutional network (Bai 2018), convolutions as dense layers over shifted copies."""
    keras = load_keras()
    layers, ops = keras.layers, keras.ops
    inputs = keras.Input((steps, features))
    x = layers.Dense(width)(inputs)
    for dilation in dilations:
        shifted = ops.pad(x, ((0, 0), (dilation, 0), (0, 0)))[:, :steps]
        x = layers.Add()([x, layers.Dense(width, activation="relu")(layers.Concatenate()([x, shifted]))])
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.Reshape((steps * width,))(x)))


# Families: a call gives one program of its family.
lstm = partial(program, "lstm", _recurrent)
gru = partial(program, "gru", _recurrent)
convlstm = partial(program, "convlstm", _convlstm)
ts_mixer = partial(program, "ts_mixer", _ts_mixer)
patch_tst = partial(program, "patch_tst", _patch_tst)
tcn = partial(program, "tcn", _causal_convolutions)

#: in the order in which a family's programs are measured
PROGRAMS = [
    lstm("train", "t8_u64", 32, "forward", steps=8, features=64, units=64, cell="LSTM"),
    lstm("train", "t10_u48", 64, "forward", steps=10, features=32, units=48, cell="LSTM"),
    lstm("train", "bi_t5_u64", 32, "forward", steps=5, features=48, units=64, cell="LSTM", bidirectional=True),
    lstm("train", "d2_t5_u96", 48, "forward", steps=5, features=96, units=96, cell="LSTM", depth=2),
    lstm("train", "t3_u64", 64, "train", steps=3, features=64, units=64, cell="LSTM"),
    lstm("valid", "t7_u128", 32, "forward", steps=7, features=64, units=128, cell="LSTM"),
    lstm("test", "t3_u96", 32, "train", steps=3, features=48, units=96, cell="LSTM"),
    gru("valid", "t8_u96", 32, "forward", steps=8, features=64, units=96, cell="GRU"),
    gru("valid", "t4_u64", 32, "train", steps=4, features=64, units=64, cell="GRU"),
    convlstm("test", "t4_f16_r24", 2, "forward", steps=4, size=24, filters=16),
    ts_mixer("train", "t64_f32_w64", 16, "forward", steps=64, features=32, width=64),
    ts_mixer("train", "t96_f16_w32", 32, "forward", steps=96, features=16, width=32, blocks=2),
    ts_mixer("valid", "t48_f48_w96", 16, "forward", steps=48, features=48, width=96),
    ts_mixer("train", "t32_f24_w48", 16, "train", steps=32, features=24, width=48),
    patch_tst("train", "t96_f16_w32", 8, "forward", steps=96, features=16, patch=8, width=32),
    patch_tst("train", "t64_f32_w48", 8, "forward", steps=64, features=32, patch=4, width=48),
    patch_tst("test", "t128_f8_w64", 16, "forward", steps=128, features=8, patch=8, width=64),
    tcn("test", "t64_w48", 16, "forward", steps=64, features=24, width=48, dilations=[1, 2, 4]),
]
