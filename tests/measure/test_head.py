"""Laws of the ruler: it counts, whatever the orientation, scale or place; it refuses what is no head or was changed."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.checkpoints.files import CheckpointError
from engine.cohort.store import CohortStore
from engine.imaging.nifti import load_volume
from engine.imaging.volume import Volume, VolumeError, centred_affine
from engine.measure.head import CLASSES, HeadMeasure, HeadMeasureConfig, classes_of_codes
from engine.measure.segmenter import Segmenter, SegmenterConfig
from engine.training.run import RunError
from engine.training.stages.measure_head import agreement, calibrated, reference, train_measure
from engine.training.stages.segmenter import SegmenterTraining, degrade, head_batches, train_segmenter, window_of
from tests.measure.balls import CONFIG, RECIPE, ball, ball_measure, ball_store  # noqa: F401

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "ixi-head-t1"


@pytest.fixture(scope="module")
def ruler(ball_measure: Path) -> HeadMeasure:  # noqa: F811
    return HeadMeasure.load(ball_measure)


def head(age: float = 60, bmi: float = 26) -> tuple[Volume, Volume]:
    """A ball and its codes, on the ruler's grid."""
    data, _, labels = ball(age, bmi, np.random.default_rng(0))
    return Volume(data, CONFIG.frame.affine), Volume(labels, CONFIG.frame.affine)


def exact(ruler: HeadMeasure) -> HeadMeasure:
    """The ruler without its calibration."""
    return replace(ruler, config=replace(ruler.config, ventricles=(1.0, 1.0)))


def test_codes_are_counted_to_the_voxel(ruler: HeadMeasure):
    volume, labels = head()
    read = exact(ruler).read(volume, reference(CONFIG, labels))
    voxel = 6.0**3 / 1000
    ventricles, inside = (labels.data == 51).sum() * voxel, (labels.data > 0).sum() * voxel
    assert read["ventricles_ml"] == pytest.approx(ventricles)
    assert read["intracranial_ml"] == pytest.approx(inside)
    assert read["brain_ml"] == pytest.approx(inside - ventricles)


def test_twice_the_ventricles_are_twice_the_volume(ruler: HeadMeasure):
    volume, labels = head()
    flat = np.flatnonzero(labels.data == 60)
    once, twice = labels.data.copy(), labels.data.copy()
    once[labels.data == 51] = twice[labels.data == 51] = 60
    once.flat[flat[:40]], twice.flat[flat[:80]] = 4, 11
    small, large = (exact(ruler).read(volume, reference(CONFIG, Volume(c, labels.affine))) for c in (once, twice))
    assert large["ventricles_ml"] == pytest.approx(2 * small["ventricles_ml"])
    assert large["intracranial_ml"] == pytest.approx(small["intracranial_ml"])


def test_calibration_takes_what_is_read_to_the_labels(ruler: HeadMeasure, ball_store: CohortStore):  # noqa: F811
    """It is a power law of the ventricles alone, and fitted to the uncalibrated ruler whichever is given."""
    rows = np.concatenate([ball_store.split()[part] for part in ("train", "validation")])
    factor, exponent = calibrated(ruler, ball_store, rows).ventricles
    assert (factor, exponent) == pytest.approx(ruler.config.ventricles)
    volume, labels = head()
    truth = reference(CONFIG, labels)
    plain, bent = exact(ruler).read(volume, truth), ruler.read(volume, truth)
    assert bent["ventricles_ml"] == pytest.approx(factor * plain["ventricles_ml"] ** exponent)
    assert {k: v for k, v in bent.items() if k != "ventricles_ml"} == {
        k: v for k, v in plain.items() if k != "ventricles_ml"
    }


def test_every_code_has_one_class():
    table = classes_of_codes()
    named = {code: CLASSES[table[code]] for code in (0, 1, 4, 11, 46, 47, 48, 49, 50, 51, 52, 207)}
    assert named[0] == "background"
    assert {c for c, name in named.items() if name == "ventricles"} == {4, 11, 49, 50, 51, 52}
    assert {c for c, name in named.items() if name == "fluid"} == {1, 46}
    assert {named[c] for c in (47, 48, 207)} == {"brain"}


