"""What a user waits for before anything happens: a command in a new process, and the app until it shows a first picture."""

from __future__ import annotations

import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.evaluation.bench.sampling import machine, timing
from engine.evaluation.metrics.checks import EvaluationError
from engine.vocabulary.refusal import RequestError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[3]
#: seconds that a server, and then a picture, is waited for; and seconds between two looks
PATIENCE, LOOK = 180.0, 0.05
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
#: where a server of Streamlit says that it is there, and what a page shows that ended in an exception
HEALTH, ERROR = "/_stcore/health", "[data-testid=stException]"
#: whether a canvas of the viewer shows something: its brightest and its darkest dot are far apart
DRAWN = """canvases => canvases.some(canvas => {
  const context = canvas.width && canvas.height ? canvas.getContext("2d") : null;
  if (!context) return false;
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  let [low, high] = [255, 0];
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] < 255) continue;
    low = Math.min(low, data[i + 1]);
    high = Math.max(high, data[i + 1]);
  }
  return high - low > 60;
})"""


@dataclass(frozen=True, kw_only=True)
class Waited:
    """Seconds on the clock, and of CPU time of the process waited for, which what else runs hardly lengthens."""

    seconds: float
    cpu_seconds: float


class NoBrowser(EvaluationError):
    """There is no browser to look at the app with; the message says what is missing."""


def benchmark_start(
    checkpoint: str | Path = "head-t1",
    *,
    runs: int = 5,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Seconds of ``somatwin info`` in a new process, and of a new server of the app until Explore shows a picture.

    Every run starts afresh, but the files may be in the disk's cache. The browser runs already and has nothing in its cache;
    the clock starts with the server's process and stops when the viewer's canvas shows a scan of ``checkpoint``. Where there
    is no browser the picture's seconds are None beside the reason. Ready for JSON. Raises :class:`RequestError` for less than
    one run, :class:`EvaluationError` where a process fails.
    """
    if runs < 1:
        raise RequestError(f"{runs} runs measure nothing; give 1 or more")
    report = progress or (lambda _what, _done, _total: None)
    info = [*_module("engine"), "info", str(checkpoint)]
    commands = []
    for run in range(runs):
        report("somatwin info", run, 2 * runs)
        commands.append(seconds_of(info))
    page = f"/Explore?model={Path(checkpoint).name}&seed=0&n=1&steps=8"
    pictures, reason = [], ""
    try:
        for run in range(runs):
            report("app to first picture", runs + run, 2 * runs)
            pictures.append(first_picture(app_command(), page))
    except NoBrowser as error:
        reason = str(error)
    report("done", 2 * runs, 2 * runs)
    return {
        "machine": machine("cpu"),
        "info": {"command": f"somatwin info {checkpoint}", **_timed(commands)},
        "first_picture": {"page": page, **_timed(pictures), "reason": reason},
    }


def _timed(waited: Sequence[Waited]) -> dict[str, Any]:
    """Both timings; None where nothing was measured."""
    names = ("seconds", "cpu_seconds")
    return {name: asdict(timing([getattr(one, name) for one in waited])) if waited else None for name in names}


def seconds_of(command: Sequence[str]) -> Waited:
    """From the start of a process to its end; raises :class:`EvaluationError` where it fails."""
    began, used = time.perf_counter(), _children()
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    waited = Waited(seconds=time.perf_counter() - began, cpu_seconds=_children() - used)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise EvaluationError(f"{' '.join(command[1:])} failed ({last[:200]}): mend that first")
    return waited


def app_command() -> list[str]:
    """The app's server, but for the port; raises :class:`NoBrowser` where the app is not beside the engine."""
    script = ROOT / "app.py"
    if not script.is_file():
        raise NoBrowser(f"there is no app at {script}: run this in a clone")
    return [*_module("streamlit"), "run", str(script), "--server.headless=true"]


def first_picture(server: Sequence[str], page: str) -> Waited:
    """From the start of a server (a command to which ``--server.port=`` is added) until ``page`` shows a scan."""
    with browser() as opened, tempfile.TemporaryFile("w+") as log:
        tab, port = opened.new_context().new_page(), _free_port()
        command = [*server, f"--server.port={port}", "--server.address=127.0.0.1"]
        began, used = time.perf_counter(), _children()
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_for(lambda: process.poll() is not None or _healthy(port), "the app's server")
            if process.poll() is not None:
                log.seek(0)
                raise EvaluationError(f"the app's server ended at once ({log.read()[-200:].strip()}): mend that first")
            tab.goto(f"http://127.0.0.1:{port}{page}")
            _wait_for(lambda: drawn(tab), "a picture in the app")
            seconds = time.perf_counter() - began
        finally:
            _end(process)
        return Waited(seconds=seconds, cpu_seconds=_children() - used)


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:  # a busy machine: it still imports
        process.kill()
        process.wait()


def _children() -> float:
    """CPU seconds of this process's ended children so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def drawn(tab: Page) -> bool:
    """Whether the viewer on a page shows a scan; raises :class:`EvaluationError` where the page shows an error instead."""
    if tab.locator(ERROR).count():
        raise EvaluationError(
            f"the app shows an error ({tab.locator(ERROR).first.inner_text()[:200]}): see the server's log"
        )
    return bool(tab.locator(".viewer canvas").evaluate_all(DRAWN))


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium; raises :class:`NoBrowser` where there is none, or no Playwright to drive it."""
    if find_spec("playwright") is None:
        raise NoBrowser("Playwright is not installed: add the development dependencies (uv sync)")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise NoBrowser(f"there is no {BROWSERS[0]} on this machine: install it to time the app")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=[*FLAGS])
        try:
            yield opened
        finally:
            opened.close()


def _module(name: str) -> list[str]:
    """The command that runs a module as this process's Python would."""
    return [sys.executable, "-m", name]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _healthy(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}{HEALTH}", timeout=1).close()
    except (urllib.error.URLError, OSError):
        return False
    return True


def _wait_for(true: Callable[[], bool], what: str) -> None:
    """Look until it is ``true``; raises :class:`EvaluationError` after :data:`PATIENCE` seconds."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise EvaluationError(f"{what} did not come in {PATIENCE:.0f} s: try again when less else is running")
        time.sleep(LOOK)
