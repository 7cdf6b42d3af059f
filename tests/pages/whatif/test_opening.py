"""What if opens with the example of the checkpoint, marked as such, and draws nobody unasked."""

from __future__ import annotations

from pathlib import Path

from streamlit.testing.v1 import AppTest

from tests.pages.test_words import app, folder  # noqa: F401
from tests.pages.whatif.test_whatif import captions, press, scene, visited


def test_the_example_is_shown_and_drawn_when_asked(app: AppTest, folder: Path):  # noqa: F811
    visited(app, model="tiny")
    assert "Example, drawn beforehand" in app.info[0].value
    assert app.session_state["whatif"].answers == {}
    assert not app.get("bidi_component")
    assert len(app.get("image")) == 2
    said = captions(app)
    assert "**Before: Age 30.** Synthetic, not for diagnosis: female, 30, seed 0" in said
    assert "**What if: Age 35.** Synthetic, not for diagnosis: female, 35, seed 1" in said
    assert "An example, to begin with:" in said
    table = app.table[0].value
    assert list(table.loc["Brain, mL", ["Before", "What if"]]) == ["50", "51"]
    assert dict(app.query_params) == {"model": "tiny"}
    press(app, "Draw")
    header, _ = scene(app)
    ages = [next(row["value"] for row in one["rows"] if row["name"] == "age") for one in header["people"]]
    assert (header["compare"], ages) == (True, ["30", "35"])
    assert not app.info
    assert app.query_params["hold"] == "ethnicity,height,sex"


def test_an_address_is_drawn_at_once(app: AppTest):  # noqa: F811
    visited(app, model="tiny", age="40", seed="3", steps="1")
    assert not app.info
    assert scene(app)[0]["compare"] is True
