"""Laws of the torso's ruler: it counts, whatever the orientation, scale or order of files; it says what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.checkpoints.files import CheckpointError
from engine.imaging.volume import Volume, VolumeError
from engine.measure.reference import CohortBand
from engine.measure.segmenter import Segmenter, SegmenterConfig
from engine.measure.torso import (
    CLASSES,
    CODES,
    MEASURES,
    UNITS,
    TorsoMeasure,
    TorsoMeasureConfig,
    classes_of_codes,
    perfect,
)
from engine.phantom.tissue import TISSUES
from engine.phantom.torsos import PhantomPerson, make
from engine.training.stages.measure_torso import scan_of

SHIPPED = Path(__file__).parents[2] / "checkpoints" / "measure-torso"
SMALL = SegmenterConfig(
    classes=CLASSES, window=(32, 32, 32), spacing=(5.0, 5.0, 6.0), centre=(0.0,) * 3, widths=(8, 8, 8), inputs=2
)


@pytest.fixture(scope="module")
def person() -> PhantomPerson:
    """Somebody of nobody's training."""
    return make([990_001])[0]


@pytest.fixture(scope="module")
def bare() -> TorsoMeasure:
    """A ruler whose network has learned nothing."""
    torch.manual_seed(0)
    config = TorsoMeasureConfig(segmenter=SMALL)
    return TorsoMeasure(
        config, Segmenter(SMALL).eval(), CohortBand(lines={}, curves={}, levels={}), {"name": "x", "title": "x"}
    )


@pytest.fixture(scope="module")
def shipped() -> TorsoMeasure:
    return TorsoMeasure.load(SHIPPED)


def test_perfect_probabilities_measure_the_table(bare: TorsoMeasure, person: PhantomPerson):
    read = bare.read(scan_of(person), perfect(person.labels)).values
    for name in ("sat", "vat", "muscle"):
        assert read[name] == pytest.approx(person.row[name], abs=6e-4), name
    assert read["liver_volume"] == pytest.approx(person.row["liver_volume"], abs=0.6)
    assert read["liver_pdff"] == pytest.approx(person.row["liver_pdff"], abs=0.3)
    assert read["waist"] == pytest.approx(person.row["waist"], abs=0.5)
    assert list(read) == list(MEASURES) == list(UNITS)


def test_half_the_probability_is_half_the_volume(bare: TorsoMeasure, person: PhantomPerson):
    truth = perfect(person.labels)
    half = truth.copy()
    half[CLASSES.index("vat")] /= 2
    half[CLASSES.index("other")] += half[CLASSES.index("vat")]
    once, twice = (bare.read(scan_of(person), p).values for p in (half, truth))
    assert twice["vat"] == pytest.approx(2 * once["vat"])
    assert twice["sat"] == once["sat"]
    doubled = tuple(2.0 if name == "vat" else 1.0 for name in CLASSES)
    gained = replace(bare, config=replace(bare.config, gains=doubled)).read(scan_of(person), half).values
    assert gained["vat"] == pytest.approx(twice["vat"])


def test_every_code_has_one_class():
    table = classes_of_codes()
    assert {CLASSES[table[tissue.code]] for tissue in TISSUES} == set(CLASSES)
    codes = [code for labels in CODES.values() for code in labels]
    assert len(codes) == len(set(codes))


