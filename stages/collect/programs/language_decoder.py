"""Causal language models: KerasHub backbones at their published sizes; those past attention in jax."""

from __future__ import annotations

from functools import partial

from stages.collect.programs.declare import keras_program, program
from stages.collect.programs.hub_text import backbone
from stages.collect.programs.network import Network, causal


def _plain(name: str, layers: int, width: int, heads: int, vocabulary: int, head: str = "lm", **options):
    """Backbones with the arguments of GPT-2."""
    return partial(
        backbone, name, head, vocabulary_size=vocabulary, num_layers=layers, num_heads=heads, hidden_dim=width,
        intermediate_dim=4 * width, dropout=0.0, **options,
    )  # fmt: skip


def _grouped(name: str, layers: int, width: int, inner: int, heads: int, kv: int, vocabulary: int, **options):
    """Backbones with the arguments of Llama; inner: width of the feed-forward part."""
    return partial(
        backbone, name, options.pop("head", "none"), vocabulary_size=vocabulary, num_layers=layers, hidden_dim=width,
        intermediate_dim=inner, num_query_heads=heads, num_key_value_heads=kv, **options,
    )  # fmt: skip


def _falcon(layers: int, width: int, heads: int):
    return partial(
        backbone, "FalconBackbone", "none", vocabulary_size=50304, num_layers=layers, num_attention_heads=heads,
        hidden_dim=width, intermediate_dim=4 * width,
    )  # fmt: skip


def retnet(net: Network, tokens, *, layers: int, width: int, heads: int, vocabulary: int):
    """RetNet (Sun et al. 2023), its parallel form: decayed products instead of softmax."""
    import jax
    import jax.numpy as jnp

    x, table = net.embedding(tokens, vocabulary, width)
    batch, length, _ = x.shape
    distance = jnp.arange(length)[:, None] - jnp.arange(length)[None, :]
    rates = jnp.log(1 - 2.0 ** (-5 - jnp.arange(heads)))[:, None, None]
    decay = jnp.where(distance >= 0, jnp.exp(rates * jnp.maximum(distance, 0)), 0).astype(net.dtype)
    for _ in range(layers):
        y = net.layer_norm(x)
        q, k = (net.dense(y, width, False).reshape(batch, length, heads, -1) for _ in range(2))
        v = net.dense(y, 2 * width, False).reshape(batch, length, heads, -1)
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k * (heads / width) ** 0.5) * decay
        mixed = net.layer_norm(jnp.einsum("bhqk,bkhd->bqhd", scores, v)).reshape(batch, length, 2 * width)
        x = x + net.dense(jax.nn.silu(net.dense(y, 2 * width, False)) * mixed, width, False)
        y = net.layer_norm(x)
        x = x + net.dense(jax.nn.gelu(net.dense(y, 2 * width)), width)
    return net.layer_norm(x) @ table.T


def mamba(net: Network, tokens, *, layers: int, width: int, vocabulary: int, state: int = 64, chunk: int = 64):
    """Mamba-2 (Dao & Gu 2024), its chunked dual form: products within chunks, states carried between them."""
    import jax
    import jax.numpy as jnp

    x, table = net.embedding(tokens, vocabulary, width)
    batch, length, _ = x.shape
    inner, heads, chunks = 2 * width, 2 * width // 64, length // chunk
    within, between = causal(chunk), causal(chunks)

    def decays(logs, mask):
        steps = jnp.cumsum(logs, axis=-1)
        return jnp.where(mask, jnp.exp(steps[..., :, None] - steps[..., None, :]), 0)

    for _ in range(layers):
        y = net.rms_norm(x)
        gate, y, b, c, step = jnp.split(
            net.dense(y, 2 * inner + 2 * state + heads, False),
            [inner, 2 * inner, 2 * inner + state, 2 * inner + 2 * state], axis=-1,
        )  # fmt: skip
        y = jnp.concatenate([y, b, c], axis=-1)
        y = jax.nn.silu(net.depthwise(y, 4, bias=True))
        y, b, c = jnp.split(y, [inner, inner + state], axis=-1)
        step = jax.nn.softplus(step + net.weight(heads)).astype(jnp.float32)
        logs = (-jnp.exp(net.weight(heads)) * step).reshape(batch, chunks, chunk, heads).transpose(0, 3, 1, 2)
        values = (y.reshape(batch, length, heads, -1) * step[..., None]).reshape(batch, chunks, chunk, heads, -1)
        b, c = (part.reshape(batch, chunks, chunk, state) for part in (b, c))
        near = jnp.einsum("bnqs,bnks->bnqk", c, b)[:, None] * decays(logs, within)
        out = jnp.einsum("bhnqk,bnkhd->bnqhd", near, values)
        sums = jnp.cumsum(logs, axis=-1)
        states = jnp.einsum("bnks,bhnk,bnkhd->bnhds", b, jnp.exp(sums[..., -1:] - sums), values)
        carried = jnp.einsum("bhnm,bmhds->bnhds", decays(sums[..., -1], between), states)
        out = out + jnp.einsum("bnqs,bhnq,bnhds->bnqhd", c, jnp.exp(sums), carried)
        out = (out.reshape(batch, length, inner) + net.weight(inner) * y).astype(net.dtype)
        x = x + net.dense(net.rms_norm(out * jax.nn.silu(gate)), width, False)
    return net.rms_norm(x) @ table.T


