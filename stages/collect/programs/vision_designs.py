"""Image classifiers that keras.applications lacks, in jax."""

from __future__ import annotations

from functools import partial

from stages.collect.programs.declare import program
from stages.collect.programs.network import Network, avg_pool, max_pool

CLASSES = 1000


def googlenet(net: Network, x):
    """GoogLeNet (Szegedy et al. 2015), batch-normalised."""
    import jax
    import jax.numpy as jnp

    def unit(x, filters, kernel=1, stride=1):
        return jax.nn.relu(net.batch_norm(net.conv(x, filters, kernel, stride)))

    def block(x, one, three_in, three, five_in, five, pool):
        pooled = max_pool(x, 3, 1)
        parts = [unit(x, one), unit(unit(x, three_in), three, 3), unit(unit(x, five_in), five, 5), unit(pooled, pool)]
        return jnp.concatenate(parts, axis=-1)

    x = max_pool(unit(x, 64, 7, 2), 3, 2)
    x = max_pool(unit(unit(x, 64), 192, 3), 3, 2)
    x = block(block(x, 64, 96, 128, 16, 32, 32), 128, 128, 192, 32, 96, 64)
    x = block(max_pool(x, 3, 2), 192, 96, 208, 16, 48, 64)
    for middle in ((160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64)):
        x = block(x, *middle)
    x = block(max_pool(block(x, 256, 160, 320, 32, 128, 128), 3, 2), 256, 160, 320, 32, 128, 128)
    return net.dense(block(x, 384, 192, 384, 48, 128, 128).mean((1, 2)), CLASSES)


def efficientnet_lite(net: Network, x):
    """EfficientNet-Lite0 (Tan & Le 2019, for edge devices): no squeeze, relu6."""
    import jax

    def unit(x):
        return jax.nn.relu6(net.batch_norm(x))

    x = unit(net.conv(x, 32, 3, 2))
    for expansion, filters, count, stride, kernel in ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5),
                                                      (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
                                                      (6, 320, 1, 1, 3)):  # fmt: skip
        for place in range(count):
            y = unit(net.conv(x, expansion * x.shape[-1], 1)) if expansion > 1 else x
            y = unit(net.depthwise(y, kernel, stride if place == 0 else 1))
            y = net.batch_norm(net.conv(y, filters, 1))
            x = x + y if x.shape == y.shape else y
    return net.dense(unit(net.conv(x, 1280, 1)).mean((1, 2)), CLASSES)


