"""The Model review page: a card's lines and a report's figures beside real and broken data, refusals as sentences."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import engine
from engine.evaluation.metrics.interval import Figure
from engine.evaluation.report.parts import Plot, ReportedFigure, Section, Sheet
from engine.evaluation.report.write import FORMAT, VERSION, in_words
from pages.components.model_review import work
from pages.components.model_review.work import ReviewError, groups_heat, read_report, worst
from pages.components.parts.evaluation.grade import Grade, Span, from_words

ROOT = Path(__file__).parents[3]
PAGE = "pages/7_Model_review.py"
REAL = Figure(value=2.0, low=1.0, high=4.0, n=20)
ENTRIES = (
    ReportedFigure(
        key="a",
        name="distance",
        figure=Figure(value=1234.6, low=900.0, high=1500.0, n=28),
        aim="low",
        floor=REAL,
        p=0.002,
    ),
    ReportedFigure(
        key="b",
        name="error",
        unit="kg/m²",
        figure=Figure(value=-2.5e-7, low=-1.0, high=3.0, n=5),
        aim="low",
        floor=REAL,
    ),
    ReportedFigure(key="c", name="slope", figure=Figure(value=0.9, low=0.5, high=1.1, n=16), aim="equal", target=1.0),
    ReportedFigure(key="d", name="PSNR", unit="dB", figure=Figure(value=22.8, low=math.nan, high=math.nan, n=28)),
    ReportedFigure(key="e", name="test", figure=Figure(value=0.7, low=0.6, high=0.8, n=9), aim="test", p=0.001),
    ReportedFigure(key="f", name="lost", figure=Figure(value=math.nan, low=0.0, high=1.0, n=0), aim="low"),
)
BROKEN = Figure(value=10.0, low=8.0, high=12.0, n=20)


def sections() -> list[Section]:
    lines = {"seed-7": [[20.0, 60.0], [25.0, 30.0]], "seed-8": [[20.0, 60.0], [24.0, 48.0]]}
    plot = Plot(
        title="Requested and read age", kind="line", x="asked", y="read", series={**lines, "real": [[20, 60], [26, 50]]}
    )
    columns = ("group", "share of real", "age: reading error")
    groups = Sheet(
        title="Groups", columns=columns, rows=(("F", "under 5", 6.0), ("M", 0.5, 10.0), ("other", 0.1, None))
    )
    heat = {"rows": [[0.1], [-0.2]], "labels": ["difference"], "rows_labels": ["F", "M"]}
    rates = Plot(title="Share of synthetic minus share of real persons", kind="heat", x="", y="", series=heat)
    ladder = ReportedFigure(
        key="g", name="rung", figure=Figure(value=6.0, low=2.0, high=14.0, n=20), aim="low", floor=REAL, ceiling=BROKEN
    )
    words = {"meaning": "What it means.", "method": "How."}
    return [
        Section(key="image", title="Image fidelity", figures=(*ENTRIES, ladder), missing=("Nothing fits.",), **words),
        Section(key="coherence", title="Coherence", plots=[plot], **words),
        Section(key="subgroups", title="Subgroups", sheets=[groups], plots=[rates], **words),
    ]


def write_report(folder: Path, digest: str = "abc", name: str = "tiny") -> Path:
    """A report in the engine's own format."""
    about = {
        "format": FORMAT,
        "version": VERSION,
        "kind": "evaluate",
        "checkpoint": {"name": name, "digest": digest, "weights_sha256": "0" * 64},
        "trained_on": {"persons": 17, "source_name": "balls"},
        "licence": "CC0",
        "store": {"source": "balls", "train": 17, "validation": 2, "test": 5},
        "extractors": {"radiomics": "397c"},
        "sampling": {"n": 12, "seed": 0, "steps": 2, "guidance": None},
        "seconds": 90.0,
    }
    folder.mkdir(exist_ok=True)
    found = {**about, "sections": [section.to_json() for section in sections()]}
    (folder / "report.json").write_text(json.dumps(found), "utf-8")
    return folder


