"""`python -m stages.collect`: whose collector a command line asks for."""

import pytest

from stages.collect import __main__ as command
from stages.collect.cpu import __main__ as cpu
from stages.collect.tpu_data import __main__ as tpu


@pytest.mark.parametrize(
    ("words", "target", "rest"),
    [
        ([], "tpu", []),
        (["--check", "3"], "tpu", ["--check", "3"]),
        (["--target", "cpu", "--dry-run"], "cpu", ["--dry-run"]),
        (["--first", "2", "--target=cpu"], "cpu", ["--first", "2"]),
        (["bert_*", "--target", "tpu", "--seed", "4"], "tpu", ["bert_*", "--seed", "4"]),
    ],
)
def test_the_target_is_asked_with_what_is_left(monkeypatch, words, target, rest):
    asked = []
    for name, module in (("tpu", tpu), ("cpu", cpu)):
        monkeypatch.setattr(module, "main", lambda words, name=name: asked.append((name, words)) or 7)
    assert command.main(words) == 7
    assert asked == [(target, rest)]


@pytest.mark.parametrize("words", [["--target", "gpu"], ["--target="], ["--target"]])
def test_another_target_is_a_line(capsys, words):
    assert command.main(words) == 1
    assert "no such target; give tpu or cpu" in capsys.readouterr().err
