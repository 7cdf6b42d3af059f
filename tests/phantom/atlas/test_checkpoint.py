"""An anatomy on disk: read again it is the same; missing, damaged or unknown is one sentence with the remedy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.checkpoints.files import CheckpointError
from engine.phantom.atlas.checkpoint import load_anatomy, save_anatomy
from engine.storage import strict_json
from engine.vocabulary.refusal import ConfigError
from tests.phantom.atlas.balls import CLASSES


@pytest.fixture
def copy(learned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(learned / "checkpoint", tmp_path / "anatomy-torso"))


def said(path: Path, change: Callable[[dict], object]) -> None:
    """Change what config.json says."""
    config = strict_json.read(path / "config.json")
    change(config)
    (path / "config.json").write_text(strict_json.text_of(config))


def test_what_was_saved_is_read(copy: Path) -> None:
    anatomy = load_anatomy(copy)
    assert anatomy.fields.keys() == {"body"}
    assert anatomy.fields["body"].config.classes == CLASSES
    assert anatomy.extras["basis"].dtype == torch.float16
    assert anatomy.extras["basis"].tolist() == [0, 1, 2, 3, 4, 5]
    assert len(anatomy.digest) == 12
    for words in ("not for diagnosis", "The Database Center for Life Science", "CC0", "CC BY 4.0"):
        assert words in str(anatomy.card)


def test_saved_again_it_decodes_the_same(copy: Path, tmp_path: Path) -> None:
    first = load_anatomy(copy)
    save_anatomy(tmp_path / "again", first.fields, first.extras, first.card, {})
    again = load_anatomy(tmp_path / "again")
    np.testing.assert_array_equal(again.fields["body"].decode(), first.fields["body"].decode())
    assert not again.fields["body"].training


def test_it_is_read_once_while_it_stays(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(tmp_path))
    assert load_anatomy() is load_anatomy(copy)
    first = load_anatomy()
    save_anatomy(copy, first.fields, {}, first.card, {})
    assert load_anatomy() is not first
    assert not load_anatomy().extras


def test_a_missing_one_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=f"no learned anatomy at {tmp_path}/none; .*somatwin train anatomy FOLDER"
    ):
        load_anatomy(tmp_path / "none")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(version=2), "has anatomy version 2, this program reads 1; update Somatwin"),
        (lambda c: c.update(version="one"), "has anatomy version one"),
        (lambda c: c.update(format="somatwin-measure"), "is no learned anatomy; restore it, or make it with"),
        (lambda c: c.update(weights_sha256="0"), "are not those it was saved with; restore it"),
        (lambda c: c["fields"]["body"].update(hue=1), "cannot be read as a learned anatomy .*hue.*; restore it"),
        (lambda c: c["fields"]["body"].update(width=16), "cannot be read as a learned anatomy .*; restore it"),
        (lambda c: c["fields"]["body"].update(shape=[99, 99, 99]), "bytes where the sizes make it .*; restore it"),
        (lambda c: c["fields"].update(arm=c["fields"]["body"]), "cannot be read as a learned anatomy"),
        (lambda c: c.pop("fields"), "cannot be read as a learned anatomy .*fields.*; restore it"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(copy: Path, change: Callable[[dict], object], words: str) -> None:
    said(copy, change)
    with pytest.raises(CheckpointError, match=words) as error:
        load_anatomy(copy)
    assert str(copy) in str(error.value)
    assert "\n" not in str(error.value)


def test_damaged_weights_are_a_sentence(copy: Path) -> None:
    weights = copy / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"the weights in .* are not those it was saved with"):
        load_anatomy(copy)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"cannot be read as a learned anatomy .*somatwin train anatomy FOLDER"):
        load_anatomy(copy)
    (copy / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read as a learned anatomy"):
        load_anatomy(copy)


def test_a_name_that_tensors_could_not_tell_is_refused(learned: Path, tmp_path: Path) -> None:
    anatomy = load_anatomy(learned / "checkpoint")
    with pytest.raises(ConfigError, match=r"'body\.left'; give names without dots"):
        save_anatomy(tmp_path / "x", {"body.left": anatomy.fields["body"]}, {}, anatomy.card, {})
