"""Dimensions of the body surface: the regressions of ANSUR II (6,068 adults; own fit), continued to every adult.

A dimension in mm is b0 + b1 (stature - S0) + b2 (BMI - 26) + b3 (BMI - 26)^2 + b4 (age - 30) + SD e, S0 175.6 cm in men
and 162.9 in women. Beyond the data: straight in BMI under 17 and over 42, no more ageing from about 60 on, e held at
2.2 SD. Heights of bones (:data:`BONY`) leave BMI out, so that a person who gains weight keeps the skeleton.

The waist's section is a superellipse of exponent 2.3 whose girth is the person's waist circumference (NHANES, 5% above
what the soldiers' breadth and depth give); ANSUR gives its depth over its breadth.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from engine.phantom.composition import Values, score
from engine.phantom.regressions import Array, at_least, at_most, by_sex

Line = tuple[float, float, float, float, float, float]
#: (b0, b1, b2, b3, b4, SD) of men, of women
ANSUR: Mapping[str, tuple[Line, Line]] = {
    "chest_breadth": ((285.1, 0.914, 2.850, -0.028, 0.164, 12.8), (271.8, 0.901, 3.339, -0.058, 0.032, 13.0)),
    "chest_depth": ((245.4, 0.848, 5.639, -0.058, 0.332, 11.9), (251.2, 0.794, 6.095, -0.024, 0.320, 14.9)),
    "waist_breadth": ((314.6, 1.260, 7.380, -0.033, 0.213, 15.7), (304.4, 1.191, 7.309, -0.036, 0.287, 18.0)),
    "waist_depth": ((225.1, 0.790, 6.603, 0.072, 0.828, 14.9), (216.3, 0.543, 7.232, 0.066, 0.372, 16.3)),
    "hip_breadth": ((338.0, 1.345, 4.606, -0.003, -0.088, 12.7), (357.5, 1.440, 5.629, -0.054, 0.075, 14.8)),
    "buttock_depth": ((236.5, 0.826, 5.929, -0.036, 0.048, 11.0), (236.0, 0.740, 5.880, 0.003, 0.100, 11.3)),
    "shoulder_breadth": ((499.5, 1.480, 6.932, -0.043, -0.019, 14.7), (454.7, 1.407, 6.645, -0.081, -0.064, 13.9)),
    "neck_girth": ((389.5, 0.734, 5.004, -0.019, 0.270, 14.6), (332.0, 0.766, 3.836, -0.003, 0.197, 12.0)),
    "thigh_girth": ((605.1, 2.170, 14.48, -0.221, -0.977, 20.6), (625.2, 2.338, 14.00, -0.173, -0.218, 22.3)),
    "upper_arm_girth": ((347.5, 0.970, 7.633, -0.115, -0.117, 18.6), (309.9, 0.963, 7.471, -0.028, 0.189, 13.8)),
    "suprasternal_height": ((1436.6, 8.770, 0.993, 0.004, 0.186, 10.7), (1330.9, 8.712, 0.897, -0.018, 0.041, 10.5)),
    "chest_height": ((1290.0, 7.866, -0.168, 0.065, -0.147, 18.0), (1170.6, 7.951, -0.977, 0.040, -0.468, 21.6)),
    "omphalion_height": ((1059.7, 6.916, -1.215, -0.065, -0.310, 20.5), (979.4, 7.131, -1.496, 0.005, -0.276, 19.9)),
    "iliac_crest_height": ((1062.3, 6.904, -0.747, 0.020, 0.306, 21.4), (996.3, 7.078, 0.168, 0.001, 0.077, 20.0)),
    "trochanter_height": ((901.5, 6.096, -1.221, 0.066, 0.333, 25.6), (845.5, 5.966, 0.113, 0.030, 0.098, 22.9)),
    "crotch_height": ((847.5, 5.819, -1.296, 0.024, -0.055, 23.4), (781.7, 5.931, -0.757, 0.027, -0.228, 23.3)),
}
DIMENSIONS = tuple(ANSUR)
BONY = ("suprasternal_height", "iliac_crest_height", "trochanter_height")
STATURE = (175.6, 162.9)
#: SD at which a dimension's residual is held
HELD = 2.2
#: mm that a person in the scanner does not exceed (field of view 480 x 400 mm)
WIDEST, DEEPEST = 468.0, 385.0
#: exponent of the waist's section, and residual SD of log(depth / breadth) with the girth held
EXPONENT, SHAPE_SD = 2.3, 0.055

#: weights of a dimension's e, men then women: ``frame`` bones, ``legs`` their share of the height, ``softness`` fat and
#: muscle tone of the hips, and the person's own residuals of waist, muscle and visceral fat
LOADINGS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "chest_breadth": {"frame": (0.55, 0.55), "muscle": (0.25, 0.15), "waist": (0.15, 0.15)},
    "chest_depth": {"frame": (0.30, 0.30), "adiposity": (0.25, 0.15), "central": (0.20, 0.25)},
    "hip_breadth": {"frame": (0.35, 0.30), "softness": (0.50, 0.55), "waist": (0.20, 0.20), "adiposity": (0.2, 0.2)},
    "buttock_depth": {"softness": (0.50, 0.50), "muscle": (0.25, 0.15), "waist": (0.20, 0.20)},
    "shoulder_breadth": {"frame": (0.55, 0.50), "muscle": (0.35, 0.25)},
    "neck_girth": {"frame": (0.30, 0.30), "muscle": (0.25, 0.15), "visceral": (0.20, 0.20), "central": (0.20, 0.20)},
    "thigh_girth": {"softness": (0.50, 0.55), "muscle": (0.30, 0.20), "central": (-0.20, -0.30)},
    "upper_arm_girth": {"softness": (0.30, 0.35), "muscle": (0.40, 0.25)},
    "suprasternal_height": {"legs": (0.15, 0.15), "frame": (0.15, 0.15)},
    "chest_height": {"legs": (0.25, 0.25), "softness": (-0.15, -0.25)},
    "omphalion_height": {"legs": (0.70, 0.70)},
    "iliac_crest_height": {"legs": (0.75, 0.75), "frame": (0.15, 0.15)},
    "trochanter_height": {"legs": (0.80, 0.80), "frame": (0.15, 0.15)},
    "crotch_height": {"legs": (0.80, 0.80), "softness": (-0.15, -0.15)},
    "waist_shape": {"visceral": (0.40, 0.40), "vat": (0.25, 0.25)},
}


def regression(name: str, male: Array, age: Array, height: Array, bmi: Array) -> tuple[Array, Array]:
    """Mean and residual SD of a dimension, mm, before what a scanner's bore does to it."""
    b0, b1, b2, b3, b4, sd = (by_sex(male, man, woman) for man, woman in zip(*ANSUR[name], strict=True))
    d = np.zeros_like(bmi) if name in BONY else bmi - 26
    inside = np.clip(d, -9, 16)
    fat = b2 * inside + b3 * inside**2 + (b2 + 2 * b3 * inside) * (d - inside)
    years = at_most(age - 30, 32.0, 3.0)
    return b0 + b1 * (height - by_sex(male, *STATURE)) + fat + b4 * years, sd


