"""What is given and set is seen on What if wherever it comes from, one press clears it, and a real scan is called real."""

from __future__ import annotations

import gzip
import io
import itertools
import zipfile
from contextlib import nullcontext

import nibabel as nib
import pytest
from streamlit.testing.v1 import AppTest

import engine
from engine.imaging.volume import Volume
from engine.inference.export import MADE, REAL
from engine.vocabulary.catalogue import CATALOGUE
from engine.vocabulary.schema import AttributeSchema
from pages.components.parts.frame import BANNER, YOUR_SCAN
from pages.components.parts.onward import follows_at_first
from pages.components.state.scene import FOOTER
from pages.components.whatif.question import at_first_in_words
from pages.components.whatif.scenes import NOT_SYNTHETIC, PAIR
from tests.pages.whatif.test_whatif import (  # noqa: F401
    app,
    captions,
    given_scan,
    model,
    nifti,
    person,
    press,
    scene,
    visited,
)


def said(app: AppTest) -> str:  # noqa: F811
    return " ".join(text.value for text in app.sidebar.markdown)


def banner(app: AppTest) -> str:  # noqa: F811
    (block,) = [block.proto.body for block in app.get("html") if 'class="banner"' in block.proto.body]
    return block


def test_the_example_is_seen_and_one_press_clears_it(app: AppTest):  # noqa: F811
    visited(app)
    ages = [app.session_state[f"whatif.person.age.{when}"] for when in ("before", "after")]
    assert "An example, to begin with:" in captions(app)
    assert f"**Given:** Age {ages[0]} years" in said(app)
    assert f"**Set:** Age {ages[1]} years" in said(app)
    press(app, "Clear all")
    assert "Nothing is set." in said(app)
    assert "Given:" not in said(app)
    assert app.button_group(key="whatif.person.age.how").value == "stays"
    assert app.toggle(key="whatif.person.age.given").value is False
    assert "Clear all" not in [button.label for button in app.button]


def test_what_an_earlier_visit_set_is_seen_on_the_way_back_and_in_every_picture_of_a_sweep(app: AppTest):  # noqa: F811
    visited(app, age="40", seed="1", steps="1", set_age="60", sex="M")
    app.switch_page("app.py").run().switch_page("pages/2_What_if.py").run()
    assert "**Set:** Age 60 years" in said(app)
    app.selectbox(key="whatif.sweep.column").set_value("bmi").run()
    assert "In every picture, as on the left: given: Sex male; also set: Age 60 years." in captions(app)
    press(app, "Clear all")
    assert "In every picture, as on the left: given: Sex male" not in captions(app)


def test_all_stays_at_first_but_what_a_body_is_made_of():
    names = (
        "age",
        "sex",
        "height",
        "bmi",
        "heart_rate",
        "pathology",
        "smoking",
        "ethnicity",
        "lv_edv",
        "vat",
        "liver_pdff",
    )
    assert [name for name in names if follows_at_first(name)] == ["lv_edv", "vat", "liver_pdff"]
    heart = AttributeSchema(
        columns=tuple(CATALOGUE[name].number() for name in ("age", "heart_rate", "lv_edv", "lv_ef"))
    )
    assert at_first_in_words(heart) == ("At first what the body is made of (LV EDV, LV EF) follows, all else stays.")


def test_the_banner_and_the_pictures_call_an_uploaded_scan_real(app: AppTest, person: Volume):  # noqa: F811
    given_scan(app, ("scan.nii.gz", nifti(person)))
    assert YOUR_SCAN in banner(app)
    app.number_input(key="whatif.scan.steps.count").set_value(1).run()
    header, _ = scene(app)
    assert (header["footer"], header["people"][0]["says"]) == (NOT_SYNTHETIC, "Your scan, real")
    press(app, "Draw")
    header, _ = scene(app)
    assert header["footer"] == PAIR
    assert [one["title"] for one in header["people"]] == ["Your scan, real", "What if, synthetic"]
    app.button_group(key="whatif.shown").set_value("As the model draws").run()
    header, _ = scene(app)
    assert header["footer"] == FOOTER
    assert [one["title"] for one in header["people"]] == ["Your scan redrawn, synthetic", "What if, synthetic"]
    press(app, "Prepare files")
    _, made = app.session_state["whatif"].file
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        heads = {
            name: nib.Nifti1Image.from_bytes(gzip.decompress(archive.read(name))).header["descrip"].item().decode()
            for name in archive.namelist()
            if name.endswith(".nii.gz")
        }
    assert heads.pop("scan.nii.gz") == REAL
    assert set(heads.values()) == {MADE}
    app.button_group(key="whatif.source").set_value("Synthetic").run()
    assert BANNER in banner(app)


