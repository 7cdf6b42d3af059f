"""The ruler of what a model draws, loaded once for all sessions; what it reads off a scan, and where it sees what."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import streamlit as st
from scipy.ndimage import binary_fill_holes

from engine.anatomy import region_named, region_of
from engine.anatomy.region import BODY, Region
from engine.imaging.grid import in_words
from engine.imaging.volume import Volume
from engine.vocabulary.refusal import Refusal

if TYPE_CHECKING:
    from engine.inference.generate import Model
    from engine.measure.heart.reading import HeartReading
    from engine.measure.ruler import Classes, Ruler

#: share of the 99th percentile of intensity from which a voxel is body
FOREGROUND = 0.12


class Seen(NamedTuple):
    """What is seen in a volume: ``values`` by measure, ``masks`` (x, y, z) of the body and of the region's areas, by name,
    ``problem`` where nothing was read, mL of each class that the ruler tells apart, and of a heart its ``cycle``."""

    values: dict[str, float]
    masks: dict[str, np.ndarray]
    problem: str
    classes: Mapping[str, float] = MappingProxyType({})
    cycle: HeartReading | None = None


@st.cache_resource(max_entries=4, show_spinner="Loading the measuring network")
def _loaded(region: str, path: str, changed: float) -> Ruler:
    from engine.measure.shipped import load_ruler

    del changed  # a ruler that was replaced is read again
    return load_ruler(region_named(region), path)


def region_drawn(model: Model) -> Region | None:
    """The part of the body that the model draws; None for a model of tables, and for unknown channels."""
    return region_of(model.checkpoint.config.channels)


def ruler_for(model: Model) -> tuple[Ruler | None, str]:
    """The ruler for what the model draws, or a sentence why there is none."""
    region = region_drawn(model)
    if region is None:
        channels = model.checkpoint.config.channels
        shown = in_words(channels) if channels else "no scans"
        return None, f"Nothing is measured: the model draws {shown}, for which there is no measuring network."

    from engine.measure.shipped import shipped

    folder = shipped(region)
    config = folder / "config.json"
    changed = config.stat().st_mtime if config.exists() else 0.0
    try:
        return _loaded(region.name, str(folder), changed), ""
    except Refusal as error:
        return None, f"Nothing is measured: {error}."


def read(ruler: Ruler, volume: Volume) -> tuple[dict[str, float], str]:
    """What a ruler reads off a volume, by measure, and where it is nothing a sentence why."""
    try:
        return ruler.measure(volume), ""
    except Refusal as error:
        return {}, str(error)


def digits_of(value: float) -> int:
    """Digits after the point that a measure is shown with."""
    if abs(value) >= 100:
        return 0
    return 1 if abs(value) >= 10 else 2


def signed(value: float, digits: int) -> str:
    """A change as text; one that rounds to nothing has no sign."""
    return f"{value:+.{digits}f}" if round(value, digits) else "0"


def look(ruler: Ruler | None, volume: Volume) -> Seen:
    """Measure a volume, and find the body and the region's areas in it."""
    body = body_of(volume)
    if ruler is None:
        return Seen({}, {BODY: body}, "")
    try:
        found = ruler.classes_on(volume)
        values = ruler.values_of(found)
    except Refusal as error:
        return Seen({}, {BODY: body}, str(error))
    masks = {BODY: body, **_areas(ruler.region, found, volume, body)}
    return Seen(values, masks, "", millilitres(found), cycle_read(ruler, found))


def cycle_read(ruler: Ruler, found: Classes) -> HeartReading | None:
    """The heart's cycle in what a ruler told apart; None of a ruler of bodies that are still."""
    reads = getattr(ruler, "cycle_of", None)
    return reads(found) if reads is not None else None


def reading_of(model: Model, volume: Volume) -> HeartReading | None:
    """The heart's cycle in a cine by the ruler of what the model draws; None where there is no such ruler, or it reads none."""
    ruler, _ = ruler_for(model)
    if ruler is None or volume.phases < 2:
        return None
    try:
        return cycle_read(ruler, ruler.classes_on(volume))
    except Refusal:
        return None


def labels_seen(found: Classes, volume: Volume, groups: Sequence[Collection[str]]) -> np.ndarray:
    """The group (from 1) of each voxel of a volume in each phase that a ruler saw, uint8 (t, x, y, z); else 0."""
    phases = [found.at(phase) for phase in range(found.phases)]
    return np.stack([phase.labels(volume, groups) for phase in phases])


def millilitres(found: Classes) -> dict[str, float]:
    """The volume of each class that a ruler tells apart, by its likeliest voxels."""
    voxel = abs(float(np.linalg.det(found.affine[:3, :3]))) / 1000
    counts = np.bincount(found.probabilities.argmax(0).ravel(), minlength=len(found.names))
    return {name: float(count) * voxel for name, count in zip(found.names, counts, strict=True)}


def _areas(region: Region, found: Classes, volume: Volume, body: np.ndarray) -> dict[str, np.ndarray]:
    """The mask of each area of the region; several may have the same classes, inside and around."""
    chosen = {area.classes for area in region.areas.values()}
    inside = {classes: found.on(volume, classes) for classes in chosen}
    return {
        name: body & ~inside[area.classes] if area.around else inside[area.classes]
        for name, area in region.areas.items()
    }


def body_of(volume: Volume) -> np.ndarray:
    """Voxels that are not air, holes filled; (x, y, z)."""
    bright = np.asarray(volume.data, np.float32).reshape(-1, *volume.grid).max(0)
    return np.asarray(binary_fill_holes(bright > FOREGROUND * float(np.percentile(bright, 99))))
