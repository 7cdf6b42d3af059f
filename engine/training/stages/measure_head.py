"""From a labelled store to ``measure-head``: train the segmenter, test it once, measure the cohort, write the checkpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter

from engine.cohort.store import CohortStore
from engine.imaging.volume import Volume
from engine.measure.head import CLASSES, DEFINITIONS, MEASURES, NAME, HeadMeasure, HeadMeasureConfig, classes_of_codes
from engine.measure.reference import MINIMUM_GROUP, CohortBand
from engine.measure.relation import power_law
from engine.measure.segmenter import Segmenter
from engine.storage import strict_json
from engine.training.run import Progress, RunError
from engine.training.stages.segmenter import SegmenterTraining, head_batches, train_segmenter

#: attributes whose regressions over the training persons are kept
ATTRIBUTES = ("age", "bmi", "height", "weight")
#: fewest labelled persons of each part: fewer have no correlation
MINIMUM_LABELLED = 3
#: SD in voxels of the blur with which robustness is reported
BLUR = 1.0


@dataclass(frozen=True, kw_only=True)
class MeasureRecipe:
    """All that makes a ``measure-head`` besides the cohort."""

    measure: HeadMeasureConfig = field(default_factory=HeadMeasureConfig)
    training: SegmenterTraining = field(default_factory=SegmenterTraining)
    seed: int = 0


def train_measure(
    recipe: MeasureRecipe, store: CohortStore, run_dir: Path, *, minutes: float | None = None
) -> Iterator[Progress]:
    """Train on the store's training persons; yields progress and leaves ``run_dir/checkpoint``.

    The same call again resumes; ``minutes`` limits the training of this call. Only labelled persons take part. Raises
    :class:`RunError` for a store without labels, on another grid or of too few persons.
    """
    rows = labelled_rows(recipe, store)
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    torch.manual_seed(recipe.seed)
    net = Segmenter(recipe.measure.segmenter)
    frame, training = recipe.measure.segmenter, recipe.training
    batches = head_batches(frame, store, rows["train"], classes_of_codes(), training)
    yield from train_segmenter(net, batches, training, run_dir=run_dir, seed=recipe.seed, deadline=deadline)
    # judged and shipped as it is stored: in bfloat16
    net.load_weights({k: v.detach().bfloat16() for k, v in net.named_parameters()})
    empty = CohortBand(lines={}, curves={}, levels={})
    ruler = HeadMeasure(recipe.measure, net.requires_grad_(False).eval(), empty, {})
    ruler = replace(ruler, config=calibrated(ruler, store, np.concatenate([rows["train"], rows["validation"]])))
    began, measures = time.monotonic(), []
    for row in rows["train"]:
        measures.append(ruler.measure(Volume(np.asarray(store.volumes[row, 0]), store.affine)))
        yield Progress("cohort", len(measures), len(rows["train"]), time.monotonic() - began, {})
    band = CohortBand.fit([store.rows[i] for i in rows["train"]], measures, ATTRIBUTES)
    figures = {part: agreement(ruler, store, rows[part]) for part in ("validation", "test")}
    ruler = replace(ruler, cohort=band, card=model_card(store, len(rows["train"]), figures))
    about = {"recipe": asdict(recipe), "training_persons": len(rows["train"]), "figures": strict_json.defined(figures)}
    ruler.save(run_dir / "checkpoint", about)


def labelled_rows(recipe: MeasureRecipe, store: CohortStore) -> dict[str, Int[np.ndarray, " n"]]:
    """The labelled persons of each part of the split; raises :class:`RunError` for a store that cannot be learned from."""
    if store.labels is None:
        raise RunError(f"{store.path} has no labels, so there is nothing to learn from; ingest a labelled data set")
    if not np.allclose(store.affine, recipe.measure.frame.affine) or store.grid != recipe.measure.grid:
        raise RunError(f"the store's grid {store.grid} is not the measure's {recipe.measure.grid}; ingest it anew")
    rows = {part: members[store.labelled[members]] for part, members in store.split().items()}
    for part, members in rows.items():
        if len(members) < MINIMUM_LABELLED:
            found = f"{store.path} has {len(members)} labelled {part} persons"
            raise RunError(f"{found}, {MINIMUM_LABELLED} are needed; ingest more with labels, age and sex")
    return rows


def reference(config: HeadMeasureConfig, labels: Volume) -> Float[np.ndarray, "k x y z"]:
    """A label map as probabilities 0 and 1 on the segmenter's window: what a perfect network would say."""
    codes = labels.resampled(config.segmenter.window, config.segmenter.affine, order=0).data.astype(int)
    return np.stack([classes_of_codes()[codes] == c for c in range(len(CLASSES))]).astype(np.float32)


def calibrated(ruler: HeadMeasure, store: CohortStore, rows: Int[np.ndarray, " n"]) -> HeadMeasureConfig:
    """The ruler's settings with the power law that takes the ventricles it reads over ``rows`` to those of the labels.

    None (1, 1) where what it reads does not vary enough for a law, as after a few steps; the card's figures then show it.
    """
    assert store.labels is not None
    exact = replace(ruler, config=replace(ruler.config, ventricles=(1.0, 1.0)))
    pairs = []
    for row in rows:
        scan, labels = (Volume(np.asarray(part), store.affine) for part in (store.volumes[row, 0], store.labels[row]))
        want = exact.read(scan, reference(exact.config, labels))
        pairs.append((exact.measure(scan)["ventricles_ml"], want["ventricles_ml"]))
    law = power_law(*np.array([pair for pair in pairs if min(pair) > 0]).T)
    return replace(exact.config, ventricles=law if np.isfinite(law).all() else (1.0, 1.0))


