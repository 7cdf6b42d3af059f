"""Every page, run by Streamlit's own AppTest: no exception, the banner, what is fixed and what is free, bad addresses."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from pages.components.parts.frame import BANNER, pages

ROOT = Path(__file__).parents[2]
EXPLORE = "pages/1_Explore.py"


@pytest.fixture
def app(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(tiny_checkpoint))
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)


def explore(app: AppTest, **query: str) -> AppTest:
    app.switch_page(EXPLORE)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def header(app: AppTest) -> dict:
    """What the viewer on the page was sent."""
    (component,) = app.get("bidi_component")
    raw = gzip.decompress(component.proto.bytes)
    (length,) = struct.unpack_from("<I", raw)
    return json.loads(raw[4 : 4 + length])


def rows(app: AppTest, person: int = 0) -> dict[str, tuple[str, str]]:
    return {row["name"]: (row["value"], row["origin"]) for row in header(app)["people"][person]["rows"]}


def banners(app: AppTest) -> list[str]:
    return [block.proto.body for block in app.get("html") if BANNER in block.proto.body]


@pytest.mark.parametrize("path", ["app.py", *(path for path, _ in pages())])
def test_every_page_runs_and_carries_the_banner(app: AppTest, path: str):
    if path != "app.py":
        app.switch_page(path)
    app.run()
    assert not app.exception
    assert len(banners(app)) == 1


def test_the_front_page_shows_the_model_card(app: AppTest):
    app.run()
    assert any("Tiny test model" in text.value for text in app.subheader)


def test_everything_free_is_sampled_without_a_click(app: AppTest):
    explore(app)
    assert not app.exception
    assert {origin for _, origin in rows(app).values()} == {"sampled", "derived"}
    assert dict(app.query_params) == {"model": "tiny", "seed": "0", "n": "1", "steps": "8"}


def test_an_address_sets_the_controls_and_is_obeyed(app: AppTest):
    explore(app, age="60", sex="F", seed="5", n="2", steps="2")
    assert app.toggle(key="age.fixed").value is True
    assert app.toggle(key="bmi.fixed").value is False
    assert (app.slider(key="age.value").value, app.slider(key="bmi.value").disabled) == (60, True)
    assert app.number_input(key="seed").value == 5
    for person in range(2):
        shown = rows(app, person)
        assert (shown["age"], shown["sex"]) == (("60", "given"), ("female", "given"))
        assert shown["bmi"][1] == "sampled"
    assert [p["file"] for p in header(app)["people"]] == ["tiny_seed-5", "tiny_seed-6"]


def test_the_button_draws_what_the_controls_say_and_the_address_follows(app: AppTest):
    explore(app, steps="2")
    before = header(app)
    app.toggle(key="age.fixed").set_value(True).run()
    app.slider(key="age.value").set_value(44).run()
    assert header(app) == before, "without live mode a slider alone draws nobody"
    next(b for b in app.button if b.label == "Generate").click().run()
    assert rows(app)["age"] == ("44", "given")
    assert app.query_params["age"] == "44"
    app.toggle(key="age.fixed").set_value(False)
    next(b for b in app.button if b.label == "Generate").click().run()
    assert rows(app)["age"][1] == "sampled"
    assert "age" not in app.query_params


def test_live_mode_follows_a_slider(app: AppTest):
    explore(app, age="30", steps="4")
    app.toggle(key="live").set_value(True).run()
    app.slider(key="age.value").set_value(50).run()
    assert rows(app)["age"] == ("50", "given")
    assert header(app)["draft"] is False, "a draft is followed by the full number of steps"
    assert (app.query_params["age"], app.query_params["steps"]) == ("50", "4")


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"age": "-3"}, "age '-3' is not possible here"),
        ({"sex": "X"}, "sex 'X' is unknown here"),
        ({"bmi": "900"}, "BMI '900' is not possible here"),
        ({"shoe": "42"}, "there is no column 'shoe' here"),
        ({"seed": "abc"}, "seed 'abc' is not possible here"),
        ({"model": "../../etc"}, "there is no model '../../etc' here"),
    ],
)
def test_a_bad_address_gets_a_sentence_and_draws_nobody(app: AppTest, query: dict[str, str], sentence: str):
    explore(app, **query)
    assert not app.exception
    assert sentence[:1].upper() + sentence[1:] in app.warning[0].value
    assert not app.get("bidi_component")
    next(b for b in app.button if b.label == "Generate").click().run()
    assert not app.warning
    assert rows(app)


def test_no_model_and_a_damaged_model_are_said(app: AppTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(tmp_path))
    explore(app)
    assert not app.exception
    assert "no model here yet" in app.error[0].value
    config = {"format": "somatwin-checkpoint", "version": 1, "weights_sha256": "0"}
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text(json.dumps(config))
    for run in (lambda: explore(app), lambda: app.switch_page("app.py").run()):
        run()
        assert not app.exception
        assert "broken" in app.error[0].value