def switch(net: Network, tokens, *, layers: int, width: int, heads: int, experts: int, vocabulary: int):
    """Switch transformer (Fedus et al. 2022): every second layer sends each token to one expert, by products."""
    import jax
    import jax.numpy as jnp

    x, table = net.embedding(tokens, vocabulary, width)
    batch, length, _ = x.shape
    mask = causal(length)
    capacity = 2 * length // experts
    for layer in range(layers):
        x = x + net.attention(net.rms_norm(x), heads, mask=mask, bias=False)
        y = net.rms_norm(x)
        if layer % 2 == 0:
            x = x + net.dense(jax.nn.relu(net.dense(y, 4 * width, False)), width, False)
            continue
        odds = jax.nn.softmax(net.dense(y, experts, False).astype(jnp.float32))
        chosen = jax.nn.one_hot(jnp.argmax(odds, axis=-1), experts)
        place = jnp.cumsum(chosen, axis=1) * chosen - 1
        send = (jax.nn.one_hot(place.astype(jnp.int32), capacity) * chosen[..., None]).astype(net.dtype)
        sent = jnp.einsum("blec,bld->ebcd", send, y)
        inner = jax.nn.relu(net.einsum("ebcd,edf->ebcf", sent, experts, width, 4 * width))
        back = net.einsum("ebcf,efd->ebcd", inner, experts, 4 * width, width)
        weight = (send * jnp.max(odds, axis=-1)[..., None, None]).astype(net.dtype)
        x = x + jnp.einsum("blec,ebcd->bld", weight, back)
    return net.rms_norm(x) @ table.T


_nlp = partial(keras_program, "nlp")
_jax = partial(program, "nlp")
BF16 = "bfloat16"

