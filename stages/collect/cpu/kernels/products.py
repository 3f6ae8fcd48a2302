"""Kernels that multiply matrices, or pair the rows of two.

Each function builds one operation from a variant's name and the sizes that also name the kernel.
"""

from stages.collect.cpu.kernels.operation import ACTIVATIONS, Along, Input, Operation


def dot(variant: str, m: int, k: int, n: int) -> Operation:
    """`variant` names the minor dimensions: nn is (m,k)(k,n), nt has the right side (n,k), tn the left side (k,m)."""
    left = (k, Along(0)) if variant == "tn" else (Along(0), k)
    right = (Along(1), k) if variant == "nt" else (k, Along(1))
    axes = ((left.index(k),), (right.index(k),))
    return Operation(lambda jax, x, y: jax.lax.dot_general(x, y, (axes, ((), ()))), (Input(left), Input(right)), (m, n))


def batched_dot(variant: str, b: int, m: int, k: int, n: int) -> Operation:
    """`variant` names the minor dimensions: nn is (b,m,k)(b,k,n), nt has the right side (b,n,k)."""
    right = (Along(0), Along(2), k) if variant == "nt" else (Along(0), k, Along(2))
    equation = "bmk,bnk->bmn" if variant == "nt" else "bmk,bkn->bmn"
    return Operation(
        lambda jax, x, y: jax.numpy.einsum(equation, x, y),
        (Input((Along(0), Along(1), k)), Input(right)),
        (b, m, n),
    )


def dense(variant: str, m: int, k: int, n: int) -> Operation:
    """A dense layer: (m,k)(k,n), a bias, and the activation that `variant` names."""
    return Operation(
        lambda jax, x, w, bias: ACTIVATIONS[variant](jax, x @ w + bias),
        (Input((Along(0), k)), Input((k, Along(1))), Input((Along(1),))),
        (m, n),
    )


def outer(variant: str, b: int, m: int, n: int) -> Operation:
    """Each pair of a row of (b,m) and one of (b,n), combined as `variant` says."""
    combine = {
        "product": lambda jax, x, y: x * y,
        "tanhsum": lambda jax, x, y: jax.numpy.tanh(x + y),
        "distance": lambda jax, x, y: jax.numpy.exp(-jax.numpy.abs(x - y)),
    }[variant]
    return Operation(
        lambda jax, x, y: combine(jax, x[:, :, None], y[:, None, :]),
        (Input((Along(0), Along(1))), Input((Along(0), Along(2)))),
        (b, m, n),
    )


def attention(variant: str, heads: int, queries: int, keys: int, width: int) -> Operation:
    """Attention, heads first. The width stays whole: a tile that cut it would compute the scores again."""

    def compute(jax, query, key, value):
        scores = jax.numpy.einsum("hqd,hkd->hqk", query, key) * width**-0.5
        weights = jax.nn.softmax(scores, axis=-1) if variant == "softmax" else ACTIVATIONS["relu"](jax, scores)
        return jax.numpy.einsum("hqk,hkd->hqd", weights, value)

    return Operation(
        compute,
        (
            Input((Along(0), Along(1), width)),
            Input((Along(0), keys, width)),
            Input((Along(0), keys, width)),
        ),
        (heads, queries, width),
        whole_axes=(2,),
    )


def pairwise_distance(variant: str, m: int, n: int, width: int) -> Operation:
    """Distances between the rows of (m,width) and of (n,width), in the norm that `variant` names."""

    def compute(jax, x, y):
        gap = x[:, None, :] - y[None, :, :]
        if variant == "l1":
            return jax.numpy.sum(jax.numpy.abs(gap), -1)
        return jax.numpy.sqrt(jax.numpy.sum(gap * gap, -1))

    return Operation(compute, (Input((Along(0), width)), Input((Along(1), width))), (m, n))
