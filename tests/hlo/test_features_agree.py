"""The feature columns of a module's proto against an independent reading of the text that XLA prints of it."""

import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from stages.graphs.opcodes import OPCODE_NUMBERS
from stages.hlo import hlo_pb2
from stages.hlo.features import graph_arrays, left_out

DATA = Path(__file__).parents[1] / "data"
MODULES = ("module", "optimised", "written")
TYPE_COLUMNS = {
    "pred": 3, "s8": 4, "s16": 5, "s32": 6, "s64": 7, "u8": 8, "u16": 9, "u32": 10, "u64": 11,
    "f16": 12, "f32": 13, "f64": 14, "bf16": 15, "c64": 16, "c128": 17, "(": 18,
}  # fmt: skip
CALLS = re.compile(r"(?:to_apply|condition|body|calls)=%([\w.\-]+)|branch_computations=\{([^}]*)\}")
OPCODES = set(
    "convolution dot reduce reduce-window reshape transpose slice pad dynamic-slice dynamic-update-slice concatenate"
    " broadcast iota sort reverse while conditional gather convert select tuple get-tuple-element parameter"
    " constant".split()
)


@dataclass
class Line:
    """One instruction as the text has it."""

    name: str
    computation: str
    root: bool
    shape: str
    opcode: str
    operands: str
    attributes: str

    def attribute(self, name):
        """Text of `name=value` up to the next comma."""
        match = re.search(rf"(?:^|, ){name}=([^,{{]+)", self.attributes)
        return match[1] if match else None

    def list(self, name):
        """Integers of `name={1,2,3}`."""
        match = re.search(rf"(?:^|, ){name}=\{{([\d,]*)\}}", self.attributes)
        return integers(match[1]) if match else []


def integers(text):
    return [int(part) for part in text.split(",") if part]


def closing(text, start):
    """Position of the bracket that closes the one at `start`."""
    depth = 0
    for position in range(start, len(text)):
        depth += (text[position] in "({") - (text[position] in ")}")
        if depth == 0:
            return position
    raise AssertionError(f"unbalanced: {text}")


def lines_of(text):
    """Instructions of a module's text by name."""
    lines, computation = {}, ""
    for line in re.sub(r"/\*.*?\*/", "", text).splitlines():
        if header := re.match(r"(?:ENTRY )?%([\w.\-]+) \(.*\{$", line):
            computation = header[1]
        elif start := re.match(r"  (ROOT )?%([\w.\-]+) = ", line):
            rest = line[start.end() :]
            end = closing(rest, 0) + 1 if rest[0] == "(" else rest.index(" ")
            shape, call = rest[:end], rest[end + 1 :]
            opening = call.index("(")
            close = closing(call, opening)
            assert start[2] not in lines
            lines[start[2]] = Line(
                start[2],
                computation,
                bool(start[1]),
                shape,
                call[:opening],
                call[opening + 1 : close],
                call[close + 1 :].removeprefix(", "),
            )
    return lines


@cache
def proto(name):
    return hlo_pb2.HloProto.FromString((DATA / f"{name}.hlo.pb").read_bytes()).hlo_module


@cache
def read(name):
    """The instructions of the text, and graph_arrays of the proto."""
    return lines_of((DATA / f"{name}.txt").read_text()), graph_arrays(proto(name))


def first(values, count):
    return (list(values) + [0] * count)[:count]


def summed(values, count):
    return first(values, count) + [sum(values), math.prod(values)]


def window(line):
    """Size, stride, low and high padding, window and base dilation, reversal of each dimension of the window."""
    inside = re.search(r"(?:^|, )window=\{(.*?)\}", line.attributes)
    parts = dict(part.split("=") for part in inside[1].split(" ")) if inside and inside[1] else {}
    rank = len(parts["size"].split("x")) if parts else 0

    def each(key, otherwise):
        return [int(value) for value in parts[key].split("x")] if key in parts else [otherwise] * rank

    padding = [value.split("_") for value in parts["pad"].split("x")] if "pad" in parts else [(0, 0)] * rank
    low, high = [int(pair[0]) for pair in padding], [int(pair[1]) for pair in padding]
    dilations = each("rhs_dilate", 1), each("lhs_dilate", 1)
    return each("size", 1), each("stride", 1), low, high, *dilations, each("rhs_reversal", 0)


