"""A scan's way to a model, and what the model says of it: on the grid as it is, from elsewhere resampled or refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import engine
from engine.__main__ import main
from engine.anatomy.head import HEAD
from engine.imaging.volume import Volume
from engine.inference.generate import RequestError
from engine.inference.infer import infer, posterior
from engine.inference.intake import intake
from engine.vocabulary.schema import AttributeSchema


@pytest.fixture
def model(tiny_checkpoint: Path) -> engine.inference.generate.Model:
    return engine.load(tiny_checkpoint / "tiny")


@pytest.fixture
def scan(model, tmp_path: Path) -> Path:
    (person,) = model.generate(seed=3, given={"age": 40})
    person.volume.save(tmp_path / "sub-1_T1w.nii.gz")
    return tmp_path / "sub-1_T1w.nii.gz"


def test_a_scan_on_the_grid_is_taken_as_it_is(model, scan: Path) -> None:
    (person,) = model.generate(seed=3, given={"age": 40})
    assert np.array_equal(intake(model, scan).data, person.volume.data)


def test_a_turned_scan_and_one_of_eight_bits_are_the_same(model, scan: Path, tmp_path: Path) -> None:
    taken = intake(model, scan)
    Volume(np.rint(255 * taken.data).astype(np.uint8), taken.affine).reoriented("LPI").save(
        tmp_path / "bytes_T1w.nii.gz"
    )
    assert np.abs(intake(model, tmp_path / "bytes_T1w.nii.gz").data - taken.data).max() <= 0.5 / 255 + 1e-6


def test_another_head_goes_through_the_cohorts_preprocessing(model, scan: Path, tmp_path: Path) -> None:
    """A ball brighter inside, finer and elsewhere: its brain comes to lie where the model's does."""
    grid = (64, 64, 64)
    axes = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * 4 for n in grid], indexing="ij")
    ball = np.where(np.sqrt(sum(a**2 for a in axes)) < 62, 900.0, 40.0).astype(np.float32)
    affine = np.diag([4.0, 4, 4, 1])
    affine[:3, 3] = 30
    Volume(ball, affine).save(tmp_path / "other_T1w.nii.gz")
    found = intake(model, tmp_path / "other_T1w.nii.gz", masker=lambda head: head.data > 500)
    assert found.grid == model.checkpoint.model.config.image.grid
    assert np.allclose(found.affine, model.checkpoint.affine)
    assert 0.7 < found.data.max() <= 1


def test_a_field_of_view_that_is_elsewhere_is_refused(model, scan: Path, tmp_path: Path) -> None:
    bare = replace(model.checkpoint.config, preprocess={})
    model.checkpoint = replace(model.checkpoint, config=bare)
    taken = intake(model, scan)
    far = taken.affine.copy()
    far[0, 3] += 120
    Volume(taken.data, far).save(tmp_path / "far_T1w.nii.gz")
    with pytest.raises(RequestError, match=r"covers \d+% of the field of view of tiny"):
        intake(model, tmp_path / "far_T1w.nii.gz")


def test_the_posterior_adds_up(model, scan: Path) -> None:
    draws = infer(model, intake(model, scan), {"sex": "F"}, samples=20, seed=1)
    found = posterior(model.schema, draws, {"sex": "F"})
    assert list(found) == list(model.schema.names)
    assert found["sex"] == {"given": "F"}
    assert sum(found["ethnicity"]["shares"].values()) == pytest.approx(1)
    ages = np.array([d["age"] for d in draws])
    assert found["age"]["mean"] == pytest.approx(ages.mean())
    assert sum(found["age"]["histogram"]["counts"]) == 20
    assert found["age"]["interval"][0] <= found["age"]["median"] <= found["age"]["interval"][1]


@pytest.mark.parametrize(("samples", "covered"), [(32, 0.9), (64, 0.9), (9, 0.8)])
def test_an_interval_holds_what_it_says(model, samples: int, covered: float) -> None:
    """Nine draws in ten of the same kind fall into it; quantiles of the sample itself hold .845 of 32."""
    rng, schema = np.random.default_rng(0), AttributeSchema(columns=(model.schema["age"],))
    inside = []
    for _ in range(2000):
        low, high = posterior(schema, [{"age": age} for age in rng.uniform(20, 80, samples)], {})["age"]["interval"]
        inside.append((high - low) / 60)
    assert np.mean(inside) == pytest.approx(covered, abs=0.005)


