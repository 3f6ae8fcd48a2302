import contextlib
import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from stages import prune
from stages.engine import code
from stages.engine.errors import InputError
from stages.graphs import dataset, npz
from stages.prune import jobs
from tests.support.samples import save, tile_arrays, write_layout, write_root

LAYOUT = "layout:xla:random"


def contents(folder):
    return {file.relative_to(folder): file.read_bytes() for file in Path(folder).rglob("*.*") if file.is_file()}


@pytest.fixture
def packings(monkeypatch):
    """Ids of the graphs that this process packs, as they come."""
    seen, original = [], jobs.pack_file
    monkeypatch.setattr(jobs, "pack_file", lambda job: seen.append(job.id) or original(job))
    return seen


def test_a_faulty_file_is_named_and_the_others_are_kept(tmp_path, packings):
    root = write_root(tmp_path)
    expected = prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path / "expected"))
    good = root / "npz/layout/xla/random/train/train_1.npz"
    content = good.read_bytes()
    good.write_bytes(content[:500])
    packings.clear()
    with pytest.raises(InputError, match="is no npz file or is cut off; .*the other 7 files are packed") as error:
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    assert str(error.value).startswith(f"{good} is no npz") and len(packings) == 8
    assert not (dataset.prune_folder(tmp_path, LAYOUT)).exists()
    good.write_bytes(content)
    packings.clear()
    frame = prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    assert packings == ["train_1"] and frame.equals(expected)
    assert contents(tmp_path / "prune") == contents(tmp_path / "expected/prune")
    assert not contents(tmp_path / "checkpoints")


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (lambda file, options: None, []),
        (lambda file, options: write_layout(file.parent, file.stem, seed=99), ["train_1"]),
        (lambda file, options: os.utime(file, ns=(1, 1)), ["train_1"]),
        (lambda file, options: options.update(hops=2), ["train_0", "train_1", "train_2", "train_3", "valid_1"]),
    ],
    ids=["nothing", "content", "time", "parameter"],
)
def test_what_is_kept_is_of_the_same_file_and_parameters(tmp_path, packings, change, again):
    root = write_root(tmp_path)
    faulty, options = root / "npz/layout/xla/random/valid/valid_0.npz", {}
    content = faulty.read_bytes()
    faulty.write_bytes(b"nothing")
    with pytest.raises(InputError):
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    faulty.write_bytes(content)
    change(root / "npz/layout/xla/random/train/train_1.npz", options)
    packings.clear()
    prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path), **options)
    assert set(packings) - {"test_0", "test_1"} == {"valid_0", *again}
    packings.clear()
    prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path / "new"), **options)
    assert contents(tmp_path / "prune") == contents(tmp_path / "new/prune")


def test_a_file_changed_within_the_same_size_and_time_is_noticed(tmp_path, packings):
    root = write_root(tmp_path)
    changed, faulty = (root / f"npz/layout/xla/random/train/train_{id}.npz" for id in (1, 2))
    whole, state = faulty.read_bytes(), changed.stat()
    faulty.write_bytes(b"nothing")
    with pytest.raises(InputError):
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    arrays = dict(np.load(changed))
    arrays["config_runtime"][:] = arrays["config_runtime"][::-1].copy()
    save(changed, arrays)
    content = changed.read_bytes()
    changed.write_bytes(content.ljust(state.st_size)[: state.st_size])  # of the same size, whatever is in it
    os.utime(changed, ns=(state.st_atime_ns, state.st_mtime_ns))
    faulty.write_bytes(whole)
    packings.clear()
    with contextlib.suppress(InputError):  # it may be cut off now
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    assert sorted(packings) == ["train_1", "train_2"]


RUN = "import json, sys; from stages import prune; prune.run(**json.loads(sys.argv[1]))"


