"""The heart: short-axis cine, one file a person with time as its fourth axis."""

from __future__ import annotations

from engine.anatomy.region import Area, Region, Tissue

#: phases of a cycle, the first end-diastole
PHASES = 12
#: the ruler's classes: what the left ventricle's wall and cavities are called
WALL, LEFT, RIGHT = "lv_myocardium", "lv_cavity", "rv_cavity"

HEART = Region(
    name="heart",
    title="Heart",
    channels=("cine",),
    phases=PHASES,
    files=("*_cine",),
    recipe="heart_cine",
    ruler="measure-heart",
    features="features-heart",
    cohort="in-silico persons",
    intake="resampled",
    plane="axial",
    largest_mm=420.0,
    # the grid is the heart's own frame: its z runs along the left ventricle, its x to the septum
    planes=("Short axis", "Horizontal long axis", "Vertical long axis"),
    ends=(("Lat", "Sep"), ("Inf", "Ant"), ("Apex", "Base")),
    single=(LEFT,),
    composition=("lv_edv", "lv_ef", "lv_mass", "rv_edv", "rv_esv", "wall_thickness"),
    measures={
        "lv_edv": "Left ventricular end-diastolic volume",
        "lv_esv": "Left ventricular end-systolic volume",
        "lv_ef": "Left ventricular ejection fraction",
        "lv_mass": "Left ventricular mass",
        "rv_edv": "Right ventricular end-diastolic volume",
        "rv_esv": "Right ventricular end-systolic volume",
        "rv_ef": "Right ventricular ejection fraction",
        "wall_thickness": "Thickness of the thickest segment at end-diastole",
        "wall_thickening": "Mean thickening of the wall from end-diastole to end-systole",
        "circumferential_strain": "Circumferential strain halfway through the wall, middle third",
    },
    areas={"ventricles": Area(words="the ventricles and their wall", classes=(LEFT, WALL, RIGHT))},
    expected=dict.fromkeys(("lv_edv", "lv_ef", "lv_esv", "lv_mass", "rv_edv", "rv_esv", "pathology"), "ventricles"),
    relations=(("lv_edv", "lv_edv"), ("lv_ef", "lv_ef"), ("lv_mass", "lv_mass")),
    # after Okabe and Ito's palette for the colour-blind
    tissues=(
        Tissue(title="Left ventricle", classes=(LEFT,), colour="#d55e00"),
        Tissue(title="Its wall", classes=(WALL,), colour="#009e73"),
        Tissue(title="Right ventricle", classes=(RIGHT,), colour="#0072b2"),
    ),
    surfaces=(
        Tissue(title="Its wall", classes=(WALL,), colour="#b5523f", opacity=0.5),
        Tissue(title="Left ventricle", classes=(LEFT,), colour="#c8332e"),
        Tissue(title="Right ventricle", classes=(RIGHT,), colour="#3f78c4", opacity=0.7),
    ),
)
