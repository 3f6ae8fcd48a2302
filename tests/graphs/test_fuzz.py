"""Damaged and hostile files: the npz reader and the protobuf reader give a right result or an InputError of one line.

In the tests a few hundred inputs; `python -m tests.graphs.test_fuzz 100000` takes as many as are asked for, within
4 GB, and ends with the seed of the first that breaks the rule. `python -m tests.graphs.test_fuzz 100000 --coverage`
lets atheris (requirements-fuzz.txt) choose them, toward code that none has reached yet.
"""

from __future__ import annotations

import contextlib
import io
import resource
import signal
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from pathlib import Path
from types import FunctionType

import numpy as np
from google.protobuf.message import Message
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tqdm import tqdm

from stages.engine.errors import InputError
from stages.graphs import dataset, npz
from stages.hlo.__main__ import convert
from stages.prune.packing import Options, pack
from tests.support.hlo import layout_tuning, tile_tuning
from tests.support.samples import layout_arrays, tile_arrays

SECONDS = 20  # that one input may take
MEMORY = 4 << 30
NUMBERS = [0, 1, 2, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1]
VALUES = [np.nan, np.inf, -np.inf, -0.0, 0.5, -1, -2, 5, 6, 127, 128, 1e30, 2.0**53, 2.0**63, 2.0**64]
DTYPES = ["<f4", ">f4", "<f8", "<f2", "<i8", ">i8", "<i4", "u1", "<u8", ">u2", "?", "<c8", "<U3", "S2", "<M8[s]"]


