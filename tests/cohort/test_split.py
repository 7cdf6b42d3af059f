"""Laws of the split: sizes, balance, independence of order, and nobody incomplete held out."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from engine.cohort.split import apportion, split
from engine.vocabulary.cells import parse_rows

IXI = Path(__file__).parents[2] / "../shared/data/ixi-head-t1/participants.tsv"


def people(n: int, seed: int = 0) -> list[dict[str, object]]:
    random = np.random.default_rng(seed)
    return [
        {"participant_id": f"sub-{i:04d}", "age": float(random.uniform(20, 80)), "sex": "FM"[random.integers(2)]}
        for i in range(n)
    ]


def test_proportions_and_a_partition() -> None:
    rows = people(300)
    parts = split(rows)
    assert {name: len(part) for name, part in parts.items()} == {"train": 217, "validation": 25, "test": 58}
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(300))
    assert all((np.diff(part) > 0).all() for part in parts.values())


def test_independent_of_row_order() -> None:
    rows = people(150)
    order = np.random.default_rng(1).permutation(150)
    parts, shuffled = split(rows), split([rows[i] for i in order])
    for name, part in parts.items():
        assert set(part.tolist()) == {int(order[i]) for i in shuffled[name]}


def test_missing_age_or_sex_only_trains() -> None:
    rows = people(90)
    for i in range(0, 90, 9):
        rows[i]["age" if i % 2 else "sex"] = None
    train = set(split(rows)["train"].tolist())
    assert set(range(0, 90, 9)) <= train


def test_every_stratum_is_held_out_in_proportion() -> None:
    rows = people(600)
    ages = np.array([row["age"] for row in rows], float)
    tercile = np.argsort(np.argsort(ages)) * 3 // len(rows)
    sex = np.array([row["sex"] for row in rows])
    test = split(rows)["test"]
    for s in "FM":
        for third in range(3):
            members = np.flatnonzero((sex == s) & (tercile == third))
            assert abs(np.isin(members, test).mean() - 28 / 144) < 1.01 / len(members) + 1e-9


def test_small_and_wholly_incomplete_cohorts_train() -> None:
    assert {k: len(v) for k, v in split([]).items()} == {"train": 0, "validation": 0, "test": 0}
    nameless = [{"participant_id": f"p{i}", "age": None, "sex": None} for i in range(5)]
    assert {k: len(v) for k, v in split(nameless).items()} == {"train": 5, "validation": 0, "test": 0}
    assert len(split(people(1))["train"]) == 1


def test_refusals() -> None:
    twice = [{"participant_id": "a", "age": 3.0, "sex": "F"}] * 2
    with pytest.raises(ValueError, match="same participant_id"):
        split(twice)
    with pytest.raises(ValueError, match="fractions"):
        split(people(9), test=0.7, validation=0.3)


def test_apportion_gives_exactly_the_total() -> None:
    random = np.random.default_rng(2)
    for _ in range(200):
        sizes = random.integers(0, 30, 6).tolist()
        total = int(random.integers(0, sum(sizes) + 1))
        shares = apportion(sizes, total)
        assert sum(shares) == total
        assert all(0 <= share <= size for share, size in zip(shares, sizes, strict=True))


@pytest.mark.skipif(not IXI.is_file(), reason="the IXI heads are not here")
def test_the_ixi_heads_are_108_12_28() -> None:
    with IXI.open() as stream:
        rows, flags = parse_rows(list(csv.DictReader(stream, delimiter="\t")))
    assert flags == []
    assert {name: len(part) for name, part in split(rows).items()} == {"train": 108, "validation": 12, "test": 28}
