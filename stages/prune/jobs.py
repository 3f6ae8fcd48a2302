"""Files are packed side by side, and what is packed is kept until all of it is.

A graph that an earlier run packed, one that was cut short, is taken as it is if neither its file nor the options nor
the code that packs have changed since.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from stages.engine import code, engine, files
from stages.engine.errors import InputError
from stages.graphs import dataset
from stages.prune.packing import Options, Sizes, pack

BYTES_PER_WORKER = 1 << 25  # of files: with less to read, one process more takes longer to start than it saves
TAIL_BYTES = 1 << 16  # of a file's end, where a zip keeps the CRC of each of its members
PACKING = "stages.prune.packing"  # what it imports shapes a packed graph; the page and the engine do not


@dataclass(frozen=True, eq=False)
class Job:
    """One file to pack.

    Attributes:
        file: The npz file.
        split: Its split.
        options: As in `pack`.
        work: The folder below which the packed graph and its record lie.
    """

    file: Path
    split: str
    options: Options | None
    work: Path

    @property
    def id(self) -> str:
        """The graph's id."""
        return self.file.stem

    @property
    def packed(self) -> Path:
        """Where the packed graph is written."""
        return dataset.graph_file(self.work / "packed", self.split, self.id)

    @property
    def record(self) -> Path:
        """What `packed` was made of, and its sizes; it is written last, and taken away first."""
        return self.work / "records" / self.split / f"{self.id}.json"

    def source(self) -> list:
        """What tells a changed file, changed options and changed code, as JSON holds it.

        Raises:
            InputError: The file cannot be read.
        """
        try:
            state = self.file.stat()
            if not stat.S_ISREG(state.st_mode):  # opening a pipe would wait for somebody to write
                raise InputError(f"{self.file}: is no file; leave it out")
            with open(self.file, "rb") as file:
                file.seek(max(0, state.st_size - TAIL_BYTES))
                tail = hashlib.blake2b(file.read(), digest_size=16).hexdigest()
        except OSError as error:
            raise InputError(f"{self.file}: cannot be opened ({error.strerror}); mend it or leave it out") from None
        options = asdict(self.options) if self.options else {}
        return [state.st_size, state.st_mtime_ns, tail, options, code.digest(PACKING)]


def pack_all(jobs: Sequence[Job], name: str, workers: int | None) -> tuple[dict[Job, Sizes], dict[Job, str]]:
    """Packs all files, but for those that an earlier run packed.

    Args:
        jobs: The files.
        name: What the progress bar shows.
        workers: Processes; None for as many as there are cores, and work for them.

    Returns:
        The sizes of the packed graphs, and the faults of the other files in one line each, both in the order of `jobs`.

    Raises:
        InputError: The disk is full, or a process was killed.
    """
    sizes = {job: os.path.getsize(job.file) if job.file.exists() else 0 for job in jobs}
    results: dict[Job, Sizes | str] = {}
    with tqdm(total=sum(sizes.values()), desc=name, unit="B", unit_scale=True, mininterval=2) as progress:
        for job in jobs:
            if (kept := _packed_before(job)) is not None:
                results[job] = kept
                progress.update(sizes[job])
        # The largest first, so that no process is left alone with one at the end.
        waiting = sorted((job for job in jobs if job not in results), key=sizes.get, reverse=True)
        parallel = workers or 1 + sum(sizes[job] for job in waiting) // BYTES_PER_WORKER
        finished = engine.configured().spread(pack_file, waiting, memory_knob="prune.hops", parallel=parallel)
        for index, result in finished:
            results[waiting[index]] = result
            progress.update(sizes[waiting[index]])
    packed = {job: results[job] for job in jobs if isinstance(results[job], Sizes)}
    return packed, {job: results[job] for job in jobs if isinstance(results[job], str)}


def pack_file(job: Job) -> Sizes | str:
    """Packs one file, and keeps a record of what it was made of.

    Args:
        job: The file.

    Returns:
        Its sizes, or its fault in one line.

    Raises:
        InputError: The disk is full.
    """
    try:
        job.record.unlink(missing_ok=True)
        source = job.source()
        sizes = pack(job.file, job.packed, job.split, job.options)
        files.replace(job.record, json.dumps({"source": source, "sizes": asdict(sizes)}).encode())
        return sizes
    except InputError as error:
        return str(error)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise InputError(f"{job.work}: the disk is full; make room and run again, it goes on where it was") from None


def _packed_before(job: Job) -> Sizes | None:
    """The sizes of a graph that a run cut short has packed, if neither its file nor options nor code changed."""
    try:
        record = json.loads(job.record.read_text())
        sizes = Sizes(**record["sizes"])
        return sizes if record["source"] == job.source() and job.packed.exists() else None
    except (OSError, ValueError, KeyError, TypeError):  # InputError is a ValueError
        return None
