"""Drawing people: what was drawn before is kept, and what is said of steps and time is true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import engine
from engine.inference.generate import drawing_units
from pages.components.state.address import Request
from pages.components.state.generation import Drawn, draw, person_kept, step_in_words, time_left


def drawn(kept: int, people: int = 3) -> Drawn:
    request = Request(model="tiny", n=people, steps=8)
    return Drawn(request=request, digest="", people=[None] * people, scene=b"", seconds=2.13, kept=kept)


def test_the_words_tell_the_kept_from_the_new():
    assert drawn(0).in_words() == "Drawn in 2.1 s with 8 steps"
    assert drawn(2).in_words() == "Drawn in 2.1 s with 8 steps, 2 of 3 kept from before"
    assert drawn(3).in_words() == "Kept from before, drawn in 2.1 s with 8 steps"


def test_whoever_was_drawn_is_kept_with_the_time_it_took(tiny_checkpoint: Path):
    model = engine.load(tiny_checkpoint / "tiny", "cpu")
    request = Request(model="tiny", seed=4100, n=2, steps=3)
    said: list[tuple[float, str]] = []
    first = draw(model, request, lambda share, text: said.append((share, text.split(", about")[0])))
    parts = ["", *[f", part {part} of 6" for part in range(2, 7)]]
    scan = [f"3 of 3, {stage}{part}" for stage in ("decoding", "its detail") for part in parts]
    steps = ["0 of 3", "1 of 3", "2 of 3", *scan, scan[-1]]
    each = [f"Person {i} of 2, step {step}" for i in (1, 2) for step in steps]
    assert [text for _, text in said] == [*each, "Preparing the view"]
    assert [share for share, _ in said] == sorted(share for share, _ in said)
    again = draw(model, request, lambda share, text: None)
    assert (first.kept, again.kept) == (0, 2)
    assert again.seconds == first.seconds > 0
    assert all(a is b for a, b in zip(first.people, again.people, strict=True))
    more = draw(model, Request(model="tiny", seed=4101, n=2, steps=3), lambda share, text: None)
    assert more.kept == 1
    assert np.array_equal(more.people[0].volume.data, first.people[1].volume.data)


def test_steps_are_counted_as_they_were_asked_for():
    """The engine counts the decoding and the detail too."""
    whole = drawing_units(2)
    assert [step_in_words(done, whole) for done in range(3)] == ["0 of 2", "1 of 2", "2 of 2, decoding"]
    said = [step_in_words(done, whole) for done in (7, 8, 9, 13, 14)]
    last = "2 of 2, its detail, part 6 of 6"
    assert said == [
        "2 of 2, decoding, part 6 of 6",
        "2 of 2, its detail",
        "2 of 2, its detail, part 2 of 6",
        last,
        last,
    ]


def test_a_draft_is_kept_apart_from_the_whole(tiny_checkpoint: Path):
    """A draft has the scan that the tokens decode to; who asks for the same person in full gets the detail."""
    model = engine.load(tiny_checkpoint / "tiny", "cpu")
    asked = Request(model="tiny", seed=4200, n=1, steps=2)
    draft = draw(model, asked, lambda share, text: None, draft=True)
    assert person_kept(model, asked) is None
    whole = draw(model, asked, lambda share, text: None)
    assert (draft.kept, whole.kept) == (0, 0)
    assert draft.people[0].attributes == whole.people[0].attributes


def test_time_left_is_silent_before_there_is_any(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pages.components.state.generation.time.monotonic", lambda: 100.0)
    assert time_left(90.0, 0.0) == ""
    assert time_left(90.0, 0.25) == ", about 30 s left"
    assert time_left(90.0, 0.1) == ", about 2 min left"
    assert time_left(90.0, 0.09) == "", "the first steps tell too little"
    assert time_left(98.5, 0.5) == "", "nor do the first seconds"
    assert time_left(90.0, 1.0) == ", about 1 s left"
