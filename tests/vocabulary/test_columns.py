"""Fixed codes of columns: shared values are atoms, rounded ones own an interval, ordered levels have normal scores."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from engine.vocabulary.columns import AttributeValueError, Category, Number


def income(n: int, seed: int = 0) -> np.ndarray:
    """A ratio that is 0 for a ninth, top-coded at 5 for a sixth, and recorded to two decimals."""
    return np.round(np.clip(np.random.default_rng(seed).normal(2.6, 2.3, n), 0, 5), 2)


def income_column(n: int = 3000) -> Number:
    return Number(name="income", unit="", low=0, high=5, decimals=2).fitted(income(n).tolist())


def test_a_shared_value_keeps_its_share() -> None:
    drawn = np.array(income_column().decode(np.random.default_rng(1).normal(size=(20000, 1))), float)
    real = income(20000, seed=2)
    for value in (0.0, 5.0):
        assert (drawn == value).mean() == pytest.approx((real == value).mean(), abs=0.02)
    assert drawn.std() == pytest.approx(real.std(), rel=0.02)
    assert np.allclose(drawn, np.round(drawn, 2))


def test_codes_drawn_within_their_intervals_are_standard_normal() -> None:
    """Without it an atom would be a spike; with it what the flow learns is smooth."""
    values, rng = income(3000), np.random.default_rng(0)
    column = income_column()
    assert kstest(column.encode(values, rng)[:, 0], "norm").statistic < 0.03
    assert kstest(column.encode(values)[:, 0], "norm").statistic > 0.07


@pytest.mark.parametrize("seed", range(40))
def test_every_value_comes_back_from_anywhere_in_its_interval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(41, rng.choice([0.03, 0.3, 3])))
    cells = rng.choice(41, rng.integers(30, 400), p=shares).astype(float)
    cells[0] = (cells[1] + 7) % 41
    column = Number(name="x", unit="", low=0, high=40, decimals=0).fitted(cells.tolist())
    assert column.decode(column.encode(cells)) == pytest.approx(cells.tolist())
    assert column.decode(column.encode(cells, rng)) == pytest.approx(cells.tolist())
    assert (np.diff(column.scores) > 0).all()
    assert (np.diff(column.encode(np.arange(41.0))[:, 0]) >= 0).all()


def test_a_heavy_tail_keeps_going_at_its_own_pace() -> None:
    """Beyond the outermost quantile a log-normal column is not cut to what a normal one would have."""
    rng = np.random.default_rng(0)
    column = Number(name="x", unit="", low=0, high=1e6).fitted(rng.lognormal(0, 1, 6000).tolist())
    drawn = np.array(column.decode(rng.normal(size=(20000, 1))), float)
    assert drawn.std() == pytest.approx(np.sqrt((np.e - 1) * np.e), rel=0.15)


def test_no_stored_quantile_is_one_persons() -> None:
    values = np.random.default_rng(0).normal(size=6000).tolist()
    column = Number(name="x", unit="", low=-9, high=9).fitted(values)
    assert len(column.knots) <= 6000 / 20
    assert column.knots[-1] < max(values)


def test_an_ordered_category_has_the_normal_scores_of_its_levels() -> None:
    levels = ("never", "sometimes", "often", "daily")
    cells = np.repeat(levels, [500, 300, 150, 50]).tolist()
    column = Category(name="c", levels=levels, ordered=True).fitted(cells)
    assert column.width == 1
    assert (np.diff(column.codes[:, 0]) > 0).all()
    assert column.decode(column.codes) == list(levels)
    codes = column.encode(cells, np.random.default_rng(0))
    assert column.decode(codes) == cells
    assert kstest(codes[:, 0], "norm").statistic < 0.04
    drawn = column.decode(np.random.default_rng(1).normal(size=(10000, 1)))
    assert drawn.count("daily") / 10000 == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("text", ["6_0", "６０", "1" * 5000, "nan", "inf", ""])
def test_text_that_is_no_plain_number_is_refused(text: str) -> None:
    column = Number(name="age", unit="years", low=18, high=100)
    assert column.check(" 60.0 ") == 60
    with pytest.raises(AttributeValueError, match="is not possible here: give a number from 18 to 100 years"):
        column.check(text)
