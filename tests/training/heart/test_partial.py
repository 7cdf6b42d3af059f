"""Patients of two phases: laid where in-silico hearts lie, what was not scanned as it is expected, learned by the flow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from engine.anatomy.heart import HEART
from engine.checkpoints.checkpoint import load_checkpoint
from engine.imaging.grid import frames
from engine.imaging.volume import Volume
from engine.model.config import AutoencoderConfig, TransformerConfig
from engine.phantom.heart.raster import RASTER
from engine.phantom.heart.tissue import LV_BLOOD
from engine.training.pipeline import train
from engine.training.recipes import heart_cine
from engine.training.run import RunError
from engine.training.stages.heart.partial import Expectation, check_patients, in_cycle, laid, read_partial
from engine.training.stages.heart.patients import Patient
from engine.vocabulary.row import Row
from engine.vocabulary.schema import AttributeSchema
from tests.cli.test_cli_train_heart import heart_store
from tests.phantom.heart.hearts import heart

BEAT: Row = {"heart_rate": 64.0}


def two_phases(turns: int, *, base_first: bool) -> Patient:
    """The end-diastole and end-systole of a computed heart, its slices turned by quarters, as a file without directions has them."""
    one = heart("healthy")
    cavity = np.isin(one.labels, LV_BLOOD)
    phases = [0, int(cavity.sum((1, 2, 3)).argmin())]
    images, contours = (np.rot90(part[phases], turns, (1, 2)) for part in (one.images, cavity))
    if base_first:
        images, contours = images[..., ::-1], contours[..., ::-1]
    cine = Volume(np.ascontiguousarray(images), np.diag([*RASTER.spacing, 1.0]), frames(HEART.channels, 2))
    return Patient(name="sub-01", cine=cine, cavity=np.ascontiguousarray(contours))


@pytest.mark.parametrize(("turns", "base_first"), [(0, True), (1, False), (2, True), (3, True)])
def test_a_heart_comes_to_lie_where_it_was_computed(turns: int, base_first: bool) -> None:
    """Known answer: the computed heart itself, but for the degrees by which its own right ventricle is off the mean."""
    found = laid(two_phases(turns, base_first=base_first), RASTER.grid, RASTER.affine, {})
    assert found is not None
    truth = heart("healthy").images[0] / 255
    middle = (slice(24, 72), slice(24, 72), slice(4, 12))
    likeness = max(
        float(np.corrcoef(np.roll(found.two[0], up, 2)[middle].ravel(), truth[middle].ravel())[0, 1])
        for up in (-1, 0, 1)
    )
    assert likeness > 0.8
    assert found.row["lv_ef"] == pytest.approx(heart("healthy").row["lv_ef"], abs=3)


def test_two_phases_stand_in_their_places_and_the_mean_where_nothing_was_seen() -> None:
    template = torch.full((12, 4, 4, 2), 0.3)
    two = np.stack([np.full((4, 4, 2), 0.9, np.float32), np.full((4, 4, 2), 0.1, np.float32)])
    seen = np.zeros((4, 4, 2), bool)
    seen[..., 1] = True
    cycle = in_cycle(template, two, seen, BEAT)
    assert torch.equal(cycle[..., 0], template[..., 0])
    assert float(cycle[0, 0, 0, 1]) == pytest.approx(0.9)
    lowest = cycle[:, 0, 0, 1]
    assert float(lowest.min()) == pytest.approx(0.1)
    assert int(lowest.argmin()) in (4, 5)  # a systole of some .4 s at 64 beats a minute


def test_what_two_phases_miss_is_found_by_regression() -> None:
    """Known answer: what is missed is linear in what is there."""
    generator = torch.Generator().manual_seed(0)
    part, more = (torch.randn(n, 3, 5, generator=generator) for n in (4000, 200))
    slopes, constant = torch.randn(3, 5, 5, generator=generator), torch.randn(3, 5, generator=generator)

    def whole(tokens: torch.Tensor) -> torch.Tensor:
        return tokens + torch.einsum("pnd,ndc->pnc", tokens, slopes) + constant

    found = Expectation.fit(whole(part), part)(more)
    off = (found - whole(more)).square().mean() / whole(more).var()
    assert float(off) < 0.15  # the penalty shrinks by about a seventh at most
    nothing = Expectation.fit(part, part)(more)
    torch.testing.assert_close(nothing, more)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (None, r"participants.tsv is not there; give a folder with the table"),
        ("age\n50\n", "has no column participant_id; name each patient there"),
        ("participant_id\tage\nsub-1\told\n", "age 'old' is no number; correct the cell or leave it n/a"),
        ("participant_id\tage\nsub-1\t50\n", "has no sub-.*_phase-EDES_cine.nii.gz with its _dseg"),
    ],
)
def test_patients_that_cannot_be_read_are_refused_before_anything_is_trained(
    tmp_path: Path, table: str | None, said: str
) -> None:
    if table is not None:
        (tmp_path / "participants.tsv").write_text(table)
    with pytest.raises(RunError, match=said):
        check_patients(tmp_path)


def folder_of(path: Path, persons: int) -> Path:
    """Patients as the Sunnybrook ones are filed."""
    one = two_phases(0, base_first=True)
    lines = ["participant_id\tage\tsex\tpathology\theart_rate"]
    for number in range(persons):
        name = f"sub-{number:02d}"
        folder = path / name / "cardiac"
        folder.mkdir(parents=True)
        for kind, data in (("cine", one.cine.data), ("dseg", one.cavity.astype(np.uint8))):
            image = nib.Nifti1Image(np.moveaxis(data, 0, -1), one.cine.affine)
            nib.save(image, folder / f"{name}_phase-EDES_{kind}.nii.gz")
        lines.append(f"{name}\t{50 + number}\tF\tHYP\t{'n/a' if number else 70}")
    (path / "participants.tsv").write_text("\n".join(lines) + "\n")
    return path


def test_patients_are_read_with_what_is_known_of_them(tmp_path: Path) -> None:
    taught, held = read_partial(folder_of(tmp_path, 6), RASTER.grid, RASTER.affine)
    assert [one.name for one in held] == ["sub-00", "sub-05"]
    assert len(taught) == 4
    assert held[0].row["heart_rate"] == 70
    assert "heart_rate" not in taught[0].row
    assert (taught[0].row["pathology"], taught[0].row["sex"], taught[0].row["age"]) == ("hypertrophic", "F", 51)
    assert float(taught[0].row["lv_edv"] or 0) > 50


@pytest.mark.slow
def test_a_model_learns_computed_hearts_and_then_patients(tmp_path: Path) -> None:
    whole = heart_cine()
    image = AutoencoderConfig(
        grid=whole.model.image.grid,
        channels=whole.model.image.channels,
        latent=4,
        widths=(4, 8, 8, 8),
        patch=(16, 16, 4),
    )
    net = TransformerConfig(width=16, depth=1, heads=2)
    recipe = replace(
        whole,
        schema=AttributeSchema(columns=tuple(c for c in whole.schema.columns if c.name in ("age", "sex"))),
        model=replace(whole.model, image=image, flow=net, rows=None, rank=4, table_rank=2),
        autoencoder=replace(whole.autoencoder, steps=1, batch=1, bfloat16=False),
        flow=replace(whole.flow, steps=1, copies=1, batch=4, bfloat16=False),
        rows=None,
        detail=None,
        patient_steps=2,
    )
    store = heart_store(tmp_path / "store", 12)
    stages = {p.stage for p in train(recipe, store, tmp_path / "run", patients=folder_of(tmp_path / "patients", 6))}
    assert {"flow", "phases", "patients"} <= stages
    card = load_checkpoint(tmp_path / "run" / "checkpoint").card
    assert card["training"]["patients"] == 4
    assert card["training"]["patient_steps"] == 2
    assert "then 4 patients of the Sunnybrook Cardiac Data" in card["trained_on"]["source_name"]
