"""Work that goes on in a thread of its own while the reader looks at other pages, with progress and a way out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.components.state.generation import Report

#: seconds for which work goes on without anybody connected: a lost connection comes back within them
PATIENCE = 120.0


class Stopped(Exception):
    """Raised inside the work when it is to end."""


class Job:
    """``work(report)`` in a thread. Every call of ``report`` is a point at which it can be stopped.

    ``share`` (0 to 1) and ``text`` are its progress, ``result`` what it returned, ``problem`` why it failed, as a sentence
    without its full stop. ``wanted`` is asked at every report: when it says no, the work ends as by :meth:`stop`.
    """

    def __init__(self, work: Callable[[Report], Any], wanted: Callable[[], bool] = lambda: True) -> None:
        self.share, self.text, self.problem, self.result = 0.0, "Starting", "", None
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

    def _report(self, share: float, text: str) -> None:
        if self._stopped.is_set() or not self._wanted():
            raise Stopped
        self.share, self.text = min(share, 1.0), text

    def _carry_out(self, work: Callable[[Report], Any]) -> None:
        try:
            self.result = work(self._report)
        except Stopped:
            self._stopped.set()
        except ValueError as error:  # the engine's refusals, written to be read
            self.problem = str(error)
        except Exception as error:
            self.problem = f"it ended with {type(error).__name__}: {error}"
            raise


def session_is_open(patience: float = PATIENCE) -> Callable[[], bool]:
    """Tells, from any thread, whether the session that asks for it is still there; one that lost its connection is for
    ``patience`` seconds. Without a server (in tests) it always is."""
    context = get_script_run_ctx()
    if context is None or not runtime.exists():
        return lambda: True
    server, name, seen = runtime.get_instance(), context.session_id, [time.monotonic()]

    def is_open() -> bool:
        if server.is_active_session(name):
            seen[0] = time.monotonic()
        return time.monotonic() - seen[0] < patience

    return is_open
