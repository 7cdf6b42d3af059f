"""Slices that play in the browser beside what was measured, and small multiples over two attributes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from PIL import Image
from plotly.subplots import make_subplots

from engine.figures.charts import FOOTER, REAL, SYNTHETIC
from engine.imaging.volume import Volume

#: mm of a pixel in the slices, and pixels between two slices
PIXEL, GAP = 1.5, 6
#: ms for which a frame of the animation stays
FRAME = 350


class Slices(NamedTuple):
    """Pictures of a volume, uint8, pixels of :data:`PIXEL` mm, a row a channel: ``planes``, the axial, coronal and sagittal
    slice through the origin side by side, and the ``axial`` one alone. Radiological: the patient's right on the left."""

    planes: np.ndarray
    axial: np.ndarray


def slices_of(volume: Volume) -> Slices:
    """Slices through the origin, or through the middle where the origin lies outside."""
    turned = volume.reoriented("RAS")
    at = np.rint(np.linalg.inv(turned.affine)[:3, 3]).astype(int)
    at = np.where((at >= 0) & (at < turned.grid), at, np.array(turned.grid) // 2)
    rows, first = [], []
    for part in turned.apart():
        grey = np.rint(np.clip(np.asarray(part.data, np.float32), 0, 1) * 255).astype(np.uint8)
        x, y, z = turned.spacing
        cuts = [
            _scaled(grey[::-1, ::-1, at[2]].T, (x, y)),
            _scaled(grey[::-1, at[1], ::-1].T, (x, z)),
            _scaled(grey[at[0], ::-1, ::-1].T, (y, z)),
        ]
        height = max(one.shape[0] for one in cuts)
        rows.append(np.concatenate([_framed(one, height) for one in cuts], axis=1))
        first.append(cuts[0])
    return Slices(np.concatenate(rows, axis=0), np.concatenate(first, axis=0))


def _scaled(plane: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """A slice (rows, columns) of pixels that are ``spacing`` mm wide and high, in pixels of :data:`PIXEL`."""
    size = [max(1, round(n * mm / PIXEL)) for n, mm in zip(plane.shape[::-1], spacing, strict=True)]
    return np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize((size[0], size[1]), Image.Resampling.BICUBIC))


def _framed(plane: np.ndarray, height: int) -> np.ndarray:
    above = (height - plane.shape[0]) // 2
    return np.pad(plane, ((above, height - plane.shape[0] - above), (0, GAP)))


def _png(picture: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def sweep_figure(
    values: Sequence[float],
    pictures: Sequence[np.ndarray],
    measured: Sequence[float],
    titles: tuple[str, str],
    unit: str,
) -> go.Figure:
    """One frame a value: its slices above, below the measure over the swept attribute with the frame's point marked.

    ``titles`` are of the attribute and of the measure; a measure that could not be read is NaN.
    """
    figure = make_subplots(rows=2, cols=1, row_heights=[0.62, 0.38], vertical_spacing=0.06)
    figure.add_trace(go.Image(source=_png(pictures[0]), hoverinfo="skip"), row=1, col=1)
    line = {"color": f"rgb({SYNTHETIC})", "width": 2}
    figure.add_scatter(x=list(values), y=list(measured), mode="lines+markers", line=line, name=titles[1], row=2, col=1)
    figure.add_trace(_marked(values[0], measured[0]), row=2, col=1)
    figure.frames = [
        go.Frame(data=[go.Image(source=_png(picture)), _marked(value, found)], traces=[0, 2], name=f"{value:g}")
        for value, picture, found in zip(values, pictures, measured, strict=True)
    ]
    still = {"frame": {"duration": 0, "redraw": True}, "mode": "immediate", "transition": {"duration": 0}}
    moving = {"frame": {"duration": FRAME, "redraw": True}, "fromcurrent": True, "transition": {"duration": 0}}
    steps = [{"args": [[f"{v:g}"], still], "label": f"{v:g}", "method": "animate"} for v in values]
    buttons = [
        {"args": [None, moving], "label": "▶ Play", "method": "animate"},
        {"args": [[None], still], "label": "❚❚ Pause", "method": "animate"},
    ]
    menu: dict[str, Any] = {"buttons": buttons, "type": "buttons", "direction": "left", "showactive": False}
    figure.update_layout(
        updatemenus=[menu | {"x": 0, "y": -0.17, "xanchor": "left", "yanchor": "top"}],
        sliders=[
            {
                "steps": steps,
                "x": 0.26,
                "len": 0.74,
                "y": -0.13,
                "currentvalue": {"prefix": f"{titles[0]}: ", "suffix": f" {unit}", "xanchor": "right"},
            }
        ],
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        height=560,
        showlegend=False,
    )
    figure.update_xaxes(visible=False, row=1, col=1)
    figure.update_yaxes(visible=False, row=1, col=1)
    figure.update_xaxes(title=f"{titles[0]}, {unit}" if unit else titles[0], row=2, col=1, zeroline=False)
    figure.update_yaxes(title=titles[1], row=2, col=1, zeroline=False)
    return _footed(figure)


def grid_figure(
    pictures: Sequence[Sequence[np.ndarray | None]],
    across: tuple[str, Sequence[float]],
    down: tuple[str, Sequence[float]],
) -> go.Figure:
    """Small multiples in one picture: rows of slices, one a value of ``down``, columns one a value of ``across``.

    A place that is not drawn yet (None) is left empty.
    """
    first = next(picture for row in pictures for picture in row if picture is not None)
    height, width = first.shape
    rows = [[np.zeros_like(first) if one is None else one for one in row] for row in pictures]
    whole = np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)
    figure = go.Figure(go.Image(source=_png(whole), hoverinfo="skip"))
    for update, (title, values), size in ((figure.update_xaxes, across, width), (figure.update_yaxes, down, height)):
        places = [size * (k + 0.5) for k in range(len(values))]
        texts = [f"{v:g}" for v in values]
        update(tickvals=places, ticktext=texts, title=title, showgrid=False, zeroline=False)
    figure.update_layout(margin={"l": 10, "r": 10, "t": 10, "b": 10}, height=min(760, 190 * len(rows) + 60))
    return _footed(figure)


def _marked(x: float, y: float) -> go.Scatter:
    marker = {"color": f"rgb({SYNTHETIC})", "size": 16, "line": {"color": "white", "width": 2}}
    return go.Scatter(x=[x], y=[y], mode="markers", marker=marker, hoverinfo="skip")


def _footed(figure: go.Figure) -> go.Figure:
    place = {"xref": "paper", "yref": "paper", "x": 1, "y": 0, "xanchor": "right", "yanchor": "bottom"}
    figure.add_annotation(text=FOOTER, showarrow=False, font={"size": 11, "color": f"rgb({REAL})"}, **place)
    return figure
