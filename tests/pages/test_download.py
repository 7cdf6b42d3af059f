"""The zip a reader takes away."""

from __future__ import annotations

import gzip
import io
import json
import time
import zipfile
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import pytest

from engine.volume import Volume
from pages.components.address import Request
from pages.components.download import bundle
from pages.components.generation import Drawn

AFFINE = np.diag([2.0, 2, 3, 1])


@dataclass
class Somebody:
    volume: Volume
    attributes: dict
    seed: int


def two_people() -> Drawn:
    """The same two people, made anew at every call."""
    data = np.random.default_rng(0).random((4, 5, 6), np.float32)
    people = [Somebody(Volume(data, AFFINE), {"age": 60, "sex": "F"}, seed) for seed in (7, 8)]
    request = Request(model="tiny", given=(("age", 60),), seed=7, n=2, steps=5)
    return Drawn(request=request, digest="abc123", people=people, scene=b"", seconds=1.0, guidance=1.5, licence="CC")


def test_every_file_says_that_it_is_synthetic_and_how_to_draw_it_again():
    drawn = two_people()
    archive = zipfile.ZipFile(io.BytesIO(bundle(drawn)))
    assert sorted(archive.namelist()) == [f"tiny_seed-{seed}.{kind}" for seed in (7, 8) for kind in ("json", "nii.gz")]
    image = nib.Nifti1Image.from_bytes(gzip.decompress(archive.read("tiny_seed-8.nii.gz")))
    assert image.header["descrip"].item().decode().startswith("SYNTHETIC")
    np.testing.assert_array_equal(image.get_fdata(dtype=np.float32), drawn.people[1].volume.data)
    np.testing.assert_array_equal(image.affine, AFFINE)
    facts = json.loads(archive.read("tiny_seed-8.json"))
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
