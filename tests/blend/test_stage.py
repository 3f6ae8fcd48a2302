"""Blending: what is written, with weights chosen on valid and on nothing else."""

import json

import numpy as np
import polars as pl
import pytest

from stages.blend import report, weights
from stages.blend.member_scores import combine
from stages.blend.rules import RULES
from stages.engine.errors import InputError
from stages.reporting import disagreement
from stages.scoring import scores
from tests.support.blending import (
    COLLECTION,
    CONFIGURATIONS,
    IDS,
    MEMBERS,
    SLUG,
    graph,
    member,
    read,
    recorded,
    run,
    run_shrunk,
)


def test_the_stage_moves_the_choice_half_way(tmp_path, packed):
    member(tmp_path, "gnn", packed, noise=0.0)
    member(tmp_path, "gbdt", packed, noise=50.0)
    assert run(tmp_path).shrink == weights.SHRINK == 0.5
    used = recorded(tmp_path)["weights"]
    assert used == pytest.approx({name: 0.25 + part / 2 for name, part in recorded(tmp_path)["chosen"].items()})


def test_the_better_member_gets_the_weight_and_shrink_moves_it_toward_equal(tmp_path, packed):
    member(tmp_path, "gnn", packed, noise=0.0)
    member(tmp_path, "gbdt", packed, noise=50.0)
    result = run_shrunk(tmp_path, 0.0)
    chosen = recorded(tmp_path)["chosen"]
    assert chosen["gnn"] > 0.5 and recorded(tmp_path)["weights"] == chosen
    assert result.blend["valid"].to_list() == [pytest.approx(1.0)]
    run_shrunk(tmp_path, 0.5)
    assert recorded(tmp_path)["weights"] == pytest.approx({name: 0.25 + value / 2 for name, value in chosen.items()})
    run_shrunk(tmp_path, 1.0)
    assert recorded(tmp_path)["weights"] == {"gnn": 0.5, "gbdt": 0.5}


def test_test_scores_change_no_weight(tmp_path, packed):
    member(tmp_path, "gnn", packed, noise=4.0)
    member(tmp_path, "gbdt", packed, noise=5.0)
    first = run(tmp_path)
    before, blended = recorded(tmp_path), read(tmp_path, "scores")
    member(tmp_path, "gnn", packed, noise=4.0, test_seed=1)
    member(tmp_path, "gbdt", packed, noise=5.0, test_seed=2)
    for each in packed["test"]:
        each.target = each.target[::-1].copy()
    second = run(tmp_path)
    after = read(tmp_path, "scores")
    assert recorded(tmp_path) == before and second.rules.equals(first.rules)
    assert after.filter(split="valid").equals(blended.filter(split="valid"))
    assert not after.equals(blended)


def indices(folder, listed, name="xla_random"):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(listed if isinstance(listed, str) else json.dumps(listed))
    return str(folder)


def test_the_official_configurations_choose_the_weights_and_are_all_that_is_judged(tmp_path, packed):
    """gnn is right about the first six configurations and gbdt about the others; a place that stands twice counts
    twice, and what the file says of further graphs is passed over."""
    for name, right in (("gnn", slice(0, 6)), ("gbdt", slice(6, 12))):
        parts = []
        for split, graphs in packed.items():
            for each in graphs:
                score = -each.target.copy()
                score[right] = each.target[right]
                parts += [scores.frame(split, each.id, np.arange(12), name, seed, score) for seed in (0, 1)]
        scores.write(pl.concat(parts), tmp_path / name / SLUG / "scores.parquet")
    every = run(tmp_path)
    taus = {}
    for name, places in (("gnn", [5, 0, 3, 1]), ("gbdt", [6, 7, 7, 9])):
        listed = dict.fromkeys((*IDS["valid"], "of_another_data_set"), places)
        result = run(tmp_path, eval_indices=indices(tmp_path / name, listed))
        valid = dict(result.weights.select("member", "valid").iter_rows())
        assert valid[name] == 1.0 and min(valid.values()) == -1.0
        assert recorded(tmp_path)["chosen"][name] > 0.5
        judged = json.loads((tmp_path / "blend" / "judged.json").read_text())
        assert judged == {COLLECTION: dict.fromkeys(IDS["valid"], places)}
        assert read(tmp_path, "scores").height == 5 * CONFIGURATIONS, "scores are of all configurations"
        (taus[name],) = {round(tau, 9) for tau in result.disagreement["tau"]}
        assert "official configurations alone" in report.gain(result)
    assert taus == {"gnn": -1.0, "gbdt": -1.0} and min(every.disagreement["tau"]) > -1
    assert "official" not in report.gain(every)


def test_tiles_are_judged_by_all_configurations(tmp_path, packed):
    for name in MEMBERS:
        member(tmp_path, name, packed, slug="tile-xla")
    whole = run(tmp_path, collections=["tile:xla"])
    folder = tmp_path / "there is none"
    assert run(tmp_path, collections=["tile:xla"], eval_indices=str(folder)).weights.equals(whole.weights)


