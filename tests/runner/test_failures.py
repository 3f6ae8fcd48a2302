import errno
import os
import subprocess
import sys

import pytest

from stages.engine.errors import InputError
from stages.runner import failures


def known(**values):
    return lambda name: values[name.replace(".", "_")]


GNN = known(gnn_configurations=64, gnn_segment_nodes=40)
LOWER = "lower gnn.configurations, now 64, or gnn.segment_nodes, now 40"


@pytest.mark.parametrize(
    "text",
    [
        "MemoryError: ",
        "_ArrayMemoryError: Unable to allocate 8.00 TiB for an array",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried to",
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "LightGBMError: std::bad_alloc",
        "OSError: [Errno 12] Cannot allocate memory",
    ],
)
def test_memory_names_the_parameters_to_lower(text):
    assert failures.explained(text, "gnn", GNN) == f"memory ran out ({text}); {LOWER}"


def test_a_parameter_that_is_as_low_as_it_goes_is_not_to_be_lowered():
    assert (
        failures.remedy("gnn", known(gnn_configurations=1, gnn_segment_nodes=40)) == "lower gnn.segment_nodes, now 40"
    )
    assert failures.remedy("prune", known(prune_hops="all")) == "lower prune.hops, now all"
    assert failures.remedy("prune", known(prune_hops=1)) == "give the machine more, prune.hops is 1 already"
    assert failures.remedy("configuration", known(configuration_program=None)).endswith(
        "configuration.program, now null"
    )
    assert failures.remedy("blend", {"gnn.seeds": 3}.__getitem__) == "lower gnn.seeds, now 3, or gbdt.seeds"
    assert failures.remedy("times", known()) == "give the machine more"


def test_every_stage_of_the_pipeline_has_parameters_that_are_in_params_yaml():
    from stages.engine import params
    from stages.studies import times

    values = params.read("params.yaml")
    assert set(failures.MEMORY) == set(times.ORDER)
    for _, names in failures.MEMORY.values():
        assert [name for name in names if name.split(".")[1] not in values[name.split(".")[0]]] == []


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("OSError: [Errno 28] No space left on device: 'data/gnn'", "the disk is full (OSError"),
        ("SafetensorError: I/O error: No space left on device (os error 28)", "the disk is full (Safetensor"),
        ("OSError: 4096 requested and 12 written", "the disk is full (OSError"),
        ("OSError: [Errno 30] Read-only file system: 'data/gnn'", "a file cannot be written or read (OSError"),
        ("KeyError: 'width'", "KeyError: 'width'"),
    ],
)
def test_disks(text, begins):
    assert failures.explained(text, "gnn", GNN).startswith(begins)


def test_errors_of_the_system():
    for number, words in ((errno.ENOSPC, "disk is full"), (errno.EROFS, "cannot be written"), (errno.ENOMEM, "memory")):
        line = failures.of_system(OSError(number, os.strerror(number), "reports/gnn.html"))
        assert line.startswith("reports/gnn.html: ") and words in line
    assert failures.of_system(OSError(errno.ECONNREFUSED, "refused")) is None


def raising(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("command", "status", "line"),
    [
        (lambda: None, 0, ""),
        (lambda: 3, 3, ""),
        (raising(InputError("params.yaml: is empty;\nfill it")), 1, "params.yaml: is empty; fill it\n"),
        (raising(OSError(errno.EROFS, "Read-only", "reports")), 1, "reports: cannot be written or read (Read-only); "),
        (raising(KeyboardInterrupt), 130, "stopped; run again\n"),
    ],
)
def test_a_command_that_fails_prints_one_line(capsys, monkeypatch, command, status, line):
    monkeypatch.delenv(failures.REPRO, raising=False)
    assert failures.exit_status(command, "stopped; run again") == status
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith(line) and printed.err.count("\n") == bool(line)


def test_an_interrupt_below_make_repro_prints_nothing(capsys, monkeypatch):
    monkeypatch.setenv(failures.REPRO, "1")
    assert failures.exit_status(raising(KeyboardInterrupt)) == 130
    assert capsys.readouterr().err == ""


def test_an_error_that_the_user_cannot_mend_keeps_its_traceback():
    with pytest.raises(OSError, match="refused"):
        failures.exit_status(raising(OSError(errno.ECONNREFUSED, "refused")))


def test_a_folder_that_cannot_be_written_to(tmp_path):
    failures.check_writable(tmp_path / "made")
    assert list((tmp_path / "made").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: cannot be written to"):
        failures.check_writable(tmp_path / "file")


@pytest.mark.parametrize("lines", [1, 100_000])
def test_who_has_read_enough_is_no_error(lines):
    """As in `python -m stages.collect --dry-run | head`."""
    code = f"from stages.runner import failures; exit(failures.exit_status(lambda: print('line\\n' * {lines})))"
    command = f'exec 3>&1; {{ sleep 0.5; "{sys.executable}" -c "{code}"; echo $? >&3; }} | true'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == "" and done.stdout.strip() == "1"
