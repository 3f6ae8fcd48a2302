import io
import math
import os
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from stages.errors import InputError
from stages.graphs import npz
from stages.graphs.collection import COLLECTIONS
from tests.support.samples import layout_arrays, save, tile_arrays, write_layout, write_root, write_tile

REAL = os.environ.get("TPUGRAPHS_DIR")
REAL_FILES = sorted(Path(REAL, "npz_all").rglob("*.npz")) if REAL else []


def changed(array, place, value, dtype=None):
    array = array.astype(dtype or array.dtype)
    array[place] = value
    return array


def without(arrays, key):
    return {name: array for name, array in arrays.items() if name != key}


NAN, INFINITY = float("nan"), float("inf")
GRAPH_FAULTS = {
    "no features": (lambda a: without(a, "node_feat"), "node_feat is missing"),
    "139 columns": (lambda a: a | {"node_feat": a["node_feat"][:, :139]}, r"node_feat has shape .* not \(any, 140\)"),
    "whole features": (lambda a: a | {"node_feat": a["node_feat"].astype(int)}, "node_feat has dtype int64"),
    "NaN feature": (lambda a: a | {"node_feat": changed(a["node_feat"], (1, 3), NAN)}, "node_feat .* NaN or infinite"),
    "too large": (lambda a: a | {"node_feat": changed(a["node_feat"], 0, INFINITY)}, "node_feat .* NaN or infinite"),
    "beyond int64": (lambda a: a | {"node_feat": changed(a["node_feat"], (1, 30), -1e19)}, r"node_feat .* 2\^63"),
    "beyond float32": (
        lambda a: a | {"node_feat": changed(a["node_feat"], (1, 30), 1e300, np.float64)},
        "node_feat .* NaN or infinite",
    ),
    "half an own layout": (lambda a: a | {"node_feat": changed(a["node_feat"], (1, 134), 0.5)}, r"134-139.* 0\.\.127"),
    "own layout -1": (lambda a: a | {"node_feat": changed(a["node_feat"], (1, 139), -1)}, r"134-139.* 0\.\.127"),
    "own layout 128": (lambda a: a | {"node_feat": changed(a["node_feat"], (1, 136), 128)}, r"134-139.* 0\.\.127"),
    "no node": (lambda a: a | {"node_feat": a["node_feat"][:0]}, "node_feat has no row"),
    "opcode 121": (lambda a: a | {"node_opcode": changed(a["node_opcode"], 0, 121)}, r"node_opcode .* 0\.\.120"),
    "an opcode less": (lambda a: a | {"node_opcode": a["node_opcode"][1:]}, "node_opcode has shape"),
    "opcodes of float": (lambda a: a | {"node_opcode": a["node_opcode"] * 1.0}, "node_opcode has dtype float64"),
    "edge to nowhere": (lambda a: a | {"edge_index": changed(a["edge_index"], (0, 1), 99)}, r"edge_index .* 0\.\."),
    "negative edge": (lambda a: a | {"edge_index": changed(a["edge_index"], (0, 1), -1)}, r"edge_index .* 0\.\."),
    "edges on their side": (lambda a: a | {"edge_index": a["edge_index"].T}, r"edge_index .* not \(any, 2\)"),
    "loop": (lambda a: a | {"edge_index": np.array([[1, 1]])}, "edge_index has a cycle"),
    "cycle": (lambda a: a | {"edge_index": np.array([[0, 1], [1, 2], [2, 0]])}, "edge_index has a cycle"),
    "no run time": (lambda a: without(a, "config_runtime"), "config_runtime is missing"),
    "run time of float": (lambda a: a | {"config_runtime": a["config_runtime"] * 1.0}, "config_runtime has dtype"),
    "negative run time": (
        lambda a: a | {"config_runtime": changed(a["config_runtime"], 2, -5)},
        "config_runtime has a value outside",
    ),
    "run time beyond float64": (
        lambda a: a | {"config_runtime": changed(a["config_runtime"], 2, 2**53 + 1)},
        f"config_runtime has a value outside 0..{2**53}",
    ),
    "run time beyond int64": (
        lambda a: a | {"config_runtime": changed(a["config_runtime"], 2, 2**63 + 5, np.uint64)},
        f"config_runtime has a value outside 0..{2**53}",
    ),
    "pickled": (
        lambda a: a | {"config_runtime": a["config_runtime"].astype(object)},
        "config_runtime has dtype object",
    ),
    "a record": (
        lambda a: a | {"config_runtime": a["config_runtime"].view([("a", "<i4"), ("b", "<i4")])},
        "config_runtime has dtype",
    ),
    "text": (lambda a: a | {"config_runtime": a["config_runtime"].astype(str)}, "config_runtime has dtype"),
    "a number": (lambda a: a | {"config_runtime": np.array(5)}, r"config_runtime has shape \(\), not \(any\)"),
    "a negative convolution number": (
        lambda a: (
            a
            | {"node_opcode": np.full_like(a["node_opcode"], 26)}
            | {"node_feat": changed(a["node_feat"], (1, 106), -7)}
        ),
        "node_feat has a convolution with a dimension number",
    ),
}
LAYOUT_FAULTS = {
    "no layouts": (lambda a: without(a, "node_config_feat"), "node_config_feat is missing"),
    "no ids": (lambda a: without(a, "node_config_ids"), "node_config_ids is missing"),
    "12 columns": (lambda a: a | {"node_config_feat": a["node_config_feat"][..., :12]}, "node_config_feat has shape"),
    "a row less": (lambda a: a | {"node_config_feat": a["node_config_feat"][1:]}, "node_config_feat has shape"),
    "layout 6": (
        lambda a: a | {"node_config_feat": changed(a["node_config_feat"], (0, 0, 0), 6)},
        r"node_config_feat .* -1\.\.5",
    ),
    "layout -2": (
        lambda a: a | {"node_config_feat": changed(a["node_config_feat"], (-1, -1, -1), -2)},
        r"node_config_feat .* -1\.\.5",
    ),
    "half a layout": (
        lambda a: a | {"node_config_feat": changed(a["node_config_feat"], (0, 0, 0), 0.5)},
        "node_config_feat .* no whole number",
    ),
    "NaN layout": (
        lambda a: a | {"node_config_feat": changed(a["node_config_feat"], (0, 0, 0), NAN)},
        "node_config_feat has a value outside",
    ),
    "id out of range": (lambda a: a | {"node_config_ids": np.array([1, 2, 12])}, r"node_config_ids .* 0\.\.11"),
    "a negative id": (lambda a: a | {"node_config_ids": np.array([1, 2, -1])}, r"node_config_ids .* 0\.\.11"),
    "id twice": (lambda a: a | {"node_config_ids": np.array([1, 2, 2])}, "node_config_ids names a node twice"),
    "no configurable node": (
        lambda a: a | {"node_config_ids": a["node_config_ids"][:0], "node_config_feat": a["node_config_feat"][:, :0]},
        "node_config_ids is empty",
    ),
    "no splits": (lambda a: without(a, "node_splits"), "node_splits is missing"),
    "splits without a file's row": (
        lambda a: a | {"node_splits": a["node_splits"][0]},
        r"node_splits .* not \(1, any\)",
    ),
    "splits that descend": (lambda a: a | {"node_splits": np.array([[0, 7, 5, 12]])}, "node_splits does not ascend"),
    "a split beyond the nodes": (lambda a: a | {"node_splits": np.array([[0, 13]])}, r"node_splits .* 0\.\.12"),
    "a negative split": (lambda a: a | {"node_splits": np.array([[-1, 12]])}, r"node_splits .* 0\.\.12"),
    "splits of float": (lambda a: a | {"node_splits": np.array([[0.0, 12.0]])}, "node_splits has dtype float64"),
    "no configuration": (
        lambda a: a | {"config_runtime": a["config_runtime"][:0], "node_config_feat": a["node_config_feat"][:0]},
        "config_runtime is empty",
    ),
}
TILE_FAULTS = {
    "no tiles": (lambda a: without(a, "config_feat"), "config_feat is missing"),
    "18 columns": (lambda a: a | {"config_feat": a["config_feat"][:, :18]}, r"config_feat .* not \(8, 24\)"),
    "NaN tile": (lambda a: a | {"config_feat": changed(a["config_feat"], (0, 0), NAN)}, "config_feat .* NaN"),
    "no normalizers": (lambda a: without(a, "config_runtime_normalizers"), "config_runtime_normalizers is missing"),
    "normalizer 0": (
        lambda a: a | {"config_runtime_normalizers": changed(a["config_runtime_normalizers"], 1, 0)},
        f"config_runtime_normalizers has a value outside 1..{2**53}",
    ),
    "normalizer beyond int64": (
        lambda a: a | {"config_runtime_normalizers": changed(a["config_runtime_normalizers"], 1, 2**64 - 1, np.uint64)},
        f"config_runtime_normalizers has a value outside 1..{2**53}",
    ),
}


