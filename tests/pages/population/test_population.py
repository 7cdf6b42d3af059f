"""The Population page: who is drawn, who passes the filters, what is kept, and what is taken away."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from playwright.sync_api import expect
from streamlit.testing.v1 import AppTest

import engine
from engine.imaging.volume import Volume
from engine.vocabulary.refusal import RequestError
from engine.vocabulary.schema import AttributeSchema, Number
from pages.components.parts.frame import BANNER
from pages.components.population.export import ExportError, to_csv, too_many, write_zip
from pages.components.population.work import (
    Cohort,
    begin,
    draw_cohort,
    read_cohort,
    thumbnail,
)
from pages.components.state.address import Request
from pages.components.state.generation import draw
from pages.components.state.job import Job, Stopped
from tests.pages.conftest import ROOT
from tests.pages.visit import Visit

PAGE = "pages/4_Population.py"
GALLERY = "[class*=st-key-population-person-]"
expect.set_options(timeout=30_000)  # a busy machine is slow
AGE = Number(name="age", unit="years", low=0, high=100)


def silent(share: float, text: str) -> None:
    """Reports nothing."""


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> engine.Model:
    return engine.load(tiny_checkpoint / "tiny", "cpu")


@pytest.fixture(scope="module")
def cohort(model: engine.Model) -> Cohort:
    """Twelve persons, drawn."""
    found = begin(model, Request(model="tiny", seed=3, n=12, steps=1, given=(("sex", "F"),)), [])
    draw_cohort(model, found, threading.Lock(), silent)
    return found


class TableOnly:
    """Rows of which each is its seed, computed ``ROWS`` at a time like the engine's."""

    has_image, digest, schema = False, "0", AttributeSchema(columns=(AGE,))

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def generate(self, *, n: int, seed: int, given: dict, steps: int, progress: Callable[[int, int], None]) -> list:
        self.asked.append((seed, n))
        return [engine.Person(None, {"age": float(seed + i)}, seed + i) for i in range(n)]


def test_persons_are_those_the_model_draws_from_the_same_seeds(model: engine.Model, cohort: Cohort):
    people = model.generate(n=12, seed=3, steps=1, given={"sex": "F"})
    assert [cohort.seed(i) for i in range(12)] == [person.seed for person in people]
    assert cohort.rows == [person.attributes for person in people]
    for picture, person in zip(cohort.pictures, people, strict=True):
        np.testing.assert_array_equal(picture, thumbnail(person.volume))
    shown = draw(model, cohort.person(7), silent).people[0]
    np.testing.assert_array_equal(shown.volume.data, people[7].volume.data)
    assert 12 * 64 * 64 < cohort.nbytes < 12 * 8000 < people[0].volume.data.nbytes


def test_a_thumbnail_is_the_middle_slice_seen_from_the_feet_or_the_front():
    data = np.zeros((2, 40, 20, 80), np.float32)
    data[0, 25:, 10, 60:] = 0.5
    data[1, 25:, 10, 60:] = 0.25
    torso = thumbnail(Volume(data, np.diag([5.0, 5, 5, 1]), ("water", "fat")))
    assert (torso.shape, torso.dtype) == ((64, 32), np.uint8)
    assert (int(torso[4, 2]), int(torso[4, 28]), int(torso[60, 2])) == (191, 0, 0), "the patient's right is on the left"
    head = thumbnail(Volume(data[0] + (np.arange(20) > 12)[:, None] * 0.5, np.diag([1.0, 1, 1, 1])))
    assert (head.shape, int(head[2, 30]), int(head[29, 30])) == ((32, 64), 128, 0), "the front is on top"


def test_stopped_keeps_who_is_there_and_goes_on_from_there(model: engine.Model, cohort: Cohort):
    part, lock = begin(model, cohort.request, []), threading.Lock()
    said: list[tuple[float, str]] = []

    def until_third(share: float, text: str) -> None:
        said.append((share, text))
        if len(part.rows) == 3:
            raise Stopped

    job = Job(
        lambda report: draw_cohort(
            model, part, lock, lambda share, text: (report(share, text), until_third(share, text))
        )
    )
    job.join(60)
    assert (job.active, job.problem, job.result, len(part.rows), part.whole) == (False, "", None, 3, False)
    assert not lock.locked()
    assert [share for share, _ in said] == sorted(share for share, _ in said)
    assert {text.split(", about")[0] for _, text in said} == {f"Person {i} of 12" for i in (1, 2, 3, 4)}
    more = begin(model, replace(cohort.request, n=5), [part, replace(part, request=replace(part.request, seed=99))])
    assert (more.rows, more.rows is not part.rows) == (part.rows, True)
    draw_cohort(model, more, lock, silent)
    assert more.rows == cohort.rows[:5]
    assert begin(model, replace(cohort.request, steps=2), [part]).rows == []


