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

#: pixels of the smallest letters that can be read
SMALLEST = 9

Box = tuple[slice, slice, slice]
#: what lies at the low and the high end of the axes x, y and z, along RAS+
Ends = Sequence[tuple[str, str]]


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
    return _joined(cuts(volume, box, high), high)


def lettered(volume: Volume, box: Box, high: int, ends: Ends) -> UInt8[np.ndarray, "high wide 3"]:
    """The :func:`montage` in colour, each slice with its channel and with the ``ends`` of the body's axes (low, high) that lie at
    its sides."""
    found = cuts(volume, box, high)
    image = Image.fromarray(_joined(found, high)).convert("RGB")
    pen = ImageDraw.Draw(image)
    for word in words(found, ends):
        edge = max(1, word.size // 7)
        place = (word.left, (word.top + word.bottom) / 2)
        pen.text(place, word.text, word.colour, _font(word.size), "lm", stroke_width=edge, stroke_fill=(0, 0, 0))
    return np.asarray(image)


class Cut(NamedTuple):
    """A slice in a montage: its ``pixels``, where its upper left corner lies, whether it runs from front to back, its channel."""

    pixels: UInt8[np.ndarray, "high wide"]
    left: int
    top: int
    sagittal: bool
    channel: str


class Word(NamedTuple):
    """A word on a montage, and the box that it fills."""

    text: str
    left: float
    top: float
    right: float
    bottom: float
    size: int
    colour: tuple[int, int, int]


def cuts(volume: Volume, box: Box, high: int) -> list[Cut]:
    """The slices of a :func:`montage`, in their places."""
    turned = volume.at_phase().reoriented("RAS")
    at = np.rint(np.linalg.inv(turned.affine)[:3, 3]).astype(int)
    i, j, k = (
        int(place) if part.start <= place < part.stop else (part.start + part.stop) // 2
        for place, part in zip(at, box, strict=True)
    )
    x, y, z = turned.spacing
    width, _, height = ((part.stop - part.start) * mm for part, mm in zip(box, turned.spacing, strict=True))
    parts = turned.apart()
    tall, share = height > 1.4 * width, high // len(parts)
    coronal: list[Cut] = []
    sagittal: list[Cut] = []
    axial: list[Cut] = []
    for part in parts:
        light = np.clip(part.data / np.float32(_white(part) * WHITE.get(part.kinds[0], 1.0)), 0, 1)
        size, name = (high if tall else share), part.kinds[0]
        planes = (
            (coronal, light[box[0], j, box[2]], (x, z), size),
            (sagittal, light[i, box[1], box[2]], (y, z), size),
            (axial, light[box[0], box[1], k], (x, y), share),
        )
        for kept, plane, spacing, tallness in planes:
            kept.append(Cut(_fitted(plane[::-1, ::-1], spacing, tallness), 0, 0, kept is sagittal, name))
    if tall:
        beside = _beside([*coronal, sagittal[0]])
        return [*beside, *_stacked([[one] for one in axial], beside[-1].left + beside[-1].pixels.shape[1] + GAP)]
    return _stacked([_beside(row) for row in zip(axial, coronal, sagittal, strict=True)], 0)


def words(found: Sequence[Cut], ends: Ends) -> list[Word]:
    """What is written on the slices: the channel in the upper left corner, and what lies at the left and at the right."""
    written = []
    for cut in found:
        high, wide = cut.pixels.shape
        low, far = ends[1] if cut.sagittal else ends[0]
        name = cut.channel[:1].upper() + cut.channel[1:]
        size = _largest(max(wide, high) // 24, (f"{far}  {low}", name), wide, high)
        if not size:
            continue
        pad = size // 2
        placed = ((name, 0.0, pad + size / 2, INK), (far, 0.0, high / 2, AMBER), (low, 1.0, high / 2, AMBER))
        for text, side, middle, colour in placed:
            long = _font(size).getlength(text)
            left = cut.left + pad + side * (wide - 2 * pad - long)
            y = cut.top + middle
            written.append(Word(text, left, y - 0.6 * size, left + long, y + 0.6 * size, size, colour))
    return written


def _largest(wish: int, rows: Sequence[str], wide: int, high: int) -> int:
    """The pixels of letters, ``wish`` at most, at which each of the ``rows`` fits a width and all of them half a height; 0 where
    they would be too small to be read."""
    sizes = range(max(wish, SMALLEST), SMALLEST - 1, -1)
    fits = (s for s in sizes if 5 * s < high and max(_font(s).getlength(row) for row in rows) + 1.5 * s < wide)
    return next(fits, 0)


def captioned(
    picture: UInt8[np.ndarray, "high wide *rgb"], title: str, footer: str, share: float = -1.0
) -> UInt8[np.ndarray, "h w 3"]:
    """A grey or coloured picture in colour between a ``title`` and a ``footer`` that is burned in, either may be empty; ``share``
    (0 to 1) is a mark on a line below the title. The title stands on one line, as large as fits."""
    high, wide = picture.shape[:2]
    size = max(14, high // 24)
    lines, small = _wrapped(footer, wide, size)
    row, track = (2 * size if title else 0), (size if share >= 0 else 0)
    head, foot = row + track, round((1.4 * len(lines) + 0.6) * small) if footer else 0
    image = Image.new("RGB", (wide, high + head + foot), NIGHT)
    image.paste(Image.fromarray(picture), (0, head))
    pen = ImageDraw.Draw(image)
    if title:
        shown, letters = _on_a_line(title, wide - 2 * min(size, wide // 20), round(1.2 * size))
        pen.text((min(size, wide // 20), row // 2), shown, INK, _font(letters), anchor="lm")
    if share >= 0:
        left, right, y = size, wide - size, row + track // 2 - size // 8
        pen.line([(left, y), (right, y)], (80, 92, 100), max(2, size // 8))
        x, r = left + share * (right - left), size // 3
        pen.ellipse([x - r, y - r, x + r, y + r], AMBER)
    for k, line in enumerate(lines):
        pen.text((small, head + high + (1.4 * k + 1) * small), line, AMBER, _font(small), anchor="lm")
    return np.asarray(image)


def widened(picture: UInt8[np.ndarray, "high wide 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """A picture in the middle of one of 16 : 9, the shape of a slide, as large as it was.

    >>> widened(np.zeros((90, 60, 3), np.uint8)).shape, widened(np.zeros((40, 160, 3), np.uint8)).shape
    ((90, 160, 3), (90, 160, 3))
    """
    high, wide = picture.shape[:2]
    height, width = max(high, round(wide * 9 / 16)), max(wide, round(high * 16 / 9))
    found = np.empty((height, width, 3), np.uint8)
    found[:] = NIGHT
    top, left = (height - high) // 2, (width - wide) // 2
    found[top : top + high, left : left + wide] = picture
    return found


def _on_a_line(text: str, room: int, size: int) -> tuple[str, int]:
    """A text on one line of so many pixels, and those of its letters; cut short where they would be too small to be read."""
    fits = next((s for s in range(size, SMALLEST - 1, -1) if _font(s).getlength(text) <= room), 0)
    if fits:
        return text, fits
    shorter = next((n for n in range(len(text), 0, -1) if _font(SMALLEST).getlength(f"{text[:n]}…") <= room), 0)
    return f"{text[:shorter].rstrip(' ,')}…", SMALLEST


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


def _beside(row: Sequence[Cut]) -> list[Cut]:
    """Slices side by side from the left."""
    placed, left = [], 0
    for cut in row:
        placed.append(cut._replace(left=left))
        left += cut.pixels.shape[1] + GAP
    return placed


def _stacked(rows: Sequence[Sequence[Cut]], left: int) -> list[Cut]:
    """Rows above each other from ``left`` on, each centred in the width of the widest."""
    wide = [max(cut.left + cut.pixels.shape[1] for cut in row) for row in rows]
    placed, top = [], 0
    for row, width in zip(rows, wide, strict=True):
        shift = left + (max(wide) - width) // 2
        placed += [cut._replace(left=cut.left + shift, top=top) for cut in row]
        top += row[0].pixels.shape[0]
    return placed


def _joined(found: Sequence[Cut], high: int) -> UInt8[np.ndarray, "high wide"]:
    """Slices in their places, black between them."""
    whole = np.zeros((high, max(cut.left + cut.pixels.shape[1] for cut in found)), np.uint8)
    for cut in found:
        tall, wide = cut.pixels.shape
        whole[cut.top : cut.top + tall, cut.left : cut.left + wide] = cut.pixels
    return whole
