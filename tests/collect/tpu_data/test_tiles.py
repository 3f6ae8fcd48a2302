"""The windows of a kernel with a compiler that is played."""

import re

import numpy as np

from stages.collect import record
from stages.collect.tpu_data import tiles
from stages.collect.tpu_data.compiled import TiledKernel
from stages.collect.tpu_data.store import Store
from tests.collect.tpu.test_windows import REDUCTION

OWN = (2, 26, 4, 2)
SCHEDULE = {"cycles": 940.0, "steps": 1, "bundles": 1, "copies": [], "uncounted": 0}


class PlayedSimulator:
    """Takes windows of at most 400 registers, refuses those of one row, and puts the own window in others' place."""

    def records(self, texts, tick):
        return [self._record(text) for text in texts]

    def _record(self, text):
        bounds = re.search(r'"output_window_bounds":\[([^\]]*)\]', text)[1].replace('"', "").split(",")
        bounds = tuple(map(int, bounds))
        if bounds[0] == 1:
            return {"fault": "refused: too thin"}
        taken = bounds if np.prod(bounds) <= 400 or bounds == OWN else OWN
        window = {
            "kernel_window_bounds": [],
            "output_window_bounds": list(map(str, taken)),
            "input_window_bounds": list(map(str, taken)),
        }
        return {"schedules": [SCHEDULE], "window": window}


def test_what_is_refused_or_replaced_is_left_out_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(tiles, "_proto", lambda text: b"kernel")
    kernel = TiledKernel("k", "reduction", "fusion", 1, 5.0, REDUCTION, (), OWN, ())
    tried = tiles.candidates(kernel, 40)
    tiles.measure(kernel, PlayedSimulator(), Store(tmp_path), 40)
    meta, stored = record.read(Store(tmp_path).graph(tiles.COLLECTION, "k"))
    kept = [tuple(row[8:12]) for row in stored["config_feat"].tolist()]
    assert kept == [
        window.output
        for window in tried
        if window.output == OWN or (window.output[0] > 1 and np.prod(window.output) <= 400)
    ]
    assert meta["errors"] == len(tried) - len(kept) > 0 and len(stored["times_ns"]) == len(kept)
