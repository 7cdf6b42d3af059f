"""Which model answers: what a reader chooses stays, and an address asks for one."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from pages.components.parts.model_picker import card_in_words


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
