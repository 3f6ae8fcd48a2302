"""The leaderboard on made-up programs: metrics, intervals, submission and what is absent without run times."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

from stages.blend import stage as blend
from stages.errors import InputError
from stages.graphs import dataset
from stages.graphs.collection import COLLECTIONS, folder, is_tile, slug
from stages.leaderboard import stage as leaderboard
from stages.prune import stage as prune
from stages.reporting import figures, findings
from stages.scoring import baselines, metrics, score, scores, submission
from tests.support import samples

SPLIT_GRAPHS = {"train": 2, "valid": 3, "test": 4}


MEMBERS = ["gnn", "gbdt"]


def fake_scores(data, collection, member, seeds):
    """Scores by chance of the valid and test graphs that the prune stage left."""
    parts = [
        scores.frame(
            split, each["id"], np.arange(each["configurations"]), member, seed, draw(each, member, seed, split)
        )
        for split in ("valid", "test")
        for each in dataset.manifest(dataset.prune_folder(data, collection))["graphs"][split]
        for seed in seeds
    ]
    return pl.concat(parts)


def draw(each, member, seed, split):
    rng = np.random.default_rng([seed + 1, *map(ord, member + split + each["id"])])
    return rng.permutation(each["configurations"])


def fake_baselines(data, collection):
    names = (
        ("random", "ridge", "largest_tile") if is_tile(collection) else ("random", "ridge", "copy_count", "row_major")
    )
    return pl.concat([fake_scores(data, collection, name, [-1]) for name in names])


def make(path, members=MEMBERS, collections=COLLECTIONS):
    """Packs PATH/npz_all, makes up its members' scores and blends them; returns PATH."""
    data = path / "data"
    for collection in collections:
        prune.run(collection=collection, root=str(path / "npz_all"), data=str(data))
        for member in members:
            made = fake_scores(data, collection, member, range(3))
            scores.write(made, data / member / slug(collection) / "scores.parquet")
    blend.run(collections=list(collections), members=list(members), data=str(data))
    return path


