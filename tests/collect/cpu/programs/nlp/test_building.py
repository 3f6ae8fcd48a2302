"""A program of source 'nlp' from its row to its function and arguments."""

from importlib.util import find_spec

import numpy as np
import pytest

from stages.collect.cpu.programs.nlp.building import TUNED, program
from stages.collect.cpu.programs.nlp.designs import gated_mlp

SIZES = dict(layers=1, width=8, heads=0, batch=2, length=6, vocabulary=20)


def test_the_id_names_every_size_and_heads_of_attention_where_there_are_some():
    sizes = SIZES | {"head": "tag", "mode": "tune"}
    assert program("net", dict, "valid", **sizes).id == "net_l1_h8_b2_s6_tag_tune"
    attentive = program("net", dict, "valid", **(sizes | {"heads": 4}))
    assert (attentive.id, attentive.source, attentive.split) == ("net_l1_h8_a4_b2_s6_tag_tune", "nlp", "valid")


def built(mode, head):
    if find_spec("keras") is None:  # imported here it would take the backend that it takes without `load_keras`
        pytest.skip("keras is not installed: it belongs to requirements-collect.txt")
    function, arguments = gated_mlp("test", **SIZES, head=head, mode=mode).build()
    import jax

    return jax, function, arguments


def test_tokens_are_below_the_vocabulary_and_targets_below_the_classes():
    _, _, (*_, tokens, targets) = built("train", "tag")
    assert tokens.shape == targets.shape == (2, 6)
    assert tokens.max() < 20 and targets.max() < 16 and targets.min() >= 0


@pytest.mark.parametrize("mode", ["train", "tune"])
def test_a_step_updates_all_weights_or_the_last_matrices(mode):
    jax, step, arguments = built(mode, "class")
    loss, updated = jax.jit(step)(*arguments)
    assert np.isfinite(loss)
    assert len(updated) == (TUNED if mode == "tune" else len(arguments[0]))


def test_a_forward_pass_gives_the_logits_of_its_head():
    jax, forward, arguments = built("forward", "lm")
    assert jax.eval_shape(forward, *arguments).shape == (2, 6, 20)
