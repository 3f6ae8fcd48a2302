"""A plain function of arrays: its shapes are given on the command line.

python -m stages.tune stages.tuning.examples.plain:attention \\
    --shapes "bf16[16,512,768]" "bf16[768,2304]" "bf16[768,768]"
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

HEADS = 12


def attention(x: jax.Array, inward: jax.Array, outward: jax.Array) -> jax.Array:
    """Multi-head self-attention (Vaswani et al. 2017).

    Args:
        x: (batch, length, width).
        inward: (width, 3 * width) makes queries, keys and values.
        outward: (width, width).
    """
    batch, length, width = x.shape
    parts = (x @ inward).reshape(batch, length, 3, HEADS, width // HEADS)
    query, key, value = (parts[:, :, part] for part in range(3))
    logits = jnp.einsum("bqhd,bkhd->bhqk", query, key) / jnp.sqrt(width / HEADS).astype(x.dtype)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(logits), value)
    return x + mixed.reshape(batch, length, width) @ outward