PROGRAMS = [
    _nlp("gpt2", "train", "gpt2_base", _plain("GPT2Backbone", 12, 768, 12, 50257), 8, length=512),
    _nlp("gpt2", "train", "gpt2_medium", _plain("GPT2Backbone", 24, 1024, 16, 50257), 4, length=512, dtype=BF16),
    _nlp("gpt2", "train", "gpt2_base", _plain("GPT2Backbone", 12, 768, 12, 50257), 4, "sgd", length=1024, dtype=BF16),
    _nlp("gpt2", "test", "gpt2_large", _plain("GPT2Backbone", 36, 1280, 20, 50257), 1, length=1024, dtype=BF16),
    _nlp("opt", "train", "opt_125m", _plain("OPTBackbone", 12, 768, 12, 50272), 8, "sgd", length=512),
    _nlp("opt", "train", "opt_1.3b", _plain("OPTBackbone", 24, 2048, 32, 50272), 2, length=512, dtype=BF16),
    _nlp("opt", "valid", "opt_350m", _plain("OPTBackbone", 24, 1024, 16, 50272), 4, length=512),
    _nlp("bloom", "train", "bloom_560m", _plain("BloomBackbone", 24, 1024, 16, 250880), 2, length=512, dtype=BF16),
    _nlp("gptneox", "valid", "pythia_160m", _plain("GPTNeoXBackbone", 12, 768, 12, 50304), 8, "sgd", length=512),
    _nlp("gptneox", "valid", "pythia_410m", _plain("GPTNeoXBackbone", 24, 1024, 16, 50304), 4, length=512, dtype=BF16),
    _nlp("falcon", "test", "falcon_rw_1b", _falcon(24, 2048, 32), 2, length=512, dtype=BF16),
    _nlp("falcon", "test", "falcon_rw_160m", _falcon(12, 768, 12), 8, "sgd", length=512, loss="squared"),
    _nlp("llama", "train", "llama2_7b", _grouped("LlamaBackbone", 32, 4096, 11008, 32, 32, 32000), 1, length=512,
         dtype=BF16),
    _nlp("llama", "train", "tinyllama_1.1b", _grouped("LlamaBackbone", 22, 2048, 5632, 32, 4, 32000), 4, length=512,
         dtype=BF16),
    _nlp("llama", "train", "llama_160m", _grouped("LlamaBackbone", 12, 768, 3072, 12, 12, 32000, head="lm"), 8, "adamw",
         length=512),
    _nlp("llama", "test", "llama3.2_1b", _grouped("Llama3Backbone", 16, 2048, 8192, 32, 8, 128256), 2, length=1024,
         dtype=BF16),
    _nlp("mistral", "train", "mistral_7b",
         _grouped("MistralBackbone", 32, 4096, 14336, 32, 8, 32000, sliding_window=4096), 1, length=256, dtype=BF16),
    _nlp("gemma", "train", "gemma_2b", _grouped("GemmaBackbone", 18, 2048, 16384, 8, 1, 256000, head_dim=256), 2,
         length=512, dtype=BF16),
    _nlp("gemma", "train", "gemma2_2b",
         _grouped("GemmaBackbone", 26, 2304, 9216, 8, 4, 256000, head_dim=256, use_post_ffw_norm=True,
                  use_post_attention_norm=True, attention_logit_soft_cap=50.0, final_logit_soft_cap=30.0,
                  use_sliding_window_attention=True), 1, length=512, dtype=BF16),
    _nlp("gemma", "valid", "gemma3_270m",
         _grouped("Gemma3Backbone", 18, 640, 2048, 4, 1, 262144, head_dim=256, image_size=None,
                  use_post_ffw_norm=True, use_post_attention_norm=True, use_sliding_window_attention=True,
                  sliding_window_size=512), 4, "sgd", length=512, loss="squared", dtype=BF16),
    _nlp("phi3", "valid", "phi3_mini", _grouped("Phi3Backbone", 32, 3072, 8192, 32, 32, 32064), 1, length=256,
         dtype=BF16),
    _nlp("qwen", "train", "qwen2.5_0.5b", _grouped("QwenBackbone", 24, 896, 4864, 14, 2, 151936), 4, length=512,
         dtype=BF16),
    _nlp("qwen", "train", "qwen3_0.6b",
         _grouped("Qwen3Backbone", 28, 1024, 3072, 16, 8, 151936, head_dim=128, sliding_window_size=None), 2,
         length=512, dtype=BF16),
    _nlp("qwen", "train", "qwen2.5_0.5b", _grouped("QwenBackbone", 24, 896, 4864, 14, 2, 151936), 2, "sgd",
         length=512, loss="squared"),
    _jax("retnet", "train", "retnet_350m",
         partial(retnet, layers=24, width=1024, heads=4, vocabulary=50257), [("int32", 4, 512)], dtype=BF16),
    _jax("retnet", "train", "retnet_110m",
         partial(retnet, layers=12, width=768, heads=3, vocabulary=50257), [("int32", 8, 512)], "adamw"),
    _jax("mamba", "test", "mamba2_130m", partial(mamba, layers=24, width=768, vocabulary=50288), [("int32", 4, 1024)],
         dtype=BF16),
    _jax("mamba", "test", "mamba2_60m", partial(mamba, layers=12, width=512, vocabulary=50288), [("int32", 8, 512)],
         "sgd"),
    _jax("mixture_of_experts", "train", "switch_base_8",
         partial(switch, layers=12, width=768, heads=12, experts=8, vocabulary=32128), [("int32", 8, 512)], dtype=BF16),
    _jax("mixture_of_experts", "train", "switch_small_16",
         partial(switch, layers=8, width=512, heads=8, experts=16, vocabulary=32128), [("int32", 16, 256)], "adamw"),
    _jax("mixture_of_experts", "test", "switch_base_32",
         partial(switch, layers=12, width=768, heads=12, experts=32, vocabulary=32128), [("int32", 4, 512)], "sgd"),
]  # fmt: skip
