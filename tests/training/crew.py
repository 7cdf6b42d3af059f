"""Ranks for tests: a function in N forked processes that meet over gloo, which takes no time to import anything."""

from __future__ import annotations

import io
import os
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.multiprocessing as mp

from engine.cli.main import main
from engine.storage.ranks import Told
from engine.training.world import World, joined
from engine.vocabulary.refusal import Refusal

#: seconds after which a rank that still runs is a failure
PATIENCE = 300
DIED = ("died", None)


class Ran(NamedTuple):
    """What a command came to on one rank."""

    code: int
    out: str
    err: str


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def crew(n: int, folder: Path, work: Callable[[World], Any]) -> list[tuple[str, Any]]:
    """What ``work`` came to on each of ``n`` ranks: ("done", what it returned), ("refused", the sentence), ("told", exit code),
    ("failed", the traceback) or :data:`DIED`."""
    return _forked(n, folder, lambda rank: _outcome(work))


def commands(n: int, folder: Path, *argv: object, of: Callable[[int], list[object]] = lambda rank: []) -> list[Ran]:
    """What the command line came to on each of ``n`` ranks, with the words ``of`` a rank in addition."""

    def run(rank: int) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main([str(word) for word in (*argv, *of(rank))])
        return code, out.getvalue(), err.getvalue()

    return [Ran(*found) for found in _forked(n, folder, run)]


def _forked(n: int, folder: Path, run: Callable[[int], Any]) -> list[Any]:
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)

    def rank_of(rank: int) -> None:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": n, "LOCAL_WORLD_SIZE": n}
        os.environ.update({name: str(value) for name, value in place.items()})
        os.environ.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)})
        torch.set_num_threads(1)
        torch.save(run(rank), folder / f"{rank}.pt")
        sys.stdout.flush()
        os._exit(0)  # what pytest would do at the end is the parent's

    ranks = [mp.get_context("fork").Process(target=rank_of, args=(rank,)) for rank in range(n)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(PATIENCE)
        if rank.is_alive():
            rank.kill()
    return [torch.load(path) if (path := folder / f"{k}.pt").exists() else DIED for k in range(n)]


def _outcome(work: Callable[[World], Any]) -> tuple[str, Any]:
    try:
        with joined("cpu") as world:
            found = work(world)
        return "done", found
    except Refusal as refusal:
        return "refused", str(refusal)
    except Told as told:
        return "told", told.code
    except Exception:
        return "failed", traceback.format_exc()
