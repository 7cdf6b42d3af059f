"""Blind rating: nothing tells who is shown, places can be marked, and a reader's clicks add up."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from playwright.sync_api import expect
from streamlit.testing.v1 import AppTest

import engine
from engine.cohort.store import CohortStore
from engine.imaging.volume import centred_affine
from engine.inference.generate import Model
from engine.phantom.kinds import KINDS
from engine.training.recipes import torso_dixon
from pages.components.parts.frame import BANNER
from pages.components.review.session import (
    Plan,
    RatingError,
    Session,
)
from pages.components.review.work import StorePersons, draw_scans, fresh_possible, open_store
from tests.conftest import ball_store
from tests.pages.conftest import ROOT
from tests.pages.review.ratings import PLAN
from tests.pages.visit import Visit, jump

PAGE = "pages/5_Review.py"
expect.set_options(timeout=30_000)  # a busy machine is slow


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


def test_in_silico_persons_stand_beside_models_of_such_torsos_only():
    recipe, kind = torso_dixon(), KINDS["torso_dixon"]
    config = {"channels": kind.frames, "preprocess": {}, "provenance": {"source_name": kind.name}}

    def possible(**changes: object) -> bool:
        affine = centred_affine(kind.grid, kind.spacing)
        model = SimpleNamespace(config=recipe.model)
        changed = SimpleNamespace(**{**config, **changes})
        return fresh_possible(SimpleNamespace(checkpoint=SimpleNamespace(model=model, affine=affine, config=changed)))

    assert possible()
    assert not possible(provenance={"source_name": "torsos of a hospital"})
    assert not possible(channels=("T1w",))
    assert not possible(preprocess={"deface": True})


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
    assert any("Only plausibility is asked" in text.value for text in app.info)

    def press(label: str) -> AppTest:
        return next(button for button in app.button if button.label.startswith(label)).click().run()

    assert [button.label for button in app.button if button.label.startswith("Begin")] == ["Begin with 4 scans"]
    app.text_input(key="rating.name").set_value(" ").run()
    begin = next(button for button in app.button if button.label.startswith("Begin"))
    assert begin.disabled
    assert any("Give a name or a code first." in text.value for text in app.markdown)
    app.text_input(key="rating.name").set_value("R 7")
    app.segmented_control(key="rating.round").set_value("10")
    app.number_input(key="rating.seed").set_value(4).run()
    press("Begin with 10 scans")
    assert not app.exception
    (shown,) = app.get("bidi_component")
    scene = app.session_state["rating"].scenes[0]
    assert shown.proto.bytes == b"MARK" + struct.pack("<I", 14) + b'{"mark": null}' + scene, "no place is marked yet"
    labels = [button.label for button in app.button]
    assert "Real" not in labels
    press("Next")
    assert [text.value for text in app.warning] == ["Say first how plausible this scan's anatomy is: 1 to 5."]
    press("Possible")
    press("Next")
    press("Doubtful")
    press("Back")
    session = app.session_state["rating"].session
    assert [answer.plausibility for answer in session.answers[:3]] == [3, 2, None]
    assert session.answers[0].seconds > 0
    assert (app.session_state["rating"].at, session.reviewer, session.plan.seed) == (0, "R 7", 4)
    app.switch_page("app.py").run().switch_page(PAGE).run()
    assert app.session_state["rating"].session == session, "another page takes nothing away"
    press("Finish and show")
    assert not app.exception
    assert "2 of 10 scans were answered" in app.info[0].value
    assert list(app.dataframe[0].value["scan"]) == [1, 2]
    assert list(app.dataframe[0].value["plausibility"]) == [3, 2]
    table = app.table[0].value
    assert table.loc["Mean plausibility of synthetic scans"].item() == "2.50 (no interval)"


def test_a_field_that_is_wrong_says_why_beside_the_button(
    tiny_checkpoint: Path, store: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(tiny_checkpoint))
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).run().switch_page(PAGE).run()

    def why() -> tuple[bool, str]:
        button = next(button for button in app.button if button.label.startswith("Begin"))
        said = [text.value.split("] ", 1)[1] for text in app.markdown if text.value.startswith(":orange[")]
        return button.disabled, " ".join(said)

    app.segmented_control(key="rating.round").set_value("Another number").run()
    app.number_input(key="rating.scans").set_value(1).run()
    assert why() == (False, "")
    app.radio(key="rating.source").set_value("store").run()
    assert why() == (True, "1 is an odd number: half of the scans are real, so give an even one.")
    app.number_input(key="rating.scans").set_value(30).run()
    assert why() == (True, "Name the folder of the cohort first.")
    app.text_input(key="rating.path").set_value("/nowhere").run()
    assert why()[0]
    assert why()[1].startswith("/nowhere is not a store")
    app.text_input(key="rating.path").set_value(str(store)).run()
    assert why()[1].startswith("The store has 12 test persons, 30 scans need 15")
    app.number_input(key="rating.scans").set_value(4).run()
    assert why() == (False, "")


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
    page.get_by_test_id("stButtonGroup").get_by_text("10", exact=True).click()
    page.get_by_role("button", name="Begin with 10 scans").click()  # says so once the page knows
    here.viewer.and_(page.locator("[data-fingerprint]")).wait_for()
    expect(page.get_by_text("seed 3")).to_be_visible()  # all that was typed counts, however busy the machine
    plan = replace(PLAN, source="store", store="5e", pool=12, scans=10, seed=3)
    assert here.viewer.locator(".panel h2").inner_text().split() == ["Scan", "1", "of", "10"]
    for i, who in enumerate(plan.people[:6]):
        if i == 5:
            mark(here, "Scan 6", [20, 12, 17])
        answer(here, i, who.real != (i == 0), 4 if who.real else 2)
    expect(page.get_by_text("Scan 7 of 10, 6 answered")).to_be_visible()
    with page.expect_download() as begun:
        page.get_by_role("button", name="Session (JSON)").click()
    begun.value.save_as(tmp_path / "half.json")
    half = Session.from_json((tmp_path / "half.json").read_bytes())
    assert (half.done, half.finished, half.reviewer) == (6, False, "Reader A")
    affine = CohortStore.open(store).affine
    assert half.answers[5].voxel == (20, 12, 17)
    assert half.answers[5].place == pytest.approx((affine @ [20, 12, 17, 1])[:3], abs=0.05)
    assert [answer.place for answer in half.answers[:5]] == [None] * 5

    there = visit().open(f"{app_address}/Review")
    expect(there.page.locator("input[type=file]")).to_have_count(2)
    there.at_rest()  # a file given while the page still comes in is lost
    there.page.locator("input[type=file]").first.set_input_files(tmp_path / "half.json")
    there.page.get_by_role("textbox", name="Folder of the cohort").fill(str(store))
    there.page.get_by_role("button", name="Go on").click()
    expect(there.page.get_by_text("Scan 7 of 10, 6 answered")).to_be_visible()
    expect(there.viewer.locator(".panel h2")).to_contain_text("Scan 7")
    assert there.viewer.evaluate("root => root.somatwin.mark") is None
    there.page.keyboard.press("b")
    expect(there.viewer.locator(".panel h2")).to_contain_text("Scan 6")
    assert there.viewer.evaluate("root => root.somatwin.mark") == [20, 12, 17], "shown again after all this"
    there.page.keyboard.press("o")
    for i, who in list(enumerate(plan.people))[6:]:
        answer(there, i, who.real, 4 if who.real else 2)
    table = there.page.get_by_test_id("stTable").first
    expect(table).to_contain_text("90 % (55 to 100 %)")
    expect(table).to_contain_text("4.00 (4.00 to 4.00)")
    expect(table).to_contain_text("1.00 (1.00 to 1.00)")
    with there.page.expect_download() as done:
        there.page.get_by_role("button", name="Session (JSON)").last.click()
    whole = Session.from_json(Path(done.value.path()).read_bytes())
    assert whole.answers[5].voxel == (20, 12, 17)
    first = replace(whole.answers[0], real=not whole.answers[0].real)
    (tmp_path / "a.json").write_text(whole.to_json())
    corrected = replace(whole, reviewer="Reader B", answers=(first, *whole.answers[1:]))
    (tmp_path / "b.json").write_text(corrected.to_json())
    last = visit().open(f"{app_address}/Review")
    expect(last.page.locator("input[type=file]")).to_have_count(2)
    last.at_rest()
    last.page.locator("input[type=file]").last.set_input_files([tmp_path / "a.json", tmp_path / "b.json"])
    expect(last.page.get_by_test_id("stTable")).to_contain_text("0.80")
    assert not [url for url in there.requests if not url.startswith((app_address, "blob:", "data:"))]


def mark(here: Visit, scan: str, voxel: list[int]) -> None:
    """Mark a place; what is sent names it and the scan's bytes, and nothing else."""
    expect(here.viewer.locator(".panel h2")).to_contain_text(scan)
    jump(here, voxel)
    sent = len(here.sent)
    here.press("Mark this place")
    expect(here.page.get_by_role("button", name="Note ✓")).to_be_visible()
    texts = [frame.decode("utf-8", "replace") for frame in here.sent[sent:] if isinstance(frame, bytes)]
    (told,) = (text for text in texts if "voxel" in text)
    found = json.loads(told[told.index('{"scene"') : told.index("}", told.index('{"scene"')) + 1])
    assert set(found) == {"scene", "voxel", "place"}
    assert found["voxel"] == voxel


def answer(here: Visit, i: int, real: bool, plausibility: int) -> None:
    """Three keys in a row, once the scan is on screen; none waits for the page to answer the one before."""
    expect(here.page.get_by_text(f"Scan {i + 1} of 10, {i} answered")).to_be_visible()
    expect(here.viewer.locator(".panel h2")).to_contain_text(f"Scan {i + 1}")  # the last thing on the page
    for key in ("j" if real else "k", str(plausibility), "o"):
        here.page.keyboard.press(key)
