"""Blending: weights on the simplex, chosen on valid and on nothing else, and what that choice is worth."""

import json
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.blend import stage as blend
from stages.errors import InputError
from stages.graphs import dataset
from stages.reporting import figures, findings
from stages.scoring import metrics, scores

COLLECTION = "layout:xla:random"
SLUG = "layout-xla-random"
CONFIGURATIONS = 12
IDS = {"valid": ("bert_l1", "bert_l2", "lstm_u64"), "test": ("test_a", "test_b")}
MEMBERS = ["gnn", "gbdt"]


def graph(name, target):
    return SimpleNamespace(id=name, target=np.asarray(target, dtype=float))


@pytest.fixture
def packed(monkeypatch):
    """Three valid graphs of two families and two test graphs in every collection; valid run times are known."""
    rng = np.random.default_rng(3)
    graphs = {
        split: [graph(name, rng.permutation(CONFIGURATIONS) + 1.0) for name in names] for split, names in IDS.items()
    }

    def manifest(folder):
        listed = {
            split: [{"id": each.id, "configurations": len(each.target)} for each in part]
            for split, part in graphs.items()
        }
        return {"graphs": listed}

    monkeypatch.setattr(dataset, "manifest", manifest)
    monkeypatch.setattr(dataset, "graphs", lambda data, collection, split: graphs[split])
    return graphs


def member(data, name, packed, noise=1.0, slug=SLUG, test_seed=0, seeds=(0, 1)):
    """Writes a member's scores: valid ones are the run times with noise, test ones are random."""
    parts = []
    for split, graphs in packed.items():
        for each in graphs:
            for seed in seeds:
                rng = np.random.default_rng([seed, test_seed if split == "test" else 7, *map(ord, name)])
                count = len(each.target)
                base = each.target if split == "valid" else rng.permutation(count)
                score = base + noise * rng.normal(size=count)
                parts.append(scores.frame(split, each.id, np.arange(count), name, seed, score))
    table = pl.concat(parts) if parts else pl.DataFrame(schema=scores.SCHEMA)
    scores.write(table, data / name / slug / "scores.parquet")


def run(data, **changes):
    return blend.run(**{"collections": [COLLECTION], "members": MEMBERS, "data": str(data)} | changes)


def weights(data):
    return json.loads((data / "blend" / "weights.json").read_text())[COLLECTION]


def read(data, name):
    return scores.read(data / "blend" / f"{name}.parquet")


def voices(members, targets):
    """Voices of one collection from member -> graph -> scores, the same on every scale."""
    members = {name: {each: np.asarray(score, float) for each, score in part.items()} for name, part in members.items()}
    targets = {each: np.asarray(target, float) for each, target in targets.items()}
    return blend.Voices(COLLECTION, {("valid", scale): members for scale in set(blend.SCALES.values())}, targets)


@given(st.integers(1, 4), st.integers(1, 6))
def test_the_grid_covers_the_simplex(members, steps):
    points = blend.simplex(members, steps)
    assert len(set(points)) == len(points)
    assert all(len(point) == members and min(point) >= 0 and sum(point) == pytest.approx(1) for point in points)
    assert all(tuple(row) in points for row in np.eye(members))


def test_the_default_grid_has_steps_of_a_twentieth():
    assert len(blend.simplex(2)) == 21 and (0.05, 0.95) in blend.simplex(2)


def test_the_best_weights_win_and_equals_go_to_the_middle():
    assert blend.best({(0.0, 1.0): 0.2, (0.5, 0.5): 0.1, (1.0, 0.0): 0.3}) == (1.0, 0.0)
    assert blend.best({(0.0, 1.0): 0.3, (0.45, 0.55): 0.3, (1.0, 0.0): 0.3}) == (0.45, 0.55)
    assert blend.best({point: float("nan") for point in blend.simplex(2)}) == (0.5, 0.5)