@pytest.mark.parametrize(
    ("listed", "fault"),
    [
        ({"bert_l1": [0], "bert_l2": [1]}, "has no graph lstm_u64, which is a valid graph of the data"),
        ({"bert_l1": [0, 12], "bert_l2": [1], "lstm_u64": [1]}, "bert_l1 has index 12, but 12 configurations"),
        ({"bert_l1": [0], "bert_l2": [-1], "lstm_u64": [1]}, "bert_l2 has index -1"),
        ({"bert_l1": [], "bert_l2": [1], "lstm_u64": [1]}, "bert_l1 has no list of whole numbers"),
        ({"bert_l1": [0.5], "bert_l2": [1], "lstm_u64": [1]}, "bert_l1 has no list of whole numbers"),
        ({"bert_l1": [True], "bert_l2": [1], "lstm_u64": [1]}, "bert_l1 has no list of whole numbers"),
        ([], "is no JSON that maps graphs"),
        ('{"bert_l1": [0', "is no JSON that maps graphs"),
        (None, "cannot be read .No such file or directory.; name the folder"),
    ],
)
def test_official_configurations_that_do_not_fit(tmp_path, packed, listed, fault):
    for name in MEMBERS:
        member(tmp_path, name, packed)
    folder = indices(
        tmp_path / "indices", {} if listed is None else listed, "xla_default" if listed is None else "xla_random"
    )
    with pytest.raises(InputError, match=f"xla_random.json: {fault}") as caught:
        run(tmp_path, eval_indices=folder)
    assert "\n" not in str(caught.value) and not (tmp_path / "blend").exists()


def test_blended_scores_hold_every_collection_and_both_splits_and_repeat(tmp_path, packed):
    for name in MEMBERS:
        member(tmp_path, name, packed)
        member(tmp_path, name, packed, slug="tile-xla")
    run(tmp_path, collections=[COLLECTION, "tile-xla"])
    files = sorted((tmp_path / "blend").iterdir())
    first = [file.read_bytes() for file in files]
    assert [file.name for file in files] == [
        "judged.json",
        "nested.csv",
        "parameters.json",
        "rules.parquet",
        "scores.parquet",
        "seeds.parquet",
        "weights.json",
    ]
    table = read(tmp_path, "scores")
    assert table["collection"].unique(maintain_order=True).to_list() == ["tile:xla", COLLECTION]
    assert set(table["split"]) == {"valid", "test"} and set(table["seed"]) == {-1} and set(table["member"]) == {"blend"}
    assert table.group_by("collection", "split", "graph").agg(pl.col("score").n_unique())["score"].to_list() == [
        12
    ] * len([name for part in IDS.values() for name in part] * 2)
    run(tmp_path, collections=["tile:xla", COLLECTION])
    again = {file.name: file.read_bytes() for file in files}
    assert again | {"parameters.json": first[2]} == dict(zip(again, first, strict=True))  # asked in another order


@pytest.mark.parametrize("rule", RULES)
def test_the_blend_is_what_its_rule_makes_and_the_others_stand_beside_it(tmp_path, packed, rule):
    for name, noise in (("gnn", 3.0), ("gbdt", 6.0)):
        member(tmp_path, name, packed, noise)
    run(tmp_path, rule=rule)
    beside = read(tmp_path, "rules")
    assert set(beside["member"]) == {"rank", "borda", "minmax", "zscore", "single"}
    keys = ["collection", "split", "graph", "configuration"]
    own = beside.filter(member=rule).sort(keys)["score"]
    assert read(tmp_path, "scores").sort(keys)["score"].equals(own)
    record = recorded(tmp_path)
    assert record["rule"] == rule and (record["weights"] == {"gnn": 0.5, "gbdt": 0.5}) == (rule != "rank")


def test_minmax_minds_how_far_apart_scores_are_and_ranks_do_not(tmp_path, packed):
    # Ranks are opposed and tie everything; brought to [0, 1] the scores are 0, .9, 1 and 1, .9, 0.
    packed["valid"][:] = [graph("bert_l1", [1, 2, 3])]
    packed["test"].clear()
    for name, score in (("gnn", [0, 9, 10]), ("gbdt", [2, 1.9, 1])):
        table = scores.frame("valid", "bert_l1", np.arange(3), name, 0, score)
        scores.write(table, tmp_path / name / SLUG / "scores.parquet")
    run(tmp_path)
    places = {rule: part["score"].to_list() for (rule,), part in read(tmp_path, "rules").group_by("member")}
    assert places["borda"] == pytest.approx([1 / 3, 2 / 3, 1])
    assert places["minmax"] == places["zscore"] == pytest.approx([1 / 3, 1, 2 / 3])


