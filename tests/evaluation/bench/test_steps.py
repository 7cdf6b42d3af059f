"""Quality at few evaluations: who is refused, and on heads the whole of it (slow)."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.cohort.store import CohortStore
from engine.evaluation.bench.steps import benchmark_steps
from engine.inference.generate import RequestError
from tests.conftest import ball_store


def test_too_few_persons_and_unseen_grids_are_refused(tiny_run: Path, tiny_store: CohortStore, tmp_path: Path) -> None:
    checkpoint = tiny_run / "checkpoint"
    with pytest.raises(RequestError, match="5 test persons carry no distance"):
        benchmark_steps(checkpoint, tiny_store, persons=5, device="cpu")
    with pytest.raises(RequestError, match="no encoder or no ruler at hand sees such scans"):
        benchmark_steps(checkpoint, ball_store(tmp_path / "balls", 80), device="cpu")
