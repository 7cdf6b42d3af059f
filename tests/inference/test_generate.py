"""Laws of generation: given values exact, one seed one person whatever the batch, seeds differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import engine
from engine.inference.impute import impute
from engine.inference.infer import infer


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> engine.Model:
    return engine.load(tiny_checkpoint / "tiny", device="cpu")


def test_given_values_return_exactly(model: engine.Model) -> None:
    given = {"age": 61, "sex": "F", "weight": 83.3, "height": 171.2}
    person = model.generate(n=1, given=given, seed=3)[0]
    for name, value in given.items():
        assert person.attributes[name] == value
    assert person.attributes["bmi"] == pytest.approx(83.3 / 1.712**2, rel=1e-12)


def test_weight_follows_height_and_bmi(model: engine.Model) -> None:
    for person in model.generate(n=4, seed=0):
        row = person.attributes
        assert row["weight"] == 1e-4 * row["bmi"] * row["height"] ** 2 or row["weight"] == pytest.approx(
            row["bmi"] * (row["height"] / 100) ** 2, rel=1e-15
        )


def test_one_seed_one_person(model: engine.Model) -> None:
    four = model.generate(n=4, given={"age": 50}, seed=10)
    alone = model.generate(n=1, given={"age": 50}, seed=12)[0]
    assert np.array_equal(four[2].volume.data, alone.volume.data)
    assert four[2].attributes == alone.attributes
    assert not np.array_equal(four[0].volume.data, four[1].volume.data)
    assert [p.seed for p in four] == [10, 11, 12, 13]


def test_the_scan_is_drawn_for_the_row(model: engine.Model) -> None:
    """p(table) p(scan | table): who has the row of a free person, and its seed, is that person, in a draft as in full."""
    free = model.generate(n=1, given={"age": 50}, seed=10)[0]
    row = {column.name: free.attributes[column.name] for column in model.schema.columns}
    again = model.generate(n=1, given=row, seed=10)[0]
    assert np.array_equal(free.volume.data, again.volume.data)
    assert free.attributes == again.attributes
    assert model.generate(n=1, given={"age": 50}, seed=10, steps=2)[0].attributes == free.attributes


def test_without_a_scan_the_network_of_rows_answers(model: engine.Model) -> None:
    net = model.checkpoint.model
    assert net.rows is not None
    assert net.alone is net.rows
    drawn = infer(model, None, {"sex": "F"}, samples=64, seed=5)
    assert drawn == list(impute(model, [{"sex": "F"}] * 64, seed=5))
    with torch.no_grad():
        net.rows.table_centre += 1
    try:
        assert infer(model, None, {"sex": "F"}, samples=64, seed=5) != drawn
    finally:
        with torch.no_grad():
            net.rows.table_centre -= 1


def test_progress_counts_every_evaluation(model: engine.Model) -> None:
    seen: list[tuple[int, int]] = []
    model.generate(n=2, seed=0, steps=5, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert seen[-1][0] == seen[-1][1]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"sex": "X"}, "sex 'X'"),
        ({"age": -3}, "age -3"),
        ({"bmi": 900}, "bmi 900"),
        ({"shoe": 4}, "'shoe'"),
        ({"weight": 80}, "weight 80 alone"),
        ({"weight": 80, "height": 180, "bmi": 40}, "contradicts"),
    ],
)
def test_impossible_requests_name_the_value(model: engine.Model, given: dict, words: str) -> None:
    with pytest.raises(engine.AttributeValueError, match=words):
        model.generate(given=given)


@pytest.mark.parametrize(
    "request_", [{"n": 0}, {"steps": 0}, {"seed": -1}, {"guidance": 99.0, "given": {"age": 30}}, {"guidance": 99.0}]
)
def test_bad_numbers_are_refused(model: engine.Model, request_: dict) -> None:
    with pytest.raises(engine.RequestError):
        model.generate(**request_)


def test_a_draft_without_detail_is_the_same_person_as_decoded(masked: str) -> None:
    model = engine.load(masked)
    (whole,), (draft,) = (model.generate(seed=4, steps=2, detail=detail) for detail in (True, False))
    assert whole.attributes == draft.attributes
    assert whole.volume is not None
    assert draft.volume is not None
    difference = np.abs(whole.volume.data - draft.volume.data)
    assert difference.max() > 0
    sd = model.checkpoint.model.detail.residual_sd().max()
    assert difference.mean() < float(sd)
