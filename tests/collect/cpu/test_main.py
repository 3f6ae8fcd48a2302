"""`python -m stages.collect --target cpu`: what is measured, listed and logged."""

import json
import sys

from stages.collect import record
from stages.collect.cpu import __main__ as command
from stages.collect.cpu.jobs import Job, records_of


def called(monkeypatch, capsys, *arguments):
    """Exit code, standard output and standard error of `python -m stages.collect ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["collect", *map(str, arguments)])
    code = command.main()
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err.splitlines()


def listed(monkeypatch, capsys, *arguments):
    code, out, err = called(monkeypatch, capsys, "--dry-run", *arguments)
    assert code == 0 and not err
    jobs = {line.split()[0]: line.split(maxsplit=1)[1] for line in out[:-1]}
    return jobs, out[-1]


def test_collect_logs_the_failed_and_only_them(task, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "perform", task)
    jobs = [Job(name, ("random", "default"), 3, str(tmp_path / "out"), 2.5) for name in ("fine", "raise", "also")]
    assert command.collect(jobs, tmp_path / "out" / "failed.jsonl", workers=1) == 0
    lines = (tmp_path / "out" / "failed.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"id": "raise", "reason": "ValueError: the first line"}]
    assert "raise: ValueError: the first line" in capsys.readouterr().err


def test_dry_run_lists_programs_and_kernels_and_writes_nothing(tmp_path, monkeypatch, capsys):
    out = tmp_path / "collect"
    jobs, total = listed(monkeypatch, capsys, "--out", out, "--configs", 7)
    assert total == f"{len(jobs)} of {len(jobs)} to measure, 7 configurations each and search"
    assert set(jobs) == set(command.programs()) | set(command.kernels())
    assert set(jobs.values()) == {"random, default", "tile"}
    layout_jobs, _ = listed(monkeypatch, capsys, "--out", out, "--search", "default")
    assert set(layout_jobs) == set(command.programs()) and set(layout_jobs.values()) == {"default"}
    assert not out.exists()


def test_unknown_pattern_is_one_line_and_exit_1(tmp_path, monkeypatch, capsys):
    code, out, err = called(monkeypatch, capsys, "--programs", "nosuch*", "--out", tmp_path)
    assert (code, out, len(err)) == (1, [], 1)
    assert "nosuch*" in err[0]


def test_what_is_measured_or_failed_is_not_listed_again(tmp_path, monkeypatch, capsys):
    jobs, _ = listed(monkeypatch, capsys, "--programs", "[c-r]*", "--out", tmp_path)
    program = next(name for name, searches in jobs.items() if searches != "tile")
    kernel = next(name for name, searches in jobs.items() if searches == "tile")
    *_, broken = jobs
    written = []
    for name, searches in ((program, ("random", "default")), (kernel, ("tile",))):
        for path in records_of(Job(name, searches, 7, str(tmp_path), 2.5)):
            record.write(path, {"id": name})
            written.append(path)
    assert len(written) == 3
    (tmp_path / "failed.jsonl").write_text(json.dumps({"id": broken, "reason": "any"}) + "\n")
    left, total = listed(monkeypatch, capsys, "--programs", "[c-r]*", "--out", tmp_path)
    assert left == {name: searches for name, searches in jobs.items() if name not in (program, kernel, broken)}
    assert total.startswith(f"{len(jobs) - 3} of {len(jobs)} ")
    written[0].unlink()
    assert program in listed(monkeypatch, capsys, "--programs", program, "--out", tmp_path)[0]
    assert (
        program not in listed(monkeypatch, capsys, "--programs", program, "--out", tmp_path, "--search", "default")[0]
    )
