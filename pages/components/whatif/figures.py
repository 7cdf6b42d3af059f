"""What was measured over a sweep, and small multiples over two attributes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from engine.figures.charts import REAL, SYNTHETIC
from engine.imaging.volume import Volume

#: mm of a pixel in the slices
PIXEL = 1.5


def axial_slice(volume: Volume) -> np.ndarray:
    """The axial slice through the origin, or through the middle where it lies outside: uint8, pixels of :data:`PIXEL` mm, a
    channel above the other, of a cine in its first phase. Radiological: the patient's right on the left."""
    turned = volume.at_phase().reoriented("RAS")
    level = int(np.rint(np.linalg.inv(turned.affine)[2, 3]))
    level = level if 0 <= level < turned.grid[2] else turned.grid[2] // 2
    cuts = []
    for part in turned.apart():
        grey = np.rint(np.clip(np.asarray(part.data[..., level], np.float32), 0, 1) * 255).astype(np.uint8)
        size = [max(1, round(n * mm / PIXEL)) for n, mm in zip(grey.shape, turned.spacing[:2], strict=True)]
        picture = Image.fromarray(np.ascontiguousarray(grey[::-1, ::-1].T))
        cuts.append(np.asarray(picture.resize((size[0], size[1]), Image.Resampling.BICUBIC)))
    return np.concatenate(cuts, axis=0)


def _png(picture: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def sweep_figure(
    values: Sequence[float], measured: Sequence[float], titles: tuple[str, str], unit: str, marks: str
) -> go.Figure:
    """A measure over the swept attribute; ``titles`` are of the attribute and of the measure, ``marks`` stands below. A measure
    that could not be read is NaN."""
    line = {"color": f"rgb({SYNTHETIC})", "width": 2}
    figure = go.Figure(go.Scatter(x=list(values), y=list(measured), mode="lines+markers", line=line, name=titles[1]))
    figure.update_layout(margin={"l": 10, "r": 10, "t": 10, "b": 60}, height=320, showlegend=False)
    figure.update_xaxes(title=f"{titles[0]}, {unit}" if unit else titles[0], zeroline=False)
    figure.update_yaxes(title=titles[1], zeroline=False)
    return _footed(figure, marks)


def grid_figure(
    pictures: Sequence[Sequence[np.ndarray | None]],
    across: tuple[str, Sequence[float]],
    down: tuple[str, Sequence[float]],
    marks: str,
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
    figure.update_layout(margin={"l": 10, "r": 10, "t": 10, "b": 60}, height=min(760, 190 * len(rows) + 60))
    return _footed(figure, marks)


def _footed(figure: go.Figure, marks: str) -> go.Figure:
    """The figure with its marks below, also where it is saved as a picture."""
    place = {"xref": "paper", "yref": "paper", "x": 1, "y": 0, "yshift": -58, "xanchor": "right", "yanchor": "bottom"}
    figure.add_annotation(text=marks, showarrow=False, font={"size": 11, "color": f"rgb({REAL})"}, **place)
    return figure