def test_single_seeds_are_blended_with_the_same_weights(tmp_path, packed):
    member(tmp_path, "gnn", packed, noise=3.0, seeds=(0, 1, 2))
    member(tmp_path, "gbdt", packed, noise=6.0, seeds=(1, 2, 5))
    run(tmp_path)
    table = read(tmp_path, "seeds")
    assert sorted(set(table["seed"])) == [1, 2]  # those that both have
    used = tuple(recorded(tmp_path)["weights"].values())
    singles = {}
    for name in MEMBERS:
        one = scores.read(tmp_path / name / SLUG / "scores.parquet").filter(split="test", seed=2)
        singles[name] = scores.by_graph(scores.ranking(one))
    blended = scores.by_graph(table.filter(split="test", seed=2).drop("collection"))
    for name, places in combine(singles, used).items():
        assert blended[name].tolist() == places.tolist()


def test_members_without_a_common_seed_have_no_blended_seeds(tmp_path, packed):
    member(tmp_path, "gnn", packed, seeds=(0,))
    member(tmp_path, "gbdt", packed, seeds=(1,))
    run(tmp_path)
    assert read(tmp_path, "seeds").is_empty()


def test_a_member_left_out_is_not_read(tmp_path, packed):
    member(tmp_path, "gbdt", packed, noise=4.0)
    result = run(tmp_path, members=["gbdt"])
    assert recorded(tmp_path)["weights"] == {"gbdt": 1.0}
    alone = scores.ranking(scores.read(tmp_path / "gbdt" / SLUG / "scores.parquet"))
    for split in ("valid", "test"):
        ranks = scores.by_graph(alone.filter(split=split))
        for name, places in scores.by_graph(read(tmp_path, "scores").filter(split=split).drop("collection")).items():
            assert places.tolist() == combine({"gbdt": ranks}, (1.0,))[name].tolist()
    assert "gbdt is the only member" in report.finding(result)
    assert report.choice(result) == "With one member no choice is judged."
    assert disagreement.sentences(result.disagreement) == "There are no two members that could disagree."


def test_a_graph_of_one_configuration_is_ranked_and_judges_nothing(tmp_path, packed):
    member(tmp_path, "gnn", packed, noise=2.0)
    member(tmp_path, "gbdt", packed, noise=5.0)
    before = run(tmp_path)
    record_before = recorded(tmp_path)
    packed["valid"].append(graph("tiny_1", [7.0]))
    packed["test"].append(graph("tiny_2", [7.0]))
    member(tmp_path, "gnn", packed, noise=2.0)
    member(tmp_path, "gbdt", packed, noise=5.0)
    after = run(tmp_path)
    assert recorded(tmp_path) == record_before and after.rules.equals(before.rules)
    for split, name in (("valid", "tiny_1"), ("test", "tiny_2")):
        assert read(tmp_path, "rules").filter(split=split, graph=name)["score"].to_list() == [1.0] * 5


def test_no_valid_graph_gives_equal_weights(tmp_path, packed):
    packed["valid"].clear()
    for name in MEMBERS:
        member(tmp_path, name, packed)
    run(tmp_path)
    assert recorded(tmp_path)["weights"] == {"gnn": 0.5, "gbdt": 0.5}
    assert set(read(tmp_path, "scores")["split"]) == {"test"}


def test_no_graph_at_all(tmp_path, packed):
    for part in packed.values():
        part.clear()
    for name in MEMBERS:
        member(tmp_path, name, packed)
    run(tmp_path)
    assert read(tmp_path, "scores").is_empty() and read(tmp_path, "seeds").is_empty()


def test_an_absent_member_names_the_stage_to_run(tmp_path, packed):
    member(tmp_path, "gnn", packed)
    fault = (
        "gbdt/layout-xla-random/scores.parquet: not there; run the gbdt stage for .*, or leave gbdt out of blend.mem"
    )
    with pytest.raises(InputError, match=fault):
        run(tmp_path)
    assert not (tmp_path / "blend").exists()


def test_scores_of_other_graphs_are_refused(tmp_path, packed):
    member(tmp_path, "gnn", packed)
    member(tmp_path, "gbdt", {"valid": packed["valid"], "test": packed["test"][:1]})
    with pytest.raises(InputError, match="test graph test_b do not fit.*run the gbdt stage"):
        run(tmp_path)


@pytest.mark.parametrize(
    ("parameters", "fault"),
    [
        ({"collections": []}, "the list is empty"),
        ({"collections": ["layout:gpu:random"]}, "layout:nlp:default"),
        ({"rule": "single"}, "blend.rule: 'single' is no rule; use one of rank, borda, minmax, zscore"),
        ({"members": []}, r"blend.members: \[\] is no list of different stages"),
        ({"members": ["gnn", "gnn"]}, "blend.members: .* is no list of different stages"),
        ({"members": ["gnn", 3]}, r"blend.members\[1\]: 3 is int, expected str"),
    ],
)
def test_wrong_parameters_are_refused(tmp_path, packed, parameters, fault):
    with pytest.raises(InputError, match=fault):
        run(tmp_path, **parameters)