def test_neck_grows_with_what_is_behind_and_is_nan_outside_the_scan(ruler: HeadMeasure):
    volume, labels = head()
    truth = reference(CONFIG, labels)
    neck = ruler.read(volume, truth)["neck_ml"]
    assert neck > 0
    assert ruler.read(head(bmi=40)[0], reference(CONFIG, head(bmi=40)[1]))["neck_ml"] > neck
    data = np.array(volume.data)
    data[:, 16:] //= 8
    data[labels.data > 0] = volume.data[labels.data > 0]
    assert ruler.read(Volume(data, volume.affine), truth)["neck_ml"] == pytest.approx(neck), "only the back counts"
    data = np.array(volume.data)
    data[:, :, :12][labels.data[:, :, :12] == 0] = 0
    assert np.isnan(ruler.read(Volume(data, volume.affine), truth)["neck_ml"])


def test_it_learned_to_measure_and_is_deterministic(ruler: HeadMeasure, ball_store: CohortStore):  # noqa: F811
    found = agreement(ruler, ball_store, ball_store.split()["test"])
    assert found["volumes"]["intracranial_ml"]["r"][0] > 0.9
    volume, _ = head()
    assert ruler.measure(volume) == ruler.measure(volume)


@pytest.mark.parametrize("axcodes", ["PSR", "LPS", "AIR", "SLA"])
def test_orientation_does_not_matter(ruler: HeadMeasure, axcodes: str):
    volume, _ = head()
    assert ruler.measure(volume.reoriented(axcodes)) == pytest.approx(ruler.measure(volume), nan_ok=True)


def test_intensity_scale_and_channel_do_not_matter(ruler: HeadMeasure):
    volume, _ = head()
    expected = ruler.measure(volume)
    scaled = Volume(volume.data.astype(np.float64) * 37.5, volume.affine)
    assert ruler.measure(scaled) == pytest.approx(expected, rel=1e-3)
    pair = Volume(np.stack([np.zeros_like(volume.data), volume.data]), volume.affine, ("T2w", "T1w"))
    assert ruler.measure(pair) == expected


def test_another_grid_gives_the_same_volumes(ruler: HeadMeasure):
    volume, _ = head(age=75)
    affine = centred_affine((80, 80, 80), (3.0, 3.0, 3.0))
    affine[:3, 3] += (9.0, -4.0, -33.0)
    expected = ruler.measure(volume)
    moved = ruler.measure(volume.resampled((80, 80, 80), affine))
    for name in ("brain_ml", "intracranial_ml"):
        assert moved[name] == pytest.approx(expected[name], rel=0.06)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.full((32, 32, 32), 7.0), "nothing to see"),
        (np.zeros((40, 40, 40)), "nothing to see|no head|no brain"),
        (np.full((32, 32, 32), np.nan), "NaN or infinite"),
        (np.zeros((1, 32, 32, 32)), "none of the channels T2w is T1w"),
    ],
)
def test_what_is_no_head_gets_a_sentence(ruler: HeadMeasure, data: np.ndarray, words: str):
    with pytest.raises(VolumeError, match=words):
        ruler.measure(Volume(data, CONFIG.frame.affine, ("T2w",)))


@pytest.mark.parametrize("codes", [0, 60])
def test_too_little_or_too_much_brain_is_no_head(ruler: HeadMeasure, codes: int):
    volume, labels = head()
    everywhere = Volume(np.full_like(labels.data, codes), labels.affine)
    with pytest.raises(VolumeError, match="no head was found"):
        ruler.read(volume, reference(CONFIG, everywhere))


def test_stored_and_read_again_it_measures_the_same(ruler: HeadMeasure, tmp_path: Path):
    volume, _ = head()
    ruler.save(tmp_path / "again", {})
    again = HeadMeasure.load(tmp_path / "again")
    assert again.measure(volume) == ruler.measure(volume)
    assert again.cohort.to_json() == ruler.cohort.to_json()
    assert (again.config, again.digest) == (ruler.config, ruler.digest)
    assert "Not for diagnosis" in (tmp_path / "again" / "model_card.md").read_text()


def spoil(path: Path, how: str) -> None:
    config = json.loads((path / "config.json").read_text())
    if how == "weights":
        raw = bytearray((path / "weights.safetensors").read_bytes())
        raw[-1] ^= 1
        (path / "weights.safetensors").write_bytes(raw)
    elif how == "gone":
        (path / "weights.safetensors").unlink()
    elif how == "text":
        (path / "config.json").write_text("{")
    else:
        config |= {"format": {"format": "other"}, "version": {"version": 99}, "keys": {"measure": {"colour": 1}}}[how]
        (path / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("how", ["weights", "gone", "text", "format", "version", "keys"])
def test_a_changed_or_foreign_checkpoint_is_refused(ball_measure: Path, tmp_path: Path, how: str):  # noqa: F811
    shutil.copytree(ball_measure, tmp_path / "copy")
    spoil(tmp_path / "copy", how)
    with pytest.raises(CheckpointError, match="restore or replace"):
        HeadMeasure.load(tmp_path / "copy")


def test_a_missing_checkpoint_names_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(tmp_path))
    with pytest.raises(CheckpointError, match="no measure-head at"):
        HeadMeasure.load()


