"""Which model answers: what a reader chooses stays, and an address asks for one."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from pages.components.parts.model_picker import card_in_words
from tests.pages.conftest import ROOT


def page() -> None:
    import streamlit as st

    from pages.components.parts.model_picker import model_picker

    st.session_state["banner"] = st.empty()  # the frame's
    name, _ = model_picker()
    st.text(name)
    st.query_params["model"] = name  # as a page does at its end


@pytest.fixture
def app(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    for name in ("a", "b"):
        (tmp_path / name).symlink_to(tiny_run / "checkpoint")
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(tmp_path))
    return AppTest.from_function(page, default_timeout=60)


@pytest.fixture
def whole(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The app itself with two models."""
    for name in ("a", "b"):
        (tmp_path / name).symlink_to(tiny_run / "checkpoint")
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(tmp_path))
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=90)


def chosen(app: AppTest) -> str:
    assert not app.exception
    return app.text[0].value


def test_the_first_choice_stays_although_the_page_has_written_its_address(app: AppTest):
    assert chosen(app.run()) == "a"
    assert chosen(app.selectbox(key="model").set_value("b").run()) == "b"
    assert chosen(app.run()) == "b"


def test_an_address_asks_for_a_model_and_one_that_is_gone_back_to_too(app: AppTest):
    app.query_params["model"] = "b"
    assert chosen(app.run()) == "b"
    assert chosen(app.selectbox(key="model").set_value("a").run()) == "a"
    assert chosen(app.run()) == "a"
    app.query_params["model"] = "b"
    assert chosen(app.run()) == "b"


def test_a_card_calls_its_figures_as_model_review_does():
    name, text = "brain_ml on age: synthetic over real slope", "0.578 (n = 60); as real"
    card = {"evaluation": {"how": "somatwin evaluate", name: text}}
    shown = card_in_words(card, f"## Evaluation\n\n* how: somatwin evaluate\n* {name.replace('_', ' ')}: {text}\n")
    assert shown.splitlines()[2:] == ["* how: somatwin evaluate", f"* Brain on age: slope, synthetic over real: {text}"]


#: pages on which a model is chosen
CHOOSING = ("7_Model_review", "2_What_if", "1_Explore", "4_Population", "5_Review", "3_Consistency")


def on(app: AppTest, page: str) -> str:
    """The model of a page that was opened from the navigation."""
    app.query_params.clear()
    app.switch_page(f"pages/{page}.py").run()
    return str(app.selectbox(key="model").value)


def test_a_model_chosen_on_any_page_is_that_of_all_others(whole: AppTest):
    assert on(whole, "7_Model_review") == "a"
    whole.selectbox(key="model").set_value("b").run()
    assert [on(whole, page) for page in CHOOSING] == ["b"] * len(CHOOSING)
    whole.selectbox(key="model").set_value("a").run()
    assert [on(whole, page) for page in CHOOSING] == ["a"] * len(CHOOSING)


@pytest.mark.parametrize("page", ["7_Model_review", "4_Population", "5_Review", "3_Consistency"])
def test_the_address_of_a_page_that_has_no_other_holds_the_model_for_a_reload(whole: AppTest, page: str):
    """Explore and What if have the address of whom they show."""
    on(whole, page)
    whole.selectbox(key="model").set_value("b").run()
    assert dict(whole.query_params) == {"model": "b"}


def test_the_way_back_to_a_page_that_showed_another_model_keeps_the_choice(whole: AppTest):
    on(whole, "7_Model_review")
    assert on(whole, "3_Consistency") == "a"
    whole.selectbox(key="model").set_value("b").run()
    whole.switch_page("pages/7_Model_review.py")
    whole.query_params["model"] = "a"  # as its address was
    whole.run()
    assert whole.selectbox(key="model").value == "b"
