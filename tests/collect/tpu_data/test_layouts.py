"""The searches of a program with a compiler that is played: resumed, and without what crashes it."""

import hashlib
import json
from types import SimpleNamespace

import numpy as np
import pytest

from stages.collect import record
from stages.collect.tpu import libtpu
from stages.collect.tpu_data import compiled, layouts
from stages.collect.tpu_data.compiled import Compiled, Interrupted
from stages.collect.tpu_data.store import Store
from tests.collect.tpu.test_search import TEXT

COLLECTIONS = {"random": "layout:xla:random", "default": "layout:xla:default"}
PROGRAM = Compiled(TEXT, TEXT, b"", 1000.0, ())


class Killed(BaseException):
    pass


class PlayedSimulator:
    """Costs by the text's hash; refuses a kernel's own layout; dies after so many programs."""

    def __init__(self, lives=10**9, fault="refused: no"):
        self.lives, self.fault, self.seen, self.shift = lives, fault, [], 0.0

    def program(self, text):
        if self.lives == 0:
            raise Killed
        self.lives -= 1
        self.seen.append(text)
        if "slot2 = f32[3,3,256,512]{2,3,1,0}" in text:
            raise libtpu.CompileError(self.fault)
        digest = hashlib.sha256(text.encode()).digest()
        return SimpleNamespace(time_ns=1000 + int.from_bytes(digest[:2], "little") / 7 + self.shift, faults=())


def measure(store, simulator, count=25):
    layouts.measure("p", COLLECTIONS, PROGRAM, simulator, store, count, lambda search, done: None)


def content(store):
    return {name: store.graph(name, "p").read_bytes() for name in COLLECTIONS.values()}


def test_a_search_killed_again_and_again_ends_with_the_same_bytes(tmp_path):
    whole, cut = Store(tmp_path / "whole"), Store(tmp_path / "cut")
    measure(whole, PlayedSimulator())
    kills = 0
    while True:
        try:
            measure(cut, PlayedSimulator(lives=4))
            break
        except Killed:
            kills += 1
    assert kills >= 10
    assert content(cut) == content(whole)
    assert not cut.tried("p").exists()


def test_only_whole_searches_tell_how_fast_they_were(tmp_path):
    with pytest.raises(Killed):
        measure(Store(tmp_path), PlayedSimulator(lives=4))
    measure(Store(tmp_path), PlayedSimulator())
    lines = [json.loads(line) for line in (tmp_path / "speed.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == ["default"]


def test_nothing_is_compiled_twice(tmp_path):
    simulator = PlayedSimulator()
    measure(Store(tmp_path), simulator)
    assert len(set(simulator.seen)) == len(simulator.seen)
    assert simulator.seen
    simulator.seen.clear()
    measure(Store(tmp_path), simulator)
    assert simulator.seen == []


def test_what_crashes_is_blamed_once_and_stands_in_no_configuration(tmp_path):
    store = Store(tmp_path)
    measure(store, PlayedSimulator())
    random, default = (record.read(store.graph(name, "p")) for name in COLLECTIONS.values())
    assert random[0]["errors"] > 0
    assert random[0]["banned"] == default[0]["banned"]
    assert default[0]["errors"] == 0
    for meta, arrays in (random, default):
        kernel = arrays["configurations"][:, meta["names"].index("conv"), 2, :2]
        assert [2, 3] not in kernel.tolist()
        assert len(np.unique(arrays["configurations"].reshape(len(kernel), -1), axis=0)) == len(kernel)


def test_times_that_differ_by_less_than_a_nanosecond_are_the_same(tmp_path):
    one, other = PlayedSimulator(), PlayedSimulator()
    other.shift = 1e-6
    measure(Store(tmp_path / "one"), one)
    measure(Store(tmp_path / "other"), other)
    assert content(Store(tmp_path / "one")) == content(Store(tmp_path / "other"))


def test_a_compiler_that_somebody_ended_is_no_fault_of_a_layout(tmp_path):
    with pytest.raises(Interrupted):
        measure(Store(tmp_path), PlayedSimulator(fault="killed: ended by SIGKILL"))
    assert not (tmp_path / "layout").exists()


def test_a_program_without_a_choice_cannot_be_collected(tmp_path):
    plain = Compiled(TEXT.split("  %conv")[0] + "}\n", TEXT, b"", 1.0, ())
    with pytest.raises(libtpu.CompileError, match="no tensor has a choice"):
        layouts.measure("p", COLLECTIONS, plain, None, Store(tmp_path), 5, lambda search, done: None)


def test_a_program_record_comes_back_whole(tmp_path):
    kernel = compiled.TiledKernel("k", "dot", "fusion", 3, 1 / 3, "text", (), (8, 1), ())
    program = Compiled("before", "assigned", b"\0proto", 2 / 3, (kernel,))
    program.write(tmp_path / "p.npz", "p")
    back = Compiled.read(tmp_path / "p.npz")
    assert back.kernels[0].window == kernel.window
    assert (back.before, back.assigned, back.proto, back.time_ns) == ("before", "assigned", b"\0proto", 2 / 3)
