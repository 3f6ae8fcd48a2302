"""A program of source 'xla': its network made, its weights and images drawn, its forward pass or training step."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial

from stages.collect.cpu.programs.program import Program
from stages.collect.cpu.programs.xla.layers import load_keras

LEARNING_RATE = 1e-3


def program(
    family: str,
    network: Callable,
    split: str,
    tag: str,
    batch: int,
    mode: str,
    /,
    *,
    eager: bool = False,
    **sizes,
) -> Program:
    """One program, its kin left open.

    Args:
        network: Function of `sizes` that returns a Keras model.
        split: 'train', 'valid' or 'test'.
        tag: Of the network's size, a part of the id.
        batch: Number of images (or other inputs).
        mode: 'forward' or 'train', with '_nchw' behind it for channels first.
        eager: The network computes constants while it is made, so it cannot be traced.
    """
    mode, _, channels_first = mode.partition("_")
    program_id = f"{family}_{tag}_b{batch}{'_nchw' if channels_first else ''}_{mode}"
    data_format = "channels_first" if channels_first else "channels_last"
    make = partial(network, **sizes) if eager else partial(_traced, network, **sizes)
    build = partial(_build, program_id, make, batch, data_format, mode == "train")
    return Program(program_id, "xla", family, split, build)


def _traced(network: Callable, **sizes):
    """The network, traced rather than run: its own initialisers would compile one program per shape, 5 s a network."""
    import jax

    models = []
    jax.eval_shape(lambda: models.append(network(**sizes)))
    return models[0]


@contextmanager
def _image_data_format(data_format: str):
    """Some backbones read the data format only from the global keras setting."""
    config = load_keras().config
    before = config.image_data_format()
    config.set_image_data_format(data_format)
    try:
        yield
    finally:
        config.set_image_data_format(before)


def _build(program_id: str, make: Callable, batch: int, data_format: str, training: bool) -> tuple[Callable, tuple]:
    """Function and arguments of one program; weights are arguments, so they are parameters of the HLO module."""
    keras = load_keras()
    import jax
    import numpy as np

    keras.backend.clear_session()
    with _image_data_format(data_format):
        model = make()
    rng = np.random.default_rng(zlib.crc32(program_id.encode()))
    trainable = [_weight(rng, variable) for variable in model.trainable_variables]
    fixed = [_weight(rng, variable) for variable in model.non_trainable_variables]
    images = rng.random((batch, *model.inputs[0].shape[1:]), dtype=np.float32)
    if not training:

        def forward(trainable, fixed, images):
            outputs, _ = model.stateless_call(trainable, fixed, images, training=False)
            return outputs

        return forward, (trainable, fixed, images)
    targets = jax.tree.map(lambda output: _target(rng, batch, output.shape), model.output)
    return _training_step(model), (trainable, fixed, images, targets)


def _weight(rng, variable):
    """Random kernels of variance 1 / inputs, neutral values for normalisation, bias and random state."""
    import numpy as np

    shape, dtype = tuple(variable.shape), np.dtype(variable.dtype)
    if len(shape) >= 2:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))).astype(dtype)
    neutral = np.ones if variable.name in ("gamma", "moving_variance") else np.zeros
    return neutral(shape, dtype)


def _target(rng, batch: int, shape: tuple):
    """Class labels for a classifier's (batch, classes) output, values in [0, 1) for any other output."""
    import numpy as np

    if len(shape) == 2:
        return rng.integers(shape[1], size=batch).astype(np.int32)
    return rng.random((batch, *shape[1:]), dtype=np.float32)


def _training_step(model) -> Callable:
    """Loss (cross-entropy for class scores, else mean squared error), gradients and one SGD update.

    Batch normalisation keeps its statistics, as in fine-tuning: batch statistics double the time to compile a step.
    """
    import jax
    from keras import ops

    def part(output, target):
        if output.ndim == 2:
            return ops.mean(ops.sparse_categorical_crossentropy(target, output, from_logits=True))
        return ops.mean(ops.square(output - target))

    def loss(trainable, fixed, images, targets):
        outputs, _ = model.stateless_call(trainable, fixed, images, training=False)
        return sum(jax.tree.leaves(jax.tree.map(part, outputs, targets)))

    def step(trainable, fixed, images, targets):
        value, gradients = jax.value_and_grad(loss)(trainable, fixed, images, targets)
        updated = [weight - LEARNING_RATE * gradient for weight, gradient in zip(trainable, gradients, strict=True)]
        return value, updated

    return step
