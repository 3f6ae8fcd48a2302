"""Speech networks: KerasHub's Whisper and Moonshine, recognisers and synthesisers in jax."""

from __future__ import annotations

from functools import partial

from stages.collect.programs.declare import keras_program, program
from stages.collect.programs.keras_models import libraries
from stages.collect.programs.network import Network


def whisper(layers: int, width: int, heads: int, frames: int = 3000, tokens: int = 448):
    """Whisper (Radford et al. 2022): log-mel frames to features of the text's places."""
    keras, hub = libraries()
    made = hub.models.WhisperBackbone(
        51865, layers, heads, width, 4 * width, max_encoder_sequence_length=frames, max_decoder_sequence_length=tokens
    )
    features = keras.Input((frames, 80), name="encoder_features")
    ids = keras.Input((tokens,), dtype="int32", name="decoder_token_ids")
    mask = keras.Input((tokens,), dtype="int32", name="decoder_padding_mask")
    inputs = {"encoder_features": features, "decoder_token_ids": ids, "decoder_padding_mask": mask}
    return keras.Model(inputs, made(inputs)["decoder_sequence_output"])


def conformer(net: Network, frames, *, layers: int, width: int, heads: int, kernel: int = 31, tokens: int = 1024):
    """Conformer encoder (Gulati et al. 2020): half feed-forward parts around attention and a convolution."""
    import jax
    import jax.numpy as jnp

    x = frames[..., None]
    for _ in range(2):
        x = jax.nn.relu(net.conv(x, width, 3, 2, bias=True))
    x = net.dense(x.reshape(*x.shape[:2], -1), width)

    def feed_forward(x):
        return net.dense(jax.nn.silu(net.dense(net.layer_norm(x), 4 * width)), width)

    for _ in range(layers):
        x = x + 0.5 * feed_forward(x)
        x = x + net.attention(net.layer_norm(x), heads)
        value, gate = jnp.split(net.dense(net.layer_norm(x), 2 * width), 2, axis=-1)
        y = jax.nn.silu(net.batch_norm(net.depthwise(value * jax.nn.sigmoid(gate), kernel)))
        x = x + net.dense(y, width)
        x = net.layer_norm(x + 0.5 * feed_forward(x))
    return net.dense(x, tokens)


def wav2vec2(net: Network, wave, *, layers: int, width: int, heads: int, tokens: int = 32):
    """wav2vec 2.0 (Baevski et al. 2020): seven convolutions over the raw wave, a transformer, a class a frame."""
    import jax

    x = wave[..., None]
    for kernel, stride in ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2)):
        x = net.conv(x, 512, kernel, stride, padding="VALID")
        x = jax.nn.gelu(net.group_norm(x, 512) if kernel == 10 else x)
    x = net.dense(net.layer_norm(x), width)
    x = net.layer_norm(x + jax.nn.gelu(net.conv(x, width, 128, groups=16, bias=True)))
    for _ in range(layers):
        x = net.layer_norm(x + net.attention(x, heads))
        x = net.layer_norm(x + net.dense(jax.nn.gelu(net.dense(x, 4 * width)), width))
    return net.dense(x, tokens)


def quartznet(net: Network, frames, *, repeats: int, tokens: int = 29):
    """QuartzNet (Kriman et al. 2020): blocks of separable convolutions in time, residuals around each block."""
    import jax

    def unit(x, filters, kernel, stride=1, dilation=1):
        return net.batch_norm(net.conv(net.depthwise(x, kernel, stride, dilation), filters, 1))

    x = jax.nn.relu(unit(frames, 256, 33, 2))
    for filters, kernel in ((256, 33), (256, 39), (512, 51), (512, 63), (512, 75)):
        for _ in range(repeats):
            y = x
            for place in range(5):
                y = unit(y if place == 0 else jax.nn.relu(y), filters, kernel)
            x = jax.nn.relu(y + net.batch_norm(net.conv(x, filters, 1)))
    x = jax.nn.relu(unit(x, 512, 87, dilation=2))
    x = jax.nn.relu(net.batch_norm(net.conv(x, 1024, 1)))
    return net.conv(x, tokens, 1, bias=True)


def fastspeech(net: Network, phonemes, *, layers: int, width: int, kernel: int = 9, stretch: int = 8, mels: int = 80):
    """FastSpeech 2 (Ren et al. 2021) with equal durations: transformers of convolutions before and after a stretch."""
    import jax
    import jax.numpy as jnp

    def stack(x):
        for _ in range(layers):
            x = net.layer_norm(x + net.attention(x, 2))
            x = net.layer_norm(x + net.conv(jax.nn.relu(net.conv(x, 4 * width, kernel, bias=True)), width, 1))
        return x

    def variance(x):
        for _ in range(2):
            x = net.layer_norm(jax.nn.relu(net.conv(x, width, 3, bias=True)))
        return net.dense(x, 1)

    x = stack(net.embedding(phonemes, 360, width)[0] + net.weight(phonemes.shape[1], width))
    duration, pitch, energy = variance(x), variance(x), variance(x)
    x = x + net.dense(pitch, width) + net.dense(energy, width)
    x = jnp.repeat(x, stretch, axis=1) + net.weight(phonemes.shape[1] * stretch, width)
    mel = net.dense(stack(x), mels)
    y = mel
    for _ in range(4):
        y = jnp.tanh(net.batch_norm(net.conv(y, 512, 5)))
    return mel + net.conv(y, mels, 5), duration


