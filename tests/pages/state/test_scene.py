"""The bytes that the viewer unpacks."""

from __future__ import annotations

import gzip
import json
import re
import struct
import zlib

import numpy as np
import pytest

from engine.imaging.grid import frames
from engine.imaging.volume import Volume
from pages.components.state.scene import FOOTER, fingerprint, header_of, payload

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


def beating(phases: int = 12, cycle: float | None = 0.8) -> Volume:
    """A cine whose left cavity, a box of ``10 - phase`` voxels along x, is least in the sixth of twelve phases."""
    data = np.zeros((phases, 12, 6, 7), np.float32)
    for phase in range(phases):
        data[phase, : 10 - min(phase, phases - phase), 2:4, 3] = 0.5
    return Volume(data, np.diag([1.6, 1.6, 8.0, 1.0]), frames(("cine",), phases), cycle)


def test_the_phases_of_a_cine_follow_each_other_on_one_scale():
    """Of two people with cycles of other lengths; the labels too have a volume a phase."""
    one, other = beating(), beating(10, None)
    legend = [(1, "Left ventricle", "#d55e00")]
    labels = [(one.data > 0).astype(np.uint8), np.ones(other.grid, np.uint8)]
    header, blocks, _ = unpack(payload([one, other], [{}, {}], compare=True, labels=labels, legend=legend))
    assert (header["channels"], header["phases"], header["cycles"]) == (["cine"], [12, 10], [0.8, None])
    assert header["planes"][0] == "Short axis"
    assert header["ends"][2] == ["Apex", "Base"]
    assert len(blocks) == 2 * (12 + 10)
    np.testing.assert_array_equal(np.stack(blocks[:12]), np.rint(one.data * 255).astype(np.uint8))
    np.testing.assert_array_equal(np.stack(blocks[22:34]), labels[0])
    assert all(block.all() for block in blocks[34:])
    assert header["people"] == [{"es": 6}, {}]


def test_a_still_scan_is_a_cycle_of_one_phase():
    header, blocks, _ = unpack(payload([torso()], [{}]))
    assert (header["phases"], header["cycles"], header["people"]) == ([1], [None], [{}])
    assert header["ends"] == [["L", "R"], ["P", "A"], ["I", "S"]]
    assert len(blocks) == 2


def test_labels_of_some_phases_only_are_refused():
    with pytest.raises(ValueError, match=re.escape("uint8 labels of (11, 12, 6, 7)")):
        payload([beating()], [{}], labels=[np.zeros((11, 12, 6, 7), np.uint8)])


def test_what_a_scene_says_of_itself_is_read_without_its_volumes():
    scene = payload([beating()], [{"title": "A"}], model="tiny")
    assert header_of(scene) == unpack(scene)[0]
    assert header_of(scene[:-9])["model"] == "tiny"
