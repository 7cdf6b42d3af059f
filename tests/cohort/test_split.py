"""Laws of both versions of the split: sizes, balance, independence of order and of others, nobody incomplete held out."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from engine.cohort.split import SplitError, apportion, split, stratified
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
    parts = stratified(rows)
    assert {name: len(part) for name, part in parts.items()} == {"train": 217, "validation": 25, "test": 58}
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(300))
    assert all((np.diff(part) > 0).all() for part in parts.values())


def test_independent_of_row_order() -> None:
    rows = people(150)
    order = np.random.default_rng(1).permutation(150)
    parts, shuffled = stratified(rows), stratified([rows[i] for i in order])
    for name, part in parts.items():
        assert set(part.tolist()) == {int(order[i]) for i in shuffled[name]}


def test_missing_age_or_sex_only_trains() -> None:
    rows = people(90)
    for i in range(0, 90, 9):
        rows[i]["age" if i % 2 else "sex"] = None
    train = set(stratified(rows)["train"].tolist())
    assert set(range(0, 90, 9)) <= train


def test_every_stratum_is_held_out_in_proportion() -> None:
    rows = people(600)
    ages = np.array([row["age"] for row in rows], float)
    tercile = np.argsort(np.argsort(ages)) * 3 // len(rows)
    sex = np.array([row["sex"] for row in rows])
    test = stratified(rows)["test"]
    for s in "FM":
        for third in range(3):
            members = np.flatnonzero((sex == s) & (tercile == third))
            assert abs(np.isin(members, test).mean() - 28 / 144) < 1.01 / len(members) + 1e-9


def test_small_and_wholly_incomplete_cohorts_train() -> None:
    assert {k: len(v) for k, v in stratified([]).items()} == {"train": 0, "validation": 0, "test": 0}
    nameless = [{"participant_id": f"p{i}", "age": None, "sex": None} for i in range(5)]
    assert {k: len(v) for k, v in stratified(nameless).items()} == {"train": 5, "validation": 0, "test": 0}
    assert len(stratified(people(1))["train"]) == 1


def test_refusals() -> None:
    twice = [{"participant_id": "a", "age": 3.0, "sex": "F"}] * 2
    for version in (1, 2):
        with pytest.raises(SplitError, match="same participant_id"):
            split(twice, {}, version=version)
        with pytest.raises(SplitError, match="fractions"):
            split(people(9), {}, version=version, test=0.7, validation=0.3)
    with pytest.raises(SplitError, match="version is 3, this program knows 1 and 2"):
        split(twice, {}, version=3)


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
    assert {name: len(part) for name, part in stratified(rows).items()} == {"train": 108, "validation": 12, "test": 28}


def part_of(rows: list[dict[str, object]]) -> dict[object, str]:
    """Each person's part, by version 2."""
    parts = split(rows, {})
    return {rows[i]["participant_id"]: name for name, members in parts.items() for i in members}


@pytest.mark.parametrize("n", [22, 60])
def test_nobody_moves_when_anybody_is_left_out_or_joins(n: int) -> None:
    rows = people(n)
    whole = part_of(rows)
    for gone in range(n):
        assert part_of(rows[:gone] + rows[gone + 1 :]) == {k: v for k, v in whole.items() if k != f"sub-{gone:04d}"}
    assert {k: v for k, v in part_of(people(3 * n)).items() if k in whole} == whole


def test_the_shares_are_kept_on_average() -> None:
    sizes = {name: len(part) for name, part in split(people(14400), {}).items()}
    assert sizes["test"] == pytest.approx(2800, abs=4 * 48)
    assert sizes["validation"] == pytest.approx(1200, abs=4 * 33)
    assert sum(sizes.values()) == 14400


def test_a_persons_own_missing_cells_make_them_train_and_move_nobody_else() -> None:
    rows = people(90)
    whole = part_of(rows)
    for i in range(0, 90, 9):
        rows[i]["age" if i % 2 else "sex"] = None
    blank = {f"sub-{i:04d}" for i in range(0, 90, 9)}
    assert part_of(rows) == {k: "train" if k in blank else v for k, v in whole.items()}


def test_a_computed_person_is_their_seed_and_a_nameless_one_what_their_row_says() -> None:
    rows = [{**row, "seed": 5 * i} for i, row in enumerate(people(60))]
    renamed = [{**row, "participant_id": f"other-{i}"} for i, row in enumerate(rows)]
    for meta in ({"plan": {"phantom": 1}}, {"anonymous": True}):
        first, second = split(rows, meta), split(renamed, meta)
        assert all((first[name] == second[name]).all() for name in first)
        assert len(first["test"]) > 0
    assert any((split(rows, {})[name].tolist() != split(renamed, {})[name].tolist()) for name in ("train", "test"))
