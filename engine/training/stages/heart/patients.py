"""Patients with contours of one cavity alone: what they teach the heart's segmenter, and nothing beyond it.

A folder of them is a BIDS folder with ``sub-*/cardiac/*_phase-EDES_cine.nii.gz`` (x, y, slice; end-diastole and end-systole)
and ``*_phase-EDES_dseg.nii.gz`` (1: the cavity of the left ventricle, papillary muscles with it; slices without a contour are
empty). So are the Sunnybrook Cardiac Data (Radau et al., The MIDAS Journal 2009) laid out here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from engine.anatomy.heart import HEART, LEFT, WALL
from engine.cohort.preprocess.preprocess import antialiased
from engine.imaging.grid import frames
from engine.imaging.volume import Volume
from engine.measure.heart.classes import CLASSES, VESSELS
from engine.training.run import RunError
from engine.training.stages.heart.examples import Example, HeartVariation, channels, moved, scanned, turned, uniform

#: mm about a cavity's middle within which the heart lies
REACH = 95.0
#: voxels about the cavity that are its wall, or at the base what leads out of it
RING = 2
#: how far (mm) a window's middle may lie from the cavity's, and the chance that it lies anywhere
ASIDE, ANYWHERE = 30.0, 0.25


@dataclass(frozen=True, kw_only=True, eq=False)
class Patient:
    """End-diastole and end-systole of one patient as they were scanned, and the cavity's contour (filled) in them."""

    name: str
    cine: Volume
    cavity: Bool[np.ndarray, "2 x y z"]

    @property
    def contoured(self) -> Bool[np.ndarray, "2 z"]:
        """Which slices of a phase have a contour."""
        return np.asarray(self.cavity.any((1, 2)))


def read_patients(folder: Path) -> list[Patient]:
    """The patients of a folder, in the order of their names. Raises :class:`RunError` where there are none."""
    found = []
    for path in sorted(folder.glob("sub-*/cardiac/*_phase-EDES_cine.nii.gz")):
        drawn = path.with_name(path.name.replace("_cine", "_dseg"))
        if not drawn.is_file():
            continue
        image, contours = nib.Nifti1Image.from_filename(path), nib.Nifti1Image.from_filename(drawn)
        cine, cavity = (np.moveaxis(np.asarray(one.dataobj), -1, 0) for one in (image, contours))
        volume = Volume(cine, np.asarray(image.affine), frames(HEART.channels, len(cine)))
        found.append(Patient(name=path.name.split("_")[0], cine=volume, cavity=cavity > 0))
    if not found:
        raise RunError(f"{folder} has no sub-*/cardiac/*_phase-EDES_cine.nii.gz with its _dseg; give a folder that has")
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Taught:
    """A patient on the ruler's voxels: phases (0 to 1), the cavity, which slices have a contour, and the cavity's middle."""

    phases: Float[Tensor, "2 x y z"]
    cavity: Float[Tensor, "2 x y z"]
    known: Bool[Tensor, "2 z"]
    middle: tuple[int, int]


def taught(patient: Patient, voxel: tuple[float, float, float]) -> Taught:
    """A patient for training: slices where they lie, voxels within them of the ruler's size."""
    cine = patient.cine
    mm = (*voxel[:2], cine.spacing[2])
    x, y = (round(cine.grid[axis] * cine.spacing[axis] / mm[axis]) for axis in (0, 1))
    grid = (x, y, cine.grid[2])
    affine = cine.affine.copy()
    affine[:3, :3] = affine[:3, :3] / cine.spacing * mm
    smooth = np.stack([antialiased(phase.astype(np.float32), cine.spacing, mm) for phase in cine.data])
    images = Volume(smooth, cine.affine, cine.channels).resampled(grid, affine).data
    cavity = Volume(patient.cavity.astype(np.float32), cine.affine, cine.channels).resampled(grid, affine).data
    x, y = np.argwhere(cavity.max((0, 3)) > 0.5).mean(0).round().astype(int).tolist()
    bright = float(np.percentile(images, 99.5))
    return Taught(
        phases=torch.from_numpy(images / bright).float().clamp(0, 1.5),
        cavity=torch.from_numpy(cavity).float(),
        known=torch.from_numpy(patient.contoured),
        middle=(x, y),
    )