def test_combine_gives_places_without_ties_by_index():
    ranks = {"gnn": {"g": np.array([0.25, 0.75, 0.5, 1.0])}, "gbdt": {"g": np.array([0.75, 0.25, 0.5, 1.0])}}
    assert blend.combine(ranks, (0.5, 0.5))["g"].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert blend.combine(ranks, (0.0, 1.0))["g"].tolist() == [0.75, 0.25, 0.5, 1.0]


# Of two families: gnn ranks alpha rightly and beta the other way round, gbdt the reverse. Ranks of equal weights tie
# everything, so the order is that of the index, which gets four of six pairs of these run times right: tau 1/3.
TARGET = [2, 1, 4, 3]
REVERSED = [3, 4, 1, 2]
ALPHA = ["alpha_1", "alpha_2", "alpha_3"]
OPPOSED = {
    "gnn": dict.fromkeys(ALPHA, TARGET) | {"beta_1": REVERSED},
    "gbdt": dict.fromkeys(ALPHA, REVERSED) | {"beta_1": TARGET},
}
TARGETS = dict.fromkeys([*ALPHA, "beta_1"], TARGET)


def test_the_nested_choice_by_hand():
    opposed = voices(OPPOSED, TARGETS)
    assert opposed.families() == {"alpha": ALPHA, "beta": ["beta_1"]}
    # Chosen on all: gnn, right on three of four.
    assert opposed.weights("rank", 0.0) == (0.55, 0.45)
    assert opposed.score("rank", (0.55, 0.45)) == pytest.approx((3 - 1) / 4)
    # Without alpha gbdt is chosen, without beta gnn: each is wrong on the family left out, also half way to equal.
    for rule, shrink in (("rank", 0.0), ("rank", 0.5), ("single", 0.5)):
        assert opposed.nested(rule, shrink) == pytest.approx(dict.fromkeys(TARGETS, -1))
    assert opposed.nested("rank", 1.0) == opposed.nested("borda", 0.0) == pytest.approx(dict.fromkeys(TARGETS, 1 / 3))


def test_the_table_of_rules_by_hand(tmp_path, packed):
    packed["valid"][:] = [graph(name, TARGET) for name in TARGETS]
    packed["test"].clear()
    for name, part in OPPOSED.items():
        frames = [scores.frame("valid", each, np.arange(4), name, 0, score) for each, score in part.items()]
        scores.write(pl.concat(frames), tmp_path / name / SLUG / "scores.parquet")
    result = run(tmp_path, shrink=0.0)
    rows = {row["rule"]: row for row in result["rules"].filter(collection=COLLECTION).iter_rows(named=True)}
    assert list(rows) == ["rank", "borda", "minmax", "zscore", "single"]
    assert {(row["graphs"], row["families"]) for row in rows.values()} == {(4, 2)}
    assert rows["rank"]["valid"] == pytest.approx(1 / 2) and rows["rank"]["nested"] == pytest.approx(-1)
    assert (rows["rank"]["better"], rows["rank"]["worse"]) == (0, 4)
    assert rows["borda"]["valid"] == rows["borda"]["nested"] == pytest.approx(1 / 3)
    assert rows["single"]["nested"] == pytest.approx(-1)
    assert result["rules"].filter(collection="mean")["nested"].to_list() == [row["nested"] for row in rows.values()]
    shrinks = result["shrinks"].filter(collection=COLLECTION)
    assert shrinks["shrink"].to_list() == list(blend.SHRINKS)
    assert shrinks["nested"].to_list() == pytest.approx([-1, -1, -1, -1, 1 / 3])
    assert findings.choice(result) == (
        "Judged on families that they were not chosen on, chosen weights score -1.000 in the mean of 1 collection, "
        "equal ones 0.333: the choice is worth -1.333. Of 4 graphs it ranks 0 better, 4 worse and 0 the same. Judged "
        "on the graphs that chose them the weights score 0.500, which flatters them by +1.500."
    )
    text = findings.preferred(result)
    assert "`borda` is the best rule (0.333); used is `rank` (-1.000)" in text
    assert "Of the amounts of shrinking 1 is best; all lie within 1.333; 0 is used." in text
    told = findings.disagreement(result["disagreement"])
    assert "gnn is ahead on 3 and gbdt on 1; the blend is above both on 0 and below both on 0." in told
    assert result["disagreement"]["tau"].to_list() == pytest.approx([-1] * 4)


