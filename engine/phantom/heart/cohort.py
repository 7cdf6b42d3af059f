"""Persons with a beating heart: the cine, its exact labels in every phase, and a row of the table counted on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from engine.phantom.heart.anatomy import Anatomy
from engine.phantom.heart.counts import count
from engine.phantom.heart.cycle import Beat
from engine.phantom.heart.people import Heart, draw
from engine.phantom.heart.raster import RASTER, CineRaster
from engine.phantom.heart.scanner import flow_of, scan
from engine.phantom.heart.ventricles import Ventricles
from engine.vocabulary.catalogue import CATALOGUE

#: version of the phantom: another one makes other persons of the same seeds
PHANTOM = 1
#: the columns of the table beside age, sex, height, weight and bmi
COUNTED = ("heart_rate", "pathology", "lv_edv", "lv_esv", "lv_ef", "lv_mass", "rv_edv", "rv_esv", "wall_thickness")
#: what participants.json says of the columns that every BIDS export does not know already
COLUMNS: dict[str, dict[str, Any]] = {
    **{name: CATALOGUE[name].bids() for name in COUNTED},
    "seed": {"Description": "seed of the person; the same seed makes the same person again"},
}
#: mm by which a breath hold shifts a slice in its plane and along the axis (standard deviations), and the most
SHIFT, SHIFT_Z, FARTHEST = 0.9, 0.6, 3.5
#: share of slices taken at another depth of breath, and how far that shifts them
ASTRAY, ASTRAY_SHIFT = 0.06, 2.2


@dataclass(frozen=True, eq=False)
class HeartPerson:
    """A cine (uint8, 255 the brightest), its labels (:data:`engine.phantom.heart.tissue.CODES`), and the row of the table.

    The first phase is end-diastole; after the last comes the first again.
    """

    images: UInt8[np.ndarray, "t x y z"]
    labels: UInt8[np.ndarray, "t x y z"]
    row: dict[str, Any]


def make(
    seeds: Sequence[int], given: Mapping[str, float | str] | None = None, *, raster: CineRaster = RASTER
) -> list[HeartPerson]:
    """The persons of these seeds, all with what is ``given`` (:data:`engine.phantom.heart.people.GIVEN`).

    Raises :class:`engine.phantom.heart.people.HeartError` for what cannot be.
    """
    return [_made(draw(seed, given), raster) for seed in seeds]


def _made(heart: Heart, raster: CineRaster) -> HeartPerson:
    scores = heart.scores
    kick = float(np.clip(0.24 + 0.003 * (heart.age - 50) + 0.04 * scores["kick"], 0.08, 0.42))
    beat = Beat(heart_rate=heart.heart_rate, kick=kick)
    ventricles = Ventricles(heart, beat, raster.phases, 0.0)
    ventricles.apex = _apex(ventricles, raster)
    anatomy = Anatomy(heart, ventricles, raster, shifts(heart.seed, raster.grid[2]))
    signals, codes = zip(*anatomy.phases(flow_of(heart, raster)), strict=True)
    labels = np.stack(codes).transpose(0, 2, 3, 1).copy()
    return HeartPerson(scan(heart, raster, np.stack(signals), anatomy.still.depth), labels, _row(heart, labels, raster))


def _apex(ventricles: Ventricles, raster: CineRaster) -> float:
    """Where the apex lies in the stack: the base a slice and a half under its top or more, but the apex within it."""
    half = raster.grid[2] * raster.spacing[2] / 2
    room = 2 * half - ventricles.length
    return -half + max(0.35 * raster.spacing[2], min(0.55 * room, room - 1.6 * raster.spacing[2]))


def shifts(seed: int, slices: int) -> Float[np.ndarray, "z 3"]:
    """How far (mm) the breath holds of each slice shifted it."""
    rng = np.random.default_rng([seed, 29])
    moved = rng.standard_normal((slices, 3)) * (SHIFT, SHIFT, SHIFT_Z)
    astray = rng.random(slices) < ASTRAY
    moved[astray, :2] += ASTRAY_SHIFT * rng.standard_normal((int(astray.sum()), 2))
    return np.clip(moved, -FARTHEST, FARTHEST)


def _row(heart: Heart, labels: UInt8[np.ndarray, "t x y z"], raster: CineRaster) -> dict[str, Any]:
    """The table's row: who the person is, and what is counted on the labels."""
    found = count(labels, raster.affine)
    height, weight = round(heart.height, 1), round(heart.weight, 1)
    return {
        "age": round(heart.age, 1),
        "sex": heart.sex,
        "height": height,
        "weight": weight,
        "bmi": round(weight / (height / 100) ** 2, 2),
        "heart_rate": round(heart.heart_rate),
        "pathology": heart.pathology,
        "lv_edv": round(found.lv_edv, 1),
        "lv_esv": round(found.lv_esv, 1),
        "lv_ef": round(found.lv_ef, 1),
        "lv_mass": round(found.lv_mass, 1),
        "rv_edv": round(found.rv_edv, 1),
        "rv_esv": round(found.rv_esv, 1),
        "wall_thickness": round(found.wall_thickness, 1),
        "seed": heart.seed,
    }
