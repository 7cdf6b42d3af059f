"""Figures of a synthetic cohort: a column beside the training cohort's own distribution, and one column against another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from scipy.special import ndtr

from engine.attributes import Category, Derived, Number, Row
from engine.figures import CURVES, REAL, SYNTHETIC, marked

#: bars of a histogram, about
BARS = 18
#: what tells groups apart beside their colour
SYMBOLS = ("circle", "diamond", "triangle-up")
HEIGHT = 380
GREY = f"rgb({REAL})"


def bins(column: Number | Derived, values: Sequence[float]) -> np.ndarray:
    """Rising edges of about :data:`BARS` equal bins over the values and what the cohort covers, for an integer column
    whole numbers wide. A bin holds its lower edge."""
    ends = [*values, *(column.seen if isinstance(column, Number) and column.knots else ())]
    low, high = (min(ends), max(ends)) if ends else (column.low, column.high)
    least = 10.0**-column.decimals if isinstance(column, Number) and column.decimals is not None else 0.0
    rough = max((high - low) / BARS, least, 1e-9)
    tens = 10 ** np.floor(np.log10(rough))
    width = max(least, float(tens * next(step for step in (1, 2, 2.5, 5, 10) if step * tens >= rough * (1 - 1e-9))))
    width = max(least, least * round(width / least)) if least else width
    start = np.floor(low / width + 1e-9) * width
    return start + width * np.arange(int(np.floor((high - start) / width + 1e-9)) + 2)


def cohort_shares(column: Number, edges: np.ndarray) -> np.ndarray:
    """The part of the training cohort in each bin (n edges, n - 1 bins), from the column's fitted quantiles.

    >>> knots = Number(name="x", unit="", low=0, high=9, knots=(1.0, 2.0, 3.0), scores=(-0.6745, 0.0, 0.6745))
    >>> cohort_shares(knots, np.array([1.0, 2.0, 3.0])).round(3).tolist()
    [0.25, 0.25]
    """
    return np.diff(ndtr(column.interval(np.asarray(edges, float))[0]))


def histogram_figure(column: Number | Derived, rows: Sequence[Row], title: str) -> go.Figure:
    """The persons' shares by value in %, over those of the training cohort, where the column is fitted."""
    values = [float(row[column.name]) for row in rows if row.get(column.name) is not None]  # pyright: ignore[reportArgumentType]
    edges = bins(column, values)
    counts, _ = np.histogram(values, np.append(edges[:-1], edges[-1] + 1e-9))
    figure = go.Figure()
    figure.add_bar(
        x=(edges[:-1] + edges[1:]) / 2,
        y=100 * counts / max(1, len(values)),
        width=np.diff(edges) * 0.92,
        name="Synthetic persons",
        marker={"color": f"rgba({SYNTHETIC}, 0.75)"},
        customdata=np.stack([edges[:-1], edges[1:], counts], axis=1),
        hovertemplate="%{customdata[0]:g} to %{customdata[1]:g}: %{customdata[2]} persons, %{y:.1f} %<extra></extra>",
    )
    if isinstance(column, Number) and column.knots:
        shares = 100 * cohort_shares(column, edges)
        figure.add_scatter(
            x=np.repeat(edges, 2),
            y=np.concatenate([[0], np.repeat(shares, 2), [0]]),
            mode="lines",
            name="Training cohort",
            line={"color": GREY, "width": 2.5},
            hoverinfo="skip",
        )
    return _laid_out(figure, title, "Persons, %")


def shares_figure(column: Category, rows: Sequence[Row], title: str, words: Mapping[str, str]) -> go.Figure:
    """The persons' shares by level in %, beside those of the training cohort where the column stores them.

    ``words`` names the levels.
    """
    values = [row[column.name] for row in rows if row.get(column.name) is not None]
    names = [words.get(each, each) for each in column.levels]
    counts = np.array([values.count(each) for each in column.levels])
    figure = go.Figure()
    figure.add_bar(
        x=names,
        y=100 * counts / max(1, len(values)),
        name="Synthetic persons",
        marker={"color": f"rgba({SYNTHETIC}, 0.75)"},
        customdata=counts,
        hovertemplate="%{x}: %{customdata} persons, %{y:.1f} %<extra></extra>",
    )
    if column.shares:
        hover = "%{x}: %{y:.1f} % of the training cohort<extra></extra>"
        shares = 100 * np.array(column.shares)
        figure.add_bar(x=names, y=shares, name="Training cohort", marker={"color": GREY}, hovertemplate=hover)
    return _laid_out(figure, title, "Persons, %")


def scatter_figure(
    columns: tuple[str, str],
    rows: Sequence[Row],
    seeds: Sequence[int],
    titles: tuple[str, str],
    *,
    by: str | None = None,
    words: Mapping[str, str] | None = None,
) -> go.Figure:
    """One column against another, a point a person, hovering tells the seed; ``by`` a column with a colour and a symbol for
    each of its levels, the first three. ``words`` names levels, on the axes too; who lacks a cell is left out."""
    said = words or {}
    groups: dict[str, list[tuple[Any, Any, int]]] = {}
    for row, seed in zip(rows, seeds, strict=True):
        x, y = (said.get(str(row.get(name)), row.get(name)) for name in columns)
        if x is not None and y is not None:
            groups.setdefault(str(row.get(by)) if by else "", []).append((x, y, seed))
    size = 8 if len(rows) < 800 else 5
    figure = go.Figure()
    for k, (group, points) in enumerate(sorted(groups.items())):
        colour, symbol = CURVES[k % len(CURVES)][0], SYMBOLS[k % len(SYMBOLS)]
        figure.add_scatter(
            x=[point[0] for point in points],
            y=[point[1] for point in points],
            mode="markers",
            name=said.get(group, group).capitalize() or "Synthetic persons",
            marker={"color": colour, "symbol": symbol, "size": size, "opacity": 0.8},
            customdata=[point[2] for point in points],
            hovertemplate="%{x}, %{y}<br>seed %{customdata}<extra></extra>",
        )
    return _laid_out(figure, *titles)


def _laid_out(figure: go.Figure, x: str, y: str) -> go.Figure:
    figure.update_layout(
        xaxis={"title": x, "zeroline": False},
        yaxis={"title": y, "zeroline": False},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        margin={"l": 10, "r": 10, "t": 10, "b": 50},
        showlegend=True,
        bargap=0.25,
        height=HEIGHT,
        uirevision=f"{x} {y}",
    )
    return marked(figure).update_annotations(y=1, yanchor="bottom")  # above the bars, which stand on the axis
