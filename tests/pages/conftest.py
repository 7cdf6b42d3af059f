"""A running app and a real Chromium for it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Playwright, sync_playwright

ROOT = Path(__file__).parents[2]
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: ms, at most: a cold server imports its networks first, and a busy machine is slow
WAIT = 90_000
#: a page that shows a single bright block to the patient's right, front and top of a dim field
ASYMMETRIC = """
import numpy as np
from engine.volume import Volume
from pages.components.viewer import payload, viewer

data = np.full((40, 48, 56), 0.1, np.float32)
data[26:34, 32:42, 40:52] = 1.0
affine = np.diag([2.0, 2.0, 2.0, 1.0])
person = {"title": "Block", "subtitle": "", "file": "block", "rows": []}
viewer(payload([Volume(data, affine)], [person], model="block", draft=False, note=""))
"""


@contextmanager
def serving(script: Path, checkpoints: Path, log: Path) -> Iterator[str]:
    """The address of ``streamlit run script``, stopped at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.headless=true", f"--server.port={port}"]
    command += ["--server.address=127.0.0.1", "--server.fileWatcherType=none"]
    environment = os.environ | {"SOMATWIN_CHECKPOINTS": str(checkpoints), "PYTHONPATH": str(ROOT)}
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_healthy(process, f"{address}/_stcore/health", log)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait_until_healthy(process: subprocess.Popen, url: str, log: Path) -> None:
    deadline = time.monotonic() + WAIT / 1000
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"streamlit did not start: {log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def app_address(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(ROOT / "app.py", tiny_checkpoint, tmp_path_factory.mktemp("server") / "log.txt") as address:
        yield address


@pytest.fixture(scope="session")
def block_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page with the viewer alone, showing :data:`ASYMMETRIC`."""
    folder = tmp_path_factory.mktemp("block")
    (folder / "block.py").write_text(ASYMMETRIC)
    with serving(folder / "block.py", folder, folder / "log.txt") as address:
        yield address


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def launch(playwright: Playwright) -> Iterator[Callable[..., BrowserContext]]:
    """Chromium with more flags; one browser, and one cache, for each set of flags."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium on this machine: install it to run the browser tests (.ci/run does)")
    running: dict[tuple[str, ...], BrowserContext] = {}

    def start(*flags: str) -> BrowserContext:
        if flags not in running:
            browser = playwright.chromium.launch(executable_path=path, args=[*FLAGS, *flags])
            running[flags] = browser.new_context()
            running[flags].set_default_timeout(WAIT)
        return running[flags]

    yield start
    for context in running.values():
        if context.browser:
            context.browser.close()
