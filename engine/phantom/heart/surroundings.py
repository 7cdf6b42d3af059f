"""What lies around the heart and does not move while the breath is held: lungs, chest wall, diaphragm, liver, stomach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from engine.phantom.heart.canvas import Canvas, inside
from engine.phantom.heart.people import Heart
from engine.phantom.heart.raster import Points

#: directions from the heart to the front of the chest and to the diaphragm, in the heart's frame
FRONT, DOWN = np.array([0.30, 0.55, -0.78]), np.array([0.05, -0.91, -0.41])
#: radii in mm of the chest's inner side and of the dome of the diaphragm
CHEST, DOME = 190.0, 150.0
#: thickness in mm of the layer of ribs
RIBS = 12.0
BISECTIONS = 30


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The painted ``canvas``, the ``depth`` (mm) of every voxel under the skin of the chest, and the signed distances (mm) to
    the chest's inner side (less than 0 in it) and to the ``dome`` of the diaphragm (less than 0 under it)."""

    canvas: Canvas
    chest: Float[np.ndarray, "p z x y"]
    dome: Float[np.ndarray, "p z x y"]
    depth: Float[np.ndarray, "z x y"]


def surround(heart: Heart, points: Points, surface: Float[np.ndarray, "n 3"], edge: float) -> Surroundings:
    """Paint all that surrounds a heart whose pericardium at end-diastole has these points (mm)."""
    rng, scores = np.random.default_rng([heart.seed, 11]), heart.scores
    canvas = Canvas.empty(points.x.shape)
    solid = np.ones(points.x.shape, np.float32)
    canvas.paint("lung", solid)
    _lung_vessels(canvas, rng)

    front = _turned(FRONT, 0.06, rng)
    chest = _distance(points, _touching(surface, front, CHEST, -3.0 + 1.5 * scores["chest"], within=True)) - CHEST
    down = _turned(DOWN, 0.06, rng)
    dome = _distance(points, _touching(surface, down, DOME, -7.0, within=False)) - DOME

    _aorta(canvas, heart, points, edge)
    _abdomen(canvas, heart, points, dome, edge, rng)
    skin = _chest_wall(canvas, heart, points, chest, front, edge)
    return Surroundings(canvas, chest, dome, (skin - chest).mean(0))


def _turned(direction: np.ndarray, by: float, rng: np.random.Generator) -> np.ndarray:
    turned = direction + by * rng.standard_normal(3)
    return turned / np.linalg.norm(turned)


def _touching(surface: np.ndarray, direction: np.ndarray, radius: float, gap: float, *, within: bool) -> np.ndarray:
    """The middle of the sphere of this radius, along a direction, that leaves a ``gap`` to the surface inside or beside it."""
    low, high = (-radius, 0.0) if within else (0.0, radius + 200.0)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        far = np.linalg.norm(surface - direction * middle, axis=1)
        too_low = far.max() > radius - gap if within else far.min() < radius + gap
        low, high = (middle, high) if too_low else (low, middle)
    return direction * high


