"""Made-up members of a blend: their scores, and what blending them writes."""

import json
from types import SimpleNamespace

import numpy as np
import polars as pl

from stages.blend import stage as blend
from stages.blend.member_scores import MemberScores
from stages.blend.rules import SCALES
from stages.scoring import scores

COLLECTION = "layout:xla:random"
SLUG = "layout-xla-random"
CONFIGURATIONS = 12
IDS = {"valid": ("bert_l1", "bert_l2", "lstm_u64"), "test": ("test_a", "test_b")}
MEMBERS = ["gnn", "gbdt"]


def graph(name, target):
    return SimpleNamespace(id=name, target=np.asarray(target, dtype=float))


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


def run_shrunk(data, shrink):
    """Blends with the chosen weights moved toward equal ones by any amount."""
    return blend.blend([COLLECTION], MEMBERS, "rank", shrink, None, data)


def recorded(data):
    return json.loads((data / "blend" / "weights.json").read_text())[COLLECTION]


def read(data, name):
    return scores.read(data / "blend" / f"{name}.parquet")


def member_scores(members, targets):
    """Member scores of one collection from member -> graph -> scores, the same on every scale."""
    members = {name: {each: np.asarray(score, float) for each, score in part.items()} for name, part in members.items()}
    targets = {each: np.asarray(target, float) for each, target in targets.items()}
    return MemberScores(COLLECTION, {("valid", scale): members for scale in set(SCALES.values())}, targets)


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
