"""What the table counts on a body, as the population has it: laws of the counted quantities, and how they are met.

The table counts the field of view: litres of subcutaneous fat with arms and thighs, litres of muscle, the girth that
a tape reads. The structural model has litres of the trunk, kilograms of the whole body and the waist of a survey
instead. The laws here are regressions of the one on the other over 130 persons of the cohort (own fit). They only say
which persons a counted value belongs to; :mod:`engine.phantom.given.fitting` then meets the value on the body.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engine.phantom import regressions as law
from engine.phantom.composition import MECHANISMS, SAT_FLOOR, Mechanism, Values
from engine.phantom.regressions import Array

#: how near a given value is met by what is counted: L, L, L, mL, cm
TOLERANCE: Mapping[str, float] = {"sat": 0.1, "vat": 0.05, "muscle": 0.1, "liver_volume": 10.0, "waist": 0.5}
#: the model's quantity behind each of the table's
BEHIND: Mapping[str, str] = {
    "sat": "trunk_sat", "vat": "vat", "muscle": "muscle", "liver_volume": "liver", "waist": "waist"
}  # fmt: skip
COUNTED = tuple(BEHIND)


@dataclass(frozen=True, kw_only=True)
class Line:
    """counted = start + slope x the model's quantity, men and women; less than ``least`` of it is not believed."""

    start: tuple[float, float]
    slope: tuple[float, float]
    least: float


#: residual SD: .8 and 1.4 L, .05 and .13 L, 21 mL, 3.5 and 2.8 cm
LINES: Mapping[str, Line] = {
    "trunk_sat": Line(start=(2.33, 2.57), slope=(1.140, 1.400), least=1.02 * SAT_FLOOR),
    "vat": Line(start=(0.0, 0.02), slope=(1.0, 0.98), least=0.05),
    "liver": Line(start=(-0.4, 15.7), slope=(0.979, 0.961), least=100.0),
    "waist": Line(start=(2.8, -5.5), slope=(0.971, 1.065), least=30.0),
}


def _on_line(name: str) -> Mechanism:
    """The counted value of a quantity on its line, at the quantity's own score."""
    inner = {mechanism.name: mechanism for mechanism in MECHANISMS}[name]
    line = LINES[name]

    def value(v: Values, e: Array) -> Array:
        return law.by_sex(v["male"], *line.start) + law.by_sex(v["male"], *line.slope) * inner.value(v, e)

    def score(v: Values, x: Array) -> Array:
        quantity = (x - law.by_sex(v["male"], *line.start)) / law.by_sex(v["male"], *line.slope)
        return inner.score(v, law.at_least(quantity, line.least, 0.2 * line.least))

    return Mechanism(name, value, score)


def _muscle_in_view() -> Mechanism:
    """Lognormal about a body's size: kilograms of the whole body tell but half of the litres in view."""

    def line(v: Values) -> tuple[Array, Array]:
        d = law.at_most(v["bmi"] - 26, 14.0, 2.0)
        tall, older = v["height"] - 172, v["age"] - 48
        man = 2.924 + 0.0288 * d - 0.0002 * tall - 0.0017 * older
        woman = 2.693 + 0.0163 * d + 0.0028 * tall + 0.0021 * older
        return np.where(v["male"] > 0.5, man, woman), law.by_sex(v["male"], 0.10, 0.13)

    def value(v: Values, e: Array) -> Array:
        mean, sd = line(v)
        return np.exp(mean + sd * e)

    def score(v: Values, x: Array) -> Array:
        mean, sd = line(v)
        return (np.log(np.maximum(x, 1e-9)) - mean) / sd

    return Mechanism("muscle", value, score)


#: by the model's names: what is counted, as a function of the same parents and the same standard score
COUNTED_LAWS: Mapping[str, Mechanism] = {name: _on_line(name) for name in LINES} | {"muscle": _muscle_in_view()}
