"""What lies below the structures of an atlas: registered after them, and nothing of them moves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.cohort.store import CohortStore
from engine.model.nn.warp import STRIDE
from engine.training.stages.atlas.below import (
    ABOVE,
    COARSE,
    GAIN,
    GAIN_BELOW,
    box_below,
    moved_below,
    share_below,
    sharpened,
    within,
)
from engine.training.stages.atlas.fit import below, fields_of, fit_atlas
from engine.training.stages.atlas.registration import Pass
from tests.conftest import MASK
from tests.training.atlas.test_fit import CONFIG, coder_of

STRUCTURE = torch.zeros(24, 24, 48, dtype=torch.bool)
STRUCTURE[6:18, 6:18, 24:40] = True
TOP = 24 + ABOVE


def test_what_is_below_is_neither_a_structure_nor_above() -> None:
    share = share_below(STRUCTURE, TOP)
    assert not share[STRUCTURE].any()
    assert not share[..., TOP - 8 :].any()
    assert (share[..., :16] == 1).all()
    assert 0 <= float(share.min()) <= float(share.max()) <= 1
    box = box_below((slice(4, 20), slice(4, 20), slice(20, 44)))
    assert box is not None
    assert (box[0], box[2]) == (slice(0, 24), slice(0, 20 + ABOVE))
    assert box_below((slice(4, 20), slice(4, 20), slice(0, 44))) is None, "it reaches the lower border"


def test_a_field_moves_below_alone() -> None:
    share = share_below(STRUCTURE, TOP)
    before, found = (torch.full((3, 12, 12, 24), value) for value in (0.0, 1.5))
    moved = moved_below(before, found, share)
    assert not moved[..., TOP // STRIDE :].any()
    assert not moved[:, 3:9, 3:9, 12:20].any()
    assert moved[..., :6] == pytest.approx(1.5)


def test_sharpening_leaves_what_is_even_and_amplifies_what_is_fine() -> None:
    even = torch.full((1, 24, 24, 48), 0.4)
    assert sharpened(even, None) == pytest.approx(even.numpy(), abs=1e-6)
    wave = 0.5 + 0.1 * torch.sin(torch.arange(48) * torch.pi / 2).expand(1, 24, 24, 48)
    share = share_below(STRUCTURE, TOP)
    found = sharpened(wave, share) - 0.5
    inner = (slice(None), slice(8, 16), slice(8, 16))
    # a period of four voxels is all finer than the blur
    assert COARSE > 2
    for cut, gain in ((slice(12, 16), GAIN_BELOW), (slice(30, 34), GAIN)):
        assert float(found[(*inner, cut)].abs().max()) == pytest.approx(0.1 * gain, rel=0.02)
    body = torch.zeros(1, 24, 24, 24)
    body[:, 4:20, 4:20, 4:20] = 0.5
    depth = within(body)
    assert float(depth[12, 12, 12]) == pytest.approx(1)
    assert float(depth[12, 12, 4]) < 0.01


def test_the_structures_lie_as_before_once_what_is_below_is_registered(
    labelled_store: CohortStore, tmp_path: Path
) -> None:
    rows = labelled_store.split()["train"]
    alone = replace(CONFIG, outlines=((MASK.classes[2],),), persons=2)
    both = replace(alone, below=((Pass(6, 1.0, 0.3, True),),))
    coders = [coder_of(labelled_store) for _ in range(2)]
    for name, coder, config in zip(("alone", "both"), coders, (alone, both), strict=True):
        for _ in fit_atlas(coder, labelled_store, rows, config, run_dir=tmp_path / name):
            pass
    lower = below(tmp_path / "both")
    assert below(tmp_path / "alone") is None
    assert lower is not None
    before, after = (fields_of(tmp_path / name).float() for name in ("alone", "both"))
    height = lower.box[2].stop // STRIDE + 2
    assert torch.equal(before[..., height:], after[..., height:])
    assert not torch.equal(before, after)
    inside = coders[0].anatomy == 2
    assert inside.any()
    assert not lower.share[inside].any()
