"""The ablation: what its rows are, that it goes on where it was, and what is made of them."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from benchmarks import ablate
from stages import gbdt, gnn, pad
from stages.blend import nested
from stages.engine.errors import InputError
from stages.gbdt.feature_table import feature_table
from stages.gnn.settings import Settings
from stages.graphs import dataset
from stages.graphs.collection import COLLECTIONS, slug
from stages.prune import stage as prune
from stages.runner import notebook, parameters
from stages.runner import stage as runner
from stages.scoring import scores
from stages.statistics import layout
from stages.studies import ablation
from tests.support import networks, samples, trees

PROJECT = Path(__file__).parents[2]
LAYOUT, OTHER = "layout:nlp:random", "layout:nlp:default"
NETWORK = {"seeds": 2, "width": 8, "layers": 1, "configurations": 4, "epochs": 2, "finetune": 1}
SEGMENTS = {"gst": "gst+efd", "segment_nodes": 5}
TREES = {"seeds": 2, "trees": 3, "leaves": 4, "objectives": ["ridge", "pairwise"]}
PARAMS = {
    "data": {"root": "sample/npz_all", "collections": {"layout-nlp-random": "layout/nlp/random"}},
    "prune": {"hops": 1, "neighbour_edges": False, "direction": "both", "duplicates": "first"},
    "pad": {"layout_padding": -1, "statistics": True},
    "gnn": networks.DEFAULTS | NETWORK | SEGMENTS,
    "gbdt": trees.DEFAULTS | TREES | {"searched": {"layout:*:default": True, "*": False}},
    "blend": {"members": ["gnn", "gbdt"], "rule": "rank"},
}
FEW = {"pruning": ["none"], "trees": ["without copies"], "blend": ["rank", "borda"]}


def forget():
    for function in (ablate._section, ablate.data_root, ablate.files_digest, ablate._scores_digest):
        function.cache_clear()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a tiny sample and parameters, to work in."""
    samples.write_root(tmp_path / "sample")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=False))
    monkeypatch.chdir(tmp_path)
    forget()
    yield tmp_path
    forget()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of that kind with what the pipeline makes there of one collection; nobody writes there."""
    folder = tmp_path_factory.mktemp("made")
    samples.write_root(folder / "sample")
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=False))
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        prune.run(collection=LAYOUT, root="sample/npz_all")
        pad.run(collection=LAYOUT)
        for stage in (gnn, gbdt):
            stage.run(collection=LAYOUT, knobs={})
    return folder


@pytest.fixture
def piped(project, made):
    """What the pipeline makes there of one collection."""
    shutil.copytree(made, project, dirs_exist_ok=True)
    return project


def wanted(groups=("default", "pruning", "trees", "blend"), seeds=2):
    names = [name for group in groups for name in FEW.get(group, [])]
    return ablate.jobs(list(groups), names, [LAYOUT], seeds)


def test_every_variant_of_the_issue_is_there():
    asked = ["pruning", "padding", "attention", "segments", "trees", "blend"]
    assert [group for group in ablate.VARIANTS if group not in ("default", ablate.FURTHER)] == asked
    assert set(asked) | {ablate.FURTHER} == set(ablation.GROUPS)
    rules = list(ablate.VARIANTS["blend"])
    assert rules == ["rank", "borda", "minmax", "zscore", "single"]


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_every_variant_is_one_the_stages_take(collection):
    for group, variants in ablate.VARIANTS.items():
        for name, variant in variants.items():
            if ablate.applies(group, name, collection) and group != "blend":
                Settings(**ablate.knobs("gnn", collection, variant))
                for stage in ("prune", "pad"):
                    given = {"collection": collection} | variant.get(stage, {})
                    parameters.of(notebook.read(PROJECT, stage), stage, given, PROJECT)
                changed = set(variant) - {"prune", "pad", "gnn", "without", "rule"}
                assert not changed


def test_variants_apply_where_they_change_something():
    assert ablate.applies("padding", "0", "tile:xla") and not ablate.applies("pruning", "none", "tile:xla")
    assert ablate.applies("network", "early fusion", "tile:xla") and not ablate.applies(
        "network", "early fusion", LAYOUT
    )
    assert ablate.applies("trees", "without search", OTHER) and not ablate.applies("trees", "without search", LAYOUT)
    assert ablate.jobs(["blend"], ["borda"], ["tile:xla", LAYOUT], 2) == [
        ("blend", "borda", collection, seed) for collection in ("tile:xla", LAYOUT) for seed in (0, 1)
    ]


def test_a_run_goes_on_with_what_is_missing(piped, monkeypatch):
    monkeypatch.setattr(nested, "family", lambda graph: graph)  # of two graphs, else of one family
    path = piped / "reports" / "ablation.csv"
    ablate.run(wanted(), workers=1, path=path)
    table = ablation.read(path)
    assert table.select("group", "variant").unique(maintain_order=True).rows() == [
        ("default", "network"),
        ("default", "trees"),
        ("pruning", "none"),
        ("trees", "without copies"),
        ("blend", "rank"),
        ("blend", "borda"),
        ("blend", "minmax"),
        ("blend", "zscore"),
        ("blend", "single"),
    ]
    assert table["seed"].to_list() == [0, 1] * 9 and set(table["split"]) == {"valid"}
    assert table["score"].is_between(-1, 1).all()
    assert (table.filter(pl.col("group") != "blend")["train_seconds"] > 0).all()
    # Again: nothing. Without a row: that row. Another parameter: all that it decides.
    monkeypatch.setattr(ablate, "make", None)
    written = path.read_bytes()
    ablate.run(wanted(), workers=1, path=path)
    assert path.read_bytes() == written
    kept = table.filter((pl.col("variant") != "none") | (pl.col("seed") != 1))
    path.write_text(kept.write_csv())
    assert ablate.Rows(path).missing(wanted()) == [("pruning", "none", LAYOUT, 1)]
    changed = PARAMS | {"gbdt": PARAMS["gbdt"] | {"trees": 4}}
    Path("params.yaml").write_text(yaml.safe_dump(changed, sort_keys=False))
    forget()
    stale = ablate.Rows(path).missing(wanted())
    assert {job[:2] for job in stale} == {("default", "trees"), ("trees", "without copies"), ("pruning", "none")}
    npz = next((piped / "sample").rglob("layout/nlp/random/valid/*.npz"))
    npz.write_bytes(npz.read_bytes() + b"x")
    forget()
    assert {job[0] for job in ablate.Rows(path).missing(wanted())} == {"default", "pruning", "trees"}


def test_the_default_scores_as_the_pipelines_stages_do(piped):
    path = piped / "ablation.csv"
    ablate.run(wanted(("default",)), workers=1, path=path)
    targets = {graph.id: graph.target for graph in dataset.graphs("data", LAYOUT, "valid")}
    for variant, member in (("network", "gnn"), ("trees", "gbdt")):
        table = scores.read(Path("data", member, slug(LAYOUT), "scores.parquet")).filter(pl.col("split") == "valid")
        for seed in (0, 1):
            graphs = scores.by_graph(table.filter(pl.col("seed") == seed))
            expected = np.mean([ablate.graph_score(LAYOUT, graphs[name], targets[name]) for name in targets])
            row = ablation.read(path).filter(pl.col("variant") == variant, pl.col("seed") == seed)
            assert row["score"].item() == pytest.approx(expected, abs=1e-5)


def test_without_scores_of_the_pipeline_it_says_what_to_run(project):
    with pytest.raises(InputError, match="scores.parquet: not there; run dvc repro first"):
        ablate.run(wanted(("blend",)), workers=1, path=project / "ablation.csv")


def test_blends_need_families_to_choose_on(piped):
    with pytest.raises(InputError, match="layout:nlp:random: valid has one family of programs"):
        ablate.blends(LAYOUT, 1)


def test_a_group_of_statistics_is_left_out(project):
    prune.run(collection=LAYOUT, root="sample/npz_all")
    whole = feature_table(dataset.graphs("data", LAYOUT, "train")[0], trees.settings())
    assert ablate.kept(whole, "").names == whole.names
    less = ablate.kept(whole, "copies")
    assert [name for name in whole.names if name not in less.names] == list(layout.GROUPS["copies"])
    np.testing.assert_array_equal(less.values[:, 0], whole.values[:, whole.names.index(less.names[0])])
    left = ablate.kept(whole, "program").names
    assert left == [name for name in whole.names if any(name in names for names in layout.GROUPS.values())]


# what is made of the rows


def table(**leads):
    """Rows of pruning: each variant's leads over the default of 0.5, by seed, on two collections."""
    rows = [("default", "network", name, seed, "valid", 0.5, 10.0, "") for name in (LAYOUT, OTHER) for seed in range(3)]
    rows += [
        ("pruning", variant, name, seed, "valid", 0.5 + lead, 20.0, "")
        for variant, values in leads.items()
        for name in (LAYOUT, OTHER)
        for seed, lead in enumerate(values)
    ]
    return pl.DataFrame(rows, schema=ablation.SCHEMA, orient="row")