def grouped_resnet(net: Network, x, *, blocks, widths, outputs, group: int, squeeze: bool = False, stem: int = 64):
    """ResNeXt (Xie et al. 2017) and RegNet (Radosavovic et al. 2020): bottlenecks of grouped convolutions.

    Args:
        widths: of the grouped convolution in each stage; outputs: of the stage.
        group: channels of one group.
        squeeze: with squeeze-and-excitation (RegNetY).
    """
    import jax

    x = jax.nn.relu(net.batch_norm(net.conv(x, stem, 7 if stem == 64 else 3, 2)))
    x = max_pool(x, 3, 2) if stem == 64 else x
    for level, (count, width, output) in enumerate(zip(blocks, widths, outputs, strict=True)):
        for place in range(count):
            stride = 2 if place == 0 and (level or stem != 64) else 1
            y = jax.nn.relu(net.batch_norm(net.conv(x, width, 1)))
            y = jax.nn.relu(net.batch_norm(net.conv(y, width, 3, stride, width // group)))
            if squeeze:
                gate = jax.nn.relu(net.dense(y.mean((1, 2)), max(8, x.shape[-1] // 4)))
                y = y * jax.nn.sigmoid(net.dense(gate, width))[:, None, None]
            y = net.batch_norm(net.conv(y, output, 1))
            x = x if x.shape == y.shape else net.batch_norm(net.conv(x, output, 1, stride))
            x = jax.nn.relu(x + y)
    return net.dense(x.mean((1, 2)), CLASSES)


def shufflenet(net: Network, x, *, widths: tuple[int, ...], counts=(4, 8, 4)):
    """ShuffleNetV2 (Ma et al. 2018): half the channels pass by, then all are shuffled."""
    import jax
    import jax.numpy as jnp

    def unit(x, filters):
        return jax.nn.relu(net.batch_norm(net.conv(x, filters, 1)))

    def spread(x, stride=1):
        return net.batch_norm(net.depthwise(x, 3, stride))

    def shuffled(a, b):
        x = jnp.stack([a, b], axis=-1)
        return x.reshape(*a.shape[:-1], 2 * a.shape[-1])

    x = max_pool(jax.nn.relu(net.batch_norm(net.conv(x, 24, 3, 2))), 3, 2)
    for width, count in zip(widths, counts, strict=True):
        half = width // 2
        x = shuffled(unit(spread(x, 2), half), unit(spread(unit(x, half), 2), half))
        for _ in range(count - 1):
            x = shuffled(x[..., :half], unit(spread(unit(x[..., half:], half)), half))
    return net.dense(unit(x, 1024).mean((1, 2)), CLASSES)


def mixer(net: Network, x, *, layers: int, width: int, patch: int, tokens: int, channels: int):
    """MLP-Mixer (Tolstikhin et al. 2021): dense layers over the patches, then over the channels."""
    import jax

    x = net.conv(x, width, patch, patch, bias=True)
    x = x.reshape(x.shape[0], -1, width)
    places = x.shape[1]
    for _ in range(layers):
        y = net.layer_norm(x).transpose(0, 2, 1)
        x = x + net.dense(jax.nn.gelu(net.dense(y, tokens)), places).transpose(0, 2, 1)
        x = x + net.dense(jax.nn.gelu(net.dense(net.layer_norm(x), channels)), width)
    return net.dense(net.layer_norm(x).mean(1), CLASSES)


def coatnet(net: Network, x, *, counts=(2, 3, 5, 2), widths=(96, 192, 384, 768), stem: int = 64):
    """CoAtNet (Dai et al. 2021): inverted bottlenecks first, then attention with learned relative places."""
    import jax

    x = net.conv(jax.nn.gelu(net.batch_norm(net.conv(x, stem, 3, 2))), stem)
    for level in range(2):
        for place in range(counts[level]):
            stride, width = 2 if place == 0 else 1, widths[level]
            y = jax.nn.gelu(net.batch_norm(net.conv(net.batch_norm(x), 4 * width, 1)))
            y = jax.nn.gelu(net.batch_norm(net.depthwise(y, 3, stride)))
            gate = jax.nn.silu(net.dense(y.mean((1, 2)), width // 4))
            y = net.conv(y * jax.nn.sigmoid(net.dense(gate, 4 * width))[:, None, None], width, 1, bias=True)
            x = y + (net.conv(max_pool(x), width, 1) if place == 0 else x)
    for level in range(2, 4):
        for place in range(counts[level]):
            if place == 0:
                x = net.conv(max_pool(x), widths[level], 1)
            flat = x.reshape(x.shape[0], -1, widths[level])
            heads = widths[level] // 32
            bias = net.weight(heads, flat.shape[1], flat.shape[1])
            flat = flat + net.attention(net.layer_norm(flat), heads, mask=bias)
            y = net.dense(jax.nn.gelu(net.dense(net.layer_norm(flat), 4 * widths[level])), widths[level])
            x = (flat + y).reshape(x.shape)
    return net.dense(net.layer_norm(x.mean((1, 2))), CLASSES)


def capsules(net: Network, x, *, rounds: int = 3, classes: int = 10):
    """Capsules with routing by agreement (Sabour et al. 2017), a reconstruction beside the lengths."""
    import jax
    import jax.numpy as jnp

    def squash(v):
        square = jnp.sum(v * v, axis=-1, keepdims=True)
        return v * square / ((1 + square) * jnp.sqrt(square + 1e-7))

    batch, side, _, channels = x.shape
    x = jax.nn.relu(net.conv(x, 256, 9, bias=True, padding="VALID"))
    x = net.conv(x, 256, 9, 2, bias=True, padding="VALID")
    parts = squash(x.reshape(batch, -1, 8))
    votes = net.einsum("bni,nijk->bnjk", parts, parts.shape[1], 8, classes, 16)
    logits = jnp.zeros(votes.shape[:3], jnp.float32)
    for _ in range(rounds):
        pose = squash(jnp.einsum("bnj,bnjk->bjk", jax.nn.softmax(logits, axis=-1).astype(net.dtype), votes))
        logits = logits + jnp.einsum("bnjk,bjk->bnj", votes, pose)
    y = jax.nn.relu(net.dense(jax.nn.relu(net.dense(pose.reshape(batch, -1), 512)), 1024))
    picture = jax.nn.sigmoid(net.dense(y, side * side * channels)).reshape(batch, side, side, channels)
    return jnp.sqrt(jnp.sum(pose * pose, axis=-1) + 1e-7), picture


def squeezenet(net: Network, x):
    """SqueezeNet 1.1 (Iandola et al. 2016) with bypasses."""
    import jax
    import jax.numpy as jnp

    def unit(x, filters, kernel=1, stride=1):
        return jax.nn.relu(net.batch_norm(net.conv(x, filters, kernel, stride)))

    def fire(x, small, large):
        y = unit(x, small)
        y = jnp.concatenate([unit(y, large), unit(y, large, 3)], axis=-1)
        return x + y if x.shape == y.shape else y

    x = max_pool(unit(x, 64, 3, 2), 3, 2)
    for small, large, count in ((16, 64, 2), (32, 128, 2), (48, 192, 2), (64, 256, 2)):
        for _ in range(count):
            x = fire(x, small, large)
        x = max_pool(x, 3, 2) if small < 48 else x
    return unit(avg_pool(x, 1), CLASSES).mean((1, 2))


_xla = partial(program, "xla")
BF16 = "bfloat16"
RESNEXT = dict(blocks=(3, 4, 6, 3), widths=(128, 256, 512, 1024), outputs=(256, 512, 1024, 2048), group=4)
REGNET_X = dict(blocks=(2, 5, 14, 2), widths=(80, 240, 560, 1360), outputs=(80, 240, 560, 1360), group=40, stem=32)
REGNET_Y = dict(blocks=(2, 6, 17, 2), widths=(48, 120, 336, 888), outputs=(48, 120, 336, 888), group=24, stem=32)
MIXER_S = dict(layers=8, width=512, patch=16, tokens=256, channels=2048)
MIXER_B = dict(layers=12, width=768, patch=16, tokens=384, channels=3072)

PROGRAMS = [
    _xla("inception", "train", "googlenet", googlenet, [("float", 64, 224, 224, 3)], "sgd"),
    _xla("efficientnet", "train", "efficientnet_lite0", efficientnet_lite, [("float", 64, 224, 224, 3)], "momentum"),
    _xla("grouped_resnet", "train", "resnext50_32x4d", partial(grouped_resnet, **RESNEXT),
         [("float", 32, 224, 224, 3)]),
    _xla("grouped_resnet", "train", "resnext50_32x4d", partial(grouped_resnet, **RESNEXT),
         [("float", 64, 224, 224, 3)], "sgd", dtype=BF16),
    _xla("grouped_resnet", "train", "regnetx_4gf", partial(grouped_resnet, **REGNET_X), [("float", 32, 224, 224, 3)]),
    _xla("grouped_resnet", "test", "regnety_1.6gf", partial(grouped_resnet, **REGNET_Y | {"squeeze": True}),
         [("float", 64, 224, 224, 3)]),
    _xla("shufflenet", "train", "shufflenetv2_1.0", partial(shufflenet, widths=(116, 232, 464)),
         [("float", 128, 224, 224, 3)], "sgd"),
    _xla("shufflenet", "train", "shufflenetv2_2.0", partial(shufflenet, widths=(244, 488, 976)),
         [("float", 64, 224, 224, 3)]),
    _xla("mixer", "train", "mixer_b16", partial(mixer, **MIXER_B), [("float", 32, 224, 224, 3)]),
    _xla("mixer", "train", "mixer_s16", partial(mixer, **MIXER_S), [("float", 64, 224, 224, 3)], "adamw"),
    _xla("coatnet", "train", "coatnet0", coatnet, [("float", 32, 224, 224, 3)]),
    _xla("coatnet", "train", "coatnet0", coatnet, [("float", 32, 224, 224, 3)], "sgd", dtype=BF16),
    _xla("capsules", "test", "capsnet_mnist", capsules, [("float", 128, 28, 28, 1)], "adamw", loss="squared"),
    _xla("squeezenet", "valid", "squeezenet", squeezenet, [("float", 64, 224, 224, 3)], "momentum"),
]  # fmt: skip
