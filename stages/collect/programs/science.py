"""Physics, chemistry, weather, games, rendering: networks of simulation and search."""

from __future__ import annotations

import math
from functools import partial

from stages.collect.programs.declare import program
from stages.collect.programs.network import Network, max_pool


def _mlp(net: Network, x, widths, norm: bool = False):
    import jax

    for place, width in enumerate(widths):
        x = net.dense(x, width)
        x = jax.nn.relu(x) if place < len(widths) - 1 else x
    return net.layer_norm(x) if norm else x


def mesh_graph_net(net: Network, nodes, edges, senders, receivers, *, steps: int, width: int, outputs: int):
    """MeshGraphNets (Pfaff et al. 2021): edges read their ends, nodes read the sum of their edges."""
    import jax
    import jax.numpy as jnp

    count = nodes.shape[0]
    x = _mlp(net, nodes, (width,) * 3, True)
    e = _mlp(net, edges, (width,) * 3, True)
    for _ in range(steps):
        e = e + _mlp(net, jnp.concatenate([e, x[senders], x[receivers]], axis=-1), (width,) * 3, True)
        summed = jax.ops.segment_sum(e, receivers, count)
        x = x + _mlp(net, jnp.concatenate([x, summed], axis=-1), (width,) * 3, True)
    return _mlp(net, x, (width, width, outputs))


