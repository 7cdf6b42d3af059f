"""Killed at any moment, a command leaves nothing half done: the same command again ends as if it had never been disturbed."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from engine.cohort.store import CohortStore
from tests.cohort.heads import made_up_head, write_dataset
from tests.conftest import ball_store
from tests.fuzz.killable import COMMANDS, run

#: processes begin with the libraries read already, whose reading takes longer than what is to be killed
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.fuzz.killable"])
#: moments of each command; fewer by ``SOMATWIN_KILLS``
KILLS = int(os.environ.get("SOMATWIN_KILLS", "50"))
#: commands whose result appears whole, and is not written over
WHOLE = {"ingest", "phantom", "generate"}
#: what is random by design: a salt
FREE = {"participants.json"}
TABLE = "participant_id\tage\tsex\nsub-a\t40\tF\nsub-b\t50\tM\nsub-c\t60\tF\n"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, tiny_store: CohortStore, tiny_run: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("inputs")
    heads = {f"sub-{name}": made_up_head(shift=(0, 2 * k, 0)) for k, name in enumerate("abc")}
    (folder / "tiny").symlink_to(tiny_run / "checkpoint")
    ball_store(folder / "balls", 60)
    return {
        "ingest": write_dataset(folder / "bids", heads, TABLE),
        "phantom": folder,
        "train": tiny_store.path,
        "generate": folder / "tiny",
        "evaluate": folder,
    }


def begun(name: str, out: Path, given: Path) -> ForkServerProcess:
    process = FORKS.Process(target=run, args=(name, out, given))
    process.start()
    return process


def finished(name: str, out: Path, given: Path) -> float:
    began = time.monotonic()
    process = begun(name, out, given)
    process.join(600)
    assert process.exitcode == 0
    return time.monotonic() - began


def contents(name: str, out: Path) -> dict[str, bytes]:
    """What a command was asked for: of a training its checkpoint, of an evaluation its report but for the time it took and the machine."""
    if name == "evaluate":
        found = json.loads((out / "report.json").read_text("utf-8"))
        return {"report.json": json.dumps({**found, "seconds": 0, "machine": {}}).encode()}
    out = out / "checkpoint" if name == "train" else out
    files = [path for path in out.rglob("*") if path.is_file()]
    return {str(path.relative_to(out)): path.read_bytes() for path in files if path.name not in FREE}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(name: str, inputs: dict[str, Path], tmp_path: Path) -> None:
    given = inputs[name]
    finished(name, tmp_path / "first", given)  # the server of processes starts with it, too
    seconds = finished(name, tmp_path / "whole", given)
    whole = contents(name, tmp_path / "whole")
    assert whole
    rng = random.Random(name)
    for k in range(KILLS):
        out = tmp_path / f"{k}"
        process = begun(name, out, given)
        after = rng.uniform(0.2, 1.0) * seconds
        process.join(after)
        process.kill()
        process.join()
        if name not in WHOLE or not out.exists():
            finished(name, out, given)
        found = contents(name, out)
        assert found.keys() == whole.keys(), f"killed after {after:.2f} of {seconds:.2f} s"
        differ = [path for path, data in found.items() if data != whole[path]]
        assert differ == [], f"killed after {after:.2f} of {seconds:.2f} s"
