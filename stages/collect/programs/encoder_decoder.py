"""Networks from text to text: KerasHub's T5 and BART, and translators in jax."""

from __future__ import annotations

from functools import partial

from stages.collect.programs.declare import keras_program, program
from stages.collect.programs.hub_text import backbone
from stages.collect.programs.network import Network, causal


def _t5(layers: int, width: int, heads: int, inner: int, size: int = 64, gated: bool = False):
    return partial(
        backbone, "T5Backbone", "none", vocabulary_size=32128, num_layers=layers, num_heads=heads, hidden_dim=width,
        intermediate_dim=inner, key_value_dim=size, dropout=0.0, activation="gelu" if gated else "relu",
        use_gated_activation=gated,
    )  # fmt: skip


def _bart(layers: int, width: int, heads: int, head: str):
    return partial(
        backbone, "BartBackbone", head, vocabulary_size=50265, num_layers=layers, num_heads=heads, hidden_dim=width,
        intermediate_dim=4 * width, dropout=0.0, max_sequence_length=1024,
    )  # fmt: skip


def transformer(net: Network, source, target, *, layers: int, width: int, heads: int, inner: int, vocabulary: int):
    """The transformer (Vaswani et al. 2017) with one table for both languages, normed after each part."""
    import jax

    table = net.weight(vocabulary, width)

    def feed_forward(x):
        return net.dense(jax.nn.relu(net.dense(x, inner)), width)

    x = table[source] * width**0.5 + net.weight(source.shape[1], width)
    for _ in range(layers):
        x = net.layer_norm(x + net.attention(x, heads))
        x = net.layer_norm(x + feed_forward(x))
    y = table[target] * width**0.5 + net.weight(target.shape[1], width)
    mask = causal(target.shape[1])
    for _ in range(layers):
        y = net.layer_norm(y + net.attention(y, heads, mask=mask))
        y = net.layer_norm(y + net.attention(y, heads, memory=x))
        y = net.layer_norm(y + feed_forward(y))
    return y @ table.T


def _lstm(net: Network, steps, units: int):
    """Outputs of an LSTM, unrolled over a list of (batch, channels)."""
    import jax
    import jax.numpy as jnp

    recurrent, inner = net.weight(units, 4 * units), net.weight(steps[0].shape[-1], 4 * units)
    shift = net.weight(4 * units)
    hidden = cell = jnp.zeros((steps[0].shape[0], units), steps[0].dtype)
    outputs = []
    for step in steps:
        i, f, g, o = jnp.split(step @ inner + hidden @ recurrent + shift, 4, axis=-1)
        cell = jax.nn.sigmoid(f + 1) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
        outputs.append(hidden)
    return outputs


def lstm_seq2seq(net: Network, source, target, *, layers: int, width: int, vocabulary: int):
    """Attentional LSTM translator (Luong et al. 2015): residual layers, attention over the encoder's states."""
    import jax
    import jax.numpy as jnp

    def stack(tokens):
        embedded, _ = net.embedding(tokens, vocabulary, width)
        steps = [embedded[:, place] for place in range(tokens.shape[1])]
        for layer in range(layers):
            outputs = _lstm(net, steps, width)
            steps = [a + b for a, b in zip(outputs, steps, strict=True)] if layer else outputs
        return jnp.stack(steps, axis=1)

    encoded, decoded = stack(source), stack(target)
    scores = jnp.einsum("bqd,bkd->bqk", net.dense(decoded, width, False), encoded).astype(jnp.float32)
    context = jnp.einsum("bqk,bkd->bqd", jax.nn.softmax(scores).astype(net.dtype), encoded)
    joined = jnp.tanh(net.dense(jnp.concatenate([context, decoded], axis=-1), width))
    return net.dense(joined, vocabulary)


def lstm_language_model(net: Network, tokens, *, layers: int, width: int, vocabulary: int):
    """LSTM language model (Zaremba et al. 2014), its training window unrolled."""
    import jax.numpy as jnp

    embedded, table = net.embedding(tokens, vocabulary, width)
    steps = [embedded[:, place] for place in range(tokens.shape[1])]
    for _ in range(layers):
        steps = _lstm(net, steps, width)
    return jnp.stack(steps, axis=1) @ table.T


