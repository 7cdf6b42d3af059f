"""The command line and checkpoints: their cards, and damaged, foreign or missing ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.__main__ import main


def test_info_prints_the_card(checkpoint: str, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", checkpoint]) == 0
    card = (tiny_checkpoint / "tiny" / "model_card.md").read_text().rstrip()
    assert capsys.readouterr().out == f"{card}\n"
    assert main(["info", str(tiny_checkpoint / "tiny"), "--json"]) == 0
    stored = json.loads((tiny_checkpoint / "tiny" / "model_card.json").read_text())
    assert json.loads(capsys.readouterr().out) == stored
    assert stored["title"] in card


def flip_a_byte(folder: Path) -> None:
    weights = bytearray((folder / "weights.safetensors").read_bytes())
    weights[len(weights) // 2] ^= 1
    (folder / "weights.safetensors").write_bytes(weights)


def without(key: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        del config[key]
        (folder / "config.json").write_text(json.dumps(config))

    return remove


def text(name: str, content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(content) and None


def gone(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip_a_byte, "are not those it was saved with"),
        (text("weights.safetensors", "short"), "are not those it was saved with"),
        (text("config.json", '{"name": "something else"}'), "is not a Somatwin checkpoint"),
        (text("config.json", "[1, 2]"), "is not a Somatwin checkpoint"),
        (text("config.json", '{"format": "somatwin-ch'), "cannot be read as a checkpoint"),
        (text("model_card.json", "{"), "cannot be read as a checkpoint"),
        (gone("config.json"), "there is no checkpoint"),
        (gone("weights.safetensors"), "cannot be read as a checkpoint"),
        *((without(key), "lacks " + key) for key in ("affine", "name", "channels", "provenance")),
        *((without(key), "cannot be read as a checkpoint") for key in ("model", "schema", "weights_sha256")),
    ],
)
def test_a_damaged_or_foreign_checkpoint_is_refused(
    refused: Callable[..., str], tiny_run: Path, tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_run / "checkpoint", folder)
    damage(folder)
    assert words in refused("info", folder)
    assert words in refused("generate", folder, "--out", tmp_path / "out")


def test_info_prints_the_card_of_a_ruler_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "measure-head"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# ")
    assert main(["info", "measure-head", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["name"] == "measure-head"
    assert card["title"] in text


def test_a_missing_checkpoint_is_refused(refused: Callable[..., str], checkpoint: str) -> None:
    assert "there is no checkpoint 'torso'; at hand: tiny" in refused("bench", "torso")
