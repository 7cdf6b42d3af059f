"""In-silico torsos: two-point Dixon images, exact labels, and a row of the table counted and measured on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from engine.phantom.anthropometry import People
from engine.phantom.body import Body, build
from engine.phantom.dixon import scan
from engine.phantom.girth import girth, waist_level
from engine.phantom.given.fitting import fit
from engine.phantom.process import one_thread
from engine.phantom.shape.frame import RASTER, Raster
from engine.phantom.tissue import codes
from engine.vocabulary.catalogue import CATALOGUE

#: version of the phantom: another one makes other persons of the same seeds
PHANTOM = 2
#: the columns of the table beside age, sex, height, weight and bmi
COUNTED = ("ethnicity", "waist", "body_fat", "sat", "vat", "muscle", "liver_volume", "liver_pdff", "smoking")
#: what participants.json says of the columns that every BIDS export does not know already
COLUMNS: dict[str, dict[str, Any]] = {
    **{name: CATALOGUE[name].bids() for name in COUNTED},
    "quality": {"Description": "good, or fat_water_swap: water and fat exchanged in a region"},
    "seed": {"Description": "seed of the person; the same seed makes the same person again"},
}


@dataclass(frozen=True, eq=False)
class PhantomPerson:
    """One person's images (uint8, 2 x y z; 255 = intensity 1), label map (uint8, x y z) and row of the table."""

    images: UInt8[np.ndarray, "2 x y z"]
    labels: UInt8[np.ndarray, "x y z"]
    row: dict[str, Any]


def make(
    seeds: Sequence[int], given: Any = None, device: str = "cpu", *, raster: Raster = RASTER
) -> list[PhantomPerson]:
    """Persons of these seeds whose table shows what is ``given``: any of its columns, for all or one mapping for each.

    What is counted on the label map comes out to :data:`engine.phantom.given.counted.TOLERANCE` and costs some more bodies
    (:func:`engine.phantom.given.fitting.fit`); the rest comes out as it is given, rounded as the table is (weight to .1 kg).
    On the CPU one after another on one thread, so that a person never depends on the company; on a GPU all at once.
    Raises :class:`PhantomError` for what cannot be.
    """

    def count(people: People) -> dict[str, float]:
        body = build(people.to(device), raster=raster)
        return counts(body, 0, body.label[0].cpu().numpy())

    if device != "cpu":
        return _draw(fit(seeds, given, count).to(device), raster)
    with one_thread():
        people = fit(seeds, given, count)
        return [person for i in range(len(people)) for person in _draw(people[[i]], raster)]


def _draw(people: People, raster: Raster) -> list[PhantomPerson]:
    body = build(people, raster=raster)
    taken = scan(body)
    images, labels = taken.images.cpu().numpy(), body.label.cpu().numpy()
    drawn = []
    for i in range(len(people)):
        drawn.append(PhantomPerson(images[i], labels[i], _row(people, i, body, labels[i], taken.swapped[i])))
    return drawn


def counts(body: Body, i: int, labels: UInt8[np.ndarray, "x y z"]) -> dict[str, float]:
    """What is counted on the label map of person ``i`` (L; the liver in mL) and measured by the tape (cm)."""

    voxels = np.bincount(labels.reshape(-1), minlength=256)

    def litres(group: str) -> float:
        return int(voxels[list(codes(group))].sum()) * body.frame.voxel_ml / 1000

    pelvis = np.zeros(256, bool)
    pelvis[list(codes("pelvis"))] = True
    level = waist_level(pelvis.take(labels))
    tape = (
        float("nan")
        if level is None
        else girth(body.trunk[i, :, :, level].cpu().double().numpy(), body.frame.spacing[:2])
    )
    return {
        "sat": litres("subcutaneous_fat"),
        "vat": litres("visceral_fat"),
        "muscle": litres("muscle"),
        "liver_volume": litres("liver") * 1000,
        "waist": tape / 10,
    }


def _row(people: People, i: int, body: Body, labels: np.ndarray, swapped: bool) -> dict[str, Any]:
    """The table's row: who the person is, and what is counted or measured on the label map."""
    found = counts(body, i, labels)
    row: dict[str, Any] = {
        "age": round(float(people.age[i]), 1),
        "sex": people.sex[i],
        "ethnicity": people.ethnicity[i],
        "height": round(float(people.height[i]), 1),
        "bmi": round(float(people.bmi[i]), 2),
    }
    row |= {
        "weight": round(row["bmi"] * (row["height"] / 100) ** 2, 1),
        "waist": None if np.isnan(found["waist"]) else round(found["waist"], 1),
        "body_fat": round(float(people.body_fat[i]), 1),
        "sat": round(found["sat"], 3),
        "vat": round(found["vat"], 3),
        "muscle": round(found["muscle"], 3),
        "liver_volume": round(round(found["liver_volume"] / 1000, 3) * 1000),
        "liver_pdff": round(float(people.liver_pdff[i]), 2),
        "smoking": people.smoking[i],
        "quality": "fat_water_swap" if swapped else "good",
        "seed": people.seeds[i],
    }
    return row
