"""The competition's data: `python -m stages.download FOLDER` fetches TpuGraphs, `--zip FILE` unpacks Kaggle's zip.

It fetches the 15 archives of Google's mirror, npz_COLLECTION_SPLIT.tar, one after the other, and unpacks them below
FOLDER/npz_all, the folder for data.root in params.yaml. It removes an archive once it is unpacked and notes it in
FOLDER/fetched. A run after an interrupted one therefore goes on with the next byte of the archive, or the next archive.

Archives are not trusted. Only files named npz/COLLECTION/SPLIT/ID.npz are written, and each is opened as the pipeline
opens it: all arrays are read but the configurations, which prune checks.

The retries are our own, because they continue within an archive as long as its version is the same. urllib3's Retry
ends where an answer begins, and pooch fetches a whole file again.
"""

from __future__ import annotations

import argparse
import base64
import errno
import hashlib
import http.client
import os
import re
import shutil
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from stages.engine import files
from stages.engine.errors import InputError
from stages.graphs import collection as collections
from stages.graphs import npz
from stages.runner import failures

SOURCE = "http://download.tensorflow.org/data/tpu_graphs/v0"
TRIES = 6  # in a row that bring no byte
PAUSE = 2.0  # seconds after the first try; it doubles with each
LONGEST_PAUSE = 120.0  # seconds, even if a server asks for more
TIMEOUT = 60.0  # seconds without an answer
PIECE = 1 << 20  # bytes
BLOCK = 512  # bytes; a tar ends with two blocks of zeros
SUBMISSION = "sample_submission.csv"
_SPLITS = {
    f"npz/{name.replace(':', '/')}/{split}": (name, split)
    for name in collections.COLLECTIONS
    for split in collections.SPLITS
}


@dataclass(frozen=True)
class Archive:
    """One tar of the mirror.

    Attributes:
        name: npz_COLLECTION_SPLIT.tar.
        url: its address.
        size: bytes.
        version: its ETag or date of modification; None if the server sends neither.
        md5: in base 64; None if the server does not send it.
    """

    name: str
    url: str
    size: int
    version: str | None
    md5: str | None


def fetch(folder: str | Path, source: str = SOURCE) -> None:
    """Fetches and unpacks all archives that are still missing, and first prints how much disk they take.

    Args:
        folder: where to unpack them; it need not exist.
        source: address of the folder of the archives.

    Raises:
        InputError: the address does not exist; the server keeps failing; an archive has another length or content than
            its server says, or foreign names; a file is no graph; the disk has too little room. What was fetched stays.
    """
    folder = _prepared(folder)
    names = [f"npz_{name.replace(':', '_')}_{split}.tar" for name, split in _SPLITS.values()]
    missing = [name for name in names if not (folder / "fetched" / name).exists()]
    archives = [_ask(name, f"{source.rstrip('/')}/{name}") for name in missing]
    fetched = {archive: _size(_part(folder, archive)) for archive in archives}
    total = sum(archive.size for archive in archives)
    print(f"{len(names) - len(archives)} archives are there, {len(archives)} of {_bytes(total)} are to be fetched")
    # One archive at a time lies on the disk together with its unpacked files.
    _check_room(folder, total + max((archive.size for archive in archives), default=0) - sum(fetched.values()))
    with tqdm(total=total, desc="fetch", unit="B", unit_scale=True, mininterval=1) as progress:
        for archive in archives:
            part = _part(folder, archive)
            try:
                _download(archive, part, progress)
                count = _unpack_tar(archive, part, folder)
                files.replace(folder / "fetched" / archive.name, f"{archive.version} {count} graphs\n".encode())
            except OSError as error:
                raise _room_fault(error, folder) from None
            part.unlink()
            part.with_suffix(".version").unlink()
    _print_root(folder)