names = st.lists(st.sampled_from(["ant", "bee", "cat"]), min_size=2, max_size=5)


@settings(max_examples=30, deadline=None)
@given(names, st.integers(0, 2**32 - 1), st.sampled_from(["rank", "single"]), st.sampled_from([0.0, 0.3]))
def test_nested_scores_are_those_of_weights_chosen_without_the_family(families, seed, rule, shrink):
    rng = np.random.default_rng(seed)
    graphs = [f"{family}_{number}" for number, family in enumerate(families)]
    members = {name: {each: rng.permutation(6) for each in graphs} for name in MEMBERS}
    targets = {each: rng.integers(1, 4, 6) for each in graphs}
    found = voices(members, targets).nested(rule, shrink)
    defined = [each for each in graphs if len(set(targets[each])) > 1]
    if len({each[:3] for each in defined}) < 2:
        assert found == {}
        return
    assert sorted(found) == sorted(defined)
    for each in defined:
        others = [other for other in defined if other[:3] != each[:3]]
        left = voices(
            {name: {other: part[other] for other in others} for name, part in members.items()},
            {other: targets[other] for other in others},
        )
        scored = blend.combine(
            {name: {each: part[each].astype(float)} for name, part in members.items()}, left.weights(rule, shrink)
        )
        assert found[each] == metrics.kendall(scored[each], targets[each])


def test_the_better_member_gets_the_weight_and_shrink_moves_it_toward_equal(tmp_path, packed):
    member(tmp_path, "gnn", packed, noise=0.0)
    member(tmp_path, "gbdt", packed, noise=50.0)
    result = run(tmp_path, shrink=0.0)
    chosen = weights(tmp_path)["chosen"]
    assert chosen["gnn"] > 0.5 and weights(tmp_path)["weights"] == chosen
    assert result["blend"]["valid"].to_list() == [pytest.approx(1.0)]
    run(tmp_path, shrink=0.5)
    assert weights(tmp_path)["weights"] == pytest.approx({name: 0.25 + value / 2 for name, value in chosen.items()})
    run(tmp_path, shrink=1.0)
    assert weights(tmp_path)["weights"] == {"gnn": 0.5, "gbdt": 0.5}


def test_test_scores_change_no_weight(tmp_path, packed):
    member(tmp_path, "gnn", packed, noise=4.0)
    member(tmp_path, "gbdt", packed, noise=5.0)
    first = run(tmp_path)
    before, blended = weights(tmp_path), read(tmp_path, "scores")
    member(tmp_path, "gnn", packed, noise=4.0, test_seed=1)
    member(tmp_path, "gbdt", packed, noise=5.0, test_seed=2)
    for each in packed["test"]:
        each.target = each.target[::-1].copy()
    second = run(tmp_path)
    after = read(tmp_path, "scores")
    assert weights(tmp_path) == before and second["rules"].equals(first["rules"])
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
    found = {}
    for member, places in (("gnn", [5, 0, 3, 1]), ("gbdt", [6, 7, 7, 9])):
        listed = dict.fromkeys((*IDS["valid"], "of_another_data_set"), places)
        result = run(tmp_path, eval_indices=indices(tmp_path / member, listed))
        valid = dict(result["weights"].select("member", "valid").iter_rows())
        assert valid[member] == 1.0 and min(valid.values()) == -1.0
        assert weights(tmp_path)["chosen"][member] > 0.5
        judged = json.loads((tmp_path / "blend" / "judged.json").read_text())
        assert judged == {COLLECTION: dict.fromkeys(IDS["valid"], places)}
        assert read(tmp_path, "scores").height == 5 * CONFIGURATIONS, "scores are of all configurations"
        (taus,) = {round(tau, 9) for tau in result["disagreement"]["tau"]}
        found[member] = taus
        assert "official configurations alone" in findings.weights(result)
    assert found == {"gnn": -1.0, "gbdt": -1.0} and min(every["disagreement"]["tau"]) > -1
    assert "official" not in findings.weights(every)


