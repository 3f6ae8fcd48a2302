"""Made-up members of a leaderboard, the boards that they stand on, and what its page shows."""

import json

import numpy as np
import polars as pl

from stages.blend import stage as blend
from stages.graphs import dataset
from stages.graphs.collection import COLLECTIONS, is_tile, slug
from stages.leaderboard import front, oddities, pictures, words
from stages.leaderboard.board import Board
from stages.prune import stage as prune
from stages.reporting import disagreement
from stages.scoring import scores

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
            table = fake_scores(data, collection, member, range(3))
            scores.write(table, data / member / slug(collection) / "scores.parquet")
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


def written(tmp_path):
    return json.loads((tmp_path / "reports" / "metrics.json").read_text())


def board_of(values, **members):
    """A board of the blend, and of members given so: {collection: {graph: value}} on test."""
    return Board(
        list(values),
        list(members),
        targets={("test", name): dict.fromkeys(part) for name, part in values.items()},
        values={
            ("test", name, member): part
            for member, each in {"blend": values, **members}.items()
            for name, part in each.items()
        },
    )


def page(result):
    """Every figure of the report, and its sentences."""
    last = result.splits[-1]
    parted = result.disagreement.filter(split=last)
    drawings = [pictures.score_bars(result.scores, last), pictures.budget_lines(result.buys, last)]
    drawings.append(disagreement.drawing(parted))
    if len(result.kin):
        drawings.append(pictures.kin_bars(result.kin, last))
    if len(result.examples):
        drawings.append(pictures.rank_scatter(result.examples))
    sentences = [front.headline(result), words.examples(result.examples), disagreement.sentences(parted)]
    sentences += [words.standing(result, last), words.rules(result, last), words.lead(result.versus, last)]
    sentences += [words.seeds(result.scores, last), words.kinship(result.kin, last), words.purchase(result.buys, last)]
    sentences += [words.budgets(result.buys, result.trained, last), words.spread_of_taus(result.places)]
    sentences += [words.files(result), oddities.sentences(result.properties)]
    return drawings, sentences


def all_told(sentences):
    return all(sentence.endswith(".") and "nan" not in sentence and "None" not in sentence for sentence in sentences)
