"""Figures of a synthetic cohort: a column beside the training cohort's own distribution, and one column against another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import plotly.graph_objects as go
from scipy.special import ndtr

from engine.figures.charts import CURVES, REAL, SYNTHETIC, marked, ribbon
from engine.measure.relation import Relation
from engine.vocabulary.schema import Category, Derived, Number, Row

#: bars of a histogram, about
BARS = 18
#: what tells groups apart beside their colour
SYMBOLS = ("circle", "diamond", "triangle-up")
HEIGHT = 380
GREY = f"rgb({REAL})"
#: part of the way to the next level over which the persons of a level are spread, and steps along x and y that spread
#: consecutive seeds evenly over a square (powers of the plastic number)
SPREAD, STEPS = 0.5, {"x": 0.7548776662, "y": 0.5698402910}


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of a cohort beside a pair of columns: aggregates only.

    ``relation``: the curve of one on the other, ``upright`` where it is of the first on the second. ``ranges``: low, middle
    and high of either column by itself. ``groups``: mean and SD of the second by level of the first, or ``upright`` the
    other way round. ``words`` name the ranges in the legend.
    """

    cohort: str
    relation: Relation | None = None
    upright: bool = False
    ranges: tuple[tuple[float, float, float] | None, tuple[float, float, float] | None] = (None, None)
    words: tuple[str, str] = ("", "")
    groups: Mapping[str, tuple[float, float]] = field(default_factory=dict)


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


def pair_figure(
    columns: tuple[str, str],
    rows: Sequence[Row],
    seeds: Sequence[int],
    titles: tuple[str, str],
    known: Known,
    *,
    by: str | None = None,
    words: Mapping[str, str] | None = None,
    levels: Mapping[str, Sequence[str]] | None = None,
) -> go.Figure:
    """:func:`scatter_figure` over what is ``known`` of a cohort; persons of one level stand beside each other.

    ``levels`` are those of the columns that are categories, in order.
    """
    said = words or {}
    figure = scatter_figure(columns, rows, seeds, titles, by=by, words=words)
    traces: list[Any] = list(figure.data)  # pyright: ignore[reportArgumentType]
    for trace in traces:
        shown = [[each if isinstance(each, str) else f"{each:.4g}" for each in axis] for axis in (trace.x, trace.y)]
        trace.customdata = list(zip(trace.customdata, *shown, strict=True))
        trace.hovertemplate = "%{customdata[1]}, %{customdata[2]}<br>seed %{customdata[0]}<extra></extra>"
    places: dict[str, float] = {}
    for name, axis in zip(columns, ("x", "y"), strict=True):
        names = [said.get(each, each) for each in (levels or {}).get(name, ())]
        places |= {each: float(k) for k, each in enumerate(names)}
        if names:
            _spread(traces, axis, names)
            ticks = {"tickvals": list(range(len(names))), "ticktext": names, "range": [-0.6, len(names) - 0.4]}
            figure.update_layout({f"{axis}axis": ticks})
    _cohort_below(figure, known, {each: places[said.get(each, each)] for each in known.groups})
    figure.update_annotations(y=0)  # no bars stand there
    below: list[Any] = list(figure.data)[len(traces) :]  # pyright: ignore[reportArgumentType]
    figure.data = (*below, *traces)
    return figure


def _spread(traces: Sequence[Any], axis: str, names: Sequence[str]) -> None:
    """Put levels at whole numbers along an axis and their persons around them, each always at the same place."""
    place = {name: k for k, name in enumerate(names)}
    for trace in traces:
        aside = [SPREAD * ((seed * STEPS[axis]) % 1 - 0.5) for seed, *_ in trace.customdata]
        trace[axis] = [place[name] + by for name, by in zip(trace[axis], aside, strict=True)]


def _cohort_below(figure: go.Figure, known: Known, places: Mapping[str, float]) -> None:
    """Draw what is known of the cohort in grey."""
    name = f"{known.cohort} cohort"
    if known.relation is not None:
        at = np.linspace(known.relation.low, known.relation.high, 80)
        band, upright = known.relation.band(at), known.upright
        ribbon(figure, at, band.low, band.high, f"rgba({REAL}, 0.20)", f"95 % of {known.cohort.lower()} persons",
               upright=upright)  # fmt: skip
        x, y = (band.middle, at) if upright else (at, band.middle)
        figure.add_scatter(x=x, y=y, mode="lines", line={"color": GREY, "width": 2}, name=name, hoverinfo="skip")
    if known.groups:
        at, means = list(places.values()), [mean for mean, _ in known.groups.values()]
        bars = {"array": [sd for _, sd in known.groups.values()], "color": GREY, "thickness": 2, "width": 10}
        x, y = (means, at) if known.upright else (at, means)
        marker = {"symbol": "line-ns" if known.upright else "line-ew", "size": 26, "line": {"color": GREY, "width": 3}}
        error = {"error_x" if known.upright else "error_y": bars}
        figure.add_scatter(
            x=x, y=y, mode="markers", marker=marker, name=f"{name}, mean and SD", hoverinfo="skip", **error
        )
    for k, span in enumerate(known.ranges):
        if span is not None:
            _range_below(figure, "xy"[k], span, known.words[k], known.words[k] not in known.words[:k])


def _range_below(figure: go.Figure, axis: str, span: tuple[float, float, float], words: str, legend: bool) -> None:
    """A band across the figure from low to high, a line at the middle, and room beside them."""
    low, middle, high = span
    traces: list[Any] = list(figure.data)  # pyright: ignore[reportArgumentType]
    values = [low, high, *(value for trace in traces for value in trace[axis])]
    reach = 0.06 * (max(values) - min(values))
    room = {"range": [min(values) - reach, max(values) + reach]}
    band: dict[str, Any] = {"fillcolor": f"rgba({REAL}, 0.14)", "line_width": 0, "layer": "below", "name": words}
    line: dict[str, Any] = {"line": {"color": GREY, "width": 1.5, "dash": "dot"}, "layer": "below"}
    if axis == "x":
        figure.add_vrect(x0=low, x1=high, showlegend=legend, **band).add_vline(x=middle, **line).update_xaxes(room)
    else:
        figure.add_hrect(y0=low, y1=high, showlegend=legend, **band).add_hline(y=middle, **line).update_yaxes(room)


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
