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
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Playwright, sync_playwright

from tests.measure.balls import ball_measure, ball_store  # noqa: F401
from tests.pages.visit import Visit

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
#: a page with the viewer alone. scene=block: a bright block to the patient's right, front and top of a dim field.
#: scene=torso: water and fat, a body of 25 % fat with such a block of 75 %, and labels. scene=pair: that person, and one
#: whose block has 80 % and who has less water at the lower left rear. scene=cine: a heart of twelve phases of 80 ms, a box of
#: which is 10 brighter in each; scene=cines: beside one of six phases.
ASYMMETRIC = """
import numpy as np
import streamlit as st
from engine.imaging.grid import frames
from engine.imaging.volume import Volume
from pages.components.parts.viewer.viewer import viewer
from pages.components.state.scene import payload


def torso(block_fat, low_water):
    water, fat = np.full((2, 96, 80, 144), 0.01, np.float32)
    water[8:88, 8:72, 8:136], fat[8:88, 8:72, 8:136] = 0.6, 0.2
    water[60:80, 50:70, 100:130], fat[60:80, 50:70, 100:130] = 0.2, block_fat
    water[10:20, 10:20, 10:20] = low_water
    affine = np.diag([5.0, 5.0, 6.0, 1.0])
    return Volume(np.stack([water, fat]), affine, ("water", "fat"))


def person(name, bmi):
    row = {"name": "bmi", "label": "BMI", "value": bmi, "unit": "kg/m²", "origin": "given", "percentile": None}
    return {"title": name, "subtitle": "", "file": name.lower(), "rows": [row | {"description": ""}]}


def cine(phases, seconds):
    data = np.full((phases, 96, 96, 16), 20, np.uint8)
    data[:, 30:60, 30:60, 4:12] = (100 + 10 * np.arange(phases, dtype=np.uint8))[:, None, None, None]
    return Volume(data, np.diag([1.6, 1.6, 8.0, 1.0]), frames(("cine",), phases), seconds)


facts = {"model": "block", "draft": False, "note": ""}
labels = np.zeros((96, 80, 144), np.uint8)
labels[60:80, 50:70, 100:130] = 7
scene = st.query_params.get("scene", "block")
if scene == "block":
    data = np.full((40, 48, 56), 0.1, np.float32)
    data[26:34, 32:42, 40:52] = 1.0
    viewer(payload([Volume(data, np.diag([2.0, 2.0, 2.0, 1.0]))], [person("Block", "20")], **facts))
elif scene == "torso":
    viewer(payload([torso(0.6, 0.6)], [person("One", "20")], labels=[labels], legend=[(7, "Cube", "#ff0000")], **facts))
elif scene == "heads":
    data = np.zeros((96, 112, 112), np.float32)
    data[13:83, 6:106, 4:110] = 0.6
    viewer(payload([Volume(data, np.diag([2.0, 2.0, 2.0, 1.0]))] * 2, [person("One", "20"), person("Two", "25")], compare=True, **facts))
elif scene == "cine":
    viewer(payload([cine(12, 0.96)], [person("One", "20") | {"es": 4}], **facts))
elif scene == "cines":
    viewer(payload([cine(12, 0.96), cine(6, None)], [person("One", "20"), person("Two", "25")], compare=True, **facts))
else:
    viewer(payload([torso(0.6, 0.6), torso(0.8, 0.4)], [person("One", "20"), person("Two", "25.5")], compare=True, **facts))
"""


@contextmanager
def serving(script: Path, checkpoints: Path, log: Path) -> Iterator[str]:
    """The address of ``streamlit run script``, stopped at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.headless=true", f"--server.port={port}"]
    command += ["--server.address=127.0.0.1", "--server.fileWatcherType=none"]
    environment = os.environ | {
        "SOMATWIN_CHECKPOINTS": str(checkpoints),
        "SOMATWIN_RUNS": str(log.parent / "runs"),
        "PYTHONPATH": str(ROOT),
    }
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_healthy(process, f"{address}/_stcore/health", log)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:  # a busy machine: the server is still importing
            process.kill()
            process.wait()


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
def checkpoints(tiny_checkpoint: Path, ball_measure: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """The tiny model and a ruler for it."""
    folder = tmp_path_factory.mktemp("ruled")
    (folder / "tiny").symlink_to((tiny_checkpoint / "tiny").resolve())
    (folder / "measure-head").symlink_to(ball_measure)
    return folder


@pytest.fixture(scope="session")
def mask_checkpoints(mask_run: Path, ball_measure: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A model of balls that knows masks, ``masked``, and a ruler for it."""
    folder = tmp_path_factory.mktemp("masked")
    (folder / "masked").symlink_to(mask_run / "checkpoint")
    (folder / "measure-head").symlink_to(ball_measure)
    return folder


@dataclass(frozen=True, kw_only=True)
class Served:
    """The app's server: its ``address``, and the folders in which it looks for ``checkpoints`` and ``runs``."""

    address: str
    checkpoints: Path
    runs: Path


@pytest.fixture(scope="session")
def served(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all tests, with the tiny model alone; a test that adds to its folders takes that away again."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "tiny").symlink_to((tiny_checkpoint / "tiny").resolve())
    with serving(ROOT / "app.py", folder / "checkpoints", folder / "log.txt") as address:
        yield Served(address=address, checkpoints=folder / "checkpoints", runs=folder / "runs")


@pytest.fixture(scope="session")
def app_address(served: Served) -> str:
    return served.address


@pytest.fixture(scope="module")
def ruled_address(served: Served, ball_measure: Path) -> Iterator[str]:  # noqa: F811
    """The app with a ruler for its model, for as long as a module's tests run."""
    ruler = served.checkpoints / "measure-head"
    ruler.symlink_to(ball_measure)
    yield served.address
    ruler.unlink()


@pytest.fixture(scope="module")
def masked_address(served: Served, mask_checkpoints: Path) -> Iterator[str]:
    """The app with a model that knows masks, ``masked``, and its ruler, for as long as a module's tests run."""
    added = [served.checkpoints / name for name in ("masked", "measure-head")]
    for path in added:
        path.symlink_to((mask_checkpoints / path.name).resolve())
    yield served.address
    for path in added:
        path.unlink()


@pytest.fixture(scope="session")
def block_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page :data:`ASYMMETRIC`."""
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


@pytest.fixture(scope="module")
def visit(launch: Callable[..., BrowserContext]) -> Iterator[Callable[..., Visit]]:
    visits: list[Visit] = []

    def begin(*flags: str, width: int = 1440) -> Visit:
        visits.append(Visit(launch(*flags), width))
        return visits[-1]

    yield begin
    for each in visits:
        each.page.close()
        assert not each.errors
