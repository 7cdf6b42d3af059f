"""Writers killed, or refused by the disk, at every change of the file system that they make, one after the other.

Run as ``python -m tests.storage.killed WRITER FOLDER``: prints one JSON object. It is a process of its own so that it can be
forked while it has one thread.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: what changes the file system, as the interpreter reports it before it happens (PEP 578)
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree"}
KILLED, FINISHED, REFUSED = 9, 0, 3


@dataclass(frozen=True)
class Writer:
    """``write`` puts generation 1 or 2 into a folder, ``read`` says which is found there, None where there is none."""

    write: Callable[[Path, int], None]
    read: Callable[[Path], int | None]


def outcomes(writer: Writer, folder: Path, before: int | None) -> dict[str, list[Any]]:
    """What is read after a writer of generation 2 was ended at its k-th change, for every k, and after it went on.

    ``before`` is the generation there at first. ``killed``: found by a reader; ``resumed``: found once the same writer ran
    again to its end; ``refused``: found where the disk refused the k-th change instead; ``left``: what lies there at last.
    """
    found: dict[str, list[Any]] = {"killed": [], "resumed": [], "refused": [], "left": []}
    for mode in ("killed", "refused"):
        k = 0
        while True:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            if before is not None:
                writer.write(folder, before)
            code = _ended_at(lambda: writer.write(folder, 2), k, mode)
            found[mode].append(writer.read(folder))
            if mode == "killed":
                writer.write(folder, 2)
                found["resumed"].append(writer.read(folder))
                found["left"].append(sorted(p.name for p in folder.iterdir()))
            if code == FINISHED and not _reached:
                break
            k += 1
    return found


_reached: list[int] = []


def _ended_at(work: Callable[[], None], k: int, mode: str) -> int:
    """Do the work in a child that ends, or is refused, at its k-th change; how it ended. ``_reached`` is empty if it had none."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            count = 0

            def hook(event: str, arguments: tuple[Any, ...]) -> None:
                nonlocal count
                opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
                if event not in CHANGES and not opened:
                    return
                count += 1
                if count - 1 == k:
                    os.write(writing, b"x")
                    if mode == "killed":
                        os._exit(KILLED)
                    raise OSError(errno.EIO, "Input/output error")

            sys.addaudithook(hook)
            work()
            code = FINISHED
        except (OSError, ValueError):
            code = REFUSED
        finally:
            os._exit(code)
    os.close(writing)
    _reached[:] = list(os.read(reading, 1))
    os.close(reading)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def whole_directory() -> Writer:
    from engine.storage import whole

    def write(folder: Path, generation: int) -> None:
        with whole.whole_directory(folder / "it") as part:
            for name in "abc":
                (part / name).write_text(str(generation))

    def read(folder: Path) -> int | None:
        place = whole.settled(folder / "it")
        if not place.exists():
            return None
        (generation,) = {int((place / name).read_text()) for name in "abc"}
        return generation

    return Writer(write, read)


def whole_file() -> Writer:
    from engine.storage import whole

    def read(folder: Path) -> int | None:
        return int((folder / "it").read_text()) if (folder / "it").exists() else None

    return Writer(lambda folder, generation: whole.write_text(folder / "it", str(generation)), read)


def checkpoint() -> Writer:
    import numpy as np
    import torch

    from engine.checkpoints.card import write_card
    from engine.checkpoints.checkpoint import load_checkpoint, save_checkpoint
    from engine.checkpoints.files import amended_checkpoint, find
    from engine.model.config import TransformerConfig, table_config
    from engine.model.joint import JointModel
    from engine.vocabulary.refusal import Refusal
    from engine.vocabulary.schema import AttributeSchema, Number

    torch.set_num_threads(1)
    schema = AttributeSchema(columns=(Number(name="age", unit="years", low=0, high=99).fitted([20.0, 40.0, 60.0]),))
    model = JointModel(table_config(TransformerConfig(width=8, depth=1, heads=2), schema), schema)

    def write(folder: Path, generation: int) -> None:
        about = {"channels": (), "preprocess": {}, "provenance": {}, "affine": np.eye(4)}
        save_checkpoint(folder / "it", model, name="it", title=f"{generation}", **about)
        with amended_checkpoint(find(folder / "it")) as part:
            write_card(part, {"name": "it", "title": str(generation), "evaluated": "yes"})

    def read(folder: Path) -> int | None:
        try:
            found = load_checkpoint(folder / "it")
        except Refusal as error:
            if "there is no checkpoint" in str(error):
                return None
            raise
        assert found.card["title"] == found.config.title
        assert found.card_markdown.startswith(f"# {found.config.title}")
        return int(found.config.title)

    return Writer(write, read)


def bids() -> Writer:
    from engine.cohort.bids_write import write_bids
    from engine.storage.whole import settled

    @dataclass
    class Someone:
        attributes: dict[str, Any]
        scan: None = None

    def write(folder: Path, generation: int) -> None:
        if generation == 1:  # the only folder that a data set may replace is an empty one
            (folder / "it").mkdir()
            return
        if not (folder / "it" / "participants.tsv").exists():
            write_bids(folder / "it", [Someone({"age": 2.0})], name="n", generated_by=[], licence="CC0-1.0")

    def read(folder: Path) -> int | None:
        place = settled(folder / "it")
        if not place.exists():
            return None
        names = {path.name for path in place.iterdir()}
        assert names in (set(), {"participants.tsv", "participants.json", "dataset_description.json"})
        return 2 if names else 1

    return Writer(write, read)


def store() -> Writer:
    import numpy as np

    from engine.cohort.builder import StoreBuilder
    from engine.cohort.store import CohortStore
    from engine.storage.whole import settled

    def write(folder: Path, generation: int) -> None:
        if generation == 1:
            (folder / "it").mkdir()
            return
        if read(folder) == 2:
            return
        head = {"recipe": "r", "grid": (4, 4, 4), "affine": np.eye(4), "channels": ("T1w",), "plan": {}}
        builder = StoreBuilder(folder / "it", **head)
        for name in ("sub-1", "sub-2"):
            if not builder.has(name):
                builder.add(name, np.full((1, 4, 4, 4), 7, np.uint8), np.ones((4, 4, 4), bool))
        builder.finish([{"participant_id": name, "age": 30.0, "sex": "F"} for name in ("sub-1", "sub-2")])

    def read(folder: Path) -> int | None:
        place = settled(folder / "it")
        if not place.exists():
            return None
        if not any(place.iterdir()):
            return 1
        found = CohortStore.open(place)
        found.verify()
        assert len(found) == 2
        assert sorted(p.name for p in place.iterdir()) == ["mask.npy", "participants.json", "store.json", "volumes.npy"]
        return 2

    return Writer(write, read)


WRITERS = {one.__name__: one for one in (whole_directory, whole_file, checkpoint, bids, store)}


if __name__ == "__main__":
    root = Path(sys.argv[2])
    print(json.dumps([outcomes(WRITERS[sys.argv[1]](), root / "f", before) for before in (None, 1)]))
