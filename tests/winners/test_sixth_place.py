"""The sixth place's networks in half precision, and what a training takes from another collection's."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.parity.graphs import synthetic_layout
from stages.winners import sixth_place
from tests.support.packing import packed

COLUMN = 110  # the second start of a slice; 0 in all of the synthetic graph
HALF = pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])


@pytest.fixture(scope="module")
def without():
    """A graph whose column is constant, as those of convolutions are on language models."""
    return packed(synthetic_layout(0), hops="all")


@pytest.fixture(scope="module")
def varied(without):
    """The graph with 0 to 39 in the column."""
    columns = without.node_feat.copy()
    columns[:, COLUMN] = np.arange(without.nodes)
    return replace(without, node_feat=columns)


def network(graph):
    torch.manual_seed(0)
    settings = replace(sixth_place.Settings(), width=16)
    return sixth_place.build(settings, sixth_place.fit([graph])).eval()


def scores(net, graph, kind, indices=range(6)):
    inputs = sixth_place.prepare(graph, None).inputs(np.array(indices))
    with torch.autocast("cpu", kind):
        return net(inputs)


def test_weights_of_another_collection_come_without_its_means_and_deviations(without, varied):
    other, own, taken = network(without), network(varied), network(varied)
    for weight in other.parameters():
        weight.data += 1
    taken.start_from(other.state_dict())
    for name, weight in taken.state_dict().items():
        source = own if name.startswith("standardised.") else other
        assert torch.equal(weight, source.state_dict()[name]), name


def test_float16_holds_a_column_that_the_other_collection_does_not_vary(without, varied):
    started, replaced = network(varied), network(varied)
    started.start_from(network(without).state_dict())
    replaced.load_state_dict(network(without).state_dict())
    assert torch.isfinite(scores(started, varied, torch.float16)).all()
    assert not torch.isfinite(scores(replaced, varied, torch.float16)).any()  # 39 / 0.0001 is more than 65,504


@HALF
def test_norms_over_nearly_equal_configurations_stay_numbers(without, kind):
    """Two configurations that are equal but for one dimension of one node, among others that are equal."""
    codes = np.tile(without.codes[:1], (6, 1))
    triples = np.concatenate([without.triples, without.triples[codes[0, :1]]])
    triples[-1, 0] = (triples[-1, 0] + 1) % 3
    codes[-1, 0] = len(triples) - 1
    near = replace(without, codes=codes, triples=triples)
    net = network(near).train()
    net.early[3].p = 0.0  # whose mask would tell equal configurations apart
    found = scores(net, near, kind)
    (found.float() @ torch.arange(6.0)).backward()
    assert found[:5].unique().numel() == 1 and torch.isfinite(found).all() and found[5] != found[0]
    assert all(torch.isfinite(weight.grad).all() for weight in net.parameters())
