import io
import math
import os
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from stages.engine.errors import InputError
from stages.graphs import archive as archives
from stages.graphs import npz
from tests.support.samples import assert_refused, layout_arrays, save, write_layout


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
    monkeypatch.setattr(archives, "LARGEST_ARRAY", 1 << 20)
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
    monkeypatch.setattr(archives, "LARGEST_ARRAY", arrays["node_config_feat"].nbytes - 1)
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
        monkeypatch.setattr(archives, "BLOCK_BYTES", rows * 3 * 72)
        with npz.LayoutFile(file) as layout:
            blocks = [block.copy() for block in layout.blocks()]
        assert [len(block) for block in blocks[:-1]] == [rows] * (len(blocks) - 1) and layout.shape == (50, 3)
        np.testing.assert_array_equal(np.concatenate(blocks), arrays["node_config_feat"])


def test_a_fault_beyond_the_first_block_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "BLOCK_BYTES", 1)
    file = write_layout(tmp_path, "graph", configurations=3000)
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        info = archive.getinfo("node_config_feat.npy")
    content[info.header_offset + 60 + info.compress_size // 2] ^= 255
    file.write_bytes(content)
    with npz.LayoutFile(file) as layout, pytest.raises(InputError, match="node_config_feat cannot be read"):
        assert len(list(layout.blocks())) < 3000
