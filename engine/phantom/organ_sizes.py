"""Sizes and fat of organs beyond the liver: medians by sex, body surface and age, times a lognormal residual.

Sources (V read, M recalled, F fit; in shared facts): SHIP kidneys (V), CT spleen 198 +- 88 mL (V), ICRP 89 heart with
blood and pancreas (V), lumbar marrow, muscle and pancreas fat of MRI studies (V). Lungs as drawn, breathed
out: residual volume 1.9 and 1.5 L (GLI, Hall 2021, M) and .6, .5 L of tissue and blood (ICRP 89 less the vessels, M).
"""

from __future__ import annotations

import numpy as np

from engine.phantom.composition import Values, score
from engine.phantom.regressions import Array, at_least, at_most, body_surface, by_sex, plus

#: residual SD of the logarithm
SPREAD = {
    "spleen": 0.37,
    "kidneys": 0.135,
    "heart": 0.12,
    "pancreas": 0.20,
    "lungs": 0.14,
    "muscle_pdff": 0.30,
    "psoas_pdff": 0.25,
    "pancreas_pdff": 0.50,
    "imat": 0.25,
}
#: of each kidney alone, besides what both share
SIDE_SPREAD = 0.06
#: a residual beyond this many SD is held
HELD = 3.0


def organ_sizes(values: Values, residuals: Values) -> Values:
    """Organ volumes in mL, fat in %, ``imat`` as a fraction, from solved values and residuals."""
    male, age, bmi, height = (values[name] for name in ("male", "age", "bmi", "height"))
    surface = body_surface(height, bmi) / by_sex(male, 2.06, 1.80)  # 1 in the middle of the cohort

    def spread(name: str) -> Array:
        e = score(name, values, residuals)
        return np.exp(SPREAD[name] * at_most(at_least(e, -HELD, 0.1), HELD, 0.1))

    older = plus(age - 50, 3.0)
    kidney = surface**0.8 * (1 - 0.005 * older) * spread("kidneys")
    sides = {
        side: np.exp(SIDE_SPREAD * np.clip(residuals[side], -HELD, HELD)) for side in ("kidney_right", "kidney_left")
    }
    muscle_fat = 10.6 * np.exp(0.025 * (age - 43) + 0.015 * (bmi - 26))
    return {
        "spleen": by_sex(male, 205, 155) * surface * (1 - 0.005 * (age - 48)) * spread("spleen"),
        "kidney_right": by_sex(male, 177, 141) * kidney * sides["kidney_right"],
        "kidney_left": by_sex(male, 183, 147) * kidney * sides["kidney_left"],
        # ICRP's reference adults have 1.90 and 1.66 m^2; 1.06 g/mL, 1.04 for the pancreas
        "heart": by_sex(male, 840 * 2.06 / 1.90, 620 * 1.80 / 1.66) / 1.06 * surface * spread("heart"),
        "pancreas": by_sex(male, 140, 120) / 1.04 * surface * (1 - 0.006 * older) * spread("pancreas"),
        "lungs": _lungs(male, height, bmi) * spread("lungs"),
        "marrow_pdff": _marrow_fat(male, age, score("marrow_pdff", values, residuals)),
        "muscle_pdff": at_most(muscle_fat * by_sex(male, 0.95, 1.05) * spread("muscle_pdff"), 45.0, 2.0),
        "psoas_pdff": at_most(5.15 * np.exp(0.021 * (age - 40) + 0.012 * (bmi - 26)) * spread("psoas_pdff"), 30.0, 2.0),
        "pancreas_pdff": _pancreas_fat(age, bmi) * spread("pancreas_pdff"),
        "imat": _intermuscular(male, age, bmi) * spread("imat"),
    }


def _lungs(male: Array, height: Array, bmi: Array) -> Array:
    """mL of both, breathed out, gas and tissue, without residual: by height, less under a heavy abdomen."""
    tall = np.where(male > 0.5, 2500 * (height / 179.1) ** 2.2, 2000 * (height / 165.7) ** 2.2)
    return tall * np.exp(-0.010 * at_most(at_least(bmi - 26, -6.0, 1.0), 18.0, 2.0))


def _marrow_fat(male: Array, age: Array, e: Array) -> Array:
    """% of lumbar marrow: men .28 a year; women .10, and .75 more between 45 and 65."""
    man = 32.0 + 0.28 * (age - 25)
    woman = 27.2 + 0.10 * (age - 25) + 0.75 * (plus(age - 45, 2.0) - plus(age - 65, 2.0))
    line = np.where(male > 0.5, man, woman) + by_sex(male, 8.0, 6.0) * np.clip(e, -HELD, HELD)
    return at_most(at_least(line, 6.0, 2.0), 80.0, 3.0)


def _pancreas_fat(age: Array, bmi: Array) -> Array:
    """%: 2.7 in a lean young adult, several times that in the old and heavy."""
    return at_most(2.7 * np.exp(0.014 * (age - 30) + 0.05 * (bmi - 23)), 14.0, 2.0)


def _intermuscular(male: Array, age: Array, bmi: Array) -> Array:
    """Fraction of the muscle compartment that is fat between muscles."""
    return at_most(
        at_least(0.02 + 0.0009 * (age - 20) + 0.002 * (bmi - 22) + 0.01 * (1 - male), 0.012, 0.006), 0.16, 0.01
    )
