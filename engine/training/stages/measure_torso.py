"""From nothing but seeds to ``measure-torso``: train on in-silico persons, calibrate, test on others, write the ruler."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import gaussian_filter

from engine.imaging.pair import CHANNELS
from engine.imaging.volume import Volume, centred_affine
from engine.measure.reference import CohortBand
from engine.measure.ruler import read_ruler
from engine.measure.segmenter import Segmenter
from engine.measure.torso import (
    CLASSES,
    COUNTED,
    DEFINITIONS,
    MEASURES,
    NAME,
    UNITS,
    Reading,
    TorsoMeasure,
    TorsoMeasureConfig,
    perfect,
)
from engine.phantom.cohort import LICENCE, person_seeds
from engine.phantom.shape.frame import GRID, SPACING
from engine.phantom.torsos import PHANTOM, PhantomPerson, make
from engine.storage import strict_json
from engine.training.run import Progress
from engine.training.stages.inherit import inherit
from engine.training.stages.measure_head import correlation
from engine.training.stages.segmenter import train_segmenter
from engine.training.stages.torso_examples import BodyTraining, Maker, body_batches

#: with what a class begins that an older ruler did not tell apart
PARENTS = {"psoas": "muscle", "paraspinal": "muscle", "thigh": "muscle", "heart": "other", "vertebrae": "bone"}
#: attributes whose regressions over the test persons are kept
ATTRIBUTES = ("age", "bmi", "height", "weight")
#: SD in voxels of the blur with which robustness is reported, on every fourth person
BLUR, EVERY = 1.0, 4
#: fewest persons of whom something must be read to be calibrated and reported
MINIMUM_READ = 5


@dataclass(frozen=True, kw_only=True)
class BodyRecipe:
    """All that makes a ``measure-torso``: ``seed`` makes the training persons, the next one those it is calibrated on,
    the one after the next those it is tested on."""

    measure: TorsoMeasureConfig = field(default_factory=TorsoMeasureConfig)
    training: BodyTraining = field(default_factory=BodyTraining)
    seed: int = 7001
    validation: int = 32
    test: int = 100


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One person measured: the table's row, what a perfect network would have read, what was read, read after a blur
    (empty where nothing was blurred), and Dice by class."""

    row: Mapping[str, Any]
    want: Mapping[str, float]
    have: Reading
    blurred: Mapping[str, float]
    dice: Mapping[str, float]


def train_body(
    recipe: BodyRecipe,
    run_dir: Path,
    *,
    minutes: float | None = None,
    maker: Maker = make,
    available: int | None = None,
    start: Path | None = None,
) -> Iterator[Progress]:
    """Train, calibrate and test; yields progress and leaves ``run_dir/checkpoint``.

    The same call again resumes; ``minutes`` limits the training of this call. ``maker`` takes seeds to persons, of whom
    ``available`` are for training (None: without end). ``start`` is an older ruler to begin with, of other classes maybe.
    """
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    torch.manual_seed(recipe.seed)
    net = Segmenter(recipe.measure.segmenter)
    if start is not None:
        older = read_ruler(start, NAME)
        inherit(net, older.weights, older.config["measure"]["segmenter"]["classes"], PARENTS)
    batches = body_batches(recipe.training, recipe.seed, maker)
    steps = 0
    for progress in train_segmenter(
        net, batches, recipe.training.segmenter, run_dir=run_dir, seed=recipe.seed, deadline=deadline
    ):
        steps = progress.step
        yield progress
    # judged and shipped as it is stored: in bfloat16
    net.load_weights({k: v.detach().bfloat16() for k, v in net.named_parameters()})
    empty = CohortBand(lines={}, curves={}, levels={})
    ruler = TorsoMeasure(recipe.measure, net.requires_grad_(False).eval(), empty, {})
    found: dict[str, list[Judged]] = {}
    for part, seed, n in (
        ("validation", recipe.seed + 1, recipe.validation),
        ("test", recipe.seed + 2, recipe.test),
    ):
        began, found[part] = time.monotonic(), []
        for one in person_seeds(seed, n):
            (person,) = maker([one])
            blur = len(found[part]) % EVERY == 0
            found[part].append(judge(ruler, person, blur))
            yield Progress(part, len(found[part]), n, time.monotonic() - began, {})
        if part == "validation":
            ruler = replace(ruler, config=replace(ruler.config, gains=gains(found[part])))
    rows = [one.row for one in found["test"]]
    band = CohortBand.fit(rows, [one.have.values for one in found["test"]], ATTRIBUTES)
    figures = agreement(found["test"])
    about = {"recipe": asdict(recipe), "steps": steps, "phantom": PHANTOM, "figures": strict_json.defined(figures)}
    ruler = replace(ruler, cohort=band, card=model_card(recipe, steps, figures, available))
    ruler.save(run_dir / "checkpoint", about)