def test_the_format_is_the_engines():
    assert (work.FORMAT, work.VERSION) == (FORMAT, VERSION)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_a_line_of_a_card_is_read_as_it_was_written(entry: ReportedFigure):
    grade = from_words(entry.name, in_words(entry.to_json()))
    assert grade is not None
    assert (grade.unit, grade.verdict) == (entry.unit, entry.verdict)
    assert grade.figure.value == pytest.approx(entry.figure.value, rel=5e-3, nan_ok=True)
    assert grade.p == entry.p
    if math.isfinite(entry.figure.low):
        assert (grade.figure.low, grade.figure.high) == pytest.approx((entry.figure.low, entry.figure.high), rel=5e-3)
        assert grade.n == entry.figure.n
    assert (grade.real is None) == (entry.floor is None)
    if grade.real:
        assert (grade.real.low, grade.real.value, grade.real.high) == (1, 2, 4)


def test_prose_is_no_figure():
    assert from_words("age", "MAE 9.8 years (the training mean scores 15.3), r 0.80") is None


def test_a_figure_finds_its_place_between_real_and_broken():
    real, broken = Span(value=2, low=1, high=4), Span(value=10)
    grade = Grade(name="", figure=Span(value=6, low=2, high=14), real=real, broken=broken)
    assert grade.on_ladder() == (0.5, 0.0, 1.5)
    assert grade.beside_real() == (2.0, 0.0, 6.0)
    better_high = Grade(name="", figure=Span(value=6, low=5, high=9), real=Span(value=10), broken=Span(value=2))
    assert better_high.on_ladder() == (0.5, 0.125, 0.625)
    assert better_high.beside_real() is None, "a real value without an interval is no measure"
    assert Grade(name="", figure=Span(value=1), real=real).on_ladder() is None


def test_the_worst_are_far_from_where_a_real_person_would_be_read(tmp_path: Path):
    persons = worst(read_report(str(write_report(tmp_path))))
    assert [(p.seed, p.attribute, p.asked, p.read, p.expected) for p in persons] == [
        (7, "age", 60, 30, 50),
        (8, "age", 20, 24, 26),
    ]


def test_groups_are_compared_with_their_mean(tmp_path: Path):
    part = read_report(str(write_report(tmp_path))).parts[2]
    assert groups_heat(part) == ([[-25.0], [25.0]], ["age"], ["F", "M"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "There is no report.json to read"),
        ("{", "is no report, or a damaged one"),
        ("[]", "is not a Somatwin report of version 1"),
        ('{"format": "somatwin-report", "version": 2}', "is not a Somatwin report of version 1"),
        ('{"format": "somatwin-report", "version": 1, "store": {}}', "is damaged"),
    ],
)
def test_what_is_no_report_is_refused_in_a_sentence(tmp_path: Path, text: str | None, sentence: str):
    if text is not None:
        (tmp_path / "report.json").write_text(text)
    with pytest.raises(ReviewError, match=sentence):
        read_report(f' "{tmp_path}" ')


@pytest.fixture
def app(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """Two models: one whose card has an evaluation, and one of which nothing is known."""
    for name in ("graded", "unknown"):
        shutil.copytree((tiny_checkpoint / "tiny").resolve(), tmp_path / "models" / name)
    path = tmp_path / "models" / "graded" / "model_card.json"
    lines = {"how": "somatwin evaluate", **{e.name: in_words(e.to_json()) for e in ENTRIES}, "remark": "in words"}
    path.write_text(json.dumps({**json.loads(path.read_text()), "evaluation": lines}))
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(tmp_path / "models"))
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).switch_page(PAGE).run()


def chart_of(app: AppTest, place: int) -> dict:
    return json.loads(app.get("plotly_chart")[place].proto.spec)


def test_a_shipped_card_is_shown_in_the_terms_of_the_field(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SOMATWIN_CHECKPOINTS", raising=False)
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).switch_page(PAGE).run()
    app.selectbox(key="model").set_value("head-t1").run()
    assert not app.exception
    titles = list(app.table[0].value.index)
    assert "Brain on age: slope, synthetic over real" in titles
    assert "Kernel distance (KID, radiomics)" in titles
    assert "Reconstruction PSNR, whole volume" in titles
    assert not [title for title in titles if "_" in title or "autoencoder" in title or "made" in title.split()]
    (meant,) = [html.value for html in app.get("html") if "Squared maximum mean discrepancy" in html.value]
    assert meant.count("<dt>Fréchet distance</dt>") == meant.count("<dt>Kernel distance (KID)</dt>") == 1


