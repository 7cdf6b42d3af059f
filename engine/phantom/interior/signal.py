"""What each label shows in a person's water and fat images, and which label a class of the template becomes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from engine.phantom.anthropometry import People
from engine.phantom.atlas.build import ABDOMINAL, NAMES
from engine.phantom.tissue import BY_NAME, TISSUES, code, codes

#: classes that are labels of another name; organs of the abdomen are painted later, their place is fat until then
RENAMED: Mapping[str, str] = {
    "outside": "intermuscular_fat",
    "abdominal_fat": "mesenteric_fat",
    **dict.fromkeys(ABDOMINAL, "mesenteric_fat"),
    "femur": "femoral_marrow", "femur_shell": "femur", "humerus": "humeral_marrow", "arm_shell": "humerus",
    "pelvis": "pelvic_marrow", "pelvis_shell": "pelvis", "genitals": "intermuscular_fat",
}  # fmt: skip
#: fat of marrow beyond that of lumbar vertebrae, a fraction
FATTER: Mapping[str, float] = {
    "cervical": -0.04, "thoracic_upper": -0.06, "thoracic_middle": -0.04, "thoracic_lower": -0.02, "rib": 0.05,
    "sternum": 0.08, "sacrum": 0.08, "pelvic_marrow": 0.15,
}  # fmt: skip


def label_of_class() -> UInt8[Tensor, "256"]:
    """The label's code of each class of the template."""
    table = torch.zeros(256, dtype=torch.uint8)
    for index, name in enumerate(NAMES):
        table[index] = code(RENAMED.get(name, name))
    return table


def signals(people: People) -> Float[Tensor, "n two 256"]:
    """Water and fat signal of every label in each person; subcutaneous fat is about 1."""
    fraction = torch.tensor([t.properties.fat for t in TISSUES]).repeat(len(people), 1)
    for name, value in _fractions(people).items():
        fraction[:, BY_NAME[name].code] = value
    water = torch.tensor([t.properties.water_signal for t in TISSUES])
    fat = torch.tensor([t.properties.fat_signal for t in TISSUES])
    found = torch.zeros(len(people), 2, 256)
    found[:, 0, : len(TISSUES)] = (1 - fraction) * water
    found[:, 1, : len(TISSUES)] = fraction * fat
    return found


def _fractions(people: People) -> dict[str, Float[Tensor, " n"]]:
    """Fat fractions that differ between persons."""
    psoas, high = people.psoas_pdff.cpu() / 100, people.muscle_pdff.cpu() / 100
    marrow = people.marrow_pdff.cpu() / 100
    found = {TISSUES[c].name: psoas for c in codes("muscle")}
    found |= dict.fromkeys(("paraspinal", "quadratus_lumborum", "gluteal"), high)
    found |= dict.fromkeys(("back", "oblique", "transversus", "rectus"), 0.5 * (psoas + high))
    for tissue in TISSUES:
        if tissue.properties.fat == 0.40:
            found[tissue.name] = (marrow + FATTER.get(tissue.name, 0.0)).clamp(0.05, 0.9)
    found["liver"] = people.liver_pdff.cpu() / 100
    found["pancreas"] = people.pancreas_pdff.cpu() / 100
    return found
