"""Figures: numbers in, plotly figures out. No page, no network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from engine.measure.relation import Relation

#: stands in every figure, also in one that is saved as a picture
FOOTER = "SYNTHETIC - not for diagnosis"
#: the real cohort is grey, synthetic persons are orange: told apart without colour vision, on light and on dark
REAL, SYNTHETIC = "110, 125, 135", "214, 110, 28"


def consistency_figure(
    x: Sequence[float],
    y: Sequence[float],
    *,
    hover: Sequence[str] = (),
    real: Relation | None,
    synthetic: Relation | None,
    titles: tuple[str, str],
    span: tuple[float, float],
) -> go.Figure:
    """What was asked for (``x``) against what was measured (``y``), over the regression band of a real cohort.

    ``real`` is drawn where the middle 95 % of the cohort lies, with the band of its persons and of its mean;
    ``synthetic`` is the line through the points with the band of its mean. ``titles`` are of the axes, ``span`` is the
    range of the first.
    """
    figure = go.Figure()
    if real is not None:
        at = np.linspace(real.low, real.high, 80)
        band = real.band(at)
        _ribbon(figure, at, band.low, band.high, f"rgba({REAL}, 0.20)", "95 % of real persons")
        _ribbon(figure, at, band.mean_low, band.mean_high, f"rgba({REAL}, 0.42)", "Real mean, 95 % interval")
        line = {"color": f"rgb({REAL})", "width": 2}
        figure.add_scatter(x=at, y=band.middle, mode="lines", line=line, name="Real cohort", hoverinfo="skip")
    if synthetic is not None:
        at = np.linspace(*span, 40)
        band = synthetic.band(at)
        _ribbon(figure, at, band.mean_low, band.mean_high, f"rgba({SYNTHETIC}, 0.25)", "Synthetic mean, 95 % interval")
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
    place = {"xref": "paper", "yref": "paper", "x": 1, "y": 0, "xanchor": "right", "yanchor": "bottom"}
    figure.add_annotation(text=FOOTER, showarrow=False, font={"size": 11, "color": f"rgb({REAL})"}, **place)
    return figure


def _ribbon(figure: go.Figure, x: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str, name: str) -> None:
    outline = {"x": np.concatenate([x, x[::-1]]), "y": np.concatenate([high, low[::-1]])}
    figure.add_scatter(**outline, fill="toself", fillcolor=colour, line={"width": 0}, name=name, hoverinfo="skip")


def _padded(span: tuple[float, float], real: Relation | None) -> list[float]:
    low, high = (min(span[0], real.low), max(span[1], real.high)) if real else span
    return [low - 0.03 * (high - low), high + 0.03 * (high - low)]


def _near_zero(y: Sequence[float], real: Relation | None) -> bool:
    """Does the axis lose little by beginning at 0?"""
    ends = [] if real is None else np.ravel(real.band(np.array([real.low, real.high]))[3:]).tolist()
    values = [*ends, *y]
    return not values or min(values) < 0.4 * max(values)