def assert_refused(read, file, pattern):
    with pytest.raises(InputError, match=pattern) as error:
        read(file)
    assert str(error.value).startswith(str(file)) and "\n" not in str(error.value)


@pytest.mark.parametrize("fault", [*GRAPH_FAULTS, *LAYOUT_FAULTS])
def test_a_faulty_layout_file_is_refused_by_name_and_key(tmp_path, fault):
    mutate, pattern = (GRAPH_FAULTS | LAYOUT_FAULTS)[fault]
    assert_refused(npz.read_layout, save(tmp_path / "graph.npz", mutate(layout_arrays())), pattern)


@pytest.mark.parametrize("fault", [*GRAPH_FAULTS, *TILE_FAULTS])
def test_a_faulty_tile_file_is_refused_by_name_and_key(tmp_path, fault):
    mutate, pattern = (GRAPH_FAULTS | TILE_FAULTS)[fault]
    assert_refused(npz.read_tile, save(tmp_path / "graph.npz", mutate(tile_arrays())), pattern)


def test_what_is_no_npz_file_is_refused(tmp_path):
    whole = write_layout(tmp_path, "whole").read_bytes()
    contents = {"cut": whole[: len(whole) // 2], "head": whole[:10], "empty": b"", "text": b"node_feat\n" * 50}
    for name, content in contents.items():
        file = tmp_path / f"{name}.npz"
        file.write_bytes(content)
        assert_refused(npz.read_layout, file, "is no npz file or is cut off")
    np.save(tmp_path / "single.npy", np.zeros(3))
    assert_refused(npz.read_layout, tmp_path / "single.npy", "is a single array")
    assert_refused(npz.read_layout, tmp_path / "absent.npz", "no such file")


def test_a_damaged_array_is_refused(tmp_path):
    file = write_layout(tmp_path, "graph", nodes=200)
    content = bytearray(file.read_bytes())
    content[300:900] = bytes(600)  # inside the first array, node_feat; the zip directory at the end is whole
    file.write_bytes(content)
    assert_refused(npz.read_layout, file, "node_feat cannot be read")


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path):
    whole = write_layout(tmp_path, "graph").read_bytes()
    expected = vars(npz.read_layout(tmp_path / "graph.npz"))
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        content = bytearray(whole)
        content[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        (tmp_path / "flipped.npz").write_bytes(content)
        try:
            read = vars(npz.read_layout(tmp_path / "flipped.npz"))
        except InputError as error:
            refused += "\n" not in str(error)
            continue
        for name, array in expected.items():
            np.testing.assert_array_equal(read[name], array, name)
    assert refused > 200  # the others were flipped where no reader looks: dates and rights


def header(text, version=(1, 0)):
    """A npy header of any text."""
    length = 2 if version == (1, 0) else 4
    return b"\x93NUMPY" + bytes(version) + len(text).to_bytes(length, "little") + text.encode()


def with_member(folder, key, content, compression=zipfile.ZIP_DEFLATED):
    """A good layout file but for the bytes of one member."""
    good = write_layout(folder, "good")
    file = folder / "graph.npz"
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            if name == f"{key}.npy":
                archive.writestr(name, content, compression)
            else:
                archive.writestr(name, source.read(name))
    return file


HEADERS = {
    "more than any memory": ("'<f4'", "(1000000000000, 140)", "node_feat claims 560000000000000 bytes, more than"),
    "more than there is": ("'<f4'", "(13, 140)", "node_feat claims 7280 bytes and has 6720"),
    "less than there is": ("'<f4'", "(11, 140)", "node_feat claims 6160 bytes and has 6720"),
    "a negative size": ("'<f4'", "(-12, 140)", "node_feat cannot be read"),
    "a truth value for a size": ("'<f4'", "(True, 140)", "node_feat cannot be read"),
    "a size beyond int64": ("'<f4'", f"({2**70}, 140)", "node_feat cannot be read"),
    "a size of thousands of digits": ("'<f4'", f"({'9' * 5000}, 140)", "node_feat cannot be read"),
    "a call": ("__import__('os').mkdir('executed')", "(12, 140)", "node_feat cannot be read"),
    "endless brackets": ("'<f4'", "(" * 5000, "node_feat cannot be read"),
    "no dtype": ("'nonsense'", "(12, 140)", "node_feat cannot be read"),
    "an array for an element": ("('<f4', (140,))", "(12,)", "node_feat has dtype"),
    "nothing for an element": ("'V0'", "(12, 140)", "node_feat has dtype"),
}


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::SyntaxWarning")  # numpy's and Python's, on such headers
@pytest.mark.parametrize("fault", HEADERS)
def test_a_header_that_lies_or_acts_is_refused(tmp_path, monkeypatch, fault):
    monkeypatch.chdir(tmp_path)
    descr, shape, message = HEADERS[fault]
    content = header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n") + bytes(12 * 140 * 4)
    assert_refused(npz.read_layout, with_member(tmp_path, "node_feat", content), message)
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        header("{}"),
        header("{}", (2, 0)),
        header("{}", (3, 0)),
        header("", (9, 9)),
        b"PK\x03\x04" * 99,
    ],
)
def test_a_member_that_is_no_array_is_refused(tmp_path, content):
    assert_refused(npz.read_layout, with_member(tmp_path, "node_opcode", content), "node_opcode cannot be read")