def parameters(path, reports):
    return {
        "collections": list(COLLECTIONS),
        "solution": str(path / "solution.csv"),
        "programs": str(path / "programs.csv"),
        "data": str(path / "data"),
        "reports": str(reports),
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with packed graphs, solution and programs, and the scores of every member."""
    path = tmp_path_factory.mktemp("leaderboard")
    samples.write_root(path, SPLIT_GRAPHS)
    return make(path)


@pytest.fixture(scope="module")
def board(made, tmp_path_factory):
    """What leaderboard.run returns of the made files, for tests that only read it; and the folder of its reports."""
    reports = tmp_path_factory.mktemp("reports")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "table", fake_baselines)
        return leaderboard.run(**parameters(made, reports / "reports")), reports


@pytest.fixture
def run(made, tmp_path, monkeypatch):
    """Calls leaderboard.run with the made files and its reports in a folder of their own."""
    monkeypatch.setattr(baselines, "table", fake_baselines)
    return lambda path=made, **changes: leaderboard.run(**parameters(path, tmp_path / "reports") | changes)


def written(tmp_path):
    return json.loads((tmp_path / "reports" / "metrics.json").read_text())


def test_metrics_name_every_split_collection_and_member(board):
    _, tmp_path = board
    found = written(tmp_path)
    learned = {"blend", "gnn", "gbdt", "ceiling", "random", "ridge"}
    assert set(found) == {"valid", "test"}
    for split in found.values():
        assert set(split) == {*COLLECTIONS, "mean"}
        assert set(split["tile:xla"]) == learned | {"largest_tile"}
        assert all(set(split[name]) == learned | {"copy_count", "row_major"} for name in COLLECTIONS[1:])
        assert set(split["mean"]) == learned | {"copy_count", "row_major"}
    text = (tmp_path / "reports" / "metrics.json").read_text()
    assert text == json.dumps(found, indent=2, sort_keys=True) + "\n"


def test_the_mean_is_of_five_and_layout_baselines_take_largest_tile_on_tile(board):
    _, tmp_path = board
    test = written(tmp_path)["test"]
    for member, tile in (("blend", "blend"), ("ridge", "ridge"), ("copy_count", "largest_tile")):
        parts = [test["tile:xla"][tile]] + [test[name][member] for name in COLLECTIONS[1:]]
        assert test["mean"][member] == pytest.approx(np.mean(parts), abs=2e-6)
    assert test["mean"]["ceiling"] == pytest.approx(0.95)


def test_the_blends_test_scores_are_those_of_the_submission_it_writes(board, made):
    result, tmp_path = board
    path = result["path"]
    scored = score.evaluate(submission.read(path), score.read_solution(made / "solution.csv"))
    for collection, graphs in scored.items():
        assert written(tmp_path)["test"][collection]["blend"] == pytest.approx(np.mean(list(graphs.values())), abs=1e-6)


def test_intervals_hold_the_score_and_seeds_their_spread(board):
    rows = board[0]["scores"]
    assert rows.filter((pl.col("low") > pl.col("score")) | (pl.col("high") < pl.col("score"))).is_empty()
    one = rows.filter((pl.col("collection") == "tile:xla") & (pl.col("split") == "test"))
    assert one["graphs"].to_list() == [4] * one.height
    learned = rows.filter(pl.col("member").is_in(["blend", "gnn", "gbdt"]))
    assert set(learned["seeds"]) == {3} and learned["seed_sd"].min() > 0
    assert set(rows.filter(~pl.col("member").is_in(["blend", "gnn", "gbdt"]))["seeds"]) == {None}


def test_the_lead_is_the_difference_of_the_scores_within_its_interval(board):
    result, _ = board
    rows = result["scores"].filter((pl.col("split") == "test") & (pl.col("collection") == "mean"))
    score_of = dict(rows.select("member", "score").iter_rows())
    versus = result["versus"].filter((pl.col("split") == "test") & (pl.col("collection") == "mean"))
    assert sorted(versus["member"]) == sorted(score_of.keys() - {"blend", "ceiling"})
    for row in versus.iter_rows(named=True):
        assert row["lead"] == pytest.approx(score_of["blend"] - score_of[row["member"]])
        assert row["low"] <= row["lead"] <= row["high"]


def test_the_official_configurations_are_what_valid_is_judged_by(made, tmp_path, run):
    """Of every member and baseline; test is judged by all, and the submission is the same."""
    path = tmp_path / "copy"
    shutil.copytree(made, path)
    places = {graph: [3, 1, 3, 0] for graph in dataset.graph_ids(path / "data", "layout:nlp:default", "valid")}
    collections = ["layout:nlp:default"]
    for listed in ({"nlp_default": places}, {}):
        folder = tmp_path / f"indices{len(listed)}"
        folder.mkdir()
        for name, content in listed.items():
            (folder / f"{name}.json").write_text(json.dumps(content))
        blend.run(
            collections=collections,
            members=MEMBERS,
            rule="borda",  # has no weights that valid would choose
            eval_indices=str(folder) if listed else None,
            data=str(path / "data"),
        )
        found = run(path, collections=collections)
        table = {
            row[:3]: row[3:] for row in found["scores"].select("split", "collection", "member", "score").iter_rows()
        }
        if listed:
            judged, submitted, notes = table, submission.read(found["path"]), found["notes"]
    differ = {key[0] for key, value in table.items() if judged[key] != value}
    assert differ == {"valid"} and submission.read(found["path"]) == submitted
    assert any("official protocol" in note for note in notes) and not any("official" in n for n in found["notes"])
    random = fake_baselines(path / "data", "layout:nlp:default").filter(split="valid", member="random")
    (graphs,) = {tuple(dataset.graphs(path / "data", "layout:nlp:default", "valid"))}
    by_hand = [
        metrics.kendall(scores.by_graph(random.filter(graph=g.id))[g.id][[3, 1, 3, 0]], g.target[[3, 1, 3, 0]])
        for g in graphs
    ]
    assert judged["valid", "layout:nlp:default", "random"][0] == pytest.approx(np.nanmean(by_hand))


def test_ids_other_than_the_sample_submissions_are_refused_before_anything_is_written(made, tmp_path, run):
    sample = tmp_path / "sample_submission.csv"
    expected = submission.expected(made / "data", COLLECTIONS)
    sample.write_text("ID,TopConfigs\n" + "".join(f"{name},0;1;2;3;4\n" for name in [*expected, "tile:xla:more"]))
    with pytest.raises(InputError, match="sample_submission.csv: ID tile:xla:more is no test graph"):
        run(sample_submission=str(sample))
    assert not (tmp_path / "reports").exists()
    sample.write_text("ID,TopConfigs\n" + "".join(f"{name},0\n" for name in expected))
    assert len(submission.read(run(sample_submission=str(sample))["path"])) == len(expected)


def test_an_examples_picture_has_some_of_very_many_configurations(monkeypatch):
    name, count = "layout:xla:random", 101
    true = np.random.default_rng(0).permutation(count) + 1.0
    board = leaderboard.Board(
        [name],
        targets={("test", name): {"a": true}},
        members={("test", name, "blend"): {"a": 2 * true}},
        values={("test", name, "blend"): {"a": 1.0}},
    )
    monkeypatch.setattr(leaderboard, "SHOWN_PLACES", 11)
    frame = leaderboard._examples(board).filter(which="best")
    assert frame["true"].to_list() == frame["predicted"].to_list() == [1.0 + 10 * place for place in range(11)]
    panel, *_ = figures.rank_scatter(frame).axes
    assert list(panel.get_lines()[0].get_xdata()) == [1, count]
    monkeypatch.setattr(leaderboard, "SHOWN_PLACES", count)
    assert leaderboard._examples(board).filter(which="best")["true"].to_list() == sorted(true)


def board_of(values, **members):
    """A board of the blend, and of members given so: {collection: {graph: value}} on test."""
    return leaderboard.Board(
        list(values),
        list(members),
        targets={("test", name): dict.fromkeys(part) for name, part in values.items()},
        values={
            ("test", name, member): part
            for member, each in {"blend": values, **members}.items()
            for name, part in each.items()
        },
    )


def test_an_interval_of_two_graphs_by_hand():
    # Of two graphs a quarter of the draws is the one twice, a quarter the other: the percentiles are the two values.
    board = board_of({"layout:xla:random": {"a": 0.2, "b": 0.8}})
    row = leaderboard._scores(board, leaderboard._resamples(board)).row(0, named=True)
    assert (row["score"], row["low"], row["high"], row["graphs"]) == (0.5, 0.2, 0.8, 2)


def test_the_lead_is_paired_over_the_same_draws():
    blended = {"layout:xla:random": {"a": 0.2, "b": 0.8}}
    behind = {"layout:xla:random": {"a": 0.1, "b": 0.7}}
    mixed = {"layout:xla:random": {"a": 0.4, "b": 0.4}}
    board = board_of(blended, gnn=behind, gbdt=mixed)
    rows = leaderboard._versus(board, leaderboard._resamples(board)).filter(collection="layout:xla:random")
    found = {row["member"]: (row["lead"], row["low"], row["high"]) for row in rows.iter_rows(named=True)}
    # What is hard about a program falls on both: behind by a tenth on each is behind by a tenth in every draw.
    assert found["gnn"] == pytest.approx((0.1, 0.1, 0.1))
    assert found["gbdt"] == pytest.approx((0.1, -0.2, 0.4))
    shown = figures.wide(rows, "member", "lead", interval=True)
    assert shown.rows() == [
        ("gnn", "+0.100 [+0.100,\N{NO-BREAK SPACE}+0.100]"),
        ("gbdt", "+0.100 [-0.200,\N{NO-BREAK SPACE}+0.400]"),
    ]


def test_seeds_by_hand():
    values = {"layout:xla:random": {"a": 0.2, "b": 0.8}, "tile:xla": {"k": 0.9, "l": 0.7}}
    board = board_of(values, gnn=values)
    board.seeds["test", "layout:xla:random", "gnn"] = {0: 0.5, 1: 0.7}
    board.seeds["test", "tile:xla", "gnn"] = {1: 0.9, 2: 0.8}
    rows = leaderboard._scores(board, leaderboard._resamples(board)).filter(member="gnn")
    found = {row["collection"]: (row["seeds"], row["seed_mean"], row["seed_sd"]) for row in rows.iter_rows(named=True)}
    # Of two values the standard deviation is their distance over the root of two; seed 1 alone is in both collections.
    assert found["layout:xla:random"] == (2, pytest.approx(0.6), pytest.approx(0.2 / 2**0.5))
    assert found["mean"] == (1, pytest.approx((0.7 + 0.9) / 2), None)
    assert figures.seed_table(rows, "test").rows()[0][:3] == (
        "gnn",
        "2",
        "0.600\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}0.141",
    )


def test_kin_by_hand():
    graphs = pl.DataFrame(
        {
            "split": ["test"] * 4,
            "collection": ["layout:xla:random"] * 4,
            "graph": ["a", "b", "c", "d"],
            "kin": ["sibling", "sibling", "unseen", None],
            "blend": [0.2, 0.8, 0.4, 0.9],
            "gnn": [None, 0.6, None, 0.9],
        }
    )
    rows = leaderboard._kin(graphs, ["blend", "gnn"])
    keys = ("kin", "member", "graphs", "score", "low", "high")
    assert rows.select(keys).rows() == [
        ("sibling", "blend", 2, 0.5, 0.2, 0.8),
        ("sibling", "gnn", 1, 0.6, None, None),
        ("unseen", "blend", 1, 0.4, None, None),
    ]
    assert figures.kin_table(rows).rows() == [
        ("layout:xla:random", "sibling", "2", "0.500 [0.20,\N{NO-BREAK SPACE}0.80]", "0.600"),
        ("layout:xla:random", "unseen", "1", "0.400", None),
    ]


def test_both_searches_of_a_source_see_the_same_draws():
    one = dict(zip("abcdefgh", np.linspace(-1, 1, 8), strict=True))
    opposite = {graph: -value for graph, value in reversed(one.items())}
    board = board_of({"layout:xla:random": one, "layout:xla:default": opposite})
    drawn = leaderboard._resamples(board)
    assert drawn["test", "layout:xla:random", "blend"].std() > 0.1
    assert np.abs(drawn["test", "mean", "blend"]).max() < 1e-12


def test_other_sources_are_drawn_apart():
    values = dict(zip("abcdefgh", np.linspace(-1, 1, 8), strict=True))
    names = ("tile:xla", "layout:xla:random", "layout:nlp:random")
    drawn = leaderboard._resamples(board_of(dict.fromkeys(names, values)))
    correlations = np.corrcoef([drawn["test", name, "blend"] for name in names])
    assert np.abs(correlations - np.eye(3)).max() < 0.1


def test_a_program_that_one_search_lacks_is_absent_there():
    board = board_of({"layout:xla:random": {"a": 1.0, "b": 1.0}, "layout:xla:default": {"a": 0.0, "b": 0.0, "c": 1.0}})
    drawn = leaderboard._resamples(board)
    assert set(drawn["test", "layout:xla:random", "blend"]) == {1.0}
    assert sorted(set(drawn["test", "layout:xla:default", "blend"])) == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_single_seeds_of_the_blend_are_scored_as_blended(board, made):
    row = board[0]["scores"].filter(split="test", collection="layout:nlp:random", member="blend").row(0, named=True)
    truth = score.read_solution(made / "solution.csv")
    table = scores.read(made / "data" / "blend" / "seeds.parquet").filter(split="test", collection="layout:nlp:random")
    means = []
    for (_,), single in table.drop("collection").sort("seed").group_by(["seed"], maintain_order=True):
        ranked = scores.by_graph(single)
        means.append(np.mean([metrics.kendall(ranked[name], truth[f"layout:nlp:random:{name}"]) for name in ranked]))
    assert row["seed_mean"] == pytest.approx(np.mean(means)) and row["seed_sd"] == pytest.approx(np.std(means, ddof=1))


def test_other_rules_are_scored_and_the_used_one_is_the_blend(board, made):
    result, _ = board
    rules = result["rules"]
    assert set(rules["rule"]) == {"rank", "borda", "minmax", "zscore", "single"} and result["rule"] == "rank"
    assert set(rules["collection"]) == {*COLLECTIONS, "mean"} and set(rules["split"]) == {"valid", "test"}
    used = rules.filter(rule="rank")
    assert set(used["lead"]) == set(used["low"]) == set(used["high"]) == {0.0}
    truth = score.read_solution(made / "solution.csv")
    ranked = scores.read(made / "data" / "blend" / "rules.parquet").filter(
        split="test", collection="layout:nlp:random", member="minmax"
    )
    values = [
        metrics.kendall(each, truth[f"layout:nlp:random:{name}"])
        for name, each in scores.by_graph(ranked.drop("collection")).items()
    ]
    row = rules.filter(split="test", collection="layout:nlp:random", rule="minmax").row(0, named=True)
    assert row["score"] == pytest.approx(np.mean(values))
    blended = result["scores"].filter(split="test", collection="layout:nlp:random", member="blend")["score"][0]
    assert row["lead"] == pytest.approx(blended - row["score"])
    assert pl.read_csv(result["others"]).height == rules.height


def test_no_rule_is_in_the_metrics(board):
    _, tmp_path = board
    assert not {"rank", "borda", "minmax", "zscore", "single"} & set(written(tmp_path)["test"]["mean"])


def test_two_members_disagree_graph_by_graph(board, made):
    result, _ = board
    rows = result["disagreement"].filter(split="test", collection="tile:xla")
    assert rows["graph"].to_list() == [f"test_{number}" for number in range(4)]
    graphs = result["graphs"].filter(split="test", collection="tile:xla")
    assert rows["first_score"].to_list() == graphs["gnn"].to_list()
    assert rows["second_score"].to_list() == graphs["gbdt"].to_list()
    ranked = [
        scores.by_graph(
            scores.ranking(scores.read(made / "data" / name / "tile-xla" / "scores.parquet")).filter(split="test")
        )
        for name in MEMBERS
    ]
    assert rows["tau"][2] == pytest.approx(metrics.kendall(ranked[0]["test_2"], ranked[1]["test_2"]))
    above = sum(row["blend"] > max(row["first_score"], row["second_score"]) for row in rows.iter_rows(named=True))
    assert f"the blend is above both on {above} and" in findings.disagreement(rows)


def test_siblings_and_unseen_families_stand_apart(board):
    result, _ = board
    kin = result["kin"].filter((pl.col("split") == "test") & (pl.col("member") == "blend"))
    assert set(kin["kin"]) == {"sibling", "unseen"} and set(kin["graphs"]) == {2}
    row = kin.filter((pl.col("collection") == "layout:nlp:random") & (pl.col("kin") == "unseen"))["score"][0]
    graphs = result["graphs"].filter((pl.col("collection") == "layout:nlp:random") & (pl.col("kin") == "unseen"))
    assert row == pytest.approx(graphs.filter(pl.col("split") == "test")["blend"].mean())


def test_same_input_same_bytes(run, made, tmp_path):
    run()
    files = [tmp_path / "reports" / "metrics.json", tmp_path / "reports" / "leaderboard.csv"]
    files += [made / "data" / "leaderboard" / name for name in ("submission.csv", "rules.csv")]
    first = [file.read_bytes() for file in files]
    result = run()
    assert [file.read_bytes() for file in files] == first
    drawings = [figures.svg(figures.kin_bars(result["kin"], "test", label=result["label"])) for _ in range(2)]
    assert drawings[0] == drawings[1]


@pytest.mark.parametrize("solution", [None, "absent.csv", "foreign"])
def test_without_run_times_there_are_no_test_scores_but_a_submission(run, made, tmp_path, solution):
    if solution == "foreign":
        solution = tmp_path / "foreign.csv"
        solution.write_text("ID,Runtimes\ntile:xla:another,1;2\n")
    result = run(solution=solution and str(solution))
    assert set(written(tmp_path)) == {"valid"} and result["splits"] == ["valid"]
    assert "no test scores" in findings.headline(result)
    submission.validate(submission.read(result["path"]), submission.expected(made / "data", COLLECTIONS))


def test_without_programs_there_is_no_ceiling_no_kin_and_no_label(run, tmp_path):
    result = run(programs=None)
    assert "ceiling" not in written(tmp_path)["test"]["mean"]
    assert result["label"] == "" and result["kin"].is_empty()
    assert "no ceiling" in findings.headline(result)


def test_a_collection_left_out(run, tmp_path):
    result = run(collections=["layout:nlp:random", "tile:xla"])
    assert set(written(tmp_path)["test"]) == {"tile:xla", "layout:nlp:random", "mean"}
    assert len(submission.read(result["path"])) == 8


def test_a_solution_of_other_configurations_is_refused(run, made, tmp_path):
    text = (made / "solution.csv").read_text()
    path = tmp_path / "short.csv"
    path.write_text(text[: text.rindex(";")] + "\n")
    with pytest.raises(InputError, match="short.csv: 7 run times of layout:nlp:default:test_3, which has 8"):
        run(solution=str(path))
    assert not (tmp_path / "reports").exists()


def test_programs_without_a_column_are_refused(run, made, tmp_path):
    path = tmp_path / "programs.csv"
    path.write_text((made / "programs.csv").read_text().replace("ceiling", "roof", 1))
    with pytest.raises(InputError, match="programs.csv: not a CSV with the columns"):
        run(programs=str(path))


def test_a_member_left_out_of_the_blend_is_not_read(run, made, tmp_path):
    samples.write_root(tmp_path, {"train": 2, "valid": 2, "test": 2})
    make(tmp_path, ["gbdt"])
    assert not (tmp_path / "data" / "gnn").exists()
    result = run(tmp_path)
    assert result["trained"] == ["gbdt"] and set(written(tmp_path)["test"]["tile:xla"]) == {
        *("blend", "gbdt", "ceiling", "random", "ridge", "largest_tile")
    }
    assert findings.disagreement(result["disagreement"]) == "There are no two members that could disagree."
    assert "of gbdt" not in findings.standing(result, "test")


def test_graphs_of_one_configuration_and_tied_run_times(run, tmp_path):
    """On layout:xla:random one valid graph orders nothing; on layout:nlp:random no graph at all does."""
    root = samples.write_root(tmp_path, {"train": 2, "valid": 2, "test": 2})
    change(tmp_path, root, "layout:xla:random", "valid", "valid_1", tied=True)
    change(tmp_path, root, "layout:xla:random", "test", "test_1", configurations=1)
    for split in ("valid", "test"):
        change(tmp_path, root, "layout:nlp:random", split, f"{split}_0", tied=True)
        change(tmp_path, root, "layout:nlp:random", split, f"{split}_1", configurations=1)
    change(tmp_path, root, "tile:xla", "test", "test_0", configurations=1)
    change(tmp_path, root, "tile:xla", "test", "test_1", tied=True)
    make(tmp_path)
    result = run(tmp_path)
    found = written(tmp_path)["test"]
    assert set(found["tile:xla"].values()) == {1.0, 0.95}  # no way to be slow; the ceiling is that of the programs
    assert "blend" in found["layout:xla:random"] and set(found["layout:nlp:random"]) == {"ceiling"}
    assert set(found["mean"]) == {"ceiling"}
    row = result["scores"].filter(split="test", collection="layout:xla:random", member="blend").row(0, named=True)
    assert (row["graphs"], row["low"]) == (1, None)
    listed = dict(submission.read(result["path"]))
    assert listed["layout:xla:random:test_1"] == [0] and listed["tile:xla:test_0"] == [0]
    assert sorted(listed["layout:nlp:random:test_0"]) == list(range(8))
    drawings, sentences = page(result)
    assert all(figures.svg(drawing).count("<svg") == 1 for drawing in drawings) and told(sentences)
    assert findings.standing(result, "test") == "No mean on test: not every collection has a score there."


def change(path, root, collection, split, name, tied=False, configurations=8):
    """Writes a graph anew, of so many configurations or with equal run times, in its file and in the solution."""
    make_arrays = samples.tile_arrays if is_tile(collection) else samples.layout_arrays
    arrays = make_arrays(configurations=configurations, seed=5)
    if tied:
        arrays["config_runtime"][:] = 70_000
        arrays |= {key: np.full_like(arrays[key], 7) for key in arrays if key == "config_runtime_normalizers"}
    runtimes = arrays["config_runtime"] / arrays.get("config_runtime_normalizers", 1)
    if split == "test":
        arrays["config_runtime"] = np.zeros_like(arrays["config_runtime"])
    samples.save(folder(root, collection, split) / f"{name}.npz", arrays)
    lines = (path / "solution.csv").read_text().splitlines()
    key = f"{collection}:{name}"
    row = f"{key},{';'.join(f'{value:.10g}' for value in runtimes)}"
    text = "\n".join(row if line.startswith(f"{key},") else line for line in lines)
    (path / "solution.csv").write_text(text + "\n")


@pytest.mark.parametrize("stage", ["gnn", "blend"])
def test_an_absent_member_names_the_stage_to_run(run, made, stage):
    file = made / "data" / stage / ("scores.parquet" if stage == "blend" else "tile-xla/scores.parquet")
    hidden = file.rename(file.with_suffix(".hidden"))
    try:
        with pytest.raises(InputError, match=f"not there; run the {stage} stage for tile:xla"):
            run()
    finally:
        hidden.rename(file)


def test_a_blend_of_other_collections_names_the_one_to_run(run, made, tmp_path):
    shutil.copytree(made, tmp_path / "some")
    blend.run(collections=["layout:nlp:random"], members=MEMBERS, data=str(tmp_path / "some" / "data"))
    with pytest.raises(InputError, match="weights.json: holds no tile:xla; run the blend stage with it"):
        run(tmp_path / "some")
    (tmp_path / "some" / "data" / "blend" / "weights.json").write_text("{")
    with pytest.raises(InputError, match="weights.json: not there or damaged; run the blend stage for tile:xla"):
        run(tmp_path / "some")


def page(result):
    """Every figure of the report, and its sentences."""
    last = result["splits"][-1]
    parted = result["disagreement"].filter(split=last)
    drawings = [figures.score_bars(result["scores"], last), figures.buys_lines(result["buys"], last)]
    drawings.append(figures.disagreement(parted))
    if len(result["kin"]):
        drawings.append(figures.kin_bars(result["kin"], last))
    if len(result["examples"]):
        drawings.append(figures.rank_scatter(result["examples"]))
    sentences = [findings.headline(result), findings.examples(result), findings.disagreement(parted)]
    for say in (findings.standing, findings.lead, findings.seeds, findings.kinship, findings.purchase, findings.rules):
        sentences.append(say(result, last))
    return drawings, sentences


def told(sentences):
    return all(sentence.endswith(".") and "nan" not in sentence and "None" not in sentence for sentence in sentences)


def test_every_figure_and_sentence_can_be_made(board):
    drawings, sentences = page(board[0])
    assert len(drawings) == 5 and told(sentences)
    assert all(figures.svg(drawing).count("<svg") == 1 for drawing in drawings)


@pytest.mark.parametrize(
    ("parts", "count"), [({"programs": None}, 4), ({"solution": None}, 5), ({"collections": ["tile:xla"]}, 4)]
)
def test_figures_and_sentences_without_a_part(run, parts, count):
    result = run(**parts)
    last = result["splits"][-1]
    drawings, sentences = page(result)
    assert len(drawings) == count and told(sentences)
    shown = figures.table(figures.wide(result["scores"].filter(split=last), "member", "score", interval=True))
    assert shown.index("<td>blend") < shown.index("<td>gnn") < shown.index("<td>random")
    assert figures.seed_table(result["scores"], last)["member"].to_list() == ["blend", "gnn", "gbdt"]


@pytest.fixture(scope="module")
def lonely(tmp_path_factory):
    """A folder as `made` with one valid and one test graph in each collection."""
    path = tmp_path_factory.mktemp("lonely")
    samples.write_root(path, {"train": 2, "valid": 1, "test": 1})
    return make(path)


@pytest.mark.parametrize("test", [True, False])
def test_one_graph_in_each_collection_has_a_score_but_no_interval(run, lonely, test):
    result = run(lonely, **({} if test else {"solution": None}))
    last = result["splits"][-1]
    assert last == ("test" if test else "valid")
    assert result["scores"]["low"].null_count() == result["scores"].height
    assert result["versus"]["high"].null_count() == result["versus"].height > 0
    assert result["kin"]["low"].null_count() == result["kin"].height
    assert all("nan" not in figures.svg(drawing) for drawing in page(result)[0])
    for name, row, value in (("scores", "member", "score"), ("versus", "member", "lead"), ("rules", "rule", "lead")):
        shown = figures.wide(result[name].filter(split=last), row, value, interval="low" in result[name].columns)
        assert "[" not in figures.table(shown)
    assert "5 graphs, too few in a collection for an interval" in findings.standing(result, last)
    assert "ahead of gnn" not in findings.lead(result, last) and "do not settle it" in findings.lead(result, last)


def test_the_standing_says_what_the_ceiling_is(board):
    text = findings.standing(board[0], "test")
    assert "what one timing pass scores as a prediction of the other. Perfect knowledge could score somewhat" in text


@pytest.mark.parametrize(
    ("taus", "words"),
    [
        ((0.9, 0.6, 0.3), ("at best it follows the times closely", "it follows the times roughly", "times loosely")),
        ((0.3, 0.1, -0.5), ("at best it follows the times loosely", "it hardly follows", "at worst it runs against")),
        ((0.4, 0.4, 0.4), ("one layout graph to show on test: it follows the times loosely in layout:xla:random:g",)),
    ],
)
def test_the_examples_are_described_by_their_tau(taus, words):
    frame = pl.DataFrame({"which": ["best", "median", "worst"], "score": taus}).with_columns(
        split=pl.lit("test"), collection=pl.lit("layout:xla:random"), graph=pl.lit("g")
    )
    text = findings.examples({"examples": frame})
    assert all(word in text for word in words) and ("closely" in text) == (taus[0] >= 0.75)


def test_tables_escape_text_and_dash_what_is_absent():
    shown = figures.table(pl.DataFrame({"a<b": ["x&y", None], "v": [0.12345, 2.0]}))
    assert (
        "<th>a&lt;b</th>" in shown and "<td>x&amp;y</td><td>0.123</td>" in shown and "<td>–</td><td>2.000</td>" in shown
    )


def test_what_each_ranking_buys_from_one_to_all(board):
    result, _ = board[0], None
    for (split, collection, member), rows in result["buys"].group_by(["split", "collection", "member"]):
        values = rows.sort("k")["closeness"].to_numpy()
        assert (np.diff(values) >= -1e-12).all() and values[-1] == pytest.approx(1), (split, collection, member)
        assert rows["k"].min() == 1 and 5 in rows["k"].to_list() and rows["k"].max() == 8
    first = result["buys"].filter(split="test", k=1)
    assert {"blend", "gnn", "gbdt", "random", "ridge"} <= set(first["member"]) and "ceiling" not in set(first["member"])


def test_what_the_submission_lacks_is_one_line(run, tmp_path, capsys):
    """The competition's sample has all five collections, and is held against those that are there."""
    ids = [f"{collection}:test_{graph}" for collection in COLLECTIONS for graph in range(SPLIT_GRAPHS["test"])]
    sample = tmp_path / "sample.csv"
    sample.write_text("ID,TopConfigs\n" + "".join(f"{identifier},0;1\n" for identifier in ids))
    result = run(collections=["layout:nlp:random", "tile:xla"], sample_submission=str(sample))
    line = (
        "The submission lacks layout:xla:random, layout:xla:default, layout:nlp:default; "
        "the competition's has all five collections."
    )
    assert capsys.readouterr().err == f"{line}\n" and result["notes"] == [line] and line in findings.headline(result)
    assert run(sample_submission=str(sample))["notes"] == [] and capsys.readouterr().err == ""


def test_the_front_answers_and_links(board):
    result = board[0]
    text = findings.front(result)
    assert [
        title for title in ("What was predicted?", "How well?", "Against what?", "May I believe it?") if title in text
    ]
    assert "Measured on XLA:CPU, not TPU." in text and "90% interval" in text and "Not covered" in text
    score = result["scores"].filter(split="test", collection="mean", member="blend")["score"][0]
    assert f"<strong>{score:.3f}</strong>" in text
    links = findings.pages(result)
    assert 'href="gnn-tile-xla.html"' in links and 'href="configuration-layout-xla-random.html"' in links
    assert 'href="configuration-tile-xla.html"' in links and 'href="leaderboard.html"' not in links


def test_the_front_without_test_scores_says_that_valid_flatters(run):
    text = findings.front(run(solution=None, programs=None))
    assert "which flatters" in text and "XLA" not in text and "of 1 on valid" in text


def odd_graphs():
    return pl.DataFrame(
        {
            "collection": ["layout:xla:random"] * 9,
            "graph": list("abcdefghi"),
            "blend": [0.9, 0.8, 0.7, 0.6, 0.55, 0.5, 0.4, 0.3, 0.2],
            "ridge": [0.1] * 8 + [0.3],
            "kin": ["sibling"] * 8 + ["unseen"],
            "spread": [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.5],
            "nodes": [50] * 9,
            "configurable": [5, 6, 7, 8, 1, 9, 10, 11, 12],
            "ceiling": [None] * 9,
        },
        schema_overrides={"ceiling": pl.Float64},
    )


def test_what_is_odd_by_hand():
    result = {"odd": odd_graphs()}
    table = findings.odd(result)
    assert table["graph"].to_list() == ["a", "b", "h", "i"] and table[""].to_list() == ["best"] * 2 + ["worst"] * 2
    odd = dict(table.select("graph", "odd").iter_rows())
    assert odd["a"] == "widest run times of 9 (9.00)"
    assert odd["i"] == "family never trained on, a baseline is ahead, most configurable nodes of 9 (12)"
    assert odd["b"] in ("2nd widest run times of 9 (8.00)", "nothing stands out")
    text = findings.oddities(result)
    assert "slowest / fastest configuration (Spearman's rank correlation +1.00" in text
    assert "Of the 2 worst graphs in the table 1 are of families never trained on, of the 2 best 0." in text


def test_how_many_to_time_by_hand():
    rows = [("blend", 1, 0.5), ("blend", 4, 0.995), ("random", 1, 0.2), ("random", 4, 0.9), ("random", 8, 1.0)]
    rows += [("blend", 8, 1.0), ("ridge", 1, 0.5), ("ridge", 4, 0.98), ("ridge", 8, 1.0)]
    buys = pl.DataFrame(rows, schema=["member", "k", "closeness"], orient="row")
    buys = buys.with_columns(split=pl.lit("test"), collection=pl.lit("tile:xla"))
    text = findings.budgets({"buys": buys, "trained": []}, "test")
    assert "by the blend: tile:xla 4 (random 8, ridge 8)" in text and "No baseline does with as few" in text
