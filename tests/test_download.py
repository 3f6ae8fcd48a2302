"""The downloader against a local server that breaks off, lies about lengths, is busy, and sends hostile archives."""

import base64
import contextlib
import hashlib
import io
import os
import shutil
import tarfile
import threading
import zipfile
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stages import download
from stages.engine.errors import InputError
from stages.graphs.collection import COLLECTIONS, SPLITS, folder
from tests.support.samples import write_root

GRAPHS = {"train": 2, "valid": 1, "test": 1}
FIRST = "npz_tile_xla_train.tar"


def tar_name(collection, split):
    return f"npz_{collection.replace(':', '_')}_{split}.tar"


def tarred(members):
    """A tar of (TarInfo or name, content) pairs."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for member, body in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return content.getvalue()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_root(tmp_path_factory.mktemp("root"), graphs=GRAPHS, configurations=30)


@pytest.fixture(scope="module")
def archives(root):
    """The mirror's 15 tars by name."""
    made = {}
    for collection in COLLECTIONS:
        for split in SPLITS:
            found = sorted(folder(root, collection, split).glob("*.npz"))
            members = [(path.relative_to(root).as_posix(), path.read_bytes()) for path in found]
            made[tar_name(collection, split)] = tarred(members)
    return made


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files`; an entry of `server.faults[name]` is taken for each GET, and changes what is sent."""

    def do_HEAD(self):
        self.answer(self.server.heads.get(self.name, {}), False)

    def do_GET(self):
        faults = self.server.faults.get(self.name, [])
        fault = faults.pop(0) if faults else {}
        self.server.log.append((self.name, self.headers.get("Range")))
        self.answer(fault, True)

    @property
    def name(self):
        return self.path.rpartition("/")[2]

    def answer(self, fault, with_body):
        content = self.server.files.get(self.name)
        status = fault.get("status", 404 if content is None else 200)
        if status >= 400:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            for name, value in fault.get("headers", {}).items():
                self.send_header(name, value)
            self.end_headers()
            return
        version = fault.get("version", '"1"')
        start = 0
        asked = self.headers.get("Range")
        if asked and not fault.get("whole") and self.headers.get("If-Range", version) == version:
            start, status = int(asked.removeprefix("bytes=").rstrip("-")), 206
        body = content[start:]
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", fault.get("range", f"bytes {start}-{len(content) - 1}/{len(content)}"))
        if not fault.get("silent"):
            self.send_header("Content-Length", str(len(body) + fault.get("more", 0)))
        if version:
            self.send_header("ETag", version)
        md5 = base64.b64encode(hashlib.md5(content).digest()).decode()
        self.send_header("x-goog-hash", "crc32c=AAAAAA==")
        self.send_header("x-goog-hash", f"md5={fault.get('md5', md5)}")
        self.end_headers()
        if with_body:
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body[: fault.get("only", len(body))])
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server(archives, monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.0)
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.files, made.faults, made.heads, made.log = dict(archives), {}, {}, []
    made.address = f"http://127.0.0.1:{made.server_port}/data"
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def contents(path):
    return {file.relative_to(path): file.read_bytes() for file in Path(path).rglob("*") if file.is_file()}


def assert_whole(path, root):
    assert contents(path / "npz_all") == contents(root)
    assert {file.name for file in path.iterdir()} == {".gitignore", "fetched", "npz_all"}


def test_all_archives_are_fetched_unpacked_and_not_fetched_again(tmp_path, server, root, archives, capsys):
    assert download.main([str(tmp_path / "data"), "--source", f"{server.address}/"]) == 0
    assert_whole(tmp_path / "data", root)
    total, largest = sum(map(len, archives.values())), max(map(len, archives.values()))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"0 archives are there, 15 of {total / 1e6:.1f} MB are to be fetched"
    assert lines[1].startswith(f"{(total + largest) / 1e6:.1f} MB of disk are needed in {tmp_path / 'data'}, ")
    assert lines[2] == f"done; in params.yaml set data.root: {tmp_path / 'data/npz_all'}"
    assert sorted(server.log) == [(name, None) for name in sorted(archives)]
    server.log.clear()
    download.fetch(tmp_path / "data", server.address)
    assert server.log == []


def test_a_broken_download_goes_on_with_the_next_byte(tmp_path, server, root):
    server.faults[FIRST] = [{"only": 1000}, {"only": 0}, {"status": 503}, {"only": 3000}]
    download.fetch(tmp_path, server.address)
    assert_whole(tmp_path, root)
    asked = [place for name, place in server.log if name == FIRST]
    assert asked == [None, "bytes=1000-", "bytes=1000-", "bytes=1000-", "bytes=4000-"]


def test_a_run_that_was_broken_off_goes_on(tmp_path, server, root):
    server.faults[FIRST] = [{"only": 1000}] + [{"status": 404}]
    with pytest.raises(InputError, match=f"{FIRST}: the server answers 404"):
        download.fetch(tmp_path, server.address)
    assert (tmp_path / f"{FIRST}.part").stat().st_size == 1000
    server.log.clear()
    download.fetch(tmp_path, server.address)
    assert server.log[0] == (FIRST, "bytes=1000-") and len(server.log) == 15
    assert_whole(tmp_path, root)


@pytest.mark.parametrize("fault", [{"whole": True}, {"version": '"2"'}])
def test_a_server_that_sends_all_again_is_followed(tmp_path, server, root, fault):
    """One that knows no ranges, or whose file is another by now."""
    server.faults[FIRST] = [{"only": 1000}, fault]
    download.fetch(tmp_path, server.address)
    assert_whole(tmp_path, root)


def test_a_part_of_another_version_is_not_gone_on_with(tmp_path, server, root):
    (tmp_path / f"{FIRST}.part").write_bytes(b"old")
    (tmp_path / f"{FIRST}.version").write_text('"0"')
    download.fetch(tmp_path, server.address)
    assert server.log[0] == (FIRST, None)
    assert_whole(tmp_path, root)


def test_a_part_longer_than_the_archive_is_not_kept(tmp_path, server, root, archives):
    (tmp_path / f"{FIRST}.part").write_bytes(bytes(len(archives[FIRST]) + 1))
    (tmp_path / f"{FIRST}.version").write_text('"1"')
    download.fetch(tmp_path, server.address)
    assert_whole(tmp_path, root)


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_busy_server_is_asked_again(tmp_path, server, root, status):
    server.faults[FIRST] = [{"status": status}] * (download.TRIES - 1)
    download.fetch(tmp_path, server.address)
    assert_whole(tmp_path, root)


def test_pauses_double_and_follow_what_the_server_asks(tmp_path, server, monkeypatch):
    pauses = []
    monkeypatch.setattr(download.time, "sleep", pauses.append)
    monkeypatch.setattr(download, "PAUSE", 2.0)
    answers = [{"status": 503, "headers": {"Retry-After": value}} for value in ("7", "9999", "Sunday", "1")]
    server.faults[FIRST] = answers
    download.fetch(tmp_path, server.address)
    assert pauses == [7, 120, 8, 16]


@pytest.mark.parametrize("always", [{"status": 503}, {"only": 0}, {"more": 50}])
def test_a_server_that_keeps_failing_is_given_up(tmp_path, server, always, archives):
    """Busy for ever, or sends nothing, or less than it tells."""
    if "more" in always:
        server.heads[FIRST] = always
    server.faults[FIRST] = [dict(always) for _ in range(50)]
    told = rf"{download.TRIES} times; run again later, it goes on|sends bytes 10240-10239/10240, not bytes 10240-10289"
    with pytest.raises(InputError, match=f"{FIRST}: .*({told})"):
        download.fetch(tmp_path, server.address)
    assert len(server.log) <= 2 * download.TRIES
    assert not (tmp_path / "npz_all").exists()


def test_a_server_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.0)
    with pytest.raises(
        InputError, match=r"127\.0\.0\.1:1/npz_tile_xla_train\.tar: cannot be reached \(.*refused.*6 times"
    ):
        download.fetch(tmp_path, "http://127.0.0.1:1")


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_an_address_that_is_not_there_is_told_at_once(tmp_path, server, status, capsys):
    server.heads["npz_layout_nlp_random_valid.tar"] = {"status": status}
    assert download.main([str(tmp_path), "--source", server.address]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"npz_layout_nlp_random_valid.tar: the server answers {status}" in line
    assert server.log == []  # the others are not fetched first


@pytest.mark.parametrize(
    ("head", "answers", "message"),
    [
        ({"more": 512}, [{}], "sends 13312 bytes, not 13824"),
        ({}, [{"more": -512}], "sends 12800 bytes, not 13312"),
        ({}, [{"only": 1000}, {"range": "bytes 0-9/10"}], "sends bytes 0-9/10, not bytes 1000-13311/13312"),
        ({"silent": True}, [], "is empty, or its length is not told"),
        ({"md5": "A" * 22 + "=="}, [], "has come with other content than its server tells"),
    ],
)
def test_a_wrong_length_or_content_is_told(tmp_path, server, archives, head, answers, message):
    server.files[FIRST] = (archives[FIRST] + bytes(13312))[:13312]
    server.heads[FIRST], server.faults[FIRST] = head, answers
    with pytest.raises(InputError, match=f"{FIRST}: {message}"):
        download.fetch(tmp_path, server.address)
    assert not (tmp_path / "npz_all").exists()


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


INSIDE = "npz/tile/xla/train"
HOSTILE = {
    "up": ([(f"{INSIDE}/../../../../../outside.npz", b"")], "leads out"),
    "absolute": ([(f"/{INSIDE}/outside.npz", b"")], "leads out"),
    "backslashes": ([(f"{INSIDE}\\..\\outside.npz", b"")], "leads out"),
    "up behind npz_all": ([(f"npz_all/../{INSIDE}/a.npz", b"")], "leads out"),
    "symbolic link": ([(special(f"{INSIDE}/a.npz", tarfile.SYMTYPE, "/etc/passwd"), b"")], "which is no graph"),
    "hard link": ([(special(f"{INSIDE}/a.npz", tarfile.LNKTYPE, "/etc/passwd"), b"")], "which is no graph"),
    "linked folder": ([(special("npz/tile", tarfile.SYMTYPE, "/tmp"), b"")], "which is no graph"),
    "pipe": ([(special(f"{INSIDE}/a.npz", tarfile.FIFOTYPE), b"")], "which is no graph"),
    "device": ([(special(f"{INSIDE}/a.npz", tarfile.CHRTYPE), b"")], "which is no graph"),
    "sparse": ([(special(f"{INSIDE}/a.npz", tarfile.GNUTYPE_SPARSE), b"")], "which is no graph"),
    "foreign file": ([("evil.py", b"print(1)")], "which is no graph"),
    "foreign folder": ([("npz/tile/xla/other/a.npz", b"")], "which is no graph"),
    "hidden": ([(f"{INSIDE}/.npz", b"")], "begins with a dot"),
    "unprintable": ([(f"{INSIDE}/a\x1b[2J.npz", b"")], "cannot be printed"),
    "long": ([(f"{INSIDE}/{'a' * 201}.npz", b"")], "is longer than 200"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_tar_writes_nothing(tmp_path, server, archives, kind):
    members, message = HOSTILE[kind]
    with tarfile.open(fileobj=io.BytesIO(archives[FIRST])) as good:
        graphs = [(member.name, good.extractfile(member).read()) for member in good]
    server.files[FIRST] = tarred(graphs + members)
    with pytest.raises(InputError, match=message) as error:
        download.fetch(tmp_path / "data", server.address)
    assert str(error.value).isprintable() and len(str(error.value)) < 500
    assert not (tmp_path / "data/npz_all").exists() and {path.name for path in tmp_path.iterdir()} == {"data"}


def led_back(tar):
    """The tar with a first member of negative size, at whose end the reader is at the first member again."""
    header = bytearray(tar[:512])
    header[124:136] = b"\xff" * 8 + (-512 % 2**32).to_bytes(4, "big")
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return bytes(header) + tar[512:]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda tar: b"", "is empty"),
        (lambda tar: b"<html>busy</html>", "is no whole tar"),
        (lambda tar: bytes(10240), "is empty|is no whole tar"),
        (lambda tar: tar[: len(tar) // 2], "is no whole tar"),
        (lambda tar: tar[:1024] + bytes(1024), "is no whole tar|node|npz"),
        (lambda tar: tar[:512] + bytes(512) + tar[1024:], "train_0.npz: node_feat cannot be read"),
        (led_back, "is no whole tar"),
    ],
    ids=["nothing", "a page", "zeros", "half", "cut at a block", "a damaged graph", "led back"],
)
def test_a_damaged_tar_is_fetched_anew(tmp_path, server, root, archives, damage, message):
    server.files[FIRST] = damage(archives[FIRST])
    with pytest.raises(InputError, match=message):
        download.fetch(tmp_path, server.address)
    assert not (tmp_path / "fetched" / FIRST).exists()
    server.files[FIRST] = archives[FIRST]
    for part in tmp_path.glob("*.part"):  # of a tar of nothing: its version is the same here
        part.unlink()
    download.fetch(tmp_path, server.address)
    assert_whole(tmp_path, root)


def test_too_little_room_is_told_before_anything_is_fetched(tmp_path, server, monkeypatch, archives):
    usage = namedtuple("usage", "total used free")
    needed = sum(map(len, archives.values())) + max(map(len, archives.values()))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, needed - 2_000_000))
    with pytest.raises(InputError, match=r"2\.0 MB of disk are missing; make room"):
        download.fetch(tmp_path, server.address)
    assert server.log == []


def test_a_disk_that_fills_up_is_told_and_the_archive_kept(tmp_path, server, root, archives, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", full)
        with pytest.raises(InputError, match="No space left on device.*make room and run again"):
            download.fetch(tmp_path, server.address)
    assert (tmp_path / f"{FIRST}.part").stat().st_size == len(archives[FIRST])
    server.log.clear()
    download.fetch(tmp_path, server.address)
    assert FIRST not in dict(server.log)
    assert_whole(tmp_path, root)


@pytest.mark.parametrize("source", ["file:///etc", "ftp://host", "/etc"])
def test_only_the_web_is_read(tmp_path, source):
    with pytest.raises(InputError, match="is no web address"):
        download.fetch(tmp_path, source)


def test_a_folder_that_cannot_be_made_is_named(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert download.main([str(tmp_path / "file" / "data")]) == 1
    assert "file/data: cannot be written" in capsys.readouterr().err


@pytest.fixture
def kaggle(tmp_path, root):
    """The competition's zip, as far as it matters."""
    path = tmp_path / "kaggle.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(root.rglob("*.npz")):
            archive.write(file, Path("npz_all", file.relative_to(root)))
        archive.writestr("sample_submission.csv", "ID,TopConfigs\n")
        archive.writestr("other.txt", "of no use here")
    return path


def test_the_competitions_zip_is_unpacked(tmp_path, root, kaggle, capsys):
    for there in (0, len(contents(root)) + 1):
        assert download.main([str(tmp_path / "data"), "--zip", str(kaggle)]) == 0
        assert capsys.readouterr().out.startswith(f"{there} files are there")
    assert contents(tmp_path / "data/npz_all") == contents(root)
    assert (tmp_path / "data/sample_submission.csv").read_text() == "ID,TopConfigs\n"
    assert not (tmp_path / "data/other.txt").exists()


def test_a_broken_unpacking_goes_on(tmp_path, root, kaggle, capsys):
    download.unpack_zip(kaggle, tmp_path / "data")
    lost, cut = sorted((tmp_path / "data").rglob("*.npz"))[:2]
    lost.unlink()
    os.truncate(cut, 100)
    capsys.readouterr()
    download.unpack_zip(kaggle, tmp_path / "data")
    assert ", 2 of " in capsys.readouterr().out
    assert contents(tmp_path / "data/npz_all") == contents(root)


@pytest.mark.parametrize("name", ["../outside.npz", "/outside.npz", f"{INSIDE}/../../../../outside.npz"])
def test_a_hostile_zip_writes_nothing(tmp_path, kaggle, name):
    with zipfile.ZipFile(kaggle, "a") as archive:
        archive.writestr(name, b"")
    with pytest.raises(InputError, match="leads out of it"):
        download.unpack_zip(kaggle, tmp_path / "data")
    assert not list(tmp_path.rglob("*.npz"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:1000], "is no zip or is damaged"),
        (lambda content: b"", "is no zip or is damaged"),
        (lambda content: content[:200] + bytes(4000) + content[4200:], "is no zip or is damaged|is no npz"),
    ],
)
def test_a_damaged_zip_is_told(tmp_path, kaggle, damage, message):
    kaggle.write_bytes(damage(kaggle.read_bytes()))
    with pytest.raises(InputError, match=message):
        download.unpack_zip(kaggle, tmp_path / "data")
    with pytest.raises(InputError, match="no such file"):
        download.unpack_zip(tmp_path / "absent.zip", tmp_path / "data")


def test_a_zip_without_graphs_is_told(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InputError, match="holds no npz/COLLECTION"):
        download.unpack_zip(tmp_path / "other.zip", tmp_path / "data")
