"""What is known of a number: limits with their sources, digits, and changes that are worth nothing."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from engine.measure.clinical import LIMITS, changes, digits_known, interpretable, written
from engine.measure.relation import Relation
from engine.measure.ruler import StatedError


def test_limits_are_those_of_the_guidelines():
    assert {name: dict(limit.values) for name, limit in LIMITS.items()} == {
        "liver_pdff": {"all": 5.0},
        "waist": {"M": 102.0, "F": 88.0},
        "vat_area": {"all": 100.0},
        "bmi": {"all": 30.0},
        "lv_ef": {"M": 48.0, "F": 51.0},
        "lv_edv": {"M": 229.0, "F": 165.0},
        "lv_esv": {"M": 100.0, "F": 71.0},
        "lv_mass": {"M": 144.0, "F": 95.0},
        "rv_edv": {"M": 253.0, "F": 177.0},
        "wall_thickness": {"all": 15.0},
        "ejection_fraction": {"M": 52.0, "F": 54.0},
    }
    assert all(limit.source and any(c.isdigit() for c in limit.source) for limit in LIMITS.values())


@pytest.mark.parametrize(
    ("name", "value", "sex", "crossed"),
    [
        ("liver_pdff", 6.9, None, True),
        ("liver_pdff", 3.1, "F", False),
        ("waist", 95.0, "F", True),
        ("waist", 95.0, "M", False),
        ("waist", 120.0, None, False),
        ("ejection_fraction", 50.0, "M", True),
        ("waist", math.nan, "M", False),
    ],
)
def test_a_limit_is_crossed_on_its_side_only(name: str, value: float, sex: str | None, crossed: bool):
    assert LIMITS[name].crossed(value, sex) is crossed


@pytest.mark.parametrize("error", [0.0003, 0.07, 0.5, 2.3, 21.0, 340.0])
def test_the_last_digit_is_worth_at_most_the_error(error: float):
    digits = digits_known(error)
    assert digits is not None
    assert digits == 2 or 10.0**-digits <= error < 10.0 ** (1 - digits)
    value = 1234.5678
    assert abs(float(written(value, error)) - value) <= max(error, 0.005)


def test_a_change_within_its_error_is_not_interpreted():
    assert interpretable(-2.1, 2.0)
    assert not interpretable(1.9, 2.0)
    assert not interpretable(5.0, math.nan)


def test_percentiles_are_those_of_the_band():
    rng = np.random.default_rng(0)
    age = rng.uniform(20, 80, 400)
    for log in (False, True):
        spread = rng.normal(0, 0.2, 400)
        volume = np.exp(2 + 0.01 * age + spread) if log else 10 + 0.1 * age + 5 * spread
        relation = Relation.fit(age, volume, degree=2, log=log)
        band = relation.band(np.array([50.0]))
        ends = [relation.percentile(50.0, float(value[0])) for value in (band.low, band.middle, band.high)]
        assert ends == pytest.approx([2.5, 50.0, 97.5])
        below = np.mean([relation.percentile(a, v) < 25 for a, v in zip(age, volume, strict=True) if 25 < a < 75])
        assert below == pytest.approx(0.25, abs=0.05)
        assert math.isnan(relation.percentile(5.0, 10.0)), "nobody of that age was seen"
    assert math.isnan(relation.percentile(50.0, -1.0))


def test_a_change_has_the_error_of_both_readings_and_the_drift_of_nothing_set():
    errors = {"brain_ml": StatedError(sd=0.02, relative=True)}
    measures = {"brain_ml": "Brain", "neck_ml": "Neck", "seen_once": "Once"}
    ruler = SimpleNamespace(measures=measures, units=dict.fromkeys(measures, "ml"), errors=errors)
    one, other = ({"brain_ml": v, "neck_ml": v, "seen_once": n} for v, n in ((1000.0, math.nan), (900.0, 1.0)))
    brain, neck = changes(ruler, [one, other, other, one])
    assert (brain.size, brain.drift, brain.error) == pytest.approx((-100, 100, math.hypot(20, 18)))
    record = brain.record()
    assert record["interval_95"] == pytest.approx([-100 - 1.96 * brain.error, -100 + 1.96 * brain.error])
    assert record["interpretable"]
    # no error is stated of it, so nothing can be told
    assert (neck.record()["interval_95"], neck.record()["interpretable"]) == (None, False)
    assert changes(ruler, [one, one])[0].record() == {
        "unit": "ml",
        "before": 1000,
        "after": 1000,
        "change": 0,
        "interval_95": pytest.approx([-55.4, 55.4], abs=0.1),
        "nothing_set": None,
        "interpretable": False,
    }
