"""A bundle: the trained models of all collections in one file, which needs nothing else of the pipeline.

It is a zip of the files that `models` reads, under the names that they have below the data folder, and before them
bundle.json, which says what they are:

format, version    what kind of file this is; another version is refused, not misread
collections        official names of those that have models
code               digest of the code that decides a score
packages           versions of the packages that do
data               collection -> digest of the packed graphs that the models were trained on
members            name -> bytes and SHA-256 of every other member

Nothing is compressed, so that the same models give the same bytes whatever the zlib, and nothing can be inflated beyond
the file's own size. A bundle may come from anybody: its zip is opened as an npz file's is, its names must be those that
`models` knows, and each member is checked by its hash before a model is made of it. The hashes find damage; they do not
say who made the bundle.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from stages.engine import code, files
from stages.engine.errors import InputError
from stages.gbdt.settings import OBJECTIVES
from stages.graphs import dataset
from stages.graphs.archive import Archive
from stages.graphs.collection import COLLECTIONS, slug
from stages.ranking import models
from stages.ranking.scoring import CODE

FORMAT, VERSION = "models of program configurations", 1
CONTENTS = "bundle.json"
PACKAGES = ("lightgbm", "numpy", "polars", "scipy", "torch")
LARGEST_MEMBER = 1 << 28  # bytes; a network 4,096 wide has under a fifth
LARGEST_JSON = 1 << 25  # a manifest of the 6,988 kernels of the data set has some 1 MB
MOST_MEMBERS = 1 << 14  # of models of 50 seeds there are a third
#: the earliest that a zip can hold: no moment of the making is in the bundle
EPOCH = (1980, 1, 1, 0, 0, 0)
REMEDY = "take another copy, or make it again by make bundle"
_SLUGS = "|".join(map(slug, COLLECTIONS))
_NAMES = re.compile(
    rf"blend/weights\.json|prune/({_SLUGS})/manifest\.json|pad/({_SLUGS})/scaler\.json"
    rf"|gnn/({_SLUGS})/(parameters\.json|weights-\d{{1,5}}\.safetensors)"
    rf"|gbdt/({_SLUGS})/((parameters|trees|statistics)\.json|models/({'|'.join(OBJECTIVES)})-\d{{1,5}}-\d{{1,5}}\.(txt|json))",
    re.ASCII,
)


def write(data: str | Path, out: str | Path) -> dict:
    """Bundles the trained models below a data folder; the bundle is written whole or not at all.

    Args:
        data: The folder of the pipeline's outputs.
        out: The bundle.

    Returns:
        What bundle.json says.

    Raises:
        InputError: There are no trained models, or they are damaged; or the bundle cannot be written.
    """
    data, out = Path(data), Path(out)
    collections = models.collections(data)
    trained = [models.read(data, collection) for collection in collections]
    names = sorted({name for collection in collections for name in models.names(data, collection)})
    members = {name: (data / name).read_bytes() for name in names}
    contents = {
        "format": FORMAT,
        "version": VERSION,
        "collections": collections,
        "code": code.digest(*CODE),
        "packages": {name: version(name) for name in PACKAGES},
        "data": {of_collection.collection: _trained_on(data, of_collection) for of_collection in trained},
        "members": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in members.items()
        },
    }
    head = (json.dumps(contents, indent=1) + "\n").encode()
    try:
        with files.replacing(out) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as archive:
            for name, content in {CONTENTS: head, **members}.items():
                entry = zipfile.ZipInfo(name, EPOCH)
                entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16  # as on Unix, everywhere
                archive.writestr(entry, content)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); give --out another place") from None
    return contents


@contextmanager
def unpacked(path: str | Path) -> Iterator[Path]:
    """Unpacks a bundle, once all of it has been found sound.

    Args:
        path: The bundle.

    Yields:
        A temporary folder that `models.read` takes for a data folder.

    Raises:
        InputError: There is no such file, or it is no sound bundle of this version.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file; give --models a bundle, or the folder of the pipeline's outputs")
    with tempfile.TemporaryDirectory(prefix="models-") as place:
        folder = Path(place)
        with _Bundle(path) as bundle:
            collections = _unpack(bundle, folder)
        _check_models(path, folder, collections)
        yield folder


def other_code(path: str | Path) -> bool:
    """Whether a bundle was made by other code than this, so that its scores may be others; of a sound bundle."""
    with _Bundle(path) as bundle:
        return bundle.contents()["code"] != code.digest(*CODE)