def expected_window(line):
    *sizes, reversals = window(line)
    counts = [sum(reversals), len(reversals) - sum(reversals)]
    return [value for values in sizes for value in summed(values, 6)] + first(reversals, 6) + counts


def expected_convolution(line):
    """Columns 93..108: dimension numbers and group counts."""
    if line.opcode != "convolution":
        return [0] * 16
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", line.attributes)
    left, right, out = labels.groups()

    def spatial(text):
        return first([text.index(digit) for digit in sorted(filter(str.isdigit, text))], 4)

    groups = [int(line.attribute(f"{kind}_group_count") or 1) for kind in ("feature", "batch")]
    return [
        *(left.index("b"), left.index("f"), *spatial(left)),
        *(right.index("i"), right.index("o"), *spatial(right)),
        *(out.index("b"), out.index("f"), *groups),
    ]


def expected_slices(line):
    inside = re.search(r"(?:^|, )slice=\{(.*?)\}(?:, |$)", line.attributes)
    triples = [
        list(map(int, part.split(":"))) + [1] for part in re.findall(r"\[([\d:]+)\]", inside[1] if inside else "")
    ]
    start, limit, stride = ([triple[at] for triple in triples] for at in range(3))
    return summed(start, 2) + summed(stride, 2) + summed(limit, 2) + summed(line.list("dynamic_slice_sizes"), 2)


def expected_padding(line):
    pairs = [part.split("_") for part in (line.attribute("padding") or "").split("x") if part]
    return summed([int(pair[0]) for pair in pairs], 2) + summed([int(pair[1]) for pair in pairs], 2)


def shape_of(line):
    """Element type, dimensions and layout; of a tuple the type alone."""
    if line.shape[0] == "(":
        return "(", [], []
    kind, dims, layout = re.match(r"(\w+)\[([\d,]*)\](?:\{([\d,]*)\})?$", line.shape).groups()
    return kind, integers(dims), integers(layout or "")


def elements_of(shape):
    """Number of elements of a tuple's type, nested ones counted as one."""
    inside, count = shape[1:-1], 0
    while inside:
        end = closing(inside, 0) + 1 if inside[0] == "(" else re.match(r"\w+\[[\d,]*\](\{[\d,]*\})?", inside).end()
        inside, count = inside[end:].removeprefix(", "), count + 1
    return count


def expected_row(line):
    """All 140 columns."""
    kind, dims, layout = shape_of(line)
    types = [int(TYPE_COLUMNS[kind] == column) for column in range(2, 21)]
    elements = elements_of(line.shape) if kind == "(" else 0
    parameter = int(line.operands) if line.opcode == "parameter" else 0
    dimensions = [int(line.attribute("iota_dimension"))] if line.opcode == "iota" else line.list("dimensions")
    return np.array(
        [line.root, 0, *types, *summed(dims, 6), elements, parameter, *first(dimensions, 6), *expected_window(line)]
        + expected_convolution(line)
        + expected_slices(line)
        + expected_padding(line)
        + [int("is_stable=true" in line.attributes), *first(layout, 6)],
        np.float32,
    )


def expected_edges(lines):
    """Pairs of names (consumer, producer): operands, and the roots of the computations called."""
    roots = {line.computation: line.name for line in lines.values() if line.root}
    pairs = set()
    for line in lines.values():
        pairs |= {(line.name, name) for name in re.findall(r"%([\w.\-]+)", line.operands)}
        for single, several in CALLS.findall(line.attributes):
            called = [single] if single else re.findall(r"%([\w.\-]+)", several)
            pairs |= {(line.name, roots[name]) for name in called}
    return pairs


@pytest.mark.parametrize("name", MODULES)
def test_same_instructions_in_the_same_computations(name):
    lines, arrays = read(name)
    assert len(arrays.names) == len(lines)
    assert set(arrays.names) == set(lines)


@pytest.mark.parametrize("name", MODULES)
def test_opcodes(name):
    lines, arrays = read(name)
    expected = {node: OPCODE_NUMBERS.get(lines[node].opcode, 0) for node in lines}
    assert dict(zip(arrays.names, arrays.node_opcode.tolist(), strict=True)) == expected
    assert 0 not in expected.values()


