"""Recommenders and networks for tables and time series."""

from __future__ import annotations

from functools import partial

from stages.collect.programs.declare import program
from stages.collect.programs.network import Network, causal


def _perceptron(net: Network, x, widths, norm: bool = False):
    import jax

    for width in widths:
        x = net.dense(x, width)
        x = jax.nn.relu(net.batch_norm(x) if norm else x)
    return x


def _looked_up(net: Network, ids, rows: int, width: int):
    """One table a field: (batch, fields) to (batch, fields, width)."""
    import jax.numpy as jnp

    return jnp.stack([net.embedding(ids[:, field], rows, width)[0] for field in range(ids.shape[1])], axis=1)


def dlrm(net: Network, numbers, ids, *, rows: int, bottom: tuple[int, ...], top: tuple[int, ...]):
    """DLRM (Naumov et al. 2019): dense and looked-up features, all pairs of them multiplied."""
    import jax.numpy as jnp

    x = _perceptron(net, numbers, bottom)
    joined = jnp.concatenate([x[:, None], _looked_up(net, ids, rows, bottom[-1])], axis=1)
    pairs = jnp.einsum("bid,bjd->bij", joined, joined)
    flat = jnp.concatenate([x, pairs.reshape(x.shape[0], -1)], axis=-1)
    return net.dense(_perceptron(net, flat, top), 1)


def dcn(net: Network, numbers, ids, *, rows: int, width: int, crosses: int, rank: int, experts: int, deep):
    """DCN-V2 (Wang et al. 2021): mixtures of low-rank crosses beside a perceptron."""
    import jax
    import jax.numpy as jnp

    looked = _looked_up(net, ids, rows, width)
    start = x = jnp.concatenate([numbers, looked.reshape(looked.shape[0], -1)], axis=-1)
    size = x.shape[-1]
    for _ in range(crosses):
        gates = jax.nn.softmax(net.dense(x, experts))
        parts = []
        for _ in range(experts):
            inner = jnp.tanh(net.dense(jnp.tanh(net.dense(x, rank, False)), rank, False))
            parts.append(start * net.dense(inner, size))
        x = x + jnp.einsum("bed,be->bd", jnp.stack(parts, axis=1), gates)
    return net.dense(jnp.concatenate([x, _perceptron(net, start, deep, True)], axis=-1), 1)


def behaviour(net: Network, history, candidate, ids, *, items: int, width: int, layers: int, deep):
    """Behaviour sequence transformer (Chen et al. 2019): attention over what was clicked and the candidate."""
    import jax
    import jax.numpy as jnp

    table = net.weight(items, width)
    x = jnp.concatenate([table[history], table[candidate]], axis=1)
    x = x + net.weight(x.shape[1], width)
    for _ in range(layers):
        x = net.layer_norm(x + net.attention(x, 8))
        x = net.layer_norm(x + net.dense(jax.nn.leaky_relu(net.dense(x, 4 * width)), width))
    looked = _looked_up(net, ids, 10000, width)
    flat = jnp.concatenate([x.reshape(x.shape[0], -1), looked.reshape(x.shape[0], -1)], axis=-1)
    return net.dense(_perceptron(net, flat, deep), 1)


def multitask(net: Network, numbers, ids, *, rows: int, width: int, experts: int, tasks: int, expert, tower):
    """PLE (Tang et al. 2020): two levels of experts, shared and of each task, behind gates."""
    import jax
    import jax.numpy as jnp

    looked = _looked_up(net, ids, rows, width)
    start = jnp.concatenate([numbers, looked.reshape(looked.shape[0], -1)], axis=-1)
    inputs, common = [start] * tasks, start
    for _ in range(2):
        shared = [_perceptron(net, common, expert) for _ in range(experts)]
        own = [[_perceptron(net, x, expert) for _ in range(experts)] for x in inputs]

        def gated(x, parts):
            gates = jax.nn.softmax(net.dense(x, len(parts), False))
            return jnp.einsum("bed,be->bd", jnp.stack(parts, axis=1), gates)

        inputs, common = (
            [gated(x, shared + parts) for x, parts in zip(inputs, own, strict=True)],
            gated(common, shared + [part for parts in own for part in parts]),
        )
    return jnp.concatenate([net.dense(_perceptron(net, x, tower), 1) for x in inputs], axis=-1)


def tabular_transformer(net: Network, numbers, ids, *, rows: int, width: int, layers: int):
    """FT-Transformer (Gorishniy et al. 2021): every feature a token."""
    import jax
    import jax.numpy as jnp

    batch, count = numbers.shape
    tokens = numbers[:, :, None] * net.weight(count, width) + net.weight(count, width)
    first = jnp.broadcast_to(net.weight(1, width), (batch, 1, width))
    x = jnp.concatenate([first, tokens, _looked_up(net, ids, rows, width)], axis=1)
    for _ in range(layers):
        x = x + net.attention(net.layer_norm(x), 8)
        value, gate = jnp.split(net.dense(net.layer_norm(x), 4 * width), 2, axis=-1)
        x = x + net.dense(value * jax.nn.relu(gate), width)
    return net.dense(jax.nn.relu(net.layer_norm(x[:, 0])), 10)


