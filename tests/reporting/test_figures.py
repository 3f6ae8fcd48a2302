"""Figures as a notebook displays them."""

import base64
import re

import pytest

from stages.reporting import disagreement, figures
from tests.support.frames import DISAGREEMENT


def test_a_picture_says_what_it_shows():
    shown = figures.picture(disagreement.drawing(DISAGREEMENT), 'a "quoted" <b>')
    assert shown.startswith('<img alt="a &quot;quoted&quot; &lt;b&gt;" src="data:image/svg+xml;base64,')
    drawn = base64.b64decode(re.search(r"base64,([^\"]+)", shown)[1]).decode()
    assert drawn == figures.svg(disagreement.drawing(DISAGREEMENT)) and drawn.count("<svg") == 1


def test_a_responsive_picture_has_a_narrow_drawing_and_a_wide_one():
    shown = figures.responsive(disagreement.drawing, "dots", DISAGREEMENT)
    source, image = re.findall(r"base64,([^\"]+)", shown)
    assert base64.b64decode(image).decode() == figures.svg(disagreement.drawing(DISAGREEMENT))
    widths = [float(re.search(r'width="([\d.]+)pt"', base64.b64decode(part).decode())[1]) for part in (source, image)]
    assert widths == [pytest.approx(72 * figures.NARROW), pytest.approx(72 * figures.WIDE)]
