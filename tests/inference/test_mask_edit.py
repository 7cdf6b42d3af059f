"""Laws of an edited mask: nothing else moves, volumes follow what was edited, and an edit of nothing is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from engine.anatomy.torso import TORSO
from engine.imaging.region_edit import resized
from engine.imaging.segmentation import Segmentation
from engine.inference.counterfactual import counterfactual
from engine.inference.generate import load
from engine.inference.mask_edit import INNER, RIM, MaskEdit, changed_masks, followed, window
from engine.training.recipes import torso_dixon

GIVEN = {"age": 40.0, "sex": "F", "height": 165.0, "bmi": 26.0, "ethnicity": "White"}


def liver(size: int) -> Segmentation:
    labels = np.zeros((30, 30, 20), np.uint8)
    labels[8 : 8 + size, 10:20, 5:15] = 1
    return Segmentation(labels, np.diag([5.0, 5.0, 6.0, 1.0]), ("background", "liver"))


def test_the_window_is_whole_at_the_edit_and_nothing_beyond_the_rim():
    edit = MaskEdit(before=liver(6), after=liver(8))
    found = window(edit)
    assert (found[14:16, 10:20, 5:15] == 1).all()
    place = np.argwhere(np.ones(found.shape, bool)) * [5.0, 5.0, 6.0]
    edited = place.reshape(*found.shape, 3)[edit.before.labels != edit.after.labels]
    apart = np.sqrt(((place[:, None] - edited[None, ::7]) ** 2).sum(-1)).min(1).reshape(found.shape)
    assert (found[apart > RIM + 12] == 0).all()
    assert (found[apart <= INNER] == 1).all()
    assert not window(MaskEdit(before=liver(6), after=liver(6))).any()


def test_volumes_follow_the_mask_within_their_range():
    schema = torso_dixon().schema
    model: Any = SimpleNamespace(
        schema=schema, checkpoint=SimpleNamespace(config=SimpleNamespace(channels=TORSO.channels))
    )
    edit = MaskEdit(before=liver(6), after=liver(9))
    assert followed(model, edit, {"liver_volume": 1400.0, "age": 60.0}) == pytest.approx({"liver_volume": 2100.0})
    top = schema["liver_volume"].high
    assert followed(model, edit, {"liver_volume": 0.9 * top}) == pytest.approx({"liver_volume": top})
    assert followed(model, edit, {"age": 60.0}) == {}
    assert followed(model, MaskEdit(before=liver(6), after=liver(6)), {"liver_volume": 1400.0}) == {}


def test_an_edit_moves_nothing_beyond_its_rim_and_an_edit_of_nothing_moves_nothing(masked: str):
    model = load(masked, "cpu")
    (person,) = model.generate(seed=3, given=GIVEN, with_mask=True, steps=2)
    assert person.mask is not None
    for factor in (1.0, 2.0):
        edit = MaskEdit(before=person.mask, after=resized(person.mask, "ventricles", factor))
        found = counterfactual(model, person.volume, factual=GIVEN, intervention={}, steps=2, edit=edit)
        changed = found.volume.data != found.null.data
        assert changed.any() == (factor != 1)
        assert not changed[window(edit) == 0].any()


def test_where_the_decoded_scans_agree_a_scan_keeps_its_own_mask(masked: str):
    """Also where tokens tell another mask; what they tell of a change goes into it, where there is one."""
    model = load(masked, "cpu")
    net = model.checkpoint.model
    scan, other = (torch.from_numpy(model.generate(seed=seed)[0].volume.data[None]) for seed in (1, 2))
    with torch.inference_mode():
        own = net.segment(scan[None])[0]
        same = changed_masks(net, torch.stack([scan, other, other]), scan)
        there = changed_masks(net, torch.stack([scan, scan, other]), scan)
    assert torch.equal(same[0], same[1])
    assert torch.equal(same[1], same[2])
    assert torch.equal(same[0], there[0])
    assert (same[0] == own).float().mean() > 0.9, "but for what a blur of less than a voxel takes"
    assert not torch.equal(there[2], there[1])
