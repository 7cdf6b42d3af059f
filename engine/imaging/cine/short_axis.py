"""Where a patient's short-axis cine lies in the heart's own frame: turned about the long axis, its left ventricle in its place.

The heart's frame is in mm, as in-silico hearts have it (:mod:`engine.phantom.heart`): x to the septum, y to anterior, z from apex to
base. A patient's stack lies obliquely in RAS+ mm. Its normal is the long axis z; y is, of all directions across it, the one that
goes most to the head, so that the diaphragm lies below the heart as in the phantom; x = y x z. What the array's axes are is not
asked: a stack that is stored another way comes to lie in the same place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from engine.imaging.grid import by_channel
from engine.imaging.volume import Volume, VolumeError

#: where the base lies from the apex in RAS+ (mean of the five whole stacks of the Sunnybrook patients, each within 14 degrees), and
#: degrees up to which a stack's normal may differ: the axes of the body are 48 degrees and more away
LONG_AXIS, MOST_TILT = np.array([0.64, -0.68, 0.36]), 40.0
#: how many times farther apart than in their plane slices are
APART = 1.5
#: mm in which the left ventricle's axis lies in the heart's frame (:class:`engine.phantom.heart.anatomy.Anatomy`)
LEFT_VENTRICLE = (-11.0, 5.0)
#: a stack is in the heart's frame already if its axes are those (cosine) and its middle is the origin (mm)
SAME_AXIS, SAME_PLACE = 0.9999, 1.0
#: radii of a cavity that are looked for, width of the dark wall around it and of the edge between them, mm
CAVITIES, WALL, EDGE = (14.0, 18.0, 22.0, 26.0, 30.0), 8.0, 2.0
#: the least share of itself by which the signal of a heart changes once a cycle, where it does most
BEATING = 0.02
#: share of white that is added to a signal before something is divided by it: noise in the lungs is no motion
FLOOR = 0.2
#: mm over which motion is averaged, and by which a ventricle may lie off the middle of the field of view (standard deviations)
MOVING, ASIDE = 20.0, 80.0
#: how sure a ventricle is that is believed in, 0 to 1; of in-silico hearts and patients it is .39 to .75
SURE = 0.25


@dataclass(frozen=True, eq=False, kw_only=True)
class Placed:
    """A ``cine`` whose affine leads to mm of the heart's frame, ``notes`` on that, and ``doubts`` whether it shows a heart."""

    cine: Volume
    notes: list[str]
    doubts: list[str]


def place(cine: Volume, slices: Float[np.ndarray, " k"]) -> Placed:
    """A short-axis cine where it lies in the heart's frame, no voxel changed; ``slices`` are the heights (mm) of a grid's.

    Its left ventricle (:func:`left_ventricle`) comes to :data:`LEFT_VENTRICLE`, its middle slice to a height near 0 at which one
    of the grid's lies, so that slices equally far apart are not mixed. What lies in the heart's frame already stays where it
    is. Raises :class:`VolumeError` where its slices are no short-axis ones (:func:`check_short_axis`).
    """
    if in_heart_frame(cine):
        return Placed(cine=cine, notes=[], doubts=[])
    check_short_axis(cine)
    turned = _turned(cine)
    where, sure = left_ventricle(turned)
    affine = turned.affine.copy()
    affine[:2, 3] += np.array(LEFT_VENTRICLE) - where
    affine[2, 3] += _snapped(_heights(turned), slices)
    said = "Its short axis was turned upright in the heart's frame, its left ventricle put where the model's lies."
    doubt = f"no left ventricle is to be found in it (certainty {sure:.2f}, {SURE:g} is the least expected)"
    return Placed(cine=replace(turned, affine=affine), notes=[said], doubts=[doubt] * (sure < SURE))


