"""A run of a stage: its page, its console, and what stops it before or after the notebook's work."""

import re

from stages import run
from tests.support.toy import refused, write_notebook


def test_report_and_console(project, capfd):
    (project / "reports").mkdir()
    stale = project / "reports" / "toy-tile-xla.failed.ipynb"
    stale.write_text("of an earlier run")
    assert run.main(["toy", "collection=tile-xla", "hops=all"], project) == 0
    out, err = capfd.readouterr()
    assert err == "step 0\nstep 1\nstep 2\nstep 3\n"
    values, places = out.splitlines()
    assert values == "['tile:xla', 2.0, False, 4, 'all', 'elsewhere/npz_all']"
    assert places == f"{project} 0 :4096:8"
    assert [path.name for path in (project / "reports").iterdir()] == ["toy-tile-xla.html"]

    page = (project / "reports" / "toy-tile-xla.html").read_text()
    assert "<title>toy · tile:xla</title>" in page
    assert (
        "A toy" in page and "<b>shown</b>" in page and "data:image/png;base64," in page and "elsewhere/npz_all" in page
    )
    for hidden in ("range(steps)", "step 0", "alert(1)", "<script", "In&nbsp;[", "papermill"):
        assert hidden not in page
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//|url\(["']?(https?:)?//|@import""", page)
    assert "default-src 'none'" in page


def test_report_is_byte_stable(project, capfd):
    pages = []
    for steps in (1, 5):  # another number of progress lines is not another result
        source = (project / "notebooks" / "toy.ipynb").read_text().replace("deep, steps, hops", "deep, hops")
        (project / "notebooks" / "toy.ipynb").write_text(source)
        assert run.main(["toy", f"steps={steps}"], project) == 0
        pages.append((project / "reports" / "toy-layout-xla-random.html").read_bytes())
    assert pages[0] == pages[1]


def test_notebook_without_parameters_or_section(project, capfd):
    assert run.main(["plain"], project) == 0
    assert capfd.readouterr() == ("42\n", "")
    assert "42" in (project / "reports" / "plain.html").read_text()
    assert "it takes none" in refused(project, capfd, "plain", "rate=1").replace("notebooks/plain.ipynb", "it")


def test_a_folder_that_cannot_be_written_to_stops_before_the_work(project, capfd):
    (project / "reports").touch()
    assert "reports: cannot be written to" in refused(project, capfd, "plain")


def test_a_result_that_another_run_wrote_is_refused(project, capfd):
    """As one does that was killed and had not ended yet."""
    cell = "import json, pathlib\nfolder = pathlib.Path('data/mine')\nfolder.mkdir(parents=True)\n"
    cell += "(folder / 'parameters.json').write_text(json.dumps({'trees': 300}))"
    write_notebook(project / "notebooks" / "mine.ipynb", [("parameters", "trees = 4"), ("code", cell)])
    assert run.main(["mine"], project) == 1
    line = capfd.readouterr().err
    assert line == f"{project}/data/mine: another run wrote there, with mine.trees 300 instead of 4; run again\n"
    assert not (project / "reports" / "mine.html").exists()
