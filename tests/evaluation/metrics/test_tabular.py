"""Tables: distances against scipy, associations against hand-worked values, rules, and what missing cells do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from engine.evaluation.metrics import tabular as t
from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.table_encoding import TableEncoding, as_columns
from engine.evaluation.metrics.utility import detection, utility
from engine.vocabulary.schema import AttributeSchema, Category, Derived, Number

SCHEMA = AttributeSchema(
    columns=(
        Number(name="age", unit="y", low=18, high=100),
        Number(name="height", unit="cm", low=120, high=220),
        Number(name="bmi", unit="kg/m2", low=12, high=70),
        Category(name="sex", levels=("F", "M")),
        Category(name="race", levels=("a", "b", "c")),
    ),
    derived=(Derived(name="weight", unit="kg", low=20, high=300, scale=1e-4, powers=(("bmi", 1.0), ("height", 2.0))),),
)


def people(n: int, seed: int, missing: float = 0.0) -> list[dict[str, Any]]:
    """Rows in which height goes with sex and bmi with age."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        sex = str(rng.choice(["F", "M"]))
        age = float(rng.uniform(20, 80))
        row: dict[str, Any] = {
            "age": age,
            "height": float(rng.normal(178 if sex == "M" else 165, 6)),
            "bmi": float(np.clip(rng.normal(22 + 0.1 * age, 3), 14, 60)),
            "sex": sex,
            "race": str(rng.choice(["a", "b", "c"], p=[0.6, 0.3, 0.1])),
        }
        rows.append({k: None if rng.random() < missing else v for k, v in row.items()})
    return rows


def shuffled(rows: list[dict[str, Any]], seed: int = 0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    orders = {name: rng.permutation(len(rows)) for name in rows[0]}
    return [{name: rows[orders[name][i]][name] for name in row} for i, row in enumerate(rows)]


def test_wasserstein_and_jensen_shannon_of_numbers() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=400), rng.normal(size=400) + 0.4
    assert t.wasserstein(x, y) == pytest.approx(stats.wasserstein_distance(x, y))
    assert t.wasserstein(x, x + 2) == pytest.approx(2)
    assert t.jensen_shannon(x, x) == 0
    assert t.jensen_shannon(x, x + 100) == pytest.approx(1, abs=0.2)
    assert t.jensen_shannon(x, rng.permutation(x)) == 0
    assert t.jensen_shannon(3 * x + 1, 3 * y + 1) == pytest.approx(t.jensen_shannon(x, y))


def test_wasserstein_and_jensen_shannon_of_categories() -> None:
    one, two = np.array(list("aabb"), object), np.array(list("abbb"), object)
    assert t.wasserstein(one, two, ("a", "b")) == pytest.approx(0.25)
    assert t.jensen_shannon(one, np.array(list("cccc"), object), ("a", "b", "c")) == pytest.approx(1)
    unknown = np.array(list("zzzz"), object)
    assert t.wasserstein(one, unknown, ("a", "b")) == pytest.approx(1)


def test_marginals_see_a_shift_and_count_missing_cells() -> None:
    rng = np.random.default_rng(0)
    real, other = people(200, 1, missing=0.1), people(200, 2)
    moved = [{**row, "age": row["age"] + 10} for row in other]
    honest, shifted = ({m.name: m for m in t.marginals(real, s, SCHEMA, rng)} for s in (other, moved))
    assert set(honest) == set(SCHEMA.names)
    assert shifted["age"].wasserstein.value == pytest.approx(10, abs=3)
    assert shifted["age"].wasserstein.low > honest["age"].wasserstein.value
    assert shifted["height"].wasserstein.value == honest["height"].wasserstein.value
    assert honest["age"].missing_real == pytest.approx(0.1, abs=0.06)
    assert honest["age"].missing_synthetic == 0
    complete = [row for row in real if row["age"] is not None]
    ages = [row["age"] for row in complete]
    assert honest["age"].wasserstein.value == pytest.approx(stats.wasserstein_distance(ages, [r["age"] for r in other]))