def nbeats(net: Network, x, *, stacks: int, blocks: int, width: int, horizon: int):
    """N-BEATS (Oreshkin et al. 2020): each block explains a part of the past and forecasts with it."""
    forecast = 0
    for _ in range(stacks * blocks):
        y = _perceptron(net, x, (width,) * 4)
        x = x - net.dense(net.dense(y, 32, False), x.shape[-1], False)
        forecast = forecast + net.dense(net.dense(y, 32, False), horizon, False)
    return forecast


def patch_tst(net: Network, x, *, patch: int, layers: int, width: int, heads: int, horizon: int):
    """PatchTST (Nie et al. 2023): each series cut in overlapping patches."""
    import jax
    import jax.numpy as jnp

    batch, length, series = x.shape
    x = x.transpose(0, 2, 1).reshape(batch * series, length // patch, patch)
    x = jnp.concatenate([x[:, :-1], x[:, 1:]], axis=-1)
    x = net.dense(x, width) + net.weight(x.shape[1], width)
    for _ in range(layers):
        x = net.batch_norm(x + net.attention(x, heads))
        x = net.batch_norm(x + net.dense(jax.nn.gelu(net.dense(x, 2 * width)), width))
    return net.dense(x.reshape(batch, series, -1), horizon).transpose(0, 2, 1)


def ts_mixer(net: Network, x, *, layers: int, width: int, horizon: int):
    """TSMixer (Chen et al. 2023): dense layers along time, then along the features."""
    import jax

    length, features = x.shape[1:]
    for _ in range(layers):
        y = net.dense(net.batch_norm(x).transpose(0, 2, 1), length)
        x = x + jax.nn.relu(y).transpose(0, 2, 1)
        x = x + net.dense(jax.nn.relu(net.dense(net.batch_norm(x), width)), features)
    return net.dense(x.transpose(0, 2, 1), horizon).transpose(0, 2, 1)


def temporal_fusion(net: Network, x, *, width: int, layers: int, horizon: int):
    """Temporal fusion (Lim et al. 2021) without its LSTM: selected variables, gated residuals, causal attention."""
    import jax
    import jax.numpy as jnp

    def gated(x, size):
        y = net.dense(jax.nn.elu(net.dense(x, size)), size)
        value, gate = jnp.split(net.dense(y, 2 * size), 2, axis=-1)
        return net.layer_norm(value * jax.nn.sigmoid(gate) + (x if x.shape[-1] == size else net.dense(x, size)))

    variables = [net.dense(x[..., place : place + 1], width) for place in range(x.shape[-1])]
    shares = jax.nn.softmax(gated(jnp.concatenate(variables, axis=-1), len(variables)))
    parts = jnp.stack([gated(variable, width) for variable in variables], axis=-2)
    x = jnp.einsum("btvd,btv->btd", parts, shares)
    for _ in range(layers):
        x = net.layer_norm(x + net.attention(gated(x, width), 4, mask=causal(x.shape[1])))
        x = gated(x, width)
    return net.dense(x[:, -horizon:], 3)


_recommender = partial(program, "xla", "recommender")
_tabular = partial(program, "xla", "tabular")
_series = partial(program, "xla", "time_series")
BF16 = "bfloat16"
CRITEO = [("float", 2048, 13), ("int32", 2048, 26)]
DLRM = dict(rows=100000, bottom=(512, 256, 64), top=(512, 512, 256))
DCN = dict(rows=100000, width=32, crosses=3, rank=64, experts=4, deep=(1024, 512, 512))
PLE = dict(rows=50000, width=16, experts=4, tasks=3, expert=(512, 256), tower=(128, 64))

PROGRAMS = [
    _recommender("train", "dlrm_criteo", partial(dlrm, **DLRM), CRITEO, "sgd", loss="binary"),
    _recommender("train", "dcnv2_criteo", partial(dcn, **DCN), CRITEO, "adamw", loss="binary"),
    _recommender("valid", "ple_3", partial(multitask, **PLE), [("float", 4096, 16), ("int32", 4096, 20)], "momentum",
                 loss="binary"),
    _recommender("train", "bst_3", partial(behaviour, items=200000, width=64, layers=3, deep=(1024, 512, 256)),
                 [("int32", 1024, 63), ("int32", 1024, 1), ("int32", 1024, 8)], "adamw", loss="binary"),
    _recommender("train", "bst_6", partial(behaviour, items=200000, width=128, layers=6, deep=(1024, 512, 256)),
                 [("int32", 512, 127), ("int32", 512, 1), ("int32", 512, 8)], dtype=BF16),
    _tabular("train", "ft_transformer", partial(tabular_transformer, rows=1000, width=192, layers=6),
             [("float", 512, 40), ("int32", 512, 14)], "sgd"),
    _tabular("train", "ft_transformer_12", partial(tabular_transformer, rows=1000, width=384, layers=12),
             [("float", 256, 60), ("int32", 256, 20)]),
    _series("test", "nbeats", partial(nbeats, stacks=2, blocks=3, width=512, horizon=96), [("float", 1024, 480)],
            "adamw", loss="squared"),
    _series("train", "patchtst", partial(patch_tst, patch=8, layers=6, width=128, heads=16, horizon=96),
            [("float", 32, 512, 21)], "adamw", loss="squared"),
    _series("train", "tsmixer", partial(ts_mixer, layers=8, width=512, horizon=96), [("float", 32, 512, 321)],
            "momentum", loss="squared"),
    _series("valid", "temporal_fusion", partial(temporal_fusion, width=160, layers=4, horizon=24),
            [("float", 128, 192, 12)], "sgd", loss="squared"),
]  # fmt: skip
