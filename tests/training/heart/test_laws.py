"""The power laws that take what the heart's ruler reads to what is true."""

from __future__ import annotations

import numpy as np
import pytest

from engine.training.stages.heart.measure import LAWFUL, HeartJudged, laws_of


def judged(have: np.ndarray, want: np.ndarray) -> list[HeartJudged]:
    rows = zip(have, want, strict=True)
    return [HeartJudged(want=dict.fromkeys(LAWFUL, w), have=dict.fromkeys(LAWFUL, h), dice={}) for h, w in rows]


def test_a_power_law_is_found_again() -> None:
    have = np.geomspace(5, 20, 40)
    found = laws_of([*judged(have, 0.65 * have**1.2), *judged(np.array([np.nan, 0.0]), np.array([7.0, 7.0]))])
    assert set(found) == set(LAWFUL)
    for law in found.values():
        assert law == pytest.approx((0.65, 1.2))


@pytest.mark.parametrize("have", [np.full(20, 7.0), np.array([6.0, 7.0]), np.resize([6.0, 8.0], 20)])
def test_of_what_does_not_vary_with_what_is_true_no_law_is_made(have: np.ndarray) -> None:
    assert laws_of(judged(have, np.linspace(5, 9, len(have)))) == {}
