"""Reconstruction figures against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.cohort.store import CohortStore
from engine.evaluation.subjects.fidelity import patch_pca, reconstruction


def test_a_constant_error_has_its_psnr(tiny_store: CohortStore) -> None:
    half = np.asarray(tiny_store.volumes[:3]).max() / 255
    assert half < 0.9
    out = reconstruction(tiny_store, np.arange(3), lambda v: v + 0.1)
    assert out.whole == pytest.approx(20, abs=1e-3)
    assert out.inside == pytest.approx(20, abs=1e-3)
    assert len(out.by_person) == 3


def test_the_brain_is_what_the_mask_says(tiny_store: CohortStore) -> None:
    brain = torch.from_numpy(np.array(tiny_store.mask[0]))
    out = reconstruction(tiny_store, np.array([0]), lambda v: v + 0.1 * ~brain + 0.01 * brain)
    assert out.inside == pytest.approx(40, abs=1e-2)


def test_all_components_lose_nothing_and_fewer_lose_more(tiny_store: CohortStore) -> None:
    rows = np.arange(len(tiny_store))
    values = int(np.prod(tiny_store.grid))
    psnr = [
        reconstruction(tiny_store, rows[:4], patch_pca(tiny_store, rows, n, 4)).whole
        for n in (values, values // 16, 512)
    ]
    assert psnr[0] > 60
    assert psnr[0] > psnr[1] > psnr[2]
    with pytest.raises(ValueError, match="fewer than the 512 cubes"):
        patch_pca(tiny_store, rows, 511, 4)