def scan_of(person: PhantomPerson) -> Volume:
    """The person's water and fat as a scan."""
    return Volume(person.images, centred_affine(GRID, SPACING), CHANNELS)


def judge(ruler: TorsoMeasure, person: PhantomPerson, blur: bool = False) -> Judged:
    """Measure one person, and what their label map and table say."""
    scan, truth = scan_of(person), perfect(person.labels)
    exact = replace(ruler, config=replace(ruler.config, gains=(1.0,) * len(CLASSES)))
    want = exact.read(scan, truth).values | {name: person.row[name] for name in ("waist", "liver_pdff")}
    torso, probabilities, notes = ruler.classified(ruler.framed(scan))
    hard, dice = probabilities.argmax(0), {}
    for c, name in enumerate(CLASSES):
        mine, theirs = hard == c, truth[c] > 0
        dice[name] = 2 * float((mine & theirs).sum()) / max(1.0, float(mine.sum() + theirs.sum()))
    have, soft = replace(ruler.read(torso, probabilities), notes=notes), {}
    if blur:
        soft = ruler.measure(replace(scan, data=np.stack([gaussian_filter(c * 1.0, BLUR) for c in person.images])))
    return Judged(row=person.row, want=want, have=have, blurred=soft, dice=dice)


def gains(found: Sequence[Judged]) -> tuple[float, ...]:
    """For each class that is counted the factor that makes the median relative difference over these persons zero: of the mean,
    a few with next to none of it would decide."""
    factors = dict.fromkeys(CLASSES, 1.0)
    for measure, parts in COUNTED.items():
        want, have = _pairs(found, measure)
        # what a measure of its own says of a class goes before what a sum of classes says
        own = [part for part in parts if len(parts) == 1 or (part,) not in COUNTED.values()]
        if len(want) >= MINIMUM_READ:
            factors |= dict.fromkeys(own, float(1 / np.median(have / want)))
    return tuple(round(factors[name], 4) for name in CLASSES)


def agreement(found: Sequence[Judged]) -> dict[str, Any]:
    """How well the ruler reproduces label counts and table over these persons.

    For each measure: Pearson r and the mean relative difference (of ``waist`` in cm and ``liver_pdff`` in percentage points:
    the mean difference), each with a 95 % bootstrap interval over persons, the difference's SD, and the mean relative
    change by a blur of :data:`BLUR` voxels; for each class mean and least Dice; how many swaps were told. What was read
    of fewer than :data:`MINIMUM_READ` is left out.
    """
    measures = {}
    for name in MEASURES:
        want, have = _pairs(found, name)
        if len(want) < MINIMUM_READ:
            continue
        off = have - want if name in ("waist", "liver_pdff") else have / want - 1
        blurred = np.array([one.blurred[name] / one.have.values[name] - 1 for one in found if one.blurred])
        measures[name] = {
            "r": correlation(want, have),
            "difference": [float(off.mean()), *_interval(off), float(off.std(ddof=1))],
            "relative_change_by_blur": float(np.nanmean(blurred)),
        }
    dice = {name: [one.dice[name] for one in found] for name in CLASSES}
    swaps = [one for one in found if one.row["quality"] == "fat_water_swap"]
    return {
        "n": len(found),
        "measures": measures,
        "dice": {name: [float(np.mean(values)), float(np.min(values))] for name, values in dice.items()},
        "swaps": len(swaps),
        "swaps_told": sum(bool(one.have.notes) for one in swaps),
        "swaps_told_wrongly": sum(bool(one.have.notes) for one in found) - sum(bool(one.have.notes) for one in swaps),
    }


