"""Where a collection keeps what it made: records, each a file that is there whole or not at all.

programs/ID.npz                a program before and after layout assignment, and its kernels
layout/SOURCE/SEARCH/ID.npz    a graph's configurations with their simulated times
tile/xla/KEY.npz               a kernel's windows with their simulated times
finished/ID.json               a program of which all that was asked is recorded, and how many configurations that was
failed/ID.json                 why a program cannot be collected
tried/ID.jsonl                 what a search that was cut short has tried; goes when the program is done
speed.jsonl                    seconds of each step, for `speed`; no part of the data
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.collect import record
from stages.engine import files


@dataclass(frozen=True)
class Store:
    """The files of a folder of records."""

    folder: Path

    def program(self, identifier: str) -> Path:
        return self.folder / "programs" / f"{identifier}.npz"

    def graph(self, collection: str, identifier: str) -> Path:
        """Of a layout graph by program, or of a kernel by key; ``collection`` as in 'layout:xla:random'."""
        return record.path(self.folder, collection, identifier)

    def failed(self, identifier: str) -> Path:
        return self.folder / "failed" / f"{identifier}.json"

    def tried(self, identifier: str) -> Path:
        return self.folder / "tried" / f"{identifier}.jsonl"

    def fail(self, identifier: str, reason: str) -> None:
        """Notes that a program cannot be collected, so that it is not tried again."""
        content = json.dumps({"id": identifier, "reason": reason}, sort_keys=True) + "\n"
        files.replace(self.failed(identifier), content.encode())

    def failures(self) -> dict[str, str]:
        """The reason of each program that cannot be collected."""
        paths = sorted((self.folder / "failed").glob("*.json"))
        return {path.stem: json.loads(path.read_text())["reason"] for path in paths}

    def finish(self, identifier: str, asked: int) -> None:
        """Notes that all of a program is recorded: `asked` configurations of each graph, and its kernels."""
        content = json.dumps({"id": identifier, "asked": asked}, sort_keys=True) + "\n"
        files.replace(self.folder / "finished" / f"{identifier}.json", content.encode())

    def finished(self) -> dict[str, int]:
        """How many configurations were asked of each program that is recorded as a whole."""
        paths = sorted((self.folder / "finished").glob("*.json"))
        return {path.stem: json.loads(path.read_text())["asked"] for path in paths}

    def time(self, step: str, identifier: str, nodes: int, count: int, runs: int, seconds: float) -> None:
        """Notes how long a step took, one line a step; processes write to the same file.

        Args:
            step: A search, "program" (compiled for the first time) or "kernel".
            nodes: Of a graph.
            count: Configurations that the step made.
            runs: Compilations that it took: of whole programs by a search, of a kernel's windows.
        """
        fields = {"step": step, "id": identifier, "nodes": nodes, "count": count, "runs": runs, "seconds": seconds}
        line = json.dumps(fields)
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "speed.jsonl", "a") as file:
            file.write(line + "\n")


class Tried:
    """Times of the choices that a search has tried, on disk line by line: one that was cut short goes on there.

    Args:
        path: The file, made where it is missing.
        identity: What the times depend on; times of another identity are thrown away.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self._times: dict[str, float | None] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        if lines and lines[0] == identity + "\n":
            for line in lines[1:]:
                if line.endswith("\n"):  # the last one may be cut off
                    key, time_ns = json.loads(line)
                    self._times[key] = time_ns
        kept = [json.dumps(each) for each in self._times.items()]
        files.replace(path, ("\n".join([identity, *kept]) + "\n").encode())
        self._file = open(path, "a")

    def __len__(self) -> int:
        return len(self._times)

    def __contains__(self, choice: np.ndarray) -> bool:
        return _key(choice) in self._times

    def __getitem__(self, choice: np.ndarray) -> float | None:
        return self._times[_key(choice)]

    def __setitem__(self, choice: np.ndarray, time_ns: float | None) -> None:
        self._times[_key(choice)] = time_ns
        self._file.write(json.dumps([_key(choice), time_ns]) + "\n")
        self._file.flush()

    def close(self, keep: bool = False) -> None:
        """Closes the file and removes it, unless it is to be kept: what was tried stands in records now."""
        self._file.close()
        if not keep:
            Path(self._file.name).unlink(missing_ok=True)


def _key(choice: np.ndarray) -> str:
    return choice.astype(np.int8).tobytes().hex()


def as_bytes(content: str | bytes) -> np.ndarray:
    """Text or bytes as an array of a record."""
    return np.frombuffer(content.encode() if isinstance(content, str) else content, np.uint8)