def test_association_of_known_tables() -> None:
    schema = AttributeSchema(
        columns=(
            Number(name="x", unit="", low=-9, high=9),
            Number(name="y", unit="", low=-9, high=9),
            Category(name="g", levels=("a", "b")),
            Category(name="h", levels=("u", "v")),
        )
    )
    table = {"x": [1, 1, -1, -1.0], "y": [-2, -2, 2, 2.0], "g": list("aabb"), "h": list("uvuv")}
    found = t.association(as_columns(table, schema), schema)
    expected = np.array([[1, -1, 1, 0], [-1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]])
    assert np.allclose(found, expected)


def test_cramer_and_correlation_ratio_against_scipy() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.choice(["p", "q", "r"], 300).astype(object), rng.choice(["s", "t"], 300).astype(object)
    seen = np.array([[np.sum((a == i) & (b == j)) for j in "st"] for i in "pqr"])
    assert t._cramer(a, b) == pytest.approx(stats.contingency.association(seen, "cramer"))
    y = rng.normal(size=300) + (a == "p")
    f = stats.f_oneway(*(y[a == level] for level in "pqr")).statistic
    eta = t._correlation_ratio(a, y) ** 2
    assert eta / (1 - eta) * (300 - 3) / 2 == pytest.approx(f)


def test_shuffled_columns_lose_their_associations() -> None:
    rng, caught, alarms = np.random.default_rng(0), 0, 0
    for seed in range(5):
        real, honest = people(150, seed), people(150, seed + 100)
        good = t.association_difference(real, honest, SCHEMA, rng, repeats=20)
        bad = t.association_difference(real, shuffled(honest), SCHEMA, rng, repeats=20)
        caught += bad.mean.low > good.mean.value and set(bad.worst) == {"height", "sex"}
        alarms += good.largest > 0.35
    assert (caught, alarms) == (5, 0)
    same = t.association_difference(real, real, SCHEMA, rng, repeats=20)
    assert (same.mean.value, same.largest) == (0, 0)


def test_violations_are_counted() -> None:
    rows = [{**row, "weight": row["bmi"] * (row["height"] / 100) ** 2} for row in people(20, 0)]
    rows[0]["age"], rows[1]["age"], rows[2]["sex"], rows[3]["race"] = 7.0, None, "X", None
    rows[4]["weight"] *= 1.02
    found = t.violations(rows, SCHEMA)
    counts = {name: (round(f.value * f.n), f.n) for name, f in found.items()}
    assert counts == {
        "age": (1, 19),
        "height": (0, 20),
        "bmi": (0, 20),
        "sex": (1, 20),
        "race": (0, 19),
        "weight": (1, 20),
    }
    assert found["age"].low > 0


def test_rows_and_arrays_are_one_table() -> None:
    rows = people(30, 0, missing=0.2)
    arrays = {
        name: np.array([np.nan if r[name] is None else r[name] for r in rows])
        if name in ("age", "height", "bmi")
        else np.array([r[name] for r in rows], object)
        for name in rows[0]
    }
    one, two = as_columns(rows, SCHEMA), as_columns(arrays, SCHEMA)
    for name in SCHEMA.names:
        assert all(a == b or (a != a and b != b) for a, b in zip(one[name], two[name], strict=True))


def test_mixed_space_weighs_columns_alike_and_knows_missing_cells() -> None:
    rows = people(2000, 0)
    space = TableEncoding.fitted(rows, SCHEMA)
    points = space(rows)
    owners = np.array(space.owners)
    for name in ("age", "sex", "race"):
        mine = points[:, owners == name]
        apart = ((mine[:1000] - mine[1000:]) ** 2).sum(1).mean()
        assert apart == pytest.approx(2, rel=0.15)
    gaps = people(100, 1, missing=0.2)
    held = TableEncoding.fitted(gaps, SCHEMA)
    assert set(held.indicated) == {c.name for c in SCHEMA.columns}
    blank = held([dict.fromkeys(rows[0])])[0]
    assert np.allclose(blank[: -len(held.indicated)], 0)
    assert np.isfinite(held(gaps)).all()


