"""Examples for the heart's segmenter: what is known stays known, what nobody drew is not held against the network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from engine.anatomy.heart import HEART, LEFT, WALL
from engine.imaging.grid import frames
from engine.imaging.volume import Volume
from engine.measure.heart.classes import CLASSES, classes_of_codes
from engine.measure.heart.ruler import MEASURES
from engine.phantom.heart.raster import RASTER
from engine.training.run import RunError, step_generator
from engine.training.stages.heart.examples import HeartVariation, in_silico, lying, phases
from engine.training.stages.heart.judging import agreement, dice, judge_patient, judged_patients
from engine.training.stages.heart.loss import partial_loss
from engine.training.stages.heart.patients import REACH, Patient, folds, of_patient, read_patients, taught
from tests.measure.heart.oracle import oracle
from tests.phantom.heart.hearts import heart

STILL = HeartVariation(still=1.0, missing=0.0, contrast=0.0, whole=1.0)
SPACING = RASTER.spacing
LEFTS = CLASSES.index(LEFT)


def tensors() -> tuple[torch.Tensor, torch.Tensor]:
    person = heart("healthy")
    return torch.from_numpy(person.images), torch.from_numpy(person.labels)


def patient(middle: tuple[int, int] = (60, 70)) -> Patient:
    """Two phases of a disc in slices of 1.5 mm voxels; the first slice has no contour."""
    x, y = (np.arange(128) - m for m in middle)
    radius = np.hypot(x[:, None], y[None])
    cavity = np.stack([np.repeat((radius < r)[..., None], 5, 2) for r in (18, 12)])
    cine = np.where(cavity, 200, 60).astype(np.uint8)
    cavity[..., 0] = False
    volume = Volume(cine, np.diag([1.5, 1.5, 8.0, 1.0]), frames(HEART.channels, 2))
    return Patient(name="sub-01", cine=volume, cavity=cavity)


def test_an_unvaried_example_has_the_labels_of_its_phase() -> None:
    images, labels = tensors()
    example = in_silico(images, labels, STILL, step_generator(0, 3), SPACING)
    assert example.images.shape == (1, 3, *RASTER.grid)
    assert (example.allowed.sum(1) == 1).all()
    assert example.exact.all()
    table = torch.from_numpy(classes_of_codes())
    assert any(torch.equal(example.allowed[0].long().argmax(0), table[phase.long()].long()) for phase in labels)


def test_an_example_is_the_same_whenever_it_is_made_and_another_each_step() -> None:
    images, labels = tensors()
    how = HeartVariation()
    one, again, other = (in_silico(images, labels, how, step_generator(0, step), SPACING) for step in (5, 5, 6))
    assert torch.equal(one.images, again.images)
    assert torch.equal(one.allowed, again.allowed)
    assert other.images.shape != one.images.shape or not torch.equal(one.images, other.images)
    assert torch.isfinite(one.images).all()
    turned = lying(one, step_generator(0, 1))
    assert turned.images.sum() == pytest.approx(float(one.images.sum()), rel=1e-4)
    assert torch.equal(turned.allowed.sum((2, 3, 4)), one.allowed.sum((2, 3, 4)))


def test_slices_that_are_missing_may_be_anything() -> None:
    images, labels = tensors()
    example = in_silico(images, labels, replace(STILL, missing=1.0), step_generator(0, 3), SPACING)
    gone = example.allowed.all(1).all(1).all(1)[0]
    assert 1 <= int(gone.sum()) <= 6
    assert (example.images[..., gone] == 0).all()
    assert (example.allowed[..., ~gone].sum(1) == 1).all()


def test_phases_are_the_one_and_others_of_the_same_cycle() -> None:
    for step in range(20):
        found = phases(12, 0.5, step_generator(1, step))
        assert len(set(found)) == len(found) in (2, 4)
        assert (found[1] - found[0]) % 12 in (3, 6)
    assert sorted(phases(2, 0.0, step_generator(1, 0))) == [0, 1]


def test_a_loss_of_exact_labels_is_the_usual_one_and_what_nobody_knows_has_none() -> None:
    scores = torch.randn(1, 5, 8, 8, 4, generator=step_generator(0, 0))
    classes = torch.randint(0, 5, (1, 8, 8, 4), generator=step_generator(0, 1))
    allowed = torch.stack([classes == c for c in range(5)], 1)
    entropy, overlap = partial_loss(scores, allowed, torch.ones(1, 4, dtype=torch.bool))
    assert entropy == pytest.approx(float(torch.nn.functional.cross_entropy(scores, classes)), rel=1e-5)
    assert 0 < overlap < 1
    sure = torch.where(allowed, 30.0, -30.0)
    assert max(map(float, partial_loss(sure, allowed, torch.ones(1, 4, dtype=torch.bool)))) == pytest.approx(
        0, abs=1e-5
    )
    scores.requires_grad_()
    allowed = allowed | (torch.arange(4) < 2)
    entropy, overlap = partial_loss(scores, allowed, torch.ones(1, 4, dtype=torch.bool))
    (gradient,) = torch.autograd.grad(entropy + overlap, scores)
    assert (gradient[..., :2] == 0).all()
    assert gradient[..., 2:].abs().sum() > 0


def test_a_patient_teaches_the_cavity_its_rim_and_what_is_far_from_it() -> None:
    example = of_patient(taught(patient(), SPACING), STILL, (96, 96), 6, step_generator(0, 2), SPACING)
    assert example.images.shape == (1, 3, 96, 96, 6)
    allowed = example.allowed[0]
    known = ~allowed.all(0)
    assert known.any((0, 1)).sum() == 4, "a slice without a contour and one beyond the stack are not known"
    cavity = known & allowed[LEFTS]
    assert (allowed.sum(0)[cavity] == 1).all()
    rim = known & ~allowed[LEFTS] & allowed[CLASSES.index(WALL)] & ~allowed[0]
    near = torch.nn.functional.max_pool2d(cavity.float().movedim(-1, 0), 5, 1, 2).movedim(0, -1) > 0
    assert torch.equal(rim, near & ~cavity & known)
    assert example.exact.tolist() == [[True, False, False, False]]
    assert REACH > 50


def test_patients_are_read_and_judged(tmp_path: Path) -> None:
    one = patient()
    folder = tmp_path / "sub-01" / "cardiac"
    folder.mkdir(parents=True)
    for name, data in (("cine", one.cine.data), ("dseg", one.cavity.astype(np.uint8))):
        image = nib.Nifti1Image(np.moveaxis(data, 0, -1), one.cine.affine)
        nib.save(image, folder / f"sub-01_phase-EDES_{name}.nii.gz")
    (read,) = read_patients(tmp_path)
    np.testing.assert_array_equal(read.cavity, one.cavity)
    np.testing.assert_allclose(read.cine.affine, one.cine.affine)
    seen = replace(one, cine=replace(one.cine, data=(one.cine.data > 100).astype(np.float32)))
    judged = judge_patient(oracle((1.5, 1.5, 8.0), window=(128, 128)), seen)
    assert judged.dice == 1.0
    assert judged.ef[0] == judged.ef[1] == pytest.approx(100 * (1 - (12 / 18) ** 2), abs=2)
    other = replace(judged, dice=0.5, ef=(50.0, 40.0), volumes=((90.0, 45.0), (99.0, 40.0)))
    third = replace(judged, ef=(30.0, 34.0), volumes=((60.0, 42.0), (60.0, 42.0)))
    figures = judged_patients([judged, other, third])
    assert figures["dice"][0] == pytest.approx(2.5 / 3)
    assert figures["dice"][3] == 0.5
    assert figures["ef_absolute"] == pytest.approx(14 / 3)
    with pytest.raises(RunError, match="has no sub-"):
        read_patients(tmp_path / "sub-01")


def test_each_patient_is_in_one_fold() -> None:
    parts = folds([patient()] * 7, 5)
    assert sorted(i for part in parts for i in part) == list(range(7))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_agreement_is_a_share_of_volumes_and_points_of_percentages() -> None:
    rng = np.random.default_rng(0)
    want = [{"lv_edv": 100.0 + 10 * i, "lv_ef": 50.0 + i} for i in range(8)]
    want = [{**dict.fromkeys(MEASURES, float("nan")), **one} for one in want]
    have = [{**one, "lv_edv": 1.1 * one["lv_edv"], "lv_ef": one["lv_ef"] - 2} for one in want]
    found = agreement(want, have, [dict.fromkeys(CLASSES, float(rng.random())) for _ in want])
    assert set(found["measures"]) == {"lv_edv", "lv_ef"}
    assert found["measures"]["lv_edv"]["difference"][0] == pytest.approx(0.1)
    assert found["measures"]["lv_ef"]["difference"][0] == pytest.approx(-2)
    assert found["measures"]["lv_ef"]["r"][0] == pytest.approx(1)
    assert dice(np.ones(3, bool), np.zeros(3, bool)) == 0
    assert dice(np.zeros(3, bool), np.zeros(3, bool)) == 1