def test_training_goes_on_where_it_stopped(ball_store: CohortStore, tmp_path: Path):  # noqa: F811
    """One step a call, each resumed from disk, gives the weights of one uninterrupted call."""
    config = SegmenterTraining(steps=3, bfloat16=False, shift=1)

    def run(folder: Path, calls: int, deadline: float | None) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        net = Segmenter(CONFIG.segmenter)
        for _ in range(calls):
            rows = ball_store.split()["train"]
            batches = head_batches(CONFIG.segmenter, ball_store, rows, classes_of_codes(), config)
            for progress in train_segmenter(net, batches, config, run_dir=folder, seed=4, deadline=deadline):
                assert progress.total == 3
        return net.state_dict()

    whole, parts = run(tmp_path / "whole", 1, None), run(tmp_path / "parts", 3, time.monotonic())
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name


def test_degrading_keeps_the_grid_and_the_brightness():
    volume = torch.from_numpy(head()[0].data / 255.0).float()[None, None]
    config = SegmenterTraining(cut=0.0)
    for seed in range(6):
        out = degrade(volume, config, torch.Generator().manual_seed(seed))
        assert out.shape == volume.shape
        assert float(out.mean()) == pytest.approx(float(volume.mean()), rel=0.5)
        assert not torch.equal(out, volume)


def test_a_window_beyond_the_grid_is_padded():
    volumes = torch.arange(64.0).reshape(1, 1, 4, 4, 4)
    out = window_of(volumes, (4, 6, 2), (-1, -1, 2))
    assert torch.equal(out[0, 0, 1:, 1:5], volumes[0, 0, :3, :, 2:])
    assert float(out[0, 0, 0].abs().sum() + out[0, 0, :, 5].abs().sum()) == 0


def test_impossible_settings_and_stores_are_refused(ball_store: CohortStore, tmp_path: Path):  # noqa: F811
    with pytest.raises(ValueError, match="does not halve"):
        SegmenterConfig(classes=("a", "b"), window=(30, 32, 32), spacing=2.0, centre=(0.0, 0.0, 0.0))
    with pytest.raises(RunError, match="is not the measure's"):
        next(train_measure(replace(RECIPE, measure=HeadMeasureConfig()), ball_store, tmp_path))


@pytest.mark.slow  # of balls: above
@pytest.mark.skipif(not SHARED.exists(), reason="the shared heads are not here")
def test_real_heads_as_scanned_agree_with_their_labels():
    """Raw scans, with their faces and stored P, S, R, are brought to the ruler's frame by themselves."""
    shipped = HeadMeasure.load(Path(__file__).parents[2] / "checkpoints" / "measure-head")
    for name in ("sub-IXI013", "sub-IXI014"):
        (scan,), (codes,) = (
            sorted(folder.rglob(f"{name}*.nii.gz")) for folder in (SHARED / name, SHARED / "derivatives")
        )
        labels = load_volume(codes)
        table = classes_of_codes()[labels.data.astype(int)]
        millilitres = abs(np.linalg.det(labels.affine[:3, :3])) / 1000
        volume = load_volume(scan)
        found = shipped.measure(volume)
        assert found["ventricles_ml"] == pytest.approx((table == 3).sum() * millilitres, abs=4.0)
        assert found["brain_ml"] == pytest.approx((table == 2).sum() * millilitres, rel=0.05)
        assert 50 < found["neck_ml"] < 500
        assert shipped.measure(volume.reoriented("RAS")) == pytest.approx(found, rel=1e-6)


def test_the_shipped_ruler_is_small_and_says_where_it_comes_from():
    folder = Path(__file__).parents[2] / "checkpoints" / "measure-head"
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 5_000_000
    card = (folder / "model_card.md").read_text()
    for words in (
        "IXI project",
        "https://brain-development.org/ixi-dataset/",
        "CC BY-SA 3.0",
        "Not for diagnosis",
        "test (n = 28)",
    ):
        assert words in card
    band = HeadMeasure.load(folder).cohort
    ageing, weight = band.line("ventricles_ml", "age"), band.line("neck_ml", "bmi")
    assert ageing is not None
    assert weight is not None
    assert ageing.slope().low > 0
    assert weight.slope().low > 0
    assert "sub-IXI" not in (folder / "config.json").read_text()