def test_leads_are_seed_by_seed():
    found = ablation.summary(table(deep=(0.01, 0.02, 0.03)), "pruning")
    assert found.columns == ["variant", LAYOUT, OTHER, "lead", "error", "seconds"]
    assert found["variant"].to_list() == ["1 hop", "deep"]
    assert found.row(0)[1:] == pytest.approx((0.5, 0.5, 0, 0, 10))
    assert found.row(1)[1:] == pytest.approx((0.52, 0.52, 0.02, 0.01 / np.sqrt(3), 20))


def test_a_sentence_says_what_seeds_can_show():
    found = table(good=(0.01, 0.02, 0.03), bad=(-0.1, -0.1, -0.11), same=(0.01, -0.01, 0), alike=(0, 0, 0))
    assert ablation.meaning(found, "pruning") == (
        "Pruning of the graph, beside 1 hop: good (+0.020) is better; bad (-0.103) is worse; "
        "same and alike make no difference that the seeds can show."
    )
    assert ablation.finding(found) == "Of all changes, `bad` (pruning of the graph) costs most: 0.103 of the score."
    one = found.filter(pl.col("seed") == 0, pl.col("variant") != "same")
    assert ablation.finding(one) == "No change makes a difference that the seeds can show."
    assert "good, bad and alike make no difference" in ablation.meaning(one, "pruning")


