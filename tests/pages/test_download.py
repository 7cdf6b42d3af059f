"""The zip a reader takes away."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from dataclasses import dataclass

import nibabel as nib
import numpy as np

from engine.volume import Volume
from pages.components.address import Request
from pages.components.download import bundle
from pages.components.generation import Drawn


@dataclass
class Somebody:
    volume: Volume
    attributes: dict
    seed: int


def test_every_file_says_that_it_is_synthetic_and_how_to_draw_it_again():
    affine = np.diag([2.0, 2, 3, 1])
    data = np.random.default_rng(0).random((4, 5, 6), np.float32)
    people = [Somebody(Volume(data, affine), {"age": 60, "sex": "F"}, seed) for seed in (7, 8)]
    request = Request(model="tiny", given=(("age", 60),), seed=7, n=2, steps=5)
    drawn = Drawn(request=request, digest="abc123", people=people, scene=b"", seconds=1.0, guidance=1.5, licence="CC")
    archive = zipfile.ZipFile(io.BytesIO(bundle(drawn)))
    assert sorted(archive.namelist()) == [f"tiny_seed-{seed}.{kind}" for seed in (7, 8) for kind in ("json", "nii.gz")]
    image = nib.Nifti1Image.from_bytes(gzip.decompress(archive.read("tiny_seed-8.nii.gz")))
    assert image.header["descrip"].item().decode().startswith("SYNTHETIC")
    np.testing.assert_array_equal(image.get_fdata(dtype=np.float32), data)
    np.testing.assert_array_equal(image.affine, affine)
    facts = json.loads(archive.read("tiny_seed-8.json"))
    assert facts["synthetic"] is True
    assert facts["notice"] == "synthetic, not for diagnosis"
    assert facts["attributes"] == {"age": 60, "sex": "F"}
    assert (facts["given"], facts["seed"], facts["steps"], facts["guidance"]) == ({"age": 60}, 8, 5, 1.5)
    assert (facts["model"], facts["checkpoint_digest"], facts["licence"]) == ("tiny", "abc123", "CC")