def test_what_was_said_of_one_scan_is_not_said_of_the_next(app: AppTest, person: Volume, model: engine.Model):  # noqa: F811
    given_scan(app, ("scan.nii.gz", nifti(person)))
    app.toggle(key="whatif.scan.age.given").set_value(True).run()
    app.button_group(key="whatif.scan.bmi.how").set_value("set to").run()
    assert "**Corrected:** Age" in said(app)
    assert "**Set:** BMI" in said(app)
    press(app, "Forget this scan")
    other = model.generate(seed=9, steps=1, given={"age": 60})[0].volume
    app.file_uploader(key="whatif.files").set_value(("other.nii.gz", nifti(other), "application/octet-stream")).run()
    press(app, "Read the scan")
    assert "Nothing is set." in said(app)
    assert "Corrected" not in said(app)
    assert app.toggle(key="whatif.scan.age.given").value is False


@pytest.mark.parametrize("total", [1, 4])
def test_the_time_left_is_that_of_all_that_was_asked(monkeypatch: pytest.MonkeyPatch, total: int):
    """Three of four pictures are to be drawn, one was kept; a half of the first one took 10 s: 50 s are left in all."""
    from pages.components.state.intervention import Question
    from pages.components.whatif import work
    from pages.components.whatif.visit import Visit

    here = Visit()
    questions = [Question(model="tiny", digest="0", seed=seed) for seed in range(total)]
    if total > 1:
        here.answers = {(questions[0], False): None}  # pyright: ignore[reportAttributeAccessIssue]
    clock = {"now": 100.0}
    monkeypatch.setattr("time.monotonic", lambda: clock["now"])
    here.want(questions, whole=False)
    shown: list[tuple[float, str]] = []
    monkeypatch.setattr(work, "visit", lambda: here)
    monkeypatch.setattr(work, "bars", lambda places, stop: nullcontext(lambda share, text: shown.append((share, text))))
    monkeypatch.setattr(work.st, "rerun", lambda: None)

    def answered(of: object, question: Question, scan: object, ruler: object, report, whole: bool) -> None:
        clock["now"] += 10
        report(0.5, "Step 4 of 8")
        report(0.5, "Before, waiting for another reader's turn to end, 3 s")

    monkeypatch.setattr(work, "answer", answered)
    done = total > 1
    work.carry_out(lambda report: work._draw(None, None, None, here.wanted[done], (int(done), total), report), [])  # pyright: ignore[reportArgumentType]
    waits = "Before, waiting for another reader's turn to end, 3 s"
    if total == 1:
        assert shown == [(0.5, "Step 4 of 8, about 10 s left"), (0.5, waits)]
    else:
        said = "Picture 2 of 4: Step 4 of 8, about 50 s left in all"
        assert shown == [(0.375, said), (0.375, f"Picture 2 of 4: {waits}")]


def test_a_whatif_counts_its_persons_one_after_the_other(model: engine.Model):  # noqa: F811
    """Before, after and once more with nothing set: the share of what is done never falls back."""
    from pages.components.state.intervention import Question
    from pages.components.whatif.answer import answer

    asked = Question(model="tiny", digest=model.digest, seed=77, steps=2, before=(("age", 40),), change=(("age", 60),))
    shares: list[float] = []
    answer(model, asked, None, None, lambda share, text: shares.append(share), True)
    assert shares == sorted(shares)
    assert max(b - a for a, b in itertools.pairwise(shares)) < 0.3
