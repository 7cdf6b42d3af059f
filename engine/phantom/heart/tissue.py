"""What a heart's cine is made of: ONE table of labels and of what a balanced steady-state sequence makes of them at 1.5 T.

T1 and T2 at 1.5 T: Stanisz et al., Magn Reson Med 2005;54:507 (blood, muscle, liver, myocardium: rounded); fat, marrow and
proton densities are customary values, from memory. ``fat`` is the share of the signal that is fat.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: balanced steady-state free precession (bSSFP) of a cine at 1.5 T: flip angle in degrees, echo time in ms
FLIP, ECHO = 55.0, 1.5
#: grams of a millilitre of myocardium (Petersen et al. 2017)
DENSITY = 1.05


@dataclass(frozen=True, kw_only=True)
class Tissue:
    """A label with its ``code`` and ``name``, ``proton`` density, ``t1`` and ``t2`` (ms), and share of ``fat`` (0-1)."""

    code: int
    name: str
    proton: float
    t1: float
    t2: float
    fat: float = 0.0

    @property
    def signal(self) -> float:
        """Signal in units of blood at rest."""
        return steady_state(self) / steady_state(TISSUES["lv_cavity"])

    @property
    def water(self) -> float:
        """Signal of the water in it."""
        return self.signal * (1 - self.fat)

    @property
    def lipid(self) -> float:
        """Signal of the fat in it."""
        return self.signal * self.fat


def steady_state(tissue: Tissue) -> float:
    """bSSFP on resonance at a repetition time much shorter than T1 and T2 (Scheffler and Lehnhardt, Eur Radiol 2003;13:2409)."""
    flip, ratio = math.radians(FLIP), tissue.t1 / tissue.t2
    decay = math.exp(-ECHO / tissue.t2)
    return tissue.proton * decay * math.sin(flip) / (ratio + 1 - math.cos(flip) * (ratio - 1))


_BLOOD = {"proton": 0.95, "t1": 1450.0, "t2": 250.0}
_MYOCARDIUM = {"proton": 0.8, "t1": 1000.0, "t2": 48.0}
_TISSUES = (
    Tissue(code=0, name="air", proton=0.0, t1=1000.0, t2=50.0),
    Tissue(code=1, name="lv_cavity", **_BLOOD),
    Tissue(code=2, name="lv_myocardium", **_MYOCARDIUM),
    Tissue(code=3, name="papillary_muscle", **_MYOCARDIUM),
    Tissue(code=4, name="rv_cavity", **_BLOOD),
    Tissue(code=5, name="rv_myocardium", **_MYOCARDIUM),
    Tissue(code=6, name="left_atrium", **_BLOOD),
    Tissue(code=7, name="right_atrium", **_BLOOD),
    Tissue(code=8, name="aorta", **_BLOOD),
    Tissue(code=9, name="pulmonary_artery", **_BLOOD),
    Tissue(code=10, name="vessel_wall", proton=0.7, t1=1000.0, t2=45.0),
    Tissue(code=11, name="pericardial_fat", proton=0.8, t1=290.0, t2=75.0, fat=0.94),
    Tissue(code=12, name="lung", proton=0.1, t1=1200.0, t2=40.0),
    Tissue(code=13, name="liver", proton=0.8, t1=590.0, t2=42.0),
    Tissue(code=14, name="stomach", proton=0.9, t1=900.0, t2=70.0),
    Tissue(code=15, name="spleen", proton=0.8, t1=1050.0, t2=75.0),
    Tissue(code=16, name="abdominal_fat", proton=0.85, t1=290.0, t2=75.0, fat=0.94),
    Tissue(code=17, name="muscle", proton=0.75, t1=1000.0, t2=38.0),
    Tissue(code=18, name="bone", proton=0.35, t1=400.0, t2=60.0, fat=0.35),
    Tissue(code=19, name="subcutaneous_fat", proton=0.9, t1=290.0, t2=75.0, fat=0.94),
)
TISSUES: dict[str, Tissue] = {tissue.name: tissue for tissue in _TISSUES}
#: the codes by name
CODES: dict[str, int] = {tissue.name: tissue.code for tissue in _TISSUES}
#: what counts as volume of the left ventricle: papillary muscles and trabeculae lie in it (Petersen et al. 2017)
LV_BLOOD = (CODES["lv_cavity"], CODES["papillary_muscle"])
LV_MYOCARDIUM = (CODES["lv_myocardium"],)
RV_BLOOD = (CODES["rv_cavity"],)