def _pairs(found: Sequence[Judged], measure: str) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    pairs = [(one.want[measure], one.have.values[measure]) for one in found if one.want[measure] is not None]
    want, have = np.array(pairs, float).reshape(-1, 2).T
    seen = np.isfinite(have) & np.isfinite(want) & (want > 0) & (have > 0)
    return want[seen], have[seen]


def _interval(values: Float[np.ndarray, " n"]) -> list[float]:
    """The 95 % percentile bootstrap interval of the mean."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (2000, len(values)))].mean(1)
    return [float(v) for v in np.quantile(means, [0.025, 0.975])]


def model_card(
    recipe: BodyRecipe, steps: int, figures: Mapping[str, Any], available: int | None = None
) -> dict[str, Any]:
    """The facts of the card, in words."""
    persons = recipe.training.pool + steps // recipe.training.refresh
    persons = persons if available is None else min(persons, available)
    lines: dict[str, str] = {}
    for name, by in figures["measures"].items():
        (r, low, high), (mean, least, most, sd) = by["r"], by["difference"]
        if name in ("waist", "liver_pdff"):
            unit = "cm" if name == "waist" else "percentage points"
            off = f"{mean:+.2f} {unit} ({least:+.2f} to {most:+.2f}, SD {sd:.2f})"
        else:
            off = f"{mean:+.1%} ({least:+.1%} to {most:+.1%}, SD {sd:.1%})"
        what = f"test (n = {figures['n']}), {MEASURES[name].lower()} in {UNITS[name]} against the table"
        lines[what] = (
            f"r = {r:.4f} ({low:.4f} to {high:.4f}), difference {off}; "
            f"a blur of SD {BLUR:g} voxel changes it by {by['relative_change_by_blur']:+.1%}"
        )
    dice = ", ".join(f"{name} {mean:.3f} ({least:.3f})" for name, (mean, least) in figures["dice"].items())
    lines[f"test (n = {figures['n']}), Dice against the label map, mean (least)"] = dice
    lines["fat-water swaps"] = (
        f"{figures['swaps_told']} of {figures['swaps']} were told, {figures['swaps_told_wrongly']} told where there is none"
    )
    return {
        "name": NAME,
        "title": "Measures on a torso: fat, muscle, liver, waist, lungs",
        "purpose": "Reads body composition off the water and fat images of a torso, without its table. Not for diagnosis.",
        "trained_on": f"About {persons} in-silico persons (phantom version {PHANTOM}): computed anatomy only, no scan of "
        "any person. Brackets are 95 % bootstrap intervals over persons that were neither trained nor calibrated on",
        "licence": f"Weights and figures derive from the in-silico cohort, {LICENCE}",
        "contains": "No image and no row of any person; the cohort's regressions are aggregates over in-silico persons",
        "measures": dict(DEFINITIONS),
        "figures": lines,
        "limits": [
            "Visceral fat between loops of bowel, and the little that lean persons have, is read with large relative errors: a "
            "mean relative difference is then that of a few persons",
            "Never tested on a real scan: figures hold for computed anatomy and say nothing of how well it reads a patient",
            "Whole volumes are of the field of view: another one holds another share of the body, arms above all",
            "The liver's fat fraction assumes the protocol of the phantom (spoiled gradient echo, TR 4.36 ms, TE 2.46 ms, "
            "9 degrees, 3 T) and one T2* for every liver; iron is not seen",
            "5 x 5 x 6 mm voxels: thin layers are counted in part; other voxel sizes are resampled",
            "Where water and fat are exchanged in a part of the volume it says so where it is sure; a whole volume is put right",
        ],
    }
