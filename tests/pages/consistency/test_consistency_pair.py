"""Any two of what is sampled and measured: persons of whom nothing is asked, beside aggregates of the cohort."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import engine
from engine.anatomy.head import HEAD
from engine.anatomy.torso import TORSO
from engine.figures.cohort import Known, pair_figure
from engine.measure.head import MEASURES as HEAD_MEASURES
from engine.measure.head import HeadMeasure
from engine.measure.reference import CohortBand
from engine.measure.relation import Relation, RelationError
from engine.vocabulary.schema import AttributeSchema, Category, Number
from pages.components.consistency.pair import axes_of, first_pair, known_of, together
from pages.components.consistency.work import Plan, cohort_of, sample_one, to_csv
from tests.pages.conftest import ROOT

RNG = np.random.default_rng(2)
AGE, VAT = RNG.uniform(20, 80, 60), RNG.normal(3, 1, 60)
SEXES = ["FM"[i % 2] for i in range(60)]
#: the cohort's measured visceral fat follows its age
MEASURED = [{"vat": 0.1 * age + fat, "lungs": fat} for age, fat in zip(AGE, VAT, strict=True)]
BAND = CohortBand.fit([{"age": a, "sex": s} for a, s in zip(AGE, SEXES, strict=True)], MEASURED, ["age"])
COLUMNS = (
    Number(name="age", unit="years", low=0, high=100),
    Number(name="vat", unit="L", low=0, high=20),
    Category(name="sex", levels=("F", "M")),
)
SCHEMA = AttributeSchema(columns=COLUMNS).fitted(
    [{"age": a, "vat": f, "sex": s} for a, f, s in zip(AGE, VAT, SEXES, strict=True)]
)
NAMES = {"vat": "Visceral fat", "lungs": "Lungs"}
RULER = SimpleNamespace(region=TORSO, measures=NAMES, cohort=BAND, units={"vat": "l", "lungs": "l"})
AXES = axes_of(SCHEMA, RULER)


def test_what_is_sampled_and_what_is_measured_are_told_apart():
    assert {key: axis.title for key, axis in AXES.items()} == {
        "age": "Age, years",
        "vat (sampled)": "VAT, L, in the table",
        "sex": "Sex",
        "vat": "Visceral fat, L, measured",
        "lungs": "Lungs, L, measured",
    }


def test_whose_cohort_it_is_and_what_is_shown_at_first():
    head = SimpleNamespace(region=HEAD, measures=HEAD_MEASURES)
    assert (cohort_of(RULER), first_pair(RULER)) == ("In-silico", ("bmi", "vat"))
    assert (cohort_of(head), first_pair(head)) == ("Real", ("age", "brain_ml"))
    assert first_pair(SimpleNamespace(region=HEAD, measures={"neck_ml": ""})) == ("bmi", "neck_ml")
    assert first_pair(SimpleNamespace(region=HEAD, measures={})) == ("", "")


def test_the_most_telling_aggregate_is_shown_whichever_way_round():
    known, kind = known_of(RULER, AXES["age"], AXES["vat"], "all")
    assert (known.relation, known.upright, kind) == (BAND.curve("vat", "age"), False, "relation")
    assert known_of(RULER, AXES["vat"], AXES["age"], "F")[0].relation == BAND.curve("vat", "age", "F")
    assert known_of(RULER, AXES["vat"], AXES["age"], "F")[0].upright
    known, kind = known_of(RULER, AXES["sex"], AXES["lungs"], "all")
    assert (known.groups["M"][0], kind) == (pytest.approx(VAT[1::2].mean()), "groups")
    known, kind = known_of(RULER, AXES["vat (sampled)"], AXES["vat"], "all")
    assert kind == "ranges"
    across, up = known.ranges
    assert across == pytest.approx(np.quantile(VAT, [0.025, 0.5, 0.975]), abs=0.3), "the fitted quantiles of the column"
    measured = [values["vat"] for values in MEASURED]
    assert up == pytest.approx([np.mean(measured) + k * np.std(measured, ddof=1) for k in (-1, 0, 1)])
    assert known_of(RULER, AXES["sex"], AXES["sex"], "all")[1] == ""


def test_the_correlation_of_the_cohort_follows_from_its_line():
    y = [values["vat"] for values in MEASURED]
    line = Relation.fit(AGE, y)
    r = line.correlation()
    assert r.estimate == pytest.approx(np.corrcoef(AGE, y)[0, 1])
    reach = 1.959964 / np.sqrt(57)
    ends = np.tanh(np.arctanh(r.estimate) + np.array([-reach, reach]))
    assert (r.low, r.high) == pytest.approx(tuple(ends))
    assert Relation.fit(AGE, -AGE + 1e-9 * VAT).correlation().estimate == pytest.approx(-1)
    with pytest.raises(RelationError, match="straight line"):
        Relation.fit(AGE, y, degree=2, log=True).correlation()
    points = [{"age": float(age), "vat": float(fat)} for age, fat in zip(AGE[:20], VAT[:20], strict=True)]
    table = together(RULER, AXES["age"], AXES["vat"], points, "all")
    assert list(table["r"]) == [f"{np.corrcoef(AGE[:20], VAT[:20])[0, 1]:+.2f}", f"{r.estimate:+.2f}"]
    assert list(table["persons"]) == ["20", "60"]
    assert list(together(RULER, AXES["vat"], AXES["lungs"], [], "all")["r"]) == ["none yet", "not stored"]


def test_persons_lie_over_the_cohort_and_those_of_a_level_beside_each_other():
    rows = [{"sex": "FM"[i % 2], "vat": 2.0 + i} for i in range(6)]
    words, groups = {"F": "female", "M": "male"}, {"F": (3.0, 1.0), "M": (4.0, 2.0)}
    figure = pair_figure(
        ("sex", "vat"), rows, range(6), ("", ""), Known(cohort="Real", groups=groups), words=words, levels={"sex": "FM"}
    )
    cohort, people = figure.data
    assert (list(cohort.x), list(cohort.y), list(cohort.error_y.array)) == ([0, 1], [3, 4], [1, 2])
    assert np.rint(people.x).tolist() == [0, 1, 0, 1, 0, 1]
    assert len(set(people.x)) == 6
    assert list(people.customdata[3]) == [3, "male", "5"]
    assert list(figure.layout.xaxis.ticktext) == ["female", "male"]
    relation = Relation.fit(AGE, [values["vat"] for values in MEASURED])
    flat, turned = (
        pair_figure(("a", "b"), [], [], ("", ""), Known(cohort="Real", relation=relation, upright=upright))
        for upright in (False, True)
    )
    assert (list(flat.data[1].x), list(flat.data[1].y)) == (list(turned.data[1].y), list(turned.data[1].x))
    ranged = pair_figure(
        ("a", "b"), [{"a": 9.0, "b": 1.0}], [0], ("", ""),
        Known(cohort="Real", ranges=((1, 2, 3), None), words=("Training cohort", "")),
    )  # fmt: skip
    assert [(shape.x0, shape.x1) for shape in ranged.layout.shapes] == [(1, 3), (2, 2)]
    low, high = ranged.layout.xaxis.range
    assert low < 1 < 9 < high


def test_nothing_is_asked_of_these_persons(checkpoints: Path):
    model, ruler = engine.load(checkpoints / "tiny", "cpu"), HeadMeasure.load(checkpoints / "measure-head")
    plan = Plan(model="tiny", digest=model.digest, attribute=None, low=0, high=0, sex=None, steps=2, seed=5)
    points = [sample_one(model, ruler, plan, i, lambda fraction, text: None) for i in range(2)]
    for point, person in zip(points, model.generate(n=2, seed=5, steps=2), strict=True):
        assert {name: point[name] for name in model.schema.names} == person.attributes
        assert point["brain_ml"] == ruler.measure(person.volume)["brain_ml"]
    rows = list(csv.DictReader(io.StringIO(to_csv(plan, points).decode())))
    assert ("requested" in rows[0], rows[1]["seed"], rows[0]["synthetic"]) == (
        False,
        "6",
        "SYNTHETIC - not for diagnosis",
    )


def test_the_page_shows_the_pair_that_is_chosen(checkpoints: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(checkpoints))
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=90).run().switch_page("pages/3_Consistency.py").run()
    app.button_group(key="consistency.question").set_value("pair").run()
    app.number_input(key="consistency.n").set_value(3)
    app.number_input(key="consistency.steps").set_value(2)
    next(button for button in app.button if button.label == "Sample and measure").click().run()
    assert not app.exception

    def drawn() -> dict[str, dict]:
        (chart,) = app.get("plotly_chart")
        return {trace["name"]: trace for trace in json.loads(chart.proto.spec)["data"]}

    (points,) = app.session_state["consistency"].measured.values()
    found = {seed: (x, y) for name in ("Female", "Male") if name in drawn()
             for (seed, *_), x, y in zip(drawn()[name]["customdata"], drawn()[name]["x"], drawn()[name]["y"], strict=True)}  # fmt: skip
    assert found == {point["seed"]: (point["age"], point["brain_ml"]) for point in points}
    assert "Real cohort" in drawn()
    app.selectbox(key="consistency.pair.head.y").set_value("bmi").run()
    assert not app.exception
    assert "Real cohort" not in drawn(), "nothing is stored of how age and BMI go together"
    assert any("each stands by itself" in text.value for text in app.caption)
    assert "3 persons measured" in [text.value for text in app.caption], "the same persons"