def test_a_job_stops_when_asked_or_nobody_is_there_and_says_why_it_failed():
    def work(report: Callable[[float, str], None]) -> None:
        while True:
            report(0.5, "at it")
            time.sleep(0.001)

    job = Job(work)
    while job.text != "at it":
        time.sleep(0.001)
    assert job.active
    job.stop()
    job.join(10)
    deserted = Job(work, lambda: False)
    deserted.join(10)
    assert not job.active
    assert not deserted.active

    def refused(report: Callable[[float, str], None]) -> None:
        raise RequestError("age 7 is not possible here")

    failed = Job(refused)
    failed.join(10)
    failed.check()
    assert failed.problem == "age 7 is not possible here"


def test_a_bug_in_a_job_is_raised_where_it_is_seen():
    def broken(report: Callable[[float, str], None]) -> None:
        raise ValueError("operands could not be broadcast together")

    job = Job(broken)
    job.join(10)
    assert job.problem == ""
    with pytest.raises(RuntimeError) as raised:
        job.check()
    assert "broadcast" in str(raised.value.__cause__)


def test_others_get_the_model_between_two_persons(model: engine.Model):
    """Somebody who asks for the lock while a cohort is drawn has it before a second person is there."""
    long, lock = begin(model, Request(model="tiny", n=400, steps=1), []), threading.Lock()
    job = Job(lambda report: draw_cohort(model, long, lock, report))
    waits = []
    for _ in range(4):
        before = len(long.rows)
        assert lock.acquire(timeout=30)
        waits.append(len(long.rows) - before)
        lock.release()
        time.sleep(0.02)
    job.stop()
    job.join(30)
    assert max(waits) <= 1
    assert 0 < len(long.rows) < 400


def test_rows_without_scans_keep_their_neighbours():
    model = TableOnly()
    found = begin(model, Request(model="t", seed=10, n=100), [])
    draw_cohort(model, found, threading.Lock(), silent)
    more = begin(model, replace(found.request, n=150), [found])
    draw_cohort(model, more, threading.Lock(), silent)
    assert model.asked == [(10, 64), (74, 36), (74, 64), (138, 22)]
    assert [row["age"] for row in more.rows] == [10.0 + i for i in range(150)]
    assert more.pictures == []


def test_an_address_makes_a_cohort_or_a_sentence(model: engine.Model):
    request, problems = read_cohort({"n": "300", "seed": "7", "steps": "2", "age": "40"}, "tiny", model)
    assert (request, problems) == (Request(model="tiny", n=300, seed=7, steps=2, given=(("age", 40),)), [])
    assert read_cohort(request.to_query(), "tiny", model)[0] == request
    _, problems = read_cohort({"n": "9000", "age": "400"}, "tiny", model)
    assert [problem.split(" is ")[0] for problem in problems] == ["Age '400'", "n '9000'"]
    assert "give a whole number from 1 to 5000" in problems[1]


def test_the_csv_carries_what_draws_them_again(cohort: Cohort):
    rows = list(csv.DictReader(io.StringIO(to_csv(cohort, [2, 5]).decode())))
    assert [row["seed"] for row in rows] == ["5", "8"]
    assert {(row["notice"], row["checkpoint"], row["steps"], row["given"]) for row in rows} == {
        (BANNER, cohort.digest, "1", "sex=F")
    }
    assert float(rows[1]["age"]) == cohort.rows[5]["age"]


