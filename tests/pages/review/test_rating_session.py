"""Plans, answers and files of a rating obey their laws."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from importlib import import_module

import pytest

from pages.components.review.session import FRESH, SEEDS, Answer, RatingError, Session, read_place, write_place
from tests.pages.review.ratings import PLAN, rated


@pytest.mark.parametrize("source", ["fresh", "store", "none"])
@pytest.mark.parametrize("scans", [4, 10, 36, 100])
def test_the_seed_is_the_order_and_half_are_real(source: str, scans: int):
    facts = {"store": "5e", "pool": 60} if source == "store" else {}
    plans = [replace(PLAN, source=source, scans=scans, seed=seed, **facts) for seed in (1, 1, 2)]
    one, again, other = (plan.people for plan in plans)
    assert one == again != other
    assert sum(who.real for who in one) == (0 if source == "none" else scans // 2)
    assert len(set(one)) == scans, "nobody is shown twice"
    reals = [who.number for who in one if who.real]
    low, high = (0, 60) if source == "store" else (FRESH, SEEDS)
    assert all(low <= number < high for number in reals)
    if source != "none":
        assert [who.real for who in one] != [who.real for who in other]


def test_fresh_seeds_are_none_that_a_cohort_can_have():
    assert import_module("engine.phantom.cohort").person_seeds(3999, 1_000_000)[-1] < FRESH
    assert import_module("engine.phantom.anthropometry").SEED_LIMIT == SEEDS


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scans": 11}, "give an even one"),
        ({"scans": 102}, "give 1 to 100"),
        ({"scans": 0, "source": "none"}, "give 1 to 100"),
        ({"source": "store", "store": "5e", "pool": 9}, "has 9 test persons, 20 scans need 10"),
        ({"source": "store"}, "does not fit"),
        ({"source": "moon"}, "'moon'"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(changes: dict, words: str):
    with pytest.raises(RatingError, match=words):
        replace(PLAN, **changes)


def test_a_session_file_comes_back_as_it_was():
    whole = rated(PLAN, "Ä. B.")
    half = replace(whole, finished=False, answers=(*whole.answers[:7], *(Answer(),) * 13))
    for session in (whole, half, Session.begun(PLAN, " x ")):
        assert Session.from_json(session.to_json()) == session
    assert (half.done, half.position) == (7, 7)
    assert half.answering(12, whole.answers[12]).position == 7
    early = replace(half, finished=True)
    assert Session.from_json(early.to_json()) == early, "finished at any time"
    with pytest.raises(RatingError, match="no answer to any of 20"):
        replace(Session.begun(PLAN, "x"), finished=True)
    with pytest.raises(RatingError, match="finished"):
        whole.answering(0, Answer())


def test_a_file_of_before_places_were_marked_is_read():
    session = rated(PLAN, "A")
    content = json.loads(session.to_json()) | {"version": 1}
    del content["checksum"]
    for answer in content["answers"]:
        del answer["voxel"]
    checksum = sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    plain = tuple(replace(answer, voxel=None) for answer in session.answers)
    assert Session.from_json(json.dumps(content | {"checksum": checksum})) == replace(session, answers=plain)


@pytest.mark.parametrize(
    "wrong", [{"voxel": (1, 2, 3)}, {"voxel": (1, 2, -3)}, {"voxel": (1, 2)}, {"voxel": (1.5, 2, 3)}]
)
def test_a_voxel_that_cannot_be_is_refused(wrong: dict):
    place = None if wrong["voxel"] == (1, 2, 3) else (1.0, 2.0, 3.0)
    with pytest.raises(RatingError, match="not possible"):
        Answer(place=place, **wrong)


def test_an_unfinished_file_tells_nobody_and_a_finished_one_no_place_in_the_store():
    plan = replace(PLAN, source="store", store="5e", pool=60)
    whole = rated(plan, "A")
    half = json.loads(replace(whole, finished=False).to_json())
    assert half["scans"] == []
    told = json.loads(whole.to_json())["scans"]
    assert [entry["was"] == "real" for entry in told] == [who.real for who in plan.people]
    hashes = [entry["person"] for entry in told if entry["was"] == "real"]
    assert all(len(text) == 12 and int(text, 16) >= 0 for text in hashes)
    assert "ynthetic" in half["notice"]
    assert "Not for diagnosis" in half["notice"]


def edited(session: Session, **changes: object) -> str:
    return json.dumps(json.loads(session.to_json()) | changes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "damaged or no JSON"),
        ("[1]", "not of a rating"),
        (json.dumps({"format": "somatwin-store"}), "not of a rating"),
        (edited(rated(PLAN, "A"), version=9), "has version 9"),
        (edited(rated(PLAN, "A"), reviewer="B"), "changed after it was saved"),
        (rated(PLAN, "A").to_json()[:-40], "damaged"),
        (b"\xff\xfe\x00", "damaged"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused_in_a_sentence(text: str | bytes, words: str):
    with pytest.raises(RatingError, match=words) as refusal:
        Session.from_json(text)
    assert "\n" not in str(refusal.value)


def test_places_are_read_as_the_viewer_writes_them():
    for place in [(12.0, -30.0, 5.0), (-1.5, 0.0, -7.25)]:
        assert read_place(write_place(place)) == place
    assert read_place("L 12  A 30  I 5 mm") == (-12.0, 30.0, -5.0)
    assert read_place(" ") is None
    for wrong in ("12 30", "A 1 R 2 S 3", "liver", "123045"):
        with pytest.raises(RatingError, match="no place"):
            read_place(wrong)
