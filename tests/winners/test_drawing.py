"""What training steps take, by hand-computed cases."""

import numpy as np
import pytest

from stages.winners.parts import Training
from stages.winners.training.drawing import Plan, Pool, fast, rate_steps


def pool(counts, graphs=1, configurations=None):
    return Pool([np.arange(count) + 1 for count in counts], graphs, configurations)


def plan(pools, seed=0, scale=1.0, **settings):
    return Plan(pools, Training(**settings), seed, scale)


def test_an_epoch_sees_each_graph_once():
    drawn = plan([pool([5, 6, 7, 8, 9], graphs=2, configurations=3)], epochs=2)
    assert (drawn.epoch, drawn.steps) == (3, 6)
    for epoch in (0, 1):
        seen = [position for step in range(3) for position, _ in drawn.draw(3 * epoch + step).graphs]
        assert sorted(seen) == [0, 1, 2, 3, 4]
    assert [len(drawn.draw(step).graphs) for step in range(3)] == [2, 2, 1]


def test_configurations_are_drawn_once_or_again_or_all():
    every = plan([pool([4])], epochs=1).draw(0).graphs[0][1]
    assert every.tolist() == [0, 1, 2, 3]
    few = plan([pool([4], configurations=9)], epochs=1).draw(0).graphs[0][1]
    assert few.tolist() == [0, 1, 2, 3]
    once = plan([pool([50], configurations=20)], epochs=1).draw(0).graphs[0][1]
    assert len(set(once.tolist())) == 20
    again = plan([pool([4], configurations=9)], epochs=1, replacement=True).draw(0).graphs[0][1]
    assert len(again) == 9 and set(again.tolist()) <= {0, 1, 2, 3}


def test_a_step_is_drawn_without_those_before_it():
    first, second = (plan([pool([9, 9, 9], configurations=4)], seed=3, epochs=9) for _ in range(2))
    for step in range(20):
        first.draw(step)
    assert [(p, i.tolist()) for p, i in first.draw(7).graphs] == [(p, i.tolist()) for p, i in second.draw(7).graphs]
    other = plan([pool([9, 9, 9], configurations=4)], seed=4, epochs=9)
    assert [other.draw(step).graphs[0][1].tolist() for step in range(9)] != [
        first.draw(step).graphs[0][1].tolist() for step in range(9)
    ]


def test_passes_cut_each_graphs_configurations_to_pieces_and_drop_the_rest():
    drawn = plan([pool([7, 3, 2], graphs=2, configurations=3)], epochs=1, drawn="passes")
    # Two pieces of three, one, and the small graph whole: four pieces, two steps.
    assert drawn.steps == 2
    pieces = [piece for step in range(2) for piece in drawn.draw(step).graphs]
    of = {position: [i.tolist() for p, i in pieces if p == position] for position in range(3)}
    assert sorted(map(len, of[0])) == [3, 3] and len(set(sum(of[0], []))) == 6
    assert sorted(of[1][0]) == [0, 1, 2] and sorted(of[2][0]) == [0, 1]


def test_pieces_that_fill_no_step_are_left_out():
    assert plan([pool([7, 3, 2], graphs=3, configurations=3)], epochs=1, drawn="passes").epoch == 1
    assert plan([pool([7], graphs=32, configurations=3)], epochs=1, drawn="passes").epoch == 1


def test_root_passes_visit_small_graphs_more_often_than_they_have_configurations():
    drawn = plan([pool([16, 4], configurations=4)], epochs=1, drawn="root passes")
    # 16 visits of the first, the root of 4 * 16 = 8 of the second, four at a time.
    assert drawn.epoch == 6
    pieces = [drawn.draw(step).graphs[0] for step in range(6)]
    counts = [np.bincount(np.concatenate([i for p, i in pieces if p == graph])).tolist() for graph in (0, 1)]
    assert counts == [[1] * 16, [2] * 4]


def test_steps_of_two_streams_come_in_random_order():
    drawn = plan([pool([4] * 6), pool([4] * 4, graphs=2)], epochs=1)
    streams = [drawn.draw(step).stream for step in range(drawn.epoch)]
    assert sorted(streams) == [0] * 6 + [1] * 2 and streams != sorted(streams)
    assert sorted(p for step in range(8) if (d := drawn.draw(step)).stream == 1 for p, _ in d.graphs) == [0, 1, 2, 3]


def test_fast_configurations_are_drawn_more_often():
    runtime, rng = np.arange(20)[::-1] + 1, np.random.default_rng(0)
    drawn = np.bincount(np.concatenate([fast(runtime, 4, rng) for _ in range(2000)]), minlength=20)
    assert drawn.sum() == 8000 and drawn[15:].mean() > 1.5 * drawn[:5].mean()
    assert len(set(fast(runtime, 4, rng).tolist())) == 4


def test_scale_is_of_steps_and_of_looks():
    drawn = plan([pool([4] * 10)], scale=0.1, steps=200, evaluate=50)
    assert (drawn.steps, drawn.every(0.1)) == (20, 5)
    assert plan([pool([4] * 10)], scale=0.001, steps=200).steps == 1


@pytest.mark.parametrize(("evaluate", "steps"), [(0, 10), (1, 10), (0.25, 2), (7, 7)])
def test_looks_are_counted_in_steps_or_epochs(evaluate, steps):
    assert plan([pool([4] * 10)], epochs=1, evaluate=evaluate).every() == steps


def test_a_schedule_may_stand_still_within_an_epoch():
    drawn = plan([pool([4] * 10)], epochs=3)
    assert rate_steps(Training(), drawn, 19, by_epoch=False) == (19, 30)
    assert rate_steps(Training(), drawn, 19, by_epoch=True) == (1, 3)
