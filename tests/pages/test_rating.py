"""Blind rating: plans, answers and files obey their laws, nothing tells who is shown, and a reader's clicks add up."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import struct
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from playwright.sync_api import expect
from sklearn.metrics import cohen_kappa_score
from streamlit.testing.v1 import AppTest

import engine
from engine.cohort.store import CohortStore
from engine.generate import Model
from engine.recipes import torso_dixon
from engine.volume import centred_affine
from pages.components.frame import BANNER
from pages.components.rating_people import StorePersons, draw_scans, fresh_possible, open_store
from pages.components.rating_results import kappa, merge, results, rows, to_csv
from pages.components.rating_session import (
    FRESH,
    PLAUSIBILITY,
    SEEDS,
    Answer,
    Plan,
    RatingError,
    Session,
    read_place,
    write_place,
)
from tests.conftest import ball_store
from tests.pages.conftest import ROOT
from tests.pages.visit import Visit

PAGE = "pages/5_Review.py"
expect.set_options(timeout=30_000)  # a busy machine is slow
PLAN = Plan(model="tiny", digest="abc", seed=7, scans=20, steps=2, source="fresh")


def rated(plan: Plan, reviewer: str, wrong: int = 0, seed: int = 0) -> Session:
    """A finished session whose first ``wrong`` answers are wrong; plausibility is 4 or 5 of real ones, else 1 to 4."""
    rng = np.random.default_rng(seed)
    answers = tuple(
        Answer(
            real=None if plan.source == "none" else who.real != (i < wrong),
            plausibility=int(rng.integers(4, 6) if who.real else rng.integers(1, 5)),
            comment=f"=scan {i}, nö\n",
            place=(1.0, -2.5, 3.0) if i % 2 else None,
            seconds=1.5 + i,
        )
        for i, who in enumerate(plan.people)
    )
    return Session(plan=plan, reviewer=reviewer, answers=answers, finished=True)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty defaced balls, twelve of whom test."""
    path = tmp_path_factory.mktemp("rating") / "balls"
    ball_store(path, persons=60)
    meta = json.loads((path / "store.json").read_text())
    (path / "store.json").write_text(json.dumps(meta | {"plan": {"preprocess": {"deface": True}}}))
    return path


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> Model:
    return engine.load(tiny_checkpoint / "tiny", "cpu")


def plan_of(model: Model, persons: StorePersons, scans: int = 10) -> Plan:
    facts = {"store": persons.digest, "pool": len(persons.indices), "digest": model.digest}
    return replace(PLAN, source="store", scans=scans, **facts)


@pytest.mark.parametrize("source", ["fresh", "store", "none"])
@pytest.mark.parametrize("scans", [10, 36, 100])
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


def test_in_silico_persons_stand_beside_models_of_such_torsos_only():
    recipe, cohort = torso_dixon(), import_module("engine.phantom.cohort")
    config = {"channels": list(cohort.CHANNELS), "preprocess": None, "provenance": {"source_name": cohort.NAME}}

    def possible(**changes: object) -> bool:
        affine = centred_affine(cohort.GRID, cohort.SPACING)
        model = SimpleNamespace(config=recipe.model)
        return fresh_possible(
            SimpleNamespace(checkpoint=SimpleNamespace(model=model, affine=affine, config=config | changes))
        )

    assert possible()
    assert not possible(provenance={"source_name": "torsos of a hospital"})
    assert not possible(channels=["T1w"])
    assert not possible(preprocess={"deface": True})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scans": 11}, "even number from 10 to 100"),
        ({"scans": 102}, "even number from 10 to 100"),
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
    with pytest.raises(RatingError, match="finished"):
        whole.answering(0, Answer())


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