def test_the_zip_is_bids_of_the_same_persons(model: engine.Model, cohort: Cohort):
    found = write_zip(model, cohort, [2, 5], threading.Lock(), silent)
    assert found.holds(cohort, [2, 5])
    assert not found.holds(cohort, [2])
    with zipfile.ZipFile(io.BytesIO(found.read())) as archive:
        about = json.loads(archive.read("dataset_description.json"))["GeneratedBy"][0]
        rows = list(csv.DictReader(io.StringIO(archive.read("participants.tsv").decode()), delimiter="\t"))
        scan = nib.Nifti1Image.from_bytes(gzip.decompress(archive.read("sub-0002/anat/sub-0002_T1w.nii.gz")))
        assert BANNER in archive.read("README").decode()
    assert (about["Checkpoint"]["Digest"], about["Request"]["seeds"]) == (cohort.digest, [5, 8])
    assert about["Description"].startswith(BANNER)
    assert [row["seed"] for row in rows] == ["5", "8"]
    person = model.generate(seed=8, steps=1, given={"sex": "F"})[0]
    np.testing.assert_array_equal(np.asarray(scan.dataobj), person.volume.data)
    assert float(rows[1]["age"]) == pytest.approx(person.attributes["age"], abs=1e-5)
    folder = found.path.parent
    del found
    assert not folder.exists(), "the zip goes when it is no longer offered"


def test_too_large_a_zip_is_refused_with_the_remedy(model: engine.Model, cohort: Cohort):
    assert too_many(TableOnly(), range(5000)) == ""
    assert too_many(model, range(201)).startswith("A BIDS zip takes 200 persons at most, these are 201: filter")
    with pytest.raises(ExportError, match=r"The zip would take about .* MB, more than 0 MB: filter down to 1 persons"):
        write_zip(model, cohort, range(12), threading.Lock(), silent, most=150_000)


def test_the_page_draws_and_says_who_is_there(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(tiny_checkpoint))
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=90).switch_page(PAGE).run()
    assert not app.exception
    assert sum(BANNER in block.proto.body for block in app.get("html")) == 1
    assert "press Draw" in app.info[0].value
    app.number_input(key="population.n").set_value(10)
    app.number_input(key="population.steps").set_value(1)
    next(button for button in app.button if button.label == "Draw").click().run()
    app.session_state["population"].run.join(60)
    app.run()
    assert not app.exception
    assert any(text.value.startswith("**10** persons") for text in app.caption)
    assert "10" in app.query_params["n"]
    app.switch_page("app.py").run().switch_page(PAGE).run()
    assert (app.number_input(key="population.n").value, len(app.session_state["population"].cohorts)) == (10, 1)
    assert "seed" not in app.session_state, "the Explore page finds its own controls as it left them"


def test_one_visit(visit: Callable[..., Visit], app_address: str, model: engine.Model):
    """Twelve persons are drawn, the women among them kept, looked at and taken away."""
    people = model.generate(n=12, seed=3, steps=1)
    women = [person for person in people if person.attributes["sex"] == "F"]
    assert 0 < len(women) < 12
    here = visit("--disable-3d-apis").open(f"{app_address}/Population?n=12&seed=3&steps=1")
    expect(here.page.get_by_text(re.compile("^12 persons · "))).to_be_visible(timeout=90_000)
    expect(here.page.locator(GALLERY)).to_have_count(12)
    expect(here.page.get_by_test_id("stProgress")).to_have_count(0)
    here.page.get_by_text("Filters", exact=True).click()
    here.page.get_by_test_id("stExpander").get_by_role("button", name="female", exact=True).click()
    expect(here.page.get_by_text(f"{len(women)} pass the filters of 12 persons")).to_be_visible()
    expect(here.page.locator(GALLERY)).to_have_count(len(women))
    with here.page.expect_download() as download:
        here.page.get_by_role("button", name="Table (CSV)").click()
    rows = list(csv.DictReader(Path(download.value.path()).read_text("utf-8").splitlines()))
    assert [row["seed"] for row in rows] == [str(person.seed) for person in women]
    assert float(rows[0]["age"]) == women[0].attributes["age"]
    here.page.get_by_text("Plots", exact=True).click()
    expect(here.page.get_by_text(f"n {len(women)}, mean ")).to_be_visible()
    here.page.get_by_text("Gallery", exact=True).click()
    expect(here.page.locator(GALLERY)).to_have_count(len(women))
    here.page.locator(GALLERY).first.get_by_role("button", name="female").click()
    here.shown()
    name, value = here.page.locator("[data-column=age] .value"), f"{women[0].attributes['age']:.1f}".removesuffix(".0")
    expect(name).to_contain_text(value)
    assert [url for url in here.requests if not url.startswith((app_address, "data:", "blob:"))] == []
    assert "n=12" in here.page.url