def test_a_header_of_any_length_is_not_read_into_memory(tmp_path):
    text = b"\x93NUMPY\x02\x00" + (100_000_000).to_bytes(4, "little") + b"{" + bytes(100_000_000)
    file = with_member(tmp_path, "node_feat", text)
    assert file.stat().st_size < 200_000
    del text
    tracemalloc.start()
    assert_refused(npz.read_layout, file, "node_feat cannot be read")
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    tracemalloc.stop()


def pickled():
    class Act:
        def __reduce__(self):
            return os.mkdir, ("executed",)

    return np.array([Act()], object)


@pytest.mark.parametrize("key", ["node_feat", "node_config_feat", "config_runtime"])
def test_a_pickled_object_is_never_loaded(tmp_path, monkeypatch, key):
    monkeypatch.chdir(tmp_path)
    file = save(tmp_path / "graph.npz", layout_arrays() | {key: pickled()})
    assert_refused(npz.read_layout, file, f"{key} has dtype object")
    file.write_bytes(b"cos\nmkdir\n(S'executed'\ntR.")  # what numpy would load, and so run
    assert_refused(npz.read_layout, file, "is no npz file")
    assert not Path("executed").exists()


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_than_numpys_are_refused(tmp_path, compression):
    content = io.BytesIO()
    np.save(content, layout_arrays()["node_feat"])
    file = with_member(tmp_path, "node_feat", content.getvalue(), compression)
    assert_refused(npz.read_layout, file, "node_feat is neither stored nor deflated")


