"""The command line's ``train anatomy``: from a folder of geometry to a checkpoint with its card; a wrong folder is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.__main__ import main
from engine.phantom.atlas.checkpoint import load_anatomy
from engine.training import recipes
from engine.training.run import Progress
from engine.training.stages.anatomy.fit import train_anatomy
from tests.phantom.atlas.balls import BRIEF, RECIPE, balls

BRIEFLY = replace(RECIPE, body=replace(BRIEF, steps=3))


def briefly(folder: Path, run_dir: Path, *, minutes: float | None = None) -> Iterator[Progress]:
    return train_anatomy(BRIEFLY, {"body": balls()}, run_dir, minutes=minutes)


def test_an_anatomy_is_trained_by_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It resumes, prints where the checkpoint lies, and the checkpoint is read and has its card."""
    known = balls()
    monkeypatch.setitem(recipes.SHAPES, "anatomy", briefly)
    argv = ["train", "anatomy", str(tmp_path), "--run-dir", str(tmp_path / "run")]
    assert main([*argv, "--minutes", "0.00001"]) == 0
    first = capsys.readouterr()
    assert first.out == f"{tmp_path / 'run' / 'checkpoint'}\n"
    assert "anatomy_body 1 of 3, entropy " in first.err
    assert main(argv) == 0
    second = capsys.readouterr().err
    assert "anatomy_body 3 of 3, entropy " in second
    assert "judge body 1 of 1, accuracy " in second

    anatomy = load_anatomy(tmp_path / "run" / "checkpoint")
    assert anatomy.fields["body"].decode().shape == known.labels.shape
    assert "energy of training" in anatomy.card
    assert main(["info", str(tmp_path / "run" / "checkpoint")]) == 0
    assert capsys.readouterr().out.startswith("# Learned anatomy of the in-silico torso")


def test_what_it_cannot_use_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    run = ("--run-dir", tmp_path / "run")
    said = refused("train", "anatomy", tmp_path / "none", *run)
    assert f"{tmp_path / 'none' / 'bodyparts' / 'bodyparts_trunk.npz'} cannot be read" in said
    assert "give the folder that holds the anatomy" in said
    said = refused("train", "anatomy", tmp_path, *run, "--from", "torso-dixon")
    assert "anatomy starts from nothing; leave --from torso-dixon out" in said
    said = refused("train", "anatomy", tmp_path, *run, "--persons", "3")
    assert "anatomy does not train on computed persons; leave --persons 3 out" in said
