"""Checkpoints: what is saved is what is loaded, and anything else is refused."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import engine
from engine.checkpoints import checkpoint as module
from engine.checkpoints.card import write_card
from engine.checkpoints.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from engine.storage.whole import file_sha256


@pytest.fixture
def copy(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run / "checkpoint", tmp_path / "copy"))


def save_again(path: Path, into: Path) -> None:
    old = load_checkpoint(path)
    c = old.config
    save_checkpoint(
        into,
        old.model,
        name=c.name,
        title=c.title,
        affine=old.affine,
        channels=c.channels,
        preprocess=c.preprocess,
        provenance=c.provenance,
        guidance=c.guidance,
    )


def test_save_and_load_is_the_identity(copy: Path, tmp_path: Path) -> None:
    save_again(copy, tmp_path / "again")
    first, second = engine.load(copy, "cpu"), engine.load(tmp_path / "again", "cpu")
    assert first.digest == second.digest
    assert (copy / "weights.safetensors").read_bytes() == (tmp_path / "again" / "weights.safetensors").read_bytes()
    assert first.schema == second.schema
    a, b = first.generate(seed=5)[0], second.generate(seed=5)[0]
    assert np.array_equal(a.volume.data, b.volume.data)
    assert a.attributes == b.attributes


def test_weights_are_half_size_and_standardisation_is_exact(copy: Path) -> None:
    tensors = load_file(copy / "weights.safetensors")
    assert tensors["autoencoder.head.weight"].dtype == torch.bfloat16
    assert tensors["rotation"].dtype == torch.float32


def test_a_changed_byte_is_refused(copy: Path) -> None:
    data = bytearray((copy / "weights.safetensors").read_bytes())
    data[-5] ^= 1
    (copy / "weights.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match="not those it was saved with"):
        engine.load(copy, "cpu")


@pytest.mark.parametrize(
    ("file", "text"),
    [("config.json", "{"), ("config.json", "[]"), ("config.json", '{"format": "other"}'), ("model_card.json", "")],
)
def test_foreign_files_are_refused_with_one_sentence(copy: Path, file: str, text: str) -> None:
    (copy / file).write_text(text)
    with pytest.raises(CheckpointError) as error:
        engine.load(copy, "cpu")
    assert "\n" not in str(error.value)


def test_unknown_configuration_keys_are_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["model"]["flow"]["colour"] = "red"
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="colour"):
        engine.load(copy, "cpu")


def test_a_checkpoint_from_before_rows_had_a_network_is_read(copy: Path) -> None:
    tensors = {k: v for k, v in load_file(copy / "weights.safetensors").items() if not k.startswith("rows.")}
    save_file(tensors, copy / "weights.safetensors")
    config = json.loads((copy / "config.json").read_text())
    del config["model"]["rows"]
    config["weights_sha256"] = file_sha256(copy / "weights.safetensors")
    (copy / "config.json").write_text(json.dumps(config))
    model = engine.load(copy, "cpu")
    assert model.checkpoint.model.rows is None
    assert model.generate(n=1, given={"age": 50}, seed=3)[0].attributes["age"] == 50


def test_weights_of_another_size_are_refused(copy: Path) -> None:
    tensors = load_file(copy / "weights.safetensors")
    tensors["rotation"] = torch.eye(3)
    save_file(tensors, copy / "weights.safetensors")
    config = json.loads((copy / "config.json").read_text())
    config["weights_sha256"] = file_sha256(copy / "weights.safetensors")
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        engine.load(copy, "cpu")


def test_missing_names_what_is_at_hand(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(tiny_checkpoint))
    assert engine.checkpoints() == ["tiny"]
    with pytest.raises(CheckpointError, match="'nobody'; at hand: tiny"):
        engine.load("nobody")


def test_a_full_disk_leaves_the_old_checkpoint(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {p.name: p.read_bytes() for p in copy.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(CheckpointError, match="No space left"):
        save_again(copy, copy)
    assert {p.name: p.read_bytes() for p in copy.iterdir()} == before
    assert [p.name for p in copy.parent.iterdir()] == ["copy"]


def test_the_ruler_is_not_called_foreign() -> None:
    ruler = Path(__file__).parents[2] / "checkpoints" / "measure-head"
    with pytest.raises(CheckpointError, match=r"draws nobody; its card is .*measure-head.model_card\.md$") as error:
        engine.load(ruler, "cpu")
    assert "not a Somatwin checkpoint" not in str(error.value)


def test_a_card_says_facts_within_facts_in_words(tmp_path: Path) -> None:
    write_card(tmp_path, {"name": "a", "title": "A", "trained_on": {"missing": {"age": "3.7%", "sex": "none"}}})
    assert "* missing: age 3.7%, sex none" in (tmp_path / "model_card.md").read_text().split("\n")
