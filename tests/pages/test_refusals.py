"""What the engine refuses is a sentence on the page; a bug, whatever its class, is Streamlit's exception."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import engine
from engine.vocabulary.refusal import RequestError
from pages.components.state import generation
from tests.pages.conftest import ROOT
from tests.pages.model_review.test_model_review import write_report

REFUSAL = RequestError("the moon is no person; give another")
BUG = ValueError("operands could not be broadcast together")
GENERATE = "engine.inference.generate.Model.generate"


@pytest.fixture
def app(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    """The app in which nobody is kept from before, and nobody after."""
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(checkpoints))
    generation._shared.clear()
    yield AppTest.from_file(str(ROOT / "app.py"), default_timeout=90)
    generation._shared.clear()


def failing(error: ValueError) -> Callable[..., None]:
    def generate(self: engine.Model, **asked: object) -> None:
        raise error

    return generate


def explore(app: AppTest, folder: Path) -> AppTest:
    app.switch_page("pages/1_Explore.py")
    app.query_params["steps"] = "1"
    return app.run()


def whatif(app: AppTest, folder: Path) -> AppTest:
    app.switch_page("pages/2_What_if.py")
    app.query_params["steps"] = "1"
    return app.run()


def consistency(app: AppTest, folder: Path) -> AppTest:
    app.switch_page("pages/3_Consistency.py").run()
    return next(button for button in app.button if button.label == "Sample and measure").click().run()


def population(app: AppTest, folder: Path) -> AppTest:
    app.switch_page("pages/4_Population.py")
    for name, text in {"n": "10", "steps": "1"}.items():
        app.query_params[name] = text
    app.run()
    app.session_state["population"].run.join(60)
    return app.run()


def model_review(app: AppTest, folder: Path) -> AppTest:
    digest = engine.load("tiny", "cpu").digest
    app.switch_page("pages/7_Model_review.py").run()
    app.text_input(key="review.folder").set_value(str(write_report(folder, digest))).run()
    app.segmented_control(key="review.part").set_value("coherence").run()
    return next(button for button in app.button if button.label == "Draw this person again").click().run()


PAGES = [explore, whatif, consistency, population, model_review]


def sentences(app: AppTest) -> str:
    return "\n".join(str(each.value) for each in (*app.warning, *app.error))


@pytest.mark.parametrize("page", PAGES)
def test_a_refusal_is_a_sentence(
    app: AppTest, page: Callable[[AppTest, Path], AppTest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(GENERATE, failing(REFUSAL))
    page(app, tmp_path / "report")
    assert not app.exception
    assert "he moon is no person; give another" in sentences(app)


@pytest.mark.parametrize("page", PAGES)
def test_a_bug_looks_like_a_bug(
    app: AppTest, page: Callable[[AppTest, Path], AppTest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(GENERATE, failing(BUG))
    page(app, tmp_path / "report")
    assert len(app.exception) == 1
    assert "broadcast" not in sentences(app)
