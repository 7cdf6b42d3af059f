"""A cine that is uploaded: NIfTI of four axes, in the model's phases; what is none is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.anatomy.heart import HEART
from engine.imaging.volume import Volume, VolumeError
from pages.components.whatif.upload import read_files
from tests.imaging.cine.hearts import patient


def test_a_cine_of_eight_phases_becomes_the_models():
    cine = patient()
    data = cine.to_nifti().to_bytes()
    found, notes = read_files([("secret_cine.nii", data)], HEART.frames)
    assert found.channels == HEART.frames
    assert found.cycle == pytest.approx(cine.cycle)
    # the first phase is the first, and the middle one the middle
    np.testing.assert_allclose(found.data[0], cine.data[0], atol=1e-5)
    np.testing.assert_allclose(found.data[6], cine.data[4], atol=1e-5)
    assert any("8 phases" in note for note in notes)
    assert not any("secret" in note for note in notes)


def test_a_still_scan_and_one_phase_are_refused():
    cine = patient()
    still = Volume(cine.data[0], cine.affine)
    with pytest.raises(VolumeError, match="a still scan of one phase; give a cine"):
        read_files([("x.nii", still.to_nifti().to_bytes())], HEART.frames)
    two = replace(cine, data=cine.data[:2], channels=("cine_t00", "cine_t01"))
    with pytest.raises(VolumeError, match="phases"):
        read_files([("x.nii", two.to_nifti().to_bytes())], HEART.frames)