def _distance(points: Points, middle: np.ndarray, scale: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> np.ndarray:
    """Distance (mm) from a point, its axes divided by ``scale``."""
    x, y, z = (np.float32(1 / s) for s in scale)
    cx, cy, cz = (np.float32(c) for c in middle)
    return np.sqrt(((points.x - cx) * x) ** 2 + ((points.y - cy) * y) ** 2 + ((points.z - cz) * z) ** 2)


def ellipsoid(points: Points, middle: tuple[float, float, float], axes: tuple[float, float, float]) -> np.ndarray:
    """Signed distance (mm, nearly) from an ellipsoid with these half ``axes``."""
    shortest = min(axes)
    return (_distance(points, np.array(middle), axes) - 1) * np.float32(shortest)


def _lung_vessels(canvas: Canvas, rng: np.random.Generator) -> None:
    """Vessels of the lung, cut across: small bright spots, more of them small."""
    slices, wide, high = canvas.label.shape
    for _ in range(34 * slices):
        k, i, j = int(rng.integers(slices)), int(rng.integers(3, wide - 3)), int(rng.integers(3, high - 3))
        size, bright = 0.6 + 0.45 * rng.exponential(), 0.2 + 0.5 * rng.random()
        at = np.arange(-3, 4)
        long = 1 + rng.random()
        spot = np.exp(-((at[:, None] / size) ** 2) - (at[None] / size / long) ** 2)
        spot = spot if rng.random() < 0.5 else spot.T
        canvas.water[:, k, i - 3 : i + 4, j - 3 : j + 4] += (bright * spot).astype(np.float32)


def _aorta(canvas: Canvas, heart: Heart, points: Points, edge: float) -> None:
    """The descending aorta behind the left atrium; it leaves the stack towards the apex."""
    radius = 10.5 + 0.05 * (heart.age - 50) + (1.0 if heart.sex == "M" else 0.0)
    x, y = -17.0 + 3 * heart.scores["aside"], -46.0 + 0.6 * (points.z - 45)
    far = np.hypot(points.x - np.float32(x), points.y - y.astype(np.float32))
    canvas.paint("abdominal_fat", inside(far - np.float32(radius + 4), edge), 0.8)
    canvas.paint("vessel_wall", inside(far - np.float32(radius + 1.5), edge))
    canvas.paint("aorta", inside(far - np.float32(radius), edge))


def _abdomen(
    canvas: Canvas, heart: Heart, points: Points, dome: np.ndarray, edge: float, rng: np.random.Generator
) -> None:
    """Under the diaphragm: liver on the right, stomach and spleen on the left, fat between."""
    scores = heart.scores
    within = inside(dome, edge)
    canvas.paint("muscle", within)
    canvas.paint("abdominal_fat", inside(dome + np.float32(2.2), edge))

    # the left lobe thins out to the left, under the diaphragm
    end = -20.0 + 12 * scores["liver"]
    thin = np.clip((points.x - np.float32(end)) * np.float32(1.0), -5, 90)
    liver = np.maximum(dome + np.float32(3.2), -dome - thin - np.float32(6))
    left = inside(np.maximum(liver, np.float32(end - 18) - points.x), edge)
    canvas.paint("liver", left)
    for _ in range(7):
        middle = np.array([end + 45 * rng.random(), -52 - 30 * rng.random(), 60 * (rng.random() - 0.5)])
        axis = rng.standard_normal(3)
        spot = _tube(points, middle, axis / np.linalg.norm(axis)) - np.float32(1.2 + 1.6 * rng.random())
        canvas.paint("liver", inside(spot, edge) * left * 0.8, 1.75, labelled=False)

    x, top = -22 + 6 * scores["turn"], -44 - 3 * abs(scores["liver"])
    stomach = np.maximum(ellipsoid(points, (x, top - 19, -8.0), (36.0, 28.0, 66.0)), dome + np.float32(3.5))
    around = np.arctan2(points.y - np.float32(top - 19), points.x - np.float32(x))
    wall = 3.2 + 0.8 * np.cos(7 * around + 0.1 * points.z) + 0.6 * np.cos(11 * around + 2)
    canvas.paint("muscle", inside(stomach, edge) * (1 - left))
    canvas.paint("stomach", inside(stomach + wall.astype(np.float32), edge) * (1 - left), 0.8 + 0.5 * rng.random())
    spleen = np.maximum(ellipsoid(points, (-62.0, -60.0, 0.0), (25.0, 36.0, 62.0)), dome + np.float32(3))
    canvas.paint("spleen", inside(spleen, edge) * (1 - left))


def _tube(points: Points, middle: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Distance (mm) from a line through a point."""
    x, y, z = (points.x - middle[0], points.y - middle[1], points.z - middle[2])
    along = x * axis[0] + y * axis[1] + z * axis[2]
    return np.sqrt(np.clip(x**2 + y**2 + z**2 - along**2, 0, None)).astype(np.float32)


def _chest_wall(
    canvas: Canvas, heart: Heart, points: Points, chest: np.ndarray, front: np.ndarray, edge: float
) -> float:
    """Ribs with the muscle between, the muscle over them, fat, skin; returns the skin's distance from the inner side (mm)."""
    scores = heart.scores
    muscle = (9.0 if heart.sex == "M" else 6.0) + 1.2 * scores["chest"]
    fat = max(4.0, 9.0 + 1.5 * (heart.bmi - 25) + (7.0 if heart.sex == "F" else 0.0))
    skin = RIBS + muscle + fat
    canvas.paint("muscle", inside(-chest, edge))
    # strands of fat between the muscles, and ribs cut aslant
    canvas.paint(
        "subcutaneous_fat", inside(np.abs(chest - np.float32(RIBS + 0.5)) - np.float32(1.0), edge), labelled=False
    )
    across = np.cross(front, [0.35, -0.2, 0.9])
    across /= np.linalg.norm(across)
    along = points.x * across[0] + points.y * across[1] + points.z * across[2]
    place = (along + np.float32(13 + 6 * scores["turn"])) % 27 - np.float32(13.5)
    rib = np.hypot(place / np.float32(1.5), chest - np.float32(6.0)).astype(np.float32)
    canvas.paint("vessel_wall", inside(rib - np.float32(5.6), edge), 0.35, labelled=False)
    canvas.paint("bone", inside(rib - np.float32(4.4), edge))
    canvas.paint("subcutaneous_fat", inside(np.float32(RIBS + muscle) - chest, edge))
    canvas.paint("air", inside(np.float32(skin) - chest, edge))
    return skin
