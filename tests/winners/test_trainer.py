"""Training of one network: what is kept, when it ends, that it learns, and that it goes on where it was."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.parity.graphs import synthetic_layout, synthetic_tile
from stages.engine.errors import InputError
from stages.gnn.training import deterministic
from stages.graphs.collection import is_tile
from stages.winners import (
    first_place_layout,
    first_place_tile,
    fourteenth_place,
    gst_paper,
    middle_fusion,
    official_layout,
    parts,
    second_place,
    sixth_place,
    third_place,
)
from stages.winners.training import scoring
from stages.winners.training.graphs import drawn
from stages.winners.training.trainer import Part, Trainer, averaged
from tests.support.packing import packed

LAYOUT, TILE = "layout:xla:default", "tile:xla"
NARROW = {"width": 8, "steps": 6, "epochs": None, "configurations": 6}
NARROW_LAYERS = {"first_width": 8, "widths": (8, 8), "graphs": 2, "configurations": 6}
RECIPES = {
    "best": (first_place_layout.RECIPE, LAYOUT, NARROW | {"evaluate": 2}),
    "tiles": (first_place_tile.RECIPE, TILE, {"width": 8, "steps": 6, "evaluate": 2}),
    "average": (sixth_place.LAYOUT_RECIPE, LAYOUT, NARROW | {"evaluate": 2, "graphs": 2, "averaged": (3, 6)}),
    "table": (gst_paper.RECIPE, LAYOUT, NARROW | {"first_width": 8, "segment_nodes": 15, "graphs": 2}),
    "counters": (official_layout.RECIPE, LAYOUT, {"steps": 6, "epochs": None, "evaluate": 2, "width": 8}),
    "passes": (
        third_place.LAYOUT_RECIPE,
        LAYOUT,
        {
            "first_width": 8,
            "widths": (8, 8),
            "graphs": 2,
            "configurations": 6,
            "steps": 6,
            "epochs": None,
            "evaluate": 2,
        },
    ),
    "encoded once": (middle_fusion.LAYOUT_RECIPE, LAYOUT, NARROW | {"layers": 1, "heads": 2}),
    "drawn pairs": (fourteenth_place.PAIR_RECIPE, "layout:nlp:default", NARROW | {"dense_width": 8, "layers": 1}),
    "two groups": (second_place.NLP_RECIPE, LAYOUT, {"widths": (4, 8, 8), "steps": 6, "graphs": 2}),
}


def trainer(name, seed=0, **changes):
    recipe, collection, sizes = RECIPES[name]
    make = synthetic_tile if is_tile(collection) else synthetic_layout
    graphs = [replace(packed(make(i), hops="all", collection=collection), id=f"g{i}") for i in range(3)]
    settings = replace(recipe.settings(collection)[0], **(sizes | changes))
    fitted = recipe.fit(graphs[:2])
    torch.manual_seed(seed)
    network = recipe.build(settings, fitted)
    part = Part(recipe, graphs[:2], settings.graphs, settings.configurations)
    return Trainer(name, network, [part], graphs[2:], settings, fitted, seed)


def weights(training):
    return {name: value.numpy().copy() for name, value in training.network.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("name", RECIPES)
def test_a_training_left_after_any_step_goes_on_with_the_same_bytes(name):
    class Leaves(Exception):
        pass

    with deterministic(0):
        whole = trainer(name)
        curve = whole.run()
        left = trainer(name)

        def after_step():
            if left.progress.step == 3:
                raise Leaves

        with pytest.raises(Leaves):
            left.run(after_step)
        resumed = trainer(name)
        resumed.resume(*left.state())
        assert resumed.run() == curve
        assert same(weights(resumed), weights(whole))


def test_another_seed_gives_other_weights():
    with deterministic(0):
        first, again, other = trainer("best"), trainer("best"), trainer("best", seed=1)
        for each in (first, again, other):
            each.run()
    assert same(weights(first), weights(again)) and not same(weights(first), weights(other))


@pytest.mark.parametrize("name", ["best", "tiles", "average", "encoded once", "drawn pairs"])
def test_the_loss_falls(name):
    training = trainer(name, steps=30, evaluate=10, kept="best", learning_rate=3e-3, schedule="constant")
    with deterministic(0):
        curve = training.run()
    assert curve[-1]["loss"] < curve[0]["loss"]


def looked_at(values, **changes):
    """A training whose looks at valid give these values, and the weights that it had at each."""
    training, seen = trainer("best", steps=2 * len(values), evaluate=2, **changes), []

    def look():
        seen.append(weights(training))
        training._row(values[len(seen) - 1])
        best = training.progress.best
        if best is None or values[len(seen) - 1] > training.progress.curve[best]["valid"]:
            training.progress.best = len(seen) - 1
            training.best = {name: torch.from_numpy(value) for name, value in seen[-1].items()}

    training._look = look
    training.run()
    return training, seen


def test_the_best_weights_are_kept():
    training, seen = looked_at([0.1, 0.4, 0.4, 0.2])
    assert training.progress.best == 1 and same(weights(training), seen[1])


def test_the_last_weights_are_kept_where_the_solution_keeps_them():
    training, seen = looked_at([0.1, 0.4, 0.2], kept="last", early_stop=9)
    assert same(weights(training), seen[2])


def test_looks_without_a_better_one_end_the_training():
    training, seen = looked_at([0.1, 0.4, 0.3, 0.4, 0.5], early_stop=2)
    assert len(seen) == 4 and training.progress.step == 8


def test_nothing_looks_at_valid_where_nothing_depends_on_it():
    training = trainer("two groups")
    training._look = None
    assert [row["valid"] for row in training.run()] == [None]


def test_checkpoints_are_averaged():
    training, seen = trainer("average"), {}
    training.run(lambda: seen.update({training.progress.step: weights(training)}))
    last = training.sums  # of steps 4 and 6, every second one from the third
    assert training.progress.averaged == 2
    name = next(iter(seen[4]))
    sixth = last[name].numpy() - seen[4][name]
    assert np.allclose(weights(training)[name], (seen[4][name] + sixth) / 2)


@pytest.mark.parametrize(
    ("range_", "steps", "found"), [((40, 100), 200, (40, 100)), ((40, 100), 50, (20, 50)), (None, 50, (1, 50))]
)
def test_averaged_steps_are_theirs_or_the_same_share(range_, steps, found):
    assert averaged(sixth_place.Settings(averaged=range_), steps) == found


def test_the_rate_follows_the_schedule():
    training, rates = trainer("best", steps=4, warm_up=0.0, learning_rate=1.0, evaluate=9), []
    training.run(lambda: rates.append(training.optimizer.param_groups[0]["lr"]))
    assert rates == pytest.approx([parts.cosine(step, 4, 0) for step in range(4)])


def test_a_step_on_one_graph_after_the_other_has_the_gradients_of_all_together():
    apart, together = trainer("two groups"), trainer("two groups")
    together.streams[0] = replace(together.streams[0], recipe=replace(together.streams[0].recipe, apart=False))
    drawn = [(0, np.arange(5)), (1, np.arange(5, 10))]
    assert apart.step(0, drawn) == pytest.approx(together.step(0, drawn), rel=1e-5)
    for first, second in zip(apart.network.parameters(), together.network.parameters(), strict=True):
        torch.testing.assert_close(first.grad, second.grad, rtol=1e-4, atol=1e-6)


def test_a_table_holds_the_scores_that_a_step_computed():
    training = trainer("table", graphs=1)
    training.step(0, [(0, np.array([3, 5, 3]))])
    (table,) = training.table.known.values()
    written = np.argwhere(table.numpy() != 0)
    assert set(written[:, 0].tolist()) == {3, 5} and len(set(written[:, 1].tolist())) == 1


def test_a_loss_that_is_no_number_is_told_in_a_line():
    training = trainer("best", learning_rate=1e30, clip=None, schedule="constant")
    with pytest.raises(InputError, match=r"best: seed 0 diverged, the loss of step \d+ is no number; take another"):
        training.run()


def in_float16(**changes):
    """A training that computes on this CPU as on a GPU in float16, and has one graph that is too large for it."""
    training = trainer("average", graphs=1, **changes)
    training.scaler = torch.amp.GradScaler("cpu")
    training._precision = lambda: torch.autocast("cpu", torch.float16)
    first, second = training.streams[0].train
    columns = second.node_feat.copy()
    columns[:, 110] = np.arange(second.nodes)  # which is 0 on train
    training.streams[0] = replace(training.streams[0], train=[first, replace(second, node_feat=columns)])
    return training


def test_a_step_that_float16_does_not_hold_is_skipped():
    training = in_float16()
    before = training.network.head[-1].weight.detach().clone()
    assert np.isnan(training.step(0, [(1, np.arange(6))])) and training.scaler.get_scale() == 2**15
    assert torch.equal(training.network.head[-1].weight, before)
    while torch.equal(training.network.head[-1].weight, before):  # until its gradients are numbers when scaled
        assert np.isfinite(training.step(0, [(0, np.arange(6))]))
    assert training.scaler.get_scale() > 1


def test_a_loss_has_no_part_of_skipped_steps():
    training = in_float16(steps=6, evaluate=2, early_stop=9)
    nothing = float("nan")
    steps = iter([nothing, nothing, 0.5, nothing, 1.5, 0.5])
    training.step = lambda *given: next(steps)
    assert [row["loss"] for row in training.run()] == [None, 0.5, 1.0]


def test_float16_that_holds_no_step_is_told_in_a_line():
    training = in_float16(steps=30, evaluate=40)
    training.streams[0] = replace(training.streams[0], train=training.streams[0].train[1:] * 2)
    with pytest.raises(InputError, match="average: seed 0 diverged, the loss of step 16 is no number"):
        training.run()


def test_scores_do_not_depend_on_chunks_where_configurations_are_not_compared():
    training = trainer("two groups")
    graph = training.valid[0]
    prepared, _ = training.features(training.streams[0].recipe, graph)
    whole = scoring.predict(training.network, prepared, training.settings)
    cut = scoring.predict(training.network, prepared, replace(training.settings, chunk=7))
    assert whole.shape == (40,)
    np.testing.assert_allclose(cut, whole, rtol=1e-5)


def test_features_are_of_the_configurations_that_a_graph_has():
    training = trainer("best")
    recipe, graph = training.streams[0].recipe, training.valid[0]
    few = drawn(graph, 3)
    assert [len(training.features(recipe, each)[1]) for each in (few, graph, few)] == [3, 40, 3]
    assert training.features(recipe, graph)[0] is training.features(recipe, graph)[0]


def test_quality_is_taus_mean_or_the_mean_run_time_of_the_first():
    graph = packed(synthetic_tile(0))
    score = np.argsort(np.argsort(graph.target)).astype(float)
    assert scoring.quality("tau", [score, -score], [graph, graph]) == pytest.approx(0, abs=0.02)
    assert scoring.quality("top 50", [score], [graph]) == pytest.approx(-graph.runtime.mean())


def test_networks_together_by_their_mean_or_on_one_scale():
    scores = [np.array([0.0, 1.0, 2.0]), np.array([10.0, 30.0, 20.0])]
    assert scoring.together(scores, "mean").tolist() == [5, 15.5, 11]
    assert scoring.together(scores, "min-max mean").tolist() == [0, 0.75, 0.75]
    assert scoring.together([np.full(2, 7.0)], "min-max mean").tolist() == [0, 0]
