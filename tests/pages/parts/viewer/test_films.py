"""A heart's cycle as a movie: every phase at its time, people at the same share of their cycles, marked."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from imageio_ffmpeg import count_frames_and_secs, read_frames
from PIL import Image

from engine.imaging.film.turntable import Body, turned
from engine.imaging.grid import frames
from engine.imaging.surface import Surface, surface
from engine.imaging.volume import Volume, centred_affine
from pages.components.parts.viewer import films
from pages.components.parts.viewer.films import LOOPS, SIDES, cycle_movie, ends_of, sweep_movie, table_lines

MARKS = "SYNTHETIC - not for diagnosis · tiny, seed 5, weights abc"


def cine(phases: int, cycle: float | None) -> Volume:
    """A block as bright as the share of the cycle that has passed, from a quarter on."""
    data = np.zeros((phases, 24, 24, 6), np.float32)
    data[:, 2:22, 2:22, 1:5] = (0.25 + 0.5 * np.arange(phases) / phases)[:, None, None, None]
    return Volume(data, centred_affine((24, 24, 6), (4.0, 4.0, 16.0)), frames(("cine",), phases), cycle)


def pictures(data: bytes) -> tuple[list[np.ndarray], list[int], str]:
    film = Image.open(io.BytesIO(data))
    found, times = [], []
    for k in range(film.n_frames):  # type: ignore[attr-defined]
        film.seek(k)
        found.append(np.asarray(film.convert("L")))
        times.append(film.info["duration"])
    film.seek(0)
    return found, times, film.info["comment"].decode()


def test_a_gif_has_every_phase_in_its_time():
    """0.93 s are 12 phases of 77.5 ms: to the hundredth of a second each, and all together as long as the cycle."""
    found, times, comment = pictures(cycle_movie([cine(12, 0.93)], ("a heart", ""), MARKS, "gif"))
    assert len(found) == 12
    assert sum(times) == 930
    assert set(times) == {70, 80}
    assert comment == MARKS
    grey = [picture[picture.shape[0] // 2, 100] for picture in found]
    assert grey == pytest.approx(255 * (0.25 + 0.5 * np.arange(12) / 12), abs=4)


def test_others_beat_at_the_same_share_of_their_cycle():
    """A still scan is the cycle of one phase; one of six phases shows each of its own twice."""
    found, _, _ = pictures(cycle_movie([cine(12, 0.8), cine(6, 1.1)], ("", "A", "B"), MARKS, "gif"))
    high = found[0].shape[0]
    lower = [int(picture[round(0.72 * high), 100]) for picture in found]
    nearest = np.round(np.arange(12) / 2) % 6
    assert lower == pytest.approx(255 * (0.25 + 0.5 * nearest / 6), abs=4)


def test_an_mp4_has_the_whole_cycle_three_times(tmp_path: Path):
    path = tmp_path / "cycle.mp4"
    path.write_bytes(cycle_movie([cine(12, 0.9)], ("a heart", ""), MARKS, "mp4"))
    assert count_frames_and_secs(path)[1] == pytest.approx(LOOPS * 0.9, abs=0.15)
    wide, high = next(read_frames(path))["size"]
    assert wide / high == pytest.approx(16 / 9, abs=0.01)


def ball(x: float) -> Surface:
    grid = np.stack(np.meshgrid(*(np.arange(40.0),) * 3, indexing="ij"), -1)
    return surface((5 - np.linalg.norm(grid - (x, 20, 20), axis=-1)).astype(np.float32), np.eye(4), level=0.0)


def test_a_turn_says_from_which_side_the_body_is_seen():
    """Red lies to the patient's right and hides green where it is seen from there."""
    views = turned([Body(ball(32), (255, 0, 0)), Body(ball(8), (0, 255, 0))], (160, 120), 4)
    seen = {side: [(view[..., k] > 150).any() for k in (0, 1)] for side, view in zip(SIDES, views, strict=True)}
    assert seen["from the patient's right"] == [True, False]
    assert seen["from the patient's left"] == [False, True]
    assert seen["from the front"] == seen["from behind"] == [True, True]


def test_every_slice_of_a_film_is_told_its_sides(monkeypatch: pytest.MonkeyPatch):
    """Of a torso left and right, of a heart what its region calls them."""
    torso = Volume(np.full((2, 30, 24, 60), 0.5, np.float32), np.eye(4) * 5, ("water", "fat"))
    assert [ends[0] for ends in map(ends_of, (torso, cine(4, 0.8)))] == [("L", "R"), ("Lat", "Sep")]
    asked: list[tuple] = []
    plain = films.lettered

    def noted(*given: object) -> np.ndarray:
        asked.append(given)
        return plain(*given)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(films, "lettered", noted)
    sweep_movie([torso, torso], ["BMI 20", "BMI 30"], MARKS, "gif")
    cycle_movie([cine(4, 0.8)], ("a heart", ""), MARKS, "gif")
    assert [given[3] for given in asked] == [ends_of(torso)] * 2 + [ends_of(cine(4, 0.8))] * 4


def test_a_printed_table_tells_what_was_drawn_from_what_was_read():
    fat = {
        "name": "liver_pdff",
        "label": "Liver fat",
        "value": "1.3",
        "unit": "%",
        "origin": "sampled",
        "percentile": 12.4,
    }
    age = {"name": "age", "label": "Age", "value": "40", "unit": "years", "origin": "given", "percentile": None}
    lines = table_lines(["female, 40"], [[age, fat]], [{"liver_pdff": "4.5 ± 2.1 %"}])
    assert lines == [
        ["", "Drawn", "Read off the scan", "", "Percentile in the training cohort"],
        ["Age", "40 years", "", "given", ""],
        ["Liver fat", "1.3 %", "4.5 ± 2.1 %", "sampled", "12"],
    ]
    assert table_lines(["A", "B"], [[fat], [fat]])[1] == ["Liver fat", "1.3 %", "1.3 %", "sampled", "12"]
