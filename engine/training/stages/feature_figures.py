"""Whether a feature encoder sees anything: persons found again, damage detected, attributes read; for its card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.ndimage import binary_dilation, center_of_mass, gaussian_filter, map_coordinates
from scipy.spatial.distance import cdist, pdist
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from engine.cohort.store import CohortStore
from engine.measure.features import FeatureEncoder

TwoViews = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]
BLUR, NOISE, SMALLER = 1.0, 0.05, 0.9
#: damage done to test persons, in words
DAMAGES = {
    "blur": f"blur of SD {BLUR:g} voxel",
    "noise": f"noise of SD {NOISE:g}",
    "smaller": f"the mask's inside {1 - SMALLER:.0%} smaller in volume",
}
ATTRIBUTES = ("age", "sex", "height", "bmi")
#: persons by part from which an attribute is scored
MINIMUM_PROBED = 10


def figures(encoder: FeatureEncoder, store: CohortStore, views: TwoViews, most: int, seed: int) -> dict[str, Any]:
    """Retrieval and damages over at most ``most`` test persons, attributes read by a linear probe.

    The probe is fitted on four times as many training persons and scored on validation and on test persons.
    """
    parts = store.split()
    test, train, held = parts["test"][:most], parts["train"][: 4 * most], parts["validation"][:most]
    seen: dict[str, list[np.ndarray]] = {name: [] for name in ("plain", "first", "second", *DAMAGES)}
    for row in test:
        volume = store.scan(row)
        # a generator for each person: the figures do not depend on who else is judged
        rng, generator = (
            np.random.default_rng([seed, int(row)]),
            torch.Generator().manual_seed(seed * 1_000_003 + int(row)),
        )
        first, second = (v[0].numpy() for v in views(torch.from_numpy(volume)[None], generator))
        variants = {"plain": volume, "first": first, "second": second}
        variants |= damaged(volume, np.asarray(store.mask[row]), rng)
        for name, variant in variants.items():
            seen[name].append(encoder.encode(variant[None])[0].ravel())
    features = {name: np.array(found, np.float64) for name, found in seen.items()}
    plain = features["plain"]
    known = {"train": (train, encoded(encoder, store, train)), "validation": (held, encoded(encoder, store, held))}
    known["test"] = (test, plain)
    return {
        "retrieval": retrieval(features["first"], features["second"]),
        "damage": {name: detected(plain, features[name]) for name in DAMAGES},
        "attributes": {name: probed(store, known, name) for name in ATTRIBUTES},
    }


def encoded(encoder: FeatureEncoder, store: CohortStore, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
    """Both folds' features of stored persons beside each other."""
    found = [encoder.encode(np.asarray(store.volumes[row], np.float32)[None] / 255)[0].ravel() for row in rows]
    return np.array(found, np.float64).reshape(len(rows), -1)


def damaged(
    volume: Float[np.ndarray, "c x y z"], mask: Bool[np.ndarray, "x y z"], rng: np.random.Generator
) -> dict[str, Float[np.ndarray, "c x y z"]]:
    """Each of :data:`DAMAGES` done to a volume in 0..1."""
    # a smaller inside: what lies at x is fetched from farther out of the middle, less so beyond the mask
    inside = gaussian_filter(binary_dilation(mask, iterations=4).astype(np.float32), 3)
    middle = np.array(center_of_mass(mask) if mask.any() else np.array(mask.shape) / 2).reshape(3, 1, 1, 1)
    places = np.indices(mask.shape, np.float32)
    places += (places - middle.astype(np.float32)) * inside * np.float32(SMALLER ** (-1 / 3) - 1)
    smaller = np.stack([map_coordinates(c, places, order=1, mode="nearest", output=np.float32) for c in volume])
    noise = rng.standard_normal(volume.shape, np.float32) * NOISE
    blurred = np.stack([gaussian_filter(c, BLUR) for c in volume])
    return {"blur": blurred, "noise": (volume + noise).clip(0, 1), "smaller": smaller}


