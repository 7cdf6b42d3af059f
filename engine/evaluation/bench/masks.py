"""How well scan and mask go together, on test persons whose mask is known: scans drawn for it, masks found in scans, edits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_gradient_magnitude

from engine.anatomy import region_of
from engine.cohort.store import CohortStore
from engine.evaluation.bench.sampling import machine
from engine.evaluation.metrics.interval import bootstrap
from engine.imaging.region_edit import resized
from engine.imaging.segmentation import Segmentation
from engine.imaging.volume import Volume
from engine.inference.counterfactual import counterfactual
from engine.inference.generate import Model, load
from engine.inference.mask_edit import RIM
from engine.inference.masks import edit_of_scan
from engine.inference.segment import check_masks, segment
from engine.measure.ruler import Classes
from engine.measure.shipped import load_ruler
from engine.training.baselines.segresnet import SegmentTraining, classes_of, train_segresnet
from engine.training.run import Progress
from engine.training.stages.mask import class_of_code
from engine.vocabulary.refusal import RequestError


@runtime_checkable
class Classifier(Protocol):
    """Tells what each voxel of a scan is, as rulers do."""

    def classes_on(self, volume: Volume) -> Classes: ...


#: the region that is grown, and by what factor
GROWN, FACTOR = "liver", 1.3
#: steps of a what-if each way
STEPS = 16


def benchmark_masks(
    checkpoint: str | Path,
    store: CohortStore,
    *,
    persons: int = 200,
    edits: int = 20,
    baseline: float = 0.0,
    device: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure a model with masks on the store's test persons who have label maps; the result is ready for JSON.

    Dice with the person's mask, class by class, of what the ruler reads off the real scan (``read off real scans``) and off a scan
    that is drawn for the row and the mask (``read off scans drawn for the mask``), of the model's own segmentation of the real scan
    (``segmented``), and of the mask through the mask autoencoder; the steepness of edges against real ones; and, of ``edits``
    persons, what growing :data:`GROWN` by :data:`FACTOR` does to the volume that the ruler reads and to what lies further than
    :data:`RIM` from it. With ``baseline`` (minutes) a SegResNet is trained on the store's training persons for so long, and finds the
    masks of the same scans. Raises :class:`RequestError` for a model without masks, or too few such persons.
    """
    model = load(checkpoint, device)
    check_masks(model)
    rows = store.split()["test"]
    rows = rows[store.labelled[rows]][:persons]
    if len(rows) < 4:
        raise RequestError(f"{len(rows)} test persons of {store.path} have label maps; give a store with 4 or more")
    region = region_of(model.checkpoint.config.channels)
    if region is None:
        raise RequestError(f"{model.name} is of no region that there is a ruler for")
    ruler, found = load_ruler(region), list[dict[str, dict[str, float]]]()
    other = _baseline(model, store, baseline, progress)
    for done, row in enumerate(rows, 1):
        judged = _judged(model, ruler, store, int(row))
        found.append(judged | other(int(row)))
        if progress:
            progress("masks", done, len(rows))
    edited = [_edited(model, ruler, store, int(row)) for row in rows[:edits]] if _can_grow(model) else []
    return {
        "checkpoint": {"name": model.name, "digest": model.digest},
        "machine": machine(model.device),
        "persons": len(rows),
        **{what: _means([person[what] for person in found]) for what in found[0]},
        **({f"{GROWN} times {FACTOR:g}": _means(edited)} if len(edited) >= 4 else {}),
    }


def _baseline(
    model: Model, store: CohortStore, minutes: float, progress: Callable[[str, int, int], None] | None
) -> Callable[[int], dict[str, dict[str, float]]]:
    """Dice of a SegResNet trained for so long; nothing where there are no minutes."""
    mask = model.checkpoint.config.model.mask
    if not minutes or mask is None:
        return lambda row: {}

    def told(step: Progress) -> None:
        if progress:
            progress(step.stage, step.step, step.total)

    net = train_segresnet(store, store.split()["train"], mask, SegmentTraining(minutes=minutes), progress=told)
    labels, table = store.labels, class_of_code(mask)
    assert labels is not None

    def judged(row: int) -> dict[str, dict[str, float]]:
        truth = model.segmentation(table[np.asarray(labels[row])])
        found = model.segmentation(classes_of(net, store.scan(row).astype(np.float32)))
        return {"segmented by a SegResNet": dice(truth, found)}

    return judged


def _can_grow(model: Model) -> bool:
    mask = model.checkpoint.config.model.mask
    return mask is not None and GROWN in mask.classes


def _means(people: list[dict[str, float]]) -> dict[str, Any]:
    """Means over persons with their intervals; what somebody lacks is left out for that person."""
    names = sorted({name for person in people for name in person})
    table = {name: np.array([person.get(name, np.nan) for person in people]) for name in names}
    everyone = np.arange(len(people))

    def mean(values: Float[np.ndarray, " n"]) -> dict[str, Any]:
        return asdict(bootstrap(lambda i: float(np.nanmean(values[i])), everyone, np.random.default_rng(0)))

    return {name: mean(values) for name, values in table.items() if np.isfinite(values).mean() > 0.9}