def test_tiles_are_judged_by_all_configurations(tmp_path, packed):
    for name in MEMBERS:
        member(tmp_path, name, packed, slug="tile-xla")
    whole = run(tmp_path, collections=["tile:xla"])
    folder = tmp_path / "there is none"
    assert run(tmp_path, collections=["tile:xla"], eval_indices=str(folder))["weights"].equals(whole["weights"])


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


@pytest.mark.parametrize("rule", blend.RULES)
def test_the_blend_is_what_its_rule_makes_and_the_others_stand_beside_it(tmp_path, packed, rule):
    for name, noise in (("gnn", 3.0), ("gbdt", 6.0)):
        member(tmp_path, name, packed, noise)
    run(tmp_path, rule=rule)
    beside = read(tmp_path, "rules")
    assert set(beside["member"]) == {"rank", "borda", "minmax", "zscore", "single"}
    keys = ["collection", "split", "graph", "configuration"]
    own = beside.filter(member=rule).sort(keys)["score"]
    assert read(tmp_path, "scores").sort(keys)["score"].equals(own)
    record = weights(tmp_path)
    assert record["rule"] == rule and (record["weights"] == {"gnn": 0.5, "gbdt": 0.5}) == (rule != "rank")


def test_minmax_minds_how_far_apart_scores_are_and_ranks_do_not(tmp_path, packed):
    # Ranks are opposed and tie everything; brought to [0, 1] the scores are 0, .9, 1 and 1, .9, 0.
    packed["valid"][:] = [graph("bert_l1", [1, 2, 3])]
    packed["test"].clear()
    for name, score in (("gnn", [0, 9, 10]), ("gbdt", [2, 1.9, 1])):
        table = scores.frame("valid", "bert_l1", np.arange(3), name, 0, score)
        scores.write(table, tmp_path / name / SLUG / "scores.parquet")
    run(tmp_path)
    found = {rule: part["score"].to_list() for (rule,), part in read(tmp_path, "rules").group_by("member")}
    assert found["borda"] == pytest.approx([1 / 3, 2 / 3, 1])
    assert found["minmax"] == found["zscore"] == pytest.approx([1 / 3, 1, 2 / 3])


def test_single_seeds_are_blended_with_the_same_weights(tmp_path, packed):
    member(tmp_path, "gnn", packed, noise=3.0, seeds=(0, 1, 2))
    member(tmp_path, "gbdt", packed, noise=6.0, seeds=(1, 2, 5))
    run(tmp_path)
    table = read(tmp_path, "seeds")
    assert sorted(set(table["seed"])) == [1, 2]  # those that both have
    used = tuple(weights(tmp_path)["weights"].values())
    singles = {}
    for name in MEMBERS:
        one = scores.read(tmp_path / name / SLUG / "scores.parquet").filter(split="test", seed=2)
        singles[name] = scores.by_graph(scores.ranking(one))
    found = scores.by_graph(table.filter(split="test", seed=2).drop("collection"))
    for name, places in blend.combine(singles, used).items():
        assert found[name].tolist() == places.tolist()


def test_members_without_a_common_seed_have_no_blended_seeds(tmp_path, packed):
    member(tmp_path, "gnn", packed, seeds=(0,))
    member(tmp_path, "gbdt", packed, seeds=(1,))
    run(tmp_path)
    assert read(tmp_path, "seeds").is_empty()