def on_grid(cine: Volume, grid: tuple[int, int, int], affine: Float[np.ndarray, "4 4"]) -> Volume:
    """A cine in the heart's frame (stored as x, y, z) at the voxels of another grid of that frame, linear between its slices.

    A slice is as thick as they are apart: within half of that its outermost one counts, beyond it and outside its field of view
    nothing was seen and all is 0.
    """
    edges = [(0, 0)] * (cine.data.ndim - 1) + [(1, 1)]
    first = cine.affine.copy()
    first[:3, 3] -= first[:3, 2]
    thick = replace(cine, data=np.pad(cine.data, edges, mode="edge"), affine=first)
    found = thick.resampled(grid, affine)

    heights = affine[2, 2] * np.arange(grid[2]) + affine[2, 3]
    ends, half = _heights(cine)[[0, -1]], cine.affine[2, 2] / 2 + 1e-3
    found.data[..., (heights < ends[0] - half) | (heights > ends[1] + half)] = 0
    return found


def in_heart_frame(cine: Volume) -> bool:
    """Whether a cine lies along the axes of the heart's frame with its middle at the origin, as an in-silico one does."""
    axes = cine.affine[:3, :3] / np.linalg.norm(cine.affine[:3, :3], axis=0)
    middle = cine.affine[:3, :3] @ ((np.array(cine.grid) - 1) / 2) + cine.affine[:3, 3]
    upright = np.abs(axes).max(0).min() > SAME_AXIS
    return bool(upright and np.abs(middle).max() < SAME_PLACE and int(np.abs(axes[2]).argmax()) == _normal(cine))


def check_short_axis(cine: Volume, name: str = "the cine") -> None:
    """Raises :class:`VolumeError` for a stack whose normal is not a heart's long axis, as of long-axis or axial slices.

    A cine in the heart's own frame is one of the short axis.
    """
    if in_heart_frame(cine):
        return
    if (off := tilt(_long_axis(cine))) > MOST_TILT:
        raise VolumeError(
            f"{name} is no short-axis stack: its slices' normal is {off:.0f} degrees off the long axis of a heart, {MOST_TILT:.0f} "
            "are the most; give the short-axis stack with its geometry, not long-axis or axial views"
        )


def tilt(normal: Float[np.ndarray, "3"]) -> float:
    """Degrees between a stack's normal, in RAS+, and a heart's long axis, whichever way it points."""
    cosine = abs(float(normal @ LONG_AXIS)) / float(np.linalg.norm(normal) * np.linalg.norm(LONG_AXIS))
    return float(np.degrees(np.arccos(min(cosine, 1.0))))


def heart_axes(cine: Volume) -> Float[np.ndarray, "3 3"]:
    """The rotation from RAS+ to the heart's frame: its rows are x, y and z."""
    z = _long_axis(cine)
    y = np.array([0.0, 0.0, 1.0]) - z[2] * z
    y /= np.linalg.norm(y)
    return np.stack([np.cross(y, z), y, z])


def _normal(cine: Volume) -> int:
    """The array's axis along which slices follow each other: that of the largest steps, of similar ones the nearest to the long axis."""
    spacing = np.array(cine.spacing)
    along = np.abs(LONG_AXIS @ (cine.affine[:3, :3] / spacing))
    wide = spacing > spacing.max() / APART
    return int(np.where(wide, along, -1.0).argmax())


def _long_axis(cine: Volume) -> Float[np.ndarray, "3"]:
    """The stack's normal, of length 1, on the side of the base."""
    one, other = (cine.affine[:3, i] for i in range(3) if i != _normal(cine))
    normal = np.cross(one, other)
    return normal / np.linalg.norm(normal) * (1.0 if normal @ LONG_AXIS > 0 else -1.0)


def _turned(cine: Volume) -> Volume:
    """A cine in the heart's directions, its middle at the origin, stored as x, y, z."""
    turn = np.eye(4)
    turn[:3, :3] = heart_axes(cine)
    turned = replace(cine, affine=turn @ cine.affine).reoriented("RAS")
    middle = turned.affine[:3, :3] @ ((np.array(turned.grid) - 1) / 2)
    affine = turned.affine.copy()
    affine[:3, 3] = -middle
    return replace(turned, affine=affine)


def _heights(turned: Volume) -> Float[np.ndarray, " n"]:
    """Of the slices along z, mm."""
    return turned.affine[2, 2] * np.arange(turned.grid[2]) + turned.affine[2, 3]


