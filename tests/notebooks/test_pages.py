"""The reports as a reader has them: opened in Chromium, offline, on a desktop, in the dark and on a phone."""

import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from stages.runner import stage
from tests.support import browser, pipeline
from tests.support.pipeline import CHOSEN, PROJECT, TABLES

pytestmark = pytest.mark.skipif(browser.NAME is None, reason="there is no Chromium; .ci/run installs Debian's")
DESKTOP, PHONE = 1280, 375
BESIDE = ("collect", "times", "recipes", "ablation")  # that `make repro` makes after the pipeline
#: every picture's source is looked at, the narrow ones too, which are chosen by the window's width
PICTURES = """Promise.all([...document.images].map(image => image.decode().then(() => null, () => image.alt))).then(
    found => found.filter(alt => alt !== null))"""
UNTOLD = "[...document.querySelectorAll('img, svg')].filter(shown => !shown.alt || shown.alt.length < 20).length"
LINKS = "[...document.querySelectorAll('a[href]')].map(link => link.href)"
ANCHORS = "[...document.querySelectorAll('[id]')].map(place => place.id)"
WIDTH = "document.documentElement.scrollWidth"
CUT = """[...document.querySelectorAll('main *')].filter(part => part.scrollWidth > part.clientWidth + 1 &&
    getComputedStyle(part).overflowX === 'hidden').length"""


@pytest.fixture(scope="session")
def tab():
    with browser.Browser() as opened:
        yield opened


@pytest.fixture(scope="session")
def reports(reproduced, tmp_path_factory):
    """Every page: the tiny pipeline's, those beside it, and none from elsewhere."""
    folder = pipeline.again(reproduced, tmp_path_factory.mktemp("pages") / "project")
    for name in ("programs.csv", "dropped.csv"):
        shutil.copy(PROJECT / "data" / "sample" / name, tmp_path_factory.getbasetemp() / name)
    pipeline.add_page_collect(folder)
    for name in TABLES:
        shutil.copy(PROJECT / "reports" / name, folder / "reports")
    given = {name: str(tmp_path_factory.getbasetemp() / f"{name}.csv") for name in ("programs", "dropped")}
    for name in BESIDE:
        stage.run(name, given if name == "collect" else {}, folder)
    return folder / "reports"


def pages(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.html"))


def test_a_page_for_every_stage_and_collection(reports):
    assert len(pages(reports)) == 5 * len(CHOSEN) + 2 + len(BESIDE)
    for page in pages(reports):
        pipeline.check_page(page, reports.parent)


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_pages_load_nothing_complain_of_nothing_and_are_no_wider_than_the_screen(tab, reports, width, dark):
    for page in (*pages(reports), PROJECT / "reports" / "leaderboard.html"):
        tab.open(page, width, dark=dark)
        assert tab.evaluate(PICTURES) == [], f"{page.name}: broken pictures"
        assert tab.evaluate(WIDTH) <= width, f"{page.name}: scrolls sideways at {width} pixels"
        assert tab.evaluate(CUT) == 0, f"{page.name}: something is cut off"
        assert tab.requests() == [page.as_uri()], page.name
        assert tab.complaints() == [], page.name


def test_every_picture_says_what_it_shows(tab, reports):
    for page in pages(reports):
        tab.open(page, DESKTOP)
        assert tab.evaluate(UNTOLD) == 0, page.name


def test_every_link_leads_somewhere(tab, reports):
    linked = set()
    for page in pages(reports):
        tab.open(page, DESKTOP)
        anchors = set(tab.evaluate(ANCHORS))
        for link in map(urlsplit, tab.evaluate(LINKS)):
            target = Path(unquote(link.path))
            assert link.scheme == "file" and target.is_file(), f"{page.name}: {link.geturl()}"
            assert not link.fragment or target != page or unquote(link.fragment) in anchors, f"{page.name}: {link}"
            if page.name == "leaderboard.html":
                linked.add(target.name)
    assert linked >= {page.name for page in pages(reports)} - {"leaderboard.html"}


def test_the_first_screen_answers_the_four_questions(tab, reports):
    bottom = "[...document.querySelectorAll('.answers section')].map(part => part.getBoundingClientRect().bottom)"
    titles = "[...document.querySelectorAll('.answers h2')].map(part => part.innerText)"
    tab.open(reports / "leaderboard.html", DESKTOP, 800)
    assert tab.evaluate(titles) == ["What was predicted?", "How well?", "Against what?", "May I believe it?"]
    assert max(tab.evaluate(bottom)) < 800


def test_the_dark_is_dark_and_paper_is_white(tab, reports):
    colour = "getComputedStyle(document.body).backgroundColor"
    shown = {}
    for dark in (False, True):
        tab.open(reports / "leaderboard.html", DESKTOP, dark=dark)
        shown[dark] = tab.evaluate(colour)
    assert shown[False] == "rgb(255, 255, 255)" and max(map(int, shown[True][4:-1].split(","))) < 64


def test_on_a_phone_the_narrow_pictures_are_shown(tab, reports):
    sources = "[...document.querySelectorAll('picture')].map(part => part.querySelector('img').currentSrc)"
    shown = []
    for width in (DESKTOP, PHONE):
        tab.open(reports / "leaderboard.html", width)
        shown.append(tab.evaluate(sources))
    assert shown[0] and not set(shown[0]) & set(shown[1])


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<img alt='gone' src='gone.png'>", "requests"),
        ("<div style='width: 900px'>wide</div>", "width"),
        ("<script>console.error('no')</script>", "complaints"),
    ],
)
def test_the_looking_itself_finds_faults(tab, tmp_path, body, fault):
    page = tmp_path / "page.html"
    page.write_text(f"<!DOCTYPE html><meta charset='utf-8'><body>{body}")
    tab.open(page, PHONE)
    found = {
        "requests": len(tab.requests()) > 1 and tab.evaluate(PICTURES) == ["gone"],
        "width": tab.evaluate(WIDTH) > PHONE,
        "complaints": bool(tab.complaints()),
    }
    assert found[fault]