def test_the_board_shows_leads_with_their_sign_and_no_time_where_nothing_was_trained():
    found = ablation.board(table(bad=(-0.1, -0.1, -0.1)).with_columns(train_seconds=pl.lit(0.0)), "pruning")
    assert found["lead"].to_list() == ["+0.000", "-0.100"] and found["seconds"].to_list() == [None, None]


def test_no_rule_of_blending_is_called_the_default_because_its_rows_do_not_tell(tmp_path):
    scores = {"rank": (0.5, 0.52), "borda": (0.6, 0.62)}
    rows = [
        ("blend", rule, LAYOUT, seed, "valid", score, 0.0, "")
        for rule, of_rule in scores.items()
        for seed, score in enumerate(of_rule)
    ]
    found = pl.DataFrame(rows, schema=ablation.SCHEMA, orient="row")
    said = [
        ablation.meaning(found, "blend"),
        ablation.finding(found),
        ablation.picture(found).axes[0].get_title("left"),
    ]
    assert "borda (+0.100) is better" in said[0] and not any("default" in text for text in said)


def test_the_picture_and_the_page(tmp_path):
    found = table(good=(0.01, 0.02, 0.03), same=(0.01, -0.01, 0))
    (panel,) = ablation.picture(found).axes
    assert [label.get_text() for label in panel.get_yticklabels()] == ["good", "same"]
    for name in ("stages", "notebooks"):
        (tmp_path / name).symlink_to(PROJECT / name)
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    with pytest.raises(InputError, match="reports/ablation.csv: not there; make ablate writes it"):
        runner.run("ablation", {}, tmp_path)
    (tmp_path / "reports" / "ablation.csv").write_text(found.write_csv())
    pages = [runner.run("ablation", {}, tmp_path).read_bytes() for _ in range(2)]
    assert pages[0] == pages[1] and b"good (+0.020) is better" in pages[0]


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("a\n1\n")
    with pytest.raises(InputError, match="holds other columns"):
        ablation.read(tmp_path / "x.csv")
