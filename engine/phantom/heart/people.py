"""Who a person is, and what sizes and shape the heart has: drawn from a seed, the same seed the same person again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engine.phantom.heart import reference as law
from engine.vocabulary.refusal import Refusal


class HeartError(Refusal):
    """A heart, or labels of one, that cannot be; the message names the value and the remedy."""


#: standard scores of a person, in the order in which they are drawn: append only
SCORES = (
    *("age", "height", "bmi", "heart_rate", "edv", "mass", "ef", "rv_ef", "stroke"),
    *(
        "length",
        "septum",
        "thickest",
        "extent",
        "place",
        "turn",
        "aside",
        "above",
        "tilt",
        "tilt_to",
        "lean_x",
        "lean_y",
    ),
    *("fat", "chest", "liver", "papillary", "trabeculae", "oval", "oval_to", "right_shape", "kick", "turn_rv"),
)
#: share of the score of mass that is that of the volume
MASS_WITH_VOLUME = 0.55
#: where an infarct lies: angle (radians), height over the apex (0-1), half widths of both; the artery's share
_ARTERIES = (
    (0.45, (0.7, 0.30, 1.05, 0.34)),
    (0.35, (-1.55, 0.62, 0.75, 0.40)),
    (0.20, (-2.80, 0.60, 0.75, 0.38)),
)


@dataclass(frozen=True, kw_only=True)
class Infarct:
    """A thin, still part of the wall: its middle (``angle`` in radians, ``height`` from apex 0 to base 1) and half widths."""

    angle: float
    height: float
    wide: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Heart:
    """A person with the heart that is asked for.

    ``height`` is in cm, ``weight`` in kg, ``heart_rate`` in beats a minute, volumes in mL, ``mass`` in g, fractions in %.
    ``scores`` are standard scores of the shape. The table counts volumes and mass on the labels, a little off these.
    """

    seed: int
    age: float
    sex: str
    height: float
    weight: float
    heart_rate: float
    pathology: str
    edv: float
    ef: float
    mass: float
    rv_edv: float
    rv_ef: float
    infarct: Infarct | None
    #: how much thicker the thickest part of a hypertrophic wall is than the rest, where that is, and how wide (radians)
    bulge: float
    bulge_at: float
    bulge_wide: float
    scores: Mapping[str, float]

    @property
    def bmi(self) -> float:
        """Body mass index in kg/m2."""
        return self.weight / (self.height / 100) ** 2

    @property
    def stroke(self) -> float:
        """Stroke volume of the left ventricle in mL."""
        return self.edv * self.ef / 100


#: what may be asked of a person
GIVEN = ("age", "sex", "height", "weight", "heart_rate", "pathology", "edv", "ef", "mass")
_POSSIBLE = {
    "age": law.AGES,
    "height": (140.0, 210.0),
    "weight": (35.0, 180.0),
    "heart_rate": (35.0, 130.0),
    "edv": (50.0, 400.0),
    "ef": (8.0, 82.0),
    "mass": (35.0, 320.0),
}


def draw(seed: int, given: Mapping[str, float | str] | None = None) -> Heart:
    """The person of this seed; what is ``given`` (names of :data:`GIVEN`) is so, and every other score stays as it was.

    Raises :class:`HeartError` for a name, level or value that cannot be.
    """
    asked = dict(given or {})
    _refuse(asked)
    rng = np.random.default_rng([seed, 23])
    chance = rng.random(4)
    drawn = np.clip(rng.standard_normal(len(SCORES)), -law.FARTHEST, law.FARTHEST)
    scores = {name: float(z) for name, z in zip(SCORES, drawn, strict=True)}

    sex = str(asked.get("sex", "M" if chance[0] < 0.5 else "F"))
    pathology = str(asked.get("pathology", _level(law.SHARES, chance[1])))
    age = _number(asked, "age", law.AGE[pathology].at(law.MIDDLE_AGE, scores["age"]))
    height = _number(asked, "height", law.HEIGHT[sex].at(age, scores["height"]))
    bmi = law.BMI[sex].at(age, scores["bmi"]) + 0.35 * max(0.0, scores["bmi"]) ** 2
    weight = _number(asked, "weight", max(bmi, 17.0) * (height / 100) ** 2)
    heart_rate = _number(asked, "heart_rate", law.HEART_RATE[pathology].at(age, scores["heart_rate"]))

    sizes, surface = law.HEALTHY[sex], law.body_surface(height, weight)
    wide, heavy, ef = law.DISEASED.get(pathology, (1.0, 1.0, sizes.ef))
    with_volume = MASS_WITH_VOLUME * scores["edv"] + math.sqrt(1 - MASS_WITH_VOLUME**2) * scores["mass"]
    edv = _number(asked, "edv", wide * surface * sizes.edv.at(age, scores["edv"]))
    mass = _number(asked, "mass", surface * _mass(pathology, sizes.mass, heavy, age, with_volume))
    fraction = _number(asked, "ef", float(np.clip(ef.at(age, scores["ef"]), *law.EF_LIMITS[pathology])))

    # a weak left ventricle leaves a weaker right one; without a shunt both pump the same
    rv_ef = sizes.rv_ef.at(age, float(np.clip(scores["rv_ef"], -1.6, 1.8))) - 0.35 * max(
        0.0, sizes.ef.mean - sizes.ef.sd - fraction
    )
    rv_stroke = edv * fraction / 100 * (1 + 0.03 * scores["stroke"])
    rv_edv = max(rv_stroke / rv_ef * 100, 0.5 * edv if pathology != "healthy" else 0.0)
    return Heart(
        seed=seed,
        age=age,
        sex=sex,
        height=height,
        weight=weight,
        heart_rate=heart_rate,
        pathology=pathology,
        edv=edv,
        ef=fraction,
        mass=mass,
        rv_edv=rv_edv,
        rv_ef=rv_stroke / rv_edv * 100,
        infarct=_infarct(scores, chance[2]) if pathology == "infarcted" else None,
        bulge=_bulge(pathology, scores, chance[3]),
        bulge_at=0.25 + 0.25 * scores["place"],
        bulge_wide=0.95 + 0.15 * scores["extent"],
        scores=scores,
    )


def _mass(pathology: str, healthy: law.Normal, heavy: float, age: float, score: float) -> float:
    """Mass of the left ventricle by body surface, g/m2."""
    wide = healthy.sd * (1.0 if pathology == "healthy" else law.WIDER)
    drawn = heavy * healthy.at(age, 0.0) + wide * score
    return max(drawn, law.LEAST_HYPERTROPHIC) if pathology == "hypertrophic" else drawn


def _bulge(pathology: str, scores: Mapping[str, float], chance: float) -> float:
    """Hypertrophy is of the septum in two of three hearts, and even in the others."""
    if pathology != "hypertrophic":
        return 0.08 + 0.04 * scores["thickest"]
    return max(0.2, 0.75 + 0.25 * scores["thickest"]) if chance < 0.67 else 0.12


def _infarct(scores: Mapping[str, float], chance: float) -> Infarct:
    artery = _level({str(i): share for i, (share, _) in enumerate(_ARTERIES)}, chance)
    angle, height, wide, high = _ARTERIES[int(artery)][1]
    size = 1 + 0.12 * scores["extent"]
    return Infarct(angle=angle + 0.12 * scores["place"], height=height, wide=wide * size, high=high * size)


def _level(shares: Mapping[str, float], chance: float) -> str:
    """The level at this place of the cumulated shares."""
    ends = np.cumsum(list(shares.values()))
    return list(shares)[min(int(np.searchsorted(ends, chance * ends[-1], side="right")), len(ends) - 1)]


def _number(asked: Mapping[str, float | str], name: str, drawn: float) -> float:
    """What is asked of this name, else what was drawn, within what can be."""
    return float(asked[name]) if name in asked else float(np.clip(drawn, *_POSSIBLE[name]))


def _refuse(asked: Mapping[str, float | str]) -> None:
    unknown = set(asked) - set(GIVEN)
    if unknown:
        raise HeartError(f"a heart has no {', '.join(sorted(unknown))}; give some of {', '.join(GIVEN)}")
    levels = {"sex": tuple(law.HEALTHY), "pathology": law.PATHOLOGIES}
    for name, value in asked.items():
        if name in levels:
            if value not in levels[name]:
                raise HeartError(f"{name} is {value}; give one of {', '.join(levels[name])}")
            continue
        low, high = _POSSIBLE[name]
        if isinstance(value, str) or not low <= value <= high:
            raise HeartError(f"{name} is {value}; give a number from {low:g} to {high:g}")
