"""A bar never stands still: in a long stage it says for how long that has gone on."""

from __future__ import annotations

import threading

import pytest

from pages.components.state import job
from pages.components.state.job import Job, alive


def test_a_bar_goes_on_while_nothing_is_told(monkeypatch: pytest.MonkeyPatch):
    """Law: two shows are never two ticks apart, the share stays what was told last, and nothing is shown after the end."""
    monkeypatch.setattr(job, "TICK", 0.05)
    shown: list[tuple[float, str]] = []
    enough = threading.Event()

    def show(share: float, text: str) -> None:
        shown.append((share, text))
        if len(shown) >= 4:
            enough.set()

    with alive(show) as report:
        report(0.4, "Step 8 of 8, its detail")
        assert enough.wait(20)
    last = len(shown)
    assert shown[0] == (0.4, "Step 8 of 8, its detail")
    assert shown[-1][1] == "Step 8 of 8, its detail · 0 s in this stage"
    assert {share for share, _ in shown} == {0.4}
    assert {text for _, text in shown} <= {shown[0][1], f"{shown[0][1]} · 0 s in this stage"}
    assert not threading.Event().wait(0.2)
    assert len(shown) == last


def test_work_in_the_background_says_how_long_its_stage_goes_on(monkeypatch: pytest.MonkeyPatch):
    go_on = threading.Event()
    told = threading.Event()

    def work(report: job.Report) -> int:
        report(0.5, "Measuring")
        told.set()
        go_on.wait(20)
        return 3

    monkeypatch.setattr(job, "TICK", 0.0)
    running = Job(work)
    assert told.wait(20)
    assert (running.share, running.words) == (0.5, "Measuring · 0 s in this stage")
    go_on.set()
    running.join(20)
    assert running.result == 3