def test_the_figures_of_a_known_session():
    found = results(rated(PLAN, "A", wrong=5))
    wrong_synthetic = sum(not who.real for who in PLAN.people[:5])
    assert found.right is not None
    assert found.sensitivity is not None
    assert found.specificity is not None
    assert (found.right.value, found.right.n) == (0.75, 20)
    assert (found.right.low, found.right.high) == pytest.approx((0.5090, 0.9134), abs=1e-4)  # Clopper and Pearson
    assert found.sensitivity.value == 1 - wrong_synthetic / 10
    assert found.specificity.value == 1 - (5 - wrong_synthetic) / 10
    assert found.seconds == 11.0
    table = rows(rated(PLAN, "A", wrong=5))
    means = {
        side: np.mean([row["plausibility"] for row in table if row["was"] == side]) for side in ("real", "synthetic")
    }
    assert found.real is not None
    assert (found.real.value, found.synthetic.value) == pytest.approx((means["real"], means["synthetic"]))
    assert found.real.low <= found.real.value <= found.real.high
    pairs = [
        (a["plausibility"] > b["plausibility"]) + 0.5 * (a["plausibility"] == b["plausibility"])
        for a in table
        for b in table
        if a["was"] == "real" and b["was"] == "synthetic"
    ]
    assert found.auc is not None
    assert found.auc.value == pytest.approx(np.mean(pairs))
    alone = results(rated(replace(PLAN, source="none"), "A"))
    assert (alone.right, alone.real, alone.auc) == (None, None, None)
    with pytest.raises(RatingError, match="0 of 20 scans are rated"):
        results(Session.begun(PLAN, "A"))


def test_the_spreadsheet_is_marked_and_holds_no_formula():
    table = list(csv.DictReader(io.StringIO(to_csv(rated(PLAN, "A")).decode("utf-8-sig"))))
    assert len(table) == 20
    assert all("Not for diagnosis" in row["notice"] for row in table)
    assert all(row["comment"].startswith("'=scan") for row in table)
    assert [row["person"] for row in table] == [PLAN.person(i) for i in range(20)]


def test_kappa_of_known_tables():
    """20, 5, 10 and 15 of fifty; perfect, opposite and constant answers; both kinds as scikit-learn has them."""
    one, other = np.repeat([1, 0], 25), np.repeat([1, 0, 1, 0], [20, 5, 10, 15])
    assert kappa(one, other, (0, 1)) == pytest.approx(0.4)
    assert kappa(one, one, (0, 1)) == 1
    assert kappa(one, 1 - one, (0, 1)) == -1
    assert math.isnan(kappa(one[:9], one[:9], (0, 1)))
    rng = np.random.default_rng(5)
    a = rng.integers(1, 6, 40)
    b = np.clip(a + rng.integers(-1, 2, 40), 1, 5)
    for quadratic, name in ((False, None), (True, "quadratic")):
        assert kappa(a, b, PLAUSIBILITY, quadratic=quadratic) == pytest.approx(cohen_kappa_score(a, b, weights=name))


def test_two_sessions_merge_alike_in_either_order():
    one, other = rated(PLAN, "B", wrong=3), rated(PLAN, "A", wrong=6, seed=1)
    found = merge(one, other)
    assert found == merge(other, one)
    assert found.reviewers == ("A", "B")
    assert found.same is not None
    assert found.same.value == 17 / 20  # they part at scans 4 to 6
    assert [row["agree"] for row in found.rows] == ["yes"] * 3 + ["no"] * 3 + ["yes"] * 14
    assert found.sides is not None
    said_one, said_other = (np.array([answer.real for answer in session.answers]) for session in (one, other))
    assert found.sides.value == pytest.approx(kappa(said_one, said_other, (False, True)))
    assert found.sides.low <= found.sides.value <= found.sides.high
    for wrong, words in [
        (one, "same session"),
        (rated(replace(PLAN, seed=8), "A"), "differ in seed"),
        (replace(other, finished=False), "not finished"),
    ]:
        with pytest.raises(RatingError, match=words):
            merge(one, wrong)


def unpacked(scene: bytes) -> tuple[dict, bytes]:
    raw = gzip.decompress(scene)
    (length,) = struct.unpack("<I", raw[:4])
    return json.loads(raw[4 : 4 + length]), raw[4 + length :]