def unpack_zip(path: str | Path, folder: str | Path) -> None:
    """Unpacks the competition's zip: its graphs, and its sample_submission.csv beside npz_all.

    A file that already has the size that the zip says is left alone, so a run after an interrupted one goes on.

    Args:
        path: the zip.
        folder: where to unpack it; it need not exist.

    Raises:
        InputError: the zip is missing, damaged or another one; a file in it is no graph; the disk has too little room.
    """
    folder = _prepared(folder)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [(member, _target(member.filename, path)) for member in archive.infolist() if not member.is_dir()]
            parts = [(member, graph) for member, graph in members if graph or Path(member.filename).name == SUBMISSION]
            if not any(graph for _, graph in parts):
                raise InputError(f"{path}: holds no npz/COLLECTION/SPLIT/ID.npz; give the competition's zip")
            missing = [
                (member, graph, target)
                for member, graph in parts
                if _size(target := folder / "npz_all" / graph if graph else folder / SUBMISSION) != member.file_size
            ]
            total = sum(member.file_size for member, *_ in missing)
            print(f"{len(parts) - len(missing)} files are there, {len(missing)} of {_bytes(total)} are to be unpacked")
            _check_room(folder, total)
            with tqdm(total=total, desc="unpack", unit="B", unit_scale=True, mininterval=1) as progress:
                for member, graph, target in missing:
                    with archive.open(member) as content:
                        _write(content, target, graph)
                    progress.update(member.file_size)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give the competition's zip") from None
    except InputError:
        raise
    except OSError as error:
        raise _room_fault(error, folder) from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path}: is no zip or is damaged ({error}); fetch it again") from None
    _print_root(folder)


def _prepared(folder: str | Path) -> Path:
    """Makes the folder, with a .gitignore that keeps all of it out of git."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / ".gitignore").exists():
            (folder / ".gitignore").write_text("*\n")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); name another folder") from None
    return folder


def _print_root(folder: Path) -> None:
    print(f"done; in params.yaml set data.root: {folder / 'npz_all'}")


def _ask(name: str, url: str) -> Archive:
    """Asks the server for an archive's size and version."""
    with _request(url, "HEAD") as answer:
        length = answer.headers.get("Content-Length", "")
        if not length.isdecimal() or not int(length):
            raise InputError(f"{url}: is empty, or its length is not told; give another --source")
        return Archive(name, url, int(length), _version(answer.headers), _md5(answer.headers))


def _version(headers: Message) -> str | None:
    return headers.get("ETag") or headers.get("Last-Modified")


def _md5(headers: Message) -> str | None:
    """The MD5 that Google's storage sends with a file, in base 64; None if there is none."""
    match = re.search(r"md5=([A-Za-z0-9+/]{22}==)", ",".join(headers.get_all("x-goog-hash", [])))
    return match[1] if match else None


@contextmanager
def _request(url: str, method: str, headers: dict[str, str] | None = None) -> Iterator[http.client.HTTPResponse]:
    """The server's answer to a request, which is repeated while the server is busy or cannot be reached.

    Raises:
        InputError: the server refuses the request, or did not answer in `TRIES` tries.
    """
    if not url.startswith(("http://", "https://")):
        raise InputError(f"{url}: is no web address; begin it with http:// or https://")
    for tried in range(1, TRIES + 1):
        pause = 0.0
        try:
            answer = urllib.request.urlopen(
                urllib.request.Request(url, method=method, headers=headers or {}), timeout=TIMEOUT
            )
        except urllib.error.HTTPError as error:
            error.close()
            fault = f"the server answers {error.code} {error.reason}"
            if error.code < 500 and error.code not in (408, 429):
                raise InputError(f"{url}: {fault}; give another --source, or the competition's zip") from None
            asked = error.headers.get("Retry-After", "")
            pause = float(asked) if asked.isdecimal() else 0.0
        except (OSError, http.client.HTTPException) as error:  # OSError includes urllib's URLError
            fault = f"cannot be reached ({getattr(error, 'reason', error) or type(error).__name__})"
        else:
            with answer:
                yield answer
            return
        if tried < TRIES:
            _wait(tried, pause)
    raise InputError(f"{url}: {fault}, {TRIES} times; run again later, it goes on where it was")


