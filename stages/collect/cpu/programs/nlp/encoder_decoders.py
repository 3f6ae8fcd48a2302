"""Language and speech networks with two sides: an encoder and a decoder."""

from functools import partial

from stages.collect.cpu.programs.nlp.building import program
from stages.collect.cpu.programs.nlp.hub_backbone import backbone, plain, without
from stages.collect.cpu.programs.nlp.layers import head, load_hub, load_keras, token_input
from stages.collect.cpu.programs.nlp.shape import Shape


def _lstm_seq2seq(shape: Shape):
    """LSTM encoder and decoder with dot-product attention over the encoder's states (after Luong et al. 2015)."""
    keras = load_keras()
    source, target = (
        token_input(shape, "encoder_token_ids"),
        token_input(shape, "decoder_token_ids", shape.target_length),
    )
    embedding = keras.layers.Embedding(shape.vocabulary, shape.width)
    memory, *state = keras.layers.LSTM(shape.width, return_sequences=True, return_state=True)(embedding(source))
    x = keras.layers.LSTM(shape.width, return_sequences=True)(embedding(target), initial_state=state)
    context = keras.layers.MultiHeadAttention(shape.heads, shape.width // shape.heads)(x, memory)
    x = keras.layers.Dense(shape.width, activation="tanh")(keras.layers.Concatenate()([x, context]))
    return keras.Model({"encoder_token_ids": source, "decoder_token_ids": target}, head(x, shape))


def _transformer(shape: Shape):
    """Encoder and decoder of keras_hub's Transformer layers over a shared embedding (Vaswani et al. 2017)."""
    keras, hub = load_keras(), load_hub()
    source, target = (
        token_input(shape, "encoder_token_ids"),
        token_input(shape, "decoder_token_ids", shape.target_length),
    )
    embedding = hub.layers.TokenAndPositionEmbedding(shape.vocabulary, shape.length, shape.width)
    memory, x = embedding(source), embedding(target)
    for _ in range(shape.layers):
        memory = hub.layers.TransformerEncoder(4 * shape.width, shape.heads)(memory)
    for _ in range(shape.layers):
        x = hub.layers.TransformerDecoder(2 * shape.width, shape.heads)(x, memory)
    return keras.Model({"encoder_token_ids": source, "decoder_token_ids": target}, head(x, shape))


def _t5(shape: Shape) -> dict:
    return without(plain(shape), "max_sequence_length") | {"activation": "gelu"}


def _whisper(shape: Shape) -> dict:
    return without(plain(shape), "max_sequence_length") | {
        "num_mels": 40,
        "max_encoder_sequence_length": 2 * shape.length,
        "max_decoder_sequence_length": shape.target_length,
    }


# Families: a call gives one program of its family.
t5 = partial(program, "t5", partial(backbone, "T5Backbone", _t5))
bart = partial(program, "bart", partial(backbone, "BartBackbone", plain))
whisper = partial(program, "whisper", partial(backbone, "WhisperBackbone", _whisper))
lstm_seq2seq = partial(program, "lstm_seq2seq", _lstm_seq2seq)
transformer = partial(program, "transformer", _transformer)

#: in the order in which a family's programs are measured
PROGRAMS = [
    t5("train", layers=2, width=96, heads=4, batch=4, length=48, vocabulary=1000, head="encode", mode="forward"),
    t5("train", layers=1, width=96, heads=4, batch=4, length=32, vocabulary=500, head="encode", mode="tune"),
    t5("train", layers=1, width=64, heads=4, batch=4, length=48, vocabulary=1000, head="lm", mode="forward"),
    t5("test", layers=1, width=128, heads=8, batch=2, length=64, vocabulary=800, head="encode", mode="forward"),
    t5("train", layers=1, width=96, heads=4, batch=4, length=40, vocabulary=800, head="encode", mode="forward"),
    bart("test", layers=1, width=96, heads=4, batch=4, length=32, vocabulary=1000, head="lm", mode="forward"),
    bart("test", layers=2, width=64, heads=4, batch=4, length=48, vocabulary=500, head="encode", mode="forward"),
    whisper("train", layers=2, width=64, heads=4, batch=2, length=48, vocabulary=800, head="encode", mode="forward"),
    whisper("train", layers=1, width=64, heads=2, batch=4, length=32, vocabulary=500, head="encode", mode="tune"),
    whisper("test", layers=1, width=96, heads=4, batch=4, length=64, vocabulary=600, head="encode", mode="forward"),
    lstm_seq2seq("train", layers=1, width=96, heads=4, batch=8, length=32, vocabulary=800, head="lm", mode="forward"),
    lstm_seq2seq("train", layers=1, width=64, heads=4, batch=8, length=24, vocabulary=500, head="lm", mode="tune"),
    lstm_seq2seq("valid", layers=1, width=128, heads=8, batch=4, length=24, vocabulary=1000, head="lm", mode="forward"),
    transformer("train", layers=1, width=96, heads=4, batch=4, length=32, vocabulary=800, head="lm", mode="forward"),
    transformer("train", layers=1, width=128, heads=8, batch=2, length=48, vocabulary=600, head="tag", mode="forward"),
    transformer("valid", layers=1, width=64, heads=2, batch=4, length=64, vocabulary=1000, head="tag", mode="forward"),
]