def _judged(model: Model, ruler: Classifier, store: CohortStore, row: int) -> dict[str, dict[str, float]]:
    """Dice by class, and steepness, of one person."""
    config = model.checkpoint.config.model.mask
    assert config is not None
    assert store.labels is not None
    truth = model.segmentation(class_of_code(config)[np.asarray(store.labels[row])])
    scan = Volume(store.scan(row), store.affine, store.channels)
    given = _given(model, store, row)
    (drawn,) = model.generate(given=given, seed=row, mask=truth)
    net = model.checkpoint.model
    tokens = net.encode_mask(model.checkpoint.labels_on_grid(truth)[None].to(model.device))
    coded = model.segmentation(net.seen_mask(tokens)[0][0].cpu().numpy())
    return {
        "read off real scans": dice(truth, _read(ruler, scan, truth)),
        "read off scans drawn for the mask": dice(truth, _read(ruler, drawn.volume, truth)),
        "segmented": dice(truth, segment(model, scan, given)),
        "mask autoencoder": dice(truth, coded),
        "steepness over real": steepness(truth, drawn.volume, scan),
    }


def _given(model: Model, store: CohortStore, row: int) -> dict[str, Any]:
    """What the store knows of a person's modelled columns."""
    cells = store.rows[row]
    return {c.name: cells[c.name] for c in model.schema.columns if cells.get(c.name) is not None}


def _read(ruler: Classifier, scan: Volume, like: Segmentation) -> Segmentation:
    """The ruler's classes of a scan, on the grid of the mask ``like``."""
    found = ruler.classes_on(scan)
    labels = found.probabilities.argmax(0).astype(np.uint8)
    volume = Volume(labels, found.affine)
    if labels.shape != like.labels.shape or not np.allclose(found.affine, like.affine):
        volume = volume.resampled(like.labels.shape, like.affine, order=0)
    return Segmentation(volume.data.astype(np.uint8), like.affine, found.names)


def dice(truth: Segmentation, found: Segmentation) -> dict[str, float]:
    """Dice of every class but the background that both know and the person has."""
    shared = [name for name in truth.classes[1:] if name in found.classes and truth.mask(name).any()]
    scores = {}
    for name in shared:
        one, other = truth.mask(name), found.mask(name)
        scores[name] = 2 * float((one & other).sum()) / float(one.sum() + other.sum())
    return scores


def steepness(truth: Segmentation, drawn: Volume, real: Volume) -> dict[str, float]:
    """For each class the mean gradient of the drawn scan over that of the real one, where the class borders on others."""
    gradients = [
        sum(gaussian_gradient_magnitude(channel.astype(np.float32), 0.5) for channel in _channels(v))
        for v in (drawn, real)
    ]
    found = {}
    for name in truth.classes[1:]:
        inside = truth.mask(name)
        border = inside & ~np.asarray(binary_erosion(inside), bool)
        if border.sum() > 50:
            of_drawn, of_real = (float(np.asarray(g)[border].mean()) for g in gradients)
            found[name] = of_drawn / of_real
    return found


def _channels(volume: Volume) -> Float[np.ndarray, "c x y z"]:
    return np.asarray(volume.data, np.float32).reshape(-1, *volume.grid)


def _edited(model: Model, ruler: Classifier, store: CohortStore, row: int) -> dict[str, float]:
    """What a grown region does to one real scan: volume read after over before, what the table says, changes far from it."""
    scan = Volume(store.scan(row), store.affine, store.channels)
    given = _given(model, store, row)
    edit, follow = edit_of_scan(model, scan, given, lambda mask: resized(mask, GROWN, FACTOR))
    found = counterfactual(model, scan, factual=given, intervention={}, steps=STEPS, free=follow, edit=edit)
    before, after = (_read(ruler, v, edit.before).volumes_ml() for v in (found.null, found.volume))
    far = ~_near(edit.before.mask(GROWN) | edit.after.mask(GROWN), edit.before.affine)
    body = far & (edit.before.labels > 0)
    said = {
        "asked": edit.after.volumes_ml()[GROWN] / edit.before.volumes_ml()[GROWN],
        "read": after[GROWN] / max(before[GROWN], 1.0),
    }
    if body.any():
        change = np.abs(_channels(found.volume) - _channels(found.null))[:, body].mean()
        noise = np.abs(_channels(found.null) - _channels(found.reconstruction))[:, body].mean()
        said["change far away over that of no change"] = float(change / max(noise, 1e-6))
    for column in follow:
        then: Any = found.row[column]
        said[f"{column} in the table"] = float(then) / float(given[column])
    return said


def _near(inside: Bool[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"]) -> Bool[np.ndarray, "x y z"]:
    """What lies within :data:`RIM` of the region."""
    reach = np.linalg.norm(affine[:3, :3], axis=0)
    return np.asarray(binary_dilation(inside, iterations=round(RIM / float(reach.min()))), bool)