def test_nothing_but_the_picture_tells_who_is_shown(model: Model, store: Path):
    """Same header but for the number, same length of the stream; voxels are the store's and the model's own."""
    persons = open_store(f' "{store}" ', model)
    plan, scenes, said = plan_of(model, persons), {}, []
    draw_scans(model, plan, persons, scenes, lambda share, text: said.append((share, text)))
    assert sorted(scenes) == list(range(10))
    headers, voxels = zip(*(unpacked(scenes[i]) for i in range(10)), strict=True)
    for i, header in enumerate(headers):
        (person,) = header.pop("people")
        assert person == {"title": f"Scan {i + 1}", "subtitle": "of 10", "file": f"scan-{i + 1:03d}", "rows": []}
        assert header == headers[0]
    assert "SYNTHETIC" not in headers[0]["footer"], "it may be a real person"
    assert not any(word in json.dumps(headers) for word in (str(store), "seed", "sub-", persons.digest))
    assert len({len(scene) for scene in scenes.values()}) == 1
    opened = CohortStore.open(store)
    tests = {np.asarray(opened.volumes[i]).tobytes(order="C"): i for i in opened.split()["test"]}
    grid = opened.grid
    found = [tests.get(np.frombuffer(v, np.uint8).reshape(grid, order="F")[None].tobytes()) for v in voxels]
    assert [number is not None for number in found] == [who.real for who in plan.people]
    assert len(set(found)) == 6, "five persons, and None"
    assert [share for share, _ in said] == sorted(share for share, _ in said)
    with pytest.raises(RatingError, match="another store"):
        draw_scans(model, replace(plan, store="5e"), persons, {}, lambda share, text: None)


def test_a_drawing_that_was_stopped_goes_on_and_ends_alike(model: Model):
    plan = replace(PLAN, source="none", scans=10, digest=model.digest)
    whole, part = {}, {}
    draw_scans(model, plan, None, whole, lambda share, text: None)

    class Stop(Exception):
        pass

    def stop(share: float, text: str) -> None:
        if text.startswith("4 of 10"):
            raise Stop

    with pytest.raises(Stop):
        draw_scans(model, plan, None, part, stop)
    assert len(part) == 4
    draw_scans(model, plan, None, part, lambda share, text: None)
    assert part == whole


def test_a_folder_that_will_not_do_is_refused(model: Model, store: Path, tiny_store: CohortStore, tmp_path: Path):
    with pytest.raises(RatingError, match="is not a store"):
        open_store(str(tmp_path / "nobody"), model)
    with pytest.raises(RatingError, match="have faces"):
        open_store(str(tiny_store.path), model)
    other = tmp_path / "other"
    other.mkdir()
    for file in store.iterdir():
        (other / file.name).symlink_to(file)
    meta = json.loads((store / "store.json").read_text())
    meta["affine"][0][0] *= 2
    (other / "store.json").unlink()
    (other / "store.json").write_text(json.dumps(meta))
    with pytest.raises(RatingError, match=r"grid \(32 x 32 x 32\) is not the model's"):
        open_store(str(other), model)
    assert not fresh_possible(model), "a head has no in-silico persons"


def test_the_page_rates_plausibility_alone_without_real_scans(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(tiny_checkpoint))
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).run().switch_page(PAGE).run()
    assert not app.exception
    assert sum(BANNER in block.proto.body for block in app.get("html")) == 1
    assert any("nothing real to show" in text.value for text in app.caption)

    def press(label: str) -> AppTest:
        return next(button for button in app.button if button.label == label).click().run()

    press("Begin")
    assert "give a name or a code" in app.error[0].value
    app.text_input(key="rating.name").set_value("R 7")
    app.slider(key="rating.scans").set_value(10)
    app.number_input(key="rating.seed").set_value(4)
    press("Begin")
    assert not app.exception
    assert len(app.get("bidi_component")) == 1
    labels = [button.label for button in app.button]
    assert "Real" not in labels
    press("Next")
    assert [text.value for text in app.warning] == ["Say first how plausible this scan's anatomy is: 1 to 5."]
    press("Possible")
    press("Next")
    press("Doubtful")
    press("Back")
    session = app.session_state["rating.session"]
    assert [answer.plausibility for answer in session.answers[:3]] == [3, 2, None]
    assert session.answers[0].seconds > 0
    assert (app.session_state["rating.at"], session.reviewer, session.plan.seed) == (0, "R 7", 4)
    app.switch_page("app.py").run().switch_page(PAGE).run()
    assert app.session_state["rating.session"] == session, "another page takes nothing away"