def shown(app: AppTest) -> str:
    return "\n".join(str(each.value) for each in (*app.markdown, *app.caption, *app.header, *app.subheader, *app.info))


def test_a_card_is_shown_with_verdicts_and_a_report_takes_its_place(app: AppTest, tmp_path: Path):
    assert not app.exception
    table = app.table[0].value
    assert list(table.index) == [entry.name for entry in ENTRIES]
    assert next(iter(table.columns)) == "Verdict", "in sight where little fits"
    assert table.loc["distance", "This model"] == "1,230 (900 to 1,500), n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}28"
    assert table.loc["distance", "Real persons"] == "2 (1 to 4)"
    assert table.loc["distance", "Verdict"] == "▲\N{NO-BREAK SPACE}worse than real, p = 0.002"
    scales = [chart_of(app, k)["layout"]["xaxis"]["title"]["text"] for k in range(len(app.get("plotly_chart")))]
    assert scales == ["Half widths of the<br>real 95 % interval"]
    assert "2 of 4 as real" in shown(app)
    app.toggle(key="review.only.evaluation").set_value(True).run()
    assert list(app.table[0].value.index) == ["distance", "test"]

    app.text_input(key="review.folder").set_value(str(write_report(tmp_path / "report"))).run()
    assert not app.exception
    assert "Evaluation of tiny" in shown(app)
    assert "Nothing fits." in shown(app)
    assert app.table[0].value.loc["rung", "Broken data"] == "10 (8 to 12)"
    assert chart_of(app, 0)["layout"]["xaxis"]["title"]["text"] == "0: as real persons,<br>1: as broken data"
    app.segmented_control(key="review.part").set_value("subgroups").run()
    charts = [chart_of(app, k) for k in range(2)]
    assert [chart["data"][0]["type"] for chart in charts] == ["heatmap"] * 2
    assert charts[0]["layout"]["xaxis"]["title"]["text"] == "Attribute that is read"
    assert list(app.table[0].value.columns) == ["share of real", "age: reading error"]
    app.text_input(key="review.folder").set_value("/no/such").run()
    assert not app.exception
    assert "There is no report.json to read in /no/such" in app.error[0].value


@pytest.mark.parametrize(("key", "said"), [("evaluation", True), ("privacy audit", False)])
def test_a_card_without_an_audit_says_that_privacy_was_not_tested(key: str, said: bool):
    def page(key: str) -> None:
        from pages.components.model_review.lead import what_fails
        from pages.components.model_review.work import Part, Review
        from pages.components.parts.evaluation.grade import Grade, Span

        one = Grade(name="distance", figure=Span(value=1.0, low=1.0, high=1.0), verdict="worse than real")
        part = Part(key=key, title=key, meaning="", grades=(one,), remarks={})
        what_fails(Review(title="m", facts={}, parts=(part,), cohort=None))

    app = AppTest.from_function(page, args=(key,)).run()
    assert not app.exception
    assert ("Privacy was not tested" in shown(app)) is said


def test_nothing_known_is_said(app: AppTest):
    app.selectbox(key="model").set_value("unknown").run()
    assert not app.exception
    assert "Nothing is known of this model's quality yet" in app.info[0].value


def test_the_worst_person_is_drawn_again_by_the_same_weights_only(app: AppTest, tmp_path: Path):
    digest = engine.load(tmp_path / "models" / "graded", "cpu").digest
    app.text_input(key="review.folder").set_value(str(write_report(tmp_path / "report", digest))).run()
    app.segmented_control(key="review.part").set_value("coherence").run()
    assert "seed 7: age 60 asked, 30.0 read, 50.0 expected" in app.radio(key="review.worst").options
    next(b for b in app.button if b.label == "Draw this person again").click().run()
    assert not app.exception
    (drawn,) = app.session_state["model review"].drawn.people
    (again,) = engine.load(tmp_path / "models" / "graded", "cpu").generate(given={"age": 60}, seed=7, steps=2)
    assert drawn.attributes == again.attributes
    assert len(app.get("bidi_component")) == 1
    app.text_input(key="review.folder").set_value(str(write_report(tmp_path / "other", "000"))).run()
    assert "which would draw other people" in shown(app)
    assert not app.get("bidi_component")