def test_a_file_that_is_not_compressed_is_read(tmp_path):
    np.savez(tmp_path / "stored.npz", **layout_arrays(configurations=500))
    read = npz.read_layout(tmp_path / "stored.npz")
    np.testing.assert_array_equal(read.node_config_feat, layout_arrays(configurations=500)["node_config_feat"])


def directory(file, key):
    """Where a member's entry in the zip's directory and its own header begin."""
    content = file.read_bytes()
    with zipfile.ZipFile(file) as archive:
        return content.rindex(f"{key}.npy".encode()) - 46, archive.getinfo(f"{key}.npy").header_offset


@pytest.mark.parametrize("field", [(16, "crc"), (20, "compressed size"), (24, "size"), (8, "flags"), (42, "offset")])
@pytest.mark.parametrize("key", ["node_feat", "node_config_feat"])
@pytest.mark.parametrize("by", [1, -1, 2**20])
def test_a_directory_that_lies_is_refused(tmp_path, field, key, by):
    """CRC, sizes, encryption flag and place of a member: one more, one less, far off."""
    file = write_layout(tmp_path, "graph", configurations=300)
    entry, _ = directory(file, key)
    content = bytearray(file.read_bytes())
    place = entry + field[0]
    if field[1] == "flags":
        content[place] |= 1  # encrypted
    else:
        value = int.from_bytes(content[place : place + 4], "little") + by
        content[place : place + 4] = (value % 2**32).to_bytes(4, "little")
    file.write_bytes(content)
    assert_refused(npz.read_layout, file, "npz")