def test_a_reader_rates_ten_with_the_keyboard(
    visit: Callable[..., Visit], app_address: str, store: Path, tmp_path: Path
):
    """All but the first answer right; saved in the middle, taken up in another tab, compared with itself corrected."""
    here = visit().open(f"{app_address}/Review")
    page = here.page
    page.get_by_role("textbox", name="Your name or a code").fill("Reader A")
    page.get_by_text("A cohort on this computer").click()
    page.get_by_role("textbox", name="Folder of the cohort").fill(str(store))
    page.get_by_role("spinbutton", name="Seed").fill("3")
    page.get_by_role("slider", name="Scans").press("Home")
    expect(page.get_by_test_id("stSlider")).to_contain_text("10")
    page.get_by_role("button", name="Begin").click()
    here.viewer.and_(page.locator("[data-fingerprint]")).wait_for()
    plan = replace(PLAN, source="store", store="5e", pool=12, scans=10, seed=3)
    assert here.viewer.locator(".panel h3").inner_text().split() == ["Scan", "1", "of", "10"]
    for i, who in enumerate(plan.people[:6]):
        answer(here, i, who.real != (i == 0), 4 if who.real else 2)
    expect(page.get_by_text("Scan 7 of 10, 6 answered")).to_be_visible()
    with page.expect_download() as begun:
        page.get_by_role("button", name="Session (JSON)").click()
    begun.value.save_as(tmp_path / "half.json")
    half = Session.from_json((tmp_path / "half.json").read_bytes())
    assert (half.done, half.finished, half.reviewer) == (6, False, "Reader A")

    there = visit().open(f"{app_address}/Review")
    there.page.locator("input[type=file]").first.set_input_files(tmp_path / "half.json")
    there.page.get_by_role("textbox", name="Folder of the cohort").fill(str(store))
    there.page.get_by_role("button", name="Go on").click()
    for i, who in list(enumerate(plan.people))[6:]:
        answer(there, i, who.real, 4 if who.real else 2)
    table = there.page.get_by_test_id("stTable").first
    expect(table).to_contain_text("90 % (55 to 100 %)")
    expect(table).to_contain_text("4.00 (4.00 to 4.00)")
    expect(table).to_contain_text("1.00 (1.00 to 1.00)")
    with there.page.expect_download() as done:
        there.page.get_by_role("button", name="Session (JSON)").last.click()
    whole = Session.from_json(Path(done.value.path()).read_bytes())
    first = replace(whole.answers[0], real=not whole.answers[0].real)
    (tmp_path / "a.json").write_text(whole.to_json())
    corrected = replace(whole, reviewer="Reader B", answers=(first, *whole.answers[1:]))
    (tmp_path / "b.json").write_text(corrected.to_json())
    last = visit().open(f"{app_address}/Review")
    last.page.locator("input[type=file]").last.set_input_files([tmp_path / "a.json", tmp_path / "b.json"])
    expect(last.page.get_by_test_id("stTable")).to_contain_text("0.80")
    assert not [url for url in there.requests if not url.startswith((app_address, "blob:", "data:"))]


def answer(here: Visit, i: int, real: bool, plausibility: int) -> None:
    """Three keys in a row, once the scan is on screen; none waits for the page to answer the one before."""
    expect(here.page.get_by_text(f"Scan {i + 1} of 10, {i} answered")).to_be_visible()
    expect(here.viewer.locator(".panel h3")).to_contain_text(f"Scan {i + 1}")  # the last thing on the page
    for key in ("j" if real else "k", str(plausibility), "o"):
        here.page.keyboard.press(key)
