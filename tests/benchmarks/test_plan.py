"""The plan for full size: scheduling on cases counted by hand, and what it makes of measured rates."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import measure, plan, scale, synthesize
from benchmarks.plan import CORE, GPU, Machines, Phase, Stage, Task
from stages.engine.errors import InputError
from stages.graphs.collection import COLLECTIONS, SPLITS, is_tile, slug

PROJECT = Path(__file__).parents[2]
TWO = Machines("two", 2)


def test_five_tasks_on_two_cores():
    """The second core takes the third task at 1; at 3 both are free."""
    tasks = [Task(seconds) for seconds in (3, 1, 2, 2, 1)]
    assert plan.simulate(tasks, {CORE: 2}) == [3, 1, 3, 5, 4]
    assert plan.simulate(tasks, {CORE: 1}) == [3, 4, 6, 8, 9]
    assert plan.simulate(tasks, {CORE: 5}) == [3, 1, 2, 2, 1]


def test_a_task_waits_for_others_and_for_a_slot_of_its_kind():
    tasks = [Task(1), Task(4, (0,), GPU), Task(4, (0,), GPU), Task(2, (0,)), Task(1, (1, 3))]
    assert plan.simulate(tasks, {CORE: 1, GPU: 1}) == [1, 5, 9, 3, 6]
    assert plan.simulate([], {CORE: 1}) == []


@pytest.mark.parametrize(
    ("tasks", "fault"),
    [([Task(1, (0,))], "not before it"), ([Task(1, (), GPU)], "no slot for tasks of GPU")],
)
def test_what_can_never_begin_is_refused(tasks, fault):
    with pytest.raises(ValueError, match=fault):
        plan.simulate(tasks, {CORE: 1, GPU: 0})


@st.composite
def works(draw):
    count = draw(st.integers(1, 12))
    waits = [draw(st.sets(st.integers(0, place - 1), max_size=3)) if place else set() for place in range(count)]
    return [Task(draw(st.integers(0, 9)), tuple(after)) for after in waits]


@given(works(), st.integers(1, 5))
def test_no_schedule_is_worse_than_graham_says(tasks, cores):
    ends = plan.simulate(tasks, {CORE: cores})
    begins = [end - task.seconds for end, task in zip(ends, tasks, strict=True)]
    for task, begin in zip(tasks, begins, strict=True):
        assert all(ends[place] <= begin for place in task.after)
    for now in set(begins):
        assert sum(begin <= now < end for begin, end in zip(begins, ends, strict=True)) <= cores
    total, critical = sum(task.seconds for task in tasks), max(plan.simulate(tasks, {CORE: len(tasks)}))
    assert max(critical, total / cores) <= max(ends) <= total / cores + (1 - 1 / cores) * critical


STAGES = [
    Stage("gnn", "a", 1, (Phase((4, 4, 4)), Phase((1,)))),
    Stage("gnn", "b", 1, (Phase((6,)), Phase((1,)))),
    Stage("gbdt", "a", 2),
    Stage("blend", "", 3),
]


def test_one_repro_waits_for_each_stage_and_several_do_not():
    """a: 1 + two rounds of 4 + 1, then b: 1 + 6 + 1, then 2 and 3. Side by side a's networks begin at 1, two at a time,
    before b's one, which the list has later: 5 to 11, a's third from 5 to 9, and blend follows b's end at 12."""
    assert plan.seconds(STAGES, TWO) == 10 + 8 + 2 + 3
    assert plan.seconds(STAGES, TWO, together=True) == 12 + 3
    assert plan.least(STAGES) == 6 + 8 + 2 + 3 and plan.least(STAGES, together=True) == 8 + 3
    assert plan.seconds([Stage("blend", "", 3), *STAGES[2:3]], TWO, together=True) == 3 + 2
    assert plan.path(STAGES) == {"gnn": 14, "blend": 3, "gbdt": 2}


