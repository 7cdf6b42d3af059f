"""A scan to what a model takes: its grid, its channels, intensities of 0 to 1, defaced where its cohort was."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engine.anatomy import region_of
from engine.checkpoints.typicality import FACES, check
from engine.cohort.preprocess.preprocess import BrainMasker, PreprocessConfig, deepbet_masker, preprocess
from engine.imaging.cine.phases import in_phases
from engine.imaging.cine.short_axis import on_grid, place
from engine.imaging.grid import in_words, phases_of
from engine.imaging.scan import load_scan
from engine.imaging.volume import Volume, black_at_zero
from engine.inference.generate import Model
from engine.vocabulary.refusal import RequestError

#: share of the model's grid that a scan has to cover, and of the voxels that are brighter than what is shown as white
COVERED, WHITE = 0.8, 0.002
#: share of the model's slices that a cine has to have: from apex to base a heart takes half of them or more
SLICES = 0.5
#: share of the brain that has to lie in the model's grid, and of its largest cross-section that an outermost slice may show
BRAIN_IN_GRID, BRAIN_CUT = 0.98, 0.1
#: largest intensity of a scan that is taken to be 0 to 1 already, and of one stored in 8 bits
UNIT, BYTE = 1.001, 255.0
#: reasons that a refusal names
NAMED = 3


def admit(
    model: Model, scan: Volume | str | Path, *, force: bool = False, masker: BrainMasker | None = None
) -> tuple[Volume, list[str]]:
    """:func:`intake` of a scan that looks like those of the model's cohort, how it was read, and what speaks against it (nothing).

    Raises :class:`RequestError` with the reasons for a scan of another anatomy, contrast, orientation or field of view
    (:func:`engine.checkpoints.typicality.check`); with ``force`` it is taken all the same and the reasons are returned.
    """
    brought = _brought(model, scan, masker)
    volume, doubts = brought.volume, brought.doubts + check(model.checkpoint, brought.volume)
    if doubts and not force:
        more = f", and {len(doubts) - NAMED} more" if len(doubts) > NAMED else ""
        reasons = "; ".join(doubts[:NAMED]) + more
        raise RequestError(
            f"{_called(scan)} does not look like the scans of {model.name}: {reasons}; give such a scan or use --force"
        )
    return volume, [*brought.notes, *doubts]


def moves(model: Model, scan: Volume | str | Path) -> bool:
    """Whether a scan is moved on its way to the model's grid, and does not lie on it already or is resampled where it lies."""
    given = _volume(model, scan)[0].reoriented("RAS")
    return not _lies_on(model, given) and (_settings(model) is not None or given.phases > 1)


def _lies_on(model: Model, scan: Volume) -> bool:
    grid = model.checkpoint.model.config.image.grid
    return scan.grid == grid and np.allclose(scan.affine, model.checkpoint.affine, atol=0.01)


def _settings(model: Model) -> PreprocessConfig | None:
    """How the scans of the model's region are preprocessed, where they are."""
    config = model.checkpoint.config
    region = region_of(config.channels)
    return config.preprocessing if region is not None and region.intake == "preprocessed" else None


def intake(model: Model, scan: Volume | str | Path, masker: BrainMasker | None = None) -> Volume:
    """A scan, or the one at a path (either file of a torso's pair), on the model's grid, float32 in 0..1.

    A scan that lies on the grid already, such as a generated one, is taken as it is; another goes through the preprocessing
    of the model's cohort where its region is taken in so (:class:`engine.anatomy.region.Region`) and the cohort had any; a cine
    is turned into the heart's frame (:func:`engine.imaging.cine.short_axis.place`); else it is resampled where it lies. Raises
    :class:`engine.imaging.volume.VolumeError` for a file that cannot be read or shows no brain, :class:`RequestError` for a
    field of view that does not cover the model's, or the brain. What it shows is not asked: see :func:`admit`.
    """
    brought = _brought(model, scan, masker)
    if brought.doubts:
        raise RequestError(
            f"{_called(scan)} cannot be used: {brought.doubts[0]}; give a scan of the same part of the body"
        )
    return brought.volume


def _called(scan: Volume | str | Path) -> str:
    return "the scan" if isinstance(scan, Volume) else Path(scan).name


def _volume(model: Model, scan: Volume | str | Path) -> tuple[Volume, list[str]]:
    """The scan with the model's channels, in memory, and how it was read."""
    channels = model.checkpoint.config.channels
    if not isinstance(scan, Volume):
        series = load_scan(scan, channels)
        return series.volume, list(series.notes)
    kinds, phases = phases_of(channels)
    if scan.kinds == kinds and phases > 1 and scan.phases > 1:
        return in_phases(scan, phases)
    if scan.channels != channels:
        given = in_words(scan.channels)
        raise RequestError(f"the scan shows {given}, {model.name} takes {in_words(channels)}; give such a scan")
    return scan, []


