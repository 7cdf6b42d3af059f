"""A synthetic cohort of balls whose size and brightness follow the table, and a checkpoint trained on it in seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.__main__ import main
from engine.cohort.builder import StoreBuilder
from engine.cohort.store import CohortStore
from engine.training.pipeline import train
from engine.training.recipes import Recipe, tiny


def ball_store(path: Path, persons: int = 24) -> CohortStore:
    """Heads that are balls: the radius grows with bmi, a dark middle with age; some cells are missing."""
    recipe = tiny()
    grid = recipe.model.image.grid
    builder = StoreBuilder(
        path,
        recipe="tiny",
        grid=grid,
        affine=recipe.preprocess.affine,
        channels=("T1w",),
        plan={},
        info={"source_name": "balls"},
    )
    rng = np.random.default_rng(3)
    axes = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in grid], indexing="ij")
    radius = np.sqrt(sum(a**2 for a in axes))
    rows = []
    for i in range(persons):
        age, bmi, sex = float(rng.uniform(20, 80)), float(rng.normal(26, 4)), "FM"[i % 2]
        height = float(rng.normal(178 if sex == "M" else 165, 6))
        brain = radius < 6 + bmi / 5
        volume = np.where(brain, 180, 20) - np.where(radius < age / 16, 120, 0) + rng.normal(0, 4, grid)
        name = f"sub-{i:03d}"
        builder.add(name, np.clip(volume, 0, 255).astype(np.uint8)[None], brain)
        row = {"participant_id": name, "age": age, "sex": sex, "height": height, "bmi": bmi, "ethnicity": "White"}
        row["ethnicity"] = "Other" if i % 5 == 0 else "White"
        if i % 7 == 3:
            row["height"] = row["bmi"] = None
        rows.append(row)
    return builder.finish(rows)


@pytest.fixture(scope="session")
def tiny_recipe() -> Recipe:
    return tiny()


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> CohortStore:
    return ball_store(tmp_path_factory.mktemp("cohort") / "balls")


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: Recipe, tiny_store: CohortStore) -> Path:
    """The run directory of an uninterrupted training of the tiny recipe."""
    run_dir = tmp_path_factory.mktemp("run") / "tiny"
    for _ in train(tiny_recipe, tiny_store, run_dir):
        pass
    return run_dir


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_run: Path) -> Path:
    """A directory for ``SOMATWIN_CHECKPOINTS`` that holds the one checkpoint ``tiny``."""
    directory = tmp_path_factory.mktemp("checkpoints")
    (directory / "tiny").symlink_to(tiny_run / "checkpoint")
    return directory


@pytest.fixture
def checkpoint(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the tiny checkpoint, the only one at hand."""
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(tiny_checkpoint))
    return "tiny"


@pytest.fixture
def refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must be refused; returns the one sentence said, after what progress there was."""

    def run(*argv: object, code: int = 2) -> str:
        before = contents(tmp_path)
        assert main([str(a) for a in argv]) == code
        out, err = capfd.readouterr()
        assert out == ""
        *progress, sentence = err.splitlines()
        assert sentence.startswith("somatwin: ")
        assert all(line.endswith(("left", "requests)")) for line in progress)
        assert contents(tmp_path) == before
        return sentence

    return run


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}
