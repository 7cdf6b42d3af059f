"""How the tests are shared out among processes; a synthetic cohort of balls whose size and brightness follow the table, and a
checkpoint trained on it in seconds.

Two to four processes, each on one thread. A file's tests stay together, and so do all that need the browser: they share one
server. What is costly to make is made once for all processes (:func:`made_once`).
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from engine.__main__ import main
from engine.cohort.builder import StoreBuilder
from engine.cohort.store import CohortStore
from engine.model.config import DetailConfig, MaskConfig
from engine.training.pipeline import train
from engine.training.recipes import Recipe, tiny
from engine.training.stages.local.crops import CropConfig
from engine.training.stages.local.detail import DetailTraining
from engine.training.stages.local.refiner import RefinerTraining
from engine.training.stages.mask import MaskTraining

#: processes at most: each holds the libraries, 1 GB
PROCESSES = 4
os.environ["OMP_NUM_THREADS"] = "1"  # of servers and commands that tests start
torch.set_num_threads(1)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    return min(len(os.sched_getaffinity(0)), PROCESSES)


@pytest.hookimpl(tryfirst=True)  # before the groups are read
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file run in one process, and those in the browser in one process all together."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        group = "browser" if {"playwright", "served"} & set(names) else item.path.as_posix()
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_collection_finish() -> None:
    """What the libraries made at import is never garbage: not looking at it again makes every run of a page 200 ms faster."""
    gc.collect()
    gc.freeze()


#: what is told apart in the balls of :func:`ball_store`: two names that the ruler of heads has, too, and one that it has not
MASK = MaskConfig(
    classes=("background", "brain", "ventricles", "other"),
    codes=((0,), (1,), (2,), ()),
    latent=6,
    widths=(8, 8, 8, 16),
    blocks=1,
)


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The path ``name``, which ``make`` fills, in a folder that all processes of this test run share."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    path = shared / name
    done = shared / f"{name}.done"
    with FileLock(shared / f"{name}.lock"):
        if not done.exists():
            make(path)
            done.touch()
    return path


def ball_store(path: Path, persons: int = 24, *, labels: bool = False) -> CohortStore:
    """Heads that are balls: the radius grows with bmi, a dark middle with age; some cells are missing. With ``labels`` three of
    four have label maps, 1 the ball and 2 its middle."""
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
        parts = np.where(brain, np.where(radius < age / 16, 2, 1), 0) if labels and i % 4 else None
        builder.add(name, np.clip(volume, 0, 255).astype(np.uint8)[None], brain, parts)
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
    return CohortStore.open(made_once(tmp_path_factory, "balls", ball_store))


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: Recipe, tiny_store: CohortStore) -> Path:
    """The run directory of an uninterrupted training of the tiny recipe; not to be changed."""

    def trained(run_dir: Path) -> None:
        for _ in train(tiny_recipe, tiny_store, run_dir):
            pass

    return made_once(tmp_path_factory, "tiny-run", trained)


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


@pytest.fixture(scope="session")
def labelled_store(tmp_path_factory: pytest.TempPathFactory) -> CohortStore:
    """Balls of whom three in four have label maps."""
    return CohortStore.open(made_once(tmp_path_factory, "masked-balls", lambda path: ball_store(path, labels=True)))


@pytest.fixture(scope="session")
def mask_recipe(tiny_recipe: Recipe) -> Recipe:
    crops = CropConfig(size=(16, 16, 16), batch=2, persons=2, reuse=5)
    return replace(
        tiny_recipe,
        mask=MASK,
        mask_training=MaskTraining(steps=80, rate=1e-2, warmup=5, bfloat16=False),
        detail=DetailConfig(widths=(8, 8, 8), blocks=1),
        detail_training=DetailTraining(steps=20, crops=crops, warmup=5, bfloat16=False),
        refiner=RefinerTraining(steps=20, crops=crops, warmup=5, bfloat16=False),
    )


@pytest.fixture(scope="session")
def mask_run(tmp_path_factory: pytest.TempPathFactory, mask_recipe: Recipe, labelled_store: CohortStore) -> Path:
    """The run directory of a training with masks; not to be changed."""

    def trained(run_dir: Path) -> None:
        for _ in train(mask_recipe, labelled_store, run_dir):
            pass

    return made_once(tmp_path_factory, "mask-run", trained)


@pytest.fixture
def masked(mask_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a tiny checkpoint with a mask, the only one at hand."""
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "masked").symlink_to(mask_run / "checkpoint")
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(tmp_path / "checkpoints"))
    return "masked"


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
        assert all(line.endswith(("left", "requests)", "the scan")) for line in progress)
        assert contents(tmp_path) == before
        return sentence

    return run


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}
