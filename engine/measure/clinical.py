"""What medicine knows of a value: its reference limit with its source, how many digits of it are known, what a change is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from engine.measure.ruler import Measured, Stated, stated_error
from engine.phantom.heart.reference import ABSOLUTE

#: a sex of the schema, or everybody
EVERYBODY = "all"
MOST_DIGITS = 2
#: SDs about the mean between which the middle 95 % of the healthy lie
MIDDLE = 1.96
HEALTHY_HEARTS = "Petersen et al., J Cardiovasc Magn Reson 2017;19:18 (healthy, 45 to 74 years; mean and 1.96 SD)"


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A reference limit of a measure or column in its ``unit``: by sex (or :data:`EVERYBODY`) the value from which on, upwards or
    downwards, it is called what ``words`` say; ``source`` is where that stands."""

    unit: str
    values: Mapping[str, float]
    side: Literal["above", "below"]
    words: str
    source: str

    def of(self, sex: str | None) -> float | None:
        """The limit for a person; None where it depends on a sex that is not known."""
        return self.values.get(EVERYBODY, self.values.get(sex or ""))

    def crossed(self, value: float, sex: str | None) -> bool:
        """Does the value lie beyond the limit?"""
        limit = self.of(sex)
        if limit is None or not math.isfinite(value):
            return False
        return value > limit if self.side == "above" else value < limit


def _healthy(name: str, unit: str, side: Literal["above", "below"], words: str) -> Limit:
    """The edge of the middle 95 % of healthy men and women: mean and 1.96 SD of :mod:`engine.phantom.heart.reference`."""
    sign = 1 if side == "above" else -1
    values = {sex: float(round(sizes[name][0] + sign * MIDDLE * sizes[name][1])) for sex, sizes in ABSOLUTE.items()}
    return Limit(unit=unit, values=values, side=side, words=words, source=HEALTHY_HEARTS)


#: by the name of a measure or a column
LIMITS = {
    "liver_pdff": Limit(
        unit="%",
        values={EVERYBODY: 5.0},
        side="above",
        words="fatty liver",
        source="EASL-EASD-EASO guideline on metabolic steatotic liver disease, J Hepatol 2024;81:492 (PDFF of 5 % or more)",
    ),
    "waist": Limit(
        unit="cm",
        values={"M": 102.0, "F": 88.0},
        side="above",
        words="substantially raised cardiometabolic risk",
        source="WHO expert consultation on waist circumference, Geneva 2008; NCEP ATP III, JAMA 2001;285:2486",
    ),
    "vat_area": Limit(
        unit="cm²",
        values={EVERYBODY: 100.0},
        side="above",
        words="visceral obesity",
        source="Examination Committee of Criteria for Obesity Disease in Japan, Circ J 2002;66:987 (area at the navel)",
    ),
    "bmi": Limit(
        unit="kg/m²",
        values={EVERYBODY: 30.0},
        side="above",
        words="obesity",
        source="WHO Technical Report Series 894, Geneva 2000",
    ),
    "lv_ef": _healthy("lv_ef", "%", "below", "reduced left ventricular ejection fraction"),
    "lv_edv": _healthy("lv_edv", "mL", "above", "dilated left ventricle"),
    "lv_esv": _healthy("lv_esv", "mL", "above", "enlarged left ventricle at end-systole"),
    "lv_mass": _healthy("lv_mass", "g", "above", "left ventricular hypertrophy"),
    "rv_edv": _healthy("rv_edv", "mL", "above", "dilated right ventricle"),
    "wall_thickness": Limit(
        unit="mm",
        values={EVERYBODY: 15.0},
        side="above",
        words="as thick as in hypertrophic cardiomyopathy",
        source="Elliott et al., ESC guidelines on hypertrophic cardiomyopathy, Eur Heart J 2014;35:2733 (15 mm in any segment)",
    ),
    "ejection_fraction": Limit(
        unit="%",
        values={"M": 52.0, "F": 54.0},
        side="below",
        words="reduced left ventricular ejection fraction",
        source="Lang et al., ASE and EACVI recommendations, J Am Soc Echocardiogr 2015;28:1 (biplane)",
    ),
}
#: what is to be said where a known limit is of something else than what is measured
NO_LIMIT = {
    "vat": "The known limit, 100 cm² (Circ J 2002;66:987), is of an area at the navel; for a volume none is agreed.",
}


def digits_known(error: float) -> int | None:
    """Digits after the point up to which a value is known, negative for tens and hundreds; None where no error is stated.

    The last digit written is worth at most the error, and no value has more than :data:`MOST_DIGITS`.

    >>> [digits_known(error) for error in (0.07, 0.24, 2.3, 21.0)]
    [2, 1, 0, -1]
    """
    if not math.isfinite(error) or error <= 0:
        return None
    return min(MOST_DIGITS, -math.floor(math.log10(error)))


def written(value: float, error: float) -> str:
    """A value rounded to what is known of it.

    >>> written(1157.8, 20.8), written(4.236, 0.24), written(19.1, 2.3)
    ('1160', '4.2', '19')
    """
    digits = digits_known(error)
    if digits is None:
        digits = 0 if abs(value) >= 100 else 2 - (abs(value) >= 10)
    return f"{round(value, digits) + 0.0:.{max(0, digits)}f}"


def interpretable(change: float, error: float) -> bool:
    """Is a change larger than its error? Where no error is stated, nothing can be told, and it is not."""
    return math.isfinite(error) and abs(change) > error


@dataclass(frozen=True, kw_only=True)
class Change:
    """A measure read ``before`` and ``after``, in its ``unit``. ``error`` is the ruler's stated error (SD) of the change, as if it
    erred anew in each reading (it does not, so this is the most; NaN where none is stated); ``drift`` is what the measure
    changes where nothing is set (NaN where that was not read)."""

    name: str
    title: str
    unit: str
    before: float
    after: float
    error: float
    drift: float = math.nan

    @property
    def size(self) -> float:
        return self.after - self.before

    def record(self) -> dict[str, Any]:
        """Ready for JSON: both values, the change with the interval that holds it 95 times in 100, and whether it may be interpreted."""
        record: dict[str, Any] = {"unit": self.unit, "before": self.before, "after": self.after, "change": self.size}
        reach = MIDDLE * self.error
        record["interval_95"] = [self.size - reach, self.size + reach] if math.isfinite(self.error) else None
        record["nothing_set"] = self.drift if math.isfinite(self.drift) else None
        return {**record, "interpretable": interpretable(self.size, self.error)}


@runtime_checkable
class Reader(Measured, Stated, Protocol):
    """What has measures in units, and says how far it errs."""


def changes(ruler: Reader, readings: Sequence[Mapping[str, float]]) -> list[Change]:
    """What changed, one a measure that is in all of the ``readings``: before, after and, where nothing is set, before and after."""
    before, after, *rest = readings
    found = []
    for name, title in ruler.measures.items():
        if not all(math.isfinite(values[name]) for values in readings):
            continue
        found.append(
            Change(
                name=name,
                title=title,
                unit=ruler.units[name],
                before=before[name],
                after=after[name],
                error=math.hypot(*(stated_error(ruler, name, values[name]) for values in (before, after))),
                drift=rest[1][name] - rest[0][name] if rest else math.nan,
            )
        )
    return found
