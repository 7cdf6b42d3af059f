"""Figures: numbers in, plotly figures out. No page, no network."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from engine.measure.relation import Relation

#: stands in every figure of persons, also in one that is saved as a picture
FOOTER = "SYNTHETIC - not for diagnosis"
#: the real cohort is grey, synthetic persons are orange: told apart without colour vision, on light and on dark
REAL, SYNTHETIC = "110, 125, 135", "214, 110, 28"
#: further curves, in this order, each with a dash of its own (Okabe and Ito)
CURVES = (("rgb(214, 110, 28)", "solid"), ("rgb(0, 158, 190)", "dash"), ("rgb(150, 120, 190)", "dot"))
#: characters of a name on one line of an axis
NAME_WIDTH = 38
Place = tuple[float, float, float]


def consistency_figure(
    x: Sequence[float],
    y: Sequence[float],
    *,
    hover: Sequence[str] = (),
    real: Relation | None,
    synthetic: Relation | None,
    titles: tuple[str, str],
    span: tuple[float, float],
    cohort: str = "Real",
) -> go.Figure:
    """What was asked for (``x``) against what was measured (``y``), over the regression band of a ``cohort``.

    ``real`` is drawn where the middle 95 % of the cohort lies, with the band of its persons and of its mean;
    ``synthetic`` is the line through the points with the band of its mean. ``titles`` are of the axes, ``span`` is the
    range of the first.
    """
    figure = go.Figure()
    if real is not None:
        at = np.linspace(real.low, real.high, 80)
        band = real.band(at)
        ribbon(figure, at, band.low, band.high, f"rgba({REAL}, 0.20)", f"95 % of {cohort.lower()} persons")
        ribbon(figure, at, band.mean_low, band.mean_high, f"rgba({REAL}, 0.42)", f"{cohort} mean, 95 % interval")
        line = {"color": f"rgb({REAL})", "width": 2}
        figure.add_scatter(x=at, y=band.middle, mode="lines", line=line, name=f"{cohort} cohort", hoverinfo="skip")
    if synthetic is not None:
        at = np.linspace(*span, 40)
        band = synthetic.band(at)
        ribbon(figure, at, band.mean_low, band.mean_high, f"rgba({SYNTHETIC}, 0.25)", "Synthetic mean, 95 % interval")
        line = {"color": f"rgb({SYNTHETIC})", "width": 2, "dash": "dash"}
        figure.add_scatter(x=at, y=band.middle, mode="lines", line=line, name="Synthetic line", hoverinfo="skip")
    figure.add_scatter(
        x=list(x),
        y=list(y),
        mode="markers",
        marker={"color": f"rgb({SYNTHETIC})", "size": 10, "line": {"color": "white", "width": 1}},
        name="Synthetic persons",
        text=list(hover) or None,
        hovertemplate="%{x:.1f}, %{y:.1f}<br>%{text}<extra></extra>" if hover else "%{x:.1f}, %{y:.1f}<extra></extra>",
    )
    figure.update_layout(
        xaxis={"title": titles[0], "range": _padded(span, real), "zeroline": False},
        yaxis={"title": titles[1], "rangemode": "tozero" if _near_zero(y, real) else "normal", "zeroline": False},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        height=460,
        uirevision=f"{titles}",
    )
    return marked(figure)


def ladder_figure(
    names: Sequence[str],
    places: Sequence[Place],
    good: Sequence[bool],
    hover: Sequence[str],
    *,
    span: tuple[float, float],
    marks: Mapping[float, str],
    title: str,
    band: tuple[float, float] | None = None,
) -> go.Figure:
    """Figures on one scale, each a point (value, low, high) on a line of its own, the first on top.

    ``good`` are circles, the others diamonds; a value beyond ``span`` is a triangle at its edge. ``marks`` are named places on
    the scale, ``band`` is where real data lie, ``title`` says what the scale is.
    """
    figure, low, high = go.Figure(), *span
    rows = ["<br>".join(textwrap.wrap(name, NAME_WIDTH)) for name in names]
    if band is not None:
        figure.add_vrect(x0=band[0], x1=band[1], fillcolor=f"rgba({REAL}, 0.18)", line_width=0, layer="below")
    for k, (place, text) in enumerate(sorted(marks.items())):
        line = {"color": f"rgb({REAL})", "width": 2, "dash": "solid" if k == 0 else "dot"}
        figure.add_vline(x=place, line=line, annotation={"text": text, "yref": "paper", "y": 1, "yanchor": "bottom"})
    cut = np.clip(np.array(places, float).reshape(-1, 3), low, high)
    beyond = ["triangle-right" if v > high else "triangle-left" if v < low else "" for v, _, _ in places]
    for name, wanted, symbol in (("As real", True, "circle-open"), ("Not as real", False, "diamond")):
        mine = [i for i, each in enumerate(good) if each is wanted]
        if not mine:
            continue
        symbols = [beyond[i] or symbol for i in mine]
        figure.add_scatter(
            x=cut[mine, 0],
            y=[rows[i] for i in mine],
            mode="markers",
            name=name,
            marker={"symbol": symbols, "size": 11, "color": f"rgb({SYNTHETIC})", "line": {"width": 2}},
            error_x={
                "array": cut[mine, 2] - cut[mine, 0],
                "arrayminus": cut[mine, 0] - cut[mine, 1],
                "color": f"rgba({SYNTHETIC}, 0.6)",
            },
            text=[hover[i] for i in mine],
            hovertemplate="%{text}<extra></extra>",
        )
    figure.update_layout(
        xaxis={"range": [low - 0.03 * (high - low), high + 0.03 * (high - low)], "zeroline": False, "title": title},
        yaxis={
            "categoryorder": "array",
            "categoryarray": rows[::-1],
            "range": [-0.8, len(rows) - 0.2],
            "automargin": True,
            "tickfont": {"size": 12},
        },
        legend={"orientation": "h", "y": 0, "yanchor": "bottom", "yref": "container", "x": 0, "xref": "container"},
        margin={"l": 10, "r": 10, "t": 30, "b": 100},
        # rows are as far apart as the one with most lines is high
        height=170 + len(rows) * (14 + 15 * (1 + max((row.count("<br>") for row in rows), default=0))),
    )
    return marked(figure)


def heat_figure(
    cells: Sequence[Sequence[float | None]],
    columns: Sequence[str],
    rows: Sequence[str],
    *,
    titles: tuple[str, str],
    digits: int = 2,
) -> go.Figure:
    """A table of signed numbers, purple above 0 and orange below (told apart without colour vision), each written in its cell.

    ``titles`` are of the columns and of the rows.
    """
    reach = max([abs(cell) for row in cells for cell in row if cell is not None] + [1e-9])
    text = [["" if cell is None else f"{cell:+.{digits}f}" for cell in row] for row in cells]
    heat = go.Heatmap(
        z=cells,
        x=list(columns),
        y=list(rows),
        zmin=-reach,
        zmax=reach,
        colorscale="PuOr",
        text=text,
        texttemplate="%{text}",
        hovertemplate="%{y}, %{x}: %{text}<extra></extra>",
        showscale=False,
        xgap=2,
        ygap=2,
    )
    figure = go.Figure(heat)
    figure.update_layout(
        height=110 + 28 * len(rows),
        margin={"l": 10, "r": 10, "t": 10, "b": 30},
        yaxis={"autorange": "reversed", "automargin": True, "showgrid": False, "title": titles[1]},
        xaxis={"side": "top", "automargin": True, "showgrid": False, "title": titles[0]},
    )
    return marked(figure, below=True)


def lines_figure(series: Mapping[str, Sequence[Sequence[float]]], titles: tuple[str, str]) -> go.Figure:
    """Curves by name, each its x and y: those named ``real...`` thick and grey over the thin orange ones."""
    figure = go.Figure()
    for name, (x, y) in sorted(series.items(), key=lambda item: item[0].startswith("real")):
        real = name.startswith("real")
        line = {"color": f"rgb({REAL})", "width": 5} if real else {"color": f"rgba({SYNTHETIC}, 0.6)", "width": 1.5}
        figure.add_scatter(x=x, y=y, name=name, mode="lines", line=line, showlegend=real, legendgroup=name)
    figure.update_layout(
        xaxis={"title": titles[0], "zeroline": False},
        yaxis={"title": titles[1], "zeroline": False},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        height=360,
    )
    return marked(figure)


def loss_figure(losses: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> go.Figure:
    """Losses by name against the step, on a logarithmic scale; what is not above 0 is left out."""
    figure = go.Figure()
    for k, (name, (steps, values)) in enumerate(losses.items()):
        colour, dash = CURVES[k % len(CURVES)]
        shown = [(step, value) for step, value in zip(steps, values, strict=True) if value > 0]
        x, y = zip(*shown, strict=True) if shown else ((), ())
        mode, line = "lines+markers" if len(shown) < 30 else "lines", {"color": colour, "dash": dash, "width": 2}
        figure.add_scatter(x=x, y=y, name=name, mode=mode, line=line, hovertemplate="step %{x}: %{y:.4g}")
    figure.update_layout(
        xaxis={"title": "Step", "zeroline": False, "rangemode": "tozero"},
        yaxis={"title": "Loss", "type": "log"},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        showlegend=True,
        height=340,
    )
    return figure


def marked(figure: go.Figure, *, below: bool = False) -> go.Figure:
    """The figure with :data:`FOOTER` in its lower right corner, or below it."""
    place = {
        "xref": "paper",
        "yref": "paper",
        "x": 1,
        "y": 0,
        "xanchor": "right",
        "yanchor": "top" if below else "bottom",
    }
    figure.add_annotation(text=FOOTER, showarrow=False, font={"size": 11, "color": f"rgb({REAL})"}, **place)
    return figure


def ribbon(
    figure: go.Figure,
    x: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    colour: str,
    name: str,
    *,
    upright: bool = False,
) -> None:
    """A band over ``x`` between ``low`` and ``high``, (n,) each; ``upright``: beside an ``x`` that runs up."""
    across, up = np.concatenate([x, x[::-1]]), np.concatenate([high, low[::-1]])
    outline = {"x": up, "y": across} if upright else {"x": across, "y": up}
    figure.add_scatter(**outline, fill="toself", fillcolor=colour, line={"width": 0}, name=name, hoverinfo="skip")


def _padded(span: tuple[float, float], real: Relation | None) -> list[float]:
    low, high = (min(span[0], real.low), max(span[1], real.high)) if real else span
    return [low - 0.03 * (high - low), high + 0.03 * (high - low)]


def _near_zero(y: Sequence[float], real: Relation | None) -> bool:
    """Does the axis lose little by beginning at 0?"""
    ends = [] if real is None else np.ravel(real.band(np.array([real.low, real.high]))[3:]).tolist()
    values = [*ends, *y]
    return not values or min(values) < 0.4 * max(values)