def test_infer_from_the_command_line(tiny_checkpoint: Path, scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["infer", str(tiny_checkpoint / "tiny"), str(scan), "--set", "sex=M", "--samples", "6"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["columns"]["sex"] == {"given": "M"}
    assert found["columns"]["bmi"]["unit"] == "kg/m²"
    assert "Not for diagnosis" in found["disclaimer"]
    assert main(["infer", str(tiny_checkpoint / "tiny"), str(scan), "--samples", "0"]) == 2
    assert "samples 0" in capsys.readouterr().err


def test_whatif_from_the_command_line(tiny_checkpoint: Path, scan: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    command = [
        "whatif",
        str(tiny_checkpoint / "tiny"),
        str(scan),
        "--given",
        "age=40",
        "--given",
        "sex=M",
        "--out",
        str(out),
    ]
    assert main([*command, "--sweep", "bmi=20:34:3", "--steps", "4"]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    about = json.loads((out / "whatif.json").read_text("utf-8"))
    assert [c["set"]["bmi"] for c in about["counterfactuals"]] == [20, 27, 34]
    assert all(c["row"]["bmi"] == c["set"]["bmi"] and c["row"]["age"] == 40 for c in about["counterfactuals"])
    assert {"scan.nii.gz", "reconstruction.nii.gz", "03_difference.nii.gz"} <= {f.name for f in out.iterdir()}
    # nobody's ethnicity is read off a scan unasked
    assert not any("ethnicity" in {**c["row"], **c["factual"]} for c in about["counterfactuals"])
    assert "Not for diagnosis" in about["disclaimer"]
    told = [*command[:-1], str(tmp_path / "told"), "--given", "ethnicity=White", "--set", "bmi=30", "--steps", "2"]
    assert main(told) == 0
    capsys.readouterr()
    (one,) = json.loads((tmp_path / "told" / "whatif.json").read_text("utf-8"))["counterfactuals"]
    assert one["row"]["ethnicity"] == "White"
    for wrong, sentence in (
        (["--set", "bmi=20"], "exists already"),
        (["--sweep", "bmi=20"], "is not NAME=FROM:TO:COUNT"),
        (["--sweep", "bmi=1_8:4_5:2"], "is not NAME=FROM:TO:COUNT"),
        (["--sweep", "bmi=18:30:2", "--sweep", "age=20:60:2"], "--sweep: is given twice; give it once"),
        (["--set", "bmi=20", "--sweep", "bmi=18:30:2"], "bmi is to be otherwise by --set and by --sweep"),
        ([], "nothing is to be otherwise"),
    ):
        assert main([*command, *wrong]) == 2
        assert sentence in capsys.readouterr().err


def test_a_volume_in_memory_is_taken_like_its_file(model, scan: Path) -> None:
    (person,) = model.generate(seed=3, given={"age": 40})
    assert np.array_equal(intake(model, person.volume).data, intake(model, scan).data)
    with pytest.raises(RequestError, match="the scan shows water, tiny takes T1w"):
        intake(model, replace(person.volume, channels=("water",)))


def test_a_scan_on_the_grid_needs_no_preprocessing(model, scan: Path) -> None:
    """Settings that there are none of stop whoever reads them."""
    wrong = replace(model.checkpoint.config, preprocess={"nonsense": 1})
    model.checkpoint = replace(model.checkpoint, config=wrong)
    assert intake(model, scan).grid == (32, 32, 32)


def test_a_region_that_is_resampled_is_never_preprocessed(model, scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever settings a checkpoint carries: the region says how its scans are taken in."""
    resampled = replace(HEAD, intake="resampled")
    monkeypatch.setattr("engine.inference.intake.region_of", lambda channels: resampled)
    taken = intake(model, scan)
    near = taken.affine.copy()
    near[0, 3] += 1

    def masker(head: Volume) -> np.ndarray:
        raise AssertionError("no brain is looked for")

    found = intake(model, Volume(taken.data, near), masker)
    assert np.allclose(found.affine, taken.affine)
    assert not np.array_equal(found.data, taken.data)
