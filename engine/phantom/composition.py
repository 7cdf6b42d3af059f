"""The structural model of a person: independent standard normals in, size and composition out.

Every quantity is ``value = f(its parents, e)`` with a standard normal e, a weighted sum of shared factors and a residual
of its own (:data:`LOADINGS`); f is monotone in e and each :class:`Mechanism` carries its inverse. So a quantity can be
given: :func:`engine.phantom.given.conditioning.solve` then solves for its own residual.

Arrays are float64 of shape (n,), elementwise: a person's values do not depend on who else is in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from engine.phantom import regressions as law
from engine.phantom.regressions import Array

Values = dict[str, Array]

#: exogenous residuals; a name's place is its place in the seed's draw, so append only
RESIDUALS = (
    *("sex", "ethnicity", "smoking", "age", "height", "bmi"),
    *("adiposity", "central", "visceral", "frame", "legs", "softness", "organs"),
    *("body_fat", "trunk_sat", "waist", "vat", "muscle", "liver_pdff", "liver", "spleen", "kidneys", "kidney_right"),
    *("kidney_left", "heart", "pancreas", "lungs", "marrow_pdff", "muscle_pdff", "psoas_pdff", "pancreas_pdff", "imat"),
    *("waist_shape", "chest_breadth", "chest_depth", "hip_breadth", "buttock_depth", "shoulder_breadth", "neck_girth"),
    *("thigh_girth", "upper_arm_girth", "suprasternal_height", "chest_height", "omphalion_height"),
    *("iliac_crest_height", "trochanter_height", "crotch_height"),
)

#: of each quantity on the factors, men then women; body fat, trunk fat, waist, lean mass: as
#: residuals correlate in NHANES (F: waist with trunk fat .6)
LOADINGS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "body_fat": {"adiposity": (0.95, 0.80)},
    "vat": {"adiposity": (0.10, 0.10), "central": (0.45, 0.45), "visceral": (0.50, 0.50)},
    "trunk_sat": {"adiposity": (0.80, 0.62), "central": (0.45, 0.72)},
    "waist": {"adiposity": (0.50, 0.05), "central": (0.42, 0.75)},
    "muscle": {"adiposity": (-0.75, -0.75), "body_fat": (-0.10, -0.30), "frame": (0.30, 0.30)},
    "liver_pdff": {"central": (0.15, 0.15), "visceral": (0.40, 0.40)},
    "liver": {"organs": (0.30, 0.30), "frame": (0.20, 0.20)},
    "spleen": {"organs": (0.40, 0.40)},
    "kidneys": {"organs": (0.40, 0.40)},
    "heart": {"organs": (0.20, 0.20), "frame": (0.20, 0.20)},
    "muscle_pdff": {"adiposity": (0.30, 0.30)},
    "psoas_pdff": {"adiposity": (0.30, 0.30), "muscle_pdff": (0.40, 0.40)},
    "pancreas_pdff": {"visceral": (0.40, 0.40)},
    "imat": {"adiposity": (0.30, 0.30), "muscle_pdff": (0.50, 0.50)},
    "marrow_pdff": {"visceral": (0.10, 0.10)},
}


def score(name: str, values: Values, residuals: Values, loadings: Mapping = LOADINGS) -> Array:
    """The standard normal e of a quantity: its factors and its own residual."""
    shared, left = factors(name, values["male"], residuals, loadings)
    return shared + left * residuals[name]


def factors(name: str, male: Array, residuals: Values, loadings: Mapping) -> tuple[Array, Array]:
    """What the factors give to e, and the weight that is left to the quantity's own residual."""
    shared, square = np.zeros_like(male), np.zeros_like(male)
    for factor, (man, woman) in loadings.get(name, {}).items():
        weight = law.by_sex(male, man, woman)
        shared, square = shared + weight * residuals[factor], square + weight**2
    return shared, np.sqrt(1 - square)


@dataclass(frozen=True)
class Mechanism:
    """A quantity: ``value(parents, e)``, and ``score(parents, value)``, its inverse in e."""

    name: str
    value: Callable[[Values, Array], Array]
    score: Callable[[Values, Array], Array]


def _linear(name: str, mean_sd: Callable[[Values], tuple[Array, Array]]) -> Mechanism:
    def value(v: Values, e: Array) -> Array:
        mean, sd = mean_sd(v)
        return mean + sd * e

    def inverse(v: Values, x: Array) -> Array:
        mean, sd = mean_sd(v)
        return (x - mean) / sd

    return Mechanism(name, value, inverse)


def _lognormal(name: str, mean: Callable[[Values], Array], sd: float) -> Mechanism:
    """``mean`` times a lognormal of mean 1."""
    return Mechanism(
        name,
        lambda v, e: mean(v) * np.exp(sd * e - sd**2 / 2),
        lambda v, x: (np.log(np.maximum(x, 1e-9) / mean(v)) + sd**2 / 2) / sd,
    )


