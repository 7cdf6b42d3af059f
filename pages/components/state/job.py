"""Work that goes on in a thread of its own while the reader looks at other pages, with progress and a way out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from streamlit import runtime
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.scriptrunner import get_script_run_ctx

from engine.vocabulary.refusal import Refusal
from pages.components.state.generation import Report

Result = TypeVar("Result")

LOG = logging.getLogger(__name__)
#: seconds for which work goes on without anybody connected: a lost connection comes back within them
PATIENCE = 120.0


class Stopped(Exception):
    """Raised inside the work when it is to end."""


class Job(Generic[Result]):
    """``work(report)`` in a thread. Every call of ``report`` is a point at which it can be stopped.

    ``share`` (0 to 1) and ``text`` are its progress, ``result`` what it returned, ``problem`` what was refused, as a sentence
    without its full stop; any other error is a bug, which :meth:`check` raises where it is seen. ``wanted`` is asked at
    every report: when it says no, the work ends as by :meth:`stop`.
    """

    def __init__(self, work: Callable[[Report], Result], wanted: Callable[[], bool] = lambda: True) -> None:
        self.share = 0.0
        self.text = "Starting"
        self.problem = ""
        self.result: Result | None = None
        self._bug: Exception | None = None
        self._wanted, self._stopped = wanted, threading.Event()
        self._thread = threading.Thread(target=self._carry_out, args=(work,), daemon=True)
        self._thread.start()

    @property
    def active(self) -> bool:
        """Does it go on, be it to its next point to stop at?"""
        return self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        return self.active and self._stopped.is_set()

    def stop(self) -> None:
        """End at the next report; what the work has kept stays."""
        self._stopped.set()

    def join(self, seconds: float | None = None) -> None:
        """Wait for its end."""
        self._thread.join(seconds)

    def check(self) -> None:
        """Raise :class:`RuntimeError` from the bug that ended the work, if one did."""
        if self._bug is not None:
            raise RuntimeError("the work in the background ended with a bug") from self._bug

    def _report(self, share: float, text: str) -> None:
        if self._stopped.is_set() or not self._wanted():
            raise Stopped
        self.share, self.text = min(share, 1.0), text

    def _carry_out(self, work: Callable[[Report], Result]) -> None:
        try:
            self.result = work(self._report)
        except Stopped:
            self._stopped.set()
        except Refusal as error:
            self.problem = str(error)
        except Exception as error:
            self._bug = error
            LOG.exception("work in the background ended with a bug")


def bars(places: Sequence[DeltaGenerator | None], stop: Callable[[], None]) -> Report:
    """A bar with a Stop button in each of the places that there are; returns what moves them all."""
    shown = []
    for k, place in enumerate(place for place in places if place is not None):
        row = place.container(horizontal=True, vertical_alignment="center")
        shown.append(row.progress(0.0, "Starting"))
        row.button("Stop", key=f"stop {k}", on_click=stop, type="tertiary", icon=":material/stop_circle:")

    def report(share: float, text: str) -> None:
        for bar in shown:
            bar.progress(min(share, 1.0), text)

    return report


def session_is_open(patience: float = PATIENCE) -> Callable[[], bool]:
    """Tells, from any thread, whether the session that asks for it is still there; one that lost its connection is for
    ``patience`` seconds. Without a server (in tests) it always is."""
    context = get_script_run_ctx()
    if context is None or not runtime.exists():
        return lambda: True
    server = runtime.get_instance()
    name = context.session_id
    seen = [time.monotonic()]

    def is_open() -> bool:
        if server.is_active_session(name):
            seen[0] = time.monotonic()
        return time.monotonic() - seen[0] < patience

    return is_open
