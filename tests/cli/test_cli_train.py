"""The command line's ``train``: it resumes, says where it is, and every bad input is one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

import engine
import engine.evaluation.bench.energy
import engine.training.pipeline
import engine.training.run
from engine.__main__ import main
from engine.cohort.store import CohortStore


@pytest.mark.slow
def test_train_resumes_and_prints_losses_and_time_left(
    tiny_store: CohortStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    argv = ["train", "tiny", str(tiny_store.path), "--run-dir", str(run), "--device", "cpu"]
    assert main([*argv, "--minutes", "0.00001"]) == 0
    first = capsys.readouterr()
    assert first.out == f"{run / 'checkpoint'}\n"
    assert "autoencoder 1 of 40, reconstruction " in first.err
    assert "flow 1 of 60, image " in first.err
    assert all(line.endswith(" s left") for line in first.err.splitlines())
    assert main(argv) == 0
    second = capsys.readouterr().err
    assert "autoencoder" not in second
    assert "flow 60 of 60, image " in second
    model = engine.load(run / "checkpoint")
    assert model.checkpoint.config.provenance["flow_steps"] == 60
    used = json.loads((run / "energy.json").read_text("utf-8"))
    assert used["seconds"] > 0
    assert model.card["energy of training"]["kwh"] == pytest.approx(used["kwh"], rel=0.01), "both calls together"


def test_what_cannot_be_trained_is_refused(
    refused: Callable[..., str], tiny_store: CohortStore, tmp_path: Path
) -> None:
    run, store = ("--run-dir", tmp_path / "run"), tiny_store.path
    assert (
        "there is no recipe 'arm'; the recipes are head_t1, head_t1_1mm, torso_dixon, torso_dixon_hd, heart_cine, tiny"
        in refused("train", "arm", store, *run)
    )
    assert "is not a store; ingest a data set first" in refused("train", "tiny", tmp_path / "none", *run)
    assert "ingest it with --recipe head_t1" in refused("train", "head_t1", store, *run)
    assert "-1.0 minutes are no time" in refused("train", "tiny", store, *run, "--minutes", "-1")
    assert "invalid choice: 'huge'" in refused("train", "tiny", store, *run, "--size", "huge")
    for recipe in ("tiny", "table", "features_torso"):
        text = f"{recipe} does not train on computed persons; leave --persons 3 out"
        assert text in refused("train", recipe, tmp_path / "none", *run, "--persons", "3")
    assert "n is 0; ask for one" in refused("train", "torso_dixon", tmp_path / "none", *run, "--persons", "0")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "run.json").write_text('{"recipe": {}}')
    assert "another recipe, store or start" in refused("train", "tiny", store, "--run-dir", tmp_path / "other")
    (tmp_path / "file").write_text("in the way")
    assert "cannot be used (" in refused("train", "tiny", store, "--run-dir", tmp_path / "file" / "run")


@pytest.mark.parametrize("error", [SafetensorError("I/O error: No space left (os error 28)"), OSError(28, "No space")])
def test_training_on_a_full_disk_is_one_sentence(
    tiny_store: CohortStore,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(engine.training.run, "save_file", full)
    argv = ["train", "tiny", str(tiny_store.path), "--run-dir", str(tmp_path / "run"), "--minutes", "0.00001"]
    assert main(argv) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "autoencoder.safetensors cannot be written (" in said.err.splitlines()[-1]
    assert "No space" in said.err
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["energy.json", "progress.jsonl", "run.json"]


def test_computed_persons_are_made_first_and_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun: list[tuple[int, float]] = []

    def train(recipe: Any, store: CohortStore, run_dir: Path, *, minutes: float, **_: Any) -> Iterator[Any]:
        begun.append((len(store), minutes))
        return iter(())

    monkeypatch.setattr(engine.training.pipeline, "train", train)
    monkeypatch.setattr(engine.evaluation.bench.energy, "energy_into_card", lambda run_dir: None)
    argv = ["train", "torso_dixon", str(tmp_path / "store"), "--run-dir", str(tmp_path / "run"), "--persons", "2"]
    assert main([*argv, "--minutes", "0.0001"]) == 2
    assert "persons took" in capsys.readouterr().err.splitlines()[-1]
    assert main([*argv, "--minutes", "5"]) == 0
    assert begun == [(2, 5.0)]
