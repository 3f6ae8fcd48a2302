"""Language networks that read a text from its start: keras_hub's decoders."""

from functools import partial

from stages.collect.cpu.programs.nlp.building import program
from stages.collect.cpu.programs.nlp.hub_backbone import backbone, grouped, plain, without
from stages.collect.cpu.programs.nlp.shape import Shape


def _falcon(shape: Shape) -> dict:
    arguments = without(plain(shape), "num_heads", "dropout", "max_sequence_length")
    return arguments | {"num_attention_heads": shape.heads}


def _bloom(shape: Shape) -> dict:
    return without(plain(shape), "max_sequence_length")


def _mistral(shape: Shape) -> dict:
    return grouped(shape) | {"sliding_window": max(8, shape.length // 2)}


def _gemma(shape: Shape) -> dict:
    return grouped(shape) | {"head_dim": shape.width // shape.heads}


def _mixtral(shape: Shape) -> dict:
    return grouped(shape) | {"num_experts": 4, "sliding_window": shape.length}


def _qwen_moe(shape: Shape) -> dict:
    return grouped(shape) | {
        "moe_intermediate_dim": shape.width,
        "shared_expert_intermediate_dim": 2 * shape.width,
        "num_experts": 4,
        "top_k": 2,
    }


# Families: a call gives one program of its family.
gpt2 = partial(program, "gpt2", partial(backbone, "GPT2Backbone", plain))
opt = partial(program, "opt", partial(backbone, "OPTBackbone", plain))
bloom = partial(program, "bloom", partial(backbone, "BloomBackbone", _bloom))
gptneox = partial(program, "gptneox", partial(backbone, "GPTNeoXBackbone", plain))
falcon = partial(program, "falcon", partial(backbone, "FalconBackbone", _falcon))
llama = partial(program, "llama", partial(backbone, "LlamaBackbone", grouped))
mistral = partial(program, "mistral", partial(backbone, "MistralBackbone", _mistral))
qwen = partial(program, "qwen", partial(backbone, "QwenBackbone", grouped))
gemma = partial(program, "gemma", partial(backbone, "GemmaBackbone", _gemma))
phi3 = partial(program, "phi3", partial(backbone, "Phi3Backbone", grouped))
mixtral = partial(program, "mixtral", partial(backbone, "MixtralBackbone", _mixtral))
qwen_moe = partial(program, "qwen_moe", partial(backbone, "QwenMoeBackbone", _qwen_moe))

#: in the order in which a family's programs are measured
PROGRAMS = [
    gpt2("train", layers=2, width=96, heads=4, batch=2, length=64, vocabulary=1000, head="lm", mode="forward"),
    gpt2("train", layers=1, width=64, heads=4, batch=4, length=64, vocabulary=800, head="lm", mode="tune"),
    gpt2("train", layers=3, width=64, heads=2, batch=8, length=32, vocabulary=600, head="none", mode="forward"),
    gpt2("test", layers=1, width=128, heads=4, batch=2, length=48, vocabulary=700, head="lm", mode="tune"),
    gpt2("train", layers=1, width=96, heads=4, batch=4, length=48, vocabulary=600, head="lm", mode="forward"),
    gpt2("train", layers=1, width=64, heads=2, batch=8, length=40, vocabulary=1000, head="none", mode="forward"),
    gpt2("test", layers=1, width=96, heads=6, batch=2, length=64, vocabulary=800, head="lm", mode="forward"),
    opt("train", layers=2, width=96, heads=6, batch=2, length=64, vocabulary=800, head="lm", mode="forward"),
    opt("train", layers=1, width=96, heads=4, batch=2, length=48, vocabulary=600, head="lm", mode="tune"),
    opt("test", layers=1, width=64, heads=2, batch=8, length=32, vocabulary=1000, head="lm", mode="tune"),
    opt("train", layers=1, width=64, heads=4, batch=4, length=64, vocabulary=1000, head="lm", mode="forward"),
    opt("train", layers=1, width=96, heads=6, batch=4, length=40, vocabulary=800, head="lm", mode="forward"),
    opt("test", layers=1, width=128, heads=8, batch=2, length=48, vocabulary=600, head="lm", mode="forward"),
    bloom("train", layers=2, width=64, heads=8, batch=4, length=48, vocabulary=1000, head="lm", mode="forward"),
    bloom("train", layers=1, width=64, heads=4, batch=4, length=32, vocabulary=600, head="lm", mode="tune"),
    bloom("train", layers=1, width=128, heads=8, batch=2, length=96, vocabulary=1500, head="lm", mode="forward"),
    bloom("train", layers=1, width=96, heads=4, batch=4, length=40, vocabulary=800, head="lm", mode="forward"),
    gptneox("valid", layers=2, width=96, heads=4, batch=2, length=64, vocabulary=1000, head="lm", mode="forward"),
    gptneox("valid", layers=1, width=64, heads=2, batch=4, length=48, vocabulary=600, head="lm", mode="tune"),
    gptneox("valid", layers=1, width=96, heads=4, batch=4, length=48, vocabulary=800, head="lm", mode="forward"),
    gptneox("valid", layers=1, width=64, heads=4, batch=8, length=32, vocabulary=1000, head="none", mode="forward"),
    falcon("test", layers=2, width=96, heads=4, batch=4, length=32, vocabulary=1000, head="lm", mode="forward"),
    falcon("test", layers=1, width=64, heads=4, batch=4, length=48, vocabulary=600, head="lm", mode="tune"),
    falcon("test", layers=1, width=96, heads=4, batch=4, length=48, vocabulary=800, head="lm", mode="forward"),
    llama("train", layers=2, width=96, heads=6, batch=2, length=48, vocabulary=1200, head="lm", mode="forward"),
    llama("train", layers=1, width=64, heads=4, batch=4, length=48, vocabulary=800, head="lm", mode="tune"),
    llama("train", layers=3, width=64, heads=8, batch=4, length=32, vocabulary=500, head="none", mode="forward"),
    llama("valid", layers=2, width=128, heads=4, batch=1, length=96, vocabulary=1500, head="lm", mode="forward"),
    llama("train", layers=1, width=96, heads=4, batch=4, length=32, vocabulary=800, head="lm", mode="forward"),
    mistral("train", layers=2, width=64, heads=4, batch=4, length=64, vocabulary=800, head="lm", mode="forward"),
    mistral("train", layers=1, width=96, heads=6, batch=2, length=48, vocabulary=600, head="lm", mode="tune"),
    mistral("train", layers=1, width=128, heads=4, batch=4, length=48, vocabulary=600, head="lm", mode="forward"),
    mistral("train", layers=1, width=64, heads=4, batch=4, length=40, vocabulary=1000, head="lm", mode="forward"),
    qwen("train", layers=2, width=96, heads=4, batch=4, length=32, vocabulary=1200, head="lm", mode="forward"),
    qwen("train", layers=1, width=64, heads=8, batch=2, length=64, vocabulary=800, head="lm", mode="tune"),
    qwen("train", layers=1, width=128, heads=8, batch=2, length=96, vocabulary=600, head="lm", mode="forward"),
    gemma("train", layers=1, width=128, heads=4, batch=4, length=48, vocabulary=1000, head="lm", mode="forward"),
    gemma("train", layers=1, width=64, heads=4, batch=4, length=32, vocabulary=800, head="lm", mode="tune"),
    gemma("test", layers=2, width=64, heads=8, batch=4, length=32, vocabulary=600, head="lm", mode="forward"),
    phi3("valid", layers=2, width=64, heads=4, batch=4, length=48, vocabulary=1000, head="lm", mode="forward"),
    phi3("valid", layers=1, width=64, heads=4, batch=4, length=40, vocabulary=800, head="lm", mode="forward"),
    mixtral("train", layers=1, width=64, heads=4, batch=4, length=32, vocabulary=600, head="lm", mode="forward"),
    mixtral("train", layers=1, width=48, heads=4, batch=2, length=48, vocabulary=500, head="lm", mode="tune"),
    mixtral("valid", layers=2, width=64, heads=4, batch=2, length=48, vocabulary=800, head="lm", mode="forward"),
    qwen_moe("test", layers=1, width=64, heads=4, batch=4, length=32, vocabulary=800, head="lm", mode="forward"),
]
