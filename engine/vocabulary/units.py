"""Units as tables and data dictionaries write them: which of them a well-known column may be counted in, and by what factor.

Only what can be meant by one thing is here; every other unit is refused, because a number in an unknown unit is no number.
"""

from __future__ import annotations

from engine.vocabulary.catalogue import CATALOGUE
from engine.vocabulary.refusal import Refusal


class UnitError(Refusal):
    """A unit that a column cannot be counted in; the message names it and those that it can."""


_DAYS = 365.25
#: by a column's own unit: each other unit's size in it, and how it is written (lower case; UCUM's among them)
_SAME: dict[str, tuple[tuple[float, str], ...]] = {
    "years": (
        (1.0, "years year y yr yrs a jahre jahr j anni années ans años"),
        (1 / 12, "months month mo mon mths monate monat"),
        (7 / _DAYS, "weeks week wk wks w wochen woche"),
        (1 / _DAYS, "days day d tage tag"),
    ),
    "cm": (
        (1.0, "cm centimeter centimeters centimetre centimetres zentimeter"),
        (100.0, "m meter meters metre metres"),
        (0.1, "mm millimeter millimeters millimetre millimetres"),
        (2.54, 'in inch inches " [in_i] zoll'),
        (30.48, "ft foot feet [ft_i]"),
    ),
    "kg": (
        (1.0, "kg kgs kilogram kilograms kilogramm kilo kilos"),
        (0.001, "g gram grams gramm"),
        (0.45359237, "lb lbs pound pounds [lb_av]"),
        (6.35029318, "st stone stones [stone_av]"),
    ),
    "kg/m²": ((1.0, "kg/m² kg/m^2 kg/m2 kg/m**2 kg/(m^2) kg·m⁻² kg.m-2 kgm-2 kgm2 kgm²"),),
    "%": ((1.0, "% percent per-cent prozent"), (100.0, "fraction")),
    "L": (
        (1.0, "l liter liters litre litres dm3 dm^3 dm³"),
        (0.001, "ml milliliter milliliters millilitre millilitres cm3 cm^3 cm³ cc"),
    ),
    "mm": ((1.0, "mm millimeter millimeters millimetre millimetres"), (10.0, "cm centimeter centimeters centimetre")),
    "g": ((1.0, "g gram grams gramm"), (1000.0, "kg kilogram kilograms kilogramm")),
    "1/min": (
        (1.0, "1/min /min bpm min-1 min^-1 min⁻¹ beats/min beats/minute beatsperminute perminute"),
        (60.0, "hz 1/s /s"),
    ),
    "mL": (
        (1.0, "ml milliliter milliliters millilitre millilitres cm3 cm^3 cm³ cc"),
        (1000.0, "l liter liters litre litres dm3 dm^3 dm³"),
    ),
}
_FACTORS = {unit: {word: size for size, words in by for word in words.split()} for unit, by in _SAME.items()}
#: what says that there is no unit
NONE = ("", "n/a", "na", "none", "-", "1", "arbitrary")


#: how units are written, where a file writes them otherwise
WRITTEN = {"kg/m2": "kg/m²", "kg/m^2": "kg/m²", "year": "years", "y": "years", "ml": "mL", "l": "L"}


def written_unit(unit: str) -> str:
    """A unit in the one way in which it is written for readers.

    >>> written_unit("ml"), written_unit("cm")
    ('mL', 'cm')
    """
    return WRITTEN.get(unit, unit)


def factor(name: str, unit: str) -> float:
    """What a number of the well-known column ``name``, counted in ``unit``, is multiplied by to be in the column's own.

    Raises :class:`UnitError` for a unit that the column cannot be counted in.

    >>> factor("weight", "lb"), factor("height", "m"), factor("age", "Years"), factor("sex", "")
    (0.45359237, 100.0, 1.0, 1.0)
    """
    own = CATALOGUE[name].unit
    word = "".join(unit.casefold().split())
    if word in NONE or word == own.casefold() or own not in _FACTORS:
        return 1.0
    found = _FACTORS[own].get(word)
    if found is None:
        raise UnitError(f"{name} is counted in {unit!r}; give it in {own}, or as one of {', '.join(_usual(own))}")
    return found


def known(name: str, unit: str) -> bool:
    """Whether ``unit`` is written as one of those that the well-known column ``name`` may be counted in."""
    return unit.casefold() in _FACTORS.get(CATALOGUE[name].unit, {})


def _usual(own: str) -> list[str]:
    return [words.split()[0] for _, words in _SAME[own]][1:] or [own]


def sizes(name: str) -> dict[str, float]:
    """The units that the well-known column ``name`` may be counted in, each with its size in the column's own.

    >>> sizes("weight")["lb"], list(sizes("height"))
    (0.45359237, ['cm', 'm', 'mm', 'in', 'ft'])
    """
    own = CATALOGUE[name].unit
    return {own if size == 1 else words.split()[0]: size for size, words in _SAME.get(own, ())}
