"""From any page to any page with the same person: the address of the other page says exactly who it is."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl

import pytest
from streamlit.testing.v1 import AppTest

import engine
from pages.components.parts.onward import address
from pages.components.review.work import Visit
from pages.components.state.address import Request, read_query
from pages.components.state.intervention import read_question
from tests.pages.conftest import ROOT
from tests.pages.review.ratings import PLAN, rated

ASKED = Request(model="tiny", given=(("age", 40), ("bmi", 27.0)), seed=9, n=3, steps=4)


def links(app: AppTest) -> dict[str, tuple[str, dict[str, str]]]:
    """The page and the query behind every link of a page's main part, by label."""
    found = {}
    for link in app.get("page_link"):
        page, _, query = link.proto.page.partition("?")
        found[link.proto.label] = (page, dict(parse_qsl(link.proto.query_string or query)))
    return found


def test_the_other_page_reads_who_it_is(checkpoint: str) -> None:
    model = engine.load(checkpoint, "cpu")
    explored, wrong = read_query(address("Explore", ASKED, model.schema), "tiny", model.schema)
    assert (explored, wrong) == (replace(ASKED, n=1), [])
    question, wrong = read_question(address("What if", ASKED, model.schema), "tiny", model)
    assert wrong == []
    assert (question.before, question.seed, question.steps) == (ASKED.given, 9, 4)
    assert question.change == ()
    assert question.held == ("ethnicity", "height", "sex"), "who the person is stays"


def opened(page: str) -> AppTest:
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=90).switch_page(f"pages/{page}.py")


def test_a_synthetic_person_of_a_rating_leads_on_but_not_to_another_models(checkpoint: str) -> None:
    plan = replace(PLAN, digest=engine.load(checkpoint, "cpu").digest)
    app = opened("5_Review")
    app.session_state["rating"] = Visit(session=rated(plan, "me"))
    app.run()
    assert not app.exception
    i = next(k for k, someone in enumerate(plan.people) if not someone.real)
    found = {label: query for label, (_, query) in links(app).items() if label.endswith("this person")}
    assert {label: query["seed"] for label, query in found.items()} == {
        "Explore this person": str(plan.people[i].number),
        "What if this person": str(plan.people[i].number),
    }
    app.session_state["rating"] = Visit(session=rated(PLAN, "me"))
    app.run()
    assert not [label for label in links(app) if label.endswith("this person")]


@pytest.mark.usefixtures("checkpoint")
def test_explore_leads_to_what_if() -> None:
    app = opened("1_Explore")
    for name, text in ASKED.to_query().items():
        app.query_params[name] = text
    app.run()
    assert not app.exception
    onwards = {label: query for label, (_, query) in links(app).items() if label.startswith("Person ")}
    assert [(label, query["seed"]) for label, query in onwards.items()] == [
        (f"Person {k + 1}, seed {9 + k}", f"{9 + k}") for k in range(3)
    ]
    assert {(query["age"], query["steps"]) for query in onwards.values()} == {("40", "4")}
