"""Trainings as processes of their own: started, looked at, stopped, resumed, installed. The run directory is the truth."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamlit.delta_generator import DeltaGenerator

from engine.checkpoints.files import checkpoint_directory, directory
from engine.training.journal import FILE, read, training_now
from engine.vocabulary.refusal import Refusal
from pages.components.parts.facts import refused
from pages.components.state.page_address import PageAddress
from pages.components.state.session import kept

ROOT = Path(__file__).parents[3]
#: what the process says, beside the journal in the run directory
LOG = "train.log"
#: seconds in which a process has begun, networks imported; past them it is left to itself
PATIENCE = 120.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
#: states of a run that goes on
ACTIVE = ("running", "stopping")
Series = tuple[list[float], list[float]]


class TrainingError(Refusal):
    """A training that cannot be started or installed; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """What is to be trained: the ``recipe`` on a ``store`` (for tables a file), for at most ``minutes`` of this start; from
    the checkpoint ``source``, or from nothing; those persons for whom ``where`` is true, or all; within the privacy budget of
    ``epsilon`` and ``delta``, or without."""

    name: str
    recipe: str
    store: str
    minutes: float
    size: str = "cpu"
    source: str = ""
    where: str = ""
    epsilon: str = ""
    delta: str = ""

    @property
    def folder(self) -> Path:
        return runs_folder() / self.name

    def command(self) -> list[str]:
        """The command line of the process."""
        limits = ["--minutes", f"{self.minutes:g}", "--size", self.size]
        if self.source:
            limits += ["--from", self.source]
        if self.where:
            limits += ["--where", self.where]
        if self.epsilon:
            limits += ["--epsilon", self.epsilon]
        if self.delta:
            limits += ["--delta", self.delta]
        return [
            sys.executable,
            "-m",
            "engine",
            "train",
            self.recipe,
            self.store,
            "--run-dir",
            str(self.folder),
            *limits,
        ]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run directory at one moment.

    ``state`` is running, stopping, finished, stopped, failed or crashed. ``losses`` holds steps and values by stage and name,
    ``left`` the seconds to go (None: unknown), ``reason`` why it failed.
    """

    name: str
    folder: Path
    state: str
    asked: Mapping[str, Any]
    began: float = 0.0
    heard: float = 0.0
    stage: str = ""
    step: int = 0
    total: int = 0
    left: float | None = None
    reason: str = ""
    losses: Mapping[str, Mapping[str, Series]] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def checkpoint(self) -> Path | None:
        """The finished model, if there is one."""
        path = self.folder / "checkpoint"
        return path if (path / "config.json").is_file() else None

    def again(self, minutes: float) -> Training:
        """The same training, to be gone on with; raises :class:`TrainingError` where the journal does not say what it was."""
        if not {"recipe", "store"} <= self.asked.keys():
            raise TrainingError(f"{self.folder} does not say what was trained there: start it from the command line")
        keys = ("recipe", "store", "size", "where", "epsilon", "delta")
        said = {key: str(self.asked[key]) for key in keys if self.asked.get(key)}
        return Training(name=self.name, minutes=minutes, source=str(self.asked.get("from") or ""), **said)


def runs_folder() -> Path:
    """Where runs are kept: ``$SOMATWIN_RUNS``, or ``runs`` of the clone."""
    return Path(os.environ.get("SOMATWIN_RUNS") or ROOT / "runs").absolute()


def runs() -> list[Run]:
    """All runs with a journal, the one heard of last first."""
    found = [look(file.parent) for file in runs_folder().glob(f"*/{FILE}")]
    return sorted(found, key=lambda run: -run.heard)


def look(folder: Path) -> Run:
    """What a run directory says now."""
    alive = training_now(folder)
    events = read(folder)
    begins = [k for k, event in enumerate(events) if event["event"] == "begin"]
    if not begins:
        return Run(
            name=folder.name,
            folder=folder,
            state="running" if alive else "crashed",
            asked={},
            reason=last_words(folder),
        )
    asked, since = events[begins[-1]], events[begins[-1] :]
    steps = [event for event in events if event["event"] == "progress"]
    learnt = [event for event in steps if event["losses"]]
    last = next(iter((steps if alive else learnt)[-1:]), {})
    end = next((event for event in since if event["event"] == "end"), {})
    if alive:
        state = "stopping" if any(event["event"] == "stopping" for event in since) else "running"
    else:
        state = str(end.get("outcome", "crashed"))
    reason = str(end.get("reason", "")) if end or alive else last_words(folder)
    current = last if last in since else {}
    return Run(
        name=folder.name,
        folder=folder,
        state=state,
        asked=asked,
        began=float(asked["time"]),
        heard=float(events[-1]["time"]),
        stage=str(last.get("stage", "")),
        step=int(last.get("step", 0)),
        total=int(last.get("total", 0)),
        left=time_left(asked, current, time.time()) if alive else None,
        reason=reason,
        losses=curves(steps),
    )


def time_left(asked: Mapping[str, Any], last: Mapping[str, Any], now: float) -> float | None:
    """Seconds until the time limit or the last step of the last stage, whichever is first; None where neither is known.

    >>> time_left({"time": 0, "minutes": 1}, {"stage": "flow", "step": 50, "total": 60, "seconds": 100, "time": 20}, 20)
    20.0
    """
    limits = [float(asked["time"]) + 60 * float(asked["minutes"]) - now] if asked.get("minutes") else []
    if last.get("stage") in ("flow", "texture") and last["step"]:
        limits.append((last["total"] - last["step"]) * last["seconds"] / last["step"] - (now - last["time"]))
    return max(0.0, min(limits)) if limits else None


def curves(steps: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Series]]:
    """Losses by stage and name; steps that a crash undid are left out."""
    found: dict[str, dict[str, Series]] = {}
    for event in steps:
        for name, value in event["losses"].items():
            xs, ys = found.setdefault(str(event["stage"]), {}).setdefault(str(name), ([], []))
            while xs and xs[-1] >= event["step"]:
                xs.pop()
                ys.pop()
            xs.append(event["step"])
            ys.append(value)
    return found


def last_words(folder: Path) -> str:
    """The last line that the process left behind."""
    try:
        lines = (folder / LOG).read_text("utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip().removeprefix("somatwin: ") for line in reversed(lines) if line.strip()), "")


def start(training: Training, waiting: Callable[[float], object] = lambda seconds: None) -> None:
    """Start or resume a training that outlives this process; returns once it has begun.

    ``waiting`` is called while its networks are imported. Raises :class:`TrainingError` with what the process said when it
    ended before it had begun.
    """
    if not NAME.fullmatch(training.name):
        raise TrainingError(f"{training.name!r} is no name for a run: use letters, digits, dots and dashes, 64 at most")
    folder = training.folder
    if training_now(folder):
        raise TrainingError(f"{training.name} is being trained already: stop it first, or choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    known = len(read(folder))
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(
            training.command(), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    threading.Thread(target=process.wait, daemon=True).start()  # so that it is no zombie when it has ended
    began = time.monotonic()
    while len(read(folder)) == known and time.monotonic() - began < PATIENCE:
        if process.poll() is not None and len(read(folder)) == known:
            words = last_words(folder)
            if not known:
                _forget(folder)
            raise TrainingError(words or "the training ended before it had begun")
        waiting(time.monotonic() - began)
        time.sleep(0.1)


def _forget(folder: Path) -> None:
    """Remove what a refused start left: its log, and the folder if nothing else is in it."""
    (folder / LOG).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def stop(run: Run) -> None:
    """Ask a training to end after the step at hand, saved; asked again, it ends at once."""
    if training_now(run.folder) and (process := run.asked.get("pid")):
        os.kill(int(process), signal.SIGTERM)


def install(run: Run, name: str) -> Path:
    """Copy a finished checkpoint to where models are looked for; raises :class:`TrainingError` rather than overwrite."""
    source, target = run.checkpoint, directory() / name
    if source is None:
        raise TrainingError(f"{run.name} has no finished checkpoint yet: let it train to its end")
    if not NAME.fullmatch(name):
        raise TrainingError(f"{name!r} is no name for a model: use letters, digits, dots and dashes, 64 at most")
    if target.exists():
        raise TrainingError(f"there is a checkpoint {name} already: choose another name")
    with checkpoint_directory(target) as part:
        for file in source.iterdir():
            shutil.copy2(file, part / file.name)
    return target


@dataclass
class Visit:
    """What Train keeps: the ``problem`` to say once, the run to ``go_to`` next, and the page's ``address``."""

    problem: str = ""
    go_to: str = ""
    address: PageAddress = field(default_factory=PageAddress)


def visit() -> Visit:
    return kept("train", Visit)


def launch(training: Training, status: DeltaGenerator) -> bool:
    """Start or resume; says what is going on, and whether it has begun."""
    bar = status.progress(0.0, "Starting")
    try:
        start(training, lambda seconds: bar.progress(min(0.95, seconds / 20), f"Starting, {seconds:.0f} s"))
    except (TrainingError, OSError) as error:
        visit().problem = refused(error)
        return False
    finally:
        bar.empty()
    visit().problem = ""
    return True
