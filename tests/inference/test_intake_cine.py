"""A cine's way to a model of hearts: turned into the heart's frame from wherever it lies, one white for all phases; else a sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import engine
from engine.anatomy.heart import HEART
from engine.imaging.cine.phases import in_phases
from engine.imaging.volume import Volume, VolumeError, centred_affine
from engine.inference.generate import RequestError
from engine.inference.intake import intake
from tests.imaging.cine.hearts import heart_frame, patient


@pytest.fixture
def model(tiny_checkpoint: Path) -> engine.inference.generate.Model:
    """A model that takes hearts of 12 phases on its grid; no network of it is asked."""
    found = engine.load(tiny_checkpoint / "tiny")
    grid = found.checkpoint.model.config.image.grid
    networks = found.checkpoint.config.model
    networks = replace(networks, image=replace(networks.image, channels=HEART.phases))
    affine = centred_affine(grid, (140 / grid[0], 130 / grid[1], 72 / grid[2]))
    placed = tuple(tuple(float(cell) for cell in row) for row in affine)
    config = replace(found.checkpoint.config, channels=HEART.frames, model=networks, affine=placed)
    found.checkpoint = replace(found.checkpoint, config=config)
    return found


def test_a_cine_from_a_patient_is_the_one_in_the_hearts_frame(model, tmp_path: Path) -> None:
    cine = patient()
    replace(cine, data=cine.data * 700).reoriented("LIA").save(tmp_path / "sub-1_cine.nii.gz")
    found = intake(model, tmp_path / "sub-1_cine.nii.gz")
    assert (found.channels, found.grid) == (HEART.frames, model.checkpoint.model.config.image.grid)
    known = in_phases(heart_frame(), 12)[0].resampled(found.grid, model.checkpoint.affine)
    assert np.corrcoef(found.data.ravel(), known.data.ravel())[0, 1] > 0.95


def test_brightness_is_kept_from_phase_to_phase(model) -> None:
    """A phase of half the signal stays half as bright, and no phase is stretched by itself."""
    cine = in_phases(patient(), 12)[0]
    dimmed = cine.data * 700
    dimmed[6] /= 2
    whole, found = (intake(model, replace(cine, data=data)) for data in (cine.data * 700, dimmed))
    below = whole.data[6] < 1  # what is as bright as white was cut off
    np.testing.assert_allclose(found.data[6][below], whole.data[6][below] / 2, atol=0.02)


def test_what_is_no_cine_of_a_heart_is_refused(model, tmp_path: Path) -> None:
    cine = patient()
    still = Volume(cine.data[0], cine.affine)
    with pytest.raises(RequestError, match="the scan shows T1w, tiny takes cine in 12 phases; give such a scan"):
        intake(model, still)
    still.save(tmp_path / "still_cine.nii.gz")
    with pytest.raises(VolumeError, match="a still scan of one phase; give a cine"):
        intake(model, tmp_path / "still_cine.nii.gz")
    with pytest.raises(RequestError, match=r"it has \d+ of the \d+ slices of tiny, 50% are the least expected"):
        intake(model, replace(cine, data=cine.data[..., 3:6].copy()))
    axial = centred_affine(cine.grid, cine.spacing)
    axial[2, 3] += 30
    with pytest.raises(VolumeError, match="no short-axis stack"):
        intake(model, replace(cine, affine=axial))
    with pytest.raises(RequestError, match="no left ventricle is to be found"):
        intake(model, replace(cine, data=np.random.default_rng(1).random(cine.data.shape, np.float32)))


def test_a_cine_is_no_scan_of_a_head(tiny_checkpoint: Path, tmp_path: Path) -> None:
    head = engine.load(tiny_checkpoint / "tiny")
    cine = patient()
    with pytest.raises(RequestError, match="the scan shows cine in 8 phases, tiny takes T1w; give such a scan"):
        intake(head, cine)
    cine.save(tmp_path / "sub-1_cine.nii.gz")
    with pytest.raises(VolumeError, match=r"has shape \(48, 44, 9, 8\): one 3D volume is needed, split it first"):
        intake(head, tmp_path / "sub-1_cine.nii.gz")
