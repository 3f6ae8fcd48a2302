"""Networks for text without attention, or with more than a text: convolutions, gates, pictures, hierarchies."""

from __future__ import annotations

from functools import partial

from stages.collect.programs.declare import program
from stages.collect.programs.network import Network, causal, max_pool


def gated_mlp(net: Network, tokens, *, layers: int, width: int, inner: int, vocabulary: int):
    """gMLP (Liu et al. 2021): a gate that mixes the places of the text."""
    import jax
    import jax.numpy as jnp

    x, table = net.embedding(tokens, vocabulary, width)
    for _ in range(layers):
        value, gate = jnp.split(jax.nn.gelu(net.dense(net.layer_norm(x), 2 * inner)), 2, axis=-1)
        gate = net.dense(net.layer_norm(gate).transpose(0, 2, 1), tokens.shape[1]).transpose(0, 2, 1)
        x = x + net.dense(value * gate, width)
    return net.layer_norm(x) @ table.T


def bytenet(net: Network, tokens, *, sets: int, width: int, vocabulary: int = 256):
    """ByteNet's decoder (Kalchbrenner et al. 2017): causal convolutions of growing dilation in residual blocks."""
    import jax
    import jax.numpy as jnp

    x, _ = net.embedding(tokens, vocabulary, 2 * width)
    for _ in range(sets):
        for dilation in (1, 2, 4, 8, 16):
            y = net.conv(jax.nn.relu(net.layer_norm(x)), width, 1, bias=True)
            y = jnp.pad(jax.nn.relu(net.layer_norm(y)), ((0, 0), (2 * dilation, 0), (0, 0)))
            y = net.conv(y, width, 3, dilation=dilation, bias=True, padding="VALID")
            x = x + net.conv(jax.nn.relu(net.layer_norm(y)), 2 * width, 1, bias=True)
    return net.dense(jax.nn.relu(net.dense(x, 2 * width)), vocabulary)


def deep_text_cnn(net: Network, characters, *, counts: tuple[int, ...], classes: int):
    """VDCNN (Conneau et al. 2017): convolutions over characters, halved in length four times."""
    import jax

    x = net.conv(net.embedding(characters, 72, 16)[0], 64, 3)
    for level, count in enumerate(counts):
        for _ in range(count):
            width = 64 * 2**level
            y = jax.nn.relu(net.batch_norm(net.conv(x, width, 3)))
            y = net.batch_norm(net.conv(y, width, 3))
            x = jax.nn.relu(y + (x if x.shape == y.shape else net.batch_norm(net.conv(x, width, 1))))
        x = max_pool(x, 3, 2) if level < len(counts) - 1 else x
    x = jax.nn.relu(net.dense(x.reshape(x.shape[0], -1), 2048))
    return net.dense(jax.nn.relu(net.dense(x, 2048)), classes)


def funnel(net: Network, tokens, *, blocks: int, layers: int, width: int, heads: int, vocabulary: int):
    """Funnel transformer (Dai et al. 2020): the sequence is halved between blocks."""
    import jax
    import jax.numpy as jnp

    def feed_forward(x):
        return net.layer_norm(x + net.dense(jax.nn.gelu(net.dense(x, 4 * width)), width))

    x = net.layer_norm(net.embedding(tokens, vocabulary, width)[0] + net.weight(tokens.shape[1], width))
    first = x
    for block in range(blocks):
        for layer in range(layers):
            shorter = x.reshape(x.shape[0], -1, 2, width).mean(2) if block and layer == 0 else x
            x = feed_forward(net.layer_norm(shorter + net.attention(shorter, heads, memory=x)))
    x = jnp.repeat(x, 2 ** (blocks - 1), axis=1) + first
    for _ in range(2):
        x = feed_forward(net.layer_norm(x + net.attention(x, heads)))
    return net.dense(x, 9)


def clip(net: Network, images, tokens, *, layers: int, width: int, text_width: int, vocabulary: int = 49408):
    """CLIP (Radford et al. 2021): a picture and a text encoder, similarities of all pairs of the batch."""
    import jax
    import jax.numpy as jnp

    def stack(x, count, mask=None):
        for _ in range(count):
            x = x + net.attention(net.layer_norm(x), x.shape[-1] // 64, mask=mask)
            y = net.dense(net.layer_norm(x), 4 * x.shape[-1])
            x = x + net.dense(y * jax.nn.sigmoid(1.702 * y), x.shape[-1])
        return x

    def unit(x):
        x = net.dense(x, 512, False)
        return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-6)

    x = net.conv(images, width, 16, 16).reshape(images.shape[0], -1, width)
    x = stack(net.layer_norm(x + net.weight(x.shape[1], width)), layers)
    y = net.embedding(tokens, vocabulary, text_width)[0] + net.weight(tokens.shape[1], text_width)
    y = stack(y, layers, causal(tokens.shape[1]))
    return 100 * unit(net.layer_norm(x).mean(1)) @ unit(net.layer_norm(y)[:, -1]).T


