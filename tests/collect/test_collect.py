"""The collector without a compiler: texts, searches, worker processes, records, the command line, the export."""

import itertools
import json
import os
import sys

import numpy as np
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.collect import __main__ as command
from stages.collect import export as exporting
from stages.collect import pool, record, search
from stages.collect.hlo_text import (
    MAX_RANK,
    ConfigurableNode,
    Instruction,
    configurable_nodes,
    constrained,
    instructions,
    layouts_of,
    row_major,
)
from stages.collect.jobs import Job, records_of
from stages.errors import InputError
from stages.hlo import hlo_pb2

TEXT = """\
HloModule tiny, entry_computation_layout={(f32[32,64]{1,0}, bf16[64,48]{1,0})->f32[32,1,48]{2,1,0}}

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %plus = f32[] add(%a, %b)
}

ENTRY %main (x: f32[32,64], y.2: bf16[64,48]) -> f32[32,1,48] {
  %x = f32[32,64]{1,0} parameter(0)
  %y.2 = bf16[64,48]{0,1} parameter(1)
  %zero = f32[] constant(0)
  %small = f32[2,3] constant({ { 1, 2, 3 }, { 4, 5, 6 } })
  %thin = f32[3,2]{0,1} transpose(%small), dimensions={1,0}
  %pair = (f32[32,64]{1,0}, f32[]) tuple(%x, %zero)
  %get-tuple-element.5 = f32[32,64]{1,0} get-tuple-element(%pair), index=0
  %flat = f32[2048]{0} reshape(%get-tuple-element.5)
  %back = f32[32,64]{1,0} reshape(%flat)
  %seven = f32[32,2,2,2,2,2,2]{6,5,4,3,2,1,0} reshape(%back)
  %folded = f32[64,32]{1,0} reshape(%seven)
  %cube = f32[4,32,64]{2,1,0} broadcast(%back), dimensions={1,2}
  %both = (f32[32,64]{1,0}, f32[32,64]{1,0}) reduce(%cube, %cube, %zero, %zero), dimensions={0}, to_apply=%sum
  %total = f32[32,64]{1,0} reduce(%cube, %zero), dimensions={0}, to_apply=%sum
  %dot.1 = f32[32,48]{1,0} dot(%total, %y.2), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  ROOT %out = f32[32,1,48]{2,1,0} reshape(%dot.1)
}
"""
CONFIGURABLE_NAMES = ["%back", "%total", "%dot.1", "%out"]


def filled(*layouts):
    """A node's row (3, 6) of a configuration."""
    return [list(layout) + [-1] * (MAX_RANK - len(layout)) for layout in layouts]


CONFIGURATION = np.array(
    [
        filled([0, 1], [0], []),
        filled([1, 0], [0, 2, 1], []),
        filled([0, 1], [1, 0], [0, 1]),
        filled([1, 0, 2], [0, 1], []),
    ],
    np.int8,
)
CONSTRAINED = {
    "%back": [
        "  %back.free = f32[32,64] reshape(%flat)",
        '  %back = f32[32,64]{0,1} custom-call(%back.free), custom_call_target="LayoutConstraint",'
        " operand_layout_constraints={f32[32,64]{1,0}}",
    ],
    "%total": [
        '  %total.constrained1 = f32[4,32,64]{0,2,1} custom-call(%cube), custom_call_target="LayoutConstraint",'
        " operand_layout_constraints={f32[4,32,64]{2,1,0}}",
        "  %total.free = f32[32,64] reduce(%total.constrained1, %zero), dimensions={0}, to_apply=%sum",
        '  %total = f32[32,64]{1,0} custom-call(%total.free), custom_call_target="LayoutConstraint",'
        " operand_layout_constraints={f32[32,64]{1,0}}",
    ],
    "%dot.1": [
        '  %dot.1.constrained1 = f32[32,64]{1,0} custom-call(%total), custom_call_target="LayoutConstraint",'
        " operand_layout_constraints={f32[32,64]{1,0}}",
        '  %dot.1.constrained2 = bf16[64,48]{0,1} custom-call(%y.2), custom_call_target="LayoutConstraint",'
        " operand_layout_constraints={bf16[64,48]{1,0}}",
        "  %dot.1.free = f32[32,48] dot(%dot.1.constrained1, %dot.1.constrained2),"
        " lhs_contracting_dims={1}, rhs_contracting_dims={0}",
        '  %dot.1 = f32[32,48]{0,1} custom-call(%dot.1.free), custom_call_target="LayoutConstraint",'
        " operand_layout_constraints={f32[32,48]{1,0}}",
    ],
    "%out": [
        '  %out.constrained1 = f32[32,48]{0,1} custom-call(%dot.1), custom_call_target="LayoutConstraint",'
        " operand_layout_constraints={f32[32,48]{1,0}}",
        "  %out.free = f32[32,1,48] reshape(%out.constrained1)",
        '  ROOT %out = f32[32,1,48]{1,0,2} custom-call(%out.free), custom_call_target="LayoutConstraint",'
        " operand_layout_constraints={f32[32,1,48]{2,1,0}}",
    ],
}


