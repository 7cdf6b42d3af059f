"""The cohort: the table is what the labels hold, a person depends on the seed alone, a resumed run is the same run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

import engine.phantom.kinds as kinds
from engine.__main__ import main
from engine.cohort.store import CohortStore, StoreError
from engine.phantom.anthropometry import PhantomError, sample_people
from engine.phantom.body import build
from engine.phantom.cohort import person_seeds, write_cohort
from engine.phantom.dixon import FULL_SCALE, scan
from engine.phantom.girth import girth, waist_level
from engine.phantom.shape.frame import GRID, SPACING, VOXEL_ML
from engine.phantom.tissue import TISSUES, codes
from engine.phantom.torsos import PhantomPerson, make


@pytest.fixture(scope="module")
def woman() -> PhantomPerson:
    return make([41], {"sex": "F", "age": 50, "bmi": 27, "height": 166})[0]


def litres(person: PhantomPerson, group: str) -> float:
    return int(np.isin(person.labels, codes(group)).sum()) * VOXEL_ML / 1000


def test_the_table_is_counted_on_the_labels(woman: PhantomPerson) -> None:
    row = woman.row
    assert (row["sex"], row["age"], row["bmi"], row["height"], row["seed"]) == ("F", 50, 27, 166, 41)
    assert row["weight"] == pytest.approx(27 * 1.66**2, abs=0.05)
    for name, group in (("sat", "subcutaneous_fat"), ("vat", "visceral_fat"), ("muscle", "muscle")):
        assert row[name] == pytest.approx(litres(woman, group), abs=5e-4)
    assert row["liver_volume"] == pytest.approx(litres(woman, "liver") * 1000, abs=1)
    assert set(np.unique(woman.labels)) <= {tissue.code for tissue in TISSUES}


def test_organs_meet_the_volumes_of_the_person(woman: PhantomPerson) -> None:
    people = sample_people([41], {"sex": "F", "age": 50, "bmi": 27, "height": 166})
    for name, share in (("liver", 0.05), ("spleen", 0.05)):
        assert litres(woman, name) * 1000 == pytest.approx(float(getattr(people, name)), rel=share)
    assert litres(woman, "visceral_fat") == pytest.approx(float(people.vat), abs=0.25)


def test_a_person_does_not_depend_on_the_company() -> None:
    alone, together = make([5]), make([4, 5, 6])
    assert np.array_equal(alone[0].images, together[1].images)
    assert np.array_equal(alone[0].labels, together[1].labels)
    assert alone[0].row == together[1].row
    assert not np.array_equal(together[0].labels, together[1].labels)


def test_a_batch_paints_what_single_persons_paint() -> None:
    """The gathering of boxes in a batch, as a GPU does it, and the slicing of one person agree."""
    people = sample_people([4, 5])
    both = build(people)
    for i in range(2):
        one = build(people[[i]])
        assert (both.label[i] != one.label[0]).float().mean() < 1e-4
        assert (both.water[i] - one.water[0]).abs().mean() < 1e-4


def test_the_same_person_with_another_bmi_has_the_same_spine() -> None:
    lean, heavy = (make([9], {"sex": "M", "age": 45, "height": 180, "bmi": bmi})[0] for bmi in (23, 36))
    a, b = (np.isin(person.labels, codes("vertebrae")) for person in (lean, heavy))
    assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.9
    assert heavy.row["sat"] > 1.5 * lean.row["sat"]
    assert heavy.row["vat"] > 1.5 * lean.row["vat"]
    assert heavy.row["waist"] > lean.row["waist"] + 15


@pytest.mark.parametrize(("sex", "bmi"), [("M", 45), ("F", 45), ("M", 17), ("F", 50)])
def test_the_trunk_stays_in_the_field_of_view(sex: str, bmi: float) -> None:
    body = build(sample_people([3], {"sex": sex, "bmi": bmi, "height": 178 if sex == "M" else 165, "age": 50}))
    inside = (body.trunk[0] < 0).numpy()
    above_thighs = (body.frame.u[0, 0, 0] > 0.50).numpy()
    assert not inside[:, [0, -1]][..., above_thighs].any(), "front and back"
    assert inside[[0, -1]][..., above_thighs].mean() < 0.01, "flanks"
    lungs = np.isin(body.label[0], codes("lung")).sum().item() * VOXEL_ML / 1000
    assert 0.9 < lungs < 8


def test_right_is_right() -> None:
    """x rises to the patient's right: the liver lies there, and the volume's affine says so."""
    person = make([41])[0]
    x = np.nonzero(np.isin(person.labels, codes("liver")))[0].mean()
    assert x > (GRID[0] - 1) / 2 + 4


def test_the_scanner_keeps_the_signal_and_adds_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    body = build(sample_people([12]))
    clean, noisy = scan(body, clean=True).images.float() * FULL_SCALE, scan(body).images.float() * FULL_SCALE
    flesh = torch.isin(body.label[0], torch.tensor(codes("muscle")))
    ratio = noisy[0, 0][flesh].mean() / clean[0, 0][flesh].mean()
    assert 0.75 < float(ratio) < 1.15
    air = body.label[0] == 0
    assert float(clean[0, :, air].mean()) < 2 < float(noisy[0, :, air].mean()) + 2
    assert noisy[0, 0][air].std() > 0.3
    monkeypatch.setattr("engine.phantom.dixon.SWAP", 1.0)
    swapped = scan(body)
    assert swapped.swapped == (True,)
    changed = (swapped.images.float() - noisy / FULL_SCALE).abs() > 30
    assert 0.005 < float(changed.float().mean()) < 0.5


def test_a_tape_around_an_ellipse() -> None:
    x, y = np.meshgrid(*(np.arange(size) - size / 2 + 0.5 for size in (96, 80)), indexing="ij")
    a, b = 160.0, 110.0
    field = np.hypot(x * 5 / a, y * 5 / b) - 1
    h = (a - b) ** 2 / (a + b) ** 2
    ramanujan = np.pi * (a + b) * (1 + 3 * h / (10 + np.sqrt(4 - 3 * h)))
    assert girth(field, SPACING[:2]) == pytest.approx(ramanujan, rel=0.005)
    assert np.isnan(girth(np.ones((9, 9)), (1.0, 1.0)))
    assert waist_level(np.zeros((4, 4, 4), bool)) is None


def run(path: Path, n: int, stop: int | None = None) -> CohortStore | None:
    steps = write_cohort(path, n=n, seed=2, labels=True, workers=1)
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value
        if step.done == stop:
            return None


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", 3)
    assert run(tmp_path / "resumed", 3, stop=2) is None
    with pytest.raises(StoreError, match="unfinished"):
        CohortStore.open(tmp_path / "resumed")
    resumed = run(tmp_path / "resumed", 3)
    assert whole is not None
    assert resumed is not None
    assert whole.rows == resumed.rows
    assert whole.meta["arrays"] == resumed.meta["arrays"], "every array has the same checksum"
    assert [row["seed"] for row in whole.rows] == person_seeds(2, 3)
    assert whole.channels == ("water", "fat")
    assert whole.grid == GRID
    with pytest.raises(StoreError, match="exists already"):
        run(tmp_path / "whole", 3)


def test_the_command_writes_bids_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["phantom", str(tmp_path / "store"), "--n", "2", "--seed", "3", "--nifti", "1"]) == 0
    out = capsys.readouterr().out
    assert "2 in-silico persons" in out
    assert "not for diagnosis" in out
    store = CohortStore.open(tmp_path / "store")
    assert store.labels is None
    folder = tmp_path / "store" / "bids" / "sub-0001" / "anat"
    water, fat, labels = (nib.load(folder / f"sub-0001_{kind}.nii.gz") for kind in ("water", "fat", "dseg"))
    assert water.shape == fat.shape == labels.shape == GRID  # type: ignore[attr-defined]
    assert np.array_equal(np.asarray(fat.dataobj), store.volumes[0, 1])  # type: ignore[attr-defined]
    found = np.asarray(labels.dataobj)  # type: ignore[attr-defined]
    assert round(int(np.isin(found, codes("subcutaneous_fat")).sum()) * VOXEL_ML / 1000, 3) == store.rows[0]["sat"]
    assert nib.aff2axcodes(water.affine) == ("R", "A", "S")  # type: ignore[attr-defined]
    header, line = (tmp_path / "store" / "bids" / "participants.tsv").read_text().splitlines()
    assert header.split("\t")[:6] == ["participant_id", "age", "sex", "height", "weight", "bmi"]
    assert "waist" in header
    assert f"{store.rows[0]['waist']:g}" in line.split("\t")
    about = json.loads((tmp_path / "store" / "bids" / "dataset_description.json").read_text())
    assert about["License"] == "CC0-1.0"
    assert "not for diagnosis" in json.dumps(about)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--n", "0"], "n is 0; ask for one person or more"),
        (["--n", "2", "--nifti", "3"], "3 persons as NIfTI of 2"),
        (["--n", "2", "--seed", "-1"], "seed is -1"),
    ],
)
def test_an_impossible_cohort_is_one_sentence(
    options: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["phantom", str(tmp_path / "store"), *options]) == 2
    assert said in capfd.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_target_is_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert main(["phantom", str(tmp_path / "file" / "store"), "--n", "1"]) == 2
    assert "cannot be written" in capfd.readouterr().err.splitlines()[-1]
    assert (tmp_path / "file").read_text() == "mine"


def test_ctrl_c_keeps_what_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    whole: Callable[..., list[PhantomPerson]] = kinds.make_torsos

    def stops(seeds: list[int], *args: object, **more: object) -> list[PhantomPerson]:
        if seeds[0] % 1_000_003 == 1:
            raise KeyboardInterrupt
        return whole(seeds, *args, **more)

    monkeypatch.setattr(kinds, "make_torsos", stops)
    assert main(["phantom", str(tmp_path / "store"), "--n", "2"]) == 130
    monkeypatch.setattr(kinds, "make_torsos", whole)
    capfd.readouterr()
    assert main(["phantom", str(tmp_path / "store"), "--n", "2"]) == 0
    assert len(CohortStore.open(tmp_path / "store")) == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [({"bmi": 90}, "90"), ({"age": 8}, "8"), ({"sex": "unknown"}, "unknown"), ({"shoe": 42}, "shoe")],
)
def test_an_impossible_person_is_refused(given: dict[str, float | str], said: str) -> None:
    with pytest.raises(PhantomError, match=said):
        make([1], given)