def test_a_phase_waits_for_all_of_the_one_before_it():
    """On two cores 5 beside 1 and 3, and only then 2, 2 and 2, two rounds of them."""
    stage = Stage("gbdt", "a", 1, (Phase((5, 1, 3)), Phase((2, 2, 2))))
    assert plan.seconds([stage], TWO) == 1 + 5 + 4
    assert plan.least([stage]) == stage.longest == 1 + 5 + 2
    assert plan.seconds([Stage("gbdt", "a", 1, (Phase(()), Phase((2,))))], TWO) == 3


def test_a_phase_has_no_more_tasks_at_a_time_than_pay_on_one_machine():
    """Two at a time: 5 beside 1, 1, 3. Side by side each stage has its own two."""
    stages = [Stage("gbdt", name, 0, (Phase((5, 1, 1, 3), most=2),)) for name in "ab"]
    assert plan.seconds(stages, Machines("one", 8)) == 10
    assert plan.seconds(stages, Machines("one", 8), together=True) == 5
    assert plan.seconds(stages[:1], Machines("one", 1)) == 10
    assert plan.seconds([Stage("gbdt", "a", 0, (Phase((1,) * 6, most=2),))], Machines("one", 8)) == 3
    assert plan.seconds([Stage("gbdt", "a", 0, (Phase((1,) * 6, most=2),))], Machines("Ray", 4, count=2)) == 1


def test_networks_go_to_the_gpus_where_there_are_some():
    one = Machines("one GPU", 2, 1)
    assert plan.seconds(STAGES[:1], one, gpu=2.0) == 1 + (3 * 4 + 1) / 2
    assert plan.seconds(STAGES[:1], TWO, gpu=2.0) == plan.seconds(STAGES[:1], TWO) == 10
    assert plan.worth(STAGES[:1], one) == (1 + 12 + 1) / 10


def test_enough_cores_are_near_the_least():
    """Of a cluster, where nothing is bounded."""
    assert plan.enough([Stage("gnn", "a", 0, (Phase((1.0,) * 64, most=4),))], together=False) == 64
    assert plan.enough([Stage("gnn", "a", 1000, (Phase((1.0,) * 64),))], together=False) == 1


def test_members_are_calibrated_to_what_was_measured():
    """On two cores 3, 2, 2 take 4 where they are handed out the longest first; 8 seconds make each twice as long."""
    assert plan.calibrated([2, 3, 2], 8, 2) == (6, 4, 4)


@pytest.fixture
def results(monkeypatch):
    """Rates of a data set of five graphs a collection, twice as many train graphs as at a tenth."""

    def sizes(share=1.0, seed=0):
        counts = {"train": 2 if share == 1 else 1, "valid": 1, "test": 1}
        return [
            synthesize.Size(collection, split, f"{split}_{place}", 100, 2 if is_tile(collection) else 10, 3000, 0)
            for collection in COLLECTIONS
            for split in SPLITS
            for place in range(counts[split])
        ]

    monkeypatch.setattr(synthesize, "sizes", sizes)
    plan.sizes.cache_clear()
    single = ["prune", "pad", "gnn", "gbdt"]
    rows = [(stage, slug(collection)) for stage in single for collection in COLLECTIONS]
    rows = [
        {"stage": stage, "collection": name, "seconds": 100.0, "peak_bytes": 2 * 2**30}
        for stage, name in [*rows, ("blend", ""), ("leaderboard", "")]
    ]
    rows[0]["peak_bytes"] = 2**30
    yield {
        "scale": {"scale": 0.1, "machine": {"cores": 2}, "rows": rows, "full": scale.extrapolated(rows, 0.1)},
        "gst": {"rows": [{"begun": 2**28}, {"fits": False}]},
        "members": {
            "scale": 0.1,
            "rows": [
                {"collection": name, "known": 10, "members": {"a": 20, "b": 40}, "scored": 5, "scoring": 1}
                for name in COLLECTIONS
            ],
        },
    }
    plan.sizes.cache_clear()


