"""The competition's data: `python -m stages.download FOLDER` fetches TpuGraphs, `--zip FILE` unpacks Kaggle's zip.

The 15 archives of Google's mirror, npz_COLLECTION_SPLIT.tar, are fetched one after the other and unpacked below
FOLDER/npz_all, which is what params.yaml's data.root names. An archive is removed once it is unpacked, and noted in
FOLDER/fetched, so that a run that was broken off goes on: with the next byte of an archive, or the next archive.

Archives are not trusted: of a tar or zip only files named npz/COLLECTION/SPLIT/ID.npz are written, each is opened as
the pipeline will (all arrays but the configurations are read, which prune checks), and nothing else leaves them.

The retries are our own: urllib3's Retry ends where an answer begins, and pooch fetches a file anew. What matters here,
going on within an archive of the same version, neither does.
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
TRIES = 6  # one after the other without a byte in between
PAUSE = 2.0  # seconds after the first of them; it doubles
LONGEST_PAUSE = 120.0  # seconds, though a server may ask for more
TIMEOUT = 60.0  # seconds without an answer
PIECE = 1 << 20  # bytes
BLOCK = 512  # of a tar, which ends with two of zeros
SUBMISSION = "sample_submission.csv"
_SPLITS = {
    f"npz/{name.replace(':', '/')}/{split}": (name, split)
    for name in collections.COLLECTIONS
    for split in collections.SPLITS
}


@dataclass(frozen=True)
class Archive:
    """One tar of the mirror: its name, address, bytes, what tells its version, and its MD5 in base 64 where told."""

    name: str
    url: str
    size: int
    version: str | None
    md5: str | None


def fetch(folder: str | Path, source: str = SOURCE) -> None:
    """Fetches and unpacks all archives of `source` that are not there yet, and says first how much disk that takes.

    InputError, with what there is kept: an address that is not there, a server that keeps failing, an archive of other
    length or content than told or with foreign names, a file that is no graph, too little room on the disk.
    """
    folder = _prepared(folder)
    names = [f"npz_{name.replace(':', '_')}_{split}.tar" for name, split in _SPLITS.values()]
    missing = [name for name in names if not (folder / "fetched" / name).exists()]
    archives = [_ask(name, f"{source.rstrip('/')}/{name}") for name in missing]
    there = {archive: _size(_part(folder, archive)) for archive in archives}
    total = sum(archive.size for archive in archives)
    print(f"{len(names) - len(archives)} archives are there, {len(archives)} of {_bytes(total)} are to be fetched")
    # Each archive lies beside what it is unpacked to, but only one at a time.
    _check_room(folder, total + max((archive.size for archive in archives), default=0) - sum(there.values()))
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
    _told(folder)


def unpack_zip(path: str | Path, folder: str | Path) -> None:
    """Unpacks the competition's zip: its graphs, and its sample_submission.csv beside npz_all.

    A file that is there in the zip's size stays, so a run that was broken off goes on. InputError as for `fetch`.
    """
    folder = _prepared(folder)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [(member, _place(member.filename, path)) for member in archive.infolist() if not member.is_dir()]
            found = [(member, place) for member, place in members if place or Path(member.filename).name == SUBMISSION]
            if not any(place for _, place in found):
                raise InputError(f"{path}: holds no npz/COLLECTION/SPLIT/ID.npz; give the competition's zip")
            wanted = [
                (member, place, target)
                for member, place in found
                if _size(target := folder / "npz_all" / place if place else folder / SUBMISSION) != member.file_size
            ]
            total = sum(member.file_size for member, *_ in wanted)
            print(f"{len(found) - len(wanted)} files are there, {len(wanted)} of {_bytes(total)} are to be unpacked")
            _check_room(folder, total)
            with tqdm(total=total, desc="unpack", unit="B", unit_scale=True, mininterval=1) as progress:
                for member, place, target in wanted:
                    with archive.open(member) as content:
                        _write(content, target, place)
                    progress.update(member.file_size)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give the competition's zip") from None
    except InputError:
        raise
    except OSError as error:
        raise _room_fault(error, folder) from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path}: is no zip or is damaged ({error}); fetch it again") from None
    _told(folder)


def _prepared(folder: str | Path) -> Path:
    """The folder, made, and told to git as none of its business."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / ".gitignore").exists():
            (folder / ".gitignore").write_text("*\n")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); name another folder") from None
    return folder


def _told(folder: Path) -> None:
    print(f"done; in params.yaml set data.root: {folder / 'npz_all'}")


def _ask(name: str, url: str) -> Archive:
    """An archive's size and version, asked of its server."""
    with _request(url, "HEAD") as answer:
        length = answer.headers.get("Content-Length", "")
        if not length.isdecimal() or not int(length):
            raise InputError(f"{url}: is empty, or its length is not told; give another --source")
        return Archive(name, url, int(length), _version(answer.headers), _md5(answer.headers))


