"""The table of well-known columns: what each is called, counted in, may be, and how BIDS and DICOM have it.

Whoever describes, reads, writes or shows one of these columns asks here. A column's name is also its name in BIDS. Columns
that are not here are described by their cohort alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.vocabulary.columns import Category, Derived, Number
from engine.vocabulary.refusal import RequestError


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One well-known column.

    ``label`` is what a reader sees, ``description`` and ``unit`` what a model's schema says. ``plausible`` are the bounds
    beyond which a cell of a table is a mistake (None: not asked), ``possible`` those of the models of adults. ``levels`` maps
    a category's levels to words. ``bids_description`` and ``bids_unit`` stand in participants.json, where they differ;
    ``dicom`` is the keyword of the DICOM attribute (PS3.3 C.7.1.3, C.7.2.2), None where there is none.
    """

    name: str
    label: str
    description: str
    unit: str = ""
    plausible: tuple[float, float] | None = None
    possible: tuple[float, float] | None = None
    levels: dict[str, str] = field(default_factory=dict)
    bids_description: str = ""
    bids_unit: str = ""
    dicom: str | None = None

    def number(self) -> Number:
        """A numeric column of the models of adults, not yet fitted."""
        if self.possible is None:
            raise RequestError(f"{self.name} is no number; make it a category")
        low, high = self.possible
        return Number(name=self.name, unit=self.unit, low=low, high=high, description=self.description)

    def category(self, levels: Sequence[str] = (), description: str = "") -> Category:
        """A column of the given ``levels``, or of its own, not yet fitted."""
        return Category(
            name=self.name, levels=tuple(levels or self.levels), description=description or self.description
        )

    def bids(self) -> dict[str, Any]:
        """What participants.json says of the column."""
        unit = self.bids_unit or self.unit
        return {
            "Description": self.bids_description or self.description,
            **({"Units": unit} if unit else {}),
            **({"Levels": dict(self.levels)} if self.levels else {}),
        }


