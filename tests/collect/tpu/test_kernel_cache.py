import multiprocessing
import sqlite3

import pytest

from stages.collect.tpu import kernel_cache
from stages.collect.tpu.kernel_cache import KernelCache, key_of
from stages.engine.errors import InputError


def write(path, first, last):
    cache = KernelCache(path)
    for number in range(first, last):
        cache.put(str(number), {"number": number})
    cache.close()


def test_records_are_kept_for_the_next_process(tmp_path):
    write(tmp_path / "folder" / "kernels.sqlite", 0, 1200)
    cache = KernelCache(tmp_path / "folder" / "kernels.sqlite")
    keys = [str(number) for number in range(-5, 1300)]
    assert cache.get(keys) == {str(number): {"number": number} for number in range(1200)}


def test_processes_write_at_the_same_time(tmp_path):
    path = tmp_path / "kernels.sqlite"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write, args=(path, first, first + 150)) for first in (0, 100, 200)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert len(KernelCache(path).get(map(str, range(500)))) == 350


def test_first_record_of_a_kernel_stays(tmp_path):
    cache = KernelCache(tmp_path / "kernels.sqlite")
    cache.put("a", {"time": 1})
    cache.put("a", {"time": 2})
    assert cache.get(["a"]) == {"a": {"time": 1}}


def test_key_is_of_text_compiler_topology_and_reader(monkeypatch):
    keys = {key_of("text"), key_of("text ")}
    for module, name in ((kernel_cache.libtpu, "VERSION"), (kernel_cache.libtpu, "TOPOLOGY")):
        monkeypatch.setattr(module, name, "other")
        keys.add(key_of("text"))
    monkeypatch.setattr(kernel_cache.schedule, "READER_VERSION", -1)
    assert len(keys | {key_of("text")}) == 5


def test_file_that_is_no_cache_is_one_line(tmp_path):
    path = tmp_path / "kernels.sqlite"
    path.write_text("something else\n" * 100)
    with pytest.raises(InputError, match="kernels.sqlite.*cannot be used") as refused:
        KernelCache(path)
    assert "\n" not in str(refused.value)
    assert path.read_text().startswith("something else")


def test_full_disk_is_one_line_and_loses_nothing(tmp_path):
    path = tmp_path / "kernels.sqlite"
    write(path, 0, 10)
    cache = KernelCache(path)
    cache._connection.execute("PRAGMA max_page_count = 1")  # SQLite's own way to say that there is no more room
    with pytest.raises(InputError, match="full.*make room"):
        cache.put("large", {"text": "x" * 10**6})
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT COUNT(*) FROM kernels").fetchone() == (10,)
