"""One thread for a while: sums are cut in one way, and small products do not wait for each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


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
