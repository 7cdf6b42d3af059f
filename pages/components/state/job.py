"""Work that goes on in a thread of its own while the reader looks at other pages, with progress and a way out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

from streamlit import runtime
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.scriptrunner import add_script_run_ctx, get_script_run_ctx

from engine.vocabulary.refusal import Refusal
from pages.components.state.generation import Report

Result = TypeVar("Result")

LOG = logging.getLogger(__name__)
#: seconds for which work goes on without anybody connected: a lost connection comes back within them
PATIENCE = 120.0
#: seconds after which a bar shows that it goes on although nothing was told
TICK = 1.0


class Stopped(Exception):
    """Raised inside the work when it is to end."""


def going_on(text: str, seconds: float) -> str:
    """What a bar says when for some ``seconds`` nothing new was told.

    >>> going_on("Measuring", 0.3), going_on("Measuring", 3.2)
    ('Measuring', 'Measuring · 3 s in this stage')
    """
    return text if seconds < TICK else f"{text} · {seconds:.0f} s in this stage"


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
        self._told = time.monotonic()
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

    @property
    def words(self) -> str:
        """Its ``text``, and for how long nothing else was told."""
        return going_on(self.text, time.monotonic() - self._told)

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
        self.share, self.text, self._told = min(share, 1.0), text, time.monotonic()

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


@contextmanager
def alive(show: Callable[[float, str], object]) -> Iterator[Report]:
    """Lends what ``show`` is told through, in this thread; while nothing new is told, another one shows the last again with the
    seconds since, every :data:`TICK`, so that no bar stands still in a long stage."""
    said: list[tuple[float, str, float]] = []
    ended, one = threading.Event(), threading.Lock()

    def report(share: float, text: str) -> None:
        with one:
            said[:] = [(min(share, 1.0), text, time.monotonic())]
            show(*said[0][:2])

    def tick() -> None:
        while not ended.wait(TICK):
            with one:
                if said and not ended.is_set():
                    share, text, when = said[0]
                    show(share, going_on(text, time.monotonic() - when))

    thread = threading.Thread(target=tick, daemon=True)
    add_script_run_ctx(thread)
    thread.start()
    try:
        yield report
    finally:
        ended.set()


@contextmanager
def bars(places: Sequence[DeltaGenerator | None], stop: Callable[[], None]) -> Iterator[Report]:
    """A bar with a Stop button in each of the places that there are; lends what moves them all (:func:`alive`)."""
    shown = []
    for k, place in enumerate(place for place in places if place is not None):
        row = place.container(horizontal=True, vertical_alignment="center")
        shown.append(row.progress(0.0, "Starting"))
        row.button("Stop", key=f"stop {k}", on_click=stop, type="tertiary", icon=":material/stop_circle:")

    def show(share: float, text: str) -> None:
        for bar in shown:
            bar.progress(share, text)

    with alive(show) as report:
        yield report


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
