"""The card of the heart's ruler, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.cohort.store import CohortStore
from engine.measure.heart.ruler import DEFINITIONS, MEASURES, NAME, UNITS
from engine.measure.reference import MINIMUM_GROUP
from engine.phantom.cohort import LICENCE
from engine.phantom.heart.cohort import PHANTOM

#: whose contours the shipped ruler was tuned on
PATIENTS = (
    "Sunnybrook Cardiac Data (Radau et al., Evaluation framework for algorithms segmenting short axis cardiac MRI, "
    "The MIDAS Journal 2009; CC0 1.0)"
)


def model_card(store: CohortStore, persons: int, figures: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of the card; source and licence of the in-silico hearts are the store's."""
    real = figures.get("patients")
    patients = (
        f" Then {real['n']} patients of the {PATIENTS}: two phases each, the left cavity's contours alone."
        if real
        else ""
    )
    from_patients = f", and from the {PATIENTS}" if real else ""
    unseen = "Never tested on a patient: figures hold for computed anatomy"
    seen = (
        "On patients only the left cavity was tested, in slices that have a contour: how well the wall and the right ventricle of "
        "a patient are read nobody knows"
    )
    return {
        "name": NAME,
        "title": "Measures on a heart: ventricular volumes, ejection fraction, mass, wall thickness",
        "purpose": "Reads both ventricles off a short-axis cine, without its table. Not for diagnosis.",
        "trained_on": f"{persons} in-silico persons (phantom version {PHANTOM}): computed anatomy with exact labels.{patients} "
        "Brackets are 95 % bootstrap intervals over persons who were not trained on",
        "licence": f"Weights and figures derive from the in-silico cohort, {store.meta.get('licence', LICENCE)}{from_patients}",
        "contains": "No image and no row of any person; the cohort's regressions are aggregates over in-silico persons; groups "
        f"under {MINIMUM_GROUP} persons are left out",
        "measures": dict(DEFINITIONS),
        "figures": {**_in_silico(figures), **(_patients(real) if real else {})},
        "limits": [
            seen if real else unseen,
            "Short-axis stacks with 5 to 12 mm from slice to slice; other distances are resampled. Long axes are not read",
            "Volumes are those of the slices that are there: a stack that lacks base or apex is read too small",
            "Papillary muscles and trabeculae count as blood; which slice is the last at the base decides up to a tenth of a volume",
            "The wall's thickness is read in 8 mm slices; thin walls of few voxels are counted in part",
            "End-diastole and end-systole are the phases of the greatest and the least volume of the left ventricle",
        ],
    }


def _in_silico(figures: Mapping[str, Any]) -> dict[str, str]:
    lines: dict[str, str] = {}
    for name, by in figures["measures"].items():
        (r, low, high), (mean, least, most, sd) = by["r"], by["difference"]
        if UNITS[name] == "%":
            off = f"{mean:+.1f} percentage points ({least:+.1f} to {most:+.1f}, SD {sd:.1f})"
        else:
            off = f"{mean:+.1%} ({least:+.1%} to {most:+.1%}, SD {sd:.1%})"
        what = f"test (n = {by['n']}), {MEASURES[name].lower()} in {UNITS[name]} against the labels"
        lines[what] = f"r = {r:.4f} ({low:.4f} to {high:.4f}), difference {off}"
    overlap = ", ".join(f"{name} {mean:.3f} ({least:.3f})" for name, (mean, least) in figures["dice"].items())
    lines[f"test (n = {figures['n']}), Dice against the label maps of every phase, mean (least)"] = overlap
    return lines


def _patients(real: Mapping[str, Any]) -> dict[str, str]:
    mean, low, high, least = real["dice"]
    first, last = real["dice_by_phase"]
    off, sd = real["ef_difference"]
    volumes = zip(("end-diastole", "end-systole"), real["volume_r"], real["volume_difference"], strict=True)
    said = "; ".join(f"{phase} r = {r[0]:.3f}, difference {share:+.1%}" for phase, r, share in volumes)
    n = f"patients (n = {real['n']}, five-fold: each by a network tuned on others)"
    return {
        f"{n}, Dice of the left cavity against contours": f"{mean:.3f} ({low:.3f} to {high:.3f}; least {least:.3f}), end-diastole "
        f"{first:.3f}, end-systole {last:.3f}",
        f"{n}, ejection fraction against the contours'": f"mean absolute difference {real['ef_absolute']:.1f} points, difference "
        f"{off:+.1f} (SD {sd:.1f}), r = {real['ef_r'][0]:.3f}",
        f"{n}, volumes of the left cavity against the contours'": said,
    }
