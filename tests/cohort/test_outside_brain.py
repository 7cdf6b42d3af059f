"""Skull and scalp of a head whose layers are known, and that every code of the real label maps has a class."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from engine.cohort.preprocess.outside_brain import SCALP, SKULL, with_skull_and_scalp
from engine.measure.head import CLASSES, classes_of_codes
from engine.training.mask_classes import HEAD_CODES
from engine.training.recipes import head_t1
from engine.training.stages.mask import class_of_code, mirrored_classes

LABELS = Path(__file__).parents[2] / "../shared/data/ixi-head-t1/derivatives/dlmuse"


def layered_head() -> tuple[np.ndarray, np.ndarray]:
    """Balls in each other: brain to 18 voxels from the middle, dark bone to 21, bright skin to 25, air."""
    axes = np.meshgrid(*[np.arange(64) - 31.5] * 3, indexing="ij")
    radius = np.sqrt(sum(a**2 for a in axes))
    volume = np.select([radius < 18, radius < 21, radius < 25], [150, 15, 200], 2).astype(np.uint8)
    return np.where(radius < 18, 81, 0).astype(np.int16), volume


def test_layers_of_a_head_are_told_apart() -> None:
    labels, volume = layered_head()
    found = with_skull_and_scalp(labels, volume)
    assert np.array_equal(found == 81, labels == 81), "the brain's regions stay"
    bone = (labels == 0) & (volume == 15)
    assert (found[bone] == SKULL).mean() > 0.99
    assert (found[volume == 200] == SCALP).mean() > 0.99
    assert (found[volume == 2] == 0).mean() > 0.99


def test_a_head_that_is_all_air_keeps_its_labels() -> None:
    labels = np.zeros((16, 16, 16), np.int16)
    labels[6:10, 6:10, 6:10] = 35
    assert np.array_equal(with_skull_and_scalp(labels, np.zeros((16, 16, 16), np.uint8)), labels)


def test_the_ruler_counts_them_as_what_is_outside() -> None:
    assert set(classes_of_codes()[[SKULL, SCALP]].tolist()) == {CLASSES.index("background")}


def test_a_mirror_exchanges_the_hemispheres_and_nothing_else() -> None:
    mask = head_t1().mask
    assert mask is not None
    other = mirrored_classes(mask)
    changed = {mask.classes[i]: mask.classes[j] for i, j in enumerate(other) if i != j}
    assert changed == {"cortex left": "cortex right", "cortex right": "cortex left"}


@pytest.mark.skipif(not LABELS.is_dir(), reason="needs the shared heads")
def test_every_code_of_the_label_maps_has_a_class() -> None:
    """And left is left: RAS x of the left cortex is below that of the right."""
    known = {code for codes in HEAD_CODES.values() for code in codes}
    mask = head_t1().mask
    assert mask is not None
    for file in sorted(LABELS.glob("*/anat/*_dseg.nii.gz"))[::40]:
        image = nib.load(file)
        data = np.asarray(image.dataobj).astype(int)
        assert set(np.unique(data).tolist()) <= known
        classes = class_of_code(mask)[data]
        middle = [
            (image.affine @ np.append(np.argwhere(classes == mask.classes.index(f"cortex {side}")).mean(0), 1))[0]
            for side in ("left", "right")
        ]
        assert middle[0] < middle[1] - 20
