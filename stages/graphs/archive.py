"""Npz files that are not trusted: what is hostile, damaged or too large is refused here.

What a file says of its own sizes is checked against limits and against itself before memory is taken. Nothing in it is
unpickled or written to disk, and every array is checked against the zip's CRC. `np.load` would take the memory first,
and it inflates with zlib, which takes twice as long as isal.

This module knows nothing of TpuGraphs; `stages.graphs.npz` says which arrays a file of the data set has.
"""

from __future__ import annotations

import copy
import io
import itertools
import math
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import numpy as np
from isal import isal_zlib
from isal.igzip_lib import DECOMP_DEFLATE, IgzipDecompressor

from stages.engine.errors import InputError

LARGEST_ARRAY = 1 << 28  # bytes of an array that is held whole: ten times the largest published, 24 MB of node_feat
LARGEST_HEADER = 1 << 16  # bytes of an array's header, which has under 200; numpy reads it before it is checked
LARGEST_DIRECTORY = 1 << 20  # bytes of the zip's directory; an npz file of ten arrays has under 1,000
LOCAL_HEADER_BYTES = 30  # of a member's own header in the zip, which the member's name follows
READ_BYTES = 1 << 16  # compressed, read together
BLOCK_BYTES = 1 << 21  # of an array looked at together, so that it is still in the processor's cache


