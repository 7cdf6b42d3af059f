"""The journal of a training: what it says, who may write it, and that a stopped training goes on where it was."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from engine.__main__ import main
from engine.cohort.store import CohortStore
from engine.training import journal
from engine.training.journal import FILE, JournalError, read, recording, training_now
from engine.training.run import Stage


def kinds(run: Path) -> list[str]:
    return [event["event"] for event in read(run)]


def test_lines_are_means_and_a_stage_ends_with_its_last_step(tmp_path: Path):
    with recording(tmp_path, {"recipe": "tiny"}) as notes:
        notes.progress("flow", 1, 100, 0.1, {"image": 4.0})
        notes.progress("flow", 50, 100, 0.2, {"image": 2.0})  # too soon for a line of its own
        notes.progress("flow", 100, 100, 0.3, {"image": 1.0})
    begin, first, last, end = read(tmp_path)
    assert (begin["event"], begin["recipe"], begin["pid"]) == ("begin", "tiny", os.getpid())
    assert (first["step"], first["losses"]) == (1, {"image": 4.0})
    assert (last["step"], last["total"], last["losses"]) == (100, 100, {"image": 1.5})
    assert (end["event"], end["outcome"]) == ("end", "finished")


def test_what_a_stage_had_still_to_say_is_not_put_into_the_next(tmp_path: Path):
    """A time limit ends a stage before its last step."""
    with recording(tmp_path, {}) as notes:
        notes.progress("flow", 50, 100, 0.1, {"image": 4.0})
        notes.progress("flow", 70, 100, 0.2, {"image": 2.0})
        notes.progress("fingerprint", 0, 1, 0.0, {})
    said = [(line["stage"], line["step"], line["losses"]) for line in read(tmp_path) if line["event"] == "progress"]
    assert said == [("flow", 50, {"image": 4.0}), ("flow", 70, {"image": 2.0}), ("fingerprint", 0, {})]


def test_only_one_process_trains_in_a_directory_and_it_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(journal, "PATIENCE", 0.0)
    assert not training_now(tmp_path)
    with recording(tmp_path, {}):
        assert training_now(tmp_path)
        with pytest.raises(JournalError, match="another process trains in"), recording(tmp_path, {}):
            pass
    assert not training_now(tmp_path)
    assert kinds(tmp_path) == ["begin", "end"]


def test_failure_is_noted_and_a_torn_line_is_left_out(tmp_path: Path):
    (tmp_path / FILE).write_bytes(b'{"event": "progress", "ti')
    with pytest.raises(ValueError, match="room"), recording(tmp_path, {}):
        raise ValueError("no\n room")
    assert kinds(tmp_path) == ["begin", "end"]
    assert (read(tmp_path)[-1]["outcome"], read(tmp_path)[-1]["reason"]) == ("failed", "no room")


@pytest.mark.parametrize(("stage", "step"), [("autoencoder", 7), pytest.param("flow", 23, marks=pytest.mark.slow)])
def test_a_stopped_training_goes_on_as_if_it_had_not_been(
    tiny_store: CohortStore, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, step: int
):
    """One signal ends it after the step at hand, saved; the checkpoint is then that of an uninterrupted training."""
    argv = ["train", "tiny", str(tiny_store.path), "--run-dir", str(tmp_path / "run"), "--device", "cpu"]
    advance, before = Stage.advance, signal.getsignal(signal.SIGTERM)

    def interrupted(self: Stage, loss: torch.Tensor, rate: float) -> None:
        if (self.name, self.step) == (stage, step):
            os.kill(os.getpid(), signal.SIGTERM)
        advance(self, loss, rate)

    with monkeypatch.context() as patch:
        patch.setattr(Stage, "advance", interrupted)
        assert main(argv) == 130
    assert signal.getsignal(signal.SIGTERM) is before
    assert [event for event in kinds(tmp_path / "run") if event != "progress"] == ["begin", "stopping", "end"]
    assert read(tmp_path / "run")[-1]["outcome"] == "stopped"
    assert main(argv) == 0
    assert read(tmp_path / "run")[-1]["outcome"] == "finished"
    first = next(e for e in read(tmp_path / "run")[::-1] if e["event"] == "begin")
    again = read(tmp_path / "run")
    steps = [e["step"] for e in again[again.index(first) :] if e.get("stage") == stage]
    assert min(steps) > step, "no step is taken twice"
    resumed, whole = (load_file(run / "checkpoint" / "weights.safetensors") for run in (tmp_path / "run", tiny_run))
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
