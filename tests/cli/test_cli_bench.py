"""Who judges in a benchmark: whom the checkpoint knows as its test persons, whatever the store's own split says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from engine.cli.bench import _judging
from engine.cohort.participants import FILE
from engine.cohort.store import CohortStore


def test_nobody_is_judged_on_whom_the_checkpoint_was_trained(tiny_run: Path, tiny_store: CohortStore, tmp_path: Path):
    copy = Path(shutil.copytree(tiny_run / "checkpoint", tmp_path / "copy"))
    about = json.loads((copy / FILE).read_text("utf-8"))
    for cohort in about["cohorts"]:
        cohort["train"], cohort["test"] = cohort["test"], cohort["train"]
    (copy / FILE).write_text(json.dumps(about), "utf-8")
    own, found = tiny_store.split(), _judging(str(copy), str(tiny_store.path)).split()
    np.testing.assert_array_equal(found["test"], own["train"])
    np.testing.assert_array_equal(found["train"], own["test"])