def test_instructions_are_the_array_shaped_ones():
    found = instructions(TEXT)
    lines = TEXT.splitlines()
    assert "%pair" not in found and "%both" not in found
    assert len(found) == sum(" = " in line for line in lines) - 2
    assert all(lines[instruction.line].split()[0] in (name, "ROOT") for name, instruction in found.items())
    assert [name for name, instruction in found.items() if instruction.root] == ["%plus", "%out"]


def test_instruction_fields():
    found = instructions(TEXT)
    dot = found["%dot.1"]
    assert (dot.element_type, dot.dims, dot.layout, dot.opcode) == ("f32", (32, 48), (1, 0), "dot")
    assert dot.operands == ("%total", "%y.2")
    assert dot.rest == ", lhs_contracting_dims={1}, rhs_contracting_dims={0}"
    assert (found["%y.2"].element_type, found["%y.2"].layout) == ("bf16", (0, 1))
    assert found["%small"].layout == (1, 0), "no layout in the text is row-major"
    assert (found["%small"].operands, found["%zero"].dims, found["%zero"].layout) == ((), (), ())
    assert found["%get-tuple-element.5"].operands == ("%pair",)


def test_configurable_nodes_skip_the_small_the_flat_the_tupled_and_rank_seven():
    nodes = configurable_nodes(TEXT)
    assert [node.instruction.name for node in nodes] == CONFIGURABLE_NAMES
    assert [node.ranks for node in nodes] == [(2, 1, 0), (2, 3, 0), (2, 2, 2), (3, 2, 0)]
    assert [tensor.name for tensor in nodes[2].tensors] == ["%dot.1", "%total", "%y.2"]


def test_constrained_text_line_by_line():
    expected = []
    for line in TEXT.splitlines():
        name = next((word for word in line.split()[:2] if word in CONSTRAINED), None)
        expected += CONSTRAINED[name] if name and " = " in line else [line]
    assert constrained(TEXT, configurable_nodes(TEXT), CONFIGURATION).splitlines() == expected


def test_constrained_wants_a_row_for_every_node():
    with pytest.raises(ValueError):
        constrained(TEXT, configurable_nodes(TEXT), CONFIGURATION[:3])


def test_layouts_of_reads_the_nodes_own_text():
    expected = [
        filled([1, 0], [0], []),
        filled([1, 0], [2, 1, 0], []),
        filled([1, 0], [1, 0], [0, 1]),
        filled([2, 1, 0], [1, 0], []),
    ]
    found = layouts_of(TEXT, configurable_nodes(TEXT))
    assert found.dtype == np.int8
    assert found.tolist() == expected


def test_layouts_of_is_row_major_where_a_name_or_its_opcode_or_shape_is_gone():
    nodes = configurable_nodes(TEXT)
    after = """
  %moved = f32[64,32]{0,1} bitcast(%y.2)
  %copy.3 = f32[32,48]{0,1} copy(%dot.1)
  %back = f32[32,64]{0,1} copy(%flat)
  %dot.1 = f32[32,48]{0,1} dot(%gone, %moved), lhs_contracting_dims={1}
  ROOT %out = f32[32,1,48]{0,2,1} reshape(%copy.3)
"""
    row_major_rows = layouts_of("", nodes)
    found = layouts_of(after, nodes)
    assert found[:2].tolist() == row_major_rows[:2].tolist()
    assert found[2].tolist() == filled([0, 1], [1, 0], [1, 0])
    assert found[3].tolist() == filled([0, 2, 1], [0, 1], [])


