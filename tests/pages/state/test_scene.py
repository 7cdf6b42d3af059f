"""The bytes that the viewer unpacks."""

from __future__ import annotations

import gzip
import json
import re
import struct
import zlib

import numpy as np
import pytest

from engine.imaging.volume import Volume
from pages.components.state.scene import FOOTER, fingerprint, payload

SHAPE = (5, 6, 7)


def asymmetric() -> np.ndarray:
    """Zero but for one voxel far to the right, anterior and superior, at three different distances from the middle."""
    data = np.zeros(SHAPE, np.float32)
    data[4, 4, 5] = 1.0
    data[0, 0, 0] = 0.5
    return data


def unpack(scene: bytes) -> tuple[dict, list[np.ndarray], int]:
    raw = gzip.decompress(scene)
    (length,) = struct.unpack_from("<I", raw)
    header = json.loads(raw[4 : 4 + length])
    voxels = np.frombuffer(raw, np.uint8, offset=4 + length)
    blocks = len(voxels) // int(np.prod(header["shape"]))
    return header, [v.reshape(header["shape"], order="F") for v in np.split(voxels, blocks)], len(raw)


def test_header_and_lengths():
    affine = np.diag([2.0, 2, 3, 1])
    affine[:3, 3] = -10, -20, -30
    people = [{"title": "A"}, {"title": "B"}]
    header, volumes, size = unpack(payload([Volume(asymmetric(), affine)] * 2, people, model="tiny", draft=False))
    assert header["shape"] == list(SHAPE)
    assert header["spacing"] == [2, 2, 3]
    assert header["affine"] == affine.tolist()
    assert header["people"] == people
    assert header["footer"] == FOOTER
    assert (header["model"], header["draft"]) == ("tiny", False)
    assert size == 4 + len(json.dumps(header, separators=(",", ":"))) + 2 * np.prod(SHAPE)
    assert len(volumes) == 2


def test_the_name_of_a_scene_is_its_checksum():
    scene = payload([Volume(asymmetric(), np.eye(4))], [{}])
    assert fingerprint(scene) == f"{zlib.crc32(gzip.decompress(scene)):08x}"


def test_x_runs_fastest_and_greys_are_scaled():
    raw = gzip.decompress(payload([Volume(asymmetric(), np.eye(4))], [{}]))
    start = 4 + struct.unpack_from("<I", raw)[0]
    assert raw[start + 4 + 5 * (4 + 6 * 5)] == 255
    assert raw[start] == 128
    assert sum(raw[start:]) == 255 + 128


@pytest.mark.parametrize("axcodes", ["LPS", "PSR", "AIL"])
def test_any_orientation_is_sent_as_ras(axcodes: str):
    stored = Volume(asymmetric(), np.eye(4)).reoriented(axcodes)
    header, (voxels,), _ = unpack(payload([stored], [{}]))
    assert header["shape"] == list(SHAPE)
    np.testing.assert_allclose(header["affine"], np.eye(4), atol=1e-12)
    assert voxels[4, 4, 5] == 255


def test_out_of_range_greys_are_cut_and_equal_scenes_are_equal_bytes():
    data = asymmetric()
    data[1, 1, 1], data[2, 2, 2] = 7, -7
    volume = Volume(data, np.eye(4))
    _, (voxels,), _ = unpack(payload([volume], [{}]))
    assert (voxels[1, 1, 1], voxels[2, 2, 2]) == (255, 0)
    assert payload([volume], [{}]) == payload([volume], [{}])


def test_channels_then_labels_follow_person_by_person():
    """Two persons of two channels, stored in another orientation: w1 f1 w2 f2, then both label volumes, all RAS+."""
    greys = [0.2, 0.4, 0.6, 0.8]
    one, two = (
        Volume(np.stack([asymmetric() * water, asymmetric() * fat]), np.eye(4), ("water", "fat")).reoriented("LPS")
        for water, fat in (greys[:2], greys[2:])
    )
    marks = [np.zeros(SHAPE, np.uint8) for _ in range(2)]
    marks[0][0, 1, 5] = 3  # along LPS: the right, anterior and superior voxel that asymmetric() marks
    legend = [(3, "Liver", "#7bd88f")]
    scene = payload([one, two], [{}, {}], compare=True, labels=marks, legend=legend)
    header, blocks, _ = unpack(scene)
    assert (header["channels"], header["compare"], header["labelled"]) == (["water", "fat"], True, True)
    assert header["legend"] == [[3, "Liver", "#7bd88f"]]
    assert [block[4, 4, 5] for block in blocks] == [51, 102, 153, 204, 3, 0]
    assert blocks[4].sum() == 3


def torso(**changes) -> Volume:
    facts = {"data": np.zeros((2, *SHAPE)), "affine": np.eye(4), "channels": ("water", "fat")}
    return Volume(**{**facts, **changes})


@pytest.mark.parametrize(
    ("volumes", "further", "sentence"),
    [
        ([torso()], {"compare": True}, "a comparison needs two scans"),
        ([torso(), torso(data=np.zeros((2, 5, 6, 8)))], {}, "scan 2 lies on another grid"),
        ([torso(), torso(affine=np.diag([2.0, 1, 1, 1]))], {}, "scan 2 lies on another grid"),
        ([torso(), torso(channels=("fat", "water"))], {}, "scan 2 has the channels"),
        ([torso()], {"labels": [np.zeros((5, 6, 8), np.uint8)]}, "do not fit a scan of (5, 6, 7)"),
        ([torso()], {"labels": [np.zeros(SHAPE)]}, "float64 labels"),
        ([torso()], {"labels": [np.zeros(SHAPE, np.uint8)], "legend": [(0, "Air", "#000000")]}, "(0, 'Air'"),
        ([torso()], {"labels": [np.zeros(SHAPE, np.uint8)], "legend": [(1, "Liver", "red")]}, "'red'"),
    ],
)
def test_persons_that_do_not_fit_together_are_refused(volumes: list[Volume], further: dict, sentence: str):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        payload(volumes, [{} for _ in volumes], **further)
