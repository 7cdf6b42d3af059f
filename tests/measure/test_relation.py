"""Laws of the regressions: what they recover, what their intervals promise, what they never keep."""

from __future__ import annotations

import json

import numpy as np
import pytest

from engine.measure.reference import MINIMUM_GROUP, CohortBand
from engine.measure.relation import Relation, RelationError


def numbers(value: object) -> int:
    """How many leaves a JSON value has."""
    if isinstance(value, dict):
        return sum(numbers(item) for item in value.values())
    return sum(numbers(item) for item in value) if isinstance(value, list | tuple) else 1


def test_a_line_is_recovered_exactly():
    x = np.linspace(20, 80, 12)
    relation = Relation.fit(x, 3 - 0.25 * x)
    assert relation.slope().estimate == pytest.approx(-0.25)
    assert relation.residual_sd == pytest.approx(0, abs=1e-9)
    assert relation.band(np.array([40.0])).middle == pytest.approx([-7.0])


def test_a_curve_of_logarithms_is_recovered_and_never_negative():
    x = np.linspace(20, 80, 30)
    noise = np.random.default_rng(0).normal(0, 0.4, 30)
    exact = Relation.fit(x, np.exp(0.5 + 0.01 * x + 2e-4 * x**2), degree=2, log=True)
    assert exact.band(x).middle == pytest.approx(np.exp(0.5 + 0.01 * x + 2e-4 * x**2))
    band = Relation.fit(x, np.exp(0.5 + noise), degree=2, log=True).band(np.linspace(-50, 150, 50))
    assert (band.low > 0).all()
    for inner, outer in ((band.mean_low, band.low), (band.middle, band.mean_low), (band.high, band.mean_high)):
        assert (inner >= outer).all()


def test_intervals_cover_as_often_as_they_say():
    rng, truth = np.random.default_rng(1), 0.3
    slope_hits, person_hits = [], []
    for _ in range(600):
        x = rng.uniform(20, 80, 10)
        relation = Relation.fit(x, 5 + truth * x + rng.normal(0, 4, 10))
        found = relation.slope()
        slope_hits.append(found.low <= truth <= found.high)
        band = relation.band(np.array([50.0]))
        person_hits.append(band.low[0] <= 5 + truth * 50 + rng.normal(0, 4) <= band.high[0])
    assert np.mean(slope_hits) == pytest.approx(0.95, abs=0.03)
    assert np.mean(person_hits) == pytest.approx(0.95, abs=0.03)


def test_missing_cells_are_left_out_and_units_only_scale():
    x, y = [20.0, 30.0, None, 50.0, 60.0, 70.0], [1.0, 2.0, 3.0, float("nan"), 5.0, 6.5]
    relation = Relation.fit(x, y)
    assert relation.n == 4
    months = Relation.fit([None if a is None else a * 12 for a in x], y)
    assert months.slope().estimate * 12 == pytest.approx(relation.slope().estimate)
    assert months.slope().low * 12 == pytest.approx(relation.slope().low)


@pytest.mark.parametrize("x", [[1.0, 2.0, 3.0], [5.0] * 9])
def test_no_line_through_too_little(x: list[float]):
    with pytest.raises(RelationError, match="too few"):
        Relation.fit(x, x)


def cohort(persons: int) -> CohortBand:
    rng = np.random.default_rng(2)
    rows = [{"age": float(a), "sex": "F" if i % 4 else "M"} for i, a in enumerate(rng.uniform(20, 80, persons))]
    return CohortBand.fit(rows, [{"brain_ml": 1500 - 3 * row["age"] + rng.normal(0, 9)} for row in rows], ["age"])


def test_a_cohort_keeps_aggregates_only():
    band = cohort(60)
    assert set(band.lines) == {"all", "F"}, f"15 men are fewer than {MINIMUM_GROUP}"
    assert set(band.levels["brain_ml"]) == {"all", "F"}
    assert numbers(cohort(60).to_json()) == numbers(cohort(600).to_json()) * 2 / 3, (
        "its size follows groups, not persons"
    )
    line = band.line("brain_ml", "age")
    assert line is not None
    assert line.n == 60
    assert line.slope().low < -3 < line.slope().high
    assert band.line("brain_ml", "shoe") is None


def test_a_cohort_survives_json():
    band = cohort(60)
    again = CohortBand.from_json(json.loads(json.dumps(band.to_json())))
    assert again.to_json() == band.to_json()
    assert again.curve("brain_ml", "age", "F") == band.curve("brain_ml", "age", "F")
    with pytest.raises(ValueError, match="other keys"):
        Relation.from_json({"slope": 1})


def test_nobody_can_be_told_by_subtracting_the_sexes_from_all():
    rng = np.random.default_rng(3)
    rows = [{"age": float(rng.uniform(20, 80)), "sex": "FM"[i % 2] if i > 3 else None} for i in range(64)]
    band = CohortBand.fit(rows, [{"brain_ml": 1000.0 + i} for i in range(64)], ["age"])
    by_group = band.levels["brain_ml"]
    assert by_group["all"]["n"] == by_group["F"]["n"] + by_group["M"]["n"] == 60
