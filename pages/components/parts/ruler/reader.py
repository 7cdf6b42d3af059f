"""What a ruler reads off a scan and tells apart in it, and its stated error."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import numpy as np
import streamlit as st
from scipy.ndimage import binary_fill_holes

from engine.imaging.volume import Volume
from engine.vocabulary.refusal import Refusal

if TYPE_CHECKING:
    from engine.inference.generate import Model
    from engine.measure.head import HeadMeasure
    from engine.measure.torso import TorsoMeasure

    Ruler = HeadMeasure | TorsoMeasure

Kind = Literal["head", "torso"]
#: measures whose errors stand in their own unit (cm, percentage points); those of the others are shares of the value
ABSOLUTE = ("waist", "liver_pdff")
#: share of the 99th percentile of intensity from which a voxel is body
BODY = 0.12
#: classes of the torso's ruler that belong to fat, muscle and liver
LEAN_AND_FAT = ("sat", "vat", "imat", "muscle", "liver")


@dataclass(frozen=True, eq=False, kw_only=True)
class Reader:
    """A ruler for heads or torsos. ``errors``: the SD of what it reads against its truth on test persons, by measure, and
    whether that is a share of the value; a measure that is not in it has no stated error."""

    kind: Kind
    ruler: Ruler
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


@st.cache_resource(max_entries=2, show_spinner="Loading the ruler")
def _load_head(path: str, changed: float) -> Reader:
    from engine.measure import head
    from engine.measure.ruler import read_ruler

    del changed  # a ruler that was replaced is read again
    stored = read_ruler(Path(path), head.NAME)
    volumes = _figures(stored.config).get("test", {}).get("volumes", {})
    errors = {name: (float(by["relative_difference"][1]), True) for name, by in volumes.items()}
    units = dict.fromkeys(head.MEASURES, "ml")
    return Reader(kind="head", ruler=head.HeadMeasure.load(path), units=units, errors=errors)


@st.cache_resource(max_entries=2, show_spinner="Loading the ruler")
def _load_torso(path: str, changed: float) -> Reader:
    from engine.measure import torso
    from engine.measure.ruler import read_ruler

    del changed
    stored = read_ruler(Path(path), torso.NAME)
    found = _figures(stored.config).get("measures", {})
    errors = {name: (float(by["difference"][3]), name not in ABSOLUTE) for name, by in found.items()}
    return Reader(kind="torso", ruler=torso.TorsoMeasure.load(path), units=dict(torso.UNITS), errors=errors)


def _figures(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is stored of a ruler's test, as JSON."""
    return config.get("provenance", {}).get("figures", {})


def reader_for(model: Model) -> tuple[Reader | None, str]:
    """The ruler for what the model draws, or a sentence why there is none."""
    torsos = "water" in model.checkpoint.config.channels
    if torsos:
        from engine.measure.torso import shipped
    else:
        from engine.measure.head import shipped

    folder = shipped()
    config = folder / "config.json"
    changed = config.stat().st_mtime if config.exists() else 0.0
    try:
        return (_load_torso if torsos else _load_head)(str(folder), changed), ""
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


def look(reader: Reader | None, volume: Volume) -> Seen:
    """Measure a volume, and find the regions in it."""
    masks = {"body": _body(volume)}
    if reader is None:
        return Seen({}, masks, "")
    try:
        found = classes_of(reader, volume)
        values = values_of(reader, found)
    except Refusal as error:
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
    """Tell apart what is in a volume; raises :class:`Refusal` where nothing can be."""
    if reader.kind == "head":
        ruler = cast("HeadMeasure", reader.ruler)
        upright = volume.reoriented("RAS")
        head = ruler.framed(upright)
        return Classes(head, ruler.segmenter.probabilities(head), ruler.config.segmenter.affine, head is upright)

    ruler = cast("TorsoMeasure", reader.ruler)
    torso, found, _ = ruler.classified(ruler.framed(volume))
    return Classes(torso, found, torso.affine, True)


def values_of(reader: Reader, found: Classes) -> dict[str, float]:
    """Values by measure; raises :class:`Refusal` where there is no head or torso."""
    seen = reader.ruler.read(found.framed, found.probabilities)
    return seen if isinstance(seen, dict) else seen.values
