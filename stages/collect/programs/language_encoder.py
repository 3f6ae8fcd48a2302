"""Text encoders: KerasHub backbones at their published sizes, and two with long or no attention in jax."""

from __future__ import annotations

from functools import partial

from stages.collect.programs.declare import keras_program, program
from stages.collect.programs.hub_text import backbone
from stages.collect.programs.network import Network


def _bert(name: str, layers: int, width: int, heads: int, vocabulary: int, head: str, **options):
    """Backbones with the arguments of BERT."""
    return partial(
        backbone, name, head, num_layers=layers, num_heads=heads, hidden_dim=width,
        intermediate_dim=options.pop("intermediate", 4 * width), vocabulary_size=vocabulary, dropout=0.0, **options,
    )  # fmt: skip


def _electra(layers: int, width: int, heads: int, embedding: int, head: str):
    return partial(
        backbone, "ElectraBackbone", head, vocab_size=30522, num_layers=layers, num_heads=heads, hidden_dim=width,
        embedding_dim=embedding, intermediate_dim=4 * width, dropout=0.0, max_sequence_length=512,
    )  # fmt: skip


def _fnet(layers: int, width: int, head: str):
    """FNet (Lee-Thorp et al. 2022): Fourier transforms instead of attention."""
    return partial(
        backbone, "FNetBackbone", head, vocabulary_size=32000, num_layers=layers, hidden_dim=width,
        intermediate_dim=4 * width, dropout=0.0,
    )  # fmt: skip


def longformer(net: Network, tokens, *, layers: int, width: int, heads: int, block: int, vocabulary: int):
    """Longformer's sliding window (Beltagy et al. 2020) in blocks: each sees itself and both neighbours."""
    import jax
    import jax.numpy as jnp

    x = net.layer_norm(net.embedding(tokens, vocabulary, width)[0] + net.weight(tokens.shape[1], width))
    batch, length, _ = x.shape
    size, blocks = width // heads, length // block

    def windows(part):
        padded = jnp.pad(part, ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))
        return jnp.concatenate([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], axis=2)

    for _ in range(layers):
        q, k, v = (net.dense(x, width).reshape(batch, blocks, block, heads, size) for _ in range(3))
        scores = jnp.einsum("bnqhd,bnkhd->bnhqk", q / size**0.5, windows(k)).astype(jnp.float32)
        y = jnp.einsum("bnhqk,bnkhd->bnqhd", jax.nn.softmax(scores).astype(net.dtype), windows(v))
        x = net.layer_norm(x + net.dense(y.reshape(batch, length, width), width))
        x = net.layer_norm(x + net.dense(jax.nn.gelu(net.dense(x, 4 * width)), width))
    return net.dense(x, 2)


def linformer(net: Network, tokens, *, layers: int, width: int, heads: int, rank: int, vocabulary: int):
    """Linformer (Wang et al. 2020): keys and values projected along the sequence."""
    import jax
    import jax.numpy as jnp

    x = net.layer_norm(net.embedding(tokens, vocabulary, width)[0] + net.weight(tokens.shape[1], width))
    batch, length, _ = x.shape
    size = width // heads
    for _ in range(layers):
        q, k, v = (net.dense(x, width).reshape(batch, length, heads, size) for _ in range(3))
        k, v = (jnp.einsum("blhd,lr->brhd", part, net.weight(length, rank)) for part in (k, v))
        scores = jnp.einsum("bqhd,brhd->bhqr", q, k).astype(jnp.float32) / size**0.5
        y = jnp.einsum("bhqr,brhd->bqhd", jax.nn.softmax(scores).astype(net.dtype), v)
        x = net.layer_norm(x + net.dense(y.reshape(batch, length, width), width))
        x = net.layer_norm(x + net.dense(jax.nn.gelu(net.dense(x, 4 * width)), width))
    return net.dense(x[:, 0], 2)


_nlp = partial(keras_program, "nlp")
_long = partial(program, "nlp", "efficient_attention")

