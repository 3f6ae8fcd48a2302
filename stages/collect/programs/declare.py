"""How the modules of the zoo write their programs down: one call a program."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from stages.collect.programs import keras_models, network, training
from stages.collect.programs.program import Program


def _finished(apply, weights, states, inputs, loss: str, optimizer: str | None) -> tuple[Callable, tuple]:
    if optimizer is None:
        return training.forward(apply), (weights, states, inputs)
    arguments = training.arguments(apply, weights, states, inputs, loss, optimizer)
    return training.step(apply, loss, optimizer), arguments


def _from_keras(make, batch, length, loss, optimizer, dtype) -> tuple[Callable, tuple]:
    return _finished(
        *keras_models.functional(make, batch, length, optimizer is not None, dtype), loss=loss, optimizer=optimizer
    )


def _from_network(function, inputs, loss, optimizer, dtype) -> tuple[Callable, tuple]:
    import jax

    shapes = tuple(jax.ShapeDtypeStruct(size, dtype if kind == "float" else kind) for kind, *size in inputs)
    apply, weights, states = network.functional(function, shapes, optimizer is not None, dtype)
    return _finished(apply, weights, states, shapes, loss, optimizer)


def _identifier(name: str, batch: int, optimizer: str | None, dtype: str) -> str:
    return f"{name}_b{batch}{'_bf16' if dtype == 'bfloat16' else ''}_{'train' if optimizer else 'forward'}"


def keras_program(
    kind: str,
    family: str,
    split: str,
    name: str,
    make: Callable,
    batch: int,
    optimizer: str | None = None,
    *,
    length: int | None = None,
    loss: str = "classes",
    dtype: str = "float32",
) -> Program:
    """A program whose network is a Keras model.

    Args:
        name: of the network and its size, the first part of the id.
        make: function without arguments that returns the model.
        optimizer: of `training.OPTIMIZERS`; None for a forward pass.
        length: tokens of a sequence.
        loss: of `training.LOSSES`, for a training step.
        dtype: of the activations.
    """
    build = partial(_from_keras, make, batch, length, loss, optimizer, dtype)
    identifier = _identifier(name, batch, optimizer, dtype)
    return Program(identifier, kind, family, split, optimizer is not None, build)


def program(
    kind: str,
    family: str,
    split: str,
    name: str,
    function: Callable,
    inputs: list[tuple],
    optimizer: str | None = None,
    *,
    loss: str = "classes",
    dtype: str = "float32",
) -> Program:
    """A program whose network is written with `network.Network`.

    Args:
        function: of a `Network` and the inputs.
        inputs: of each, (element type, *sizes), 'float' standing for `dtype`; the first size is the batch.
    """
    build = partial(_from_network, function, inputs, loss, optimizer, dtype)
    identifier = _identifier(name, inputs[0][1], optimizer, dtype)
    return Program(identifier, kind, family, split, optimizer is not None, build)