def test_a_killed_run_goes_on_to_the_same_bytes_and_leaves_no_process(tmp_path, packings):
    root = write_root(tmp_path, graphs={"train": 20, "valid": 1, "test": 1}, nodes=100, configurable=20)
    knobs = {"collection": LAYOUT, "root": str(root), "data": str(tmp_path), "workers": 2}
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    records = tmp_path / "checkpoints/prune/layout-xla-random/records"
    with subprocess.Popen(
        [sys.executable, "-c", RUN, json.dumps(knobs)], env=environment, stderr=subprocess.PIPE
    ) as child:
        while len(list(records.rglob("*.json"))) < 3:
            assert child.poll() is None
            time.sleep(0.005)
        child.kill()
        child.stderr.read()  # to its end: it is closed when the last worker has ended
    done = len(list(records.rglob("*.json")))
    packings.clear()
    prune.run(**knobs | {"workers": 1})
    assert len(packings) == 22 - done < 20
    prune.run(**knobs | {"data": str(tmp_path / "undisturbed"), "workers": 1})
    assert contents(tmp_path / "prune") == contents(tmp_path / "undisturbed/prune")


def test_nothing_depends_on_the_number_of_processes(tmp_path):
    root = write_root(tmp_path)
    (root / "npz/layout/xla/random/train/train_1.npz").write_text("nothing")
    frames = []
    for workers in (1, 2, 3):
        knobs = {"data": str(tmp_path / str(workers)), "workers": workers, "skip_bad": True}
        frames.append(prune.run(collection=LAYOUT, root=str(root), **knobs))
        assert contents(tmp_path / str(workers)) == contents(tmp_path / "1")
        assert frames[-1].equals(frames[0])


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    root = write_root(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(dataset, "write_packed", full)
    with pytest.raises(InputError, match="the disk is full; make room and run again"):
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))


@pytest.mark.parametrize("kind", ["pipe", "folder", "dangling link", "forbidden"])
def test_what_is_no_readable_file_is_named_and_not_waited_for(tmp_path, kind):
    root = write_root(tmp_path)
    path = root / "npz/tile/xla/valid/odd.npz"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "dangling link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        save(path, tile_arrays()).chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("root may read every file")
    with pytest.raises(InputError, match=r"odd\.npz: (is no file|cannot be opened)"):
        prune.run(collection="tile:xla", root=str(root), data=str(tmp_path))
    with pytest.raises(InputError, match=r"odd\.npz:? (is no file|cannot be opened|no such file)"):
        npz.read_tile(path)


def test_what_is_kept_is_of_the_code_that_packs_and_no_other():
    """A changed page or engine packs nothing anew."""
    shaping = {file.relative_to(code.STAGES).as_posix() for file in code.closure(jobs.PACKING)}
    prune_files = {"prune/cut.py", "prune/coding.py", "prune/whole_graph.py", "prune/packing.py"}
    graph_files = {f"graphs/{name}.py" for name in ("archive", "npz", "dataset", "opcodes", "operands", "tensors")}
    engine_files = {f"engine/{name}.py" for name in ("__init__", "errors", "files", "processor")}
    assert prune_files | graph_files | engine_files | {"graphs/topology.py"} <= shaping
    assert not {"prune/stage.py", "prune/jobs.py"} & shaping
    others = shaping - engine_files
    assert not any(name.split("/")[0] in ("engine", "reporting", "runner") for name in others)


def test_changed_code_packs_again(tmp_path, packings, monkeypatch):
    root = write_root(tmp_path)
    faulty = root / "npz/layout/xla/random/valid/valid_0.npz"
    whole = faulty.read_bytes()
    faulty.write_bytes(b"nothing")
    with pytest.raises(InputError):
        prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    faulty.write_bytes(whole)
    monkeypatch.setattr(code, "digest", lambda *modules: f"another {modules}")
    packings.clear()
    prune.run(collection=LAYOUT, root=str(root), data=str(tmp_path))
    assert len(packings) == 8
