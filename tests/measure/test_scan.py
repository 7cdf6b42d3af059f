"""From files to a record: what a scan is of, which files it is, and what is said when that stays open."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engine.__main__ import main
from engine.anatomy.head import HEAD
from engine.anatomy.torso import TORSO
from engine.imaging.volume import Volume, VolumeError
from engine.measure.scan import measure_scan, read_scan, scans_of
from engine.phantom.torsos import make
from engine.training.stages.measure_torso import scan_of
from engine.vocabulary.refusal import RequestError

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"


def box(path: Path, millimetres: float) -> Path:
    """A scan of 20 voxels that covers ``millimetres`` along each axis."""
    data = np.random.default_rng(0).random((20, 20, 20), np.float32)
    Volume(data, np.diag([millimetres / 20] * 3 + [1.0])).save(path)
    return path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A torso on disk, stored with other axes than the ruler's."""
    folder = tmp_path_factory.mktemp("torso")
    scan = scan_of(make([990_004])[0]).reoriented("LPS")
    files = tuple(folder / f"sub-01_{channel}.nii.gz" for channel in scan.channels)
    for file, data in zip(files, scan.data, strict=True):
        Volume(data, scan.affine).save(file)
    return files[0], files[1]


def test_a_pair_is_one_scan():
    named = ["a_fat.nii.gz", "b_T1w.nii.gz", "a_water.nii.gz", "c_water.nii.gz", "b_T1w.nii.gz"]
    assert [path.name for path in scans_of(named)] == ["a_fat.nii.gz", "b_T1w.nii.gz", "c_water.nii.gz"]


def test_what_a_scan_is_of(tmp_path: Path, pair: tuple[Path, Path]):
    assert read_scan(box(tmp_path / "x.nii.gz", 250))[0] is HEAD
    assert read_scan(box(tmp_path / "x_T1w.nii.gz", 500))[0] is HEAD
    assert read_scan(box(tmp_path / "y.nii.gz", 500), HEAD)[0] is HEAD
    for file in pair:
        region, volume = read_scan(file)
        assert (region, volume.channels) == (TORSO, ("water", "fat"))


def test_air_need_not_be_zero(tmp_path: Path, pair: tuple[Path, Path]):
    data = np.zeros((20, 20, 20), np.float32)
    data[5:15, 5:15, 5:15] = np.random.default_rng(0).random((10, 10, 10), np.float32) * 800
    Volume(data - 1024, np.diag([10.0, 10, 10, 1])).save(tmp_path / "a_T1w.nii.gz")
    np.testing.assert_array_equal(read_scan(tmp_path / "a_T1w.nii.gz")[1].data, (data - 1024) + 1024)
    whole = read_scan(pair[0])[1]
    for file, channel in zip(pair, whole.apart(), strict=True):
        Volume(channel.data - 50, channel.affine).save(tmp_path / file.name)
    np.testing.assert_allclose(read_scan(tmp_path / pair[0].name)[1].data, whole.data, atol=1e-4)


def test_what_stays_open_is_asked(tmp_path: Path):
    with pytest.raises(VolumeError, match=r"covers 50 x 50 x 50 cm, more than a head.*or say --as head"):
        read_scan(box(tmp_path / "x.nii.gz", 500))
    with pytest.raises(VolumeError, match="is no file of a torso"):
        read_scan(box(tmp_path / "x.nii.gz", 500), TORSO)
    with pytest.raises(RequestError, match="there is no region 'arm'; the regions are head, torso"):
        measure_scan(box(tmp_path / "x.nii.gz", 250), "arm")


def test_either_file_gives_the_same_record(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(CHECKPOINTS))
    water, fat = (measure_scan(file) for file in pair)
    assert water == fat
    assert water["scan"] == [str(file) for file in pair]
    assert water["kind"] == "torso"
    assert water["measured_by"]["name"] == "measure-torso"
    assert len(water["measured_by"]["weights"]) == 12
    assert "ot for diagnosis" in water["disclaimer"]
    assert {key: m["unit"] for key, m in water["measures"].items()}["sat"] == "l"
    row = make([990_004])[0].row
    assert water["measures"]["sat"]["value"] == pytest.approx(row["sat"], rel=0.12)


def test_the_command_prints_a_line_a_scan(pair: tuple[Path, Path], capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(CHECKPOINTS))
    assert main(["measure", *map(str, pair)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == measure_scan(pair[0])


def test_one_that_is_refused_stops_no_other(
    pair: tuple[Path, Path], tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(CHECKPOINTS))
    other = box(tmp_path / "x.nii.gz", 500)
    assert main(["measure", str(other), *map(str, pair)]) == 2
    out, err = capsys.readouterr()
    refused, measured = map(json.loads, out.splitlines())
    assert refused["scan"] == [str(other)]
    assert "more than a head" in refused["refused"]
    assert measured == measure_scan(pair[0])
    assert err.splitlines()[-1] == "somatwin: 1 of 2 scans were not measured; their lines say why"


def test_a_missing_partner_is_one_sentence(tmp_path: Path, pair: tuple[Path, Path], capsys):
    (tmp_path / pair[0].name).write_bytes(pair[0].read_bytes())
    assert main(["measure", str(tmp_path / pair[0].name)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith(f"somatwin: {tmp_path / pair[1].name} does not exist; a torso is two files")
    assert main(["measure", str(tmp_path / "nothing.nii.gz")]) == 2
    assert "does not exist; check the path" in capsys.readouterr().err
