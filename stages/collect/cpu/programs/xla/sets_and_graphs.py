"""Networks on unordered members: points, sets, the nodes of a graph, tokens, capsules."""

from functools import partial

from stages.collect.cpu.programs.xla.building import program
from stages.collect.cpu.programs.xla.layers import CLASSES, attention, feed_forward, load_keras


def _pointnet(points, widths, head):
    """PointNet (Qi 2017): shared dense layers over points and a maximum over them."""
    keras = load_keras()
    layers = keras.layers
    x = inputs = keras.Input((points, 3))
    for width in widths:
        x = layers.Activation("relu")(layers.BatchNormalization()(layers.Dense(width)(x)))
    best = layers.Dense(head, activation="relu")(layers.GlobalMaxPooling1D(keepdims=True)(x))
    x = layers.Concatenate()([x, layers.UpSampling1D(points)(best)])
    x = layers.Dense(head, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(CLASSES)(x))


def _set_network(members, features, width):
    """Deep Sets (Zaheer 2017): each member beside the mean of its set, twice."""
    keras = load_keras()
    layers, ops = keras.layers, keras.ops
    x = inputs = keras.Input((members, features))
    for _ in range(2):
        mean = layers.Dense(width)(ops.mean(x, axis=1, keepdims=True))
        x = ops.relu(layers.Dense(width)(x) - mean)
    return keras.Model(inputs, layers.Dense(CLASSES)(ops.max(x, axis=1)))


def _graph_attention(nodes, features, width):
    """Graph convolution (Kipf 2017) on a graph of similarities between the nodes' features."""
    keras = load_keras()
    layers, ops = keras.layers, keras.ops
    x = inputs = keras.Input((nodes, features))
    key = layers.Dense(width)(inputs)
    edges = ops.softmax(ops.matmul(key, ops.transpose(key, (0, 2, 1))))
    for _ in range(2):
        x = ops.relu(ops.matmul(edges, layers.Dense(width)(x)))
    return keras.Model(inputs, layers.Dense(CLASSES)(x))


def _perceiver(tokens, features, latents, width):
    """Perceiver (Jaegle 2021): few latents read many tokens by cross-attention, then mix."""
    keras = load_keras()
    layers = keras.layers
    inputs = keras.Input((tokens, features))
    start = layers.Permute((2, 1))(layers.Dense(latents)(layers.Permute((2, 1))(inputs)))
    x = query = layers.Dense(width)(start)
    key, value = layers.Dense(width)(inputs), layers.Dense(width)(inputs)
    x = x + attention(query, key, value)
    x = feed_forward(x)
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.Reshape((latents * width,))(x)))


def _capsules(inputs_count, outputs_count, width):
    """Capsules (Sabour 2017) with two rounds of routing."""
    keras = load_keras()
    layers, ops = keras.layers, keras.ops
    inputs = keras.Input((inputs_count, width))
    votes = layers.Reshape((inputs_count, outputs_count, width))(layers.Dense(outputs_count * width)(inputs))
    votes = ops.transpose(votes, (0, 2, 1, 3))
    logits = ops.mean(votes, axis=-1)
    for _ in range(2):
        weights = ops.softmax(logits, axis=1)
        pose = ops.sum(weights[..., None] * votes, axis=2)
        pose = pose / (1.0 + ops.sqrt(ops.sum(ops.square(pose), axis=-1, keepdims=True) + 1e-6))
        logits = logits + ops.squeeze(ops.matmul(votes, pose[..., None]), -1)
    return keras.Model(inputs, ops.sqrt(ops.sum(ops.square(pose), axis=-1) + 1e-6))


# Families: a call gives one program of its family.
pointnet = partial(program, "pointnet", _pointnet)
deep_sets = partial(program, "deep_sets", _set_network)
graph = partial(program, "graph", _graph_attention)
perceiver = partial(program, "perceiver", _perceiver)
capsules = partial(program, "capsules", _capsules)

#: in the order in which a family's programs are measured
PROGRAMS = [
    pointnet("valid", "n256_w64", 8, "train", points=256, widths=[64], head=64),
    pointnet("valid", "n256_w64-96", 4, "forward", points=256, widths=[64, 96], head=64),
    deep_sets("valid", "n64_w64", 32, "forward", members=64, features=16, width=64),
    graph("train", "n64_w48", 16, "forward", nodes=64, features=24, width=48),
    graph("train", "n96_w32", 8, "forward", nodes=96, features=32, width=32),
    graph("test", "n48_w64", 16, "forward", nodes=48, features=48, width=64),
    perceiver("test", "n128_w48", 16, "forward", tokens=128, features=32, latents=16, width=48),
    perceiver("test", "n96_w64", 16, "forward", tokens=96, features=48, latents=24, width=64),
    capsules("test", "n32_o16_w16", 16, "forward", inputs_count=32, outputs_count=16, width=16),
]
