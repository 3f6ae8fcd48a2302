"""Networks on the rows of a table."""

from functools import partial

from stages.collect.cpu.programs.xla.building import program
from stages.collect.cpu.programs.xla.layers import CLASSES, attention, feed_forward, load_keras, query_key_value


def _perceptron(features, widths):
    """Multilayer perceptron on a table's rows."""
    keras = load_keras()
    x = inputs = keras.Input((features,))
    for width in widths:
        x = keras.layers.Dense(width, activation="relu")(x)
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(x))


def _dlrm(fields, dense, width):
    """DLRM (Naumov 2019) without its lookup: dense features and embedded fields, all pairs of them multiplied."""
    keras = load_keras()
    layers, ops = keras.layers, keras.ops
    inputs = keras.Input((fields * width + dense,))
    bottom = layers.Dense(width, activation="relu")(inputs[:, :dense])
    x = layers.Concatenate(axis=1)([layers.Reshape((fields, width))(inputs[:, dense:]), bottom[:, None]])
    pairs = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
    x = layers.Concatenate()([bottom, layers.Reshape(((fields + 1) ** 2,))(pairs)])
    return keras.Model(inputs, layers.Dense(1)(layers.Dense(2 * width, activation="relu")(x)))


def _experts(features, experts, width):
    """Soft mixture of experts (Jacobs 1991): every expert sees every row, a gate adds them up."""
    keras = load_keras()
    layers, ops = keras.layers, keras.ops
    inputs = keras.Input((features,))
    gate = layers.Dense(experts, activation="softmax")(inputs)
    x = layers.Reshape((experts, width))(layers.Dense(experts * width, activation="relu")(inputs))
    x = layers.EinsumDense("bei,eij->bej", (experts, width))(x)
    return keras.Model(inputs, layers.Dense(CLASSES)(ops.sum(x * gate[..., None], axis=1)))


def _tabular_attention(fields, width, heads):
    """FT-Transformer (Gorishniy 2021), one block: a token a field, attention over the fields."""
    keras = load_keras()
    layers, ops = keras.layers, keras.ops
    inputs = keras.Input((fields, 4))
    x = layers.Dense(width)(inputs)
    parts = query_key_value(x, (fields, heads, width // heads))
    query, key, value = (ops.transpose(part, (0, 2, 1, 3)) for part in parts)
    y = attention(query, key, value)
    x = layers.Add()([x, layers.Dense(width)(layers.Reshape((fields, width))(ops.transpose(y, (0, 2, 1, 3))))])
    x = feed_forward(x)
    return keras.Model(inputs, layers.Dense(CLASSES)(ops.mean(layers.LayerNormalization()(x), axis=1)))


# Families: a call gives one program of its family.
perceptron = partial(program, "perceptron", _perceptron)
dlrm = partial(program, "dlrm", _dlrm)
experts = partial(program, "experts", _experts)
tabular = partial(program, "tabular", _tabular_attention)

#: in the order in which a family's programs are measured
PROGRAMS = [
    perceptron("train", "d3_w128", 256, "train", features=96, widths=[128, 128, 64]),
    perceptron("train", "d2_w256", 128, "train", features=128, widths=[256, 192]),
    perceptron("valid", "d3_w96", 256, "train", features=64, widths=[96, 160, 96]),
    dlrm("train", "n15_w32", 128, "forward", fields=15, dense=32, width=32),
    dlrm("train", "n23_w16", 256, "forward", fields=23, dense=16, width=16),
    dlrm("valid", "n11_w48", 128, "forward", fields=11, dense=64, width=48),
    experts("train", "e8_w48", 256, "forward", features=64, experts=8, width=48),
    experts("train", "e6_w64", 128, "forward", features=96, experts=6, width=64),
    experts("valid", "e12_w32", 256, "forward", features=48, experts=12, width=32),
    tabular("valid", "n32_w32", 32, "forward", fields=32, width=32, heads=2),
    tabular("valid", "n24_w64", 32, "forward", fields=24, width=64, heads=4),
]
