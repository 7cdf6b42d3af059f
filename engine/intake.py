"""A scan on disk to what a model takes: its grid, its channels, intensities of 0 to 1, defaced where its cohort was."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.cohort.pair import load_pair
from engine.cohort.preprocess import BrainMasker, PreprocessConfig, preprocess
from engine.generate import Model, RequestError
from engine.measure.ruler import fields
from engine.volume import Volume, load_volume

#: share of the model's grid that a scan has to cover, and of the voxels that are brighter than what is shown as white
COVERED, WHITE = 0.8, 0.002
#: largest intensity of a scan that is taken to be 0 to 1 already, and of one stored in 8 bits
UNIT, BYTE = 1.001, 255.0


def intake(model: Model, path: str | Path, masker: BrainMasker | None = None) -> Volume:
    """The scan at ``path`` (either file of a torso's pair) on the model's grid, float32 in 0..1.

    A scan that lies on the grid already, such as a generated one, is taken as it is; another head goes through the
    preprocessing of the model's cohort, another torso is resampled where it lies. Raises
    :class:`engine.volume.VolumeError` for a file that cannot be read or shows no brain, :class:`RequestError` for a
    field of view that does not cover the model's.
    """
    config, image = model.checkpoint.config, model.checkpoint.model.config.image
    paired = image.channels > 1
    scan = load_pair(path) if paired else load_volume(path, config["channels"][0])
    scan = scan.reoriented("RAS")
    there = scan.grid == image.grid and np.allclose(scan.affine, model.checkpoint.affine, atol=0.01)
    if not there and config["preprocess"]:
        found = preprocess(scan, PreprocessConfig(**fields(config["preprocess"])), masker).volume
        return Volume(np.asarray(found.data, np.float32) / 255, found.affine, found.channels)
    if not there:
        ones = Volume(np.ones(scan.grid, np.float32), scan.affine)
        covered = float(ones.resampled(image.grid, model.checkpoint.affine).data.mean())
        if covered < COVERED:
            raise RequestError(
                f"{Path(path).name} covers {covered:.0%} of the field of view of {model.name}; give a scan of the same part of the body"
            )
        scan = scan.resampled(image.grid, model.checkpoint.affine)
    return Volume(_unit(np.asarray(scan.data, np.float32)), model.checkpoint.affine, tuple(config["channels"]))


def _unit(data: np.ndarray) -> np.ndarray:
    """Intensities in 0..1: as they are, of 8 bits, or by the brightest :data:`WHITE` of the voxels."""
    highest = float(data.max())
    if highest <= UNIT:
        return data.clip(0, 1)
    white = BYTE if highest <= BYTE and np.array_equal(data, np.rint(data)) else float(np.quantile(data, 1 - WHITE))
    return (data / max(white, 1e-30)).clip(0, 1)