def retrieval(first: Float[np.ndarray, "n d"], second: Float[np.ndarray, "n d"]) -> dict[str, Any]:
    """How many persons' second view has their own first view as the nearest of all; exact 95 % interval; chance."""
    n = len(first)
    found = int((cdist(second, first).argmin(1) == np.arange(n)).sum())
    interval = binomtest(found, n).proportion_ci(0.95, "exact")
    return {"share": found / n, "interval": [float(interval.low), float(interval.high)], "chance": 1 / n, "n": n}


def detected(plain: Float[np.ndarray, "n d"], other: Float[np.ndarray, "n d"]) -> dict[str, float]:
    """``shift``: the mean displacement's length over the mean distance of two persons; ``auc``: of a logistic probe that
    tells damaged from plain, cross-validated over persons."""
    n = len(plain)
    shift = float(np.linalg.norm((other - plain).mean(0)) / pdist(plain).mean())
    both, label = np.concatenate([plain, other]), np.arange(2 * n) >= n
    folds = GroupKFold(min(5, n)).split(both, label, np.tile(np.arange(n), 2))
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    scores = cross_val_predict(probe, both, label, cv=list(folds), method="decision_function")
    return {"shift": shift, "auc": float(roc_auc_score(label, scores))}


def probed(
    store: CohortStore, known: Mapping[str, tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n d"]]], name: str
) -> dict[str, Any]:
    """How well a ridge probe of ``train`` reads an attribute in the other parts: R2 of a number, AUC of sex."""
    data = {}
    for part, (rows, features) in known.items():
        values = [store.rows[row].get(name) for row in rows]
        there = np.array([v is not None for v in values], bool)
        cells = [float(v == "M") if name == "sex" else float(v) for v in values if v is not None]
        data[part] = features[there], np.array(cells)
    if any(len(y) < MINIMUM_PROBED or np.ptp(y) == 0 for _, y in data.values()):
        return {}
    probe = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 5, 13))).fit(*data["train"])
    score = roc_auc_score if name == "sex" else r2_score
    found = {part: float(score(y, probe.predict(x))) for part, (x, y) in data.items() if part != "train"}
    return {"figure": "AUC" if name == "sex" else "R2", **found, "n": {part: len(y) for part, (_, y) in data.items()}}


def model_card(
    name: str, title: str, store: CohortStore, persons: list[int], found: Mapping[str, Any]
) -> dict[str, Any]:
    """The facts of the card, in words; source, licence and acknowledgement are the store's."""
    facts, seen = store.meta, found["retrieval"]
    low, high = seen["interval"]
    licence = facts.get("licence", "not recorded: ask the cohort's owner")
    lines = {
        f"test persons found again (n = {seen['n']})": f"of {seen['share']:.1%} the other view is the nearest of all "
        f"(exact 95 % interval {low:.1%} to {high:.1%}; chance {seen['chance']:.1%})"
    }
    for damage, words in DAMAGES.items():
        by = found["damage"][damage]
        lines[f"test persons, {words}"] = (
            f"told from plain scans with AUC {by['auc']:.3f} by a linear probe over persons; "
        )
        lines[f"test persons, {words}"] += f"mean shift {by['shift']:.2f} of the mean distance of two persons"
    for attribute, by in found["attributes"].items():
        if by:
            held = ", ".join(f"{by[part]:.2f} on {part} (n = {by['n'][part]})" for part in ("validation", "test"))
            lines[f"{attribute}, linear probe of {by['n']['train']} training persons"] = f"{by['figure']} {held}"
    return {
        "name": name,
        "title": title,
        "purpose": "Distances between scans and between sets of scans: fidelity, copies. Not for diagnosis.",
        "trained_on": f"{sum(persons)} training persons only, {persons[0]} in fold 0 and {persons[1]} in fold 1: "
        f"{facts.get('source_name', 'an unnamed cohort')}; never on a generated scan",
        "licence": f"Weights and figures derive from the cohort's images, whose licence is {licence}: say so wherever they "
        f"are used. {facts.get('acknowledgement', '')}",
        "contains": "No image and no row of any person",
        "figures": lines,
        "limits": [
            "Trained on one cohort: a distance beside a real-against-real floor means something, alone it does not",
            "It is asked to tell persons apart, whatever they are told apart by; position and brightness it ignores in part",
            "The figures are of at most a few hundred persons, and of damages that were never trained on",
        ],
    }