def test_a_member_left_out_is_not_read(tmp_path, packed):
    member(tmp_path, "gbdt", packed, noise=4.0)
    result = run(tmp_path, members=["gbdt"])
    assert weights(tmp_path)["weights"] == {"gbdt": 1.0}
    alone = scores.ranking(scores.read(tmp_path / "gbdt" / SLUG / "scores.parquet"))
    for split in ("valid", "test"):
        ranks = scores.by_graph(alone.filter(split=split))
        for name, places in scores.by_graph(read(tmp_path, "scores").filter(split=split).drop("collection")).items():
            assert places.tolist() == blend.combine({"gbdt": ranks}, (1.0,))[name].tolist()
    assert "gbdt is the only member" in findings.weights(result)
    assert findings.choice(result) == "With one member there is nothing to choose."
    assert findings.disagreement(result["disagreement"]) == "There are no two members that could disagree."


def test_three_members(tmp_path, packed):
    for name, noise in (("gnn", 3.0), ("gbdt", 6.0), ("mlp", 9.0)):
        member(tmp_path, name, packed, noise)
    result = run(tmp_path, members=["gnn", "gbdt", "mlp"])
    assert result["grid"].columns == ["collection", "gnn", "gbdt", "mlp", "valid"] and result["grid"].height == 231
    assert sum(weights(tmp_path)["weights"].values()) == pytest.approx(1, abs=1e-5)
    pairs = result["disagreement"].select("first", "second").unique(maintain_order=True).rows()
    assert pairs == [("gnn", "gbdt"), ("gnn", "mlp"), ("gbdt", "mlp")]
    assert figures.svg(figures.weight_lines(result)).count("<svg") == 1
    assert figures.svg(figures.disagreement(result["disagreement"])).count("<svg") == 1


def drawn(result):
    """The SVG of every figure and the sentences of the blend's page."""
    shown = [figures.weight_lines(result), figures.choice_dots(result["rules"])]
    shown.append(figures.disagreement(result["disagreement"]))
    said = [findings.weights(result), findings.choice(result), findings.preferred(result)]
    said.append(findings.disagreement(result["disagreement"]))
    return [figures.svg(figure) for figure in shown], said


def test_run_times_that_are_all_equal_give_equal_weights(tmp_path, packed):
    for each in packed["valid"]:
        each.target = np.ones(CONFIGURATIONS)
    for name in MEMBERS:
        member(tmp_path, name, packed)
    result = run(tmp_path)
    assert weights(tmp_path)["weights"] == {"gnn": 0.5, "gbdt": 0.5}
    assert result["rules"]["nested"].null_count() == result["rules"]["valid"].null_count() == 5
    drawings, said = drawn(result)
    assert said == [
        "No valid graph has run times that differ: the members have equal weights.",
        "There is no nested evaluation. There is none for layout:xla:random, whose valid graphs are of fewer than two "
        "families.",
        "Without a nested evaluation nothing can be said for one rule or another.",
        "There are no two members that could disagree.",
    ]
    assert all(text.count("<svg") == 1 for text in drawings)


@pytest.mark.parametrize("kept", [1, 2])
def test_one_graph_or_one_family_has_weights_but_no_nested_score(tmp_path, packed, kept):
    del packed["valid"][kept:]
    del packed["test"][1:]
    member(tmp_path, "gnn", packed, noise=0.0)
    member(tmp_path, "gbdt", packed, noise=50.0)
    result = run(tmp_path)
    assert weights(tmp_path)["chosen"]["gnn"] > 0.5
    assert result["rules"]["nested"].null_count() == 5 and "mean" not in result["rules"]["collection"]
    assert "whose valid graphs are of fewer than two families" in findings.choice(result)
    assert all(text.count("<svg") == 1 for text in drawn(result)[0])


