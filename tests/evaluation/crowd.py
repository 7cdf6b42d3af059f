"""Gathered persons made of normals: features and measures that follow age, sex and BMI as a made-up anatomy would."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.evaluation.subjects.people import Gathered, People
from engine.training.recipes import tiny
from engine.vocabulary.schema import AttributeSchema

FEATURES, FOLD = 20, 6
MEASURES = {"fat": "L", "organ": "ml"}


def person_rows(rng: np.random.Generator, n: int) -> list[dict[str, Any]]:
    """Rows of the tiny recipe's columns; every seventh lacks height and bmi."""
    rows = []
    for i in range(n):
        sex = "FM"[int(rng.integers(2))]
        height = float(rng.normal(178 if sex == "M" else 165, 6))
        age = float(rng.uniform(20, 80))
        bmi = float(np.clip(rng.normal(24 + age / 20, 3.5), 16, 45))
        lacking = i % 7 == 3
        rows.append(
            {
                "age": age,
                "sex": sex,
                "height": None if lacking else height,
                "bmi": None if lacking else bmi,
                "ethnicity": "Other" if rng.random() < 0.2 else "White",
                "weight": None if lacking else bmi * height**2 * 1e-4,
            }
        )
    return rows


def body_of(rows: list[dict[str, Any]], rng: np.random.Generator, spread: float = 1.0) -> dict[str, np.ndarray]:
    """Arrays of persons with these rows: what a scan of them would show."""
    n = len(rows)
    mixing = np.random.default_rng(0).normal(size=(4, FEATURES))
    known = np.array(
        [[(r["age"] - 50) / 17, 1.0 if r["sex"] == "M" else -1.0, ((r["bmi"] or 26.0) - 26) / 4, 0.0] for r in rows]
    )
    known[:, 3] = rng.normal(size=n)
    features = (known @ mixing + 0.7 * rng.normal(size=(n, FEATURES))) * spread
    encoded = np.stack([features[:, :FOLD] + 0.2 * rng.normal(size=(n, FOLD)) for _ in range(2)], 1)
    measures = np.stack(
        [5 + 2 * known[:, 2] + 0.5 * rng.normal(size=n), 1500 - 100 * known[:, 0] + 80 * rng.normal(size=n)], 1
    )
    return {"radiomics": features, "encoded": encoded, "measures": measures}


def side(seed: int, n: int, *, prefix: str = "p", spread: float = 1.0, shuffled: bool = False) -> People:
    """``n`` honest persons, or persons of another ``spread``, or whose rows were dealt anew."""
    rng = np.random.default_rng([seed, n])
    rows = person_rows(rng, n)
    arrays = body_of(rows, rng, spread)
    if shuffled:
        rows = [rows[i] for i in rng.permutation(n)]
    return People(ids=tuple(f"{prefix}-{i}" for i in range(n)), rows=tuple(rows), arrays=arrays)


def schema_of(people: People) -> AttributeSchema:
    """The tiny recipe's columns fitted to the persons."""
    return tiny().schema.fitted([{**row, "participant_id": "p"} for row in people.rows])


def gathered(seed: int = 0, n: int = 60, **synthetic: Any) -> tuple[Gathered, AttributeSchema]:
    """Training, test, synthetic and requested persons; ``synthetic`` says how these differ."""
    train, test = side(1000 + seed, 2 * n, prefix="train"), side(2000 + seed, n, prefix="test")
    made = side(3000 + seed, n, prefix="seed", **synthetic)
    rng = np.random.default_rng([seed, 5])
    asked_rows, ids = [], []
    for i, row in enumerate(person_rows(rng, 10)):
        for value in (25.0, 40.0, 55.0, 70.0):
            asked_rows.append({**row, "age": value})
            ids.append(f"seed-{i}")
    asked = People(ids=tuple(ids), rows=tuple(asked_rows), arrays=body_of(asked_rows, rng))
    sides = {"train": train, "test": test, "synthetic": made, "asked_age": asked}
    return Gathered(sides=sides, measures=MEASURES, features=("encoded", "radiomics"), about={}), schema_of(train)


def audited(seed: int = 0, n: int = 40, *, memoriser: bool = False) -> tuple[Gathered, AttributeSchema]:
    """Training, held-out, synthetic persons and replays; a ``memoriser``'s synthetic persons are replays."""
    train, held = side(4000 + seed, 2 * n, prefix="train"), side(5000 + seed, n, prefix="held")
    rng = np.random.default_rng([seed, 6])

    def replays(prefix: str) -> People:
        arrays = {k: v + 0.05 * v.std(0) * rng.normal(size=v.shape) for k, v in train.arrays.items()}
        ids = train.ids if prefix == "train" else tuple(f"{prefix}-{i}" for i in range(len(train)))
        return People(ids=ids, rows=train.rows, arrays=arrays)

    made = replays("seed") if memoriser else side(6000 + seed, 2 * n, prefix="seed")
    for people in (train, held):
        gap = -0.6 if memoriser and people is train else 0.0
        people.arrays["image_loss"] = 1 + 0.2 * rng.normal(size=(len(people), 4)) + gap
    sides = {"train": train, "holdout": held, "synthetic": made, "replay": replays("train")}
    return Gathered(sides=sides, measures=MEASURES, features=("encoded", "radiomics"), about={}), schema_of(train)