def test_another_grid_keeps_place_and_amount(bare: TorsoMeasure, person: PhantomPerson):
    """Turned, in other voxels and elsewhere in space the torso comes to the ruler's voxels, its mass kept."""
    scan = scan_of(person)
    assert np.array_equal(bare.framed(scan).data, scan.data), "its own grid is left as it lies"
    assert np.array_equal(bare.framed(scan.reoriented("PSL")).data, scan.data)
    affine = np.diag([4.0, 4.0, 3.0, 1.0])
    affine[:3, 3] = scan.affine[:3, 3]
    fine = replace(scan, data=scan.data.astype(np.float32)).resampled((120, 100, 288), affine)
    framed = bare.framed(fine)
    assert framed.spacing == pytest.approx((5, 5, 6))
    assert not any(n % m for n, m in zip(framed.grid, SMALL.multiples, strict=True))
    assert framed.data.sum() == pytest.approx(scan.data.sum(dtype=float), rel=0.01)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: Volume(v.data[0], v.affine), "no channel water"),
        (lambda v: replace(v, channels=("water", "T1w")), "no channel fat"),
        (lambda v: replace(v, data=v.data * np.float32("nan")), "NaN or infinite"),
        (lambda v: replace(v, data=np.zeros_like(v.data)), "nothing to see"),
        (lambda v: replace(v, affine=v.affine @ np.diag([9.0, 9, 9, 1])), "larger than a torso"),
        (lambda v: replace(v, affine=v.affine @ np.diag([0.02, 0.02, 0.02, 1])), "smaller than a torso"),
        (lambda v: replace(v, data=v.data[[0, 0]]), "no water and fat images"),
        (lambda v: replace(v, data=v.data * np.float32([1, 0]).reshape(2, 1, 1, 1)), "no water and fat images"),
        (lambda v: replace(v, data=np.stack([v.data[0] + 0.0 + v.data[1], v.data[1]])), "no water and fat images"),
    ],
)
def test_what_is_no_torso_gets_a_sentence(bare: TorsoMeasure, person: PhantomPerson, change, words: str):
    with pytest.raises(VolumeError, match=words):
        bare.examine(change(scan_of(person)))


def test_an_empty_body_is_no_torso(bare: TorsoMeasure, person: PhantomPerson):
    with pytest.raises(VolumeError, match="no torso was found"):
        bare.read(scan_of(person), perfect(np.zeros_like(person.labels)))


def test_stored_and_read_again_it_is_the_same(bare: TorsoMeasure, tmp_path: Path):
    ruler = replace(bare, config=replace(bare.config, gains=(1.25,) * len(CLASSES)))
    ruler.save(tmp_path / "ruler", {"why": "test"})
    again = TorsoMeasure.load(tmp_path / "ruler")
    assert again.config == ruler.config
    data = np.random.default_rng(0).random((2, 32, 32, 32), np.float32)
    assert np.allclose(again.segmenter.classify(data), bare.segmenter.classify(data), atol=0.05), "bfloat16"
    config = json.loads((tmp_path / "ruler" / "config.json").read_text())
    config["measure"]["segmenter"]["classes"][1] = "silk"
    (tmp_path / "ruler" / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="other classes"):
        TorsoMeasure.load(tmp_path / "ruler")
    with pytest.raises(CheckpointError, match="no measure-torso"):
        TorsoMeasure.load(tmp_path / "nowhere")


def test_the_shipped_ruler_reads_persons_it_never_saw(shipped: TorsoMeasure):
    for fresh in make([990_001, 990_002, 990_003]):
        read = shipped.examine(scan_of(fresh))
        for name, most in {"sat": 0.08, "vat": 0.15, "muscle": 0.06, "liver_volume": 0.10}.items():
            assert read.values[name] == pytest.approx(fresh.row[name], rel=most, abs=0.3), name
        assert read.values["waist"] == pytest.approx(fresh.row["waist"], abs=2.0)
        assert read.values["liver_pdff"] == pytest.approx(fresh.row["liver_pdff"], abs=1.0)


def test_orientation_and_scale_do_not_matter(shipped: TorsoMeasure, person: PhantomPerson):
    scan = scan_of(person)
    expected = shipped.measure(scan)
    assert shipped.measure(scan.reoriented("PIR")) == pytest.approx(expected)
    scaled = replace(scan, data=scan.data.astype(np.float64) * 37.5)
    assert shipped.measure(scaled) == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_exchanged_channels_are_put_right_and_told(shipped: TorsoMeasure, person: PhantomPerson):
    scan = scan_of(person)
    assert shipped.examine(scan).notes == ()
    turned = shipped.examine(replace(scan, data=scan.data[::-1].copy()))
    assert turned.values == pytest.approx(shipped.measure(scan))
    assert "exchanged" in turned.notes[0]
    part = scan.data.copy()
    part[:, :30, :, 60:96] = part[::-1, :30, :, 60:96]
    assert "exchanged in about" in shipped.examine(replace(scan, data=part)).notes[0]


def test_the_shipped_ruler_is_small_and_says_what_it_learned_from():
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) <= 10_000_000
    card = (SHIPPED / "model_card.md").read_text()
    for words in ("Not for diagnosis", "computed anatomy only", "CC0-1.0", "Never tested on a real scan", "test (n ="):
        assert words in card