class Archive:
    """An open npz file, for use in `with`: arrays are taken out by key, each checked for its kind and shape.

    Attributes:
        path: The file.
        zip: The open zip file.
        members: The zip's entry for each member, by file name ("KEY.npy").

    Args:
        path: The npz file. Opening raises InputError where it is none, or its members overlap.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __enter__(self) -> Archive:
        try:
            if not stat.S_ISREG(self.path.stat().st_mode):  # opening a pipe would wait for somebody to write
                self.fail(None, "is no file")
            self._file = _BoundedFile(self.path)
        except FileNotFoundError:
            raise InputError(f"{self.path}: no such file; give the path of an npz file") from None
        except OSError as error:
            raise InputError(f"{self.path}: cannot be opened ({error.strerror}); mend its rights") from None
        try:
            self._read_directory()
        except InputError:
            self._file.close()
            raise
        except Exception:  # zipfile raises another class for each kind of damage
            self._file.close()
            self.fail(None, "is no npz file or is cut off")
        return self

    def __exit__(self, *_: object) -> None:
        self.zip.close()
        self._file.close()

    def _read_directory(self) -> None:
        if self._file.read(6) == np.lib.format.MAGIC_PREFIX:
            self.fail(None, "is a single array and no npz file")
        self.zip = zipfile.ZipFile(self._file)
        members = sorted(self.zip.infolist(), key=lambda member: member.header_offset)
        ends = [
            member.header_offset + LOCAL_HEADER_BYTES + len(member.filename) + member.compress_size
            for member in members
        ]
        starts = [member.header_offset for member in members[1:]] + [self.zip.start_dir]
        if any(end > start for end, start in zip(ends, starts, strict=True)):
            self.fail(None, "has members that overlap")
        self.members = {member.filename: member for member in members}
        if len(self.members) < len(members):
            self.fail(None, "has two members of one name")

    def has(self, key: str) -> bool:
        """Whether the file has an array of this key."""
        return f"{key}.npy" in self.members

    def fail(self, key: str | None, fault: str) -> NoReturn:
        """Refuses the file.

        Args:
            key: The array that is at fault; None for the file as a whole.
            fault: What is wrong, as the rest of a sentence about it.

        Raises:
            InputError: Always; one line that names the file, the key and the fault.
        """
        subject = f"{self.path}: {key}" if key else f"{self.path}"
        raise InputError(f"{subject} {fault}; fetch the file again or leave it out") from None

    def integers(self, key: str, shape: tuple[int | None, ...], low: int, high: int) -> np.ndarray:
        """Reads an array of whole numbers.

        Args:
            key: Its name.
            shape: The shape it must have, None where any size will do.
            low: The least value it may have.
            high: The largest value it may have.

        Returns:
            The array as int64.

        Raises:
            InputError: It is missing, damaged, or not of this kind, shape and range.
        """
        array = self._array(key, shape, "iu", "integers")
        if array.size and (array.min() < low or array.max() > high):
            self.fail(key, f"has a value outside {low}..{high}")
        return np.ascontiguousarray(array, np.int64)

    def floats(self, key: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """Reads an array of floating-point numbers, which must be finite.

        Args:
            key: Its name.
            shape: The shape it must have, None where any size will do.

        Returns:
            The array as float32.

        Raises:
            InputError: It is missing, damaged, not of this kind and shape, or has a value that is not finite.
        """
        array = np.ascontiguousarray(as_float32(self._array(key, shape, "f", "floating-point numbers")))
        if not all(np.isfinite(block).all() for block in row_blocks(array)):
            self.fail(key, "has a value that is NaN or infinite")
        return array

    def member(self, key: str, shape: tuple[int | None, ...], kinds: str, expected: str, largest: int) -> Member:
        """Opens the member that holds an array and reads its header.

        Args:
            key: The array's name.
            shape: The shape it must have, None where any size will do.
            kinds: Numpy's letters of the kinds of dtype that it may have.
            expected: These kinds in words.
            largest: How many bytes it may have.

        Returns:
            The member, of which the array is not read yet.

        Raises:
            InputError: There is no such array, or it is of another dtype, shape or size, or its header and the zip
                disagree about its size.
        """
        if not self.has(key):
            names = ", ".join(sorted(name.removesuffix(".npy") for name in self.members))
            shown = "".join(letter if letter.isprintable() else "?" for letter in names[:200])
            self.fail(key, f"is missing (the file has {shown or 'nothing'})")
        member = Member(self, key, self.members[f"{key}.npy"])
        if member.dtype.kind not in kinds:
            self.fail(key, f"has dtype {member.dtype}, not {expected}")
        matches = len(member.shape) == len(shape) and all(
            wanted in (None, size) for wanted, size in zip(shape, member.shape, strict=True)
        )
        if not matches:
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            self.fail(key, f"has shape {member.shape}, not ({wanted})")
        size = math.prod(member.shape) * member.dtype.itemsize
        if size > largest:
            self.fail(key, f"claims {size} bytes, more than {largest}")
        if size != member.remaining:
            self.fail(key, f"claims {size} bytes and has {member.remaining}")
        return member

    def _array(self, key: str, shape: tuple[int | None, ...], kinds: str, expected: str) -> np.ndarray:
        with self.member(key, shape, kinds, expected, LARGEST_ARRAY) as member:
            return member.array()


class Member:
    """One array of an npz file, for use in `with`: its header is read, and its bytes as they are inflated.

    Whatever is wrong with the bytes becomes the InputError of the file.

    Attributes:
        shape: The array's shape, as its header says.
        dtype: Its dtype.
        fortran: Whether the header says that the array is in Fortran order.
        remaining: How many of its bytes have not been read.
    """

    def __init__(self, archive: Archive, key: str, info: zipfile.ZipInfo) -> None:
        self._archive, self._key, self._info = archive, key, info
        with self._refusing():
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                archive.fail(key, "is neither stored nor deflated")
            stored = copy.copy(info)  # what zipfile gives out uninflated, once it has checked the member's own header
            stored.compress_type, stored.file_size = zipfile.ZIP_STORED, info.compress_size
            del stored.CRC
            self._file = archive.zip.open(stored)
            deflated = info.compress_type == zipfile.ZIP_DEFLATED
            self._inflater = IgzipDecompressor(flag=DECOMP_DEFLATE) if deflated else None
            self.remaining, self._crc = info.file_size, 0
            version = np.lib.format.read_magic(self)
            headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            self.shape, self.fortran, self.dtype = headers[version](self)
            if not all(type(size) is int and 0 <= size < 2**63 for size in self.shape):
                raise ValueError

    def __enter__(self) -> Member:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer where the member ends; numpy's readers of headers call this."""
        if size > LARGEST_HEADER:
            raise ValueError
        content = np.empty(min(size, self.remaining), np.uint8)
        self._fill(content)
        return content.tobytes()

    def array(self) -> np.ndarray:
        """The whole array."""
        values = np.empty(math.prod(self.shape), self.dtype)
        self._fill(values.view(np.uint8))
        return values.reshape(self.shape, order="F" if self.fortran else "C")

    def blocks(self) -> Iterator[np.ndarray]:
        """The array in blocks of whole rows, in order.

        Yields:
            Arrays (rows, ...) of some `BLOCK_BYTES`. The memory of a block is used again for the one after the next.

        Raises:
            InputError: The array is damaged or cut off, or it is in Fortran order and too large to be held whole.
        """
        if self.fortran:
            if self.remaining > LARGEST_ARRAY:
                self._archive.fail(
                    self._key, f"is in Fortran order and larger than {LARGEST_ARRAY} bytes; save it in C order"
                )
            yield from row_blocks(self.array())
            return
        total = self.shape[0]
        row_bytes = self.remaining // total
        rows = min(total, max(1, BLOCK_BYTES // row_bytes))
        buffers = itertools.cycle([np.empty(rows * row_bytes, np.uint8) for _ in range(2)])
        for start in range(0, total, rows):
            count = min(rows, total - start)
            content = next(buffers)[: count * row_bytes]
            self._fill(content)
            yield content.view(self.dtype).reshape(count, *self.shape[1:])

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Turns every error of reading into the InputError of the file."""
        try:
            yield
        except InputError:
            raise
        except Exception:  # numpy, zipfile and isal raise another class for each kind of damage
            self._archive.fail(self._key, "cannot be read: damaged, cut off, or no plain array")

    def _fill(self, content: np.ndarray) -> None:
        """Puts the next bytes into `content` (uint8), all of it; after the last byte the CRC must fit."""
        with self._refusing():
            filled = 0
            while filled < len(content):
                piece = self._inflated(len(content) - filled)
                content[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
                filled += len(piece)
            self._crc = isal_zlib.crc32(content, self._crc)
            self.remaining -= filled
            if not self.remaining:
                self._check_end()

    def _inflated(self, most: int) -> bytes:
        """From 1 to `most` bytes; EOFError where the member has no more."""
        piece = b""
        while not piece:
            if self._inflater is None:
                return self._compressed(min(most, READ_BYTES))
            if self._inflater.eof:
                raise EOFError
            fed = self._compressed(READ_BYTES) if self._inflater.needs_input else b""
            piece = self._inflater.decompress(fed, most)
            if not (piece or fed or self._inflater.eof):  # isal takes some damaged input without an end
                raise ValueError
        return piece

    def _compressed(self, most: int) -> bytes:
        """The next bytes as they are in the file, at least one."""
        content = self._file.read(most)
        if not content:
            raise EOFError
        return content

    def _check_end(self) -> None:
        """ValueError or EOFError where bytes are left or missing, or the CRC is another."""
        while self._inflater is not None and not self._inflater.eof:
            fed = self._compressed(READ_BYTES) if self._inflater.needs_input else b""
            if self._inflater.decompress(fed, 1) or not (fed or self._inflater.eof):
                raise ValueError
        unused = self._inflater.unused_data if self._inflater is not None else b""
        if unused or self._file.read(1) or self._crc != self._info.CRC:
            raise ValueError


class _BoundedFile(io.FileIO):
    """A file of which no more than the largest sensible zip directory is read at once: zipfile believes its sizes."""

    def read(self, size: int = -1) -> bytes:
        return super().read(size if 0 <= size <= LARGEST_DIRECTORY else LARGEST_DIRECTORY)


def as_float32(array: np.ndarray) -> np.ndarray:
    """The array as float32. What float32 cannot hold becomes infinite, which a check of finiteness finds."""
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def row_blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Views of rows of some `BLOCK_BYTES`, so that what is computed from one of them stays small."""
    rows = max(1, BLOCK_BYTES // max(1, array[0].nbytes)) if len(array) else 1
    return (array[start : start + rows] for start in range(0, len(array), rows))