def test_detection_finds_shuffled_columns_and_not_honest_rows() -> None:
    rng = np.random.default_rng(0)
    real, honest = people(200, 1), people(200, 2)
    good, bad = detection(real, honest, SCHEMA, rng), detection(real, shuffled(honest), SCHEMA, rng)
    assert good.boosting.low < 0.5 + 0.06
    assert good.boosting.value == pytest.approx(0.5, abs=0.1)
    assert good.linear.value == pytest.approx(0.5, abs=0.1)
    assert bad.boosting.low > 0.5
    assert bad.boosting.value > good.boosting.value
    older = [{**row, "age": row["age"] + 15} for row in honest]
    assert detection(real, older, SCHEMA, rng).linear.low > 0.55
    blank = [{**row, "race": None if i % 3 == 0 else row["race"]} for i, row in enumerate(honest)]
    assert detection(real, blank, SCHEMA, rng).linear.low > 0.55


def test_synthetic_rows_that_teach_and_those_that_do_not() -> None:
    rng = np.random.default_rng(0)
    real, honest, test = people(200, 1, 0.05), people(200, 2), people(150, 3, 0.05)
    for target, kind in (("sex", "linear"), ("height", "linear"), ("height", "boosting")):
        good = utility(real, honest, test, SCHEMA, target, rng, kind=kind)
        assert good.from_synthetic.value == pytest.approx(good.from_real.value, abs=0.15)
    # by R^2: the sign of an AUC learnt from shuffled rows is chance
    bad = utility(real, shuffled(honest), test, SCHEMA, "height", rng, kind="linear")
    assert bad.from_synthetic.high < 0.2 < bad.from_real.low
    constant = [{**row, "sex": "F"} for row in honest]
    assert utility(real, constant, test, SCHEMA, "sex", rng, kind="linear").from_synthetic.value == 0.5


def test_bad_tables_are_refused_in_a_sentence() -> None:
    rng, rows = np.random.default_rng(0), people(40, 0)
    blank = [{**row, "race": None} for row in rows]
    constant = [{**row, "sex": "F"} for row in rows]
    for fault, call in {
        "sides hold 40 and 30 subjects": lambda: t.marginals(rows, rows[:30], SCHEMA, rng),
        "race is missing in every real row": lambda: t.marginals(blank, rows, SCHEMA, rng),
        "race is missing in every synthetic row": lambda: t.association_difference(rows, blank, SCHEMA, rng),
        "race is missing in every training row": lambda: TableEncoding.fitted(blank, SCHEMA),
        "sex is 'F' in every real row": lambda: t.association_difference(constant, rows, SCHEMA, rng),
        "holds no row": lambda: t.violations([], SCHEMA),
        "age of row 0 is 'old', which is no number": lambda: t.violations([{"age": "old"}], SCHEMA),
        "age of row 0 is inf": lambda: t.violations([{"age": float("inf")}], SCHEMA),
        "columns are 1 to 2 cells long": lambda: t.violations({"age": [1.0], "bmi": [1.0, 2.0]}, SCHEMA),
        "too few for 5 folds": lambda: detection(rows[:8], rows[:8], SCHEMA, rng),
        "weight is derived": lambda: utility(rows, rows, rows, SCHEMA, "weight", rng),
        "sex does not vary over the test rows": lambda: utility(rows, rows, constant, SCHEMA, "sex", rng),
    }.items():
        with pytest.raises(EvaluationError, match=fault):
            call()
    lost = t.association_difference(rows, constant, SCHEMA, rng, repeats=10)
    assert set(lost.worst) == {"height", "sex"}
