"""The head: T1-weighted scans, one file a person."""

from __future__ import annotations

from engine.anatomy.region import Area, Region, Tissue

#: all that lies inside the skull
INTRACRANIAL = ("fluid", "brain", "ventricles")

HEAD = Region(
    name="head",
    title="Head",
    channels=("T1w",),
    files=("*_T1w",),
    recipe="head_t1",
    ruler="measure-head",
    features="features-head",
    cohort="real persons",
    intake="preprocessed",
    plane="axial",
    largest_mm=320.0,
    coarsest_mm=3.0,
    cortex=("brain",),
    measures={
        "ventricles_ml": "Ventricles",
        "brain_ml": "Brain",
        "neck_ml": "Neck soft tissue",
        "intracranial_ml": "Intracranial space",
    },
    areas={
        "brain": Area(words="the brain and the fluid around it", classes=INTRACRANIAL),
        "soft": Area(words="the soft tissue outside the brain", classes=INTRACRANIAL, around=True),
    },
    expected={"age": "brain", "bmi": "soft", "weight": "soft"},
    unmoved={"bmi": ("brain_ml", "ventricles_ml", "intracranial_ml"), "age": ("intracranial_ml",)},
    relations=(("age", "ventricles_ml"), ("bmi", "neck_ml")),
    # after Okabe and Ito's palette for the colour-blind
    tissues=(
        Tissue(title="Brain", classes=("brain",), colour="#cc79a7"),
        Tissue(title="Ventricles", classes=("ventricles",), colour="#0072b2"),
        Tissue(title="Fluid around the brain", classes=("fluid",), colour="#56b4e9"),
    ),
    surfaces=(
        Tissue(title="Brain", classes=("brain", "ventricles"), colour="#c98f86", opacity=0.4),
        Tissue(title="Ventricles", classes=("ventricles",), colour="#3f78c4"),
    ),
)
