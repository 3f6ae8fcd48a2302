"""Where a training stands, on disk: written whole every few seconds of work, read back by the run that goes on."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from stages.engine import files
from stages.gnn.training import Training

SECONDS = 5
#: a checkpoint is written at most in this share of the time
SHARE = 0.05


class Checkpoint:
    """One seed's checkpoint. It belongs to one `identity`: of other settings, data or code it is not gone on from."""

    def __init__(self, path: str | Path, identity: str):
        self.path, self.identity = Path(path), identity
        self._asked = False
        self._next = time.monotonic() + SECONDS
        self._earlier, self._begin = 0.0, time.process_time()

    def restore(self, training: Training) -> bool:
        """Puts the training where the checkpoint was written; False where there is none that fits."""
        self._begin = time.process_time()
        try:
            with safe_open(self.path, "numpy") as file:
                head = json.loads(file.metadata()["training"])
                if head["identity"] != self.identity:
                    return False
                head["seconds"] = float(head["seconds"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, a method of its own
        except (FileNotFoundError, SafetensorError, KeyError, TypeError, ValueError):
            return False
        self._earlier = head["seconds"]
        training.resume(arrays, head["progress"])
        return True

    @property
    def seconds(self) -> float:
        """Processor seconds of the training since it was restored, and of the runs before that."""
        return self._earlier + time.process_time() - self._begin

    def after_step(self, training: Training) -> None:
        """Writes the checkpoint when it is time, when the training is done, and before leaving on SIGTERM.

        Of a worker group the process that leads writes, when one of them finds that it is time.
        """
        done, group = training.progress.part == "done", training.group
        due = torch.tensor([float(done or self._asked or time.monotonic() >= self._next), float(self._asked)])
        due, asked = group.total(due.to(training.device)).tolist() if group.size > 1 else due.tolist()
        if not due:
            return
        start = time.monotonic()
        arrays, progress = training.state()
        spent = torch.tensor([self.seconds - self._earlier], dtype=torch.float64)
        spent = self._earlier + float(group.total(spent.to(training.device)))
        if group.leads:
            head = json.dumps({"identity": self.identity, "progress": progress, "seconds": spent})
            files.replace(self.path, save(arrays, {"training": head}))
        took = time.monotonic() - start
        self._next = time.monotonic() + max(SECONDS, took / SHARE)
        if asked:
            raise SystemExit(128 + signal.SIGTERM)

    def ask(self, *_) -> None:
        """Write at the end of this step and leave: the handler of SIGTERM."""
        self._asked = True