def agreement(ruler: HeadMeasure, store: CohortStore, rows: Int[np.ndarray, " n"]) -> dict[str, Any]:
    """How well the ruler reproduces the labels over ``rows``.

    For each measure of the network: Pearson r with a 95 % bootstrap interval over persons, mean and SD of the relative
    difference, and the mean relative change that a blur of :data:`BLUR` voxels makes; for each class the mean Dice.
    """
    assert store.labels is not None
    exact = replace(ruler, config=replace(ruler.config, ventricles=(1.0, 1.0)))
    pairs: dict[str, list[tuple[float, float, float]]] = {m: [] for m in MEASURES if m != "neck_ml"}
    dice: dict[str, list[float]] = {c: [] for c in CLASSES[1:]}
    for row in rows:
        data = np.asarray(store.volumes[row, 0], np.float32)
        head = Volume(data, store.affine)
        truth = reference(ruler.config, Volume(np.asarray(store.labels[row]), store.affine))
        found = ruler.segmenter.probabilities(head)
        want, have = exact.read(head, truth), ruler.read(head, found)
        blurred = ruler.measure(Volume(gaussian_filter(data, BLUR), store.affine))
        for name, values in pairs.items():
            values.append((want[name], have[name], blurred[name]))
        hard = found.argmax(0)
        for c, name in enumerate(CLASSES[1:], 1):
            both = 2 * float(((hard == c) * truth[c]).sum())
            dice[name].append(both / max(1.0, float((hard == c).sum() + truth[c].sum())))
    volumes = {}
    for name, values in pairs.items():
        want, have, blurred = np.array(values).T
        volumes[name] = {
            "r": correlation(want, have),
            "relative_difference": [float((have / want - 1).mean()), float((have / want - 1).std(ddof=1))],
            "relative_change_by_blur": float((blurred / have - 1).mean()),
        }
    return {"n": len(rows), "volumes": volumes, "dice": {k: float(np.mean(v)) for k, v in dice.items()}}


def correlation(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> list[float]:
    """Pearson r and its 95 % percentile bootstrap interval over persons."""
    rng, n = np.random.default_rng(0), len(a)
    draws = [rng.integers(0, n, n) for _ in range(2000)]
    resampled = [np.corrcoef(a[d], b[d])[0, 1] for d in draws if len(np.unique(d)) > 2]
    return [float(v) for v in (np.corrcoef(a, b)[0, 1], *np.quantile(resampled, [0.025, 0.975]))]


def model_card(store: CohortStore, persons: int, figures: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of the card, in words; source, licence and acknowledgement are the store's."""
    facts = store.meta
    defaced = facts.get("plan", {}).get("preprocess", {}).get("deface", False)
    licence = facts.get("licence", "not recorded: ask the cohort's owner")
    lines: dict[str, str] = {}
    for part, found in figures.items():
        for name, by in found["volumes"].items():
            (r, low, high), (mean, sd) = by["r"], by["relative_difference"]
            lines[f"{part} (n = {found['n']}), {MEASURES[name].lower()} in ml against DLMUSE"] = (
                f"r = {r:.3f} (95 % bootstrap interval {low:.3f} to {high:.3f}), difference {mean:+.1%} (SD {sd:.1%}); "
                f"a blur of SD {BLUR:g} voxel changes it by {by['relative_change_by_blur']:+.1%}"
            )
        dice = ", ".join(f"{name} {value:.3f}" for name, value in found["dice"].items())
        lines[f"{part} (n = {found['n']}), Dice against DLMUSE"] = dice
    return {
        "name": NAME,
        "title": "Measures on a head: brain, ventricles, neck soft tissue",
        "purpose": "Reads volumes in ml off a T1-weighted head, to compare synthetic heads with real ones. Not for diagnosis.",
        "trained_on": f"{persons} real heads{', faces removed,' if defaced else ''} of the training persons only, with "
        f"automatic DLMUSE labels: {facts.get('source_name', 'an unnamed cohort')}",
        "licence": f"Weights and figures derive from the cohort's images, whose licence is {licence}: say so wherever they "
        f"are used. {facts.get('acknowledgement', '')}",
        "contains": "No image and no row of any person. The cohort's regressions are aggregates over the training persons; "
        f"groups under {MINIMUM_GROUP} persons are left out",
        "measures": dict(DEFINITIONS),
        "figures": lines,
        "limits": [
            "Healthy adults, one scanner, 2 mm voxels; no lesions, tumours or infants",
            "The DLMUSE labels it learned from are themselves automatic",
            "Its ventricles are brought to those of the labels by a power law fitted on training and validation persons; "
            "blurred ones are read larger: compare what it reads with its own figures of the cohort, not with another ruler's",
            "Neck soft tissue is counted by intensity in a fixed slab, not segmented; it depends on the tilt of the head",
            "A scan that is not on the ruler's own grid is first turned by its symmetry and the long axis of its brain",
        ],
    }
