"""keras_hub's language backbones at a shape's size."""

from collections.abc import Callable

from stages.collect.cpu.programs.nlp.layers import head, load_hub, load_keras
from stages.collect.cpu.programs.nlp.shape import Shape


def plain(shape: Shape) -> dict:
    """Arguments that most backbones with one kind of head share; dropout 0, as random bits are no part of a layout."""
    return {
        "vocabulary_size": shape.vocabulary,
        "num_layers": shape.layers,
        "num_heads": shape.heads,
        "hidden_dim": shape.width,
        "intermediate_dim": 4 * shape.width,
        "dropout": 0.0,
        "max_sequence_length": shape.length,
    }


def grouped(shape: Shape) -> dict:
    """Arguments of the decoders with grouped-query attention: half as many key and value heads as query heads."""
    return {
        "vocabulary_size": shape.vocabulary,
        "num_layers": shape.layers,
        "num_query_heads": shape.heads,
        "num_key_value_heads": max(1, shape.heads // 2),
        "hidden_dim": shape.width,
        "intermediate_dim": 3 * shape.width,
    }


def without(arguments: dict, *names: str) -> dict:
    """The arguments but for those named, which a backbone does not take."""
    return {name: value for name, value in arguments.items() if name not in names}


def backbone(class_name: str, arguments: Callable[[Shape], dict], shape: Shape):
    """A Keras model: a backbone of the shape's size under the shape's head.

    Args:
        class_name: Of the backbone, in keras_hub.models.
        arguments: Of its constructor, for a shape.
    """
    keras, hub = load_keras(), load_hub()
    model = getattr(hub.models, class_name)(**arguments(shape))
    output = model.output
    if shape.head == "encode":
        inputs = {name: tensor for name, tensor in model.input.items() if name.startswith("encoder")}
        return keras.Model(inputs, head(output["encoder_sequence_output"], shape))
    if isinstance(output, dict):
        output = output.get("decoder_sequence_output", output.get("sequence_output"))
    if shape.head == "lm" and output.shape[-1] == model.token_embedding.output_dim:
        return keras.Model(model.input, model.token_embedding(output, reverse=True))
    return keras.Model(model.input, head(output, shape))
