"""The figure of a person's surfaces: plotly's Mesh3d, which the browser draws with WebGL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from engine.figures.charts import marked
from engine.imaging.surface import Surface

HEIGHT = 560
#: from the patient's front, a little to the left and from above, in units of the scene
EYE = {"x": 0.6, "y": 2.05, "z": 0.35}
LIGHT = {"ambient": 0.45, "diffuse": 0.75, "specular": 0.12, "roughness": 0.7, "fresnel": 0.05}
#: where the light comes from, mm
SUN = {"x": 2000, "y": 4000, "z": 3000}


class Part(NamedTuple):
    """A named surface and how it is drawn: ``colour`` ``#rrggbb``, ``opacity`` 0 to 1."""

    name: str
    surface: Surface
    colour: str
    opacity: float = 1.0


def surface_figure(parts: Sequence[Part]) -> go.Figure:
    """All parts in one scene, true to scale in RAS mm; the legend switches each on and off."""
    figure = go.Figure()
    for name, surface, colour, opacity in parts:
        (x, y, z), (i, j, k) = surface.points.T, surface.faces.T.astype(np.int32)
        figure.add_mesh3d(
            x=x, y=y, z=z, i=i, j=j, k=k, name=name, color=colour, opacity=opacity, showlegend=True, lighting=LIGHT,
            lightposition=SUN, hovertemplate=f"{name}<br>R %{{x:.0f}}  A %{{y:.0f}}  S %{{z:.0f}} mm<extra></extra>",
        )  # fmt: skip
    hidden = {"visible": False}
    figure.update_layout(
        height=HEIGHT,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        scene={"aspectmode": "data", "xaxis": hidden, "yaxis": hidden, "zaxis": hidden, "camera": {"eye": EYE}},
        legend={"itemsizing": "constant", "x": 0, "y": 1},
        uirevision="kept",
    )
    return marked(figure)