_COUNTED = "counted on the label map"
_VARIABLES = (
    Variable(
        name="age",
        label="Age",
        description="age at scan",
        unit="years",
        plausible=(0, 120),
        possible=(18, 100),
        dicom="PatientAge",
    ),
    Variable(name="sex", label="Sex", description="sex", levels={"F": "female", "M": "male"}, dicom="PatientSex"),
    Variable(
        name="height",
        label="Height",
        description="body height",
        unit="cm",
        plausible=(40, 250),
        possible=(120, 220),
        dicom="PatientSize",
    ),
    Variable(
        name="weight",
        label="Weight",
        description="body weight, computed from height and BMI",
        unit="kg",
        plausible=(1, 400),
        possible=(20, 350),
        bids_description="body weight",
        dicom="PatientWeight",
    ),
    Variable(
        name="bmi",
        label="BMI",
        description="body mass index",
        unit="kg/m²",
        plausible=(8, 100),
        possible=(12, 70),
        bids_unit="kg/m^2",
        dicom="PatientBodyMassIndex",
    ),
    Variable(
        name="ethnicity",
        label="Ethnicity",
        description="ethnicity",
        bids_description="population group that shifts body composition in the model of the cohort",
        dicom="EthnicGroup",
    ),
    Variable(
        name="waist",
        label="Waist",
        description="girth just above the iliac crests",
        unit="cm",
        possible=(45, 190),
        bids_description="girth just above the iliac crests, measured on the body mask",
    ),
    Variable(
        name="body_fat",
        label="Body fat",
        description="body fat of the whole body (DXA)",
        unit="%",
        possible=(3, 65),
        bids_description="body fat of the whole body, as DXA reads it",
    ),
    Variable(
        name="sat",
        label="SAT",
        description="subcutaneous fat in the field of view",
        unit="L",
        possible=(0.3, 80),
        bids_description=f"subcutaneous fat in the field of view, {_COUNTED}",
    ),
    Variable(
        name="vat",
        label="VAT",
        description="visceral fat",
        unit="L",
        possible=(0, 25),
        bids_description=f"visceral fat, {_COUNTED}",
    ),
    Variable(
        name="muscle",
        label="Muscle",
        description="skeletal muscle in the field of view",
        unit="L",
        possible=(3, 60),
        bids_description=f"skeletal muscle in the field of view, {_COUNTED}",
    ),
    Variable(
        name="liver_volume",
        label="Liver volume",
        description="liver",
        unit="mL",
        possible=(400, 5000),
        bids_description=f"liver, {_COUNTED}",
    ),
    Variable(
        name="liver_pdff",
        label="Liver PDFF",
        description="fat fraction of the liver",
        unit="%",
        possible=(0, 60),
        bids_description="proton density fat fraction of the liver",
    ),
    Variable(
        name="smoking",
        label="Smoking",
        description="smoking",
        levels={"never": "never", "former": "former", "current": "current"},
        dicom="SmokingStatus",
    ),
    Variable(
        name="heart_rate",
        label="Heart rate",
        description="heart rate at the scan",
        unit="1/min",
        plausible=(20, 220),
        possible=(30, 150),
        dicom="HeartRate",
    ),
    Variable(
        name="pathology",
        label="Pathology",
        description="what the heart suffers from",
        levels={name: name for name in ("healthy", "dilated", "hypertrophic", "infarcted")},
        bids_description="what the heart suffers from: dilated is wide and weak, hypertrophic thick-walled, infarcted has a thin, "
        "still part of the wall",
    ),
    Variable(
        name="lv_edv",
        label="LV EDV",
        description="left ventricle at end-diastole",
        unit="mL",
        plausible=(15, 700),
        possible=(30, 500),
        bids_description=f"cavity of the left ventricle at end-diastole, {_COUNTED}",
    ),
    Variable(
        name="lv_ef",
        label="LV EF",
        description="ejection fraction of the left ventricle",
        unit="%",
        plausible=(2, 95),
        possible=(3, 92),
    ),
    Variable(
        name="lv_esv",
        label="LV ESV",
        description="left ventricle at end-systole, computed from EDV and EF",
        unit="mL",
        plausible=(2, 650),
        possible=(3, 480),
        bids_description=f"cavity of the left ventricle at end-systole, {_COUNTED}",
    ),
    Variable(
        name="lv_mass",
        label="LV mass",
        description="wall of the left ventricle at end-diastole",
        unit="g",
        plausible=(15, 700),
        possible=(25, 450),
        bids_description=f"wall of the left ventricle at end-diastole, {_COUNTED}, 1.05 g/mL",
    ),
    Variable(
        name="rv_edv",
        label="RV EDV",
        description="right ventricle at end-diastole",
        unit="mL",
        plausible=(15, 700),
        possible=(30, 500),
        bids_description=f"cavity of the right ventricle at end-diastole, {_COUNTED}",
    ),
    Variable(
        name="rv_esv",
        label="RV ESV",
        description="right ventricle at end-systole",
        unit="mL",
        plausible=(5, 650),
        possible=(5, 450),
        bids_description=f"cavity of the right ventricle at end-systole, {_COUNTED}",
    ),
    Variable(
        name="wall_thickness",
        label="Thickest wall",
        description="thickest of the 16 segments of the left ventricle's wall at end-diastole",
        unit="mm",
        plausible=(1, 60),
        possible=(3, 45),
    ),
)
CATALOGUE: dict[str, Variable] = {variable.name: variable for variable in _VARIABLES}
#: columns that are read off a scan only where that is asked for: a body shows nobody's ethnicity, and what a model makes of it is
#: its cohort's habits
OPT_IN = ("ethnicity",)
#: how a table may write the levels of sex
SEXES = {word: level for level, words in CATALOGUE["sex"].levels.items() for word in (level.lower(), words)}


def weight() -> Derived:
    """Body weight in kg, computed from BMI and height in cm."""
    return _derived("weight", scale=1e-4, powers=(("bmi", 1.0), ("height", 2.0)))


def end_systolic_volume() -> Derived:
    """What is left in the left ventricle of EDV (mL) after the ejection fraction (%)."""
    return _derived("lv_esv", scale=0.01, powers=(("lv_edv", 1.0), ("lv_ef", 1.0)), wholes=(("lv_ef", 100.0),))


def _derived(
    name: str,
    *,
    scale: float,
    powers: tuple[tuple[str, float], ...],
    wholes: tuple[tuple[str, float], ...] = (),
) -> Derived:
    variable = CATALOGUE[name]
    assert variable.possible is not None
    low, high = variable.possible
    return Derived(
        name=name,
        unit=variable.unit,
        low=low,
        high=high,
        scale=scale,
        powers=powers,
        description=variable.description,
        wholes=wholes,
    )
