"""What a clinician reads on any page: no word of the workshop, one hash of the model, and no page that opens empty."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import engine
from engine.checkpoints.example import Example, ExamplePerson, example_file, example_text
from pages.components.parts.frame import pages
from pages.components.parts.teaching.tour import STEPS
from pages.components.train.work import Visit
from tests.pages.conftest import ROOT

BANNED = re.compile(r"runs on the processor|\bruler\b|autoencoder|no intervention|faces none in view", re.IGNORECASE)


@pytest.fixture(scope="module")
def folder(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with an example, and what measures its scans."""
    found = tmp_path_factory.mktemp("with example")
    shutil.copytree((checkpoints / "tiny").resolve(), found / "tiny")
    (found / "measure-head").symlink_to((checkpoints / "measure-head").resolve())
    model = engine.load(found / "tiny", "cpu")
    picture = bytes.fromhex(  # eight by eight grey dots
        "52494646240000005745425056503820180000003001009d012a0800080001402625a400037000feee704000"
    )
    people = [
        ExamplePerson(
            seed=k,
            row={"age": 30 + 5 * k, "sex": "F", "height": 170.0, "bmi": 24.0, "ethnicity": None, "weight": 69.4},
            values={name: 50.0 + k for name in ("ventricles_ml", "brain_ml", "neck_ml", "intracranial_ml")},
            picture=picture,
            planes=picture,
        )
        for k in range(6)
    ]
    example = Example(
        name="tiny", digest=model.digest, steps=model.steps, people=tuple(people), whatif=tuple(people[:2]),
        attribute="age", losses={"flow": {"table": ([1.0, 2.0], [1.0, 0.5])}},
    )  # fmt: skip
    example_file(found / "tiny").write_text(example_text(example), "utf-8")
    return found


@pytest.fixture
def app(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(folder))
    monkeypatch.setenv("SOMATWIN_RUNS", str(folder / "runs"))
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)


def told(app: AppTest) -> str:
    """Every text that the page sends to the browser, also those of hints and of components."""
    found = []

    def walk(block: object) -> None:
        proto = getattr(block, "proto", None)
        program = getattr(block, "type", "") == "bidi_component"  # its code is not read by anybody
        found.append(str(getattr(proto, "json", "")) if program else str(proto or ""))
        for child in getattr(block, "children", {}).values():
            walk(child)

    walk(app.main)
    walk(app.sidebar)
    return "\n".join(found)


@pytest.mark.parametrize("path", ["app.py", *(path for path, _ in pages())])
def test_no_word_of_the_workshop_stands_on_a_page(app: AppTest, path: str):
    if path != "app.py":
        app.switch_page(path)
    if path in ("pages/1_Explore.py", "pages/2_What_if.py"):
        app.query_params["steps"] = "1"
    app.run()
    assert not app.exception
    assert BANNED.findall(told(app)) == []


def test_the_words_are_found_where_they_stand(app: AppTest):
    app.session_state["train"] = Visit(problem="The ruler.")
    app.switch_page("pages/6_Train.py").run()
    assert BANNED.findall(told(app)) == ["ruler"]


def test_one_hash_names_the_model_everywhere(app: AppTest, folder: Path):
    digest = engine.load(folder / "tiny", "cpu").digest
    app.switch_page("pages/8_About.py").run()
    assert app.table[0].value.loc["tiny", "Weights"] == digest
    assert any(f"tiny (weights {digest})" in code.value for code in app.code)
    app.switch_page("pages/4_Population.py").run()
    assert any(text.value == f"Weights {digest}" for text in app.caption)


def marked(app: AppTest) -> list[str]:
    return [text.value for text in app.info if "Example, drawn beforehand" in text.value]


def test_no_page_opens_empty(app: AppTest, folder: Path):
    app.switch_page("pages/4_Population.py").run()
    assert len(marked(app)) == 1
    assert "**6** persons" in " ".join(text.value for text in app.caption)
    app.switch_page("pages/3_Consistency.py").run()
    assert not app.exception
    app.segmented_control(key="consistency.question").set_value("pair").run()
    assert len(marked(app)) == 1
    assert [text.value for text in app.caption if "persons measured" in text.value] == ["6 of 16 persons measured"]
    app.switch_page("pages/5_Review.py").run()
    assert len(marked(app)) == 1
    assert len(app.get("image")) == 6
    app.switch_page("pages/6_Train.py").run()
    assert len(marked(app)) == 1
    assert len(app.get("plotly_chart")) == 1
    app.switch_page("app.py").run()
    assert len(app.get("image")) == 2, "the same person twice"


def test_a_tour_goes_through_five_pages(app: AppTest):
    app.run()
    next(button for button in app.button if button.label.startswith("Guided tour")).click().run()
    assert not app.exception
    assert len(STEPS) == 5
    for k, step in enumerate(STEPS, 1):
        app.switch_page(step.path)
        app.query_params["steps"] = "1"
        app.run()
        assert not app.exception
        assert any(text.value.startswith(f"**Tour, {k} of 5: {step.title}") for text in app.markdown)
    next(button for button in app.button if button.label == "End the tour").click().run()
    assert not any(text.value.startswith("**Tour") for text in app.markdown)
