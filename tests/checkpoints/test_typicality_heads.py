"""What the shipped heads' fingerprint accepts and refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import affine_transform

import engine
from engine.checkpoints.typicality import FILE, check
from engine.imaging.nifti import load_volume
from engine.imaging.volume import Volume
from engine.inference.generate import Model, RequestError
from engine.inference.intake import admit

ROOT = Path(__file__).parents[2]
HEADS = ROOT.parent / "shared" / "data" / "ixi-head-t1"


@pytest.fixture(scope="module")
def head_t1() -> Model:
    return engine.load(ROOT / "checkpoints" / "head-t1", "cpu")


@pytest.fixture(scope="module")
def person(head_t1: Model) -> Volume:
    return head_t1.generate(seed=7, given={"age": 45})[0].volume


def scaled(data: np.ndarray, by: float) -> np.ndarray:
    middle = (np.array(data.shape) - 1) / 2
    return affine_transform(data, np.full(3, 1 / by), middle - middle / by, order=1)


WRONG = {
    "contrast inverted": (lambda v: np.where(v > 0.04, 1.04 - v, v).clip(0, 1), "wrong contrast"),
    "upside down": (lambda v: v[..., ::-1], "wrong orientation"),
    "back to front": (lambda v: v[:, ::-1], "wrong orientation"),
    "axes exchanged": (lambda v: v.transpose(0, 2, 1), "wrong"),
    "upper half cut off": (lambda v: np.where(np.arange(v.shape[2]) < v.shape[2] // 2, v, 0), "at the top"),
    "too large": (lambda v: scaled(v, 1.3), "size"),
    "noise": (lambda v: np.random.default_rng(0).random(v.shape), "wrong contrast or anatomy"),
    "nothing": (np.zeros_like, "empty"),
}


@pytest.mark.slow
def test_generated_persons_and_mirrored_ones_are_accepted(head_t1: Model, person: Volume) -> None:
    assert (head_t1.checkpoint.path / FILE).is_file()
    assert check(head_t1.checkpoint, person) == []
    assert check(head_t1.checkpoint, replace(person, data=person.data[::-1].copy())) == []
    for age, bmi in ((22, 19), (74, 35)):
        assert (
            check(head_t1.checkpoint, head_t1.generate(seed=3, given={"age": age, "bmi": bmi}, steps=4)[0].volume) == []
        )


@pytest.mark.parametrize("what", WRONG)
def test_the_shipped_heads_refuse(head_t1: Model, person: Volume, what: str) -> None:
    make, words = WRONG[what]
    reasons = check(head_t1.checkpoint, replace(person, data=np.ascontiguousarray(make(person.data), np.float32)))
    assert any(words in reason for reason in reasons), reasons


@pytest.mark.slow  # of balls: tests/inference/test_intake.py, of persons on the grid: below
@pytest.mark.skipif(not HEADS.is_dir(), reason="needs the heads in ../shared")
def test_a_raw_head_is_accepted_and_half_of_one_is_not(head_t1: Model, tmp_path: Path) -> None:
    path = HEADS / "sub-IXI034" / "anat" / "sub-IXI034_T1w.nii.gz"
    assert admit(head_t1, path)[1] == []
    head = load_volume(path).reoriented("RAS")
    keep = int(head.grid[2] * 0.75)
    replace(head, data=np.ascontiguousarray(head.data[:, :, :keep])).save(tmp_path / "cut_T1w.nii.gz")
    with pytest.raises(RequestError, match="cut off at the top"):
        admit(head_t1, tmp_path / "cut_T1w.nii.gz")