class _Bundle(Archive):
    """An open bundle; what is wrong with its zip is found as in an npz file."""

    def fail(self, key: str | None, fault: str) -> NoReturn:
        subject = f"{self.path}: {_printable(key)}" if key else f"{self.path}:"
        fault = fault.replace("is no npz file", "is no bundle").replace("and no npz file", "and no bundle")
        raise InputError(f"{subject} {fault}; {REMEDY}") from None

    def content(self, name: str, most: int) -> bytes:
        """All bytes of a member.

        Raises:
            InputError: It is missing, compressed, too large or damaged.
        """
        if name not in self.members:
            self.fail(name, "is missing")
        info = self.members[name]
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            self.fail(name, "is compressed, as nothing in a bundle is")
        if info.file_size > most:
            self.fail(name, f"has {info.file_size} bytes, more than {most}")
        try:
            with self.zip.open(info) as file:
                content = file.read()
        except Exception:  # zipfile raises another class for each kind of damage
            self.fail(name, "cannot be read: damaged or cut off")
        if len(content) != info.file_size:
            self.fail(name, "cannot be read: damaged or cut off")
        return content

    def contents(self) -> dict:
        """What bundle.json says, checked for its form."""
        if len(self.members) > MOST_MEMBERS:
            self.fail(None, f"has more than {MOST_MEMBERS} members")
        if CONTENTS not in self.members:
            self.fail(None, f"is no bundle: it has no {CONTENTS}")
        try:
            contents = models.parsed(self.content(CONTENTS, LARGEST_JSON))
            if contents["format"] != FORMAT:
                raise ValueError
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            self.fail(CONTENTS, "is not what make bundle writes")
        if contents.get("version") != VERSION or isinstance(contents["version"], bool):
            found = f"{contents.get('version')!r:.20}"
            raise InputError(
                f"{self.path}: is a bundle of format version {found}, and this code reads version {VERSION}; "
                "make it again by make bundle of this code"
            )
        try:
            sound = (
                isinstance(contents["code"], str)
                and isinstance(contents["data"], dict)
                and contents["collections"] == [name for name in COLLECTIONS if name in contents["collections"]]
                and all(set(entry) == {"bytes", "sha256"} for entry in contents["members"].values())
            )
        except (TypeError, KeyError, AttributeError):
            sound = False
        if not sound or not contents["collections"]:
            self.fail(CONTENTS, "is not what make bundle writes")
        return contents


def _unpack(bundle: _Bundle, folder: Path) -> list[str]:
    """Writes the members of a bundle to a folder and returns its collections; nothing is written of a bad name."""
    contents = bundle.contents()
    listed = contents["members"]
    for name in [*bundle.members, *listed]:
        if name != CONTENTS and not _NAMES.fullmatch(name):
            bundle.fail(None, f"has a member {_printable(name)!r}, as no bundle has")
    if missing := sorted({models.WEIGHTS, *listed} - bundle.members.keys()):
        bundle.fail(missing[0], "is missing")
    if extra := sorted(bundle.members.keys() - listed.keys() - {CONTENTS}):
        bundle.fail(extra[0], f"is not listed in {CONTENTS}")
    for name, entry in listed.items():
        content = bundle.content(name, LARGEST_JSON if name.endswith(".json") else LARGEST_MEMBER)
        if len(content) != entry["bytes"] or hashlib.sha256(content).hexdigest() != entry["sha256"]:
            bundle.fail(name, f"is not what {CONTENTS} says: its hash is another")
        try:
            files.replace(folder / name, content)
        except OSError as error:
            raise InputError(f"{bundle.path}: cannot be unpacked to {folder} ({error.strerror}); make room") from None
    return contents["collections"]


def _check_models(path: Path, folder: Path, collections: Sequence[str]) -> None:
    """Refuses a bundle whose models are not those of its collections, or that has others beside them."""
    try:
        if models.collections(folder) != collections:
            raise InputError(f"{path}: {CONTENTS} and {models.WEIGHTS} name different collections; {REMEDY}")
        used = {name for collection in collections for name in models.names(folder, collection)}
    except InputError as error:
        raise InputError(str(error).replace(f"{folder}/", f"{path}: ")) from None
    there = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    if extra := sorted(there - used):
        raise InputError(f"{path}: {extra[0]} belongs to no model; {REMEDY}")


def _trained_on(data: Path, of_collection: models.Models) -> str:
    """Digest of the packed graphs, with their run times, that models were trained on or chosen by."""
    digest = hashlib.sha256()
    folder = dataset.prune_folder(data, of_collection.collection)
    for split, id in of_collection.trained_on:
        file = dataset.graph_file(folder, split, id)
        try:
            with open(file, "rb") as opened:
                content = hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"{file}: cannot be read ({error.strerror}); run make repro") from None
        digest.update(f"{split}/{id} {content}\n".encode())
    return digest.hexdigest()


def _printable(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name[:100])
