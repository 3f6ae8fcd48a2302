"""The leaderboard on made-up programs: the submission, what is written, and what is absent without run times."""

import json
import shutil

import numpy as np
import pytest

from stages.blend import stage as blend
from stages.engine.errors import InputError
from stages.graphs import dataset
from stages.graphs.collection import COLLECTIONS, folder, is_tile
from stages.leaderboard import front, pictures, words
from stages.reporting import disagreement, figures
from stages.scoring import metrics, score, scores, submission
from tests.support import samples
from tests.support.ranking import (
    MEMBERS,
    SPLIT_GRAPHS,
    all_told,
    fake_baselines,
    make,
    page,
    written,
)


def test_the_blends_test_scores_are_those_of_the_submission_it_writes(board, made):
    result, tmp_path = board
    path = result.submission
    scored = score.evaluate(submission.read(path), score.read_solution(made / "solution.csv"))
    for collection, graphs in scored.items():
        assert written(tmp_path)["test"][collection]["blend"] == pytest.approx(np.mean(list(graphs.values())), abs=1e-6)


def test_the_official_configurations_are_what_valid_is_judged_by(made, tmp_path, run):
    """Of every member and baseline; test is judged by all, and the submission is the same."""
    path = tmp_path / "copy"
    shutil.copytree(made, path)
    indices = {graph: [3, 1, 3, 0] for graph in dataset.graph_ids(path / "data", "layout:nlp:default", "valid")}
    collections = ["layout:nlp:default"]
    for listed in ({"nlp_default": indices}, {}):
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
        result = run(path, collections=collections)
        table = {row[:3]: row[3:] for row in result.scores.select("split", "collection", "member", "score").iter_rows()}
        if listed:
            judged, submitted, notes = table, submission.read(result.submission), result.notes
    differ = {key[0] for key, value in table.items() if judged[key] != value}
    assert differ == {"valid"} and submission.read(result.submission) == submitted
    assert any("official protocol" in note for note in notes) and not any("official" in note for note in result.notes)
    random = fake_baselines(path / "data", "layout:nlp:default").filter(split="valid", member="random")
    valid = dataset.graphs(path / "data", "layout:nlp:default", "valid")
    by_hand = [
        metrics.kendall(scores.by_graph(random.filter(graph=g.id))[g.id][[3, 1, 3, 0]], g.target[[3, 1, 3, 0]])
        for g in valid
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
    assert len(submission.read(run(sample_submission=str(sample)).submission)) == len(expected)


def test_same_input_same_bytes(run, made, tmp_path):
    run()
    files = [tmp_path / "reports" / "metrics.json"]
    files += [made / "data" / "leaderboard" / name for name in ("submission.csv", "rules.csv", "graphs.csv")]
    first = [file.read_bytes() for file in files]
    result = run()
    assert [file.read_bytes() for file in files] == first
    drawings = [figures.svg(pictures.kin_bars(result.kin, "test", label=result.label)) for _ in range(2)]
    assert drawings[0] == drawings[1]


@pytest.mark.parametrize("solution", [None, "absent.csv", "foreign"])
def test_without_run_times_there_are_no_test_scores_but_a_submission(run, made, tmp_path, solution):
    if solution == "foreign":
        solution = tmp_path / "foreign.csv"
        solution.write_text("ID,Runtimes\ntile:xla:another,1;2\n")
    result = run(solution=solution and str(solution))
    assert set(written(tmp_path)) == {"valid"} and result.splits == ["valid"]
    assert "no test scores" in front.headline(result)
    submission.validate(submission.read(result.submission), submission.expected(made / "data", COLLECTIONS))


def test_without_programs_there_is_no_ceiling_no_kin_and_no_label(run, tmp_path):
    result = run(programs=None)
    assert "ceiling" not in written(tmp_path)["test"]["mean"]
    assert result.label == "" and result.kin.is_empty()
    assert "no ceiling" in front.headline(result)


def test_a_collection_left_out(run, tmp_path):
    result = run(collections=["layout:nlp:random", "tile:xla"])
    assert set(written(tmp_path)["test"]) == {"tile:xla", "layout:nlp:random", "mean"}
    assert len(submission.read(result.submission)) == 8


def test_a_member_left_out_of_the_blend_is_not_read(run, made, tmp_path):
    samples.write_root(tmp_path, {"train": 2, "valid": 2, "test": 2})
    make(tmp_path, ["gbdt"])
    assert not (tmp_path / "data" / "gnn").exists()
    result = run(tmp_path)
    assert result.trained == ["gbdt"] and set(written(tmp_path)["test"]["tile:xla"]) == {
        *("blend", "gbdt", "ceiling", "random", "ridge", "largest_tile")
    }
    assert disagreement.sentences(result.disagreement) == "There are no two members that could disagree."
    assert "of gbdt" not in words.standing(result, "test")


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
    by_collection = written(tmp_path)["test"]
    assert set(by_collection["tile:xla"].values()) == {
        1.0,
        0.95,
    }  # no way to be slow; the ceiling is that of the programs
    assert "blend" in by_collection["layout:xla:random"] and set(by_collection["layout:nlp:random"]) == {"ceiling"}
    assert set(by_collection["mean"]) == {"ceiling"}
    row = result.scores.filter(split="test", collection="layout:xla:random", member="blend").row(0, named=True)
    assert (row["graphs"], row["low"]) == (1, None)
    listed = dict(submission.read(result.submission))
    assert listed["layout:xla:random:test_1"] == [0] and listed["tile:xla:test_0"] == [0]
    assert sorted(listed["layout:nlp:random:test_0"]) == list(range(8))
    drawings, sentences = page(result)
    assert all(figures.svg(drawing).count("<svg") == 1 for drawing in drawings) and all_told(sentences)
    assert words.standing(result, "test") == "No mean on test: not every collection has a score there."


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
    assert capsys.readouterr().err == f"{line}\n" and result.notes == [line] and line in front.headline(result)
    assert run(sample_submission=str(sample)).notes == [] and capsys.readouterr().err == ""