@pytest.mark.parametrize("name", MODULES)
def test_every_feature_column(name):
    lines, arrays = read(name)
    for node, row in zip(arrays.names, arrays.node_feat, strict=True):
        wrong = {
            column: (row[column], wanted)
            for column, wanted in enumerate(expected_row(lines[node]))
            if row[column] != wanted
        }
        assert not wrong, f"{node} = {lines[node].shape} {lines[node].opcode}: column: (read, expected) {wrong}"


def expected_left_out(line):
    """The 28 columns of `left_out`."""
    dot = ("lhs_contracting_dims", "rhs_contracting_dims", "lhs_batch_dims", "rhs_batch_dims")
    names = [(name, 3) for name in (*dot, "offset_dims", "collapsed_slice_dims", "start_index_map")]
    columns = [(line.list(name) + [-1] * count)[:count] for name, count in names]
    columns.append([int(line.attribute("index_vector_dim") or -1)] if line.opcode == "gather" else [-1])
    columns.append((line.list("slice_sizes") + [-1] * 5)[:5])
    return [*(value for part in columns for value in part), int("indices_are_sorted=true" in line.attributes)]


@pytest.mark.parametrize("name", MODULES)
def test_the_columns_that_are_left_out(name):
    lines, arrays = read(name)
    for node, row in zip(arrays.names, left_out(proto(name)).tolist(), strict=True):
        assert row == expected_left_out(lines[node]), node


@pytest.mark.parametrize("name", MODULES)
def test_edges(name):
    lines, arrays = read(name)
    read_pairs = [(arrays.names[consumer], arrays.names[producer]) for consumer, producer in arrays.edge_index]
    assert len(read_pairs) == len(set(read_pairs))
    assert set(read_pairs) == expected_edges(lines)


def test_modules_hold_every_kind_of_operation():
    lines = read("module")[0].values()
    assert OPCODES <= {line.opcode for line in lines}
    kinds = {shape_of(line)[0] for name in MODULES for line in read(name)[0].values()}
    assert kinds >= {"f32", "f64", "f16", "bf16", "s8", "s32", "s64", "u8", "u64", "pred", "c64", "("}
    assert {"fusion", "bitcast", "copy"} <= {line.opcode for line in read("optimised")[0].values()}


def test_modules_hold_every_attribute_away_from_its_default():
    lines = [line for name in MODULES for line in read(name)[0].values()]
    texts = [line.attributes for line in lines]
    for part in ("size=", "stride=", "pad=", "lhs_dilate=", "rhs_dilate=", "rhs_reversal=", "feature_group_count="):
        assert any("window={" in text and part in text for text in texts), part
    assert any("batch_group_count=2" in text for text in texts)
    numbers = [expected_convolution(line) for line in lines if line.opcode == "convolution"]
    assert any(row[0] != row[12] and row[1] != row[13] and row[7] != row[13] and row[8] != row[2] for row in numbers)
    slices = [expected_slices(line) for line in lines if line.opcode == "slice"]
    assert all(any(row[column] > 1 for row in slices) for column in (1, 5, 9))
    padding = [expected_padding(line) for line in lines if line.opcode == "pad"]
    assert any(min(row) < 0 for row in padding) and any(row[0] != row[4] for row in padding)
    layouts = [shape_of(line)[2] for line in lines]
    assert any(layout != sorted(layout, reverse=True) for layout in layouts)
    assert max(map(len, layouts)) == 7
    dots, gathers = ([line for line in lines if line.opcode == opcode] for opcode in ("dot", "gather"))
    assert any(line.list("lhs_batch_dims") and line.list("rhs_contracting_dims") != [0] for line in dots)
    assert any(line.list("slice_sizes") for line in gathers)
    transposes = [line.list("dimensions") for line in lines if line.opcode == "transpose"]
    assert any(sorted(order) != order for order in transposes)
    sorts = {"is_stable=true" in line.attributes for line in lines if line.opcode == "sort"}
    assert sorts == {True, False}


@pytest.mark.parametrize(
    "path", [DATA / f"{name}{end}" for name in MODULES for end in (".hlo.pb", ".txt")], ids=lambda path: path.name
)
def test_no_file_of_any_machine_is_named(path):
    content = path.read_bytes()
    assert len(content) < 60_000
    assert not re.search(rb"\.py|metadata=|/\w+/\w", content)
