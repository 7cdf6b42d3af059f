"""Left stays left and a millimetre a millimetre: an asymmetric marker through reading, ingest, infer, what-if and every export."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread

import engine
from engine.__main__ import main
from engine.cohort.ingest import ingest
from engine.cohort.store import CohortStore
from engine.imaging.dicom import read_series
from engine.imaging.dicom_seg import write_dicom_seg
from engine.imaging.dicom_write import Origin, write_series
from engine.imaging.nifti import load_volume
from engine.imaging.segmentation import Segmentation, read_segmentation, write_segmentation
from engine.imaging.surface import surface
from engine.imaging.volume import Volume
from engine.inference.intake import intake
from tests.cohort.heads import CONFIG, brain_of, made_up_head
from tests.imaging.dicom_files import enhanced, series, zipped
from tests.imaging.test_volume import ORIENTATIONS

#: the codes of sform and qform; one of them alone is enough
CODES = [(1, 0), (0, 1), (2, 1), (4, 1)]
ORIGIN = Origin(checkpoint="x", digest="0", seed=7, steps=8, guidance=1.5, given={}, attributes={})
#: a few that have every axis in every place, either way round
SOME = ["RAS", "LPS", "ASR", "PIL", "SLA", "IRP", "LAI", "SPR"]


def nifti(volume: Volume, axcodes: str, codes: tuple[int, int]) -> bytes:
    """The volume stored along ``axcodes``, its place in the sform, the qform, or both."""
    turned = volume.reoriented(axcodes)
    image = nib.Nifti1Image(turned.data, None)
    image.set_sform(turned.affine, codes[0], update_affine=False)
    image.set_qform(turned.affine, codes[1], update_affine=False)
    return image.to_bytes()


def every_way(volume: Volume, ways: list[str]) -> Iterator[tuple[str, str, bytes]]:
    """Orientation, ending, bytes: NIfTI under each pair of codes in turn, classic and enhanced DICOM. Values are whole and even."""
    for k, axcodes in enumerate(ways):
        yield axcodes, "_T1w.nii", nifti(volume, axcodes, CODES[k % len(CODES)])
    for k, axcodes in enumerate(ways):
        files = [enhanced(volume, 1, axcodes=axcodes)] if k % 2 else series(volume, 1, axcodes=axcodes)
        yield axcodes, ".zip", zipped(files)


@pytest.fixture
def model(tiny_checkpoint: Path) -> engine.inference.generate.Model:
    return engine.load(tiny_checkpoint / "tiny")


def marked(model: engine.inference.generate.Model) -> Volume:
    """A person of the model with a bright block at the left, in front, above."""
    (person,) = model.generate(seed=3, given={"age": 40})
    data = person.volume.data.copy()
    i, j, k = (n // 2 for n in person.volume.grid)
    data[i - 9 : i - 5, j + 4 : j + 7, k + 3 : k + 8] = 1
    return Volume(2 * np.rint(data * 500).astype(np.float32), person.volume.affine)


@pytest.mark.parametrize("codes", CODES)
def test_a_scan_on_the_models_grid_is_the_same_whichever_way_it_is_stored(model, codes, tmp_path: Path):
    scan = marked(model)
    expected = intake(model, scan).data
    for axcodes in ORIENTATIONS:
        (tmp_path / "a_T1w.nii").write_bytes(nifti(scan, axcodes, codes))
        np.testing.assert_array_equal(intake(model, tmp_path / "a_T1w.nii").data, expected)


def test_what_is_inferred_and_a_what_if_do_not_hang_on_it(model, checkpoint: str, tmp_path: Path, capsys):
    scan = marked(model)
    told, drawn = [], []
    for k, (_, end, data) in enumerate(every_way(scan, ["RAS", "PIL"])):
        path = tmp_path / f"{k}{end}"
        path.write_bytes(data)
        assert main(["infer", checkpoint, str(path), "--samples", "2", "--force"]) == 0
        told.append(json.loads(capsys.readouterr().out)["columns"])
        out = tmp_path / f"out{k}"
        asked = [checkpoint, str(path), "--given", "age=40", "--set", "age=60", "--steps", "1", "--force"]
        assert main(["whatif", *asked, "--out", str(out)]) == 0
        capsys.readouterr()
        drawn.append({p.name: load_volume(p).data for p in sorted(out.glob("*.nii.gz"))})
        written = load_volume(out / "scan.nii.gz")
        assert written.axcodes == "RAS"
        np.testing.assert_allclose(written.affine, scan.affine, atol=1e-3)
        np.testing.assert_allclose(written.data, intake(model, scan).data, atol=1e-6)
    assert told[1] == told[0]
    for name, data in drawn[0].items():
        np.testing.assert_array_equal(drawn[1][name], data)
        for other in drawn[2:]:
            np.testing.assert_allclose(other[name], data, atol=1e-3)


def ingested(folder: Path, ways: list[str]) -> CohortStore:
    """A store of the same head in every way, a person each."""
    head = made_up_head()
    root = folder / "all"
    (root / "files").mkdir(parents=True)
    lines = ["participant_id,scan"]
    for k, (_, end, data) in enumerate(every_way(Volume(np.rint(head.data), head.affine), ways)):
        (root / "files" / f"{k}{end}").write_bytes(data)
        lines.append(f"p{k},files/{k}{end}")
    (root / "people.csv").write_text("\n".join(lines) + "\n")
    steps = ingest(root, folder / "store", CONFIG, masker=brain_of)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("ways", [SOME[:4], pytest.param(ORIENTATIONS, marks=pytest.mark.slow)])
def test_everybody_is_stored_the_same_way_round(ways: list[str], tmp_path: Path):
    """The bright spot of the made-up head lies at its left, 40 mm above the middle of its brain."""
    store = ingested(tmp_path, ways)
    assert len(store) == 2 * len(ways)
    first = store.volumes[0, 0].astype(int)
    for volume in store.volumes[:, 0]:
        assert np.abs(volume.astype(int) - first).max() <= 2
    place = np.argwhere(first > 240).mean(0) @ store.affine[:3, :3].T + store.affine[:3, 3]
    assert place[0] == pytest.approx(-30, abs=4)


@pytest.fixture(scope="module")
def block() -> Volume:
    """Whole numbers on a turned grid, with a block at the left, behind, above."""
    data = np.random.default_rng(2).integers(0, 900, (12, 14, 10)).astype(np.float32)
    data[1:4, 2:6, 7:9] = 3000
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    affine = turn @ np.diag([1.5, 2.0, 3.0, 1.0])
    affine[:3, 3] = -20, 11, 5
    return Volume(data, affine)


@pytest.mark.parametrize("axcodes", ORIENTATIONS)
def test_every_export_of_a_scan_and_of_its_labels_keeps_the_side(block: Volume, axcodes: str, tmp_path: Path):
    """DICOM, NIfTI, label maps of both and a surface, written from a volume of any orientation: to 1e-6 and 1e-3 mm."""
    turned = block.reoriented(axcodes)
    files = list(write_series(turned, ORIGIN))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files:
            archive.writestr(name, data)
    back = read_series(stream.getvalue()).volume
    np.testing.assert_allclose(back.data, block.data, rtol=1e-6)
    np.testing.assert_allclose(back.affine, block.affine, atol=1e-3)
    turned.save(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(load_volume(tmp_path / "a.nii.gz").reoriented("RAS").data, block.data)

    labels = Segmentation((turned.data == 3000).astype(np.uint8), turned.affine, ("background", "liver"))
    how = {"classes": labels.classes, "grid": block.grid, "affine": block.affine}
    write_segmentation(labels, tmp_path / "b_dseg.nii.gz", description="made up")
    np.testing.assert_array_equal(read_segmentation(tmp_path / "b_dseg.nii.gz", **how)[0].labels, block.data == 3000)
    about = {"description": "made up", "model_name": "x", "model_version": "0"}
    sources = [dcmread(io.BytesIO(data)) for _, data in files]
    (tmp_path / "seg.dcm").write_bytes(write_dicom_seg(labels, sources, **about))
    np.testing.assert_array_equal(read_segmentation(tmp_path / "seg.dcm", **how)[0].labels, block.data == 3000)
    mesh = surface((turned.data == 3000).astype(np.float32), turned.affine)
    middle = np.argwhere(block.data == 3000).mean(0) @ block.affine[:3, :3].T + block.affine[:3, 3]
    np.testing.assert_allclose((mesh.points.min(0) + mesh.points.max(0)) / 2, middle, atol=0.7)
    assert mesh.millilitres > 0, "its triangles face outwards"


def test_any_scan_comes_back_from_dicom_to_half_a_step_and_then_exactly(block: Volume):
    """16 bits are what an MR image has: a scan of any numbers is rounded once, and never again."""
    rng = np.random.default_rng(0)
    scan = Volume(rng.normal(0.3, 0.2, block.grid).astype(np.float32), block.affine)
    step = float(np.ptp(scan.data)) / (2**15 - 2)
    volumes = [scan]
    for _ in range(2):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name, data in write_series(volumes[-1], ORIGIN):
                archive.writestr(name, data)
        volumes.append(read_series(stream.getvalue()).volume)
    assert np.abs(volumes[1].data - scan.data).max() <= 0.51 * step
    np.testing.assert_allclose(volumes[2].data, volumes[1].data, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(volumes[2].affine, scan.affine, atol=1e-3)
