"""The torso: water and fat images of a two-point Dixon, two files a person."""

from __future__ import annotations

from engine.anatomy.region import Area, Region, Tissue
from engine.imaging.pair import CHANNELS

#: the ruler's classes that are muscle, and those that are bone
MUSCLES, BONES = ("muscle", "psoas", "paraspinal", "thigh"), ("bone", "vertebrae", "pelvis")

TORSO = Region(
    name="torso",
    title="Torso",
    channels=CHANNELS,
    files=tuple(f"*_{channel}" for channel in CHANNELS),
    recipe="torso_dixon",
    ruler="measure-torso",
    features="features-torso",
    cohort="in-silico persons",
    intake="resampled",
    plane="coronal",
    largest_mm=1440.0,
    single=("liver", "spleen", "heart"),
    volumes={"sat": ("sat",), "vat": ("vat",), "muscle": MUSCLES, "liver_volume": ("liver",)},
    composition=("waist", "body_fat", "sat", "vat", "muscle", "liver_volume", "liver_pdff"),
    measures={
        "sat": "Subcutaneous fat",
        "vat": "Visceral fat",
        "muscle": "Muscle",
        "liver_volume": "Liver",
        "liver_pdff": "Liver fat fraction",
        "waist": "Waist",
        "lungs": "Lungs",
        "spleen": "Spleen",
        "kidneys": "Kidneys",
        "psoas": "Psoas",
        "paraspinal": "Paraspinal muscle",
        "thigh": "Thigh muscle",
        "heart": "Heart",
        "marrow": "Vertebrae",
    },
    areas={"fat": Area(words="fat, muscle and liver", classes=("sat", "vat", "imat", *MUSCLES, "liver"))},
    expected={"bmi": "fat", "weight": "fat"},
    unmoved={"bmi": ("lungs", "kidneys", "spleen"), "age": ("lungs",)},
    relations=(("bmi", "sat"), ("age", "vat")),
    # after Okabe and Ito's palette for the colour-blind
    tissues=(
        Tissue(title="Subcutaneous fat", classes=("sat",), colour="#f0e442"),
        Tissue(title="Visceral fat", classes=("vat",), colour="#e69f00"),
        Tissue(title="Muscle", classes=(*MUSCLES, "imat"), colour="#cc79a7"),
        Tissue(title="Liver", classes=("liver",), colour="#d55e00"),
        Tissue(title="Spleen", classes=("spleen",), colour="#8e6bbf"),
        Tissue(title="Kidneys", classes=("kidneys",), colour="#009e73"),
        Tissue(title="Lungs", classes=("lungs",), colour="#56b4e9"),
        Tissue(title="Heart", classes=("heart",), colour="#0072b2"),
        Tissue(title="Bones", classes=BONES, colour="#d9d2c5"),
    ),
    surfaces=(
        Tissue(title="Visceral fat", classes=("vat",), colour="#e3b62f", opacity=0.45),
        Tissue(title="Lungs", classes=("lungs",), colour="#6fa8c9", opacity=0.55),
        Tissue(title="Liver", classes=("liver",), colour="#9c4a36"),
        Tissue(title="Spleen", classes=("spleen",), colour="#7d5ba6"),
        Tissue(title="Kidneys", classes=("kidneys",), colour="#c0563f"),
        Tissue(title="Heart", classes=("heart",), colour="#a8433f"),
        Tissue(title="Bones", classes=BONES, colour="#d8cfb8"),
    ),
)