PROGRAMS = [
    _nlp("bert", "train", "bert_base", _bert("BertBackbone", 12, 768, 12, 30522, "class"), 32, length=128),
    _nlp("bert", "train", "bert_small", _bert("BertBackbone", 4, 512, 8, 30522, "lm"), 64, "adamw", length=128),
    _nlp("bert", "train", "bert_large_384", _bert("BertBackbone", 24, 1024, 16, 28996, "tag"), 8, length=384,
         dtype="bfloat16"),
    _nlp("bert", "train", "bert_medium", _bert("BertBackbone", 8, 512, 8, 30522, "lm"), 32, "lamb", length=128),
    _nlp("bert", "valid", "bert_base_512", _bert("BertBackbone", 12, 768, 12, 28996, "tag"), 8, "sgd", length=512),
    _nlp("bert", "train", "bert_tiny", _bert("BertBackbone", 2, 128, 2, 30522, "lm"), 256, "adamw", length=128),
    _nlp("roberta", "train", "roberta_base", _bert("RobertaBackbone", 12, 768, 12, 50265, "none"), 16, length=256),
    _nlp("roberta", "train", "roberta_base", _bert("RobertaBackbone", 12, 768, 12, 50265, "class"), 16, "sgd",
         length=128, dtype="bfloat16"),
    _nlp("roberta", "train", "xlm_roberta_base", _bert("XLMRobertaBackbone", 12, 768, 12, 250002, "tag"), 8,
         length=256),
    _nlp("distilbert", "train", "distilbert", _bert("DistilBertBackbone", 6, 768, 12, 30522, "class"), 64, length=128),
    _nlp("distilbert", "train", "distilbert", _bert("DistilBertBackbone", 6, 768, 12, 30522, "tag"), 16, "adamw",
         length=384),
    _nlp("distilbert", "test", "distilbert_512", _bert("DistilBertBackbone", 6, 768, 12, 30522, "lm"), 16, length=512,
         dtype="bfloat16"),
    _nlp("albert", "train", "albert_base",
         _bert("AlbertBackbone", 12, 768, 12, 30000, "class", embedding_dim=128, intermediate=3072), 32, length=128),
    _nlp("albert", "train", "albert_base",
         _bert("AlbertBackbone", 12, 768, 12, 30000, "tag", embedding_dim=128, intermediate=3072), 16, "lamb",
         length=256),
    _nlp("albert", "train", "albert_large",
         _bert("AlbertBackbone", 24, 1024, 16, 30000, "class", embedding_dim=128, intermediate=4096), 8, length=256,
         dtype="bfloat16"),
    _nlp("deberta", "train", "deberta_xs", _bert("DebertaV3Backbone", 12, 384, 6, 128100, "class"), 16, length=128),
    _nlp("deberta", "train", "deberta_base", _bert("DebertaV3Backbone", 12, 768, 12, 128100, "tag"), 8, length=256,
         dtype="bfloat16"),
    _nlp("fnet", "train", "fnet_base", _fnet(12, 768, "class"), 32, length=128),
    _nlp("fnet", "train", "fnet_base", _fnet(12, 768, "class"), 16, "sgd", length=256),
    _nlp("fnet", "valid", "fnet_large", _fnet(24, 1024, "tag"), 8, length=512),
    _nlp("electra", "valid", "electra_small", _electra(12, 256, 4, 128, "tag"), 64, "sgd", length=128),
    _nlp("electra", "valid", "electra_base", _electra(12, 768, 12, 768, "class"), 32, length=256),
    _nlp("xlnet", "test", "xlnet_base",
         partial(backbone, "XLNetBackbone", "none", vocabulary_size=32000, num_layers=12, num_heads=12, hidden_dim=768,
                 intermediate_dim=3072), 8, length=256),
    _nlp("esm", "test", "esm2_t12",
         partial(backbone, "ESMBackbone", "none", vocabulary_size=33, num_layers=12, num_heads=20, hidden_dim=480,
                 intermediate_dim=1920, dropout=0.0, use_pre_layer_norm=True), 16, length=512),
    _nlp("esm", "test", "esm2_t6",
         partial(backbone, "ESMBackbone", "tag", vocabulary_size=33, num_layers=6, num_heads=20, hidden_dim=320,
                 intermediate_dim=1280, dropout=0.0, use_pre_layer_norm=True), 32, "adamw", length=256),
    _nlp("roformer", "train", "roformer_base",
         partial(backbone, "RoformerV2Backbone", "tag", vocabulary_size=12000, num_layers=12, num_heads=12,
                 hidden_dim=768, intermediate_dim=3072, head_size=64, dropout=0.0), 16, length=256),
    _nlp("roformer", "train", "roformer_small",
         partial(backbone, "RoformerV2Backbone", "class", vocabulary_size=12000, num_layers=6, num_heads=6,
                 hidden_dim=384, intermediate_dim=1536, head_size=64, dropout=0.0), 64, "sgd", length=128),
    _long("train", "longformer_base",
          partial(longformer, layers=12, width=768, heads=12, block=256, vocabulary=50265), [("int32", 4, 2048)]),
    _long("train", "longformer_small",
          partial(longformer, layers=6, width=512, heads=8, block=128, vocabulary=50265), [("int32", 8, 1024)],
          "adamw", dtype="bfloat16"),
    _long("train", "linformer_base",
          partial(linformer, layers=12, width=768, heads=12, rank=256, vocabulary=30522), [("int32", 8, 1024)], "sgd"),
    _long("valid", "linformer_large",
          partial(linformer, layers=24, width=1024, heads=16, rank=256, vocabulary=30522), [("int32", 4, 2048)],
          dtype="bfloat16"),
]  # fmt: skip
