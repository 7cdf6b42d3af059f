"""What a ruler reads before and after, its stated error, and where the change lies: inside or outside of what should change."""

from __future__ import annotations

import importlib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import streamlit as st
from scipy.ndimage import binary_dilation, binary_fill_holes

from engine.imaging.volume import Volume

#: voxels by which a region is widened: an edge that moves is part of what changes
MARGIN = 2
#: share of the 99th percentile of intensity from which a voxel is body
BODY = 0.12
#: where a change of an attribute is expected; every other attribute may change the whole body
EXPECTED = {
    "head": {"age": "brain", "bmi": "soft", "weight": "soft"},
    "torso": {"bmi": "fat", "weight": "fat"},
}
WORDS = {
    "brain": "the brain and the fluid around it",
    "soft": "the soft tissue outside the brain",
    "fat": "fat, muscle and liver",
    "body": "the body",
}
#: classes of the torso's ruler that belong to fat, muscle and liver
LEAN_AND_FAT = ("sat", "vat", "imat", "muscle", "liver")


@dataclass(frozen=True, eq=False, kw_only=True)
class Reader:
    """A ruler for heads or torsos. ``errors``: the SD of what it reads against its truth on test persons, by measure, and
    whether that is a share of the value; a measure that is not in it has no stated error."""

    kind: str
    ruler: Any
    units: dict[str, str]
    errors: dict[str, tuple[float, bool]]

    @property
    def titles(self) -> dict[str, str]:
        """Each measure in words, with its unit."""
        return {name: f"{title}, {self.units[name]}" for name, title in self.ruler.measures.items()}

    def error(self, name: str, value: float) -> float:
        """The stated error of a value in its own unit; NaN where none is stated."""
        size, relative = self.errors.get(name, (math.nan, False))
        return size * abs(value) if relative else size


