"""A small kit to write published networks in jax as straight lines: layers make their own weights, as shapes.

A network is a function `network(net, *inputs)`; it calls the methods of `net`, a `Network`. It runs once under
`jax.eval_shape` to learn the weights' shapes, then again, traced, with the weights as arguments, in the same order.
Tensors are channels-last: (batch, *places, channels).
"""

from __future__ import annotations

import math
from collections.abc import Callable


class Network:
    """Weights and layers of one pass over a network.

    Args:
        training: batch normalisation uses its batch's statistics and moves the running ones.
        dtype: of activations and of the copies of the weights that are multiplied ('float32' or 'bfloat16').
        values: the weights and states in the order of their use; None in the pass that declares them.
    """

    def __init__(self, training: bool, dtype: str, values: tuple[list, list] | None = None):
        self.training = training
        self.dtype = dtype
        self.weights: list = []  # shapes of weights, in order of use
        self.states: list = []  # shapes of running statistics
        self.new_states: list = []
        self._values = None if values is None else (iter(values[0]), iter(values[1]))

    def _next(self, kind: int, shape: tuple):
        import jax
        import jax.numpy as jnp

        if self._values is not None:
            return next(self._values[kind])
        (self.weights, self.states)[kind].append(jax.ShapeDtypeStruct(shape, jnp.float32))
        return jnp.zeros(shape, jnp.float32)

    def weight(self, *shape: int):
        """A trained tensor in the dtype of the activations."""
        return self._next(0, shape).astype(self.dtype)

    def dense(self, x, units: int, bias: bool = True):
        """x (..., n) times a matrix (n, units), plus a bias."""
        y = x @ self.weight(x.shape[-1], units)
        return y + self.weight(units) if bias else y

    def einsum(self, equation: str, x, *shape: int):
        """`jnp.einsum(equation, x, weight of this shape)`."""
        import jax.numpy as jnp

        return jnp.einsum(equation, x, self.weight(*shape))

    def conv(self, x, filters: int, kernel=3, stride=1, groups=1, dilation=1, bias=False, padding="SAME"):
        """Convolution over the one to three places of x; kernel, stride, dilation: a number or one a place."""
        import jax

        places = x.ndim - 2
        kernel, stride, dilation = (_each(value, places) for value in (kernel, stride, dilation))
        weight = self.weight(*kernel, x.shape[-1] // groups, filters)
        numbers = _dimension_numbers(places)
        y = jax.lax.conv_general_dilated(
            x, weight, stride, padding, (1,) * places, dilation, numbers, feature_group_count=groups
        )
        return y + self.weight(filters) if bias else y

    def depthwise(self, x, kernel=3, stride=1, dilation=1, bias=False):
        """One filter a channel."""
        return self.conv(x, x.shape[-1], kernel, stride, x.shape[-1], dilation, bias)

    def deconv(self, x, filters: int, kernel=4, stride=2, bias=False):
        """Transposed convolution: the places grow by the stride."""
        import jax

        places = x.ndim - 2
        kernel, stride = _each(kernel, places), _each(stride, places)
        weight = self.weight(*kernel, x.shape[-1], filters)
        y = jax.lax.conv_transpose(x, weight, stride, "SAME", dimension_numbers=_dimension_numbers(places))
        return y + self.weight(filters) if bias else y

    def batch_norm(self, x):
        """Batch normalisation (Ioffe & Szegedy 2015); statistics in float32."""
        import jax
        import jax.numpy as jnp

        channels = x.shape[-1]
        scale, shift = self._next(0, (channels,)), self._next(0, (channels,))
        mean, variance = self._next(1, (channels,)), self._next(1, (channels,))
        wide = x.astype(jnp.float32)
        if self.training:
            axes = tuple(range(x.ndim - 1))
            batch_mean = wide.mean(axes)
            batch_variance = jnp.square(wide).mean(axes) - jnp.square(batch_mean)
            self.new_states += [0.9 * mean + 0.1 * batch_mean, 0.9 * variance + 0.1 * batch_variance]
            mean, variance = batch_mean, batch_variance
        else:
            self.new_states += [mean, variance]
        return ((wide - mean) * jax.lax.rsqrt(variance + 1e-5) * scale + shift).astype(self.dtype)

    def _normed(self, x, axes, groups_shape=None):
        """x with mean 0 and variance 1 over the axes, in float32."""
        import jax
        import jax.numpy as jnp

        wide = x.astype(jnp.float32)
        wide = wide if groups_shape is None else wide.reshape(groups_shape)
        centred = wide - wide.mean(axes, keepdims=True)
        return centred * jax.lax.rsqrt(jnp.square(centred).mean(axes, keepdims=True) + 1e-6)

    def layer_norm(self, x):
        """Layer normalisation (Ba et al. 2016) over the channels."""
        y = self._normed(x, -1) * self._next(0, x.shape[-1:]) + self._next(0, x.shape[-1:])
        return y.astype(self.dtype)

    def rms_norm(self, x):
        """Root-mean-square normalisation (Zhang & Sennrich 2019) over the channels."""
        import jax
        import jax.numpy as jnp

        wide = x.astype(jnp.float32)
        y = wide * jax.lax.rsqrt(jnp.square(wide).mean(-1, keepdims=True) + 1e-6) * self._next(0, x.shape[-1:])
        return y.astype(self.dtype)

    def group_norm(self, x, groups: int = 32):
        """Group normalisation (Wu & He 2018); with as many groups as channels, instance normalisation."""
        shape = (*x.shape[:-1], groups, x.shape[-1] // groups)
        y = self._normed(x, (*range(1, x.ndim - 1), x.ndim), shape).reshape(x.shape)
        return (y * self._next(0, x.shape[-1:]) + self._next(0, x.shape[-1:])).astype(self.dtype)

    def attention(self, x, heads: int, memory=None, mask=None, width=None, bias=True, kv_heads=None, rotate=None):
        """Multi-head attention (Vaswani et al. 2017) of x (batch, n, c) over memory (batch, m, c'), or over x.

        Args:
            mask: boolean or additive, broadcastable to (batch, heads, n, m); an additive one is float.
            width: channels of all heads together, default c.
            kv_heads: fewer heads of keys and values than of queries (Ainslie et al. 2023).
            rotate: function of queries and of keys (batch, n, heads, channels), as rotary positions.
        """
        import jax
        import jax.numpy as jnp

        memory = x if memory is None else memory
        kv_heads = heads if kv_heads is None else kv_heads
        size = (width or x.shape[-1]) // heads
        q = self.dense(x, heads * size, bias).reshape(*x.shape[:-1], heads, size)
        k = self.dense(memory, kv_heads * size, bias).reshape(*memory.shape[:-1], kv_heads, size)
        v = self.dense(memory, kv_heads * size, bias).reshape(*memory.shape[:-1], kv_heads, size)
        if rotate is not None:
            q, k = rotate(q), rotate(k)
        if kv_heads != heads:
            k, v = (jnp.repeat(part, heads // kv_heads, axis=-2) for part in (k, v))
        scores = jnp.einsum("...qhd,...khd->...hqk", q, k).astype(jnp.float32) / math.sqrt(size)
        if mask is not None:
            scores = jnp.where(mask, scores, -1e9) if mask.dtype == bool else scores + mask
        y = jnp.einsum("...hqk,...khd->...qhd", jax.nn.softmax(scores, axis=-1).astype(self.dtype), v)
        return self.dense(y.reshape(*x.shape[:-1], heads * size), x.shape[-1], bias)

    def embedding(self, tokens, vocabulary: int, width: int):
        """Rows of a table (vocabulary, width), and the table."""
        table = self.weight(vocabulary, width)
        return table[tokens], table


def _each(value, places: int) -> tuple[int, ...]:
    return (value,) * places if isinstance(value, int) else tuple(value)


def _dimension_numbers(places: int) -> tuple[str, str, str]:
    letters = "DHW"[3 - places :]
    return f"N{letters}C", f"{letters}IO", f"N{letters}C"


def functional(network: Callable, inputs: tuple, training: bool, dtype: str) -> tuple[Callable, list, list]:
    """A network as a pure function, and the shapes of its weights and states.

    Args:
        network: function of a `Network` and the inputs.
        inputs: shapes of the inputs.

    Returns:
        `apply(weights, states, inputs) -> (outputs, new states)`, the weights' shapes, the states' shapes.
    """
    import jax

    declared = Network(training, dtype)
    jax.eval_shape(lambda *tensors: network(declared, *tensors), *inputs)

    def apply(weights, states, inputs):
        net = Network(training, dtype, (weights, states))
        return network(net, *inputs), net.new_states

    return apply, declared.weights, declared.states


def causal(length: int):
    """Boolean mask (length, length): each place sees itself and those before."""
    import jax.numpy as jnp

    return jnp.arange(length)[:, None] >= jnp.arange(length)[None, :]


def max_pool(x, size=2, stride=None):
    """Maximum over windows of the places."""
    from jax import lax

    return _pooled(x, -math.inf, lax.max, size, stride)


def avg_pool(x, size=2, stride=None):
    """Mean over windows of the places; what stands beyond the border counts as zero."""
    from jax import lax

    return _pooled(x, 0.0, lax.add, size, stride) / math.prod(_each(size, x.ndim - 2))


def _pooled(x, start: float, reduce, size, stride):
    import numpy as np
    from jax import lax

    start = np.array(start, x.dtype)  # numpy's: jax differentiates a maximum only where it sees where it starts
    sizes = (1, *_each(size, x.ndim - 2), 1)
    strides = sizes if stride is None else (1, *_each(stride, x.ndim - 2), 1)
    return lax.reduce_window(x, start, reduce, sizes, strides, "SAME")


def upsample(x, factor: int = 2):
    """Nearest neighbours: each place becomes `factor` places a side."""
    import jax.numpy as jnp

    for axis in range(1, x.ndim - 1):
        x = jnp.repeat(x, factor, axis=axis)
    return x


def pixel_shuffle(x, factor: int):
    """Depth to space (Shi et al. 2016): (n, h, w, c f^2) -> (n, h f, w f, c)."""
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, factor, factor, c // factor**2).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h * factor, w * factor, c // factor**2)
