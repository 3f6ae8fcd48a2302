"""Figures of the reports: one style, and the same bytes each time.

A drawing function takes what it shows and returns a `Figure`; `picture` and `responsive` turn figures into what a
notebook displays. A drawing function with the keyword `narrow` puts its panels below one another, for a phone.
"""

import base64
import html
import io
from collections.abc import Callable

import matplotlib
import numpy as np
from matplotlib.figure import Figure

#: Widths of a figure in inches. At the page's 96 dots per inch they fill a desktop's column and a phone.
WIDE, NARROW = 9.5, 4.2
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "path.simplify": False,  # it would drop lines of no length
    "svg.hashsalt": "tpugraphs",  # without it ids within a drawing are random
}


def svg(figure: Figure) -> str:
    """The figure as SVG text. It has no date and fixed ids, so the same figure is the same text."""
    stream = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def picture(figure: Figure, text: str) -> str:
    """The figure as an HTML image.

    Args:
        figure: what is shown.
        text: describes it for readers who cannot see it.
    """
    return f'<img alt="{html.escape(text)}" src="{_address(figure)}">'


def responsive(draw: Callable[..., Figure], text: str, *arguments) -> str:
    """A drawing as an HTML image that is wide on a desktop and narrow on a phone.

    Args:
        draw: the drawing function; it takes the keyword `narrow`.
        text: as in `picture`.
        arguments: the drawing function's own, without `narrow`.
    """
    small = f'<source media="(max-width: 600px)" srcset="{_address(draw(*arguments, narrow=True))}">'
    return f"<picture>{small}{picture(draw(*arguments), text)}</picture>"


def panels(count: int, columns: int, height: float, label: str, narrow: bool = False) -> tuple[Figure, list]:
    """Makes a figure of empty panels.

    Args:
        count: number of panels.
        columns: panels in a row at most; a narrow figure has one.
        height: of a row, in inches.
        label: says in small print below what the numbers were measured on; "" for no label.
        narrow: whether the figure is for a phone.

    Returns:
        The figure and its panels, row by row.
    """
    columns = 1 if narrow else max(min(columns, count), 1)
    rows = max(-(-count // columns), 1)
    figure = Figure(figsize=(NARROW if narrow else WIDE, height * rows + 0.2), layout="constrained")
    axes = list(np.ravel(figure.subplots(rows, columns)))
    for panel in axes[count:]:
        panel.remove()
    if label:
        figure.supxlabel(label, fontsize=8, color="#555555", x=1, ha="right")
    return figure, axes[:count]


def short(text: str, length: int = 34) -> str:
    """The text, or its beginning and an ellipsis where it is longer."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _address(figure: Figure) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg(figure).encode()).decode()}"