def _wait(tried: int, asked: float = 0.0) -> None:
    time.sleep(min(LONGEST_PAUSE, max(asked, PAUSE * 2 ** (tried - 1))))


def _part(folder: Path, archive: Archive) -> Path:
    return folder / f"{archive.name}.part"


def _download(archive: Archive, part: Path, progress: tqdm) -> None:
    """Fetches the missing bytes of an archive; after a broken connection it goes on with the next byte."""
    version_file = part.with_suffix(".version")
    if _size(part) > archive.size or (_size(part) and _text(version_file) != str(archive.version)):
        part.unlink()  # it is a part of another version
    version_file.write_text(str(archive.version))
    progress.update(_size(part))
    tried = 0
    while (start := _size(part)) < archive.size:
        headers = {"Range": f"bytes={start}-"} if start else {}
        if start and archive.version:
            headers["If-Range"] = archive.version
        with _request(archive.url, "GET", headers) as answer:
            if answer.status != 206 and start:  # the server sends the whole archive, from the first byte
                progress.update(-start)
                start = 0
            _check_answer(archive, answer, start)
            try:
                with open(part, "ab" if start else "wb") as file:
                    while piece := answer.read(min(PIECE, archive.size - file.tell()) or 1):
                        if file.tell() + len(piece) > archive.size:
                            break
                        file.write(piece)
                        progress.update(len(piece))
            except (http.client.HTTPException, ConnectionError, TimeoutError):
                pass  # the bytes that arrived are kept
        tried = 0 if _size(part) > start else tried + 1
        if tried == TRIES:
            fault = f"ends after {_size(part)} of {archive.size} bytes, {TRIES} times"
            raise InputError(f"{archive.url}: {fault}; run again later, it goes on where it was")
        if tried:
            _wait(tried)
    if archive.md5 and _digest(part) != archive.md5:
        part.unlink()
        raise InputError(f"{archive.url}: has come with other content than its server tells; run again")


def _check_answer(archive: Archive, answer: http.client.HTTPResponse, start: int) -> None:
    """Raises InputError unless the answer is the archive from byte `start` on."""
    expected = f"bytes {start}-{archive.size - 1}/{archive.size}"
    if answer.status == 206 and answer.headers.get("Content-Range") != expected:
        raise InputError(f"{archive.url}: sends {answer.headers.get('Content-Range')}, not {expected}; run again")
    length = answer.headers.get("Content-Length")
    if length and int(length) != archive.size - start:
        raise InputError(f"{archive.url}: sends {length} bytes, not {archive.size - start}; run again")


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return base64.b64encode(hashlib.file_digest(file, "md5").digest()).decode()


def _unpack_tar(archive: Archive, path: Path, folder: Path) -> int:
    """Writes the graphs of a tar below FOLDER/npz_all.

    Returns:
        Their number.

    Raises:
        InputError: the tar holds a file that is no graph, and nothing is written; or the tar or a graph in it is
            damaged, and the tar is removed, so that the next run fetches it again.
    """
    try:
        with open(path, "rb") as content:
            content.seek(max(0, archive.size - 2 * BLOCK))
            if archive.size % BLOCK or content.read() != bytes(2 * BLOCK):
                raise tarfile.ReadError("it does not end as a tar does")
            content.seek(0)
            with tarfile.open(fileobj=content, mode="r:") as tar:
                members = list(_graphs(archive, tar))
                for member, graph in members:
                    _write(tar.extractfile(member), folder / "npz_all" / graph, graph)
    except _Damage as error:
        path.unlink()
        raise InputError(str(error)) from None
    except InputError:
        raise
    except OSError as error:
        raise _room_fault(error, folder) from None
    except (tarfile.TarError, EOFError, ValueError) as error:
        path.unlink()
        raise InputError(f"{archive.url}: is no whole tar ({error}); run again") from None
    if not members:
        raise InputError(f"{archive.url}: is empty; give another --source")
    return len(members)


