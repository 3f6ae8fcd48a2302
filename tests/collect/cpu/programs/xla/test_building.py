"""A program of source 'xla' from its row to its function and arguments."""

from importlib.util import find_spec

import numpy as np
import pytest

from stages.collect.cpu.programs.xla.building import program
from stages.collect.cpu.programs.xla.dense_prediction import unet
from stages.collect.cpu.programs.xla.tables import perceptron


def test_the_id_names_family_size_batch_layout_and_mode():
    assert program("net", dict, "test", "w8", 4, "forward").id == "net_w8_b4_forward"
    first = program("net", dict, "test", "w8", 4, "train_nchw")
    assert (first.id, first.source, first.family, first.split) == ("net_w8_b4_nchw_train", "xla", "net", "test")


def built(one):
    if find_spec("keras") is None:  # imported here it would take the backend that it takes without `load_keras`
        pytest.skip("keras is not installed: it belongs to requirements-collect.txt")
    function, arguments = one.build()
    import jax

    return jax, function, arguments


def test_arguments_are_the_same_each_time_and_the_ids_own():
    one = perceptron("test", "tiny", 2, "forward", features=3, widths=[5])
    jax, _, arguments = built(one)
    again = one.build()[1]
    other = perceptron("test", "other", 2, "forward", features=3, widths=[5]).build()[1]
    leaves, leaves_again, leaves_of_other = map(jax.tree.leaves, (arguments, again, other))
    assert [leaf.shape for leaf in leaves] == [(3, 5), (5,), (5, 10), (10,), (2, 3)]
    assert all(np.array_equal(leaf, same) for leaf, same in zip(leaves, leaves_again, strict=True))
    assert not np.array_equal(leaves[0], leaves_of_other[0])


def test_a_training_step_returns_the_loss_and_smaller_it_is_after_some_steps():
    jax, step, (trainable, fixed, images, targets) = built(
        perceptron("test", "tiny", 8, "train", features=3, widths=[5])
    )
    first, _ = step(trainable, fixed, images, targets)
    for _ in range(20):
        loss, trainable = jax.jit(step)(trainable, fixed, images, targets)
    assert loss < first


@pytest.mark.parametrize(("mode", "shape"), [("forward", (1, 8, 8, 3)), ("forward_nchw", (1, 3, 8, 8))])
def test_channels_stand_where_the_mode_says(mode, shape):
    _, _, arguments = built(unet("test", "tiny", 1, mode, size=8, filters=[4, 4]))
    assert arguments[-1].shape == shape