def _snapped(heights: Float[np.ndarray, " n"], slices: Float[np.ndarray, " k"]) -> float:
    """By how much (mm) the middle slice has to move to lie where one of the others does: the nearest, of two as near the upper."""
    off = slices - heights[len(heights) // 2]
    return float(off[np.abs(off - 0.01).argmin()])


def left_ventricle(turned: Volume) -> tuple[Float[np.ndarray, "2"], float]:
    """Where the left ventricle's axis lies (x and y in mm of a stack in the heart's directions), and how sure that is, 0 to 1.

    In the middle slices, averaged over the cycle, a bright disc in a dark ring is looked for, brightness and contrast aside, where
    the signal beats with the heart: the amplitude at the cycle's frequency as in Lin, Cowan and Young, MICCAI 2006;4190:437.
    """
    cycle = by_channel(turned.data, turned.channels)[0].astype(np.float32)
    some = slice(turned.grid[2] // 4, turned.grid[2] - turned.grid[2] // 4)
    cycle = cycle[..., some]
    mean, spacing = cycle.mean(0), turned.spacing[:2]
    white = max(float(np.quantile(mean, 0.99)), 1e-6)
    sure = _discs(mean, spacing, white) * np.sqrt(_beating(cycle, mean, spacing, white))

    axes = [(np.arange(n) - (n - 1) / 2) * side for n, side in zip(sure.shape, spacing, strict=True)]
    sure *= np.exp(-(axes[0][:, None] ** 2 + axes[1] ** 2) / (2 * ASIDE**2))
    i, j = np.unravel_index(int(sure.argmax()), sure.shape)
    return np.array([axes[0][i], axes[1][j]]), float(sure[i, j])


def _beating(
    cycle: Float[np.ndarray, "t x y z"], mean: Float[np.ndarray, "x y z"], spacing: tuple[float, ...], white: float
) -> Float[np.ndarray, "x y"]:
    """How much the signal changes once a cycle, relative to itself, about every place; 1 where most."""
    turn = 2 * np.pi * np.arange(len(cycle), dtype=np.float32) / len(cycle)
    amplitude = np.hypot(np.tensordot(np.cos(turn), cycle, 1), np.tensordot(np.sin(turn), cycle, 1)) * 2 / len(cycle)
    moving = np.minimum(amplitude / (mean + FLOOR * white), 0.5).mean(2)
    moving = np.clip(moving - np.median(moving), 0, None)
    smooth = gaussian_filter(moving, [MOVING / side for side in spacing], mode="constant")
    return smooth / max(float(smooth.max()), BEATING)


def _discs(mean: Float[np.ndarray, "x y z"], spacing: tuple[float, ...], white: float) -> Float[np.ndarray, "x y"]:
    """Correlation with a bright disc in a dark ring about every place, of the radius that fits best, averaged over the slices."""
    found = np.zeros(mean.shape[:2])
    for radius in CAVITIES:
        reach = [int(np.ceil((radius + EDGE + WALL) / side)) for side in spacing]
        far = np.hypot(
            *np.meshgrid(*[np.arange(-n, n + 1) * side for n, side in zip(reach, spacing, strict=True)], indexing="ij")
        )
        disc = far <= radius
        ring = (far > radius + EDGE) & (far <= radius + EDGE + WALL)
        wide = np.pad(mean, [(n, n) for n in reach] + [(0, 0)], mode="edge") / white

        whole = (disc | ring) / (disc.sum() + ring.sum())
        middle = _blurred(wide, whole)
        spread = np.sqrt(np.clip(_blurred(wide**2, whole) - middle**2, 0, None)) + 0.02
        contrast = _blurred(wide, disc / disc.sum() - ring / ring.sum())
        share = np.sqrt(disc.sum() * ring.sum()) / (disc.sum() + ring.sum())
        found = np.maximum(found, np.clip(contrast / spread * share, 0, 1).mean(2))
    return found


def _blurred(wide: Float[np.ndarray, "a b z"], kernel: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "x y z"]:
    """Every slice under a symmetric kernel, where that lies within it."""
    return fftconvolve(wide, kernel[:, :, None].astype(wide.dtype), mode="valid", axes=(0, 1))