def wavenet(net: Network, wave, *, stacks: int, width: int, skip: int, levels: int = 256):
    """WaveNet (van den Oord et al. 2016): dilated causal convolutions with gates and skips."""
    import jax
    import jax.numpy as jnp

    x = net.conv(jax.nn.one_hot(wave, levels, dtype=net.dtype), width, 1)
    total = 0
    for _ in range(stacks):
        for dilation in (2**power for power in range(10)):
            padded = jnp.pad(x, ((0, 0), (dilation, 0), (0, 0)))
            value, gate = jnp.split(net.conv(padded, 2 * width, 2, 1, 1, dilation, True, "VALID"), 2, axis=-1)
            y = jnp.tanh(value) * jax.nn.sigmoid(gate)
            total = total + net.conv(y, skip, 1)
            x = x + net.conv(y, width, 1)
    return net.conv(jax.nn.relu(net.conv(jax.nn.relu(total), skip, 1)), levels, 1)


def tdnn(net: Network, frames, *, channels: int, speakers: int):
    """ECAPA-TDNN (Desplanques et al. 2020): Res2Net blocks with squeeze-and-excitation, statistics by attention."""
    import jax
    import jax.numpy as jnp

    def unit(x, filters, kernel=1, dilation=1):
        return net.batch_norm(jax.nn.relu(net.conv(x, filters, kernel, dilation=dilation, bias=True)))

    x = unit(frames, channels, 5)
    kept = []
    for dilation in (2, 3, 4):
        parts = jnp.split(unit(x, channels), 8, axis=-1)
        outputs = [parts[0]]
        for part in parts[1:]:
            outputs.append(unit(part + outputs[-1] if len(outputs) > 1 else part, channels // 8, 3, dilation))
        y = unit(jnp.concatenate(outputs, axis=-1), channels)
        gate = net.dense(jax.nn.relu(net.dense(y.mean(1, keepdims=True), 128)), channels)
        x = x + y * jax.nn.sigmoid(gate)
        kept.append(x)
    x = unit(jnp.concatenate(kept, axis=-1), 1536)
    weight = jax.nn.softmax(net.conv(jnp.tanh(unit(x, 128)), 1536, 1, bias=True), axis=1)
    mean = jnp.sum(weight * x, axis=1)
    deviation = jnp.sqrt(jnp.maximum(jnp.sum(weight * x * x, axis=1) - mean * mean, 1e-6))
    return net.dense(net.batch_norm(net.dense(jnp.concatenate([mean, deviation], axis=-1), 192)), speakers)


_whisper = partial(keras_program, "nlp", "whisper")
_jax = partial(program, "nlp")
BF16 = "bfloat16"

PROGRAMS = [
    _whisper("train", "whisper_tiny", partial(whisper, 4, 384, 6), 4),
    _whisper("train", "whisper_base", partial(whisper, 6, 512, 8), 4, dtype=BF16),
    _whisper("train", "whisper_tiny_short", partial(whisper, 4, 384, 6, 1000, 128), 8, "adamw", loss="squared"),
    _whisper("valid", "whisper_small", partial(whisper, 12, 768, 12), 1, dtype=BF16),
    _jax("conformer", "train", "conformer_s", partial(conformer, layers=16, width=144, heads=4),
         [("float", 16, 800, 80)]),
    _jax("conformer", "train", "conformer_m", partial(conformer, layers=16, width=256, heads=4),
         [("float", 8, 1000, 80)], dtype=BF16),
    _jax("conformer", "train", "conformer_8", partial(conformer, layers=8, width=256, heads=4),
         [("float", 16, 400, 80)], "sgd"),
    _jax("conformer", "test", "conformer_l", partial(conformer, layers=17, width=512, heads=8),
         [("float", 4, 1000, 80)]),
    _jax("wav2vec2", "valid", "wav2vec2_base", partial(wav2vec2, layers=12, width=768, heads=12),
         [("float", 4, 80000)]),
    _jax("wav2vec2", "valid", "wav2vec2_6", partial(wav2vec2, layers=6, width=512, heads=8), [("float", 8, 32000)],
         "momentum"),
    _jax("quartznet", "train", "quartznet_15x5", partial(quartznet, repeats=3), [("float", 16, 800, 64)]),
    _jax("quartznet", "train", "quartznet_5x5", partial(quartznet, repeats=1), [("float", 32, 800, 64)], "momentum"),
    _jax("quartznet", "train", "quartznet_10x5", partial(quartznet, repeats=2), [("float", 16, 1000, 64)], dtype=BF16),
    _jax("fastspeech", "train", "fastspeech2", partial(fastspeech, layers=4, width=256), [("int32", 16, 100)]),
    _jax("fastspeech", "train", "fastspeech2", partial(fastspeech, layers=4, width=256), [("int32", 32, 64)], "adamw",
         loss="squared"),
    _jax("wavenet", "test", "wavenet_30", partial(wavenet, stacks=3, width=64, skip=256), [("int32", 4, 8000)]),
    _jax("wavenet", "test", "wavenet_20", partial(wavenet, stacks=2, width=128, skip=512), [("int32", 2, 8000)], "sgd"),
    _jax("speaker_tdnn", "train", "ecapa_512", partial(tdnn, channels=512, speakers=7205), [("float", 32, 300, 80)],
         "adamw"),
    _jax("speaker_tdnn", "train", "ecapa_1024", partial(tdnn, channels=1024, speakers=7205), [("float", 64, 300, 80)]),
]  # fmt: skip
