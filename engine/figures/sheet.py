"""One page to print: pictures and a table of a person or of a what-if, as PDF, marked as synthetic above and below."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from engine.figures.charts import FOOTER

#: inches, portrait A4, and its margin
PAGE, MARGIN = (8.27, 11.69), 0.6
#: inches of a table's row at most, between two of its columns, and of a picture at least; points of its letters
ROW, GAP, LEAST, LETTERS = 0.21, 0.15, 1.2, 8.5


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
    notice: str = FOOTER,
) -> bytes:
    """The page: ``pictures`` above each other, below them the ``table``, its heads first. ``facts`` (seed, weights ...) stand in
    the footer and in the file's own metadata, after the ``notice``, which stands at the head, too. No words run over others or
    over the edge: long ones are wrapped, those of the table are set smaller."""
    from matplotlib.backends.backend_pdf import FigureCanvasPdf  # a second of import
    from matplotlib.figure import Figure

    figure = Figure(figsize=PAGE, facecolor="white")
    FigureCanvasPdf(figure)
    footer = " · ".join([notice, *(f"{name} {value}" for name, value in facts.items())])
    wide, high = PAGE[0] - 2 * MARGIN, PAGE[1]
    top = _words(figure, notice, 0.45, size=10, weight="bold", colour="#9a6400")
    top = _words(figure, title, top + 0.35, size=17, weight="bold")
    top = _words(figure, about, top + 0.28, size=10, colour="#455a64") + 0.2
    below = _lines(footer, 8.5, "bold"), _lines(note, 8)
    foot = high - 0.38 - 0.16 * (len(below[0]) - 1)
    note_top = foot - 0.24 - 0.15 * (len(below[1]) - 1)
    row = min(ROW, max(0.11, (note_top - top - 0.5 - LEAST * len(pictures)) / max(1, len(table))))
    room = note_top - top - row * len(table) - 0.5 - 0.35 * len(pictures)
    for picture in pictures:
        ratio = picture.pixels.shape[0] / picture.pixels.shape[1]
        tall = min(wide * ratio, room / len(pictures))
        down = _words(figure, picture.title, top + 0.16, size=10, weight="bold")
        place = (MARGIN / PAGE[0], 1 - (down + 0.09 + tall) / high, tall / ratio / PAGE[0], tall / high)
        axes = figure.add_axes(place)
        axes.imshow(picture.pixels, cmap="gray", vmin=0, vmax=255, aspect="auto", interpolation="antialiased")
        axes.set_axis_off()
        top = down + 0.09 + tall + 0.1
    _table(figure, table, top + 0.15, row)
    _words(figure, note, note_top, size=8, colour="#455a64")
    _words(figure, footer, foot, size=8.5, weight="bold", colour="#9a6400")
    stream = io.BytesIO()
    marks = {"Title": f"{title} - {notice}", "Subject": footer, "Keywords": footer, "Creator": "Somatwin"}
    figure.savefig(stream, format="pdf", metadata={**marks, "CreationDate": None}, dpi=200)
    return stream.getvalue()


@lru_cache(maxsize=512)
def wide_of(text: str, size: float, weight: str = "normal") -> float:
    """Inches across which a line of words runs."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(weight=weight, size=size)
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] / 72 if text else 0.0


def _lines(text: str, size: float, weight: str = "normal") -> list[str]:
    """A text in lines that fit between the page's margins."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and wide_of(longer, size, weight) > PAGE[0] - 2 * MARGIN:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _words(
    figure: Any, text: str, down: float, *, size: float, weight: str = "normal", colour: str = "#16232a"
) -> float:
    """Words from ``down`` inches below the page's top on, in as many lines as they need; returns where the last one stands."""
    lines = _lines(text, size, weight)
    for k, line in enumerate(lines):
        at = 1 - (down + 1.3 * size / 72 * k) / PAGE[1]
        figure.text(MARGIN / PAGE[0], at, line, size=size, weight=weight, color=colour, va="baseline")
    return down + 1.3 * size / 72 * (len(lines) - 1)


def _table(figure: Any, table: Sequence[Sequence[str]], top: float, high: float) -> None:
    """Rows of words ``high`` inches each, the first one bold, with a rule below each; a column is as wide as its words need."""
    for r, (row, lefts) in enumerate(zip(table, columns(table), strict=True)):
        down = top + r * high
        for c, (cell, (left, size)) in enumerate(zip(row, lefts, strict=True)):
            place = ((MARGIN + left) / PAGE[0], 1 - down / PAGE[1])
            figure.text(*place, cell, size=min(size, 55 * high), weight=_weight(r, c), color="#16232a", va="center")
        figure.add_artist(_rule(1 - (down + high / 2) / PAGE[1]))


def columns(table: Sequence[Sequence[str]]) -> list[list[tuple[float, float]]]:
    """For each cell how many inches right of the margin it begins, and the size of its letters: one size for the whole table."""
    wide = PAGE[0] - 2 * MARGIN
    needed = [
        max(wide_of(row[c], LETTERS, _weight(r, c)) for r, row in enumerate(table)) + GAP for c in range(len(table[0]))
    ]
    shrunk = min(1.0, wide / sum(needed))
    spare = max(0.0, wide - sum(needed)) / len(needed)
    lefts = [sum(needed[:c]) * shrunk + spare * c for c in range(len(needed))]
    return [[(left, LETTERS * shrunk) for left in lefts] for _ in table]


def _weight(row: int, column: int) -> str:
    return "bold" if row == 0 or column == 0 else "normal"


def _rule(y: float) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([MARGIN / PAGE[0], 1 - MARGIN / PAGE[0]], [y, y], color="#cfd8dc", linewidth=0.6)
