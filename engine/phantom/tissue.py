"""What the in-silico body is made of: ONE table of labels, their groups, MR properties at 3 T and FMA ids.

T1 at 3 T: de Bazelaire et al., Radiology 230, 2004; fat fractions: Machann et al. and the UK Biobank imaging papers;
T2* and proton densities are customary values. A fat fraction that differs between persons (liver, marrow, muscle) is
given where a person is drawn; the one here is the default. The FMA id is that of the structure, or of its first part on the
right (Foundational Model of Anatomy, as in the lists of BodyParts3D); None where those lists have none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

#: spoiled gradient echo of the two-point Dixon (NAKO VIBE): repetition time and the echo, ms; flip angle, degrees
REPETITION, ECHO, FLIP = 4.36, 2.46, 9.0
T1_FAT, T2S_FAT = 382.0, 25.0


def spoiled_gradient_echo(t1: float) -> float:
    """Steady-state signal of a spoiled gradient echo (Ernst and Anderson 1966) for unit proton density; ``t1`` in ms."""
    decay, flip = math.exp(-REPETITION / t1), math.radians(FLIP)
    return math.sin(flip) * (1 - decay) / (1 - decay * math.cos(flip))


@dataclass(frozen=True)
class Substance:
    """What a tissue is made of: ``proton`` density, T1 and T2* of its water (ms), fat fraction (0-1)."""

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


SUBSTANCES: Mapping[str, Substance] = {
    "air": Substance(0.0, 1000, 5, 0.0),
    "gas": Substance(0.02, 1000, 2, 0.0),
    "sat": Substance(0.95, 1400, 25, 0.93),
    "vat": Substance(0.95, 1400, 25, 0.88),
    "mediastinal": Substance(0.95, 1400, 25, 0.85),
    "imat": Substance(0.90, 1100, 25, 0.70),
    "muscle": Substance(0.80, 898, 25, 0.05),
    "tendon": Substance(0.35, 600, 5, 0.10),
    "red marrow": Substance(0.75, 1100, 15, 0.40),
    "yellow marrow": Substance(0.85, 1100, 18, 0.85),
    "cortex": Substance(0.12, 600, 2, 0.05),
    "cartilage": Substance(0.80, 1200, 30, 0.02),
    "canal": Substance(0.95, 2600, 60, 0.01),
    "lung": Substance(0.13, 1200, 1.2, 0.0),
    "airway": Substance(0.10, 1000, 3, 0.0),
    "lung vessel": Substance(0.60, 1650, 12, 0.0),
    "myocardium": Substance(0.82, 1180, 30, 0.02),
    "blood": Substance(0.92, 1650, 40, 0.0),
    "liver": Substance(0.75, 809, 22, 0.03),
    "bile": Substance(1.0, 2500, 70, 0.0),
    "spleen": Substance(0.85, 1328, 25, 0.01),
    "renal cortex": Substance(0.85, 1142, 37, 0.007),
    "renal medulla": Substance(0.88, 1545, 40, 0.007),
    "renal sinus": Substance(0.90, 1300, 25, 0.65),
    "pancreas": Substance(0.80, 725, 25, 0.05),
    "gut": Substance(0.82, 1000, 25, 0.04),
    "fluid": Substance(0.95, 2600, 40, 0.0),
    "stool": Substance(0.62, 900, 12, 0.08),
    "urine": Substance(1.0, 4000, 80, 0.0),
    "uterus": Substance(0.87, 1514, 40, 0.01),
    "prostate": Substance(0.85, 1597, 40, 0.01),
    "gland": Substance(0.85, 1300, 30, 0.15),
}


@dataclass(frozen=True)
class Tissue:
    """One label: its ``code`` in the label map, ``name``, ``group``, ``substance`` (of :data:`SUBSTANCES`), FMA id."""

    code: int
    name: str
    group: str
    substance: str
    fma: int | None = None

    @property
    def properties(self) -> Substance:
        return SUBSTANCES[self.substance]


#: name, group, substance, FMA id; a label's place is its code, so append only
_ROWS: tuple[tuple[str, str, str, int | None], ...] = (
    ("background", "background", "air", None),
    ("subcutaneous_fat_superficial", "subcutaneous_fat", "sat", None),
    ("subcutaneous_fat_deep", "subcutaneous_fat", "sat", None),
    ("omental_fat", "visceral_fat", "vat", None),
    ("mesenteric_fat", "visceral_fat", "vat", None),
    ("perirenal_fat", "visceral_fat", "vat", None),
    ("mediastinal_fat", "mediastinal_fat", "mediastinal", None),
    ("epicardial_fat", "mediastinal_fat", "mediastinal", None),
    ("intermuscular_fat", "intermuscular_fat", "imat", None),
    ("psoas", "muscle", "muscle", 22342),
    ("quadratus_lumborum", "muscle", "muscle", 22348),
    ("paraspinal", "muscle", "muscle", 22751),
    ("gluteal", "muscle", "muscle", 22328),
    ("hip_rotators", "muscle", "muscle", 22340),
    ("rectus", "muscle", "muscle", 13377),
    ("oblique", "muscle", "muscle", 13336),
    ("transversus", "muscle", "muscle", None),
    ("linea_alba", "tendon", "tendon", 11336),
    ("thigh_front", "muscle", "muscle", 38928),
    ("thigh_back", "muscle", "muscle", 22358),
    ("thigh_inner", "muscle", "muscle", 22450),
    ("pectoral", "muscle", "muscle", 34690),
    ("shoulder", "muscle", "muscle", 32547),
    ("deltoid", "muscle", "muscle", 34680),
    ("upper_arm", "muscle", "muscle", 37695),
    ("forearm", "muscle", "muscle", 38454),
    ("back", "muscle", "muscle", 13358),
    ("serratus", "muscle", "muscle", 13398),
    ("intercostal", "muscle", "muscle", 9761),
    ("neck_muscle", "muscle", "muscle", 13408),
    ("diaphragm", "muscle", "muscle", 13295),
    ("cervical", "vertebrae", "red marrow", 12522),
    ("thoracic_upper", "vertebrae", "red marrow", 9187),
    ("thoracic_middle", "vertebrae", "red marrow", 9945),
    ("thoracic_lower", "vertebrae", "red marrow", 10037),
    ("L1", "vertebrae", "red marrow", 13072),
    ("L2", "vertebrae", "red marrow", 13073),
    ("L3", "vertebrae", "red marrow", 13074),
    ("L4", "vertebrae", "red marrow", 13075),
    ("L5", "vertebrae", "red marrow", 13076),
    ("sacrum", "pelvis", "red marrow", 16202),
    ("rib", "ribs_and_sternum", "red marrow", 8229),
    ("sternum", "ribs_and_sternum", "red marrow", 7487),
    ("clavicle", "shoulder_girdle_and_arm_bones", "yellow marrow", 13322),
    ("scapula", "shoulder_girdle_and_arm_bones", "yellow marrow", 13395),
    ("humerus", "shoulder_girdle_and_arm_bones", "cortex", 23130),
    ("humeral_marrow", "shoulder_girdle_and_arm_bones", "yellow marrow", None),
    ("forearm_bone", "shoulder_girdle_and_arm_bones", "yellow marrow", 23464),
    ("pelvis", "pelvis", "cortex", 16586),
    ("pelvic_marrow", "pelvis", "red marrow", None),
    ("femur", "femur", "cortex", 24474),
    ("femoral_marrow", "femur", "yellow marrow", None),
    ("disc", "disc_and_cartilage", "cartilage", 10458),
    ("costal_cartilage", "disc_and_cartilage", "cartilage", 7875),
    ("spinal_canal", "spinal_canal", "canal", None),
    ("lung_right_upper", "lung", "lung", 7333),
    ("lung_right_middle", "lung", "lung", 7383),
    ("lung_right_lower", "lung", "lung", 7337),
    ("lung_left_upper", "lung", "lung", 7370),
    ("lung_left_lower", "lung", "lung", 7371),
    ("airway", "airway", "airway", 7394),
    ("pulmonary_vessel", "blood", "lung vessel", 66326),
    ("ventricle_wall", "heart", "myocardium", 13884),
    ("atrial_wall", "heart", "myocardium", 9457),
    ("left_ventricle", "heart", "blood", 9466),
    ("right_ventricle", "heart", "blood", 9291),
    ("left_atrium", "heart", "blood", 9465),
    ("right_atrium", "heart", "blood", 11359),
    ("aorta", "blood", "blood", 3784),
    ("vena_cava", "blood", "blood", 10951),
    ("iliac_artery", "blood", "blood", 14765),
    ("iliac_vein", "blood", "blood", 18885),
    ("renal_vessel", "blood", "blood", 14752),
    ("mesenteric_vessel", "blood", "blood", 14749),
    ("neck_vessel", "blood", "blood", 3941),
    ("portal_vein", "blood", "blood", None),
    ("hepatic_vein", "blood", "blood", None),
    ("thymus", "thymus", "gland", 71194),
    ("esophagus", "esophagus", "gut", 7131),
    ("liver", "liver", "liver", 7197),
    ("gallbladder", "gallbladder", "bile", 7202),
    ("spleen", "spleen", "spleen", 7196),
    ("pancreas", "pancreas", "pancreas", 7198),
    ("adrenal", "adrenal", "gut", 15629),
    ("renal_cortex", "kidney", "renal cortex", 7204),
    ("renal_medulla", "kidney", "renal medulla", None),
    ("renal_sinus", "renal_sinus", "renal sinus", None),
    ("ureter", "ureter", "fluid", 15571),
    ("stomach", "stomach", "gut", 7148),
    ("stomach_content", "stomach", "fluid", None),
    ("stomach_gas", "gas", "gas", None),
    ("duodenum", "small_bowel", "gut", 7206),
    ("small_bowel", "small_bowel", "gut", 7207),
    ("small_bowel_content", "small_bowel", "fluid", None),
    ("colon", "colon", "gut", 14543),
    ("colon_content", "colon", "stool", None),
    ("colon_gas", "gas", "gas", None),
    ("rectum", "colon", "stool", 14544),
    ("bladder", "bladder", "urine", 15900),
    ("prostate", "prostate", "prostate", 9600),
    ("uterus", "uterus", "uterus", None),
    ("ovary", "uterus", "uterus", None),
    ("genitals", "genitals", "prostate", 7211),
    ("breast_gland", "fibroglandular_tissue", "gland", None),
)
TISSUES: tuple[Tissue, ...] = tuple(Tissue(code, *row) for code, row in enumerate(_ROWS))
BY_NAME: Mapping[str, Tissue] = {tissue.name: tissue for tissue in TISSUES}


def code(name: str) -> int:
    """The code of a label."""
    return BY_NAME[name].code


def is_of(labels: UInt8[Tensor, "..."], *groups: str) -> Bool[Tensor, "..."]:
    """Which voxels are of these groups: one comparison for codes that follow one another."""
    every = sorted(codes(*groups))
    starts = [c for c in every if c - 1 not in every]
    ends = [c for c in every if c + 1 not in every]
    found = torch.zeros_like(labels, dtype=torch.bool)
    for a, b in zip(starts, ends, strict=True):
        found |= labels == a if a == b else (labels - a) <= b - a
    return found


def codes(*groups: str) -> tuple[int, ...]:
    """The codes of all labels of these groups; raises KeyError for a group that no label has."""
    found = tuple(tissue.code for tissue in TISSUES if tissue.group in groups)
    missing = set(groups) - {tissue.group for tissue in TISSUES}
    if missing or not found:
        raise KeyError(f"no label is of the group {', '.join(sorted(missing))}")
    return found