def test_layouts_of_reads_back_what_constrained_wrote():
    nodes = configurable_nodes(TEXT)
    text = constrained(TEXT, nodes, CONFIGURATION)
    forced = instructions(text)
    for node, row in zip(nodes, CONFIGURATION, strict=True):
        free = forced[f"{node.instruction.name}.free"]
        tensors = [forced[node.instruction.name], *(forced[name] for name in free.operands)]
        for slot, rank in enumerate(node.ranks):
            if rank >= 2:
                assert tensors[slot].layout == tuple(row[slot][:rank])


def nodes_of(ranks):
    """Nodes whose tensors have the given ranks, 0 for none."""

    def tensor(number, slot, rank):
        name = f"%n{number}.{slot}"
        return Instruction(name, number, False, "f32", (2,) * rank, row_major(rank), "dot", (), "") if rank else None

    nodes = []
    for number, triple in enumerate(ranks):
        output, *operands = (tensor(number, slot, rank) for slot, rank in enumerate(triple))
        nodes.append(ConfigurableNode(output, (output, *operands)))
    return nodes


def is_valid(configuration, nodes):
    """Whether every slot is a permutation of its rank, and -1 beyond."""
    return all(
        sorted(configuration[position, slot, :rank]) == list(range(rank))
        and (configuration[position, slot, rank:] == -1).all()
        for position, node in enumerate(nodes)
        for slot, rank in enumerate(node.ranks)
    )


def distinct(members):
    return len({member.tobytes() for member in members})


