"""One page to print: pictures and a table of a person or of a what-if, as PDF, marked as synthetic above and below."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from engine.figures.charts import FOOTER

#: inches, portrait A4, and its margin
PAGE, MARGIN = (8.27, 11.69), 0.6
#: inches of a table's row
ROW = 0.21


class Picture(NamedTuple):
    """A grey or coloured picture and the words above it."""

    title: str
    pixels: np.ndarray


def sheet(
    title: str,
    about: str,
    pictures: Sequence[Picture],
    table: Sequence[Sequence[str]],
    *,
    facts: Mapping[str, str],
    note: str = "",
) -> bytes:
    """The page: ``pictures`` above each other, below them the ``table``, its heads first. ``facts`` (seed, weights ...) stand in
    the footer and in the file's own metadata."""
    from matplotlib.backends.backend_pdf import FigureCanvasPdf  # a second of import
    from matplotlib.figure import Figure

    figure = Figure(figsize=PAGE, facecolor="white")
    FigureCanvasPdf(figure)
    footer = " · ".join([FOOTER, *(f"{name} {value}" for name, value in facts.items())])
    wide, high = PAGE[0] - 2 * MARGIN, PAGE[1]
    _words(figure, FOOTER, 0.45, size=10, weight="bold", colour="#9a6400")
    _words(figure, title, 0.8, size=17, weight="bold")
    _words(figure, about, 1.08, size=10, colour="#455a64")
    top = 1.35
    rows = len(table) * ROW
    room = high - top - rows - 1.3 - 0.3 * len(pictures)
    for picture in pictures:
        ratio = picture.pixels.shape[0] / picture.pixels.shape[1]
        tall = min(wide * ratio, room / len(pictures))
        _words(figure, picture.title, top + 0.16, size=10, weight="bold")
        place = (MARGIN / PAGE[0], 1 - (top + 0.25 + tall) / high, tall / ratio / PAGE[0], tall / high)
        axes = figure.add_axes(place)
        axes.imshow(picture.pixels, cmap="gray", vmin=0, vmax=255, aspect="auto", interpolation="antialiased")
        axes.set_axis_off()
        top += tall + 0.35
    _table(figure, table, top + 0.15)
    _words(figure, note, high - 0.62, size=8, colour="#455a64")
    _words(figure, footer, high - 0.38, size=8.5, weight="bold", colour="#9a6400")
    stream = io.BytesIO()
    marks = {"Title": f"{title} - {FOOTER}", "Subject": footer, "Keywords": footer, "Creator": "Somatwin"}
    figure.savefig(stream, format="pdf", metadata={**marks, "CreationDate": None}, dpi=200)
    return stream.getvalue()


def _words(
    figure: Any, text: str, down: float, *, size: float, weight: str = "normal", colour: str = "#16232a"
) -> None:
    """A line ``down`` inches below the page's top."""
    figure.text(MARGIN / PAGE[0], 1 - down / PAGE[1], text, size=size, weight=weight, color=colour, va="baseline")


def _table(figure: Any, table: Sequence[Sequence[str]], top: float) -> None:
    """Rows of words, the first one bold, with a rule below each."""
    wide = PAGE[0] - 2 * MARGIN
    for r, row in enumerate(table):
        down = top + r * ROW
        for c, cell in enumerate(row):
            left = MARGIN + wide * c / len(row)
            weight = "bold" if r == 0 or c == 0 else "normal"
            figure.text(left / PAGE[0], 1 - down / PAGE[1], cell, size=8.5, weight=weight, color="#16232a", va="center")
        y = 1 - (down + ROW / 2) / PAGE[1]
        figure.add_artist(_rule(y))


def _rule(y: float) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([MARGIN / PAGE[0], 1 - MARGIN / PAGE[0]], [y, y], color="#cfd8dc", linewidth=0.6)
