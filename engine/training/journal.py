"""What a run directory tells of its training while it goes on and afterwards: one line of JSON an event.

``progress.jsonl`` holds, for each time the training was started, a line ``begin`` (what was asked for, and the process), lines
``progress``, a line ``stopping`` where it was asked to stop, and a line ``end``. Whoever trains holds a lock on the file, so
that a training is known to be going on exactly as long as it does. No torch is needed to read it.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from engine.vocabulary.refusal import Refusal

FILE = "progress.jsonl"
#: seconds between two lines of progress: at least, and as a share of what the stage took so far
LEAST, SHARE = 1.0, 0.002
#: seconds for which a lock is waited for: a reader's look takes far less
PATIENCE = 1.0
_stop = threading.Event()


class JournalError(Refusal):
    """A run directory in which a training goes on already."""


def stop_asked() -> bool:
    """Was the training of this process asked to stop? A loop then saves after the step at hand and ends."""
    return _stop.is_set()


@dataclass
class Journal:
    """An open journal. Lines are written whole, by one call, also from a signal handler."""

    descriptor: int
    due: float = 0.0
    place: dict[str, Any] = field(default_factory=dict)
    pending: dict[str, list[float]] = field(default_factory=dict)

    def progress(self, stage: str, step: int, total: int, seconds: float, losses: Mapping[str, float]) -> None:
        """Note where a stage is; most calls are averaged into the next line of the stage."""
        begins = stage != self.place.get("stage")
        if begins and self.pending:
            self._line()
        for name, value in losses.items():
            self.pending.setdefault(name, []).append(value)
        self.place = {"stage": stage, "step": step, "total": total, "seconds": round(seconds, 2)}
        if begins or step >= total or time.monotonic() >= self.due:
            self.due = time.monotonic() + max(LEAST, SHARE * seconds)
            self._line()

    def _line(self) -> None:
        means = {name: sum(values) / len(values) for name, values in self.pending.items()}
        self.pending = {}
        self.write("progress", {**self.place, "losses": {name: float(f"{mean:.5g}") for name, mean in means.items()}})

    def write(self, event: str, facts: Mapping[str, Any]) -> None:
        line = json.dumps({"event": event, "time": round(time.time(), 2), **facts})
        os.write(self.descriptor, f"{line}\n".encode())


@contextmanager
def recording(run_dir: Path, asked: Mapping[str, Any], *, leads: bool = True) -> Iterator[Journal]:
    """Keep a journal of a training that ``asked`` for something (plain values), and let it be stopped. A rank that does not lead
    writes its lines nowhere.

    SIGINT and SIGTERM end it after the step at hand, saved (:func:`stop_asked`); a second one at once. Raises
    :class:`JournalError` where another process trains in ``run_dir``.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    path = run_dir / FILE if leads else Path(os.devnull)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        if leads and not _locked(descriptor):
            raise JournalError(f"another process trains in {run_dir}: wait for it, stop it, or choose a new --run-dir")
        journal = Journal(descriptor)
        if leads:
            _mend(descriptor)
        journal.write("begin", {"pid": os.getpid(), **asked})
        with _stoppable(journal):
            try:
                yield journal
            except KeyboardInterrupt:
                journal.write("end", {"outcome": "stopped"})
                raise
            except Exception as error:
                reason = " ".join(str(error).split()) or type(error).__name__
                journal.write("end", {"outcome": "failed", "reason": reason})
                raise
            journal.write("end", {"outcome": "finished"})
    finally:
        os.close(descriptor)


def read(run_dir: Path) -> list[dict[str, Any]]:
    """The events so far; none where there is no journal. A line cut short by a crash is left out."""
    try:
        text = (run_dir / FILE).read_text("utf-8", errors="replace")
    except OSError:
        return []
    events = []
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event and "time" in event:
            events.append(event)
    return events


def training_now(run_dir: Path) -> bool:
    """Does a process train in the directory?"""
    try:
        descriptor = os.open(run_dir / FILE, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _locked(descriptor: int) -> bool:
    """Take the lock that only one process can hold."""
    patience = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() > patience:
                return False
            time.sleep(0.05)


def _mend(descriptor: int) -> None:
    """End a line that a crash cut short."""
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.write(descriptor, b"\n")


@contextmanager
def _stoppable(journal: Journal) -> Iterator[None]:
    """Turn the first signal into :func:`stop_asked`; only a process's main thread can."""

    def stop(number: int, frame: FrameType | None) -> None:
        if _stop.is_set():
            raise KeyboardInterrupt
        _stop.set()
        journal.write("stopping", {})

    _stop.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _stop.clear()
