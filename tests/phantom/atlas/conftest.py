"""A run in which the balls were learned."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.training.stages.anatomy.fit import train_anatomy
from tests.conftest import made_once
from tests.phantom.atlas.balls import RECIPE, balls


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of an uninterrupted training; not to be changed."""

    def trained(run_dir: Path) -> None:
        for _ in train_anatomy(RECIPE, {"body": balls()}, run_dir, extras={"basis": torch.arange(6.0).half()}):
            pass

    return made_once(tmp_path_factory, "balls-anatomy", trained)