def held(e: Array) -> Array:
    """A standard normal held softly within 2.2."""
    return at_most(at_least(e, -HELD, 0.12), HELD, 0.12)


def dimensions(values: Values, residuals: Values) -> Values:
    """All of :data:`DIMENSIONS`, mm, from solved values (``waist`` in cm) and residuals."""
    person = values["male"], values["age"], values["height"], values["bmi"]
    found: Values = {}
    for name in DIMENSIONS:
        if name not in ("waist_breadth", "waist_depth"):
            mean, sd = regression(name, *person)
            found[name] = mean + sd * held(score(name, values, residuals, LOADINGS))
    for name, limit in (("hip_breadth", WIDEST), ("buttock_depth", DEEPEST), ("chest_depth", DEEPEST)):
        found[name] = at_most(found[name], limit, 8.0)
    shape = np.exp(SHAPE_SD * held(score("waist_shape", values, residuals, LOADINGS)))
    ratio = shape * regression("waist_depth", *person)[0] / regression("waist_breadth", *person)[0]
    found["waist_breadth"], found["waist_depth"] = _waist_section(10 * values["waist"], ratio)
    return {name: found[name] for name in DIMENSIONS}


def _waist_section(girth: Array, ratio: Array) -> tuple[Array, Array]:
    """Breadth and depth, mm, of the given girth and depth / breadth, as far as they fit the scanner."""
    breadth = girth / _girth_per_breadth(ratio)
    depth = at_most(ratio * breadth, DEEPEST, 8.0)
    for _ in range(6):  # where the depth is held, the breadth takes the girth
        breadth = (breadth + girth / _girth_per_breadth(depth / breadth)) / 2
    return at_most(breadth, WIDEST, 8.0), depth


@cache
def _girths() -> tuple[np.ndarray, np.ndarray]:
    """Girth over breadth of the superellipse at depths of .3 to 1.6 of the breadth."""
    angle = np.linspace(0, np.pi / 2, 4001)
    x, y = (np.abs(f(angle)) ** (2 / EXPONENT) / 2 for f in (np.cos, np.sin))
    ratios = np.linspace(0.3, 1.6, 261)
    return ratios, np.array([4 * np.hypot(np.diff(x), r * np.diff(y)).sum() for r in ratios])


def _girth_per_breadth(ratio: Array) -> Array:
    return np.interp(ratio, _girths()[0], _girths()[1])


def waist_girth(breadth: Array, depth: Array) -> Array:
    """Girth of a waist's section, in the unit of its breadth and depth."""
    return breadth * _girth_per_breadth(depth / breadth)
