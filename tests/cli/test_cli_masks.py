"""Masks on the command line: given to generate and whatif, written with persons, and found in a scan."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from engine.__main__ import main
from engine.imaging.nifti import load_volume
from engine.imaging.region_edit import resized
from engine.imaging.segmentation import Segmentation, read_segmentation, write_segmentation
from tests.conftest import MASK


def read_labels(path: Path) -> np.ndarray:
    return np.asarray(load_volume(path).data).astype(np.uint8)


@pytest.fixture
def person(masked: str, tmp_path: Path) -> Path:
    """A folder with one drawn person and its mask."""
    out = tmp_path / "person"
    assert main(["generate", masked, "--seed", "3", "--steps", "2", "--labels", "--out", str(out)]) == 0
    return out / "sub-0001" / "anat"


def test_a_person_is_written_with_its_mask_and_a_table_of_its_labels(person: Path) -> None:
    assert sorted(path.name for path in person.iterdir()) == [
        "sub-0001_T1w.nii.gz",
        "sub-0001_dseg.json",
        "sub-0001_dseg.nii.gz",
        "sub-0001_dseg.tsv",
    ]
    rows = (person / "sub-0001_dseg.tsv").read_text().splitlines()
    assert rows == ["index\tname", *(f"{i}\t{name}" for i, name in enumerate(MASK.classes))]
    about = json.loads((person.parents[1] / "dataset_description.json").read_text())
    assert about["GeneratedBy"][0]["Request"]["mask"] == "drawn"


def test_a_scan_is_drawn_for_a_mask_which_comes_back_exactly(masked: str, person: Path, tmp_path: Path) -> None:
    mask = person / "sub-0001_dseg.nii.gz"
    argv = ["generate", masked, "--seed", "9", "--steps", "2", "--mask", str(mask), "--out", str(tmp_path / "out")]
    assert main(argv) == 0
    drawn = tmp_path / "out" / "sub-0001" / "anat" / "sub-0001_dseg.nii.gz"
    assert np.array_equal(read_labels(drawn), read_labels(mask))


def test_a_scan_is_segmented(masked: str, person: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = person / "sub-0001_T1w.nii.gz"
    assert main(["segment", masked, str(scan), "--set", "age=50", "--force", "--out", str(tmp_path / "seg")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["volumes_ml"]) == set(MASK.classes[1:])
    assert "Not for diagnosis" in found["disclaimer"]
    labels = read_labels(tmp_path / "seg" / "sub-0001_T1w_dseg.nii.gz")
    ball = float((labels == 1).sum()) * 6.0**3 / 1000
    assert found["volumes_ml"]["brain"] == pytest.approx(ball, abs=0.1)


def test_the_same_person_with_another_mask(masked: str, person: Path, tmp_path: Path) -> None:
    """Of a synthetic person and of a scan; whatif.json has the volumes before and after."""
    volume = load_volume(person / "sub-0001_dseg.nii.gz")
    mask = Segmentation(np.asarray(volume.data).astype(np.uint8), volume.affine, MASK.classes)
    assert mask.mask("ventricles").any(), "the drawn person has a middle to be grown"
    grown = resized(mask, "ventricles", 1.5)
    file = tmp_path / "grown_dseg.nii.gz"
    write_segmentation(grown, file, description="edited")
    for k, scan in enumerate(([], [str(person / "sub-0001_T1w.nii.gz"), "--force"])):
        out = tmp_path / f"whatif{k}"
        seed = ["--seed", "3"] if not scan else []
        argv = [
            "whatif",
            masked,
            *scan,
            *seed,
            "--given",
            "age=50",
            "--mask",
            str(file),
            "--steps",
            "2",
            "--out",
            str(out),
        ]
        assert main(argv) == 0
        found = json.loads((out / "whatif.json").read_text())
        assert found["mask_ml"]["ventricles"][1] == pytest.approx(grown.volumes_ml()["ventricles"], abs=0.1)
        assert np.array_equal(read_labels(out / "mask_after_dseg.nii.gz"), grown.labels)
        assert (out / "01_difference.nii.gz").is_file()
        assert found["counterfactuals"][0]["row"]["age"] == 50


@pytest.mark.parametrize(
    "argv",
    [("generate", "--labels"), ("segment", "SCAN"), ("generate", "--mask", "FILE"), ("whatif", "--mask", "FILE")],
)
def test_a_model_without_masks_says_so(checkpoint: str, refused: Callable[..., str], tmp_path: Path, argv) -> None:
    scan = tmp_path / "scan.nii.gz"
    grid = np.zeros((32, 32, 32), np.uint8)
    grid[8:24, 8:24, 8:24] = 1
    affine = np.diag([6.0, 6, 6, 1])
    write_segmentation(Segmentation(grid, affine, ("background", "brain")), tmp_path / "x_dseg.nii.gz", description="")
    (tmp_path / "x_dseg.nii.gz").rename(scan)
    command, *options = argv
    words = [str(scan) if word in ("SCAN", "FILE") else word for word in options]
    said = refused(
        command, checkpoint, *words, "--out", tmp_path / "out", *(["--force"] if command == "segment" else [])
    )
    assert "knows no masks" in said


def test_a_mask_that_is_none_is_refused(masked: str, refused: Callable[..., str], tmp_path: Path) -> None:
    labels = np.full((32, 32, 32), 9, np.uint8)
    affine = np.diag([6.0, 6, 6, 1])
    many = Segmentation(labels, affine, tuple(f"class {i}" for i in range(10)))
    write_segmentation(many, tmp_path / "many_dseg.nii.gz", description="")
    said = refused("generate", masked, "--mask", tmp_path / "many_dseg.nii.gz", "--out", tmp_path / "out")
    assert "many_dseg.nii.gz" in said
    assert "background, brain, ventricles, other" in said or "brain, ventricles, other" in said


def test_a_mask_of_a_scan_that_is_moved_has_to_lie_where_it_is_moved_to(
    masked: str, person: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    """The scan's brain comes to the middle of the model's grid; the mask would stay 30 mm beside it."""
    for name in ("sub-0001_T1w.nii.gz", "sub-0001_dseg.nii.gz"):
        volume = load_volume(person / name)
        volume.affine[0, 3] += 30
        volume.save(tmp_path / name)
    given = [tmp_path / "sub-0001_T1w.nii.gz", "--mask", tmp_path / "sub-0001_dseg.nii.gz", "--out", tmp_path / "out"]
    said = refused("whatif", masked, *given)
    assert said.startswith(
        "somatwin: sub-0001_dseg.nii.gz does not lie on the model's grid, onto which the scan is moved"
    )


def test_masks_as_dicom(masked: str, person: Path, tmp_path: Path) -> None:
    """A synthetic person's and that of a scan: a SEG beside the slices it refers to, read again with the same labels."""
    out = tmp_path / "dicom"
    seed = ["--seed", "3", "--steps", "2"]
    assert main(["generate", masked, *seed, "--labels", "--format", "dicom", "--out", str(out)]) == 0
    scan = str(person / "sub-0001_T1w.nii.gz")
    seg = tmp_path / "seg"
    assert main(["segment", masked, scan, "--force", "--format", "dicom", "--out", str(seg)]) == 0
    for folder, name, synthetic in (
        (out / "sourcedata" / "sub-0001", "SYNTHETIC^SOMATWIN", "YES"),
        (seg, "ANONYMOUS^", "NO"),
    ):
        made, first = dcmread(folder / "dseg.dcm"), dcmread(folder / "T1w" / "0001.dcm")
        assert made.Modality == "SEG"
        assert str(first.PatientName) == str(made.PatientName) == name
        assert first.SyntheticData == synthetic
        assert made.FrameOfReferenceUID == first.FrameOfReferenceUID
    affine = load_volume(person / "sub-0001_dseg.nii.gz").affine
    about = {"classes": MASK.classes, "grid": (32, 32, 32), "affine": affine}
    again, _ = read_segmentation(out / "sourcedata" / "sub-0001" / "dseg.dcm", **about)
    assert np.array_equal(again.labels, read_labels(person / "sub-0001_dseg.nii.gz"))
