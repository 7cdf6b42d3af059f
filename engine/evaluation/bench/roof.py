"""What this machine can do at most: the roof under which all else is measured (Williams et al. 2009, doi 10.1145/1498765.1498785)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from engine.evaluation.bench.sampling import Timing, timing

#: side of the matrices, and numbers copied (256 MB: more than any cache holds)
SIDE, COPIED = 2048, 2**26


@dataclass(frozen=True, kw_only=True)
class Roof:
    """The best of some runs of a matrix product (FLOP a second) and of a copy (bytes read and written a second)."""

    flop_per_second: float
    bytes_per_second: float
    matmul_seconds: Timing
    copy_seconds: Timing

    def share(self, flop: float, seconds: float) -> float:
        """Of the roof of arithmetic, 0 to 1."""
        return round(flop / seconds / self.flop_per_second, 4)


def roof(device: str = "cpu", *, runs: int = 5, side: int = SIDE, copied: int = COPIED) -> Roof:
    """Measure the roof in single precision, as the networks compute."""
    one, other = (torch.rand(side, side, device=device) for _ in range(2))
    into, source = (torch.zeros(copied, device=device) for _ in range(2))
    product = seconds_of(lambda: one @ other, device, runs)
    copy = seconds_of(lambda: into.copy_(source), device, runs)
    return Roof(
        flop_per_second=2 * side**3 / min(product),
        bytes_per_second=2 * 4 * copied / min(copy),
        matmul_seconds=timing(product),
        copy_seconds=timing(copy),
    )


def seconds_of(work: Callable[[], object], device: str, runs: int) -> list[float]:
    """Seconds of each of ``runs``, after one that is not counted."""
    measured = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        measured.append(time.perf_counter() - began)
    return measured[1:]