def _graphs(archive: Archive, tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, str]]:
    """The members of a tar that are graphs, and their paths below npz_all; InputError for a member that is no graph."""
    end = 0
    for member in tar:
        if member.size < 0 or member.offset < end:  # it could lead back to the tar's beginning, without end
            raise tarfile.ReadError("its members overlap")
        end = member.offset_data
        if member.isdir():
            continue
        graph = _target(member.name, archive.url)
        if graph is None or not member.isreg() or member.issparse():
            raise InputError(
                f"{archive.url}: holds {_printable(member.name)}, which is no graph; give another --source"
            )
        yield member, graph


class _Damage(InputError):
    """A graph in an archive is damaged."""


def _target(name: str, source: str | Path) -> str | None:
    """The path below npz_all to which a member of an archive belongs.

    Args:
        name: of the member.
        source: of the archive, for the message.

    Returns:
        npz/COLLECTION/SPLIT/ID.npz; None for a member that is no graph.

    Raises:
        InputError: the name leads out of the archive, or is not allowed for a graph.
    """
    parts = name.removeprefix("./").removeprefix("npz_all/").split("/")
    if name.startswith("/") or ".." in parts or "\\" in name:
        raise InputError(f"{source}: holds {_printable(name)}, which leads out of it; give another --source")
    folder, file = "/".join(parts[:-1]), parts[-1]
    if folder not in _SPLITS or not file.endswith(".npz"):
        return None
    if fault := collections.name_fault(Path(file).stem):
        raise InputError(f"{source}: holds {_printable(name)}, whose name {fault}; give another --source")
    return f"{folder}/{file}"


def _printable(name: str) -> str:
    """A name from an archive in ASCII, of limited length, fit for a message."""
    return ascii(name[: collections.LONGEST_NAME])


def _write(content: BinaryIO, target: Path, graph: str | None) -> None:
    """Writes a file, whole or not at all.

    Args:
        content: of the file.
        target: its path.
        graph: its path below npz_all if it is a graph, which is then opened, as prune opens it, before it gets its
            name; None for another file.
    """
    beside = target.with_name(f".{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(beside, "wb") as file:
            shutil.copyfileobj(content, file, PIECE)
        if graph and graph.startswith("npz/tile/"):
            npz.read_tile(beside)
        elif graph:
            with npz.LayoutFile(beside):
                pass
        os.replace(beside, target)
    except InputError as error:
        raise _Damage(str(error).replace(str(beside), str(target))) from None
    finally:
        beside.unlink(missing_ok=True)


def _room_fault(error: OSError, path: Path) -> InputError:
    advice = "make room and run again" if error.errno == errno.ENOSPC else "name another folder"
    return InputError(f"{path}: cannot be written ({error.strerror or error}); {advice}")


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    print(f"{_bytes(max(0, needed))} of disk are needed in {folder}, {_bytes(free)} are free")
    if needed > free:
        raise InputError(f"{folder}: {_bytes(needed - free)} of disk are missing; make room or name another folder")


def _bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _size(path: Path) -> int:
    """Bytes of a file; 0 if there is none."""
    return path.stat().st_size if path.is_file() else 0


def _text(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        The exit status: 0, 130 after an interrupt, or 1 after one line on stderr.
    """
    parser = argparse.ArgumentParser(prog="python -m stages.download", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("data/tpugraphs"), help="default: data/tpugraphs")
    parser.add_argument("--source", default=SOURCE, help="address of the folder of the archives")
    parser.add_argument("--zip", type=Path, help="the competition's zip, instead of the mirror")
    options = parser.parse_args(arguments)

    def work() -> None:
        if options.zip:
            unpack_zip(options.zip, options.folder)
        else:
            fetch(options.folder, options.source)

    return failures.exit_status(work, "interrupted; run again, it goes on where it was")


if __name__ == "__main__":
    sys.exit(main())
