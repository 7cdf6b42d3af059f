"""Published sizes of the heart by sex: what the in-silico cohort is drawn from and compared with.

Healthy: Petersen et al., J Cardiovasc Magn Reson 2017;19:18 (UK Biobank, 368 men and 432 women of 45-74 years, 1.5 T, papillary
muscles counted as blood). The abstract says EF 58 +- 5 % (men) and 61 +- 5 % (women), mass 53 +- 9 and 42 +- 7 g/m2, volumes
that fall with age in both sexes, an EF that does not, and a mass that falls in men only: checked. The other means and SDs, and
the slopes on age, are from memory of its tables; indexed values times a body surface of 1.95 and 1.68 m2 give the absolute
ones within 1 %.

Diseased: Radau et al., MIDAS Journal 2009 (Sunnybrook Cardiac Data), by whose definitions heart failure has an EF below 40 %,
hypertrophy an EF above 55 % and a mass above 83 g/m2 (from memory); the means here follow its groups roughly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: what a heart may be: hypertrophic is thick (mostly of the septum), dilated is wide and weak, infarcted has a thin, still part
PATHOLOGIES = ("healthy", "dilated", "hypertrophic", "infarcted")
SHARES: Mapping[str, float] = {"healthy": 0.46, "dilated": 0.17, "hypertrophic": 0.17, "infarcted": 0.2}
#: the middle of the ages of the healthy reference
MIDDLE_AGE = 60.0
#: limits of age (years) and of the standard scores that a person is drawn with
AGES, FARTHEST = (18.0, 88.0), 2.3


@dataclass(frozen=True, kw_only=True)
class Normal:
    """A mean with its standard deviation, and the mean's ``slope`` a year of age about :data:`MIDDLE_AGE`."""

    mean: float
    sd: float
    slope: float = 0.0

    def at(self, age: float, score: float) -> float:
        """The value of a person of this ``age`` whose standard score is ``score``."""
        return self.mean + self.slope * (age - MIDDLE_AGE) + self.sd * score


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """End-diastolic volume and mass of the left ventricle by body surface (mL/m2, g/m2) and both ejection fractions (%)."""

    edv: Normal
    mass: Normal
    ef: Normal
    rv_ef: Normal


#: healthy hearts by sex
HEALTHY: Mapping[str, Sizes] = {
    "M": Sizes(
        edv=Normal(mean=85, sd=15, slope=-0.45),
        mass=Normal(mean=53, sd=9, slope=-0.15),
        ef=Normal(mean=58, sd=5),
        rv_ef=Normal(mean=54, sd=6),
    ),
    "F": Sizes(
        edv=Normal(mean=74, sd=12, slope=-0.35),
        mass=Normal(mean=42, sd=7),
        ef=Normal(mean=61, sd=5),
        rv_ef=Normal(mean=58, sd=6),
    ),
}
#: what a disease makes of a healthy heart: factors of volume and of mean mass, and an ejection fraction (%) of its own
DISEASED: Mapping[str, tuple[float, float, Normal]] = {
    "dilated": (1.55, 1.4, Normal(mean=28, sd=7)),
    "hypertrophic": (0.87, 2.15, Normal(mean=66, sd=4.5)),
    "infarcted": (1.38, 1.3, Normal(mean=33, sd=6)),
}
#: least mass (g/m2) of a hypertrophic heart, by definition, and how much wider masses of diseased hearts lie
LEAST_HYPERTROPHIC, WIDER = 84.0, 1.3
#: the greatest and least ejection fraction (%) of each group
EF_LIMITS: Mapping[str, tuple[float, float]] = {
    "healthy": (50, 73),
    "dilated": (12, 42),
    "hypertrophic": (56, 78),
    "infarcted": (18, 46),
}
#: absolute means and SDs of healthy men and women (mL, g, %): from memory of the tables of Petersen et al. 2017
ABSOLUTE: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "M": {
        "lv_edv": (166, 32),
        "lv_esv": (69, 16),
        "lv_ef": (58, 5),
        "lv_mass": (103, 21),
        "rv_edv": (182, 36),
        "rv_esv": (85, 22),
    },
    "F": {
        "lv_edv": (124, 21),
        "lv_esv": (49, 11),
        "lv_ef": (61, 5),
        "lv_mass": (70, 13),
        "rv_edv": (130, 24),
        "rv_esv": (55, 15),
    },
}
#: mean and SD (mm) of the wall in the middle third at end-diastole, short axis: Kawel et al., Circ Cardiovasc Imaging 2012;5:500
#: (131 men and 169 women without cardiac disease), abstract: checked
MIDDLE_WALL: Mapping[str, tuple[float, float]] = {"M": (6.3, 1.1), "F": (5.3, 0.9)}
#: height (cm) and body mass index (kg/m2): UK Biobank's imaging cohort, rounded, from memory
HEIGHT = {"M": Normal(mean=177, sd=6.6, slope=-0.08), "F": Normal(mean=164, sd=6.2, slope=-0.08)}
BMI = {"M": Normal(mean=25.5, sd=3.2), "F": Normal(mean=24.2, sd=3.6)}
#: beats a minute at rest: customary values
HEART_RATE = {
    "healthy": Normal(mean=64, sd=9),
    "dilated": Normal(mean=75, sd=12),
    "hypertrophic": Normal(mean=67, sd=9),
    "infarcted": Normal(mean=72, sd=11),
}
#: age in years: Sunnybrook's patients are older than the healthy
AGE = {
    "healthy": Normal(mean=54, sd=15),
    "dilated": Normal(mean=59, sd=13),
    "hypertrophic": Normal(mean=57, sd=13),
    "infarcted": Normal(mean=63, sd=10),
}


def body_surface(height: float, weight: float) -> float:
    """Body surface in m2 (Du Bois and Du Bois, Arch Intern Med 1916;17:863) of a height in cm and a weight in kg.

    >>> round(body_surface(178, 80), 2)
    1.98
    """
    return 0.007184 * height**0.725 * weight**0.425
