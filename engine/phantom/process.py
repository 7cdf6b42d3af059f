"""How a process that makes bodies computes: on one thread for a while, and with the memory that it frees kept."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

#: numbers of glibc's parameters (malloc.h), and the most that they take
TRIM_THRESHOLD, MMAP_THRESHOLD, MOST = -1, -3, 2**31 - 1


@contextmanager
def one_thread() -> Iterator[None]:
    """How sums are cut among threads changes their last digit; and threads that wait cost small products more than they
    bring, most of all where others compute beside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_freed() -> None:
    """Let this process keep what it frees, for good.

    A body makes thousands of arrays of a few MB. glibc gives such back to the system at once, and the system clears each
    page anew: an eighth of a body's time. For processes of our own only; without glibc nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, MOST)
        mallopt(TRIM_THRESHOLD, MOST)