def _bmi_mechanism() -> Mechanism:
    def score_law(v: Values) -> tuple[Array, Array]:
        return law.bmi_law(v["male"], v["age"], v["ethnicity"], v["height"])

    def value(v: Values, e: Array) -> Array:
        mean, sd = score_law(v)
        return law.bmi_of_score(v["male"], mean + sd * e)

    def inverse(v: Values, x: Array) -> Array:
        mean, sd = score_law(v)
        return (law.score_of_bmi(v["male"], x) - mean) / sd

    return Mechanism("bmi", value, inverse)


def _capped(inner: Mechanism, limit: float, width: float) -> Mechanism:
    """The quantity held softly under ``limit``."""
    return Mechanism(
        inner.name,
        lambda v, e: law.at_most(inner.value(v, e), limit, width),
        lambda v, x: inner.score(v, limit - law.plus_inverse(limit - x, width)),
    )


#: floor of body fat (%), men and women; rounding in points; litres of trunk subcutaneous fat that nobody is under
FAT_FLOOR, FAT_ROUNDING = (6.0, 12.0), 1.5
SAT_FLOOR, SAT_ROUNDING = 0.8, 0.4
#: share of the trunk's adipose tissue that is neither subcutaneous nor visceral (F), kg of fat in a litre of it (M)
OTHER_TRUNK_FAT, FAT_PER_LITRE = 0.07, 0.80


def _body_fat_mechanism() -> Mechanism:
    def line(v: Values) -> tuple[Array, Array]:
        return law.body_fat_law(v["male"], v["age"], v["bmi"], v["ethnicity"])

    def value(v: Values, e: Array) -> Array:
        mean, sd = line(v)
        return law.at_least(mean + sd * e, law.by_sex(v["male"], *FAT_FLOOR), FAT_ROUNDING)

    def inverse(v: Values, x: Array) -> Array:
        (mean, sd), floor = line(v), law.by_sex(v["male"], *FAT_FLOOR)
        return (floor + law.plus_inverse(x - floor, FAT_ROUNDING) - mean) / sd

    return Mechanism("body_fat", value, inverse)


def _trunk_line(v: Values) -> tuple[Array, Array]:
    return law.trunk_fat_law(v["male"], v["age"], v["height"], v["bmi"], v["ethnicity"])


def trunk_fat(v: Values, e: Array) -> Array:
    """Trunk fat, kg as DXA counts it, of its standard normal score."""
    mean, sd = _trunk_line(v)
    return law.trunk_fat_of(v["male"], mean + sd * e)


def _trunk_sat_mechanism() -> Mechanism:
    """Subcutaneous = trunk adipose tissue - visceral - other, with a rounded floor; its score is that of trunk fat."""
    share = (1 - OTHER_TRUNK_FAT) / FAT_PER_LITRE

    def value(v: Values, e: Array) -> Array:
        return law.at_least(trunk_fat(v, e) * share - v["vat"], SAT_FLOOR, SAT_ROUNDING)

    def inverse(v: Values, x: Array) -> Array:
        fat = (SAT_FLOOR + law.plus_inverse(x - SAT_FLOOR, SAT_ROUNDING) + v["vat"]) / share
        mean, sd = _trunk_line(v)
        return (law.trunk_fat_line(v["male"], fat) - mean) / sd

    return Mechanism("trunk_sat", value, inverse)


def _liver_median(v: Values) -> Array:
    return law.liver_fat_median(v["age"], v["bmi"], v["ethnicity"])


#: residual SD of the logarithm
VAT_SD, LIVER_SD, MUSCLE_SD = 0.28, 0.14, 0.095

#: in causal order
MECHANISMS: tuple[Mechanism, ...] = (
    Mechanism("age", lambda v, e: law.age_of_score(v["male"], e), lambda v, x: law.score_of_age(v["male"], x)),
    _linear("height", lambda v: law.height_law(v["male"], v["age"], v["ethnicity"])),
    _bmi_mechanism(),
    _capped(_body_fat_mechanism(), 58.0, 2.0),
    _capped(
        _lognormal("vat", lambda v: law.visceral_fat_mean(v["male"], v["age"], v["bmi"], v["ethnicity"]), VAT_SD),
        15.0,
        1.0,
    ),
    _trunk_sat_mechanism(),
    _linear("waist", lambda v: law.waist_law(v["male"], v["age"], v["height"], v["bmi"], v["ethnicity"])),
    _lognormal(
        "muscle", lambda v: law.muscle_mean(v["male"], v["age"], v["height"], v["bmi"], v["ethnicity"]), MUSCLE_SD
    ),
    Mechanism(
        "liver_pdff",
        lambda v, e: law.liver_fat_of(_liver_median(v), e),
        lambda v, x: law.liver_fat_score(_liver_median(v), x),
    ),
    _lognormal("liver", lambda v: law.liver_mean(v["height"], v["bmi"], v["age"], v["liver_pdff"]), LIVER_SD),
)