def test_members_that_overlap_are_refused(tmp_path):
    """As in a bomb whose members share what they inflate to: here two names for one place."""
    file = write_layout(tmp_path, "graph")
    content = bytearray(file.read_bytes())
    (first, _), (_, other) = directory(file, "node_feat"), directory(file, "node_opcode")
    content[first + 42 : first + 46] = other.to_bytes(4, "little")
    file.write_bytes(content)
    assert_refused(npz.read_layout, file, "has members that overlap")


def test_two_members_of_one_name_are_refused(tmp_path):
    file = write_layout(tmp_path, "graph")
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("node_feat.npy", b"another")
    assert_refused(npz.read_layout, file, "has two members of one name")


def bomb(file, key, arrays, rows):
    """A file whose `key` is `rows` rows of zeros, a thousand times smaller on disk."""
    shape = (rows, *arrays[key].shape[1:])
    with (
        zipfile.ZipFile(save(file, arrays)) as source,
        zipfile.ZipFile(f"{file}.bomb", "w", 8, compresslevel=1) as archive,
    ):
        for name in source.namelist():
            if name != f"{key}.npy":
                archive.writestr(name, source.read(name))
        with archive.open(f"{key}.npy", "w") as member:
            text = f"{{'descr': '{arrays[key].dtype.str}', 'fortran_order': False, 'shape': {shape}}}\n"
            member.write(header(text))
            for _ in range(rows // 1000):
                member.write(bytes(1000 * math.prod(shape[1:]) * arrays[key].itemsize))
    os.replace(f"{file}.bomb", file)
    return file


@pytest.mark.parametrize("key", ["node_feat", "edge_index", "config_runtime", "node_config_feat", "node_splits"])
def test_a_bomb_is_refused_in_little_memory(tmp_path, monkeypatch, key):
    """Truthful about its size, which is beyond what any array of a graph is."""
    monkeypatch.setattr(npz, "LARGEST_ARRAY", 1 << 20)
    monkeypatch.setattr(npz, "LARGEST_LAYOUTS", 1 << 20)
    arrays = layout_arrays()
    if key == "node_splits":
        arrays[key] = arrays[key].reshape(-1)
    file = bomb(tmp_path / "graph.npz", key, arrays, {"node_config_feat": 100_000}.get(key, 1_000_000))
    tracemalloc.start()
    with pytest.raises(InputError, match=rf"graph\.npz: {key} (claims \d+ bytes, more than 1048576|has shape)"):
        npz.read_layout(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


def test_a_stream_that_goes_on_beyond_its_size_is_refused(tmp_path):
    """Header and directory agree, but what is inflated is more than both say: only so much of it is ever taken."""
    array = io.BytesIO()
    np.save(array, layout_arrays()["node_config_feat"])
    file = with_member(tmp_path, "node_config_feat", array.getvalue() + bytes(20_000_000))
    entry, _ = directory(file, "node_config_feat")
    content = bytearray(file.read_bytes())
    content[entry + 16 : entry + 20] = zlib.crc32(array.getvalue()).to_bytes(4, "little")
    content[entry + 24 : entry + 28] = len(array.getvalue()).to_bytes(4, "little")
    file.write_bytes(content)
    tracemalloc.start()
    assert_refused(npz.read_layout, file, "node_config_feat cannot be read")
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    tracemalloc.stop()


def test_a_directory_of_any_length_is_not_read_into_memory(tmp_path):
    file = tmp_path / "graph.npz"
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(20_000):
            archive.writestr(f"{number:060d}.npy", b"")
    assert_refused(npz.read_layout, file, "is no npz file or is cut off")


@pytest.mark.parametrize(
    ("limit", "key"),
    [("MOST_CONFIGURABLE", "node_config_ids"), ("MOST_CONFIGURATIONS", "config_runtime"), ("MOST_EDGES", "edge_index")],
)
def test_more_than_any_graph_has_is_refused(tmp_path, monkeypatch, limit, key):
    monkeypatch.setattr(npz, limit, 2)
    assert_refused(npz.read_layout, write_layout(tmp_path, "graph"), rf"{key} .* more than 2;")


def test_a_dot_of_many_operands_is_refused(tmp_path):
    """Which are its operands is searched for among all pairs of what it consumes."""
    arrays = layout_arrays(nodes=40) | {"node_config_ids": np.array([20, 21, 39])}
    arrays["node_opcode"][39] = 34
    for count in (8, 9):
        arrays["edge_index"] = np.array([[39, node] for node in range(count)])
        file = save(tmp_path / f"{count}.npz", arrays)
        if count == 8:
            npz.read_layout(file)
        else:
            assert_refused(npz.read_layout, file, "edge_index has a configurable convolution or dot of more than 8")


def test_a_repeated_edge_counts_once(tmp_path):
    """The published edges are distinct, and a second one would be taken for a second operand."""
    arrays = layout_arrays()
    edges = arrays["edge_index"]
    arrays["edge_index"] = np.concatenate([edges, edges[::-1], edges])
    read = npz.read_layout(save(tmp_path / "graph.npz", arrays))
    np.testing.assert_array_equal(read.edge_index, edges)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(("floats", "whole"), [("<f8", "<i8"), (">f4", ">i4"), ("<f2", ">u2"), (">f8", "<u8")])
def test_other_orders_of_bytes_and_axes_give_the_same_values(tmp_path, order, floats, whole):
    arrays = layout_arrays(configurations=50)
    arrays["config_runtime"] %= 60_000
    arrays["node_feat"] = np.minimum(arrays["node_feat"], 2048)
    stored = {name: np.asarray(a, floats if a.dtype.kind == "f" else whole, order=order) for name, a in arrays.items()}
    read = npz.read_layout(save(tmp_path / "graph.npz", stored))
    arrays["node_splits"] = arrays["node_splits"][0]
    for name, array in vars(read).items():
        np.testing.assert_array_equal(array, arrays[name], name)
        assert array.dtype.isnative and array.flags.c_contiguous, name


def test_layouts_in_fortran_order_beyond_the_memory_are_refused(tmp_path, monkeypatch):
    arrays = layout_arrays(configurations=50)
    arrays["node_config_feat"] = np.asfortranarray(arrays["node_config_feat"])
    monkeypatch.setattr(npz, "LARGEST_ARRAY", arrays["node_config_feat"].nbytes - 1)
    assert_refused(npz.read_layout, save(tmp_path / "graph.npz", arrays), "node_config_feat is in Fortran order")


def test_a_cut_anywhere_is_refused(tmp_path):
    content = write_layout(tmp_path, "graph").read_bytes()
    for length in range(0, len(content), 97):
        (tmp_path / "cut.npz").write_bytes(content[:length])
        assert_refused(npz.read_layout, tmp_path / "cut.npz", "is no npz file or is cut off")


def test_blocks_are_whole_configurations_in_order(tmp_path, monkeypatch):
    arrays = layout_arrays(configurations=50)
    file = save(tmp_path / "graph.npz", arrays)
    for rows in (1, 7, 50, 1000):
        monkeypatch.setattr(npz, "BLOCK_BYTES", rows * 3 * 72)
        with npz.LayoutFile(file) as layout:
            blocks = [block.copy() for block in layout.blocks()]
        assert [len(block) for block in blocks[:-1]] == [rows] * (len(blocks) - 1) and layout.shape == (50, 3)
        np.testing.assert_array_equal(np.concatenate(blocks), arrays["node_config_feat"])


def test_a_fault_beyond_the_first_block_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "BLOCK_BYTES", 1)
    file = write_layout(tmp_path, "graph", configurations=3000)
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        info = archive.getinfo("node_config_feat.npy")
    content[info.header_offset + 60 + info.compress_size // 2] ^= 255
    file.write_bytes(content)
    with npz.LayoutFile(file) as layout, pytest.raises(InputError, match="node_config_feat cannot be read"):
        assert len(list(layout.blocks())) < 3000


@pytest.mark.parametrize("features", [2.0**63, -(2.0**63)])
def test_the_largest_values_pass_and_stay_apart(tmp_path, features):
    arrays = layout_arrays()
    arrays["node_feat"][1, 30] = features
    arrays["node_feat"][1, 139] = 127
    arrays["config_runtime"][:2] = 2**53 - 1, 2**53
    read = npz.read_layout(save(tmp_path / "graph.npz", arrays))
    assert len(set(read.config_runtime[:2].astype(np.float64))) == 2
    assert read.node_feat[1, [30, 139]].tolist() == [features, 127]


def test_arrays_are_cast_and_keep_their_values(tmp_path):
    arrays = layout_arrays()
    other = {
        "node_opcode": arrays["node_opcode"].astype(np.int32),
        "edge_index": arrays["edge_index"].astype(np.int32),
        "node_config_ids": arrays["node_config_ids"].astype(np.uint16),
        "config_runtime": arrays["config_runtime"].astype(np.int32),
        "node_feat": arrays["node_feat"].astype(np.float64),
        "node_splits": np.array([[0, 5, 5, 12]], np.int32),  # an empty part is legal
    }
    read = npz.read_layout(save(tmp_path / "graph.npz", arrays | other))
    arrays["node_splits"] = np.array([0, 5, 5, 12])
    for name, array in vars(read).items():
        expected = np.float32 if "feat" in name else np.uint8 if name == "node_opcode" else np.int64
        assert array.dtype == expected, name
        np.testing.assert_array_equal(array, arrays[name], name)


@pytest.mark.parametrize("configurations", [1, 20])
def test_equal_configurations_are_legal(tmp_path, configurations):
    arrays = layout_arrays(configurations=configurations)
    arrays["node_config_feat"][:] = arrays["node_config_feat"][:1]
    read = npz.read_layout(save(tmp_path / "graph.npz", arrays))
    assert read.node_config_feat.shape == (configurations, 3, 18)


def test_nodes_need_not_be_in_topological_order(tmp_path):
    arrays = layout_arrays() | {"edge_index": np.array([[0, 5], [5, 3], [0, 3]])}
    assert npz.read_layout(save(tmp_path / "graph.npz", arrays)).edge_index.tolist() == [[0, 5], [5, 3], [0, 3]]


def test_faults_in_any_chunk_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "BLOCK_BYTES", 3 * 3 * 72)  # three configurations: the eight make chunks of 3, 3 and 2
    for configuration in range(8):
        arrays = layout_arrays()
        arrays["node_config_feat"][configuration, -1, -1] = 6
        assert_refused(npz.read_layout, save(tmp_path / "graph.npz", arrays), "outside")


def test_a_data_set_is_checked_with_a_line_per_collection(tmp_path, capsys):
    root = write_root(tmp_path, graphs={"train": 2, "valid": 1, "test": 1})
    assert npz.main([str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == list(COLLECTIONS)
    assert "train 2 graphs, 24 nodes, 16 configurations; valid 1 graphs, 12 nodes" in lines[1]
    faulty = root / "npz/layout/nlp/random/valid/valid_0.npz"
    save(faulty, without(layout_arrays(), "node_feat"))
    assert npz.main([str(root)]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1 and errors[0].startswith(f"{faulty}: node_feat is missing")


def program_arrays():
    """A graph without configurations, as `stages.hlo` writes it."""
    return {key: layout_arrays()[key] for key in ("node_feat", "node_opcode", "edge_index", "node_splits")}


def test_a_folder_of_files_of_all_kinds_is_checked_with_a_line_for_each(tmp_path, capsys):
    for name, arrays in zip("abcd", (program_arrays(), program_arrays(), layout_arrays(), tile_arrays()), strict=True):
        save(tmp_path / f"{name}.npz", arrays)
    assert npz.main([str(tmp_path)]) == 0
    nodes, kernel = len(layout_arrays()["node_feat"]), tile_arrays()
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}: 2 graphs without configurations, {2 * nodes} nodes",
        f"{tmp_path}: 1 layout graphs, {nodes} nodes, {len(layout_arrays()['config_runtime'])} configurations",
        f"{tmp_path}: 1 tile graphs, {len(kernel['node_feat'])} nodes, {len(kernel['config_runtime'])} configurations",
    ]
    faulty = save(tmp_path / "b.npz", without(program_arrays(), "node_splits"))
    assert npz.main([str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith(f"{faulty}: node_splits is missing") and shown.err.count("\n") == 1


@pytest.mark.parametrize("fault", [name for name in GRAPH_FAULTS if "runtime" not in GRAPH_FAULTS[name][1]])
def test_a_faulty_graph_without_configurations_is_refused(tmp_path, fault):
    change, pattern = GRAPH_FAULTS[fault]
    assert_refused(npz.read_program, save(tmp_path / "faulty.npz", change(program_arrays())), pattern)


@pytest.mark.parametrize("read", [npz.read_layout, npz.read_tile])
def test_a_graph_without_configurations_is_none_of_a_collection(tmp_path, read):
    file = save(tmp_path / "program.npz", program_arrays())
    with pytest.raises(InputError, match="program.npz: is a graph without configurations, so there is nothing to rank"):
        read(file)


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(InputError, match=r"npz/tile/xla/valid: no such folder; .*data\.root"):
        npz.files(tmp_path, "tile:xla", "valid")
    (tmp_path / "npz/tile/xla/valid").mkdir(parents=True)
    with pytest.raises(InputError, match="npz/tile/xla/valid: holds no npz file"):
        npz.files(tmp_path, "tile:xla", "valid")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("a\nb", "cannot be printed"),
        ("a\u00a0b", "cannot be printed"),
        (b"a\xff".decode("utf-8", "surrogateescape"), "cannot be printed"),
        (".hidden", "begins with a dot"),
        ("", "begins with a dot"),  # .npz
        ("graph_pruned", "ends in '_pruned'"),
        ("graph.pb", "ends in '.pb'"),
        ("ä" * 101, "is longer than 200 bytes"),
    ],
)
def test_a_name_that_can_be_no_graph_id_is_refused(tmp_path, name, fault):
    folder = tmp_path / "npz/tile/xla/valid"
    write_tile(folder, "good")
    write_tile(folder, name)
    with pytest.raises(InputError, match=f"npz/tile/xla/valid: the name .* {fault}.*; rename the file") as error:
        npz.files(tmp_path, "tile:xla", "valid")
    assert str(error.value).isprintable()


def test_names_of_any_language_and_the_published_ones_pass(tmp_path):
    names = ["retinanet.2x2.fp32_-342c949e14733d96", "unet_3d.4x4.bf16", "Ünï çödé 模", "we ird;a,b:c\"q'", "a" * 200]
    for name in names:
        write_tile(tmp_path / "npz/tile/xla/valid", name)
    assert {file.stem for file in npz.files(tmp_path, "tile:xla", "valid")} == set(names)


@pytest.mark.skipif(not REAL, reason="TPUGRAPHS_DIR does not name a folder of real TpuGraphs files")
@pytest.mark.parametrize("file", REAL_FILES, ids=lambda file: file.stem)
def test_real_files_pass_unchanged(file):
    read = npz.read_tile(file) if "tile" in file.parts else npz.read_layout(file)
    with np.load(file, allow_pickle=False) as stored:
        for name, array in vars(read).items():
            np.testing.assert_array_equal(array, stored[name][0] if name == "node_splits" else stored[name], name)
