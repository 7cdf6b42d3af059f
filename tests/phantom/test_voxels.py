"""Laws of voxels as flat arrays, and of memory that workers keep."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from engine.phantom.shape.voxels import box_of, places_of, span_of, spread_out, values_at


def mask() -> torch.Tensor:
    return torch.rand(2, 5, 6, 7, generator=torch.Generator().manual_seed(0)) < 0.3


def test_places_are_those_of_a_mask_in_their_order() -> None:
    assert torch.equal(places_of(mask()), torch.nonzero(mask().reshape(-1))[:, 0])
    assert places_of(torch.zeros(3, 3, dtype=torch.bool)).numel() == 0


def test_values_are_put_back_where_they_were_taken() -> None:
    field = torch.randn(2, 5, 6, 7, generator=torch.Generator().manual_seed(1))
    places = places_of(mask())
    back = spread_out(values_at(field, places), places, tuple(field.shape), 9.0)
    assert torch.equal(back, torch.where(mask(), field, 9.0))


def test_a_box_is_the_smallest_that_holds_a_mask() -> None:
    one = torch.zeros(2, 5, 6, 7, dtype=torch.bool)
    one[0, 1, 2, 3] = one[1, 3, 4, 3] = True
    assert box_of(one) == (slice(None), slice(1, 4), slice(2, 5), slice(3, 4))
    assert span_of(torch.zeros(4, dtype=torch.bool)) == slice(0, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="what is freed is kept by glibc's own switch")
def test_a_worker_keeps_what_it_frees() -> None:
    """Pages of a large array are asked of the system once, not again for each array."""
    program = """
import resource
import numpy as np
from engine.phantom.process import keep_freed

keep_freed()
np.ones(4_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(4_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert int(found.stdout) < 4_000