def test_a_graph_of_one_configuration_is_ranked_and_judges_nothing(tmp_path, packed):
    member(tmp_path, "gnn", packed, noise=2.0)
    member(tmp_path, "gbdt", packed, noise=5.0)
    before = run(tmp_path)
    recorded = weights(tmp_path)
    packed["valid"].append(graph("tiny_1", [7.0]))
    packed["test"].append(graph("tiny_2", [7.0]))
    member(tmp_path, "gnn", packed, noise=2.0)
    member(tmp_path, "gbdt", packed, noise=5.0)
    after = run(tmp_path)
    assert weights(tmp_path) == recorded and after["rules"].equals(before["rules"])
    for split, name in (("valid", "tiny_1"), ("test", "tiny_2")):
        assert read(tmp_path, "rules").filter(split=split, graph=name)["score"].to_list() == [1.0] * 5


def test_a_kernel_of_one_configuration_has_a_score_and_no_tau(tmp_path, packed):
    packed["valid"].append(graph("tiny_1", [7.0]))
    for name in MEMBERS:
        member(tmp_path, name, packed, slug="tile-xla")
    result = run(tmp_path, collections=["tile:xla"])
    tiny = result["disagreement"].filter(graph="tiny_1").row(0, named=True)
    assert tiny["first_score"] == tiny["blend"] == 1.0 and tiny["tau"] is None
    assert all("nan" not in text for text in [*drawn(result)[0], *drawn(result)[1]])


def test_no_valid_graph_gives_equal_weights(tmp_path, packed):
    packed["valid"].clear()
    for name in MEMBERS:
        member(tmp_path, name, packed)
    run(tmp_path)
    assert weights(tmp_path)["weights"] == {"gnn": 0.5, "gbdt": 0.5}
    assert set(read(tmp_path, "scores")["split"]) == {"test"}


def test_no_graph_at_all(tmp_path, packed):
    for part in packed.values():
        part.clear()
    for name in MEMBERS:
        member(tmp_path, name, packed)
    run(tmp_path)
    assert read(tmp_path, "scores").is_empty() and read(tmp_path, "seeds").is_empty()


def test_the_mean_leaves_out_collections_without_a_nested_score(tmp_path, packed, monkeypatch):
    one = {"valid": packed["valid"][:1], "test": packed["test"]}
    monkeypatch.setattr(dataset, "graphs", lambda data, name, split: (one if "tile" in name else packed)[split])
    for name in MEMBERS:
        member(tmp_path, name, packed, noise=3.0)
        member(tmp_path, name, packed, noise=3.0, slug="tile-xla")
    result = run(tmp_path, collections=["tile:xla", COLLECTION])
    own = result["rules"].filter(collection=COLLECTION).drop("collection")
    assert result["rules"].filter(collection="mean").drop("collection").equals(own)
    assert "There is none for tile:xla, whose valid graphs are of fewer" in findings.choice(result)


def test_the_page_says_that_valid_is_optimistic(tmp_path, packed):
    member(tmp_path, "gnn", packed, noise=1.0)
    member(tmp_path, "gbdt", packed, noise=2.0)
    text = findings.weights(run(tmp_path))
    assert "valid is optimistic; the honest figure is the leaderboard's on test." in text
    text = findings.weights(run(tmp_path, rule="zscore"))
    assert "optimistic" not in text and "Weights by `zscore` are equal, whatever valid would choose;" in text


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
        ({"shrink": 1.5}, "blend.shrink: 1.5 is not between 0"),
        ({"shrink": float("nan")}, "blend.shrink: nan is not between 0"),
        ({"rule": "single"}, "blend.rule: 'single' is no rule; use one of rank, borda, minmax, zscore"),
        ({"members": []}, r"blend.members: \[\] is no list of different stages"),
        ({"members": ["gnn", "gnn"]}, "blend.members: .* is no list of different stages"),
        ({"members": ["gnn", 3]}, r"blend.members\[1\]: 3 is int, expected str"),
    ],
)
def test_wrong_parameters_are_refused(tmp_path, packed, parameters, fault):
    with pytest.raises(InputError, match=fault):
        run(tmp_path, **parameters)