def conv_seq2seq(net: Network, source, target, *, layers: int, width: int, kernel: int, vocabulary: int):
    """Convolutional translator (Gehring et al. 2017): gated convolutions, attention in each layer of the decoder."""
    import jax
    import jax.numpy as jnp

    def gated(x):
        value, gate = jnp.split(x, 2, axis=-1)
        return value * jax.nn.sigmoid(gate)

    def embedded(tokens):
        return net.embedding(tokens, vocabulary, width)[0] + net.weight(tokens.shape[1], width)

    start = x = embedded(source)
    for _ in range(layers):
        x = (x + gated(net.conv(x, 2 * width, kernel, bias=True))) * 0.5**0.5
    values = x + start
    origin = y = embedded(target)
    for _ in range(layers):
        padded = jnp.pad(y, ((0, 0), (kernel - 1, 0), (0, 0)))
        z = gated(net.conv(padded, 2 * width, kernel, bias=True, padding="VALID"))
        scores = jnp.einsum("bqd,bkd->bqk", net.dense(z, width) + origin, x).astype(jnp.float32)
        z = z + net.dense(jnp.einsum("bqk,bkd->bqd", jax.nn.softmax(scores).astype(net.dtype), values), width)
        y = (y + z) * 0.5**0.5
    return net.dense(y, vocabulary)


_t5_program = partial(keras_program, "nlp", "t5")
_bart_program = partial(keras_program, "nlp", "bart")
_translator = partial(program, "nlp", "transformer")
_recurrent = partial(program, "nlp", "recurrent")
_convolutional = partial(program, "nlp", "conv_seq2seq")
BASE = dict(layers=6, width=512, heads=8, inner=2048, vocabulary=37000)
BIG = dict(layers=6, width=1024, heads=16, inner=4096, vocabulary=37000)
DEEP = dict(layers=12, width=512, heads=8, inner=2048, vocabulary=37000)

PROGRAMS = [
    _t5_program("train", "t5_small", _t5(6, 512, 8, 2048), 32, length=128),
    _t5_program("train", "t5_small", _t5(6, 512, 8, 2048), 16, "adamw", length=128, loss="squared"),
    _t5_program("train", "flan_t5_base", _t5(12, 768, 12, 2048, gated=True), 4, length=512, dtype="bfloat16"),
    _t5_program("valid", "t5_base", _t5(12, 768, 12, 3072), 16, length=256),
    _t5_program("test", "flan_t5_small", _t5(8, 512, 6, 1024, gated=True), 16, "sgd", length=256, loss="squared"),
    _bart_program("train", "bart_base", _bart(6, 768, 12, "lm"), 8, length=256),
    _bart_program("test", "bart_large", _bart(12, 1024, 16, "none"), 4, length=256, dtype="bfloat16"),
    _bart_program("train", "bart_base", _bart(6, 768, 12, "lm"), 8, "sgd", length=128),
    _translator("train", "transformer_base", partial(transformer, **BASE), [("int32", 64, 64)] * 2, "adamw"),
    _translator("train", "transformer_big", partial(transformer, **BIG), [("int32", 32, 64)] * 2, dtype="bfloat16"),
    _translator("train", "transformer_big", partial(transformer, **BIG), [("int32", 64, 32)] * 2, "momentum"),
    _translator("valid", "transformer_deep", partial(transformer, **DEEP), [("int32", 16, 128)] * 2, "sgd"),
    _recurrent("train", "gnmt_4x1024", partial(lstm_seq2seq, layers=4, width=1024, vocabulary=32000),
               [("int32", 64, 32)] * 2),
    _recurrent("train", "nmt_2x512", partial(lstm_seq2seq, layers=2, width=512, vocabulary=32000),
               [("int32", 128, 24)] * 2, "sgd"),
    _recurrent("train", "lstm_lm_650", partial(lstm_language_model, layers=2, width=650, vocabulary=10000),
               [("int32", 20, 35)], "sgd"),
    _recurrent("test", "lstm_lm_1500", partial(lstm_language_model, layers=2, width=1500, vocabulary=10000),
               [("int32", 20, 35)], "momentum"),
    _convolutional("train", "convs2s_base", partial(conv_seq2seq, layers=15, width=512, kernel=3, vocabulary=40000),
                   [("int32", 32, 64)] * 2),
    _convolutional("train", "convs2s_small", partial(conv_seq2seq, layers=8, width=256, kernel=3, vocabulary=32000),
                   [("int32", 64, 64)] * 2, "momentum"),
]  # fmt: skip
