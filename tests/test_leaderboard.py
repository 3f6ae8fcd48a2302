"""The leaderboard on made-up programs: metrics, intervals, submission and what is absent without run times."""

import json

import numpy as np
import polars as pl
import pytest

from stages import baselines, figures, findings, leaderboard, prune, score, scores, submission
from stages.collection import COLLECTIONS, is_tile, slug
from stages.errors import InputError
from tests import samples

SPLIT_GRAPHS = {"train": 2, "valid": 3, "test": 4}


def fake(split, graph, member, seed, configurations=8):
    rng = np.random.default_rng([seed + 1, len(member), *map(ord, split + graph)])
    return scores.frame(split, graph, np.arange(configurations), member, seed, rng.permutation(configurations) / 8)


def fake_member(collection, member, seeds):
    graphs = [(split, f"{split}_{number}") for split in ("valid", "test") for number in range(SPLIT_GRAPHS[split])]
    return pl.concat(
        [fake(split, collection + graph, member, seed) for split, graph in graphs for seed in seeds]
    ).with_columns(pl.col("graph").str.strip_prefix(collection))


def fake_baselines(data, collection):
    names = (
        ("random", "ridge", "largest_tile") if is_tile(collection) else ("random", "ridge", "copy_count", "row_major")
    )
    return pl.concat([fake_member(collection, name, [-1]) for name in names])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with packed graphs, solution and programs, and the scores of every member."""
    folder = tmp_path_factory.mktemp("leaderboard")
    root = samples.write_root(folder, SPLIT_GRAPHS)
    data = folder / "data"
    blended = []
    for collection in COLLECTIONS:
        prune.run(collection=collection, root=str(root), data=str(data))
        for member in ("gnn", "gbdt"):
            scores.write(fake_member(collection, member, range(3)), data / member / slug(collection) / "scores.parquet")
        table = fake_member(collection, "blend", [-1])
        blended.append(table.select(pl.lit(collection).alias("collection"), pl.all()))
    scores.write(pl.concat(blended), data / "blend" / "scores.parquet")
    return folder


@pytest.fixture
def run(made, tmp_path, monkeypatch):
    """Calls leaderboard.run with the made files and its reports in a folder of their own."""
    monkeypatch.setattr(baselines, "table", fake_baselines)
    parameters = {
        "collections": list(COLLECTIONS),
        "solution": str(made / "solution.csv"),
        "programs": str(made / "programs.csv"),
        "data": str(made / "data"),
        "reports": str(tmp_path / "reports"),
    }
    return lambda **changes: leaderboard.run(**(parameters | changes))


def metrics(tmp_path):
    return json.loads((tmp_path / "reports" / "metrics.json").read_text())


def test_metrics_name_every_split_collection_and_member(run, tmp_path):
    run()
    found = metrics(tmp_path)
    learned = {"blend", "gnn", "gbdt", "ceiling", "random", "ridge"}
    assert set(found) == {"valid", "test"}
    for split in found.values():
        assert set(split) == {*COLLECTIONS, "mean"}
        assert set(split["tile:xla"]) == learned | {"largest_tile"}
        assert all(set(split[name]) == learned | {"copy_count", "row_major"} for name in COLLECTIONS[1:])
        assert set(split["mean"]) == learned | {"copy_count", "row_major"}
    text = (tmp_path / "reports" / "metrics.json").read_text()
    assert text == json.dumps(found, indent=2, sort_keys=True) + "\n"


def test_the_mean_is_of_five_and_layout_baselines_take_largest_tile_on_tile(run, tmp_path):
    run()
    test = metrics(tmp_path)["test"]
    for member, tile in (("blend", "blend"), ("ridge", "ridge"), ("copy_count", "largest_tile")):
        parts = [test["tile:xla"][tile]] + [test[name][member] for name in COLLECTIONS[1:]]
        assert test["mean"][member] == pytest.approx(np.mean(parts), abs=2e-6)
    assert test["mean"]["ceiling"] == pytest.approx(0.95)


def test_the_blends_test_scores_are_those_of_the_submission_it_writes(run, made, tmp_path):
    path = run()["path"]
    scored = score.evaluate(submission.read(path), score.read_solution(made / "solution.csv"))
    for collection, graphs in scored.items():
        assert metrics(tmp_path)["test"][collection]["blend"] == pytest.approx(np.mean(list(graphs.values())), abs=1e-6)


def test_intervals_hold_the_score_and_seeds_their_spread(run):
    rows = run()["scores"]
    assert rows.filter((pl.col("low") > pl.col("score")) | (pl.col("high") < pl.col("score"))).is_empty()
    one = rows.filter((pl.col("collection") == "tile:xla") & (pl.col("split") == "test"))
    assert one["graphs"].to_list() == [4] * one.height
    learned = rows.filter(pl.col("member").is_in(["gnn", "gbdt"]))
    assert set(learned["seeds"]) == {3} and learned["seed_sd"].min() > 0
    assert set(rows.filter(~pl.col("member").is_in(["gnn", "gbdt"]))["seeds"]) == {None}


def test_the_lead_is_the_difference_of_the_scores_within_its_interval(run):
    result = run()
    rows = result["scores"].filter((pl.col("split") == "test") & (pl.col("collection") == "mean"))
    score_of = dict(rows.select("member", "score").iter_rows())
    versus = result["versus"].filter((pl.col("split") == "test") & (pl.col("collection") == "mean"))
    assert sorted(versus["member"]) == sorted(score_of.keys() - {"blend", "ceiling"})
    for row in versus.iter_rows(named=True):
        assert row["lead"] == pytest.approx(score_of["blend"] - score_of[row["member"]])
        assert row["low"] <= row["lead"] <= row["high"]


def board_of(values):
    """A board whose only member is the blend: {collection: {graph: value}} on test."""
    return leaderboard.Board(
        list(values),
        targets={("test", name): dict.fromkeys(part) for name, part in values.items()},
        values={("test", name, "blend"): part for name, part in values.items()},
    )


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


def test_siblings_and_unseen_families_stand_apart(run):
    result = run()
    kin = result["kin"].filter((pl.col("split") == "test") & (pl.col("member") == "blend"))
    assert set(kin["kin"]) == {"sibling", "unseen"} and set(kin["graphs"]) == {2}
    row = kin.filter((pl.col("collection") == "layout:nlp:random") & (pl.col("kin") == "unseen"))["score"][0]
    graphs = result["graphs"].filter((pl.col("collection") == "layout:nlp:random") & (pl.col("kin") == "unseen"))
    assert row == pytest.approx(graphs.filter(pl.col("split") == "test")["blend"].mean())


def test_same_input_same_bytes(run, made, tmp_path):
    run()
    files = [tmp_path / "reports" / "metrics.json", tmp_path / "reports" / "leaderboard.csv"]
    files.append(made / "data" / "leaderboard" / "submission.csv")
    first = [file.read_bytes() for file in files]
    result = run()
    assert [file.read_bytes() for file in files] == first
    drawings = [figures.svg(figures.score_bars(result["scores"], "test", result["label"])) for _ in range(2)]
    assert drawings[0] == drawings[1]


@pytest.mark.parametrize("solution", [None, "absent.csv", "foreign"])
def test_without_run_times_there_are_no_test_scores_but_a_submission(run, made, tmp_path, solution):
    if solution == "foreign":
        solution = tmp_path / "foreign.csv"
        solution.write_text("ID,Runtimes\ntile:xla:another,1;2\n")
    result = run(solution=solution and str(solution))
    assert set(metrics(tmp_path)) == {"valid"} and result["splits"] == ["valid"]
    assert "no test scores" in findings.headline(result)
    submission.validate(submission.read(result["path"]), submission.expected(made / "data", COLLECTIONS))


def test_without_programs_there_is_no_ceiling_no_kin_and_no_label(run, tmp_path):
    result = run(programs=None)
    assert "ceiling" not in metrics(tmp_path)["test"]["mean"]
    assert result["label"] == "" and result["kin"].is_empty()
    assert "no ceiling" in findings.headline(result)


def test_a_collection_left_out(run, tmp_path):
    result = run(collections=["layout:nlp:random", "tile:xla"])
    assert set(metrics(tmp_path)["test"]) == {"tile:xla", "layout:nlp:random", "mean"}
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


@pytest.mark.parametrize("stage", ["gnn", "blend"])
def test_an_absent_member_names_the_stage_to_run(run, made, stage):
    file = made / "data" / stage / ("scores.parquet" if stage == "blend" else "tile-xla/scores.parquet")
    hidden = file.rename(file.with_suffix(".hidden"))
    try:
        with pytest.raises(InputError, match=f"not there; run the {stage} stage for tile:xla"):
            run()
    finally:
        hidden.rename(file)


@pytest.mark.parametrize("parts", [{}, {"programs": None}, {"solution": None}, {"collections": ["tile:xla"]}])
def test_every_figure_and_sentence_can_be_made(run, parts):
    result = run(**parts)
    last = result["splits"][-1]
    drawings = [figures.score_bars(result["scores"], last), figures.buys_lines(result["buys"], last)]
    if len(result["kin"]):
        drawings.append(figures.kin_bars(result["kin"], last))
    if len(result["examples"]):
        drawings.append(figures.rank_scatter(result["examples"]))
    assert all(figures.svg(drawing).count("<svg") == 1 for drawing in drawings)
    sentences = [findings.headline(result), findings.examples(result)]
    for say in (findings.standing, findings.lead, findings.seeds, findings.kinship, findings.purchase):
        sentences.append(say(result, last))
    assert all(sentence.endswith(".") and "nan" not in sentence and "None" not in sentence for sentence in sentences)
    shown = figures.table(figures.score_table(result["scores"], last))
    assert shown.index("<td>blend") < shown.index("<td>gnn") < shown.index("<td>random")
    assert figures.seed_table(result["scores"], last)["member"].to_list() == ["gnn", "gbdt"]


@pytest.fixture(scope="module")
def lonely(made, tmp_path_factory):
    """The made folder with one valid and one test graph in each collection."""
    folder = tmp_path_factory.mktemp("lonely")
    data = folder / "data"
    root = samples.write_root(folder, {"train": 2, "valid": 1, "test": 1})
    for collection in COLLECTIONS:
        prune.run(collection=collection, root=str(root), data=str(data))
    for file in sorted((made / "data").glob("*/**/scores.parquet")):
        first = scores.read(file).filter(pl.col("graph").str.ends_with("_0"))
        scores.write(first, data / file.relative_to(made / "data"))
    return folder


@pytest.mark.parametrize("test", [True, False])
def test_one_graph_in_each_collection_has_a_score_but_no_interval(run, lonely, monkeypatch, test):
    monkeypatch.setattr(
        baselines, "table", lambda *given: fake_baselines(*given).filter(pl.col("graph").str.ends_with("_0"))
    )
    files = {name: str(lonely / f"{name}.csv") for name in ("solution", "programs")}
    result = run(data=str(lonely / "data"), **files | ({} if test else {"solution": None}))
    last = result["splits"][-1]
    assert last == ("test" if test else "valid")
    assert result["scores"]["low"].null_count() == result["scores"].height
    assert result["versus"]["high"].null_count() == result["versus"].height > 0
    drawings = [figures.score_bars(result["scores"], last), figures.kin_bars(result["kin"], last)]
    drawings += [figures.buys_lines(result["buys"], last), figures.rank_scatter(result["examples"])]
    assert all("nan" not in figures.svg(drawing) for drawing in drawings)
    assert "[" not in figures.table(figures.score_table(result["scores"], last))
    assert "5 graphs, too few in a collection for an interval" in findings.standing(result, last)
    assert "ahead of gnn" not in findings.lead(result, last) and "do not settle it" in findings.lead(result, last)


def test_the_standing_says_what_the_ceiling_is(run):
    text = findings.standing(run(), "test")
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
