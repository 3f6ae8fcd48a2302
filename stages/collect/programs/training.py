"""Forward passes and training steps of a network given as a pure function of its weights.

A network is a function `apply(weights, states, inputs) -> (outputs, new states)`; weights are trained, states are not
(running statistics). Everything is traced from shapes.
"""

from __future__ import annotations

from collections.abc import Callable

RATE = 1e-3
DECAY = 1e-2
EPSILON = 1e-8


def forward(apply: Callable) -> Callable:
    """The function (weights, states, inputs) -> outputs."""

    def infer(weights, states, inputs):
        return apply(weights, states, inputs)[0]

    return infer


def step(apply: Callable, loss: str, optimizer: str) -> Callable:
    """The function (weights, states, slots, count, inputs, targets) -> (loss, weights, states, slots).

    Args:
        apply: the network.
        loss: of `LOSSES`.
        optimizer: of `OPTIMIZERS`.

    Returns:
        One step of training. `slots` are the optimizer's, a list of tuples shaped as the weights; `count` is the number
        of this step, a float32 scalar, which some optimizers need.
    """
    import jax

    _, update = OPTIMIZERS[optimizer]

    def train(weights, states, slots, count, inputs, targets):
        def objective(weights):
            outputs, new_states = apply(weights, states, inputs)
            pairs = zip(jax.tree.leaves(outputs), jax.tree.leaves(targets), strict=True)
            return sum(LOSSES[loss](output, target) for output, target in pairs), new_states

        (value, new_states), gradients = jax.value_and_grad(objective, has_aux=True)(weights)
        updated = [update(*parts, count) for parts in zip(weights, gradients, slots, strict=True)]
        return value, [weight for weight, _ in updated], new_states, [new_slots for _, new_slots in updated]

    return train


def _cross_entropy(logits, target):
    """Mean negative log-likelihood over classes, by a one-hot product as on TPUs: no gather."""
    import jax
    import jax.numpy as jnp

    logits = logits.astype(jnp.float32)
    chosen = jax.nn.one_hot(target, logits.shape[-1], dtype=jnp.float32)
    return -jnp.mean(jnp.sum(jax.nn.log_softmax(logits) * chosen, axis=-1))


def _squared(output, target):
    import jax.numpy as jnp

    return jnp.mean(jnp.square(output.astype(jnp.float32) - target))


def _binary(logits, target):
    import jax
    import jax.numpy as jnp

    logits = logits.astype(jnp.float32)
    return jnp.mean(jax.nn.softplus(logits) - logits * target)


LOSSES = {"classes": _cross_entropy, "squared": _squared, "binary": _binary}


def target_like(loss: str, output):
    """Shape of the target of an output of this shape under a loss."""
    import jax
    import jax.numpy as jnp

    if loss == "classes":
        return jax.ShapeDtypeStruct(output.shape[:-1], jnp.int32)
    return jax.ShapeDtypeStruct(output.shape, jnp.float32)


def _sgd(weight, gradient, slots, count):
    return weight - RATE * gradient, ()


def _momentum(weight, gradient, slots, count):
    velocity = 0.9 * slots[0] + gradient
    return weight - RATE * velocity, (velocity,)


def _rmsprop(weight, gradient, slots, count):
    import jax

    square = 0.9 * slots[0] + 0.1 * gradient * gradient
    return weight - RATE * gradient * jax.lax.rsqrt(square + EPSILON), (square,)


def _adamw(weight, gradient, slots, count):
    """AdamW (Loshchilov & Hutter 2019)."""
    import jax.numpy as jnp

    mean = 0.9 * slots[0] + 0.1 * gradient
    square = 0.999 * slots[1] + 0.001 * gradient * gradient
    direction = mean / (1 - 0.9**count) / (jnp.sqrt(square / (1 - 0.999**count)) + EPSILON)
    return weight - RATE * (direction + DECAY * weight), (mean, square)


def _lamb(weight, gradient, slots, count):
    """LAMB (You et al. 2020): AdamW's direction, scaled by the norms of each weight and its direction."""
    import jax.numpy as jnp

    mean = 0.9 * slots[0] + 0.1 * gradient
    square = 0.999 * slots[1] + 0.001 * gradient * gradient
    direction = mean / (jnp.sqrt(square) + EPSILON) + DECAY * weight
    trust = jnp.sqrt(jnp.sum(weight * weight) / (jnp.sum(direction * direction) + EPSILON))
    return weight - RATE * trust * direction, (mean, square)


# Name -> (slots per weight, update).
OPTIMIZERS = {
    "sgd": (0, _sgd),
    "momentum": (1, _momentum),
    "rmsprop": (1, _rmsprop),
    "adamw": (2, _adamw),
    "lamb": (2, _lamb),
}


def arguments(apply: Callable, weights: list, states: list, inputs, loss: str, optimizer: str) -> tuple:
    """Shapes of the arguments of `step`, targets shaped after the network's outputs."""
    import jax
    import jax.numpy as jnp

    outputs, _ = jax.eval_shape(apply, weights, states, inputs)
    targets = jax.tree.map(lambda output: target_like(loss, output), outputs)
    count, _ = OPTIMIZERS[optimizer]
    return (
        weights,
        states,
        [(weight,) * count for weight in weights],
        jax.ShapeDtypeStruct((), jnp.float32),
        inputs,
        targets,
    )
