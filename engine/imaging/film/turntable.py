"""Surfaces turned once around the body's long axis, drawn without a graphics card: triangles from the farthest to the nearest.

Formalism: orthographic view, painter's algorithm over the triangles that face the eye, each lit by the mean of its corners'
normals; parts of less than full opacity are laid over what is behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw

from engine.imaging.surface import Surface

#: frames of a whole turn
FRAMES = 36
#: pixels drawn for each that is kept, along each side
FINER = 2
#: light that comes from everywhere
AMBIENT = 0.3


class Body(NamedTuple):
    """A surface in RAS mm, its colour (0 to 255) and opacity (0 to 1)."""

    surface: Surface
    colour: tuple[int, int, int]
    opacity: float = 1.0


def turned(
    bodies: Sequence[Body], size: tuple[int, int], frames: int = FRAMES
) -> list[UInt8[np.ndarray, "high wide 3"]]:
    """Pictures of ``size`` (wide, high) of a whole turn, the first from the patient's front; all of it is in every picture."""
    wide, high = (FINER * length for length in size)
    every = np.concatenate([body.surface.points for body in bodies])
    low, top = every.min(0), every.max(0)
    middle = (low + top) / 2
    girth = 2 * np.linalg.norm(every[:, :2] - middle[:2], axis=1).max()
    scale = 0.94 * float(min(wide / girth, high / (top[2] - low[2])))
    solid = [body for body in bodies if body.opacity >= 1]
    clear = sorted((body for body in bodies if body.opacity < 1), key=lambda body: -body.opacity)
    layers = [_Layer.of(group) for group in (solid, *([body] for body in clear)) if group]
    pictures = []
    for k in range(frames):
        image = Image.new("RGB", (wide, high))
        for layer in layers:
            layer.paint(image, 2 * np.pi * k / frames, middle, scale)
        pictures.append(np.asarray(image.resize(size, Image.Resampling.BOX)))
    return pictures


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """Bodies of one opacity whose triangles are sorted together: ``points`` (mm) with their unit ``normals``, ``faces`` of three
    of them, each with its colour."""

    points: Float[np.ndarray, "n 3"]
    normals: Float[np.ndarray, "n 3"]
    faces: Int[np.ndarray, "m 3"]
    colours: Float[np.ndarray, "m 3"]
    opacity: float

    @classmethod
    def of(cls, bodies: Sequence[Body]) -> _Layer:
        starts = np.cumsum([0, *(len(body.surface.points) for body in bodies)])
        return cls(
            points=np.concatenate([body.surface.points for body in bodies]).astype(np.float64),
            normals=np.concatenate([_vertex_normals(body.surface) for body in bodies]),
            faces=np.concatenate([body.surface.faces + start for body, start in zip(bodies, starts, strict=False)]),
            colours=np.concatenate(
                [np.tile(np.array(body.colour, float), (len(body.surface.faces), 1)) for body in bodies]
            ),
            opacity=bodies[0].opacity,
        )

    def paint(self, image: Image.Image, angle: float, middle: Float[np.ndarray, "3"], scale: float) -> None:
        """Lay the bodies over the image as they are seen after a turn by ``angle``, at first the patient's right on the left."""
        cos, sin = np.cos(angle), np.sin(angle)
        # across the screen, up, and towards the eye
        view = np.array([[-cos, sin, 0.0], [0.0, 0.0, 1.0], [sin, cos, 0.0]])
        points = (self.points - middle) @ view.T
        corners = (points[:, :2] * [scale, -scale] + np.array(image.size) / 2)[self.faces]
        (ax, ay), (bx, by) = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
        front = np.flatnonzero(ax * by - ay * bx < 0)
        order = front[np.argsort(points[self.faces[front], 2].mean(1))]
        facing = (self.normals @ view[2])[self.faces[order]].mean(1)
        light = AMBIENT + (1 - AMBIENT) * np.clip(facing, 0, 1)
        shades = np.rint(light[:, None] * self.colours[order]).astype(int)
        over = image if self.opacity >= 1 else image.copy()
        pen = ImageDraw.Draw(over)
        for corner, shade in zip(corners[order].reshape(-1, 6).tolist(), shades.tolist(), strict=True):
            pen.polygon(corner, fill=tuple(shade))
        if over is not image:
            image.paste(Image.blend(image, over, self.opacity))


def _vertex_normals(surface: Surface) -> Float[np.ndarray, "n 3"]:
    """Unit normals at the points, outwards: the mean of the triangles around them by area."""
    a, b, c = np.moveaxis(surface.corners.astype(np.float64), 1, 0)
    across = np.cross(b - a, c - a)
    total = np.zeros((len(surface.points), 3))
    for corner in range(3):
        np.add.at(total, surface.faces[:, corner], across)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
