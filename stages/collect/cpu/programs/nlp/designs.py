"""Language networks put together from keras.layers: convolutions, recurrent cells, layers of dense units."""

from functools import partial

from stages.collect.cpu.programs.nlp.building import program
from stages.collect.cpu.programs.nlp.layers import head, load_keras, token_input
from stages.collect.cpu.programs.nlp.shape import Shape


def _text_cnn(shape: Shape):
    """Parallel convolutions of widths 3 to 5 over the embedding, stacked `layers` deep (after Kim 2014)."""
    keras = load_keras()
    tokens = token_input(shape)
    embedded = keras.layers.Embedding(shape.vocabulary, shape.width)(tokens)
    branches = []
    for size in (3, 4, 5):
        x = embedded
        for _ in range(shape.layers):
            x = keras.layers.Conv1D(shape.width, size, padding="same", activation="relu")(x)
            x = keras.layers.LayerNormalization()(x)
        branches.append(x)
    return keras.Model(tokens, head(keras.layers.Concatenate()(branches), shape))


def _gated_convolution(shape: Shape):
    """Causal convolutions with gated linear units and residuals (after Dauphin et al. 2017)."""
    keras = load_keras()
    tokens = token_input(shape)
    x = keras.layers.Embedding(shape.vocabulary, shape.width)(tokens)
    for _ in range(shape.layers):
        normed = keras.layers.LayerNormalization()(x)
        y = keras.layers.Conv1D(2 * shape.width, 4, padding="causal")(normed)
        x = x + y[..., : shape.width] * keras.ops.sigmoid(y[..., shape.width :])
    return keras.Model(tokens, head(keras.layers.LayerNormalization()(x), shape))


def _separable_convolution(shape: Shape):
    """Dilated depthwise-separable convolutions over filter-bank frames, an acoustic tagger (QuartzNet's block)."""
    keras = load_keras()
    frames = keras.Input((2 * shape.length, 40), name="frames")
    x = keras.layers.Conv1D(shape.width, 5, strides=2, padding="same")(frames)
    for layer in range(shape.layers):
        y = keras.layers.SeparableConv1D(shape.width, 7, dilation_rate=layer + 1, padding="same")(x)
        x = keras.ops.relu(x + keras.layers.BatchNormalization()(y))
    return keras.Model(frames, head(x, shape))


