"""From a checkpoint and a store to the sides of an evaluation: person by person, in processes, on disk as they come.

What is done is kept in ``DIR/work``, one small file a person, so that an interrupted run goes on where it stopped and
equals an uninterrupted one: a person depends on nothing but the task.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.subjects.extract import Extracted, Extractor, Setting, Task
from engine.evaluation.subjects.people import People
from engine.storage.ranks import SINGLE, Ranks
from engine.storage.whole import whole_file, write_text

#: fewer tasks than this are done in this process: another one takes seconds to start
ALONE = 12
#: how long each extraction takes, relative to each other, and everything else about a person: for the time left
TIMES = {
    "features": 0.3,
    "measures": 0.6,
    "appearance": 0.5,
    "reconstruction": 0.3,
    "infer": 6.0,
    "whatif": 7.5,
    "loss": 0.4,
}
REST, LOCAL = 0.4, 15.0


@dataclass(frozen=True)
class Step:
    """Where a run is: ``done`` of ``total`` persons, ``left`` seconds (None until known)."""

    what: str
    done: int
    total: int
    left: float | None


def claim(folder: Path, wanted: dict[str, Any]) -> None:
    """Note in ``folder`` what is evaluated there, or refuse when it is something else."""
    path, wanted = folder / "plan.json", json.loads(json.dumps(wanted))
    if path.exists():
        try:
            found = json.loads(path.read_text("utf-8"))
        except ValueError:
            raise EvaluationError(f"{path} is damaged; choose another --out") from None
        if found != wanted:
            different = ", ".join(sorted(k for k in wanted if found.get(k) != wanted[k])) or "what was kept"
            raise EvaluationError(
                f"{folder} holds work of another evaluation ({different} differs); choose another --out"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(wanted, indent=1))


def gather(
    setting: Setting, tasks: Sequence[Task], folder: Path, *, workers: int | None = None, ranks: Ranks = SINGLE
) -> Iterator[Step]:
    """Do every task that is not done yet, each rank its own; yields progress. :func:`people` then reads a side.

    On a GPU, and where there is one core, in this process; else by as many processes as there are cores.
    """
    own = [tasks[i] for i in ranks.own(len(tasks))]
    todo = [task for task in own if not _file(folder, task).exists()]
    total, began = len(own), time.monotonic()
    count = workers or ranks.cores
    yield Step("persons", total - len(todo), total, None)
    ahead, spent = sum(map(_time, todo)), 0.0
    for done, (task, found) in enumerate(_results(setting, todo, count), 1):
        _write(_file(folder, task), found)
        spent += _time(task)
        left = (time.monotonic() - began) / spent * (ahead - spent)
        yield Step(f"{task.side} persons", total - len(todo) + done, total, left)


def _time(task: Task) -> float:
    return (LOCAL if task.make == "local" else REST) + sum(TIMES.get(want, 0.0) for want in task.wants)


def _results(setting: Setting, todo: Sequence[Task], count: int) -> Iterator[tuple[Task, Extracted]]:
    if not todo:
        return
    if setting.device != "cpu" or count < 2 or len(todo) < ALONE:
        extractor = Extractor(setting)
        for task in todo:
            yield task, extractor.person(task)
        return
    # fork would copy the parent's threads' locks
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _start, (setting,))
    try:
        waiting, ahead = {}, iter(todo)
        for task in [t for _, t in zip(range(3 * count), ahead, strict=False)]:
            waiting[pool.submit(_work, task)] = task
        while waiting:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                task = waiting.pop(future)
                if (following := next(ahead, None)) is not None:
                    waiting[pool.submit(_work, following)] = following
                yield task, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_extractor: list[Extractor] = []


def _start(setting: Setting) -> None:
    torch.set_num_threads(1)
    _extractor.append(Extractor(setting))


def _work(task: Task) -> Extracted:
    return _extractor[0].person(task)


def _file(folder: Path, task: Task) -> Path:
    return folder / task.side / f"{task.number:05d}.npz"


def _write(path: Path, found: Extracted) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    about = np.array(json.dumps({"id": found.id, "row": found.row}))
    try:
        with whole_file(path) as part, part.open("wb") as file:
            np.savez(file, allow_pickle=False, about=about, **found.arrays)
    except OSError as error:
        raise EvaluationError(
            f"{path} cannot be written ({error.strerror}); free some space and run it again"
        ) from None


def people(folder: Path, tasks: Sequence[Task]) -> People:
    """The persons of ``tasks`` (of one side), in their order; those that came out empty are left out."""
    ids, rows, parts = [], [], []
    for task in tasks:
        with np.load(_file(folder, task), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        about = json.loads(str(arrays.pop("about")))
        if arrays.pop("empty", None) is None:
            ids.append(about["id"])
            rows.append(about["row"])
            parts.append(arrays)
    names = set.intersection(*(set(p) for p in parts)) if parts else set()
    arrays = {name: np.stack([p[name] for p in parts]) for name in sorted(names)}
    return People(ids=tuple(ids), rows=tuple(rows), arrays=arrays)
