"""Slices, turns and movies to take away: known bodies stand where they must, files carry their marks."""

from __future__ import annotations

import io
import subprocess

import numpy as np
import pytest
from PIL import Image

from engine.imaging.film.movie import MovieError, to_gif, to_mp4
from engine.imaging.film.turntable import Body, turned
from engine.imaging.pictures import AMBER, body_box, captioned, cuts, lettered, montage, planes, words
from engine.imaging.surface import Surface, surface
from engine.imaging.volume import Volume

MARKS = "SYNTHETIC - not for diagnosis · tiny, seed 5, weights 0123456789ab"


def tall(bright: tuple[slice, slice, slice]) -> Volume:
    """A body of 30 x 20 x 60 voxels in a larger grid, of water 0.2, with a bright block."""
    data = np.zeros((1, 40, 30, 80), np.float32)
    data[0, 5:35, 5:25, 10:70] = 0.2
    data[0][bright] = 0.45
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    affine[:3, 3] = [-100, -75, -200]
    return Volume(data, affine, ("water",))


def test_the_box_holds_every_body_and_little_more():
    volume = tall((slice(10, 12), slice(8, 10), slice(60, 62)))
    assert body_box([volume]) == (slice(3, 37), slice(3, 27), slice(8, 72))
    moved = Volume(np.roll(volume.data, -5, axis=1), volume.affine, volume.channels)
    assert body_box([volume, moved])[0] == slice(0, 37)
    codes = Volume(np.rint(volume.data * 255).astype(np.uint8), volume.affine, volume.channels)
    assert body_box([codes]) == body_box([volume])


def test_a_tall_body_stands_coronal_sagittal_and_axial_the_right_on_the_left():
    """A block at the patient's right, front and top through the origin's planes is white in the left upper part."""
    volume = tall((slice(22, 34), slice(13, 24), slice(55, 68)))
    picture = montage(volume, body_box([volume]), 640)
    coronal = round(640 * 34 / 64)
    assert picture.shape[0] == 640
    white = np.argwhere(picture[:, :coronal] > 250)
    assert white[:, 0].mean() < 320
    assert white[:, 1].mean() < coronal / 2
    codes = Volume(np.rint(volume.data * 255).astype(np.uint8), volume.affine, volume.channels)
    assert np.abs(montage(codes, body_box([volume]), 640).astype(int) - picture).max() <= 3


def test_the_footer_is_burned_in_however_narrow_the_picture():
    for wide in (120, 900):
        frame = captioned(np.zeros((480, wide), np.uint8), "BMI 22 kg/m²", MARKS, 0.5)
        foot = frame[-30:]
        assert frame.shape[1] == wide
        assert (np.abs(foot.astype(int) - AMBER).sum(-1) < 60).sum() > 40
        assert (foot[:, -2:] == foot[-1, -1]).all(), "no word is cut off"


def frames(n: int = 4) -> list[np.ndarray]:
    return [captioned(np.full((90, 121), 60 * k, np.uint8), f"BMI {k}", MARKS) for k in range(n)]


def test_a_gif_has_every_frame_and_its_marks():
    picture = Image.open(io.BytesIO(to_gif(frames(), 500, MARKS)))
    assert (picture.n_frames, picture.info["duration"], picture.info["loop"]) == (4, 500, 0)
    assert picture.info["comment"].decode() == MARKS


def test_an_mp4_plays_as_long_as_it_should_and_carries_its_marks(tmp_path):
    from imageio_ffmpeg import get_ffmpeg_exe, read_frames

    path = tmp_path / "movie.mp4"
    path.write_bytes(to_mp4(frames(), 500, MARKS))
    reader = read_frames(path)
    facts = next(reader)
    pictures = [np.frombuffer(raw, np.uint8).reshape(*facts["size"][::-1], 3) for raw in reader]
    assert facts["codec"] == "h264"
    assert facts["pix_fmt"].startswith("yuv420p")
    assert facts["duration"] == pytest.approx(2.0, abs=0.15)
    grey = [int(picture[60, 60, 0]) for picture in pictures]
    assert [grey[round(len(grey) * share)] for share in (0.1, 0.4, 0.6, 0.9)] == pytest.approx([0, 60, 120, 180], abs=6)
    said = subprocess.run([get_ffmpeg_exe(), "-i", str(path)], capture_output=True, text=True).stderr
    assert MARKS in said


def test_frames_of_different_sizes_are_refused():
    for wrong in ([], [frames()[0], frames()[1][:50]]):
        with pytest.raises(MovieError, match="give one or more of the same size"):
            to_gif(wrong, 100, MARKS)


def ball(centre: tuple[float, float, float], radius: float) -> Surface:
    grid = np.stack(np.meshgrid(*(np.arange(40.0),) * 3, indexing="ij"), -1)
    return surface((radius - np.linalg.norm(grid - centre, axis=-1)).astype(np.float32), np.eye(4), level=0.0)


