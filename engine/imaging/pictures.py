"""Slices of a volume as grey pictures, pixels square in millimetres, with what they are burned in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from engine.imaging.volume import Volume

#: grey of a channel at which it is white, as the viewer's first window
WHITE = {"water": 115 / 255, "fat": 205 / 255}
#: grey above which a voxel counts for the body's box, the share of a slab that must, and the voxels around it
SEEN, SHARE, MARGIN = 20 / 255, 0.004, 2
#: pixels between two slices
GAP = 4
#: as the viewer writes them
AMBER, INK, NIGHT = (242, 193, 78), (235, 240, 242), (11, 15, 18)

Box = tuple[slice, slice, slice]
#: a slice (width, height), and the mm of its pixels
_Cut = tuple[np.ndarray, tuple[float, float]]


class Planes(NamedTuple):
    """Three slices through one voxel, uint8 (height, width). Radiological: the patient's right on the left, the front on top
    of the axial and on the left of the sagittal one, the head on top of the others."""

    axial: np.ndarray
    coronal: np.ndarray
    sagittal: np.ndarray


def planes(volume: Volume, pixel: float, up: float = 0.5) -> Planes:
    """The middle slices of a volume of 0 to 1 (what is not finite is 0), channels added up, of a cine in its first phase; a pixel
    has ``pixel`` mm. The coronal one goes through the body's middle, however thin it is; the axial one lies ``up`` the grid, a share
    of 0 to 1."""
    turned = volume.at_phase().reoriented("RAS")
    i, _, k = (n // 2 for n in turned.grid)
    depth = body_box([turned])[1]
    j = (depth.start + depth.stop) // 2
    k = k if up == 0.5 else min(turned.grid[2] - 1, int(up * turned.grid[2]))
    data = turned.data if turned.data.ndim == 4 else turned.data[None]
    x, y, z = turned.spacing
    return Planes(
        axial=_grey(data[:, ::-1, ::-1, k], (x, y), pixel),
        coronal=_grey(data[:, ::-1, j, ::-1], (x, z), pixel),
        sagittal=_grey(data[:, i, ::-1, ::-1], (y, z), pixel),
    )


def _grey(plane: np.ndarray, spacing: tuple[float, float], pixel: float) -> np.ndarray:
    """A plane (channel, width, height) as a picture, its pixels ``spacing`` mm wide and high."""
    light = np.clip(np.nan_to_num(plane.sum(0, dtype=np.float32)), 0, 1)
    picture = Image.fromarray(np.ascontiguousarray(np.rint(light * 255).astype(np.uint8).T))
    wide, high = (max(1, round(n * mm / pixel)) for n, mm in zip(light.shape, spacing, strict=True))
    return np.asarray(picture.resize((wide, high), Image.Resampling.BICUBIC))


def body_box(volumes: Sequence[Volume]) -> Box:
    """The voxels, along RAS+, from which to which a body reaches in any phase of the volumes; all of them where there is none."""
    seen = [
        np.any([frame.data > SEEN * _white(frame) for frame in volume.reoriented("RAS").stills()], axis=0)
        for volume in volumes
    ]
    box = []
    for axis, n in enumerate(seen[0].shape):
        others = tuple(a for a in range(3) if a != axis)
        there = np.flatnonzero(np.max([each.mean(others) for each in seen], axis=0) > SHARE)
        first, last = (int(there[0]), int(there[-1])) if there.size else (0, n - 1)
        box.append(slice(max(0, first - MARGIN), min(n, last + 1 + MARGIN)))
    return box[0], box[1], box[2]


def montage(volume: Volume, box: Box, high: int) -> UInt8[np.ndarray, "high wide"]:
    """The slices through the origin (or the box's middle) side by side, ``high`` pixels, radiological, each channel from black
    to :data:`WHITE`, of a cine in its first phase. Of a tall body the coronal slice of each channel, the sagittal one, and the
    axial ones above each other."""
    turned = volume.at_phase().reoriented("RAS")
    at = np.rint(np.linalg.inv(turned.affine)[:3, 3]).astype(int)
    i, j, k = (
        int(place) if part.start <= place < part.stop else (part.start + part.stop) // 2
        for place, part in zip(at, box, strict=True)
    )
    x, y, z = turned.spacing
    coronal: list[_Cut] = []
    sagittal: list[_Cut] = []
    axial: list[_Cut] = []
    for part in turned.apart():
        light = np.clip(part.data / np.float32(_white(part) * WHITE.get(part.kinds[0], 1.0)), 0, 1)
        coronal.append((light[box[0], j, box[2]][::-1, ::-1], (x, z)))
        sagittal.append((light[i, box[1], box[2]][::-1, ::-1], (y, z)))
        axial.append((light[box[0], box[1], k][::-1, ::-1], (x, y)))
    width, _, height = ((part.stop - part.start) * mm for part, mm in zip(box, turned.spacing, strict=True))
    if height > 1.4 * width:
        share = high // len(axial)
        stack = [_fitted(*one, share) for one in axial]
        columns = [_fitted(*one, high) for one in (*coronal, sagittal[0])] + [_stacked(stack, high)]
    else:
        columns = [_fitted(*one, high // len(axial)) for one in (*axial, *coronal, *sagittal)]
        rows = [columns[c :: len(axial)] for c in range(len(axial))]
        columns = [_stacked([_beside(row, high // len(axial)) for row in rows], high)]
    return _beside(columns, high)


def captioned(
    picture: UInt8[np.ndarray, "high wide *rgb"], title: str, footer: str, share: float = -1.0
) -> UInt8[np.ndarray, "h w 3"]:
    """A grey or coloured picture in colour between a ``title`` and a ``footer`` that is burned in, either may be empty; ``share``
    (0 to 1) is a mark on a line."""
    high, wide = picture.shape[:2]
    size = max(14, high // 24)
    lines, small = _wrapped(footer, wide, size)
    head, foot = (2 * size if title else 0), round((1.4 * len(lines) + 0.6) * small) if footer else 0
    image = Image.new("RGB", (wide, high + head + foot), NIGHT)
    image.paste(Image.fromarray(picture), (0, head))
    pen = ImageDraw.Draw(image)
    if title:
        pen.text((size, head // 2), title, INK, _font(round(1.2 * size)), anchor="lm")
    if share >= 0:
        left, right, y = wide // 2, wide - size, head // 2
        pen.line([(left, y), (right, y)], (80, 92, 100), max(2, size // 8))
        x, r = left + share * (right - left), size // 3
        pen.ellipse([x - r, y - r, x + r, y + r], AMBER)
    for k, line in enumerate(lines):
        pen.text((small, head + high + (1.4 * k + 1) * small), line, AMBER, _font(small), anchor="lm")
    return np.asarray(image)


def _wrapped(text: str, wide: int, size: int) -> tuple[list[str], int]:
    """A text in lines that fit a width, and the pixels of its letters: as large as ``size``, smaller where it then needs few lines."""
    small = next((s for s in range(size, 10, -1) if _font(s).getlength(text) < wide - 2 * s), min(size, 11))
    small = min(small, max(6, wide // 14))
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _font(small).getlength(longer) > wide - 2 * small:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines, small


def _white(volume: Volume) -> int:
    """The number that is white: 255 of uint8, else 1."""
    return 255 if volume.data.dtype == np.uint8 else 1


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """One that has superscripts; Pillow's own has none."""
    return ImageFont.truetype(str(files("matplotlib") / "mpl-data/fonts/ttf/DejaVuSans.ttf"), size)


def _fitted(plane: Float[np.ndarray, "w h"], spacing: tuple[float, float], high: int) -> UInt8[np.ndarray, "high wide"]:
    """A slice (width, height) of pixels ``spacing`` mm as a grey picture of ``high`` pixels."""
    wide = max(1, round(high * plane.shape[0] * spacing[0] / (plane.shape[1] * spacing[1])))
    grey = np.ascontiguousarray(np.rint(plane * 255).astype(np.uint8).T)
    return np.asarray(Image.fromarray(grey).resize((wide, high), Image.Resampling.BICUBIC))


def _beside(columns: Sequence[np.ndarray], high: int) -> np.ndarray:
    gap = np.zeros((high, GAP), np.uint8)
    return np.concatenate([piece for column in columns for piece in (column, gap)][:-1], axis=1)


def _stacked(rows: Sequence[np.ndarray], high: int) -> np.ndarray:
    """Rows above each other, each centred in the width of the widest, ``high`` pixels together."""
    wide = max(row.shape[1] for row in rows)
    whole = np.zeros((high, wide), np.uint8)
    top = 0
    for row in rows:
        left = (wide - row.shape[1]) // 2
        whole[top : top + row.shape[0], left : left + row.shape[1]] = row
        top += row.shape[0]
    return whole
