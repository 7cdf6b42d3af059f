"""Several processes that do one piece of work (ranks), and what they put on disk together.

Here is the world of one, which every function takes unless it is given another; the world of many is
:class:`engine.training.world.World`, by torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from engine.storage.whole import part_of, target_of, whole_directory
from engine.vocabulary.refusal import Refusal

T = TypeVar("T")


class RanksError(Refusal):
    """Ranks that cannot work together; the message says which, and what to do."""


class Told(Exception):
    """This rank ends with exit ``code`` and says nothing, since rank 0 says why."""

    def __init__(self, code: int) -> None:
        super().__init__(f"rank 0 says why, exit code {code}")
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process, ``rank`` of ``size``, of whom ``beside`` are on this machine."""

    rank: int = 0
    size: int = 1
    beside: int = 1

    @property
    def leads(self) -> bool:
        """Is this the rank that speaks, and that writes what is written once?"""
        return self.rank == 0

    def own(self, n: int) -> range:
        """This rank's share of ``n`` pieces of work that do not depend on each other; of some ranks there may be none.

        >>> [list(Ranks(rank=rank, size=3).own(5)) for rank in range(3)]
        [[0, 3], [1, 4], [2]]
        """
        return range(self.rank, n, self.size)

    @property
    def cores(self) -> int:
        """Cores of this machine for this rank, at least 1."""
        found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, found // self.beside)

    @contextmanager
    def together(self) -> Iterator[None]:
        """A step that may fail, and a vote after it: what one rank refuses every rank refuses, in the same words."""
        yield

    def agree(self, facts: Mapping[str, str]) -> None:
        """Raises :class:`RanksError` on every rank unless all were started on the same ``facts``."""
        with self.together():
            pass
        everybody = self.gathered(dict(facts))
        for name, value in everybody[0].items():
            for rank, other in enumerate(everybody):
                if other[name] != value:
                    raise RanksError(
                        f"the ranks disagree on the {name}: rank {rank} has another than rank 0; start all with the same"
                    )

    def gathered(self, found: T) -> list[T]:
        """What every rank ``found``, by rank, on every rank."""
        return [found]


SINGLE = Ranks()


@contextmanager
def shared_directory(path: Path, ranks: Ranks) -> Iterator[Path]:
    """:func:`engine.storage.whole.whole_directory` that all ``ranks`` write into, each its own files.

    Raises OSError, what any rank raised inside, and :class:`RanksError` where a rank does not see the folder of rank 0;
    then ``path`` is what it was.
    """
    part = part_of(target_of(path))
    with ExitStack() as stack:
        with ranks.together():
            if ranks.leads:
                stack.enter_context(whole_directory(path))

        with ranks.together():
            if not part.is_dir():
                raise RanksError(
                    f"{part.parent}, where rank 0 writes, is not seen by this rank; name a folder that all ranks share"
                )

        with ranks.together():
            yield part

        with ranks.together():
            stack.close()
