"""What-ifs against the phantom's truth: the pairs, and how far a bone lies off."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from engine.evaluation.bench.whatif import (
    CHANGE,
    HELD,
    POSSIBLE,
    _share,
    benchmark_whatif,
    bone_offset,
    pair,
    volume_of,
)
from engine.imaging.volume import Volume
from engine.inference.generate import RequestError
from engine.phantom.tissue import codes


def test_a_pair_differs_in_what_bmi_moves_and_in_nothing_else() -> None:
    before, after, bmi = pair(77, np.random.default_rng(1))
    assert all(before.row[name] == after.row[name] for name in HELD)
    assert after.row["bmi"] == pytest.approx(bmi, abs=0.01)
    assert CHANGE[0] - 0.01 <= abs(bmi - before.row["bmi"]) <= CHANGE[1] + 0.01
    assert POSSIBLE[0] <= bmi <= POSSIBLE[1]
    assert np.sign(after.row["sat"] - before.row["sat"]) == np.sign(bmi - before.row["bmi"])
    spine = np.isin(after.labels, codes("vertebrae"))
    assert spine.sum() > 1000
    assert bone_offset(volume_of(before), volume_of(after), spine) < 0.5


@pytest.mark.parametrize("move", [(0.0, 0.0, 0.0), (1.0, -1.0, 0.0), (0.0, 0.5, 0.0), (0.3, 0.0, -1.2)])
def test_the_offset_of_a_bone_that_was_moved(move: tuple[float, float, float]) -> None:
    grid = np.zeros((32, 32, 32))
    grid[14:19, 12:17, 8:22] = 1
    smooth = gaussian_filter(grid, 1.5)
    moved = shift(smooth, move, order=3)
    one, other = (Volume(np.stack([v, v]).astype(np.float32), np.eye(4), ("water", "fat")) for v in (moved, smooth))
    assert bone_offset(one, other, grid > 0) == pytest.approx(np.linalg.norm(move), abs=0.1)


def test_the_share_that_moved_counts_the_wrong_way_against_it() -> None:
    wanted = np.array([2.0, -1.0, 1.0])
    assert _share(wanted, wanted) == 1
    assert _share(0.5 * wanted, wanted) == 0.5
    assert _share(np.array([2.0, -1.0, -1.0]), wanted) == pytest.approx(0.5)


def test_a_model_of_heads_is_refused() -> None:
    with pytest.raises(RequestError, match="head-t1 makes no torsos"):
        benchmark_whatif("head-t1", persons=4, device="cpu")