RANKS = st.lists(st.tuples(st.integers(2, 6), st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=8)
SEEDS = st.integers(0, 2**32 - 1)


@given(RANKS, SEEDS, st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=60, deadline=None)
def test_mutated_keeps_every_slot_a_permutation_and_leaves_the_parent_alone(ranks, seed, rate, theme_share):
    nodes = nodes_of(ranks)
    parent = layouts_of("", nodes)
    before = parent.copy()
    child = search.mutated(parent, nodes, rate, theme_share, np.random.default_rng(seed))
    assert is_valid(child, nodes)
    assert child.dtype == np.int8 and (parent == before).all()
    if rate == 0:
        assert (child != parent).any(axis=(1, 2)).sum() <= 1


def test_mutated_changes_a_node_even_at_rate_zero():
    nodes = nodes_of([(6, 6, 0)] * 4)
    start = layouts_of("", nodes)
    rng = np.random.default_rng(0)
    changed = [(search.mutated(start, nodes, 0.0, 0.0, rng) != start).any(axis=(1, 2)).sum() for _ in range(10)]
    assert changed.count(1) >= 8, "all but the rare draws of the same permutation"


def test_a_whole_theme_gives_tensors_of_one_rank_one_layout():
    nodes = nodes_of([(4, 4, 2)] * 6)
    child = search.mutated(layouts_of("", nodes), nodes, 1.0, 1.0, np.random.default_rng(3))
    start = layouts_of("", nodes)
    changed = {tuple(row) for row in child[:, :2].reshape(-1, MAX_RANK)} - {tuple(start[0, 0])}
    assert len(changed) == 1


@given(RANKS, SEEDS, st.integers(1, 24))
@settings(max_examples=25, deadline=None)
def test_searches_give_distinct_valid_configurations_from_the_start(ranks, seed, count):
    nodes = nodes_of(ranks)
    start = layouts_of("", nodes)
    random = search.random_search(start, nodes, count, np.random.default_rng(seed))
    bred = search.evolutionary_search(
        start, nodes, count, np.random.default_rng(seed), lambda members: np.arange(len(members))
    )
    for members in (random, bred):
        assert 1 <= len(members) <= count
        assert distinct(members) == len(members)
        assert (members[0] == start).all()
        assert all(is_valid(member, nodes) for member in members)


def cost(members, wanted):
    return np.array([np.abs(member - wanted).sum() for member in members])


def both_searches(nodes, count, seed):
    """Members of the random and of the evolutionary search, the latter by distance to `wanted`, and `wanted`."""
    start = layouts_of("", nodes)
    wanted = search.mutated(start, nodes, 1.0, 0.0, np.random.default_rng(seed + 1000))

    def measure(members):
        return cost(members, wanted)

    random = search.random_search(start, nodes, count, np.random.default_rng(seed))
    bred = search.evolutionary_search(start, nodes, count, np.random.default_rng(seed), measure)
    return random, bred, wanted


def test_searches_reach_the_count_in_a_large_space_and_repeat_with_the_seed():
    nodes = nodes_of([(4, 4, 4), (3, 2, 0), (4, 1, 0)] * 3)
    random, bred, _ = both_searches(nodes, 42, seed=5)
    assert len(random) == len(bred) == 42
    random_again, bred_again, _ = both_searches(nodes, 42, seed=5)
    assert random.tobytes() == random_again.tobytes() and bred.tobytes() == bred_again.tobytes()
    other, other_bred, _ = both_searches(nodes, 42, seed=6)
    assert random.tobytes() != other.tobytes() and bred.tobytes() != other_bred.tobytes()


def test_searches_give_all_of_a_small_space_and_stop():
    random, bred, _ = both_searches(nodes_of([(2, 2, 1)]), 30, seed=1)
    assert len(random) == len(bred) == 4


def test_evolutionary_search_descends():
    nodes = nodes_of([(4, 4, 4)] * 12)
    for seed in range(3):
        random, bred, wanted = both_searches(nodes, 90, seed)
        costs = cost(bred, wanted)
        first, last = np.array_split(costs, search.GENERATIONS)[:: search.GENERATIONS - 1]
        assert last.mean() < first.mean()
        assert last.mean() < cost(random, wanted).mean()
        assert costs.min() < costs[0]


TASKS = """\
import os
from pathlib import Path


def task(job, tick):
    name = getattr(job, "identifier", job)
    Path(os.environ["TASK_LOG"], name).write_text(str(os.getpid()))
    tick()
    if name.startswith("raise"):
        raise ValueError("the first line\\nthe second")
    if name.startswith("mute"):
        raise AssertionError
    if name.startswith("die"):
        os._exit(3)
    tick()
"""


@pytest.fixture
def task(tmp_path, monkeypatch):
    """A task in a module of its own, importable in a fresh process; it leaves each job's process id in tmp_path/log."""
    (tmp_path / "collect_tasks.py").write_text(TASKS)
    (tmp_path / "log").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TASK_LOG", str(tmp_path / "log"))
    import collect_tasks

    yield collect_tasks.task
    del sys.modules["collect_tasks"]


def core():
    return min(os.sched_getaffinity(0))


def test_pool_reports_every_job_once_over_a_retirement_a_fault_and_a_death(task, tmp_path):
    good = [f"good{number:02d}" for number in range(pool.GRAPHS_A_WORKER + 2)]
    jobs = [*good, "raise", "mute", "die", "last"]
    events = list(pool.run(jobs, task, [core()]))
    ends = [(kind, job, reason) for kind, job, reason in events if kind != "tick"]
    assert ends == [
        *(("done", job, None) for job in good),
        ("failed", "raise", "ValueError: the first line"),
        ("failed", "mute", "AssertionError: "),
        ("later", "die", "the worker process died"),
        ("done", "last", None),
    ]
    ticks = [job for kind, job, _ in events if kind == "tick"]
    assert ticks == sorted([*good, *good]) + ["raise", "mute", "die", "last", "last"]
    processes = [(tmp_path / "log" / job).read_text() for job in jobs]
    runs = [len(list(run)) for _, run in itertools.groupby(processes)]
    assert runs == [pool.GRAPHS_A_WORKER, 5, 1]


def test_pool_with_a_death_on_one_core_goes_on_and_ends_on_a_full_worker(task):
    jobs = ["die1", *(f"good{number}" for number in range(pool.GRAPHS_A_WORKER))]
    ends = [(kind, job) for kind, job, _ in pool.run(jobs, task, [core()]) if kind != "tick"]
    assert ends == [("later", "die1"), *(("done", job) for job in jobs[1:])]


def test_pool_with_two_workers_and_with_no_job(task):
    jobs = ["a", "raise", "b", "die", "c"]
    ends = sorted((job, kind) for kind, job, _ in pool.run(jobs, task, [core(), core()]) if kind != "tick")
    assert ends == [("a", "done"), ("b", "done"), ("c", "done"), ("die", "later"), ("raise", "failed")]
    assert list(pool.run([], task, [core()])) == []


def test_collect_logs_the_failed_and_only_them(task, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "perform", task)
    jobs = [Job(name, ("random", "default"), 3, str(tmp_path / "out"), 2.5) for name in ("fine", "raise", "also")]
    assert command.collect(jobs, tmp_path / "out" / "failed.jsonl", workers=1) == 0
    lines = (tmp_path / "out" / "failed.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"id": "raise", "reason": "ValueError: the first line"}]
    assert "raise: ValueError: the first line" in capsys.readouterr().err


def test_record_round_trip(tmp_path):
    target = record.path(tmp_path, "layout:xla:random", "net_w0.5_r32")
    assert target == tmp_path / "layout" / "xla" / "random" / "net_w0.5_r32.npz"
    arrays = {"passes": np.array([[5, 2**60 + 1]]), "configurations": np.full((1, 2), -1, np.int8)}
    record.write(target, {"id": "é", "tau": 0.5}, **arrays)
    meta, stored = record.read(target)
    assert meta == {"id": "é", "tau": 0.5}
    assert sorted(stored) == sorted(arrays)
    for key, array in arrays.items():
        assert stored[key].dtype == array.dtype and (stored[key] == array).all()
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize("there", [True, False])
def test_a_failing_write_leaves_what_was_there(tmp_path, monkeypatch, there):
    target = record.path(tmp_path, "tile:xla", "dot")
    if there:
        record.write(target, {"id": "old"}, passes=np.arange(3))

    def broken(file, **arrays):
        file.write(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(record.np, "savez_compressed", broken)
    with pytest.raises(OSError, match="No space"):
        record.write(target, {"id": "new"}, passes=np.arange(4))
    if there:
        assert record.read(target)[0] == {"id": "old"}
    assert target.exists() == there
    assert len(list(target.parent.glob("*.npz"))) == there


def called(monkeypatch, capsys, *arguments):
    """Exit code, standard output and standard error of `python -m stages.collect ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["collect", *map(str, arguments)])
    code = command.main()
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err.splitlines()


def listed(monkeypatch, capsys, *arguments):
    code, out, err = called(monkeypatch, capsys, "--dry-run", *arguments)
    assert code == 0 and not err
    jobs = {line.split()[0]: line.split(maxsplit=1)[1] for line in out[:-1]}
    return jobs, out[-1]


def test_dry_run_lists_programs_and_kernels_and_writes_nothing(tmp_path, monkeypatch, capsys):
    out = tmp_path / "collect"
    jobs, total = listed(monkeypatch, capsys, "--out", out, "--configs", 7)
    assert total == f"{len(jobs)} of {len(jobs)} to measure, 7 configurations each and search"
    assert set(jobs) == set(command.programs()) | set(command.kernels())
    assert set(jobs.values()) == {"random, default", "tile"}
    layout_jobs, _ = listed(monkeypatch, capsys, "--out", out, "--search", "default")
    assert set(layout_jobs) == set(command.programs()) and set(layout_jobs.values()) == {"default"}
    assert not out.exists()


def test_unknown_pattern_is_one_line_and_exit_1(tmp_path, monkeypatch, capsys):
    code, out, err = called(monkeypatch, capsys, "--programs", "nosuch*", "--out", tmp_path)
    assert (code, out, len(err)) == (1, [], 1)
    assert "nosuch*" in err[0]


def test_what_is_measured_or_failed_is_not_listed_again(tmp_path, monkeypatch, capsys):
    jobs, _ = listed(monkeypatch, capsys, "--programs", "[c-r]*", "--out", tmp_path)
    program = next(name for name, searches in jobs.items() if searches != "tile")
    kernel = next(name for name, searches in jobs.items() if searches == "tile")
    *_, broken = jobs
    written = []
    for name, searches in ((program, ("random", "default")), (kernel, ("tile",))):
        for path in records_of(Job(name, searches, 7, str(tmp_path), 2.5)):
            record.write(path, {"id": name})
            written.append(path)
    assert len(written) == 3
    (tmp_path / "failed.jsonl").write_text(json.dumps({"id": broken, "reason": "any"}) + "\n")
    left, total = listed(monkeypatch, capsys, "--programs", "[c-r]*", "--out", tmp_path)
    assert left == {name: searches for name, searches in jobs.items() if name not in (program, kernel, broken)}
    assert total.startswith(f"{len(jobs) - 3} of {len(jobs)} ")
    written[0].unlink()
    assert program in listed(monkeypatch, capsys, "--programs", program, "--out", tmp_path)[0]
    assert (
        program not in listed(monkeypatch, capsys, "--programs", program, "--out", tmp_path, "--search", "default")[0]
    )


FASTEST, STEP = 1_000_003, 100_000
F32 = 11
PROGRAM_COLUMNS = (
    "collection,split,id,family,kin,nodes,configurable,configurations,slowest_over_fastest,repeatability,ceiling"
)


def proto_of(*opcodes):
    """Bytes of a module with one computation: a chain of instructions over f32[32,64], named by opcode and number."""
    chain = []
    for number, opcode in enumerate(opcodes):
        instruction = hlo_pb2.HloInstructionProto(
            id=number, name=f"{opcode}.{number}", opcode=opcode, operand_ids=[number - 1] * bool(number)
        )
        instruction.shape.element_type = F32
        instruction.shape.dimensions[:] = [32, 64]
        instruction.shape.layout.minor_to_major[:] = [1, 0]
        chain.append(instruction)
    computation = hlo_pb2.HloComputationProto(id=1, name="main", root_id=len(chain) - 1, instructions=chain)
    module = hlo_pb2.HloModuleProto(name="m", computations=[computation])
    return np.frombuffer(hlo_pb2.HloProto(hlo_module=module).SerializeToString(), np.uint8)


def passes_of(count, step=STEP):
    """Pass 1 has the smaller times of even configurations, pass 2 of odd ones; the minimum is FASTEST + i * step."""
    best = FASTEST + step * np.arange(count)
    return np.stack([best + np.arange(count) % 2, best + (np.arange(count) + 1) % 2])


def write_layout(records, collection, identifier, split="train", count=12, passes=None):
    """Configuration i has i in its first entry, and node k of meta["nodes"] has 10 + k in the seventh."""
    _, source, name = collection.split(":")
    configurations = np.full((count, 2, 3, MAX_RANK), -1, np.int8)
    configurations[:, :, 0, 0] = np.arange(count)[:, None]
    configurations[:, :, 1, 0] = [10, 11]
    meta = {"id": identifier, "source": source, "search": name, "family": "f", "split": split, "kin": "train"}
    record.write(
        record.path(records, collection, identifier),
        meta | {"compile_s": 0.1, "tau": 0.9, "nodes": ["reshape.3", "dot.1"]},
        proto=proto_of("parameter", "dot", "add", "reshape"),
        configurations=configurations,
        passes=passes_of(count) if passes is None else passes,
    )


def write_tile(records, identifier, split="train", count=12):
    """Configuration i has i in its first entry; the untiled kernel takes 500_000 ns."""
    rows = np.zeros((count, 24), np.float32)
    rows[:, 0] = np.arange(count)
    record.write(
        record.path(records, "tile:xla", identifier),
        {"id": identifier, "family": "dot", "split": split, "kin": "unseen"},
        proto=proto_of("parameter", "dot"),
        config_feat=rows,
        passes=passes_of(count),
        untiled=np.array([500_001, 500_000]),
    )


def disagreeing(count=12):
    """Passes whose minima spread widely while their orders have little in common."""
    first = FASTEST + STEP * np.arange(count)
    return np.stack([first, np.roll(first, count // 2)])


@pytest.fixture(autouse=True)
def few_configurations_will_do(monkeypatch):
    monkeypatch.setattr(exporting, "MINIMUM_LAYOUTS", 12)


@pytest.fixture
def records(tmp_path):
    """One record of every kind that the export treats in its own way."""
    folder = tmp_path / "records"
    write_layout(folder, "layout:xla:random", "net_train")
    write_layout(folder, "layout:xla:random", "net_test", split="test")
    write_layout(folder, "layout:nlp:default", "bert_valid", split="valid")
    write_layout(folder, "layout:nlp:default", "flat", passes=passes_of(12, step=STEP // 10))
    write_layout(folder, "layout:xla:default", "noisy", passes=disagreeing())
    write_tile(folder, "dot_train")
    write_tile(folder, "dot_test", split="test")
    (folder / "failed.jsonl").write_text(json.dumps({"id": "giant", "reason": "Unmeasurable: too slow"}) + "\n")
    return folder


@pytest.fixture
def sample(records, tmp_path):
    exporting.export(records, tmp_path / "sample")
    return tmp_path / "sample"


def exported(sample, path):
    with np.load(sample / "npz_all" / "npz" / path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def test_export_writes_the_usable_graphs_only(sample):
    files = sorted(str(path.relative_to(sample / "npz_all" / "npz")) for path in sample.rglob("*.npz"))
    assert files == [
        "layout/nlp/default/valid/bert_valid.npz",
        "layout/xla/random/test/net_test.npz",
        "layout/xla/random/train/net_train.npz",
        "tile/xla/test/dot_test.npz",
        "tile/xla/train/dot_train.npz",
    ]


def test_dropped_graphs_are_named_with_their_figures(sample):
    dropped = {line["id"]: line for line in polars.read_csv(sample / "dropped.csv").to_dicts()}
    assert set(dropped) == {"flat", "noisy", "giant"}
    flat, noisy = dropped["flat"], dropped["noisy"]
    assert flat["slowest_over_fastest"] == pytest.approx((FASTEST + 11 * STEP / 10) / FASTEST, abs=1e-4)
    assert (flat["collection"], flat["split"], flat["family"]) == ("layout:nlp:default", "train", "f")
    assert flat["repeatability"] == 1.0 and "slowest/fastest" in flat["reason"]
    assert noisy["repeatability"] == pytest.approx((30 - 36) / 66, abs=1e-4), "36 of the 66 pairs change their order"
    assert noisy["slowest_over_fastest"] == pytest.approx((FASTEST + 5 * STEP) / FASTEST, abs=1e-4)
    assert "tau" in noisy["reason"]
    assert dropped["giant"]["reason"] == "Unmeasurable: too slow"
    assert dropped["giant"]["repeatability"] is None


def test_training_configurations_are_shuffled_with_their_run_times(sample):
    keys = exported(sample, "layout/xla/random/train/net_train.npz")
    index = keys["node_config_feat"][:, 0, 0].astype(int)
    assert sorted(index) == list(range(12)) and index.tolist() != sorted(index)
    assert keys["config_runtime"].tolist() == (FASTEST + STEP * index).tolist()
    tile = exported(sample, "tile/xla/train/dot_train.npz")
    index = tile["config_feat"][:, 0].astype(int)
    assert sorted(index) == list(range(12)) and index.tolist() != sorted(index)
    assert tile["config_runtime"].tolist() == (FASTEST + STEP * index).tolist()
    assert (tile["config_runtime_normalizers"] == 500_000).all()


def test_configurable_nodes_come_in_the_order_of_their_ids(sample):
    keys = exported(sample, "layout/nlp/default/valid/bert_valid.npz")
    assert keys["node_config_ids"].tolist() == [1, 3]
    assert (keys["node_config_feat"][:, :, 6] == [11, 10]).all()
    assert (keys["node_config_feat"][:, :, 0] == keys["node_config_feat"][:, :1, 0]).all()


def test_keys_and_types_are_the_official_ones(sample):
    layout = exported(sample, "layout/xla/random/train/net_train.npz")
    assert {key: (array.dtype.name, array.shape) for key, array in layout.items()} == {
        "node_feat": ("float32", (4, 140)),
        "node_opcode": ("uint8", (4,)),
        "edge_index": ("int64", (3, 2)),
        "node_config_ids": ("int64", (2,)),
        "node_config_feat": ("float32", (12, 2, 18)),
        "node_splits": ("int64", (1, 2)),
        "config_runtime": ("int64", (12,)),
    }
    tile = exported(sample, "tile/xla/test/dot_test.npz")
    assert {key: (array.dtype.name, array.shape) for key, array in tile.items()} == {
        "node_feat": ("float32", (2, 140)),
        "node_opcode": ("uint8", (2,)),
        "edge_index": ("int64", (1, 2)),
        "config_feat": ("float32", (12, 24)),
        "config_runtime": ("int64", (12,)),
        "config_runtime_normalizers": ("int64", (12,)),
    }


def test_run_times_of_test_graphs_are_in_the_solution_alone(sample):
    layout = exported(sample, "layout/xla/random/test/net_test.npz")
    tile = exported(sample, "tile/xla/test/dot_test.npz")
    assert not layout["config_runtime"].any() and not tile["config_runtime"].any()
    assert (tile["config_runtime_normalizers"] == 1).all()
    solution = dict(polars.read_csv(sample / "solution.csv").iter_rows())
    assert list(solution) == ["layout:xla:random:net_test", "tile:xla:dot_test"]
    index = layout["node_config_feat"][:, 0, 0].astype(int)
    times = [int(text) for text in solution["layout:xla:random:net_test"].split(";")]
    assert times == (FASTEST + STEP * index).tolist()
    index = tile["config_feat"][:, 0].astype(int)
    ratios = [float(text) for text in solution["tile:xla:dot_test"].split(";")]
    assert ratios == pytest.approx((FASTEST + STEP * index) / 500_000, rel=1e-8)


def test_passes_are_in_the_order_of_the_npz_files(sample):
    table = polars.read_parquet(sample / "passes.parquet")
    assert table["graph"].n_unique() == 5 and len(table) == 60
    own = table.filter(polars.col("graph") == "layout:xla:random:net_train").sort("configuration")
    best = np.minimum(own["first_ns"].to_numpy(), own["second_ns"].to_numpy())
    assert best.tolist() == exported(sample, "layout/xla/random/train/net_train.npz")["config_runtime"].tolist()


def test_programs_table(sample):
    lines = (sample / "programs.csv").read_text().splitlines()
    assert lines[0] == PROGRAM_COLUMNS
    assert len(lines) == 6
    spread = round((FASTEST + 11 * STEP) / FASTEST, 4)
    assert f"layout:xla:random,test,net_test,f,sibling,4,2,12,{spread},1.0,1.0" in lines
    assert f"tile:xla,test,dot_test,dot,sibling,2,0,12,{spread},1.0,1.0" in lines, "its kind is trained on after all"
    # "flat", the one training graph of bert_valid's family in that collection, was dropped.
    assert f"layout:nlp:default,valid,bert_valid,f,unseen,4,2,12,{spread},1.0,1.0" in lines


def test_a_second_export_gives_the_same_bytes_and_removes_what_is_gone(records, sample):
    def contents():
        return {path.relative_to(sample): path.read_bytes() for path in sample.rglob("*") if path.is_file()}

    (sample / "README.md").write_text("kept")
    first = contents()
    exporting.export(records, sample)
    assert contents() == first
    record.path(records, "tile:xla", "dot_train").unlink()
    exporting.export(records, sample)
    assert set(first) - set(contents()) == {(sample / "npz_all/npz/tile/xla/train/dot_train.npz").relative_to(sample)}
    assert not list(sample.parent.glob("*.part"))


def test_export_of_graphs_that_are_all_usable_and_none_for_testing(tmp_path):
    write_layout(tmp_path / "records", "layout:xla:random", "net_train")
    exporting.export(tmp_path / "records", tmp_path / "sample")
    assert len(polars.read_csv(tmp_path / "sample" / "programs.csv")) == 1
    assert (tmp_path / "sample" / "solution.csv").read_text() == "ID,Runtimes\n"
    assert len((tmp_path / "sample" / "dropped.csv").read_text().splitlines()) == 1


def test_export_leaves_out_a_layout_graph_of_few_configurations(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "MINIMUM_LAYOUTS", 13)
    write_layout(tmp_path / "records", "layout:xla:random", "net_train")
    write_tile(tmp_path / "records", "dot_train")
    exporting.export(tmp_path / "records", tmp_path / "sample")
    (dropped,) = polars.read_csv(tmp_path / "sample" / "dropped.csv").to_dicts()
    assert (dropped["id"], dropped["reason"]) == ("net_train", "fewer than 13 distinct configurations")


def test_export_without_a_record_keeps_what_was_there(tmp_path):
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "programs.csv").write_text("old")
    with pytest.raises(InputError, match="stages.collect"):
        exporting.export(tmp_path / "empty", tmp_path / "sample")
    assert (tmp_path / "sample" / "programs.csv").read_text() == "old"
