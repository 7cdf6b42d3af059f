"""The benchmark of start times: what it prints, what it refuses, and when it takes a picture for drawn."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from engine.__main__ import main
from engine.evaluation.bench import start
from engine.evaluation.bench.start import NoBrowser, app_command, browser, first_picture, seconds_of
from engine.evaluation.metrics.checks import EvaluationError

needs_chromium = pytest.mark.skipif(
    not any(map(shutil.which, start.BROWSERS)), reason="no chromium on this machine: install it to run this test"
)
#: a server that is healthy after a while, and whose viewer shows a scan 0.8 s after its page is there
SERVER = """
import http.server, sys, time
PAGE = b'''<div class="viewer"><canvas width=8 height=8></canvas></div><script>
const context = document.querySelector("canvas").getContext("2d");
context.fillStyle = "black"; context.fillRect(0, 0, 8, 8);
setTimeout(() => { context.fillStyle = "white"; context.fillRect(2, 2, 3, 3); }, 800);
</script>'''
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Type", "text/html"); self.end_headers(); self.wfile.write(PAGE)
port = next(int(a.split("=")[1]) for a in sys.argv if a.startswith("--server.port="))
time.sleep(0.5)
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""

T = TypeVar("T")


def elsewhere(work: Callable[[], T]) -> T:
    """In a thread of its own: the session's browser may hold this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def test_without_a_browser_the_picture_is_null_beside_the_reason(
    checkpoint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["bench", checkpoint, "--start", "--runs", "1"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["info"]["command"] == "somatwin info tiny"
    assert 0 < found["info"]["seconds"]["median"] == found["info"]["seconds"]["min"]
    assert found["info"]["seconds"]["runs"] == 1
    assert found["info"]["cpu_seconds"]["median"] > 0
    assert found["first_picture"]["seconds"] is found["first_picture"]["cpu_seconds"] is None
    assert "there is no chromium on this machine" in found["first_picture"]["reason"]
    assert found["machine"]["cores"] >= 1
    assert "2 of 2 requests" in said.err


def test_what_measures_nothing_is_refused(refused: Callable[..., str]) -> None:
    assert "0 runs measure nothing; give 1 or more" in refused("bench", "--start", "--runs", "0")


def test_a_process_that_fails_is_no_measurement() -> None:
    with pytest.raises(EvaluationError, match=r"failed \(no good\): mend that first"):
        seconds_of([sys.executable, "-c", "import sys; sys.exit('no good')"])
    assert seconds_of([sys.executable, "-c", "import time; time.sleep(0.2)"]).seconds > 0.2


def test_the_app_is_the_clones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(app_command()[4]).name == "app.py"
    monkeypatch.setattr(start, "ROOT", tmp_path)
    with pytest.raises(NoBrowser, match="there is no app at"):
        app_command()


@needs_chromium
def test_the_clock_stops_when_the_scan_is_drawn_and_not_before() -> None:
    waited = elsewhere(lambda: first_picture([sys.executable, "-c", SERVER], "/Explore"))
    assert waited.seconds > 1.3
    assert 0 < waited.cpu_seconds < waited.seconds


@needs_chromium
def test_a_server_that_ends_is_one_sentence() -> None:
    with pytest.raises(EvaluationError, match=r"the app.s server ended at once .*bad port"):
        elsewhere(lambda: first_picture([sys.executable, "-c", "import sys; sys.exit('bad port')"], "/Explore"))


@needs_chromium
def test_a_blank_page_shows_no_scan() -> None:
    elsewhere(blank_pages)


def blank_pages() -> None:
    with browser() as opened:
        tab = opened.new_page()
        assert not start.drawn(tab)
        tab.set_content("<div class=viewer><canvas width=4 height=4></canvas></div>")
        assert not start.drawn(tab)
        tab.set_content("<div data-testid=stException>TypeError: no</div>")
        with pytest.raises(EvaluationError, match=r"the app shows an error \(TypeError: no\)"):
            start.drawn(tab)