def test_two_cores_take_what_the_straight_line_says(results):
    """But for gnn and gbdt, whose scoring was in the members, or in one process, and is now spread."""
    stages = plan.pipeline(results, plan.SEEDS)
    for name in ("prune", "pad", "blend", "leaderboard"):
        straight = sum(row["seconds"] for row in results["scale"]["full"] if row["stage"] == name)
        assert plan.seconds([stage for stage in stages if stage.name == name], TWO) == pytest.approx(straight)


def test_trees_are_trained_by_what_they_draw_and_score_each_graph_by_its_configurations(results):
    """Twice the train graphs and one of valid are 1.5 times as much to train on. A graph of tiles has 3000
    configurations, of which 1000 of a train graph are scored: 7000 at a tenth, in 5 and three times 1 seconds."""
    (gbdt,) = [stage for stage in plan.pipeline(results, 3) if (stage.name, stage.collection) == ("gbdt", "tile-xla")]
    members, scored = gbdt.phases
    assert gbdt.alone == 15 and members == Phase((30, 60) * 3)
    assert scored == Phase(tuple(pytest.approx(each * 8 / 7) for each in (1, 1, 3, 3)), plan.IN_MEMORY)
    # 20 and 40 three times on two cores: 20+20+20+40 beside 80
    assert plan.agrees(results) == (500, pytest.approx(5 * (10 + 100 + 8)))


def test_more_seeds_are_more_members_and_longer_scoring(results):
    """A network takes two rounds on two cores; all seeds of valid and test, alike here, are scored graph by graph."""
    stages = {(stage.name, stage.collection): stage for stage in plan.pipeline(results, 20, scoring=0.5)}
    training, scored = stages["gnn", "tile-xla"].phases
    network = 100 * 4 / 3 / 2
    assert training.tasks == pytest.approx((network / 2,) * 20) and scored.tasks == pytest.approx(
        (network / 2 * 10,) * 2
    )
    members, scored = stages["gbdt", "tile-xla"].phases
    assert len(members.tasks) == 40 and sum(scored.tasks) == pytest.approx(25 * 8 / 7)
    assert stages["blend", ""].alone == pytest.approx(100 * 20 / 3)


def test_memory_grows_with_what_runs_at_once(results):
    """A gnn task holds (2 - 1) / 2 GiB, a quarter of one of it before its data; four graphs take the place of three."""
    least, most = plan.memory(results, TWO, 3)
    assert (least / plan.GIB, most / plan.GIB) == (5 + 2 * 0.5, pytest.approx(5 + 2 * 0.5 * 1.5))
    more = plan.memory(results, Machines("16", 16), 20)
    assert more[0] / plan.GIB == 5 + 16 * 0.5


def test_the_table_has_a_line_for_each_kind_of_machines(results):
    lines = plan.table(results, [3, 20], (2.0, 20.0)).splitlines()
    assert len(lines) == 2 + len(plan.MACHINES) and len({line.count("|") for line in lines}) == 1
    assert "one `dvc repro`" in lines[0] and "3 seeds" in lines[0] and "20 seeds" in lines[0]


def test_what_was_not_measured_is_named(tmp_path):
    file = tmp_path / "results.json"
    file.write_text(json.dumps({"scale": {}, "gst": {}}))
    with pytest.raises(InputError, match="has no 'members'; run python -m benchmarks.members"):
        plan.read(file)


def test_the_readme_shows_what_is_computed(capsys):
    """Table and sentences stand there as `python -m benchmarks.plan` prints them."""
    plan.main(["--results", str(PROJECT / measure.RESULTS)])
    readme = (PROJECT / "benchmarks" / "README.md").read_text()
    for block in capsys.readouterr().out.strip().split("\n\n"):
        assert block in readme
