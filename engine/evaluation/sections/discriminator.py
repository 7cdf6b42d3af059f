"""Whether a network that is trained to can tell made scans from real ones, on whole scans and on crops."""

from __future__ import annotations

import numpy as np

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.realism.discriminator import DiscriminatorConfig, discriminator_auc
from engine.evaluation.report.parts import ReportedFigure, Section
from engine.evaluation.subjects.people import Gathered

#: what is seen by array: the first layer's stride, words, and the AUC that is asked for
SEEN = {
    "coarse": (DiscriminatorConfig(stride=2), "whole scans, averaged to a coarser grid", 0.75),
    "crops": (DiscriminatorConfig(stride=1), "crops at full resolution", 0.65),
}


def discriminator_section(data: Gathered, rng: np.random.Generator) -> Section:
    """The cross-fitted AUC on each kind of volume; the floor is of two random halves of the real persons."""
    figures, missing = [], []
    for name, (config, words, asked) in SEEN.items():
        try:
            figures.append(_told(data, name, words, asked, config, rng))
        except EvaluationError as error:
            missing.append(f"{words.capitalize()}: {error}.")
    return Section(
        key="discriminator",
        title="Real or synthetic",
        meaning="Can a network that is trained to do so tell a synthetic scan from a real one? At .5 it guesses; at 1 it always knows, "
        "though a radiologist may not. Whole scans show whether the anatomy is right, crops whether the texture is.",
        method="A narrow 3D ResNet-10, trained anew for each of five folds on the persons of the others, as many synthetic as real; all "
        "volumes of a person lie in one fold. Real persons are the test persons, filled up with training persons, who are learnt from "
        "and not judged. AUC within folds, bootstrapped over persons. Floor: the same for two random halves of the real persons.",
        figures=figures,
        missing=missing,
    )


def _told(
    data: Gathered, name: str, words: str, asked: float, config: DiscriminatorConfig, rng: np.random.Generator
) -> ReportedFigure:
    test, train, made = (_volumes(data, side, name) for side in ("test", "train", "synthetic"))
    real = np.concatenate([test, train[rng.permutation(len(train))]])
    n = min(len(real), len(made))
    found = discriminator_auc(real[:n], made[rng.permutation(len(made))[:n]], config, rng, judged=min(len(test), n))
    halves = real[rng.permutation(len(real))]
    half = len(real) // 2
    floor = discriminator_auc(halves[:half], halves[half : 2 * half], config, rng)
    return ReportedFigure(
        key=f"discriminator_{name}",
        name=f"AUC of telling made from real: {words}",
        figure=found,
        aim="low",
        floor=floor,
        note=f".5: cannot be told, 1: always told; asked: {asked:g} or less",
    )


def _volumes(data: Gathered, side: str, name: str) -> np.ndarray:
    people = data.sides.get(f"{side}_crops")
    if people is None or name not in people.arrays:
        raise EvaluationError(f"{side} persons were gathered without crops: choose another --out and gather them anew")
    return people.arrays[name]
