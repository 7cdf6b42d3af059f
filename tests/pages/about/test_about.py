"""The About page: what it tells comes from the checkpoints, the viewer's own list of keys, and real commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from engine.cli.arguments import parser
from pages.components.about.work import KEYS, citation, energy, origin, purpose, shortcuts, training_time
from pages.components.parts.checkpoint_cards import kept_checkpoints
from tests.pages.conftest import ROOT

PAGE = "pages/8_About.py"


@pytest.fixture
def models(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model whose card thanks somebody and states its energy, a damaged one, and a folder that is none."""
    for name in ("good", "damaged"):
        shutil.copytree(tiny_run / "checkpoint", tmp_path / name)
    card = json.loads((tmp_path / "good" / "model_card.json").read_text())
    card["trained_on"]["acknowledgement"] = "Thanks to everybody."
    card["training"] |= {"minutes": 3, "device": "cpu", "energy_kwh": 0.02}
    (tmp_path / "good" / "model_card.json").write_text(json.dumps(card))
    with (tmp_path / "damaged" / "weights.safetensors").open("ab") as file:
        file.write(b"x")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(tmp_path))
    return tmp_path


def test_checkpoints_are_told_by_their_own_cards(models: Path):
    damaged, good = kept_checkpoints()
    assert (damaged.name, damaged.intact(), good.name, good.intact()) == ("damaged", False, "good", True)
    assert training_time(good.card) == "3 minutes on cpu"
    assert energy(good.card) == "energy kwh: 0.02"
    assert energy({"training": {"minutes": 3}}) == ""
    assert training_time({"training": {"device": "cpu"}}) == "", "a device alone is no time"
    told = origin(good)
    assert (told["Training"], told["Energy"]) == ("3 minutes on cpu", "energy kwh: 0.02")
    assert not {"Training", "Energy"} & origin(damaged).keys(), "what is not recorded is left out"
    assert f"good (weights {good.digest})" in citation([good])
    assert citation([good]).endswith("Thanks to everybody.")


def test_a_checkpoint_is_said_to_do_what_it_does(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SOMATWIN_CHECKPOINTS", raising=False)
    found = {kept.name: purpose(kept) for kept in kept_checkpoints()}
    assert found["head-t1"] == "draws people"
    assert found["measure-head"] == "measures scans"
    assert found["features-head"] == "compares scans"
    assert found["anatomy-torso"] == "shapes in-silico bodies"


def test_the_keys_are_those_the_viewer_obeys():
    keys = dict(shortcuts())
    assert keys["R"] == "reset"
    lines = sum(path.read_text().count("words:") for path in KEYS)
    assert len(keys) == lines, "a line of the viewer's lists was not read"


def test_the_page_shows_hashes_licences_keys_and_commands_that_exist(models: Path):
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).switch_page(PAGE).run()
    assert not app.exception
    table = app.table[0].value
    assert table.loc["good", "On disk"] == "as saved"
    assert table.loc["damaged", "On disk"] == "damaged: restore it"
    assert list(table.columns) == ["Does", "Weights", "On disk"], "no wider than a phone"
    assert len(table.loc["good", "Weights"]) == 12
    commands, cited = app.code
    for line in commands.value.splitlines():
        words = line.removeprefix("uv run somatwin ").split()
        assert parser().parse_args(words).command == words[0]
    assert "Thanks to everybody." in cited.value
    shown = {key for part in app.table[1:] for key in part.value.index}
    assert {"`R`", "`-` `+`"} <= shown


def test_without_checkpoints_the_page_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(tmp_path / "none"))
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).switch_page(PAGE).run()
    assert not app.exception
    assert "There is no checkpoint here yet." in app.info[0].value
