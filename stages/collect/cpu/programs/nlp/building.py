"""A program of source 'nlp': its network made, its weights and inputs drawn, its forward pass or training step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from stages.collect.cpu.programs.nlp.layers import load_keras
from stages.collect.cpu.programs.nlp.shape import Shape
from stages.collect.cpu.programs.program import Program

LEARNING_RATE = 1e-2
WEIGHT_SCALE = 0.05
#: weight matrices that a 'tune' step updates, counted from the end
TUNED = 3


def program(family: str, network: Callable, split: str, /, **sizes) -> Program:
    """One program, its kin left open.

    Args:
        network: Function of a `Shape` that returns a Keras model.
        split: 'train', 'valid' or 'test'.
        sizes: Fields of the `Shape`.
    """
    shape = Shape(**sizes)
    heads = f"_a{shape.heads}" if shape.heads else ""
    size = f"l{shape.layers}_h{shape.width}{heads}_b{shape.batch}_s{shape.length}"
    name = f"{family}_{size}_{shape.head}_{shape.mode}"
    return Program(name, "nlp", family, split, partial(_build, network, shape))


def _build(network: Callable, shape: Shape) -> tuple[Callable, tuple]:
    """The function to lower and its arguments: weights first, so that they are parameters and never constants."""
    keras = load_keras()

    # Layer names are counted over the process and end up in the HLO's metadata: start the count afresh.
    keras.utils.clear_session(free_memory=False)
    # Keras would compile an initializer for every new weight shape, seconds a program: leave its variables empty.
    with keras.StatelessScope(initialize_variables=False):
        model = network(shape)
    inputs = _inputs(model, shape)
    weights = (_weights(model.trainable_variables), _weights(model.non_trainable_variables))
    if shape.mode == "forward":
        return partial(_forward, model), (*weights, inputs)
    step = partial(_training_step, model, _tuned(model, shape.mode))
    return step, (*weights, inputs, _targets(model, inputs, shape))


def _inputs(model, shape: Shape):
    """Random inputs of the model, keyed as it wants them: tokens below the vocabulary, masks of ones, float frames."""
    import numpy as np

    generator = np.random.default_rng(0)

    def array(tensor):
        length = shape.target_length if "decoder" in tensor.name else shape.length
        size = (shape.batch, *(extent or length for extent in tensor.shape[1:]))
        if "float" in tensor.dtype:
            return generator.standard_normal(size, dtype=np.float32)
        if "mask" in tensor.name:
            return np.ones(size, tensor.dtype)
        return generator.integers(0, 2 if "segment" in tensor.name else shape.vocabulary, size).astype(tensor.dtype)

    if isinstance(model.input, dict):
        return {name: array(tensor) for name, tensor in model.input.items()}
    return array(model.input)


def _targets(model, inputs, shape: Shape):
    """Random classes, int32: one for each logit vector of the model's output."""
    import numpy as np

    *outer, classes = model.output.shape
    size = (shape.batch, *(extent or shape.length for extent in outer[1:]))
    if "decoder_token_ids" in inputs:
        size = inputs["decoder_token_ids"].shape
    return np.random.default_rng(1).integers(0, classes, size).astype(np.int32)


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


def _tuned(model, mode: str) -> list[int]:
    """Positions, among the model's trainable variables, of those that the mode's step updates."""
    variables = model.trainable_variables
    if mode == "train":
        return list(range(len(variables)))
    return [i for i, v in enumerate(variables) if len(v.shape) > 1 and "embedding" not in v.path][-TUNED:]


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
