"""What the in-silico body is made of: label codes and the MR properties of each tissue at 3 T.

T1 at 3 T: de Bazelaire et al., Radiology 230, 2004; fat fractions: Machann et al. and the UK Biobank imaging papers;
T2* and proton densities are customary values. A fat fraction that differs between persons (liver, marrow, muscle) is
given where the tissue is painted; the one here is the default.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

#: spoiled gradient echo of the two-point Dixon (NAKO VIBE): repetition time and the echo, ms; flip angle, degrees
REPETITION, ECHO, FLIP = 4.36, 2.46, 9.0
T1_FAT, T2S_FAT = 382.0, 25.0


def spoiled_gradient_echo(t1: float) -> float:
    """Steady-state signal of a spoiled gradient echo (Ernst and Anderson 1966) for unit proton density; ``t1`` in ms."""
    decay, flip = math.exp(-REPETITION / t1), math.radians(FLIP)
    return math.sin(flip) * (1 - decay) / (1 - decay * math.cos(flip))


@dataclass(frozen=True)
class Tissue:
    """One label: its ``code`` in the label map, ``proton`` density, T1 and T2* of its water (ms), fat fraction (0-1)."""

    code: int
    name: str
    proton: float
    t1: float
    t2s: float
    fat: float

    @property
    def water_signal(self) -> float:
        """Signal of this tissue were it all water; subcutaneous fat at full density is 1."""
        gain = spoiled_gradient_echo(self.t1) / spoiled_gradient_echo(T1_FAT)
        return self.proton * gain * math.exp(-ECHO / self.t2s)

    @property
    def fat_signal(self) -> float:
        """Signal of this tissue were it all fat."""
        return self.proton * math.exp(-ECHO / T2S_FAT) * 1.09


AIR = Tissue(0, "background", 0.0, 1000, 5, 0.0)
SAT = Tissue(1, "subcutaneous_fat", 0.95, 1400, 25, 0.93)
VAT = Tissue(2, "visceral_fat", 0.95, 1400, 25, 0.88)
MEDIASTINAL_FAT = Tissue(3, "mediastinal_fat", 0.95, 1400, 25, 0.85)
IMAT = Tissue(4, "intermuscular_fat", 0.90, 1100, 25, 0.70)
MUSCLE = Tissue(5, "muscle", 0.80, 898, 25, 0.05)
VERTEBRAE = Tissue(6, "vertebrae", 0.75, 1100, 15, 0.40)
RIBS = Tissue(7, "ribs_and_sternum", 0.75, 1100, 15, 0.40)
DISC = Tissue(8, "disc_and_cartilage", 0.80, 1200, 30, 0.02)
CANAL = Tissue(9, "spinal_canal", 0.95, 2600, 60, 0.01)
LUNG = Tissue(10, "lung", 0.13, 1200, 1.2, 0.0)
GAS = Tissue(11, "gas", 0.02, 1000, 2, 0.0)
MYOCARDIUM = Tissue(12, "myocardium", 0.82, 1180, 30, 0.02)
BLOOD = Tissue(13, "blood", 0.92, 1650, 40, 0.0)
LIVER = Tissue(14, "liver", 0.75, 809, 22, 0.03)
GALLBLADDER = Tissue(15, "gallbladder", 1.0, 2500, 70, 0.0)
SPLEEN = Tissue(16, "spleen", 0.85, 1328, 25, 0.01)
CORTEX = Tissue(17, "renal_cortex", 0.85, 1142, 37, 0.007)
MEDULLA = Tissue(18, "renal_medulla", 0.88, 1545, 40, 0.007)
SINUS = Tissue(19, "renal_sinus", 0.90, 1300, 25, 0.65)
PANCREAS = Tissue(20, "pancreas", 0.80, 725, 25, 0.05)
STOMACH = Tissue(21, "stomach", 0.82, 1000, 25, 0.04)
COLON = Tissue(22, "colon", 0.80, 1000, 22, 0.05)
BOWEL = Tissue(23, "small_bowel", 0.82, 1050, 27, 0.03)
BLADDER = Tissue(24, "bladder", 1.0, 4000, 80, 0.0)
UTERUS = Tissue(25, "uterus", 0.87, 1514, 40, 0.01)
PROSTATE = Tissue(26, "prostate", 0.85, 1597, 40, 0.01)
GLAND = Tissue(27, "fibroglandular_tissue", 0.85, 1300, 30, 0.15)
THYROID = Tissue(28, "thyroid", 0.85, 1100, 30, 0.02)
SHOULDER = Tissue(29, "shoulder_girdle_and_arm_bones", 0.75, 1100, 15, 0.75)
PELVIS = Tissue(30, "pelvis_and_sacrum", 0.75, 1100, 15, 0.55)
FEMUR = Tissue(31, "femur", 0.75, 1100, 15, 0.80)

TISSUES = (
    AIR, SAT, VAT, MEDIASTINAL_FAT, IMAT, MUSCLE, VERTEBRAE, RIBS, DISC, CANAL, LUNG, GAS, MYOCARDIUM, BLOOD, LIVER,
    GALLBLADDER, SPLEEN, CORTEX, MEDULLA, SINUS, PANCREAS, STOMACH, COLON, BOWEL, BLADDER, UTERUS, PROSTATE, GLAND,
    THYROID, SHOULDER, PELVIS, FEMUR,
)  # fmt: skip


def cortical(bone: Tissue) -> Tissue:
    """The shell of a bone: its label, but hardly any signal."""
    return replace(bone, proton=0.12, t1=600, t2s=2, fat=0.05)