class Seen(NamedTuple):
    """What is seen in a volume: ``values`` by measure, ``masks`` (x, y, z) by region, ``problem`` where nothing was read."""

    values: dict[str, float]
    masks: dict[str, np.ndarray]
    problem: str


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean absolute change of intensity, in percent of white, ``inside`` and ``outside`` of a region, and the ``share`` of the
    whole change that lies outside (0 where there is none)."""

    inside: float
    outside: float
    share: float


@st.cache_resource(max_entries=2, show_spinner="Loading the ruler")
def _load(kind: str, path: str, changed: float) -> Reader:
    del changed  # a ruler that was replaced is read again
    module = importlib.import_module("engine.measure.head" if kind == "head" else "engine.measure.torso")
    stored = importlib.import_module("engine.measure.ruler").read_ruler(Path(path), module.NAME)
    figures = stored.config.get("provenance", {}).get("figures", {})
    if kind == "head":
        volumes = figures.get("test", {}).get("volumes", {})
        errors = {name: (float(by["relative_difference"][1]), True) for name, by in volumes.items()}
        return Reader(
            kind=kind, ruler=module.HeadMeasure.load(path), units=dict.fromkeys(module.MEASURES, "ml"), errors=errors
        )
    absolute = ("waist", "liver_pdff")  # their errors stand in cm and in percentage points
    found = figures.get("measures", {})
    errors = {name: (float(by["difference"][3]), name not in absolute) for name, by in found.items()}
    return Reader(kind=kind, ruler=module.TorsoMeasure.load(path), units=dict(module.UNITS), errors=errors)


def reader_for(model: Any) -> tuple[Reader | None, str]:
    """The ruler for what the model draws, or a sentence why there is none."""
    kind = "torso" if "water" in model.checkpoint.config.channels else "head"
    module = importlib.import_module("engine.measure.head" if kind == "head" else "engine.measure.torso")
    config = module.shipped() / "config.json"
    try:
        return _load(kind, str(config.parent), config.stat().st_mtime if config.exists() else 0.0), ""
    except ValueError as error:
        return None, f"Nothing is measured: {error}."


def read(ruler: Any, volume: Volume) -> tuple[dict[str, float], str]:
    """What a ruler reads off a volume, by measure, and where it is nothing a sentence why."""
    try:
        return ruler.measure(volume), ""
    except ValueError as error:
        return {}, str(error)


def digits_of(value: float) -> int:
    """Digits after the point that a measure is shown with."""
    return 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2


def signed(value: float, digits: int) -> str:
    """A change as text; one that rounds to nothing has no sign."""
    return f"{value:+.{digits}f}" if round(value, digits) else "0"


def look(reader: Reader | None, volume: Volume) -> Seen:
    """Measure a volume, and find the regions in it."""
    masks = {"body": _body(volume)}
    if reader is None:
        return Seen({}, masks, "")
    try:
        found = classes_of(reader, volume)
        values = values_of(reader, found)
    except ValueError as error:
        return Seen({}, masks, str(error))
    names = reader.ruler.segmenter.config.classes
    if reader.kind == "head":
        masks["brain"] = found.on(volume, range(1, len(names)))
        masks["soft"] = masks["body"] & ~masks["brain"]
    else:
        masks["fat"] = found.on(volume, [names.index(name) for name in LEAN_AND_FAT])
    return Seen(values, masks, "")


def _body(volume: Volume) -> np.ndarray:
    """Voxels that are not air, holes filled; (x, y, z)."""
    bright = np.asarray(volume.data, np.float32).reshape(-1, *volume.grid).max(0)
    return np.asarray(binary_fill_holes(bright > BODY * float(np.percentile(bright, 99))))


class Classes(NamedTuple):
    """What a ruler tells apart: the volume as it was ``framed``, the ``probabilities`` (k, x, y, z) of its classes on voxels of
    their own with their ``affine``; ``placed``: whether these lie where the volume does, which was not turned first."""

    framed: Volume
    probabilities: np.ndarray
    affine: np.ndarray
    placed: bool

    def on(self, volume: Volume, chosen: Sequence[int]) -> np.ndarray:
        """Where the chosen classes together are the likeliest, on the voxels of ``volume``."""
        field = Volume(self.probabilities[list(chosen)].sum(0), self.affine)
        return field.resampled(volume.grid, volume.affine).data > 0.5

    def labels(self, volume: Volume, groups: Sequence[Sequence[int]]) -> np.ndarray:
        """The group (from 1) that the likeliest class of each voxel of ``volume`` belongs to, else 0; (x, y, z), uint8."""
        of = np.zeros(len(self.probabilities), np.uint8)
        for label, group in enumerate(groups, 1):
            of[list(group)] = label
        field = Volume(of[self.probabilities.argmax(0)], self.affine)
        return field.resampled(volume.grid, volume.affine, order=0).data


def classes_of(reader: Reader, volume: Volume) -> Classes:
    """Tell apart what is in a volume; raises :class:`ValueError` with a sentence where nothing can be."""
    ruler = reader.ruler
    if reader.kind == "head":
        upright = volume.reoriented("RAS")
        head = ruler.framed(upright)
        return Classes(head, ruler.segmenter.probabilities(head), ruler.config.segmenter.affine, head is upright)
    torso, found, _ = ruler.classified(ruler.framed(volume))
    return Classes(torso, found, torso.affine, True)


def values_of(reader: Reader, found: Classes) -> dict[str, float]:
    """Values by measure; raises :class:`ValueError` with a sentence where there is no head or torso."""
    seen = reader.ruler.read(found.framed, found.probabilities)
    return seen if reader.kind == "head" else seen.values


def region(kind: str, before: Seen, after: Seen, moved: Collection[str]) -> tuple[np.ndarray, str]:
    """Where the change is expected, on either volume, a little widened; and in words."""
    names = {EXPECTED[kind].get(name, "body") for name in moved} or {"body"}
    if "body" in names or not names <= before.masks.keys() & after.masks.keys():
        names = {"body"}
    mask = np.logical_or.reduce([seen.masks[name] for seen in (before, after) for name in sorted(names)])
    return binary_dilation(mask, iterations=MARGIN), " and ".join(WORDS[name] for name in sorted(names))


def spread(difference: np.ndarray, mask: np.ndarray) -> Spread:
    """Where a ``difference`` ((c,) x, y, z) lies, beside ``mask`` (x, y, z)."""
    size = np.abs(np.asarray(difference, np.float64)).reshape(-1, *mask.shape).mean(0)
    total, out = float(size.sum()), ~mask
    inside = float(size[mask].mean()) if mask.any() else 0.0
    outside = float(size[out].mean()) if out.any() else 0.0
    share = float(size[out].sum()) / total if total else 0.0
    return Spread(inside=100 * inside, outside=100 * outside, share=share)


def compared(reader: Reader | None, looked: Sequence[Seen]) -> list[dict[str, Any]]:
    """One row a measure that was read on all of the volumes ``after, before, null, scan`` (the latter two may be missing).

    ``error`` is the ruler's stated error of the change, as if it erred independently in both readings (it does not, so this
    is the most); ``drift`` what the null intervention alone changes.
    """
    if reader is None or any(not seen.values for seen in looked):
        return []
    after, before, *rest = (seen.values for seen in looked)
    rows = []
    for name, title in reader.ruler.measures.items():
        if not all(math.isfinite(values[name]) for values in (before, after, *rest)):
            continue
        error = math.hypot(reader.error(name, before[name]), reader.error(name, after[name]))
        drift = rest[0][name] - rest[1][name] if len(rest) == 2 else math.nan
        rows.append(
            {
                "name": name,
                "title": title,
                "unit": reader.units[name],
                "before": before[name],
                "after": after[name],
                "change": after[name] - before[name],
                "error": error,
                "drift": drift,
            }
        )
    return rows