def of_patient(
    patient: Taught,
    how: HeartVariation,
    window: tuple[int, int],
    slices: int,
    generator: torch.Generator,
    spacing: tuple[float, float, float],
) -> Example:
    """A phase of a patient beside mean and SD of both, varied: a window of ``slices`` slices, near the heart or anywhere."""
    first = int(uniform(generator) * 2)
    order = [first, 1 - first]
    x, y = patient.middle
    places = torch.stack(torch.meshgrid(*(torch.arange(n) * 1.0 for n in patient.phases.shape[1:3]), indexing="ij"))
    distance = (places - torch.tensor([x * 1.0, y]).reshape(2, 1, 1)).norm(dim=0) * spacing[0]
    far = (distance > REACH).float()[..., None].expand_as(patient.cavity[0])
    known = patient.known[first].float().expand_as(far)
    volume = torch.cat([patient.phases[order], torch.stack([patient.cavity[first], far, known])])

    start = int(uniform(generator) * (max(0, volume.shape[-1] - slices) + 1))
    volume = _window(volume[..., start : start + slices], (x, y), window, generator, spacing[0])[None]
    if uniform(generator) >= how.still:
        volume = moved(volume, how, generator, spacing)
    short = slices - volume.shape[-1]
    return _example(turned(pad(volume, (0, short)), generator)[0], how, generator)


def _window(
    volume: Float[Tensor, "c x y z"],
    middle: tuple[int, int],
    window: tuple[int, int],
    generator: torch.Generator,
    mm: float,
) -> Float[Tensor, "c i j z"]:
    """A window of each slice about a place near the cavity's middle, or anywhere in the field of view."""
    anywhere = uniform(generator) < ANYWHERE
    for axis, side in enumerate(window, 1):
        total = volume.shape[axis]
        aside = (2 * uniform(generator) - 1) * ASIDE / mm
        start = round(uniform(generator) * (total - side) if anywhere else middle[axis - 1] + aside - side / 2)
        start = min(max(0, start), max(0, total - side))
        volume = volume.narrow(axis, start, min(side, total))
    short = [side - n for side, n in zip(window, volume.shape[1:3], strict=True)]
    return pad(volume, (0, 0, 0, short[1], 0, short[0])) if any(short) else volume


def _example(volume: Float[Tensor, "5 x y z"], how: HeartVariation, generator: torch.Generator) -> Example:
    """From two phases, the cavity, what lies far from it and what is known to what may be where."""
    frames = scanned(volume[:2], how, generator)
    cavity, far, known = volume[2:] > 0.5
    around = max_pool2d(cavity.float().movedim(-1, 0), 2 * RING + 1, 1, RING).movedim(0, -1) > 0.5
    allowed = torch.ones(len(CLASSES), *cavity.shape, dtype=torch.bool)
    names = {name: CLASSES.index(name) for name in (LEFT, WALL, VESSELS)}
    allowed[names[LEFT]] = cavity
    for c in range(len(CLASSES)):
        if c != names[LEFT]:
            allowed[c] &= ~cavity
        if c not in (names[LEFT], names[WALL], names[VESSELS]):
            allowed[c] &= ~(around & ~cavity)
        if c not in (0, names[VESSELS]):
            allowed[c] &= ~far
    allowed |= ~known
    exact = torch.tensor([name == LEFT and bool(known.any()) for name in CLASSES[1:]])
    return Example(images=channels(frames)[None], allowed=allowed[None], exact=exact[None])


def folds(patients: Sequence[Patient], n: int = 5) -> list[list[int]]:
    """The patients' numbers in ``n`` parts, every n-th in each, so that each has some of every disease where names follow it.

    >>> folds([None] * 7, 3)
    [[0, 3, 6], [1, 4], [2, 5]]
    """
    return [list(range(len(patients)))[k::n] for k in range(n)]
