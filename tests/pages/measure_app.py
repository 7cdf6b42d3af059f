"""How fast the app answers, and what it takes: ``uv run python -m tests.pages.measure_app``, JSON on stdout.

Shipped checkpoints, one server, a real Chromium without 3D APIs on the same cores. Times are medians of what a person
waits for, in seconds: from the key on a slider to the first other picture (the draft) and to the page at rest (in full);
from a click on another page to its own words; from the start of the server to the first picture on Explore, and there in full;
from a click on Sweep to drafts of ten values that play, to all in full, and on to a saved MP4. No test: a machine's speed is no
fault of the code.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright

from tests.pages.conftest import FLAGS, ROOT, WAIT, serving
from tests.pages.visit import STEP, WORDS, Visit

MODELS = ("head-t1", "torso-dixon")
#: how often a slider is moved and each page opened, and how many sessions are opened at once
MOVES, ROUNDS, SESSIONS = 5, 3, 16
#: values of a sweep
VALUES = 10


def resident(pid: int) -> int:
    """MB of memory a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 10**6


def server_of(address: str) -> int:
    """The process that serves the address."""
    port = address.rsplit(":", 1)[1]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and f"--server.port={port}".encode() in (entry / "cmdline").read_bytes():
            return int(entry.name)
    raise RuntimeError(f"nobody serves {address}")


def moves(here: Visit) -> dict[str, float]:
    """Seconds from the key on the age's slider to another picture, and to that in full."""
    here.page.get_by_text("Live", exact=True).click()
    slider = here.page.get_by_role("slider", name="Age value")
    drafts, full = [], []
    for _ in range(MOVES):
        before = here.shown()
        slider.focus()
        began = time.perf_counter()
        slider.press("ArrowRight")
        here.page.locator(f".viewer[data-fingerprint]:not([data-fingerprint='{before}'])").wait_for()
        drafts.append(time.perf_counter() - began)
        expect(here.page.get_by_text("with 8 steps")).to_be_visible()
        here.shown(other_than=before)
        full.append(time.perf_counter() - began)
    return {"draft": statistics.median(drafts), "full": statistics.median(full)}


def changes(page: Page) -> dict[str, float]:
    """Seconds from a click on a page's name to its words, each page visited before."""
    found: dict[str, list[float]] = {name: [] for name in WORDS}
    for _ in range(ROUNDS + 1):
        for name, words in WORDS.items():
            link = page.get_by_test_id("stSidebar").get_by_role("link", name=name, exact=True)
            began = time.perf_counter()
            link.click()
            expect(
                page.get_by_test_id("stMain").get_by_text(words).or_(page.get_by_role("button", name=words)).first
            ).to_be_visible()
            found[name].append(time.perf_counter() - began)
    return {name: statistics.median(times[1:]) for name, times in found.items()}


def cold(begin: Any, model: str, folder: Path) -> dict[str, float]:
    """Seconds from the start of a server to the first picture of a person on Explore, and to that in full."""
    began = time.perf_counter()
    with serving(ROOT / "app.py", ROOT / "checkpoints", folder / f"{model}.txt") as address:
        here = Visit(begin(), 1440)
        here.page.goto(f"{address}/Explore?model={model}", wait_until="commit")
        here.page.locator(".viewer[data-fingerprint]").wait_for()
        found = {"first picture": time.perf_counter() - began}
        here.shown()
        found["in full"] = time.perf_counter() - began
        here.page.close()
    return found


def sweep(here: Visit, folder: Path) -> dict[str, float]:
    """Seconds from the press on Sweep to what plays, to all in full, and from the press on MP4 to the file."""
    here.shown(button="Prepare files")
    values = here.page.get_by_role("spinbutton", name="Values")
    values.fill(str(VALUES))
    values.press("Enter")
    here.at_rest()
    began = time.perf_counter()
    here.page.get_by_role("button", name="Sweep", exact=True).click()
    here.page.locator(".viewer .sweep").wait_for()
    found = {"to playing": time.perf_counter() - began}
    film = here.page.get_by_role("button", name="Sweep as MP4").first
    expect(film).to_be_enabled(timeout=8 * WAIT)
    found["in full"] = time.perf_counter() - began
    here.at_rest()
    began = time.perf_counter()
    with here.page.expect_download() as download:
        film.click()
    download.value.save_as(folder / "sweep.mp4")
    return found | {"mp4": time.perf_counter() - began}


def crowd(begin: Any, address: str) -> dict[str, Any]:
    """Sixteen sessions at once, each asking for an age and a seed of its own: who was served, and with what was asked."""
    began, visits = time.perf_counter(), []
    for i in range(SESSIONS):
        here = Visit(begin(), 1024)
        here.page.goto(f"{address}/Explore?model=head-t1&age={25 + i}&seed={100 + i}", wait_until="commit")
        visits.append(here)
    own = 0
    for i, here in enumerate(visits):
        here.shown()
        cell = here.page.locator("[data-column=age] .value").inner_text()
        own += cell.startswith(str(25 + i)) and f"seed {100 + i}" in here.page.locator(".panel").first.inner_text()
    scenes = {here.viewer.get_attribute("data-fingerprint") for here in visits}
    return {"sessions": SESSIONS, "own": own, "different": len(scenes), "seconds": time.perf_counter() - began}


def main() -> None:
    found: dict[str, Any] = {"cores": os.cpu_count()}
    folder = Path(tempfile.mkdtemp())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=[*FLAGS, "--disable-3d-apis"])

        def begin() -> Any:
            context = browser.new_context()
            context.set_default_timeout(4 * WAIT)
            return context

        expect.set_options(timeout=4 * WAIT)
        found["cold start"] = {model: cold(begin, model, folder) for model in MODELS}
        print(json.dumps(found, default=float), file=sys.stderr)
        with serving(ROOT / "app.py", ROOT / "checkpoints", folder / "log.txt") as address:
            warm(found, begin, address, folder)
        browser.close()
    print(json.dumps(found, indent=1, default=float))


def warm(found: dict[str, Any], begin: Any, address: str, folder: Path) -> None:
    """What a server that has begun is asked, into ``found``."""
    server = server_of(address)
    for model in MODELS:
        here = Visit(begin(), 1440).open(f"{address}/Explore?model={model}&seed=3&age=40")
        here.shown()
        found[model] = {**moves(here), "slice_ms": here.viewer.evaluate(STEP), "server_mb": resident(server)}
        here.page.close()
        here = Visit(begin(), 1440).open(f"{address}/What_if?model={model}&age=40&seed=1")
        found[model]["sweep"] = sweep(here, folder)
        here.page.close()
        print(json.dumps(found, default=float), file=sys.stderr)
    here = Visit(begin(), 1440).open(address)
    found["page changes"] = changes(here.page)
    found["server_mb after all pages"] = resident(server)
    print(json.dumps(found, default=float), file=sys.stderr)
    here.page.close()
    found["crowd"] = crowd(begin, address)
    found["server_mb after the crowd"] = resident(server)


if __name__ == "__main__":
    main()