def captioner(net: Network, images, tokens, *, layers: int, width: int, vocabulary: int = 64000):
    """CoCa (Yu et al. 2022): a picture encoder, a text decoder that reads the picture in its second half."""
    import jax

    def feed_forward(x):
        return x + net.dense(jax.nn.gelu(net.dense(net.layer_norm(x), 4 * width)), width)

    x = net.conv(images, width, 16, 16).reshape(images.shape[0], -1, width)
    x = x + net.weight(x.shape[1], width)
    for _ in range(layers):
        x = feed_forward(x + net.attention(net.layer_norm(x), width // 64))
    memory = net.layer_norm(x)
    y, table = net.embedding(tokens, vocabulary, width)
    y = y + net.weight(tokens.shape[1], width)
    for layer in range(layers):
        y = y + net.attention(net.layer_norm(y), width // 64, mask=causal(tokens.shape[1]))
        if layer >= layers // 2:
            y = y + net.attention(net.layer_norm(y), width // 64, memory=memory)
        y = feed_forward(y)
    return net.layer_norm(y) @ table.T


def matcher(net: Network, first, second, *, layers: int, width: int, vocabulary: int, classes: int = 3):
    """Decomposable attention with enhanced LSTM's comparisons (Parikh et al. 2016; Chen et al. 2017), convolutional."""
    import jax
    import jax.numpy as jnp

    table = net.weight(vocabulary, width)
    kernels = [(net.weight(3, width, width), net.weight(width)) for _ in range(layers)]
    numbers = ("NWC", "WIO", "NWC")

    def encoded(tokens):
        x = table[tokens]
        for kernel, bias in kernels:
            y = jax.lax.conv_general_dilated(x, kernel, (1,), "SAME", dimension_numbers=numbers) + bias
            x = x + jax.nn.relu(y)
        return x

    a, b = encoded(first), encoded(second)
    scores = jnp.einsum("bqd,bkd->bqk", a, b).astype(jnp.float32)
    from_b = jnp.einsum("bqk,bkd->bqd", jax.nn.softmax(scores, axis=2).astype(net.dtype), b)
    from_a = jnp.einsum("bqk,bqd->bkd", jax.nn.softmax(scores, axis=1).astype(net.dtype), a)
    pooled = []
    for x, other in ((a, from_b), (b, from_a)):
        y = jnp.concatenate([x, other, x - other, x * other], axis=-1)
        for _ in range(layers):
            y = jax.nn.relu(net.layer_norm(net.conv(y, width, 3, bias=True)))
        pooled += [y.mean(1), y.max(1)]
    return net.dense(jnp.tanh(net.dense(jnp.concatenate(pooled, axis=-1), width)), classes)


_nlp = partial(program, "nlp")
BF16 = "bfloat16"

PROGRAMS = [
    _nlp("gated_mlp", "train", "gmlp_base", partial(gated_mlp, layers=18, width=512, inner=1536, vocabulary=32000),
         [("int32", 16, 256)]),
    _nlp("gated_mlp", "train", "gmlp_small", partial(gated_mlp, layers=12, width=384, inner=1152, vocabulary=32000),
         [("int32", 32, 128)], "adamw"),
    _nlp("gated_mlp", "train", "gmlp_large", partial(gated_mlp, layers=36, width=768, inner=1536, vocabulary=32000),
         [("int32", 8, 256)], dtype=BF16),
    _nlp("text_convolution", "train", "bytenet_6", partial(bytenet, sets=6, width=400), [("int32", 16, 512)]),
    _nlp("text_convolution", "train", "bytenet_3", partial(bytenet, sets=3, width=256), [("int32", 32, 512)], "sgd"),
    _nlp("text_convolution", "train", "vdcnn_17", partial(deep_text_cnn, counts=(2, 2, 2, 2), classes=10),
         [("int32", 64, 1024)], "momentum"),
    _nlp("text_convolution", "test", "vdcnn_29", partial(deep_text_cnn, counts=(5, 5, 2, 2), classes=10),
         [("int32", 64, 1024)]),
    _nlp("funnel", "train", "funnel_b6", partial(funnel, blocks=3, layers=4, width=768, heads=12, vocabulary=30522),
         [("int32", 16, 512)]),
    _nlp("funnel", "train", "funnel_small", partial(funnel, blocks=3, layers=2, width=512, heads=8, vocabulary=30522),
         [("int32", 32, 256)], "adamw"),
    _nlp("picture_and_text", "test", "clip_b16", partial(clip, layers=12, width=768, text_width=512),
         [("float", 64, 224, 224, 3), ("int32", 64, 77)]),
    _nlp("picture_and_text", "train", "clip_6", partial(clip, layers=6, width=512, text_width=384),
         [("float", 128, 224, 224, 3), ("int32", 128, 77)], "sgd", dtype=BF16),
    _nlp("picture_and_text", "train", "coca_12", partial(captioner, layers=12, width=768),
         [("float", 16, 288, 288, 3), ("int32", 16, 64)], dtype=BF16),
    _nlp("picture_and_text", "train", "coca_4", partial(captioner, layers=4, width=512),
         [("float", 32, 224, 224, 3), ("int32", 32, 64)], "adamw"),
    _nlp("text_matching", "valid", "decomposable_4", partial(matcher, layers=4, width=512, vocabulary=30000),
         [("int32", 64, 64)] * 2, "adamw"),
]  # fmt: skip