def dense_graph(net: Network, nodes, edges, *, layers: int, width: int, heads: int):
    """Graph transformer (Dwivedi & Bresson 2021) on molecules as dense matrices of edges."""
    import jax
    import jax.numpy as jnp

    batch, count, _ = nodes.shape
    x, e = net.dense(nodes, width), net.dense(edges, width)
    for _ in range(layers):
        q, k, v = (net.dense(x, width).reshape(batch, count, heads, -1) for _ in range(3))
        pair = net.dense(e, width).reshape(batch, count, count, heads, -1)
        scores = q[:, :, None] * k[:, None] / math.sqrt(width // heads) * pair
        odds = jax.nn.softmax(jnp.clip(scores.sum(-1), -5, 5).astype(jnp.float32), axis=2).astype(net.dtype)
        x = net.layer_norm(x + net.dense(jnp.einsum("bijh,bjhd->bihd", odds, v).reshape(batch, count, width), width))
        e = net.layer_norm(e + net.dense(scores.reshape(batch, count, count, width), width))
        x = net.layer_norm(x + _mlp(net, x, (2 * width, width)))
        e = net.layer_norm(e + _mlp(net, e, (2 * width, width)))
    return net.dense(x.mean(1), 1)


def evoformer(net: Network, msa, pair, *, blocks: int, width: int = 256, pairs: int = 128):
    """Evoformer of AlphaFold 2 (Jumper et al. 2021): rows, columns, outer products, triangles."""
    import jax
    import jax.numpy as jnp

    def gated_attention(x, heads, size, bias=None):
        y = net.layer_norm(x)
        q, k, v, g = (net.dense(y, heads * size, False).reshape(*x.shape[:-1], heads, size) for _ in range(4))
        scores = jnp.einsum("rqhd,rkhd->rhqk", q, k).astype(jnp.float32) / math.sqrt(size)
        odds = jax.nn.softmax(scores if bias is None else scores + bias[None].astype(jnp.float32))
        y = jnp.einsum("rhqk,rkhd->rqhd", odds.astype(net.dtype), v) * jax.nn.sigmoid(g)
        return net.dense(y.reshape(*x.shape[:-1], heads * size), x.shape[-1])

    def triangle(z, equation):
        y = net.layer_norm(z)
        a, b = (net.dense(y, pairs) * jax.nn.sigmoid(net.dense(y, pairs)) for _ in range(2))
        out = net.dense(net.layer_norm(jnp.einsum(equation, a, b)), pairs)
        return out * jax.nn.sigmoid(net.dense(y, pairs))

    def transition(x):
        return net.dense(jax.nn.relu(net.dense(net.layer_norm(x), 4 * x.shape[-1])), x.shape[-1])

    m, z = net.dense(msa, width), net.dense(pair, pairs)
    for _ in range(blocks):
        m = m + gated_attention(m, 8, 32, net.dense(net.layer_norm(z), 8, False).transpose(2, 0, 1))
        m = m + gated_attention(m.transpose(1, 0, 2), 8, 32).transpose(1, 0, 2)
        m = m + transition(m)
        y = net.layer_norm(m)
        outer = jnp.einsum("sic,sjd->ijcd", net.dense(y, 32), net.dense(y, 32)) / m.shape[0]
        z = z + net.dense(outer.reshape(*z.shape[:2], -1), pairs)
        z = z + triangle(z, "ikc,jkc->ijc")
        z = z + triangle(z, "kic,kjc->ijc")
        z = z + gated_attention(z, 4, 32, net.dense(net.layer_norm(z), 4, False).transpose(2, 0, 1))
        turned = z.transpose(1, 0, 2)
        bias = net.dense(net.layer_norm(turned), 4, False).transpose(2, 0, 1)
        z = z + gated_attention(turned, 4, 32, bias).transpose(1, 0, 2)
        z = z + transition(z)
    return net.dense(m[0], width), z


def fourier_operator(net: Network, x, *, layers: int, width: int, modes: int):
    """Fourier neural operator (Li et al. 2021), its transforms of few modes as products with their matrices."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    side = x.shape[1]
    angles = 2 * math.pi * np.outer(np.arange(modes), np.arange(side)) / side
    cosine, sine = (jnp.asarray(part, net.dtype) for part in (np.cos(angles), np.sin(angles)))

    def spectral(x):
        real = jnp.einsum("bhwc,kh,lw->bklc", x, cosine, cosine) - jnp.einsum("bhwc,kh,lw->bklc", x, sine, sine)
        imaginary = jnp.einsum("bhwc,kh,lw->bklc", x, sine, cosine) + jnp.einsum("bhwc,kh,lw->bklc", x, cosine, sine)
        a, b = (net.weight(modes, modes, width, width) for _ in range(2))
        real, imaginary = (
            jnp.einsum("bklc,klcd->bkld", real, a) + jnp.einsum("bklc,klcd->bkld", imaginary, b),
            jnp.einsum("bklc,klcd->bkld", imaginary, a) - jnp.einsum("bklc,klcd->bkld", real, b),
        )
        back = jnp.einsum("bklc,kh,lw->bhwc", real, cosine, cosine) - jnp.einsum("bklc,kh,lw->bhwc", real, sine, sine)
        return back + jnp.einsum("bklc,kh,lw->bhwc", imaginary, sine, cosine)

    x = net.dense(x, width)
    for _ in range(layers):
        x = jax.nn.gelu(net.group_norm(spectral(x) / side**2 + net.dense(x, width), 8))
    return net.dense(jax.nn.gelu(net.dense(x, 128)), 1)


def alphazero(net: Network, boards, *, blocks: int, width: int, moves: int):
    """AlphaZero (Silver et al. 2018): a residual tower, moves and value."""
    import jax
    import jax.numpy as jnp

    def unit(x, filters, kernel=3):
        return net.batch_norm(net.conv(x, filters, kernel))

    x = jax.nn.relu(unit(boards, width))
    for _ in range(blocks):
        x = jax.nn.relu(x + unit(jax.nn.relu(unit(x, width)), width))
    policy = jax.nn.relu(unit(x, 2, 1)).reshape(x.shape[0], -1)
    value = net.dense(jax.nn.relu(unit(x, 1, 1)).reshape(x.shape[0], -1), 256)
    return net.dense(policy, moves), jnp.tanh(net.dense(jax.nn.relu(value), 1))


def muzero(net: Network, frames, actions, *, blocks: int, width: int, unroll: int, support: int = 601):
    """MuZero (Schrittwieser et al. 2020): representation, dynamics unrolled over actions, predictions at each."""
    import jax
    import jax.numpy as jnp

    def residual(x):
        y = jax.nn.relu(net.batch_norm(net.conv(x, width)))
        return jax.nn.relu(x + net.batch_norm(net.conv(y, width)))

    def head(x, size):
        y = jax.nn.relu(net.batch_norm(net.conv(x, 16, 1))).reshape(x.shape[0], -1)
        return net.dense(jax.nn.relu(net.dense(y, 32)), size)

    x = net.conv(residual(jax.nn.relu(net.conv(frames, width, 3, 2))), width, 3, 2)
    for _ in range(blocks):
        x = residual(x)
    x = max_pool(max_pool(x, 3, 2), 3, 2)
    outputs = [head(x, 18), head(x, support)]
    for step in range(unroll):
        plane = jnp.broadcast_to(actions[:, step, None, None, None], (*x.shape[:3], 1)).astype(net.dtype)
        x = jax.nn.relu(net.conv(jnp.concatenate([x, plane], axis=-1), width))
        for _ in range(blocks // 4):
            x = residual(x)
        outputs += [head(x, 18), head(x, support), head(x, support)]
    return tuple(outputs)


def impala(net: Network, frames, *, widths: tuple[int, ...], moves: int):
    """IMPALA's deep network (Espeholt et al. 2018), one of two with twice the channels, each frame for itself."""
    import jax

    x = frames
    for width in widths:
        x = max_pool(net.conv(x, width, bias=True), 3, 2)
        for _ in range(2):
            x = x + net.conv(jax.nn.relu(net.conv(jax.nn.relu(x), width, bias=True)), width, bias=True)
    x = jax.nn.relu(net.dense(jax.nn.relu(x).reshape(x.shape[0], -1), 256))
    return net.dense(x, moves), net.dense(x, 1)


def nerf(net: Network, places, directions, *, width: int, layers: int, samples: int):
    """NeRF (Mildenhall et al. 2020): encoded places of rays through a perceptron, colours summed along each ray."""
    import jax
    import jax.numpy as jnp

    def encoded(x, levels):
        parts = [f(2.0**level * x) for level in range(levels) for f in (jnp.sin, jnp.cos)]
        return jnp.concatenate([x, *parts], axis=-1)

    def field(x, d):
        y = x
        for layer in range(layers):
            y = jax.nn.relu(net.dense(y, width))
            y = jnp.concatenate([y, x], axis=-1) if layer == layers // 2 else y
        density = jax.nn.relu(net.dense(y, 1))[..., 0]
        y = jnp.concatenate([net.dense(y, width), d], axis=-1)
        return density, jax.nn.sigmoid(net.dense(jax.nn.relu(net.dense(y, width // 2)), 3))

    pixels = []
    x, d = encoded(places, 10), encoded(directions, 4)
    for part in (x[:, :samples], x):  # coarse, then fine
        density, colour = field(part, jnp.broadcast_to(d[:, None], (*part.shape[:2], d.shape[-1])))
        clear = jnp.cumsum(density, axis=1)
        weight = jnp.exp(density - clear) * (1 - jnp.exp(-density))
        pixels.append(jnp.sum(weight[..., None] * colour, axis=1))
    return tuple(pixels)


def pointnet(net: Network, points, *, classes: int = 40):
    """PointNet (Qi et al. 2017) with both transforms."""
    import jax
    import jax.numpy as jnp

    def unit(x, width):
        return jax.nn.relu(net.batch_norm(net.dense(x, width)))

    def transform(x):
        y = unit(unit(unit(x, 64), 128), 1024).max(1)
        matrix = net.dense(unit(unit(y, 512), 256), x.shape[-1] ** 2).reshape(-1, x.shape[-1], x.shape[-1])
        return jnp.einsum("bpc,bcd->bpd", x, matrix + jnp.eye(x.shape[-1], dtype=net.dtype))

    x = unit(unit(transform(points), 64), 64)
    x = unit(unit(unit(transform(x), 64), 128), 1024).max(1)
    return net.dense(unit(unit(x, 512), 256), classes)


def perceiver(net: Network, x, *, latents: int, width: int, crosses: int, layers: int, outputs: int):
    """Perceiver (Jaegle et al. 2021): few latents read many inputs again and again."""
    import jax
    import jax.numpy as jnp

    def feed_forward(x):
        return net.dense(jax.nn.gelu(net.dense(net.layer_norm(x), 4 * width)), width)

    y = jnp.broadcast_to(net.weight(latents, width), (x.shape[0], latents, width))
    for _ in range(crosses):
        y = y + net.attention(net.layer_norm(y), 1, memory=net.layer_norm(x))
        y = y + feed_forward(y)
        for _ in range(layers):
            y = y + net.attention(net.layer_norm(y), 8)
            y = y + feed_forward(y)
    return net.dense(y.mean(1), outputs)


_xla = partial(program, "xla")
BF16 = "bfloat16"
MESH = [("float", 4096, 12), ("float", 24576, 7), ("int32", 24576), ("int32", 24576)]

PROGRAMS = [
    _xla("graph_network", "train", "meshgraphnet_15", partial(mesh_graph_net, steps=15, width=128, outputs=3), MESH),
    _xla("graph_network", "train", "meshgraphnet_8", partial(mesh_graph_net, steps=8, width=128, outputs=3), MESH,
         "sgd", loss="squared"),
    _xla("graph_network", "train", "graph_transformer", partial(dense_graph, layers=10, width=128, heads=8),
         [("float", 16, 40, 28), ("float", 16, 40, 40, 4)]),
    _xla("graph_network", "valid", "graph_transformer_4", partial(dense_graph, layers=4, width=64, heads=8),
         [("float", 64, 32, 28), ("float", 64, 32, 32, 4)], "adamw", loss="squared"),
    _xla("evoformer", "test", "evoformer_8", partial(evoformer, blocks=8),
         [("float", 128, 256, 49), ("float", 256, 256, 65)], dtype=BF16),
    _xla("evoformer", "test", "evoformer_2", partial(evoformer, blocks=2),
         [("float", 64, 128, 49), ("float", 128, 128, 65)], "sgd", loss="squared"),
    _xla("neural_operator", "train", "fno_64", partial(fourier_operator, layers=4, width=64, modes=12),
         [("float", 32, 64, 64, 3)], "adamw", loss="squared"),
    _xla("neural_operator", "train", "fno_128", partial(fourier_operator, layers=8, width=128, modes=16),
         [("float", 8, 128, 128, 10)]),
    _xla("board_games", "train", "alphazero_20x256", partial(alphazero, blocks=20, width=256, moves=362),
         [("float", 256, 19, 19, 17)], dtype=BF16),
    _xla("board_games", "train", "alphazero_10x128", partial(alphazero, blocks=10, width=128, moves=82),
         [("float", 512, 9, 9, 17)], "momentum", loss="squared"),
    _xla("board_games", "train", "muzero_atari", partial(muzero, blocks=16, width=256, unroll=5),
         [("float", 64, 96, 96, 128), ("int32", 64, 5)]),
    _xla("board_games", "valid", "muzero_small", partial(muzero, blocks=4, width=128, unroll=5),
         [("float", 64, 96, 96, 32), ("int32", 64, 5)], "sgd"),
    _xla("board_games", "test", "impala_deep", partial(impala, widths=(32, 64, 64), moves=15),
         [("float", 512, 84, 84, 4)], "rmsprop", loss="squared"),
    _xla("nerf", "valid", "nerf_8x256", partial(nerf, width=256, layers=8, samples=64),
         [("float", 1024, 192, 3), ("float", 1024, 3)], "adamw", loss="squared"),
    _xla("pointnet", "train", "pointnet_cls", pointnet, [("float", 32, 1024, 3)], "adamw"),
    _xla("perceiver", "train", "perceiver_imagenet",
         partial(perceiver, latents=512, width=1024, crosses=4, layers=4, outputs=1000), [("float", 4, 12544, 261)],
         dtype=BF16),
    _xla("perceiver", "train", "perceiver_small",
         partial(perceiver, latents=256, width=512, crosses=2, layers=3, outputs=1000), [("float", 16, 3136, 131)],
         "sgd"),
]  # fmt: skip