def mutated(rng: np.random.Generator, content: bytes) -> bytes:
    """The content with one to three damages."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        start, end = sorted(rng.integers(0, len(changed) + 1, 2).tolist())
        end = min(end, start + int(rng.choice([1, 4, 64, 4096])))
        kind = rng.integers(7)
        if kind == 0 and start < len(changed):
            changed[start] ^= 1 << rng.integers(8)
        elif kind == 1:
            changed[start : start + 1] = rng.bytes(1)
        elif kind == 2:
            size = int(rng.choice([1, 2, 4, 8]))
            number = NUMBERS[rng.integers(len(NUMBERS))] % 256**size
            changed[start : start + size] = number.to_bytes(size, rng.choice(["little", "big"]))
        elif kind == 3:
            del changed[start:end]
        elif kind == 4:
            changed[start:start] = changed[start:end]
        elif kind == 5:
            changed[start:end] = rng.bytes(end - start)
        elif rng.random() < 0.2:
            del changed[start:]
    return bytes(changed)


def odd(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """The array with another dtype, order, shape or some strange values."""
    kind = rng.integers(6)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == 0:
            return array.astype(DTYPES[rng.integers(len(DTYPES))])
        if kind == 1:
            return np.asarray(array, order="F")
        if kind == 2:
            axis = rng.integers(array.ndim)
            return np.roll(array, 1, axis=axis) if rng.random() < 0.5 else np.flip(array, axis=axis)
        if kind == 3:
            part = tuple(slice(int(rng.integers(0, 2)), int(rng.integers(0, size + 2))) for size in array.shape)
            return array[part]
        if kind == 4:
            return array.reshape([array.T.shape, (-1,), (1, *array.shape), (*array.shape, 1)][rng.integers(4)])
        changed = array.copy()
        for _ in range(rng.integers(1, 4)):
            if changed.size:
                value = VALUES[rng.integers(len(VALUES))]
                changed.reshape(-1)[rng.integers(changed.size)] = np.array(value).astype(changed.dtype)
        return changed


def odd_message(rng: np.random.Generator, message: Message) -> bytes:
    """The message with one to three of its fields left out, doubled or set to something strange."""
    found = []

    def walk(part: Message) -> None:
        for field, value in part.ListFields():
            found.append((part, field))
            if field.message_type:
                for child in value if field.is_repeated else [value]:
                    walk(child)

    walk(message)
    for place in rng.integers(0, len(found), rng.integers(1, 4)):
        part, field = found[place]
        value: object = NUMBERS[rng.integers(len(NUMBERS))] * int(rng.choice([1, -1]))
        if field.cpp_type == field.CPPTYPE_STRING:
            value = rng.choice(["", "../up", "/etc/x", "nul\0", "a" * 5000, "dot", "convolution", "reduce", "while"])
        value = value if not isinstance(value, str) or field.type != field.TYPE_BYTES else value.encode()
        with contextlib.suppress(
            ValueError, TypeError, IndexError, OverflowError
        ):  # not of this field, or what it was in is gone
            if field.is_repeated:
                values = getattr(part, field.name)
                at = int(rng.integers(len(values)))
                kind = rng.integers(3)
                if kind == 0:
                    del values[at]
                elif kind == 1:
                    values.extend([values[at]] * int(rng.integers(1, 9)))
                else:
                    values[at] = value
            elif field.message_type or rng.random() < 0.3:
                part.ClearField(field.name)
            else:
                setattr(part, field.name, value)
    return message.SerializeToString()


def zipped(members: dict[str, bytes], compression: int) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


def npz_input(rng: np.random.Generator, tile: bool) -> bytes:
    """An npz file damaged as a whole, or in one member before it is zipped, or made of odd arrays."""
    seed = int(rng.integers(100))
    arrays = tile_arrays(seed=seed) if tile else layout_arrays(seed=seed, configurations=int(rng.integers(1, 9)))
    kind = rng.integers(3)
    if kind == 0:
        for key in rng.choice(list(arrays), rng.integers(1, 3), replace=False):
            arrays[key] = odd(rng, arrays[key])
    members = {f"{key}.npy": npy(array) for key, array in arrays.items()}
    if kind == 1:
        name = f"{rng.choice(list(arrays))}.npy"
        length = int(rng.choice([128, len(members[name])]))  # the header, or all
        members[name] = mutated(rng, members[name][:length]) + members[name][length:]
    content = zipped(members, int(rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])))
    return mutated(rng, content) if kind == 2 else content


def check_npz(rng: np.random.Generator, folder: Path) -> str:
    """One input of the npz reader; "refused" or "read"."""
    tile = bool(rng.integers(2))
    return hold_npz(npz_input(rng, tile), tile, rng, folder)


def hold_npz(content: bytes, tile: bool, rng: np.random.Generator, folder: Path) -> str:
    """Fails unless the reader and the packing refuse the file, or are right."""
    file = folder / "graph.npz"
    file.write_bytes(content)
    options = None if tile else Options(int(rng.choice([1, 2])), bool(rng.integers(2)), duplicates="mean")
    split = str(rng.choice(["train", "test"]))  # equal configurations become one only in train
    collection = "tile:xla" if tile else "layout:xla:random"
    try:
        arrays = npz.read_tile(file) if tile else npz.read_layout(file)
        sound(arrays)
        pack(file, dataset.graph_file(dataset.prune_folder(folder, collection), split, "graph"), split, options)
    except InputError as error:
        assert str(error).startswith(str(file)) and "\n" not in str(error)
        return "refused"
    graph = dataset.graph(folder, collection, split, "graph")
    assert np.isfinite(list(graph.whole.values())).all()
    if not tile:
        np.testing.assert_array_equal(graph.layouts(), arrays.node_config_feat[graph.config_index])
        configurable = graph.node_feat[graph.config_nodes]
        np.testing.assert_array_equal(configurable, arrays.node_feat[arrays.node_config_ids])
    return "read"


def sound(arrays: npz.LayoutArrays | npz.TileArrays) -> None:
    """What later stages rely on."""
    nodes, count = len(arrays.node_feat), len(arrays.config_runtime)
    assert nodes and count and arrays.node_feat.shape == (nodes, 140) and np.isfinite(arrays.node_feat).all()
    assert arrays.node_opcode.shape == (nodes,) and arrays.node_opcode.max() <= 120
    assert arrays.edge_index.shape == (len(arrays.edge_index), 2)
    assert not len(arrays.edge_index) or (0 <= arrays.edge_index.min() and arrays.edge_index.max() < nodes)
    assert len(np.unique(arrays.edge_index, axis=0)) == len(arrays.edge_index)
    assert arrays.config_runtime.min() >= 0 and arrays.config_runtime.max() <= 2**53
    if isinstance(arrays, npz.TileArrays):
        assert arrays.config_feat.shape == (count, 24) and np.isfinite(arrays.config_feat).all()
        assert arrays.config_runtime_normalizers.shape == (count,) and arrays.config_runtime_normalizers.min() > 0
        return
    assert arrays.node_config_feat.shape == (count, len(arrays.node_config_ids), 18)
    assert np.isin(arrays.node_config_feat, np.arange(-1, 6)).all()
    assert sorted(set(arrays.node_config_ids.tolist())) == sorted(arrays.node_config_ids.tolist())
    assert 0 <= arrays.node_config_ids.min() and arrays.node_config_ids.max() < nodes


def check_protobuf(rng: np.random.Generator, folder: Path) -> str:
    """One input of the protobuf reader; "refused" or "read"."""
    tuning = tile_tuning() if rng.integers(2) else layout_tuning()
    content = odd_message(rng, tuning) if rng.integers(2) else mutated(rng, tuning.SerializeToString())
    return hold_protobuf(content, folder)


def hold_protobuf(content: bytes, folder: Path) -> str:
    """Fails unless the reader refuses the file, or writes files that the npz reader does not fail on."""
    file, made = folder / "program.pb", folder / "made"
    file.write_bytes(content)
    try:
        written = convert(file, made)
    except InputError as error:
        assert "\n" not in str(error)
        return "refused"
    for path in written:
        assert path.parent == made and path.is_file()
        with np.load(path) as arrays:
            read = npz.read_layout if "node_config_ids" in arrays else npz.read_tile
        try:
            sound(read(path))
        except InputError:
            pass
        path.unlink()
    return "read"


def check(check_one, seed: int, folder: Path) -> str:
    """Runs one check within its time; the machine's alarm clock ends an endless one."""

    def late(*_):
        raise TimeoutError(f"seed {seed} took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's, on odd headers and numbers
            return check_one(np.random.default_rng(seed), folder)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@settings(max_examples=250, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
@example(seed=4695)  # configurations in Fortran's order whose last axis lies apart
def test_the_npz_reader_refuses_or_is_right(seed):
    with tempfile.TemporaryDirectory() as folder:
        check(check_npz, seed, Path(folder))


@settings(max_examples=250, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_protobuf_reader_refuses_or_is_right(seed):
    with tempfile.TemporaryDirectory() as folder:
        check(check_protobuf, seed, Path(folder))


def test_the_inputs_are_neither_all_good_nor_all_bad():
    """Else they would test one path alone."""
    with tempfile.TemporaryDirectory() as folder:
        for check_one in (check_npz, check_protobuf):
            outcomes = Counter(check(check_one, seed, Path(folder)) for seed in range(100))
            assert min(outcomes["read"], outcomes["refused"]) >= 10, outcomes


def npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def guided(inputs: int) -> None:
    """Inputs by coverage: the first byte says what the others are, a protobuf, an npz file or one member of it."""
    import atheris

    parts = {
        tile: {key: npy(array) for key, array in (tile_arrays() if tile else layout_arrays()).items()}
        for tile in (0, 1)
    }
    keys = {tile: sorted(parts[tile]) for tile in parts}
    seeds = [bytes([0]) + layout_tuning().SerializeToString(), bytes([0]) + tile_tuning().SerializeToString()]
    for tile in parts:
        whole = zipped({f"{key}.npy": member for key, member in parts[tile].items()}, zipfile.ZIP_DEFLATED)
        seeds += [bytes([1 + tile]) + whole]
        seeds += [bytes([3 + tile, place]) + parts[tile][key] for place, key in enumerate(keys[tile])]

    def one(data: bytes) -> None:
        kind, rest = (data[0] % 5, data[1:]) if data else (0, b"")
        tile = kind in (2, 4)
        if kind > 2:
            key = keys[tile][rest[0] % len(keys[tile])] if rest else keys[tile][0]
            rest = zipped(
                {f"{name}.npy": part for name, part in (parts[tile] | {key: rest[1:]}).items()}, zipfile.ZIP_STORED
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if kind:
                hold_npz(rest, tile, np.random.default_rng(0), folder)
            else:
                hold_protobuf(rest, folder)

    for module in [module for name, module in sys.modules.items() if name.startswith("stages.")]:
        for owner in [module, *(value for value in vars(module).values() if isinstance(value, type))]:
            for function in vars(owner).values():
                if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                    atheris.instrument_func(function)
    with tempfile.TemporaryDirectory() as work:
        folder, corpus = Path(work, "work"), Path(work, "corpus")
        for path in (folder, corpus):
            path.mkdir()
        for number, seed in enumerate(seeds):
            (corpus / str(number)).write_bytes(seed)
        limits = [f"-runs={inputs}", f"-timeout={SECONDS}", f"-rss_limit_mb={MEMORY >> 20}", "-max_len=65536"]
        atheris.Setup([sys.argv[0], *limits, str(corpus)], one)
        atheris.Fuzz()


def main(arguments: list[str]) -> int:
    inputs = int(arguments[0])
    if "--coverage" in arguments:
        guided(inputs)  # which ends the process
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for check_one in (check_npz, check_protobuf):
        outcomes: Counter[str] = Counter()
        with tempfile.TemporaryDirectory() as folder:
            for seed in tqdm(range(inputs), check_one.__name__, mininterval=5):
                try:
                    outcomes[check(check_one, seed, Path(folder))] += 1
                except BaseException:
                    print(f"{check_one.__name__}, seed {seed}", file=sys.stderr)
                    raise
        print(f"{check_one.__name__}: {inputs} inputs, {dict(outcomes)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