def test_a_turn_begins_in_front_and_shows_what_is_nearer():
    """Red lies to the patient's right, green before blue: from the front red is on the left, green hides blue, later the reverse."""
    bodies = [
        Body(ball((32, 20, 20), 5), (255, 0, 0)),
        Body(ball((14, 30, 20), 5), (0, 255, 0)),
        Body(ball((14, 10, 20), 5), (0, 0, 255)),
    ]
    front, _, back, _ = turned(bodies, (160, 120), 4)
    place = {
        name: np.argwhere(front[..., k] > 150).mean(0)[1] for k, name in enumerate("rgb") if (front[..., k] > 150).any()
    }
    assert set(place) == {"r", "g"}
    assert place["r"] < 80 < place["g"]
    assert (back[..., 2] > 150).any()
    assert not (back[..., 1] > 150).any()
    assert np.argwhere(back[..., 0] > 150).mean(0)[1] > 80


def test_a_film_tints_no_grey():
    """A tinted grey looks like a finding; letters and surfaces keep their colours."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(3):
        frame = np.repeat(rng.integers(0, 256, (60, 80, 1), np.uint8), 3, 2)
        frame[:8, :20] = (242, 193, 78)
        frames.append(frame)
    film = Image.open(io.BytesIO(to_gif(frames, 80, "made up")))
    for k, frame in enumerate(frames):
        film.seek(k)
        found = np.asarray(film.convert("RGB")).astype(int)
        assert np.ptp(found[8:], axis=2).max() == 0
        assert np.abs(found - frame).max() <= 4


def test_the_coronal_picture_goes_through_the_body_wherever_it_lies():
    data = np.zeros((20, 40, 30), np.float32)
    data[4:16, 3:9, 5:25] = 0.8
    assert planes(Volume(data, np.eye(4)), 1.0).coronal.max() > 150


HEART = (("Lat", "Sep"), ("Inf", "Ant"), ("Apex", "Base"))


@pytest.mark.parametrize("ends", [(("L", "R"), ("P", "A"), ("I", "S")), HEART])
@pytest.mark.parametrize("shape", [(40, 30, 80), (40, 48, 44), (60, 60, 12)])
@pytest.mark.parametrize("channels", [("water", "fat"), ("T1w",)])
@pytest.mark.parametrize("high", [160, 420, 720, 1000])
def test_every_slice_names_its_channel_and_its_sides_clear_of_each_other(
    ends: tuple, shape: tuple[int, int, int], channels: tuple[str, ...], high: int
):
    data = np.full((len(channels), *shape), 0.5, np.float32)
    volume = Volume(data if len(channels) > 1 else data[0], np.diag([5.0, 5.0, 5.0, 1.0]), channels)
    box = body_box([volume])
    found = cuts(volume, box, high)
    written = words(found, ends)
    assert lettered(volume, box, high, ends).shape == (*montage(volume, box, high).shape, 3)
    for k, one in enumerate(written):
        for other in written[k + 1 :]:
            beside = one.right <= other.left or other.right <= one.left
            assert beside or one.bottom <= other.top or other.bottom <= one.top, (one, other)
    for cut in found:
        tall, wide = cut.pixels.shape
        mine = [w for w in written if cut.left <= w.left < cut.left + wide and cut.top <= w.top < cut.top + tall]
        if not mine:
            assert min(tall, wide) < 90, "there is no room for letters that can be read"
            continue
        name = cut.channel[0].upper() + cut.channel[1:]
        assert [w.text for w in mine] == [name, *(ends[1][::-1] if cut.sagittal else ends[0][::-1])]
        assert all(w.right <= cut.left + wide and w.bottom <= cut.top + tall for w in mine)


@pytest.mark.parametrize("wide", [120, 300, 900])
def test_a_title_stands_above_the_line_and_within_the_picture(wide: int):
    """However long it is; every frame of a film has the same size."""
    long = captioned(
        np.zeros((480, wide), np.uint8), "What if: BMI 34 kg/m², age 70 years, male, non-smoker", MARKS, 0.5
    )
    short = captioned(np.zeros((480, wide), np.uint8), "BMI 22", MARKS, 0.5)
    assert long.shape == short.shape
    head = long[: long.shape[0] - 480]
    ink = (head.min(-1) > 180) & (np.ptp(head, axis=-1) < 30)
    line = np.abs(head[:100].astype(int) - (80, 92, 100)).sum(-1) < 12
    assert ink[:60].any()
    assert np.flatnonzero(ink[:60].any(1)).max() < np.flatnonzero(line.sum(1) > wide // 3).min()
    assert not ink[:60, -2:].any()