@dataclass(frozen=True, eq=False)
class _Brought:
    """A scan on the model's grid, what is to be said against its field of view, and how it was read."""

    volume: Volume
    doubts: list[str]
    notes: list[str]


def _brought(model: Model, scan: Volume | str | Path, masker: BrainMasker | None) -> _Brought:
    if not model.has_image:
        raise RequestError(f"{model.name} knows tables only: give a model that knows scans")
    image = model.checkpoint.model.config.image
    given, notes = _volume(model, scan)
    scan = given.reoriented("RAS")
    if _lies_on(model, scan):
        return _Brought(_on_grid(model, scan), [], notes)
    scan = black_at_zero(scan)
    if (settings := _settings(model)) is not None:
        return _Brought(*_preprocessed(model, scan, settings, masker), notes)
    if scan.phases > 1:
        return _beating(model, scan, notes)
    ones = Volume(np.ones(scan.grid, np.float32), scan.affine)
    covered = float(ones.resampled(image.grid, model.checkpoint.affine).data.mean())
    doubt = f"it covers {covered:.0%} of the field of view of {model.name}, {COVERED:.0%} is the least expected"
    volume = _on_grid(model, scan.resampled(image.grid, model.checkpoint.affine))
    return _Brought(volume, [doubt] * (covered < COVERED), notes)


def _beating(model: Model, scan: Volume, notes: list[str]) -> _Brought:
    """A short-axis cine in the heart's frame, in which the model's grid lies."""
    grid, affine = model.checkpoint.model.config.image.grid, model.checkpoint.affine
    placed = place(scan, affine[2, 2] * np.arange(grid[2]) + affine[2, 3])
    ones = replace(placed.cine, data=np.ones(placed.cine.grid, np.float32), channels=placed.cine.kinds)
    share = on_grid(ones, grid, affine).data.mean((0, 1))
    seen = share > 0
    covered = float(share[seen].mean()) if seen.any() else 0.0
    doubts, said = list(placed.doubts), [*notes, *placed.notes]
    if covered < COVERED:
        doubts.append(f"it covers {covered:.0%} of the slices of {model.name}, {COVERED:.0%} is the least expected")
    if seen.mean() < SLICES:
        doubts.append(
            f"it has {seen.sum()} of the {grid[2]} slices of {model.name}, {SLICES:.0%} are the least expected"
        )
    if not seen.all():
        said.append(f"It covers {seen.sum()} of the {grid[2]} slices of {model.name}; the others are empty.")
    return _Brought(_on_grid(model, on_grid(placed.cine, grid, affine)), doubts, said)


def _on_grid(model: Model, scan: Volume) -> Volume:
    data = np.asarray(scan.data, np.float32)
    if float((data < 0).mean()) > WHITE:  # what a model drew is never below 0
        data = black_at_zero(scan).data.astype(np.float32)
    data = _unit(data)
    return Volume(data, model.checkpoint.affine, model.checkpoint.config.channels)


def _preprocessed(
    model: Model, scan: Volume, settings: PreprocessConfig, masker: BrainMasker | None
) -> tuple[Volume, list[str]]:
    """A head through the preprocessing of the model's cohort, and whether its brain is whole."""
    doubts: list[str] = []

    def looked_at(head: Volume) -> np.ndarray:
        brain = (masker or deepbet_masker())(head)
        doubts.extend(_cut(brain))
        return brain

    found = preprocess(scan, settings, looked_at)
    if (share := found.quality["brain_in_grid"]) < BRAIN_IN_GRID:
        least = f"{BRAIN_IN_GRID:.0%} is the least expected"
        doubts.append(f"{share:.0%} of its brain lies in the field of view of {model.name}, {least}")
    volume = found.volume
    return Volume(np.asarray(volume.data, np.float32) / 255, volume.affine, volume.channels), doubts


def _cut(brain: np.ndarray) -> list[str]:
    """Where the field of view ends within the brain."""
    said = []
    for axis in range(3):
        area = brain.sum(axis=tuple(i for i in range(3) if i != axis))
        for face, outermost in zip(FACES[2 * axis :], area[[0, -1]], strict=False):
            if (share := outermost / max(area.max(), 1)) > BRAIN_CUT:
                widest = f"the outermost slice has {share:.0%} of its widest cross-section"
                said.append(f"its brain is cut off at the {face}: {widest}, {BRAIN_CUT:.0%} is the most expected")
    return said


def _unit(data: np.ndarray) -> np.ndarray:
    """Intensities in 0..1: as they are, of 8 bits, or by the brightest :data:`WHITE` of the voxels."""
    highest = float(data.max())
    if highest <= UNIT:
        return data.clip(0, 1)
    white = BYTE if highest <= BYTE and np.array_equal(data, np.rint(data)) else float(np.quantile(data, 1 - WHITE))
    return (data / max(white, 1e-30)).clip(0, 1)
