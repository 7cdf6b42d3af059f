"""The tissues that the viewer colours: what each is called, the ruler's classes it is made of, and its colour."""

from __future__ import annotations

#: name, classes and colour by the kind of ruler, from label 1 on; after Okabe and Ito's palette for the colour-blind
TISSUES: dict[str, tuple[tuple[str, tuple[str, ...], str], ...]] = {
    "torso": (
        ("Subcutaneous fat", ("sat",), "#f0e442"),
        ("Visceral fat", ("vat",), "#e69f00"),
        ("Muscle", ("muscle", "imat"), "#cc79a7"),
        ("Liver", ("liver",), "#d55e00"),
        ("Spleen", ("spleen",), "#8e6bbf"),
        ("Kidneys", ("kidneys",), "#009e73"),
        ("Lungs", ("lungs",), "#56b4e9"),
        ("Bones", ("bone", "pelvis"), "#d9d2c5"),
    ),
    "head": (
        ("Brain", ("brain",), "#cc79a7"),
        ("Ventricles", ("ventricles",), "#0072b2"),
        ("Fluid around the brain", ("fluid",), "#56b4e9"),
    ),
}


def legend(kind: str) -> list[tuple[int, str, str]]:
    """Label, name and colour of each tissue."""
    return [(label, name, colour) for label, (name, _, colour) in enumerate(TISSUES[kind], 1)]
