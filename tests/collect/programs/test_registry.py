"""The zoo's declarations, without the libraries that make its programs; a few programs where those are installed."""

import importlib.util
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from stages.collect.programs import check, registry
from stages.collect.programs.before_layout import configurable_nodes, node_count
from stages.collect.programs.program import SPLITS
from stages.collect.programs.registry import PROGRAMS

PROJECT = Path(__file__).parents[3]
KINDS = ("xla", "nlp")

jax_needed = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed (make collect)")
keras_needed = pytest.mark.skipif(
    importlib.util.find_spec("keras_hub") is None, reason="keras-hub is not installed (make collect)"
)


def of(kind):
    return [program for program in PROGRAMS.values() if program.kind == kind]


def test_declaring_imports_no_framework():
    script = (
        "import sys; import stages.collect.programs.registry;"
        "print([name for name in ('jax', 'keras', 'tensorflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ids_are_file_names_and_tell_the_mode():
    for identifier, program in PROGRAMS.items():
        assert identifier == program.id
        assert set(identifier) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.")
        assert identifier.endswith("_train" if program.training else "_forward")


def test_two_programs_of_one_id_are_refused():
    some = next(iter(PROGRAMS.values()))
    with pytest.raises(ValueError, match=some.id):
        registry.registered([some, replace(some, split="test")])


@pytest.mark.parametrize("kind", KINDS)
def test_declared_programs_leave_enough_when_some_are_dropped(kind):
    programs = of(kind)
    assert len(programs) >= 75
    assert len({program.family for program in programs}) >= check.FAMILIES[kind]
    assert sum(program.training for program in programs) >= check.TRAINING_SHARE * len(programs)


@pytest.mark.parametrize("kind", KINDS)
def test_splits_are_70_15_15_with_siblings_and_unseen_families(kind):
    programs = of(kind)
    shares = {split: sum(p.split == split for p in programs) / len(programs) for split in SPLITS}
    assert shares["train"] == pytest.approx(0.70, abs=0.05)
    assert shares["valid"] == pytest.approx(0.15, abs=0.05)
    assert shares["test"] == pytest.approx(0.15, abs=0.05)
    for split in ("valid", "test"):
        kins = Counter(p.kin for p in programs if p.split == split)
        assert min(kins["sibling"], kins["unseen"]) >= 4
        assert any(p.training for p in programs if p.split == split)


def test_an_unseen_family_is_in_one_split_only():
    for kind in KINDS:
        splits = {}
        for program in of(kind):
            splits.setdefault(program.family, set()).add(program.split)
            assert (
                program.kin
                in {"train": ("train",), "valid": ("sibling", "unseen"), "test": ("sibling", "unseen")}[program.split]
            )
        unseen = {program.family for program in of(kind) if program.kin == "unseen"}
        assert all(len(splits[family]) == 1 for family in unseen)


def test_no_family_is_of_both_kinds():
    assert not {p.family for p in of("xla")} & {p.family for p in of("nlp")}


def test_only_floating_point_nodes_away_from_gathers_are_configurable():
    text = """HloModule m

ENTRY %main (ids: s32[64,32], table: f32[1000,64], w: f32[64,512]) -> f32[2048,512] {
  %ids = s32[64,32]{1,0} parameter(0)
  %table = f32[1000,64]{1,0} parameter(1)
  %w = f32[64,512]{1,0} parameter(2)
  %flat = s32[2048,1]{1,0} reshape(%ids)
  %rows = f32[2048,64]{1,0} gather(%table, %flat), offset_dims={1}, collapsed_slice_dims={0}, start_index_map={0}
  %after = f32[64,32,64]{2,1,0} reshape(%rows)
  %relu = f32[64,32,64]{2,1,0} tanh(%after)
  %again = f32[2048,64]{1,0} reshape(%relu)
  %small = f32[1,8]{1,0} constant({ { 1, 2, 3, 4, 5, 6, 7, 8 } })
  %tiny = f32[8,1]{1,0} reshape(%small)
  ROOT %dot = f32[2048,512]{1,0} dot(%again, %w), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}
"""
    # %flat is an integer, %after reads the gather, %tiny is too small to matter
    assert [node.instruction.name for node in configurable_nodes(text)] == ["%again", "%dot"]
    assert node_count(text) == 11


def test_the_summary_says_which_quota_is_missed():
    programs = [replace(p, kin="train") for p in of("nlp")[:3]]
    nodes = dict(zip(programs, (199, 200, 9001), strict=True))
    sizes = {p.id: check.Measured(p.id, nodes[p], 1, 1, 1, 0.0, 0.0) for p in programs}
    lines, good = check.summary(programs, sizes)
    assert not good
    assert lines[0].startswith("NOT MET nlp: 1 programs")  # 199 and 9001 nodes do not count


def test_every_program_has_its_recorded_size():
    assert list(check.recorded_sizes()) == list(PROGRAMS)


@jax_needed
@pytest.mark.parametrize("identifier", ["capsnet_mnist_b128_train", "pointnet_cls_b32_train", "bytenet_3_b32_train"])
def test_a_training_step_gives_each_weight_back_in_its_shape(identifier):
    import jax

    function, arguments = PROGRAMS[identifier].build()
    weights, states, slots = arguments[:3]
    loss, new_weights, new_states, new_slots = jax.eval_shape(function, *arguments)
    assert loss.shape == ()
    for old, new in ((weights, new_weights), (states, new_states), (slots, new_slots)):
        assert jax.tree.map(lambda leaf: leaf.shape, old) == jax.tree.map(lambda leaf: leaf.shape, new)


@keras_needed
@pytest.mark.parametrize("identifier", ["vgg16_b32_train", "bert_tiny_b256_train", "squeezenet_b64_train"])
def test_the_same_program_twice_is_the_same_text(identifier):
    script = (
        "import sys, hashlib, jax; from stages.collect.programs.registry import PROGRAMS;"
        "function, arguments = PROGRAMS[sys.argv[1]].build();"
        "print(hashlib.sha256(jax.jit(function).lower(*arguments).as_text().encode()).hexdigest())"
    )
    texts = set()
    for seed in ("1", "2"):  # of Python's hashes: sets come in another order
        environment = {"PYTHONHASHSEED": seed, "JAX_PLATFORMS": "cpu", "PATH": ""}
        done = subprocess.run(
            [sys.executable, "-c", script, identifier], cwd=PROJECT, capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        texts.add(done.stdout)
    assert len(texts) == 1
