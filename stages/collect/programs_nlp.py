"""The language programs to measure: small keras-hub and keras networks with random weights, forward or training step.

Every row of `_TABLE` is one program. Importing this module imports no framework: keras and jax load in `build`.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from stages.collect.program import Program

LEARNING_RATE = 1e-2
WEIGHT_SCALE = 0.05
CLASSES = 16
TUNED = 3


@dataclass(frozen=True)
class Shape:
    """Size of one network, its head and its mode.

    Heads: 'lm', 'class', 'tag', 'none', and 'encode' (a two-sided backbone's encoder alone, under a 'class' head).
    Modes: 'forward', 'train' (a step on every weight), 'tune' (a step on the last `TUNED` weight matrices, the rest
    frozen: a whole backward pass through attention takes XLA:CPU two seconds and more to compile).
    """

    split: str
    layers: int
    width: int
    heads: int
    batch: int
    length: int
    vocabulary: int
    head: str
    mode: str

    @property
    def target_length(self) -> int:
        """Tokens on the decoder's side of a two-sided network: shorter than the source, so the two never mix up."""
        return max(8, self.length * 3 // 4)


def _keras():
    """keras and keras_hub on the JAX backend, imported late: the backend is read from the environment at import."""
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import keras_hub

    return keras, keras_hub


def _plain(s: Shape) -> dict:
    """Arguments that most backbones with one kind of head share; dropout 0, as random bits are no part of a layout."""
    return {
        "vocabulary_size": s.vocabulary,
        "num_layers": s.layers,
        "num_heads": s.heads,
        "hidden_dim": s.width,
        "intermediate_dim": 4 * s.width,
        "dropout": 0.0,
        "max_sequence_length": s.length,
    }


def _grouped(s: Shape) -> dict:
    """Arguments of the decoders with grouped-query attention: half as many key and value heads as query heads."""
    return {
        "vocabulary_size": s.vocabulary,
        "num_layers": s.layers,
        "num_query_heads": s.heads,
        "num_key_value_heads": max(1, s.heads // 2),
        "hidden_dim": s.width,
        "intermediate_dim": 3 * s.width,
    }


def _without(arguments: dict, *names: str) -> dict:
    return {name: value for name, value in arguments.items() if name not in names}


def _electra(s: Shape) -> dict:
    arguments = _without(_plain(s), "vocabulary_size")
    return arguments | {"vocab_size": s.vocabulary, "embedding_dim": s.width // 2}


def _falcon(s: Shape) -> dict:
    arguments = _without(_plain(s), "num_heads", "dropout", "max_sequence_length")
    return arguments | {"num_attention_heads": s.heads}


# Family -> (keras_hub.models class, its arguments).
_BACKBONES: dict[str, tuple[str, Callable[[Shape], dict]]] = {
    "bert": ("BertBackbone", _plain),
    "roberta": ("RobertaBackbone", _plain),
    "distilbert": ("DistilBertBackbone", _plain),
    "electra": ("ElectraBackbone", _electra),
    "deberta": ("DebertaV3Backbone", lambda s: _plain(s) | {"bucket_size": s.length // 2}),
    "albert": ("AlbertBackbone", lambda s: _plain(s) | {"embedding_dim": s.width // 2}),
    "fnet": ("FNetBackbone", lambda s: _without(_plain(s), "num_heads")),
    "roformer": (
        "RoformerV2Backbone",
        lambda s: _without(_plain(s), "max_sequence_length") | {"head_size": s.width // s.heads},
    ),
    "gpt2": ("GPT2Backbone", _plain),
    "opt": ("OPTBackbone", _plain),
    "bloom": ("BloomBackbone", lambda s: _without(_plain(s), "max_sequence_length")),
    "gptneox": ("GPTNeoXBackbone", _plain),
    "falcon": ("FalconBackbone", _falcon),
    "llama": ("LlamaBackbone", _grouped),
    "mistral": ("MistralBackbone", lambda s: _grouped(s) | {"sliding_window": max(8, s.length // 2)}),
    "qwen": ("QwenBackbone", _grouped),
    "gemma": ("GemmaBackbone", lambda s: _grouped(s) | {"head_dim": s.width // s.heads}),
    "phi3": ("Phi3Backbone", _grouped),
    "mixtral": ("MixtralBackbone", lambda s: _grouped(s) | {"num_experts": 4, "sliding_window": s.length}),
    "qwen_moe": (
        "QwenMoeBackbone",
        lambda s: (
            _grouped(s)
            | {
                "moe_intermediate_dim": s.width,
                "shared_expert_intermediate_dim": 2 * s.width,
                "num_experts": 4,
                "top_k": 2,
            }
        ),
    ),
    "t5": ("T5Backbone", lambda s: _without(_plain(s), "max_sequence_length") | {"activation": "gelu"}),
    "bart": ("BartBackbone", _plain),
    "whisper": (
        "WhisperBackbone",
        lambda s: (
            _without(_plain(s), "max_sequence_length")
            | {
                "num_mels": 40,
                "max_encoder_sequence_length": 2 * s.length,
                "max_decoder_sequence_length": s.target_length,
            }
        ),
    ),
}


def _backbone(family: str, s: Shape):
    """A keras_hub backbone of the shape's size under the shape's head."""
    keras, hub = _keras()
    name, arguments = _BACKBONES[family]
    backbone = getattr(hub.models, name)(**arguments(s))
    output = backbone.output
    if s.head == "encode":
        inputs = {name: tensor for name, tensor in backbone.input.items() if name.startswith("encoder")}
        return keras.Model(inputs, _head(output["encoder_sequence_output"], s))
    if isinstance(output, dict):
        output = output.get("decoder_sequence_output", output.get("sequence_output"))
    if s.head == "lm" and output.shape[-1] == backbone.token_embedding.output_dim:
        return keras.Model(backbone.input, backbone.token_embedding(output, reverse=True))
    return keras.Model(backbone.input, _head(output, s))


def _head(x, s: Shape):
    """Logits of the shape's head over a sequence of features (batch, length, width)."""
    keras, _ = _keras()
    if s.head == "none":
        return x
    if s.head in ("class", "encode"):
        x = keras.layers.Dense(s.width, activation="tanh")(keras.layers.GlobalAveragePooling1D()(x))
        return keras.layers.Dense(CLASSES)(x)
    return keras.layers.Dense(s.vocabulary if s.head == "lm" else CLASSES)(x)


def _tokens(s: Shape, name: str = "token_ids", length: int | None = None):
    keras, _ = _keras()
    return keras.Input((length or s.length,), dtype="int32", name=name)


def _text_cnn(s: Shape):
    """Parallel convolutions of widths 3 to 5 over the embedding, stacked `layers` deep (after Kim 2014)."""
    keras, _ = _keras()
    tokens = _tokens(s)
    embedded = keras.layers.Embedding(s.vocabulary, s.width)(tokens)
    branches = []
    for size in (3, 4, 5):
        x = embedded
        for _ in range(s.layers):
            x = keras.layers.Conv1D(s.width, size, padding="same", activation="relu")(x)
            x = keras.layers.LayerNormalization()(x)
        branches.append(x)
    return keras.Model(tokens, _head(keras.layers.Concatenate()(branches), s))


def _gated_convolution(s: Shape):
    """Causal convolutions with gated linear units and residuals (after Dauphin et al. 2017)."""
    keras, _ = _keras()
    tokens = _tokens(s)
    x = keras.layers.Embedding(s.vocabulary, s.width)(tokens)
    for _ in range(s.layers):
        normed = keras.layers.LayerNormalization()(x)
        y = keras.layers.Conv1D(2 * s.width, 4, padding="causal")(normed)
        x = x + y[..., : s.width] * keras.ops.sigmoid(y[..., s.width :])
    return keras.Model(tokens, _head(keras.layers.LayerNormalization()(x), s))


def _separable_convolution(s: Shape):
    """Dilated depthwise-separable convolutions over filter-bank frames, an acoustic tagger (QuartzNet's block)."""
    keras, _ = _keras()
    frames = keras.Input((2 * s.length, 40), name="frames")
    x = keras.layers.Conv1D(s.width, 5, strides=2, padding="same")(frames)
    for layer in range(s.layers):
        y = keras.layers.SeparableConv1D(s.width, 7, dilation_rate=layer + 1, padding="same")(x)
        x = keras.ops.relu(x + keras.layers.BatchNormalization()(y))
    return keras.Model(frames, _head(x, s))


def _recurrent_tagger(cell: str, s: Shape):
    """Stacked bidirectional LSTM or GRU layers."""
    keras, _ = _keras()
    tokens = _tokens(s)
    x = keras.layers.Embedding(s.vocabulary, s.width)(tokens)
    for _ in range(s.layers):
        x = keras.layers.Bidirectional(getattr(keras.layers, cell)(s.width // 2, return_sequences=True))(x)
        x = keras.layers.LayerNormalization()(x)
    return keras.Model(tokens, _head(x, s))


def _lstm_seq2seq(s: Shape):
    """LSTM encoder and decoder with dot-product attention over the encoder's states (after Luong et al. 2015)."""
    keras, _ = _keras()
    source, target = _tokens(s, "encoder_token_ids"), _tokens(s, "decoder_token_ids", s.target_length)
    embedding = keras.layers.Embedding(s.vocabulary, s.width)
    memory, *state = keras.layers.LSTM(s.width, return_sequences=True, return_state=True)(embedding(source))
    x = keras.layers.LSTM(s.width, return_sequences=True)(embedding(target), initial_state=state)
    context = keras.layers.MultiHeadAttention(s.heads, s.width // s.heads)(x, memory)
    x = keras.layers.Dense(s.width, activation="tanh")(keras.layers.Concatenate()([x, context]))
    return keras.Model({"encoder_token_ids": source, "decoder_token_ids": target}, _head(x, s))


def _transformer(s: Shape):
    """Encoder and decoder of keras_hub's Transformer layers over a shared embedding (Vaswani et al. 2017)."""
    keras, hub = _keras()
    source, target = _tokens(s, "encoder_token_ids"), _tokens(s, "decoder_token_ids", s.target_length)
    embedding = hub.layers.TokenAndPositionEmbedding(s.vocabulary, s.length, s.width)
    memory, x = embedding(source), embedding(target)
    for _ in range(s.layers):
        memory = hub.layers.TransformerEncoder(4 * s.width, s.heads)(memory)
    for _ in range(s.layers):
        x = hub.layers.TransformerDecoder(2 * s.width, s.heads)(x, memory)
    return keras.Model({"encoder_token_ids": source, "decoder_token_ids": target}, _head(x, s))


def _mixer(s: Shape):
    """MLPs over the positions and over the channels in turn (after Tolstikhin et al. 2021, on tokens)."""
    keras, _ = _keras()
    tokens = _tokens(s)
    x = keras.layers.Embedding(s.vocabulary, s.width)(tokens)
    for _ in range(s.layers):
        y = keras.layers.Permute((2, 1))(keras.layers.LayerNormalization()(x))
        y = keras.layers.Dense(s.length)(keras.layers.Dense(2 * s.length, activation="gelu")(y))
        x = x + keras.layers.Permute((2, 1))(y)
        y = keras.layers.Dense(2 * s.width, activation="gelu")(keras.layers.LayerNormalization()(x))
        x = x + keras.layers.Dense(s.width)(y)
    return keras.Model(tokens, _head(x, s))


def _gated_mlp(s: Shape):
    """MLP blocks with a spatial gating unit (gMLP, after Liu et al. 2021)."""
    keras, _ = _keras()
    tokens = _tokens(s)
    x = keras.layers.Embedding(s.vocabulary, s.width)(tokens)
    for _ in range(s.layers):
        y = keras.layers.Dense(4 * s.width, activation="gelu")(keras.layers.LayerNormalization()(x))
        gate = keras.layers.LayerNormalization()(y[..., 2 * s.width :])
        gate = keras.layers.Dense(s.length, bias_initializer="ones")(keras.layers.Permute((2, 1))(gate))
        x = x + keras.layers.Dense(s.width)(y[..., : 2 * s.width] * keras.layers.Permute((2, 1))(gate))
    return keras.Model(tokens, _head(x, s))


_NETWORKS: dict[str, Callable] = {family: partial(_backbone, family) for family in _BACKBONES} | {
    "text_cnn": _text_cnn,
    "gated_conv": _gated_convolution,
    "separable_conv": _separable_convolution,
    "lstm_tagger": partial(_recurrent_tagger, "LSTM"),
    "gru_tagger": partial(_recurrent_tagger, "GRU"),
    "lstm_seq2seq": _lstm_seq2seq,
    "transformer": _transformer,
    "mixer": _mixer,
    "gated_mlp": _gated_mlp,
}

# Family -> its programs: (split, layers, width, heads, batch, length, vocabulary, head, mode).
# A family with no 'train' row is one the model never trains on.
_TABLE: dict[str, list[tuple]] = {
    "bert": [
        ("train", 2, 64, 4, 4, 32, 1000, "class", "forward"),
        ("train", 1, 96, 4, 4, 48, 500, "lm", "tune"),
        ("train", 3, 96, 3, 2, 64, 800, "tag", "forward"),
        ("test", 2, 128, 8, 2, 64, 1500, "lm", "forward"),
        ("valid", 1, 64, 2, 8, 24, 600, "class", "tune"),
        ("train", 1, 96, 4, 4, 48, 800, "tag", "forward"),
        ("train", 1, 128, 8, 2, 64, 600, "none", "forward"),
        ("test", 1, 64, 4, 8, 40, 1000, "class", "forward"),
    ],
    "gpt2": [
        ("train", 2, 96, 4, 2, 64, 1000, "lm", "forward"),
        ("train", 1, 64, 4, 4, 64, 800, "lm", "tune"),
        ("train", 3, 64, 2, 8, 32, 600, "none", "forward"),
        ("test", 1, 128, 4, 2, 48, 700, "lm", "tune"),
        ("train", 1, 96, 4, 4, 48, 600, "lm", "forward"),
        ("train", 1, 64, 2, 8, 40, 1000, "none", "forward"),
        ("test", 1, 96, 6, 2, 64, 800, "lm", "forward"),
    ],
    "t5": [
        ("train", 2, 96, 4, 4, 48, 1000, "encode", "forward"),
        ("train", 1, 96, 4, 4, 32, 500, "encode", "tune"),
        ("train", 1, 64, 4, 4, 48, 1000, "lm", "forward"),
        ("test", 1, 128, 8, 2, 64, 800, "encode", "forward"),
        ("train", 1, 96, 4, 4, 40, 800, "encode", "forward"),
    ],
    "llama": [
        ("train", 2, 96, 6, 2, 48, 1200, "lm", "forward"),
        ("train", 1, 64, 4, 4, 48, 800, "lm", "tune"),
        ("train", 3, 64, 8, 4, 32, 500, "none", "forward"),
        ("valid", 2, 128, 4, 1, 96, 1500, "lm", "forward"),
        ("train", 1, 96, 4, 4, 32, 800, "lm", "forward"),
    ],
    "lstm_tagger": [
        ("train", 1, 128, 0, 8, 32, 1000, "tag", "forward"),
        ("train", 1, 64, 0, 4, 96, 800, "tag", "forward"),
        ("train", 2, 96, 0, 4, 32, 1500, "lm", "forward"),
        ("test", 2, 64, 0, 8, 48, 600, "class", "forward"),
    ],
    "text_cnn": [
        ("train", 1, 128, 0, 8, 64, 2000, "class", "forward"),
        ("train", 1, 64, 0, 8, 48, 1000, "class", "tune"),
        ("train", 2, 64, 0, 4, 96, 1500, "tag", "forward"),
        ("valid", 2, 96, 0, 4, 80, 600, "tag", "forward"),
        ("train", 2, 128, 0, 4, 48, 800, "class", "forward"),
        ("valid", 1, 96, 0, 8, 80, 1000, "class", "forward"),
    ],
    "fnet": [
        ("train", 2, 96, 0, 4, 64, 1000, "class", "forward"),
        ("train", 1, 64, 0, 4, 32, 800, "lm", "tune"),
        ("train", 3, 64, 0, 8, 48, 500, "tag", "forward"),
        ("test", 2, 128, 0, 8, 48, 600, "tag", "forward"),
        ("train", 1, 128, 0, 8, 64, 600, "tag", "forward"),
        ("train", 1, 96, 0, 4, 96, 1000, "lm", "forward"),
        ("test", 1, 64, 0, 8, 64, 800, "class", "forward"),
    ],
    "mixtral": [
        ("train", 1, 64, 4, 4, 32, 600, "lm", "forward"),
        ("train", 1, 48, 4, 2, 48, 500, "lm", "tune"),
        ("valid", 2, 64, 4, 2, 48, 800, "lm", "forward"),
    ],
    "albert": [
        ("train", 2, 96, 4, 4, 32, 1000, "class", "forward"),
        ("train", 1, 64, 4, 4, 48, 600, "tag", "tune"),
        ("train", 3, 128, 8, 2, 48, 500, "none", "forward"),
        ("test", 3, 64, 2, 4, 64, 800, "tag", "forward"),
        ("train", 1, 96, 4, 4, 48, 800, "class", "forward"),
        ("train", 1, 128, 4, 2, 64, 600, "tag", "forward"),
        ("test", 1, 64, 4, 4, 64, 1000, "tag", "forward"),
    ],
    "whisper": [
        ("train", 2, 64, 4, 2, 48, 800, "encode", "forward"),
        ("train", 1, 64, 2, 4, 32, 500, "encode", "tune"),
        ("test", 1, 96, 4, 4, 64, 600, "encode", "forward"),
    ],
    "mixer": [
        ("train", 2, 96, 0, 4, 64, 1000, "class", "forward"),
        ("train", 1, 64, 0, 4, 48, 600, "tag", "tune"),
        ("valid", 3, 64, 0, 8, 32, 800, "lm", "forward"),
        ("train", 2, 64, 0, 8, 48, 500, "tag", "forward"),
        ("train", 1, 96, 0, 8, 64, 800, "class", "forward"),
        ("train", 1, 128, 0, 4, 48, 1000, "lm", "forward"),
        ("valid", 1, 64, 0, 8, 64, 600, "tag", "forward"),
    ],
    "gemma": [
        ("train", 1, 128, 4, 4, 48, 1000, "lm", "forward"),
        ("train", 1, 64, 4, 4, 32, 800, "lm", "tune"),
        ("test", 2, 64, 8, 4, 32, 600, "lm", "forward"),
    ],
    "lstm_seq2seq": [
        ("train", 1, 96, 4, 8, 32, 800, "lm", "forward"),
        ("train", 1, 64, 4, 8, 24, 500, "lm", "tune"),
        ("valid", 1, 128, 8, 4, 24, 1000, "lm", "forward"),
    ],
    "opt": [
        ("train", 2, 96, 6, 2, 64, 800, "lm", "forward"),
        ("train", 1, 96, 4, 2, 48, 600, "lm", "tune"),
        ("test", 1, 64, 2, 8, 32, 1000, "lm", "tune"),
        ("train", 1, 64, 4, 4, 64, 1000, "lm", "forward"),
        ("train", 1, 96, 6, 4, 40, 800, "lm", "forward"),
        ("test", 1, 128, 8, 2, 48, 600, "lm", "forward"),
    ],
    "bloom": [
        ("train", 2, 64, 8, 4, 48, 1000, "lm", "forward"),
        ("train", 1, 64, 4, 4, 32, 600, "lm", "tune"),
        ("train", 1, 128, 8, 2, 96, 1500, "lm", "forward"),
        ("train", 1, 96, 4, 4, 40, 800, "lm", "forward"),
    ],
    "roberta": [
        ("train", 2, 96, 6, 2, 64, 2000, "tag", "forward"),
        ("train", 1, 64, 2, 8, 32, 1000, "class", "tune"),
        ("train", 1, 128, 4, 4, 64, 800, "lm", "forward"),
        ("train", 1, 96, 6, 4, 48, 1000, "tag", "forward"),
        ("train", 1, 64, 4, 8, 32, 600, "class", "forward"),
    ],
    "mistral": [
        ("train", 2, 64, 4, 4, 64, 800, "lm", "forward"),
        ("train", 1, 96, 6, 2, 48, 600, "lm", "tune"),
        ("train", 1, 128, 4, 4, 48, 600, "lm", "forward"),
        ("train", 1, 64, 4, 4, 40, 1000, "lm", "forward"),
    ],
    "transformer": [
        ("train", 1, 96, 4, 4, 32, 800, "lm", "forward"),
        ("train", 1, 128, 8, 2, 48, 600, "tag", "forward"),
        ("valid", 1, 64, 2, 4, 64, 1000, "tag", "forward"),
    ],
    "distilbert": [
        ("train", 2, 128, 4, 2, 48, 1000, "class", "forward"),
        ("train", 1, 64, 4, 4, 48, 800, "tag", "tune"),
        ("valid", 3, 64, 4, 4, 48, 600, "tag", "forward"),
        ("train", 1, 96, 6, 4, 64, 1200, "lm", "forward"),
        ("train", 1, 128, 8, 2, 64, 800, "class", "forward"),
        ("train", 1, 64, 4, 8, 40, 1000, "tag", "forward"),
        ("valid", 1, 96, 4, 4, 32, 600, "class", "forward"),
    ],
    "qwen": [
        ("train", 2, 96, 4, 4, 32, 1200, "lm", "forward"),
        ("train", 1, 64, 8, 2, 64, 800, "lm", "tune"),
        ("train", 1, 128, 8, 2, 96, 600, "lm", "forward"),
    ],
    "gated_mlp": [
        ("train", 2, 64, 0, 4, 64, 1000, "lm", "forward"),
        ("train", 1, 64, 0, 4, 48, 600, "class", "train"),
        ("test", 2, 96, 0, 4, 80, 800, "tag", "forward"),
        ("train", 1, 96, 0, 4, 64, 800, "tag", "forward"),
        ("train", 1, 128, 0, 4, 48, 600, "lm", "forward"),
    ],
    "electra": [
        ("valid", 2, 96, 4, 4, 32, 1000, "class", "forward"),
        ("valid", 1, 64, 4, 4, 48, 800, "tag", "tune"),
        ("valid", 1, 64, 4, 4, 48, 600, "tag", "forward"),
        ("valid", 1, 128, 8, 2, 64, 800, "class", "forward"),
    ],
    "gptneox": [
        ("valid", 2, 96, 4, 2, 64, 1000, "lm", "forward"),
        ("valid", 1, 64, 2, 4, 48, 600, "lm", "tune"),
        ("valid", 1, 96, 4, 4, 48, 800, "lm", "forward"),
        ("valid", 1, 64, 4, 8, 32, 1000, "none", "forward"),
    ],
    "phi3": [
        ("valid", 2, 64, 4, 4, 48, 1000, "lm", "forward"),
        ("valid", 1, 64, 4, 4, 40, 800, "lm", "forward"),
    ],
    "gru_tagger": [
        ("valid", 2, 96, 0, 8, 32, 800, "tag", "forward"),
        ("valid", 1, 64, 0, 8, 48, 1000, "tag", "forward"),
        ("valid", 1, 128, 0, 4, 32, 600, "class", "forward"),
    ],
    "separable_conv": [
        ("valid", 3, 96, 0, 4, 32, 0, "tag", "forward"),
    ],
    "bart": [
        ("test", 1, 96, 4, 4, 32, 1000, "lm", "forward"),
        ("test", 2, 64, 4, 4, 48, 500, "encode", "forward"),
    ],
    "deberta": [
        ("test", 1, 96, 4, 2, 48, 1000, "class", "forward"),
        ("test", 1, 128, 8, 2, 32, 600, "tag", "forward"),
    ],
    "falcon": [
        ("test", 2, 96, 4, 4, 32, 1000, "lm", "forward"),
        ("test", 1, 64, 4, 4, 48, 600, "lm", "tune"),
        ("test", 1, 96, 4, 4, 48, 800, "lm", "forward"),
    ],
    "qwen_moe": [
        ("test", 1, 64, 4, 4, 32, 800, "lm", "forward"),
    ],
    "gated_conv": [
        ("test", 3, 64, 0, 4, 64, 1000, "lm", "forward"),
        ("test", 1, 64, 0, 4, 48, 600, "lm", "train"),
        ("test", 2, 96, 0, 4, 48, 800, "tag", "forward"),
    ],
    "roformer": [
        ("test", 2, 96, 4, 4, 32, 1000, "tag", "forward"),
        ("test", 1, 64, 4, 4, 48, 800, "tag", "forward"),
    ],
}


def _arrays(model, s: Shape):
    """Random inputs of the model, keyed as it wants them: tokens below the vocabulary, masks of ones, float frames."""
    import numpy as np

    generator = np.random.default_rng(0)

    def array(tensor):
        length = s.target_length if "decoder" in tensor.name else s.length
        size = (s.batch, *(extent or length for extent in tensor.shape[1:]))
        if "float" in tensor.dtype:
            return generator.standard_normal(size, dtype=np.float32)
        if "mask" in tensor.name:
            return np.ones(size, tensor.dtype)
        return generator.integers(0, 2 if "segment" in tensor.name else s.vocabulary, size).astype(tensor.dtype)

    if isinstance(model.input, dict):
        return {name: array(tensor) for name, tensor in model.input.items()}
    return array(model.input)


def _weights(variables) -> list:
    """Random values for keras variables: small normal matrices, unit scales and variances, the rest zero."""
    import numpy as np

    generator = np.random.default_rng(0)

    def value(variable):
        if len(variable.shape) > 1:
            return (WEIGHT_SCALE * generator.standard_normal(variable.shape)).astype(variable.dtype)
        unit = any(word in variable.name for word in ("gamma", "scale", "variance"))
        return np.full(variable.shape, float(unit), variable.dtype)

    return [value(variable) for variable in variables]


def _forward(model, trainable, fixed, inputs):
    outputs, _ = model.stateless_call(trainable, fixed, inputs, training=False)
    return outputs


def _training_step(model, tuned: list[int], trainable, fixed, inputs, targets):
    """One step of plain gradient descent on the mean cross-entropy; returns the loss and the new tuned weights."""
    import jax
    import keras

    def loss(weights):
        merged = list(trainable)
        for index, weight in zip(tuned, weights, strict=True):
            merged[index] = weight
        logits, _ = model.stateless_call(merged, fixed, inputs, training=True)
        return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(targets, logits, from_logits=True))

    weights = [trainable[index] for index in tuned]
    value, gradients = jax.value_and_grad(loss)(weights)
    return value, [w - LEARNING_RATE * g for w, g in zip(weights, gradients, strict=True)]


def _tuned(model, mode: str) -> list[int]:
    """Places, among the model's trainable variables, of those that the mode's step updates."""
    variables = model.trainable_variables
    if mode == "train":
        return list(range(len(variables)))
    return [i for i, v in enumerate(variables) if len(v.shape) > 1 and "embedding" not in v.path][-TUNED:]


def _build(family: str, s: Shape) -> tuple[Callable, tuple]:
    """The function to lower and its arguments: weights first, so that they are parameters and never constants."""
    keras, _ = _keras()
    import numpy as np

    # Layer names are counted over the process and end up in the HLO's metadata: start the count afresh.
    keras.utils.clear_session(free_memory=False)
    # Keras would compile an initializer for every new weight shape, seconds a program: leave its variables empty.
    with keras.StatelessScope(initialize_variables=False):
        model = _NETWORKS[family](s)
    inputs = _arrays(model, s)
    weights = (_weights(model.trainable_variables), _weights(model.non_trainable_variables))
    if s.mode == "forward":
        return partial(_forward, model), (*weights, inputs)
    *outer, classes = model.output.shape
    size = (s.batch, *(extent or s.length for extent in outer[1:]))
    if "decoder_token_ids" in inputs:
        size = inputs["decoder_token_ids"].shape
    targets = np.random.default_rng(1).integers(0, classes, size).astype(np.int32)
    return partial(_training_step, model, _tuned(model, s.mode)), (*weights, inputs, targets)


def _program(family: str, s: Shape) -> Program:
    trained_on = any(row[0] == "train" for row in _TABLE[family])
    kin = "train" if s.split == "train" else "sibling" if trained_on else "unseen"
    heads = f"_a{s.heads}" if s.heads else ""
    name = f"{family}_l{s.layers}_h{s.width}{heads}_b{s.batch}_s{s.length}_{s.head}_{s.mode}"
    return Program(name, "nlp", family, s.split, kin, partial(_build, family, s))


def _round_robin(programs: Iterable[Program]) -> list[Program]:
    """First one program of every family, then a second of every family that has one, and so on."""
    seen: dict[str, int] = defaultdict(int)
    rounds = []
    for program in programs:
        rounds.append(seen[program.family])
        seen[program.family] += 1
    return [program for _, program in sorted(zip(rounds, programs, strict=True), key=lambda pair: pair[0])]


def _interleaved(programs: list[Program]) -> list[Program]:
    """Programs so ordered that every prefix holds the splits and kins in about their final shares."""
    groups = defaultdict(list)
    for program in programs:
        groups[program.split, program.kin].append(program)
    placed = []
    for group in groups.values():
        placed += [((i + 0.5) / len(group), program) for i, program in enumerate(_round_robin(group))]
    return [program for _, program in sorted(placed, key=lambda pair: pair[0])]


NLP_PROGRAMS: list[Program] = _interleaved(
    [_program(family, Shape(*row)) for family in _TABLE for row in _TABLE[family]]
)