def _version(headers: Message) -> str | None:
    return headers.get("ETag") or headers.get("Last-Modified")


def _md5(headers: Message) -> str | None:
    """The MD5 that Google's storage tells of what it sends, in base 64."""
    found = re.search(r"md5=([A-Za-z0-9+/]{22}==)", ",".join(headers.get_all("x-goog-hash", [])))
    return found[1] if found else None


@contextmanager
def _request(url: str, method: str, headers: dict[str, str] | None = None) -> Iterator[http.client.HTTPResponse]:
    """An answer of the server, which is asked again where it is busy or cannot be reached.

    InputError for an answer that stays the same however often one asks, or after `TRIES`.
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
        except (OSError, http.client.HTTPException) as error:  # urllib's URLError among them
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
    """Fetches what is missing of an archive, again from where the connection broke."""
    known = part.with_suffix(".version")
    if _size(part) > archive.size or (_size(part) and _text(known) != str(archive.version)):
        part.unlink()  # it is a part of another version
    known.write_text(str(archive.version))
    progress.update(_size(part))
    tried = 0
    while (start := _size(part)) < archive.size:
        headers = {"Range": f"bytes={start}-"} if start else {}
        if start and archive.version:
            headers["If-Range"] = archive.version
        with _request(archive.url, "GET", headers) as answer:
            if answer.status != 206 and start:  # all of it, from the first byte
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
                pass  # what has come is kept
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
    """InputError unless what follows is the archive that was asked for, from byte `start` on."""
    told = f"bytes {start}-{archive.size - 1}/{archive.size}"
    if answer.status == 206 and answer.headers.get("Content-Range") != told:
        raise InputError(f"{archive.url}: sends {answer.headers.get('Content-Range')}, not {told}; run again")
    length = answer.headers.get("Content-Length")
    if length and int(length) != archive.size - start:
        raise InputError(f"{archive.url}: sends {length} bytes, not {archive.size - start}; run again")


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return base64.b64encode(hashlib.file_digest(file, "md5").digest()).decode()


def _unpack_tar(archive: Archive, path: Path, folder: Path) -> int:
    """Writes the graphs of a tar below FOLDER/npz_all and returns their number.

    InputError for anything else in it but folders, before anything is written. A tar that is damaged, or holds a graph
    that is, is removed, so that it is fetched anew.
    """
    try:
        with open(path, "rb") as content:
            content.seek(max(0, archive.size - 2 * BLOCK))
            if archive.size % BLOCK or content.read() != bytes(2 * BLOCK):
                raise tarfile.ReadError("it does not end as a tar does")
            content.seek(0)
            with tarfile.open(fileobj=content, mode="r:") as tar:
                members = list(_graphs(archive, tar))
                for member, place in members:
                    _write(tar.extractfile(member), folder / "npz_all" / place, place)
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
    """The members of a tar and where they belong."""
    end = 0
    for member in tar:
        if member.size < 0 or member.offset < end:  # else a tar could lead back to its own beginning for ever
            raise tarfile.ReadError("its members overlap")
        end = member.offset_data
        if member.isdir():
            continue
        place = _place(member.name, archive.url)
        if place is None or not member.isreg() or member.issparse():
            raise InputError(f"{archive.url}: holds {_shown(member.name)}, which is no graph; give another --source")
        yield member, place


class _Damage(InputError):
    """A graph in an archive is damaged."""


def _place(name: str, source: str | Path) -> str | None:
    """Where below npz_all a member belongs: npz/COLLECTION/SPLIT/ID.npz, or None for what is no graph.

    InputError for a name that leads out of the archive, or to a file that can be no graph's.
    """
    parts = name.removeprefix("./").removeprefix("npz_all/").split("/")
    if name.startswith("/") or ".." in parts or "\\" in name:
        raise InputError(f"{source}: holds {_shown(name)}, which leads out of it; give another --source")
    folder, file = "/".join(parts[:-1]), parts[-1]
    if folder not in _SPLITS or not file.endswith(".npz"):
        return None
    if fault := collections.name_fault(Path(file).stem):
        raise InputError(f"{source}: holds {_shown(name)}, whose name {fault}; give another --source")
    return f"{folder}/{file}"


def _shown(name: str) -> str:
    return ascii(name[: collections.LONGEST_NAME])


def _write(content: BinaryIO, target: Path, graph: str | None) -> None:
    """Writes a file, whole or not at all; a graph is opened, as prune will, before it takes its name."""
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
    """Bytes of a file, 0 where there is none."""
    return path.stat().st_size if path.is_file() else 0


def _text(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0, or 1 after one line on what is wrong."""
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
