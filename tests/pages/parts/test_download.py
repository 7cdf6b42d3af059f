"""The files a reader takes away."""

from __future__ import annotations

import csv
import gzip
import io
import json
import time
import zipfile
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import pytest

from engine.imaging.dicom import read_series
from engine.imaging.surface import surface
from engine.imaging.volume import Volume
from pages.components.parts.download import add_file, bundle, dicom_zip, stl_zip, table_csv
from pages.components.state.address import Request
from pages.components.state.generation import Drawn

AFFINE = np.diag([2.0, 2, 3, 1])


@dataclass
class Somebody:
    volume: Volume
    attributes: dict
    seed: int
    mask: None = None


def two_people(channels: tuple[str, ...] = ("T1w",)) -> Drawn:
    """The same two people, made anew at every call."""
    data = np.random.default_rng(0).random((len(channels), 4, 5, 9), np.float32)
    volume = Volume(data if len(channels) > 1 else data[0], AFFINE, channels)
    people = [Somebody(volume, {"age": 60, "sex": "F"}, seed) for seed in (7, 8)]
    request = Request(model="tiny", given=(("age", 60),), seed=7, n=2, steps=5)
    return Drawn(request=request, digest="abc123", people=people, scene=b"", seconds=1.0, guidance=1.5, licence="CC")


def test_every_file_says_that_it_is_synthetic_and_how_to_draw_it_again():
    drawn = two_people()
    archive = zipfile.ZipFile(io.BytesIO(bundle(drawn)))
    assert sorted(archive.namelist()) == [f"tiny_seed-{seed}.{kind}" for seed in (7, 8) for kind in ("json", "nii.gz")]
    image = nib.Nifti1Image.from_bytes(gzip.decompress(archive.read("tiny_seed-8.nii.gz")))
    assert image.header["descrip"].item().decode() == "SYNTHETIC - not for diagnosis; seed 8; checkpoint abc123"
    np.testing.assert_array_equal(image.get_fdata(dtype=np.float32), drawn.people[1].volume.data)
    np.testing.assert_array_equal(image.affine, AFFINE)
    facts = json.loads(archive.read("tiny_seed-8.json"))
    (comment,) = image.header.extensions
    assert json.loads(comment.get_content()) == facts, "also a scan that lost its JSON says whose it is"
    assert facts["synthetic"] is True
    assert facts["notice"] == "synthetic, not for diagnosis"
    assert facts["attributes"] == {"age": 60, "sex": "F"}
    assert (facts["given"], facts["seed"], facts["steps"], facts["guidance"]) == ({"age": 60}, 8, 5, 1.5)
    assert (facts["model"], facts["checkpoint_digest"], facts["licence"]) == ("tiny", "abc123", "CC")


def test_the_same_people_make_the_same_bytes_whenever(monkeypatch: pytest.MonkeyPatch):
    first = bundle(two_people())
    monkeypatch.setattr(time, "time", lambda: 2e9)
    monkeypatch.setattr(time, "localtime", lambda *when: time.gmtime(2e9))
    assert bundle(two_people()) == first
    archive = zipfile.ZipFile(io.BytesIO(first))
    assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o644}
    assert archive.read("tiny_seed-7.nii.gz")[4:8] == bytes(4), "gzip's own date"
    assert dicom_zip(two_people()) == dicom_zip(two_people())


def unzipped(data: bytes) -> dict[str, bytes]:
    archive = zipfile.ZipFile(io.BytesIO(data))
    return {name: archive.read(name) for name in archive.namelist()}


def test_a_torso_is_a_file_a_channel():
    drawn = two_people(("water", "fat"))
    files = unzipped(bundle(drawn))
    names = [f"tiny_seed-{seed}{end}" for seed in (7, 8) for end in (".json", "_fat.nii.gz", "_water.nii.gz")]
    assert sorted(files) == sorted(names)
    for k, channel in enumerate(("water", "fat")):
        image = nib.Nifti1Image.from_bytes(gzip.decompress(files[f"tiny_seed-7_{channel}.nii.gz"]))
        np.testing.assert_array_equal(image.get_fdata(dtype=np.float32), drawn.people[0].volume.data[k])


def test_dicom_series_are_the_scans():
    drawn = two_people(("water", "fat"))
    files = unzipped(dicom_zip(drawn))
    assert json.loads(files["tiny_seed-8/facts.json"])["seed"] == 8
    for k, channel in enumerate(("water", "fat")):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name, data in files.items():
                if name.startswith(f"tiny_seed-8/{channel}/"):
                    add_file(archive, name, data)
        found = read_series(stream.getvalue()).volume
        np.testing.assert_allclose(found.data, drawn.people[1].volume.data[k], atol=2e-5)
        np.testing.assert_allclose(found.affine, AFFINE, atol=1e-6)


def test_an_stl_says_whose_it_is():
    drawn = two_people()
    ball = surface(np.pad(np.ones((4, 4, 4), np.float32), 3), AFFINE)
    files = unzipped(stl_zip(drawn, [(person, {"Visceral fat": ball}) for person in drawn.people]))
    data = files["tiny_seed-8_visceral-fat.stl"]
    assert data[:80].decode().strip() == "SYNTHETIC - not for diagnosis; seed 8; checkpoint abc123; RAS mm"
    assert int.from_bytes(data[80:84], "little") == len(ball.faces)
    assert json.loads(files["tiny_seed-8.json"])["attributes"] == {"age": 60, "sex": "F"}


def test_the_table_has_what_draws_each_row_again():
    drawn = two_people()
    rows = [(person.seed, person.attributes) for person in drawn.people]
    text = table_csv(drawn.request, drawn.digest, ["age", "sex"], rows).decode()
    head, *lines = csv.reader(io.StringIO(text))
    assert head == ["notice", "model", "checkpoint", "steps", "given", "seed", "age", "sex"]
    assert [line[1:] for line in lines] == [["tiny", "abc123", "5", "age=60", seed, "60", "F"] for seed in "78"]
    assert all("Not for diagnosis" in line[0] for line in lines)
