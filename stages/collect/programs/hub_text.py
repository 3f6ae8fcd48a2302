"""KerasHub's text backbones under the heads that they are trained with."""

from __future__ import annotations

from stages.collect.programs.keras_models import libraries


def backbone(name: str, head: str = "none", **sizes):
    """A text backbone without dropout, under a head.

    Args:
        name: class in `keras_hub.models`.
        head: 'none' (features), 'lm' (logits over the vocabulary, by the embedding's own table where it is tied), 'tag'
            (nine classes a token) or 'class' (two classes a text).
        sizes: arguments of the class.
    """
    keras, hub = libraries()
    made = getattr(hub.models, name)(**sizes)
    output = made.output
    if isinstance(output, dict):
        output = output.get("decoder_sequence_output", output.get("sequence_output"))
    if head == "none":
        return keras.Model(made.input, output)
    if head == "lm" and output.shape[-1] == made.token_embedding.output_dim:
        return keras.Model(made.input, made.token_embedding(output, reverse=True))
    if head == "lm":
        return keras.Model(made.input, keras.layers.Dense(made.token_embedding.input_dim)(output))
    if head == "tag":
        return keras.Model(made.input, keras.layers.Dense(9)(output))
    pooled = keras.layers.Dense(output.shape[-1], activation="tanh")(output[:, 0])
    return keras.Model(made.input, keras.layers.Dense(2)(pooled))