def _recurrent_tagger(cell: str, shape: Shape):
    """Stacked bidirectional LSTM or GRU layers."""
    keras = load_keras()
    tokens = token_input(shape)
    x = keras.layers.Embedding(shape.vocabulary, shape.width)(tokens)
    for _ in range(shape.layers):
        x = keras.layers.Bidirectional(getattr(keras.layers, cell)(shape.width // 2, return_sequences=True))(x)
        x = keras.layers.LayerNormalization()(x)
    return keras.Model(tokens, head(x, shape))


def _mixer(shape: Shape):
    """MLPs over the positions and over the channels in turn (after Tolstikhin et al. 2021, on tokens)."""
    keras = load_keras()
    tokens = token_input(shape)
    x = keras.layers.Embedding(shape.vocabulary, shape.width)(tokens)
    for _ in range(shape.layers):
        y = keras.layers.Permute((2, 1))(keras.layers.LayerNormalization()(x))
        y = keras.layers.Dense(shape.length)(keras.layers.Dense(2 * shape.length, activation="gelu")(y))
        x = x + keras.layers.Permute((2, 1))(y)
        y = keras.layers.Dense(2 * shape.width, activation="gelu")(keras.layers.LayerNormalization()(x))
        x = x + keras.layers.Dense(shape.width)(y)
    return keras.Model(tokens, head(x, shape))


def _gated_mlp(shape: Shape):
    """MLP blocks with a spatial gating unit (gMLP, after Liu et al. 2021)."""
    keras = load_keras()
    tokens = token_input(shape)
    x = keras.layers.Embedding(shape.vocabulary, shape.width)(tokens)
    for _ in range(shape.layers):
        y = keras.layers.Dense(4 * shape.width, activation="gelu")(keras.layers.LayerNormalization()(x))
        gate = keras.layers.LayerNormalization()(y[..., 2 * shape.width :])
        gate = keras.layers.Dense(shape.length, bias_initializer="ones")(keras.layers.Permute((2, 1))(gate))
        x = x + keras.layers.Dense(shape.width)(y[..., : 2 * shape.width] * keras.layers.Permute((2, 1))(gate))
    return keras.Model(tokens, head(x, shape))


# Families: a call gives one program of its family.
text_cnn = partial(program, "text_cnn", _text_cnn)
gated_conv = partial(program, "gated_conv", _gated_convolution)
separable_conv = partial(program, "separable_conv", _separable_convolution)
lstm_tagger = partial(program, "lstm_tagger", partial(_recurrent_tagger, "LSTM"))
gru_tagger = partial(program, "gru_tagger", partial(_recurrent_tagger, "GRU"))
mixer = partial(program, "mixer", _mixer)
gated_mlp = partial(program, "gated_mlp", _gated_mlp)

#: in the order in which a family's programs are measured
PROGRAMS = [
    text_cnn("train", layers=1, width=128, heads=0, batch=8, length=64, vocabulary=2000, head="class", mode="forward"),
    text_cnn("train", layers=1, width=64, heads=0, batch=8, length=48, vocabulary=1000, head="class", mode="tune"),
    text_cnn("train", layers=2, width=64, heads=0, batch=4, length=96, vocabulary=1500, head="tag", mode="forward"),
    text_cnn("valid", layers=2, width=96, heads=0, batch=4, length=80, vocabulary=600, head="tag", mode="forward"),
    text_cnn("train", layers=2, width=128, heads=0, batch=4, length=48, vocabulary=800, head="class", mode="forward"),
    text_cnn("valid", layers=1, width=96, heads=0, batch=8, length=80, vocabulary=1000, head="class", mode="forward"),
    gated_conv("test", layers=3, width=64, heads=0, batch=4, length=64, vocabulary=1000, head="lm", mode="forward"),
    gated_conv("test", layers=1, width=64, heads=0, batch=4, length=48, vocabulary=600, head="lm", mode="train"),
    gated_conv("test", layers=2, width=96, heads=0, batch=4, length=48, vocabulary=800, head="tag", mode="forward"),
    separable_conv("valid", layers=3, width=96, heads=0, batch=4, length=32, vocabulary=0, head="tag", mode="forward"),
    lstm_tagger("train", layers=1, width=128, heads=0, batch=8, length=32, vocabulary=1000, head="tag", mode="forward"),
    lstm_tagger("train", layers=1, width=64, heads=0, batch=4, length=96, vocabulary=800, head="tag", mode="forward"),
    lstm_tagger("train", layers=2, width=96, heads=0, batch=4, length=32, vocabulary=1500, head="lm", mode="forward"),
    lstm_tagger("test", layers=2, width=64, heads=0, batch=8, length=48, vocabulary=600, head="class", mode="forward"),
    gru_tagger("valid", layers=2, width=96, heads=0, batch=8, length=32, vocabulary=800, head="tag", mode="forward"),
    gru_tagger("valid", layers=1, width=64, heads=0, batch=8, length=48, vocabulary=1000, head="tag", mode="forward"),
    gru_tagger("valid", layers=1, width=128, heads=0, batch=4, length=32, vocabulary=600, head="class", mode="forward"),
    mixer("train", layers=2, width=96, heads=0, batch=4, length=64, vocabulary=1000, head="class", mode="forward"),
    mixer("train", layers=1, width=64, heads=0, batch=4, length=48, vocabulary=600, head="tag", mode="tune"),
    mixer("valid", layers=3, width=64, heads=0, batch=8, length=32, vocabulary=800, head="lm", mode="forward"),
    mixer("train", layers=2, width=64, heads=0, batch=8, length=48, vocabulary=500, head="tag", mode="forward"),
    mixer("train", layers=1, width=96, heads=0, batch=8, length=64, vocabulary=800, head="class", mode="forward"),
    mixer("train", layers=1, width=128, heads=0, batch=4, length=48, vocabulary=1000, head="lm", mode="forward"),
    mixer("valid", layers=1, width=64, heads=0, batch=8, length=64, vocabulary=600, head="tag", mode="forward"),
    gated_mlp("train", layers=2, width=64, heads=0, batch=4, length=64, vocabulary=1000, head="lm", mode="forward"),
    gated_mlp("train", layers=1, width=64, heads=0, batch=4, length=48, vocabulary=600, head="class", mode="train"),
    gated_mlp("test", layers=2, width=96, heads=0, batch=4, length=80, vocabulary=800, head="tag", mode="forward"),
    gated_mlp("train", layers=1, width=96, heads=0, batch=4, length=64, vocabulary=800, head="tag", mode="forward"),
    gated_mlp("train", layers=1, width=128, heads=0, batch=4, length=48, vocabulary=600, head="lm", mode="forward"),
]
