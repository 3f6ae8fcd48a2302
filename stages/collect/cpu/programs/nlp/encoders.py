"""Language networks that read a whole text: keras_hub's encoders."""

from functools import partial

from stages.collect.cpu.programs.nlp.building import program
from stages.collect.cpu.programs.nlp.hub_backbone import backbone, plain, without
from stages.collect.cpu.programs.nlp.shape import Shape


def _electra(shape: Shape) -> dict:
    arguments = without(plain(shape), "vocabulary_size")
    return arguments | {"vocab_size": shape.vocabulary, "embedding_dim": shape.width // 2}


def _deberta(shape: Shape) -> dict:
    return plain(shape) | {"bucket_size": shape.length // 2}


def _albert(shape: Shape) -> dict:
    return plain(shape) | {"embedding_dim": shape.width // 2}


def _fnet(shape: Shape) -> dict:
    return without(plain(shape), "num_heads")


def _roformer(shape: Shape) -> dict:
    return without(plain(shape), "max_sequence_length") | {"head_size": shape.width // shape.heads}


# Families: a call gives one program of its family.
bert = partial(program, "bert", partial(backbone, "BertBackbone", plain))
roberta = partial(program, "roberta", partial(backbone, "RobertaBackbone", plain))
distilbert = partial(program, "distilbert", partial(backbone, "DistilBertBackbone", plain))
electra = partial(program, "electra", partial(backbone, "ElectraBackbone", _electra))
deberta = partial(program, "deberta", partial(backbone, "DebertaV3Backbone", _deberta))
albert = partial(program, "albert", partial(backbone, "AlbertBackbone", _albert))
fnet = partial(program, "fnet", partial(backbone, "FNetBackbone", _fnet))
roformer = partial(program, "roformer", partial(backbone, "RoformerV2Backbone", _roformer))

#: in the order in which a family's programs are measured
PROGRAMS = [
    bert("train", layers=2, width=64, heads=4, batch=4, length=32, vocabulary=1000, head="class", mode="forward"),
    bert("train", layers=1, width=96, heads=4, batch=4, length=48, vocabulary=500, head="lm", mode="tune"),
    bert("train", layers=3, width=96, heads=3, batch=2, length=64, vocabulary=800, head="tag", mode="forward"),
    bert("test", layers=2, width=128, heads=8, batch=2, length=64, vocabulary=1500, head="lm", mode="forward"),
    bert("valid", layers=1, width=64, heads=2, batch=8, length=24, vocabulary=600, head="class", mode="tune"),
    bert("train", layers=1, width=96, heads=4, batch=4, length=48, vocabulary=800, head="tag", mode="forward"),
    bert("train", layers=1, width=128, heads=8, batch=2, length=64, vocabulary=600, head="none", mode="forward"),
    bert("test", layers=1, width=64, heads=4, batch=8, length=40, vocabulary=1000, head="class", mode="forward"),
    roberta("train", layers=2, width=96, heads=6, batch=2, length=64, vocabulary=2000, head="tag", mode="forward"),
    roberta("train", layers=1, width=64, heads=2, batch=8, length=32, vocabulary=1000, head="class", mode="tune"),
    roberta("train", layers=1, width=128, heads=4, batch=4, length=64, vocabulary=800, head="lm", mode="forward"),
    roberta("train", layers=1, width=96, heads=6, batch=4, length=48, vocabulary=1000, head="tag", mode="forward"),
    roberta("train", layers=1, width=64, heads=4, batch=8, length=32, vocabulary=600, head="class", mode="forward"),
    distilbert(
        "train", layers=2, width=128, heads=4, batch=2, length=48, vocabulary=1000, head="class", mode="forward"
    ),
    distilbert("train", layers=1, width=64, heads=4, batch=4, length=48, vocabulary=800, head="tag", mode="tune"),
    distilbert("valid", layers=3, width=64, heads=4, batch=4, length=48, vocabulary=600, head="tag", mode="forward"),
    distilbert("train", layers=1, width=96, heads=6, batch=4, length=64, vocabulary=1200, head="lm", mode="forward"),
    distilbert("train", layers=1, width=128, heads=8, batch=2, length=64, vocabulary=800, head="class", mode="forward"),
    distilbert("train", layers=1, width=64, heads=4, batch=8, length=40, vocabulary=1000, head="tag", mode="forward"),
    distilbert("valid", layers=1, width=96, heads=4, batch=4, length=32, vocabulary=600, head="class", mode="forward"),
    electra("valid", layers=2, width=96, heads=4, batch=4, length=32, vocabulary=1000, head="class", mode="forward"),
    electra("valid", layers=1, width=64, heads=4, batch=4, length=48, vocabulary=800, head="tag", mode="tune"),
    electra("valid", layers=1, width=64, heads=4, batch=4, length=48, vocabulary=600, head="tag", mode="forward"),
    electra("valid", layers=1, width=128, heads=8, batch=2, length=64, vocabulary=800, head="class", mode="forward"),
    deberta("test", layers=1, width=96, heads=4, batch=2, length=48, vocabulary=1000, head="class", mode="forward"),
    deberta("test", layers=1, width=128, heads=8, batch=2, length=32, vocabulary=600, head="tag", mode="forward"),
    albert("train", layers=2, width=96, heads=4, batch=4, length=32, vocabulary=1000, head="class", mode="forward"),
    albert("train", layers=1, width=64, heads=4, batch=4, length=48, vocabulary=600, head="tag", mode="tune"),
    albert("train", layers=3, width=128, heads=8, batch=2, length=48, vocabulary=500, head="none", mode="forward"),
    albert("test", layers=3, width=64, heads=2, batch=4, length=64, vocabulary=800, head="tag", mode="forward"),
    albert("train", layers=1, width=96, heads=4, batch=4, length=48, vocabulary=800, head="class", mode="forward"),
    albert("train", layers=1, width=128, heads=4, batch=2, length=64, vocabulary=600, head="tag", mode="forward"),
    albert("test", layers=1, width=64, heads=4, batch=4, length=64, vocabulary=1000, head="tag", mode="forward"),
    fnet("train", layers=2, width=96, heads=0, batch=4, length=64, vocabulary=1000, head="class", mode="forward"),
    fnet("train", layers=1, width=64, heads=0, batch=4, length=32, vocabulary=800, head="lm", mode="tune"),
    fnet("train", layers=3, width=64, heads=0, batch=8, length=48, vocabulary=500, head="tag", mode="forward"),
    fnet("test", layers=2, width=128, heads=0, batch=8, length=48, vocabulary=600, head="tag", mode="forward"),
    fnet("train", layers=1, width=128, heads=0, batch=8, length=64, vocabulary=600, head="tag", mode="forward"),
    fnet("train", layers=1, width=96, heads=0, batch=4, length=96, vocabulary=1000, head="lm", mode="forward"),
    fnet("test", layers=1, width=64, heads=0, batch=8, length=64, vocabulary=800, head="class", mode="forward"),
    roformer("test", layers=2, width=96, heads=4, batch=4, length=32, vocabulary=1000, head="tag", mode="forward"),
    roformer("test", layers=1, width=64, heads=4, batch=4, length=48, vocabulary=800, head="tag", mode="forward"),
]
