"""Laws of progress: every ask tells of each evaluation of its network, and what the callback raises cancels it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import engine
from engine.inference.counterfactual import counterfactual, generated_counterfactual, invert
from engine.inference.export import write_counterfactuals, write_generated_counterfactuals
from engine.inference.generate import PARTS, drawing_units
from engine.inference.impute import impute
from engine.inference.infer import infer
from engine.inference.progress import ProgressCallback, Tally
from engine.vocabulary.schema import Row

GIVEN = {"age": 40.0, "sex": "F"}
OLDER = {"age": 60.0}
Ask = Callable[[engine.Model, engine.Volume, ProgressCallback], Any]

#: every ask, and the evaluations that it makes of the joint network and of the network of rows together
ASKS: dict[str, tuple[Ask, int]] = {
    "infer": (lambda m, scan, told: infer(m, scan, GIVEN, samples=3, steps=5, progress=told), 5),
    "infer without a scan": (lambda m, _, told: infer(m, None, GIVEN, samples=3, steps=5, progress=told), 5),
    # a block of rows without a scan is drawn by the network of rows, in 32 evaluations
    "impute": (lambda m, scan, told: list(impute(m, [GIVEN, {}], [scan, None], progress=told)), 8 + 32),
    "impute rows": (lambda m, _, told: list(impute(m, [GIVEN, {}], steps=4, progress=told)), 4),
    # three fixed-point rounds a step backwards; what is missing is inferred in 8 evaluations
    "invert": (lambda m, scan, told: invert(m, scan, GIVEN, steps=2, progress=told).image, 8 + 3 * 2),
    "counterfactual": (
        lambda m, scan, told: (
            counterfactual(m, scan, factual=GIVEN, intervention=OLDER, steps=2, progress=told).volume.data
        ),
        8 + 3 * 2 + 2,
    ),
}


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> engine.Model:
    return engine.load(tiny_checkpoint / "tiny", device="cpu")


@pytest.fixture(scope="module")
def scan(model: engine.Model) -> engine.Volume:
    return model.generate(seed=2, steps=2)[0].volume


@pytest.mark.parametrize("name", ASKS)
def test_every_evaluation_is_told(model: engine.Model, scan: engine.Volume, name: str) -> None:
    ask, expected = ASKS[name]
    told: list[tuple[int, int]] = []
    made: list[int] = []
    net = model.checkpoint.model
    assert net.rows is not None
    # a row that is completed before a scan moves costs less than one evaluation of a scan, and is not told
    parts = (net,) if name == "counterfactual" else (net, net.rows)
    watched = [part.velocity_net.register_forward_hook(lambda *_: made.append(1)) for part in parts]
    try:
        ask(model, scan, lambda done, total: told.append((done, total)))
    finally:
        for hook in watched:
            hook.remove()
    assert len(made) == expected
    assert told == [(k, expected) for k in range(1, expected + 1)]


class _Enough(Exception):
    """What a caller raises to cancel."""


@pytest.mark.parametrize("name", ASKS)
def test_what_the_callback_raises_cancels_and_nothing_is_changed(
    model: engine.Model, scan: engine.Volume, name: str
) -> None:
    ask, _ = ASKS[name]
    before = ask(model, scan, lambda done, total: None)
    calls: list[int] = []

    def enough(done: int, total: int) -> None:
        calls.append(done)
        if done == 2:
            raise _Enough

    with pytest.raises(_Enough):
        ask(model, scan, enough)
    assert calls == [1, 2]
    after = ask(model, scan, lambda done, total: None)
    assert np.array_equal(after, before)


def test_a_generated_counterfactual_counts_its_persons(model: engine.Model) -> None:
    """Two persons, also where columns are held, each of so many evaluations, a decoding and a detail."""
    for hold, persons in ((), 2), (("height",), 2):
        told: list[tuple[int, int]] = []
        generated_counterfactual(
            model, 3, GIVEN, OLDER, 2, hold=hold, progress=lambda done, total, told=told: told.append((done, total))
        )
        total = drawing_units(2) * persons
        assert told == [(k, total) for k in range(1, total + 1)]


def test_a_generated_counterfactual_takes_persons_of_the_caller(model: engine.Model) -> None:
    asked: list[Row] = []

    def draw(given: Row) -> engine.Person:
        asked.append(given)
        return model.generate(given=given, seed=3, steps=2)[0]

    found = generated_counterfactual(model, 3, GIVEN, OLDER, 2, draw=draw)
    expected = generated_counterfactual(model, 3, GIVEN, OLDER, 2)
    assert [given["age"] for given in asked] == [40.0, 60.0]
    for one, other in zip(found, expected, strict=True):
        assert one.attributes == other.attributes
        assert np.array_equal(one.volume.data, other.volume.data)


def test_files_of_what_ifs_count_to_the_end_and_a_cancelled_one_leaves_none(
    model: engine.Model, scan: engine.Volume, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    write_counterfactuals(
        model, scan, tmp_path / "scan", factual=GIVEN, interventions=[OLDER, {"sex": "M"}], steps=2,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    total = 2 * 2 * (8 + 4 * 2)
    assert told == [(k, total) for k in range(1, total + 1)]

    def enough(done: int, total: int) -> None:
        raise _Enough

    with pytest.raises(_Enough):
        write_generated_counterfactuals(
            model, tmp_path / "person", seed=1, factual=GIVEN, interventions=[OLDER], steps=2, progress=enough
        )
    assert [path.name for path in tmp_path.iterdir()] == ["scan"]


def test_a_long_stage_is_told_while_its_layers_run() -> None:
    """Four layers of a stage of eight parts: two parts a layer, the last at its end; a second run of the layers adds none."""
    net = nn.Sequential(*[nn.Conv3d(1, 1, 1) for _ in range(4)])
    told: list[int] = []
    tally = Tally(lambda done, total: told.append(done), 10)
    tally.add()
    seen = []
    with tally.stage(8, [net]):
        for layer in net:
            layer(torch.zeros(1, 1, 2, 2, 2))
            seen.append(tally.done)
        net(torch.zeros(1, 1, 2, 2, 2))
        seen.append(tally.done)
    assert (seen, told) == ([3, 5, 7, 8, 8], list(range(1, 10)))
    net(torch.zeros(1, 1, 2, 2, 2))
    assert tally.done == 9, "nothing is heard of what runs later"


def test_a_long_stage_is_cancelled_within() -> None:
    net = nn.Sequential(*[nn.Conv3d(1, 1, 1) for _ in range(4)])
    ran: list[int] = []
    for layer in net:
        layer.register_forward_hook(lambda *_: ran.append(1))

    def enough(done: int, total: int) -> None:
        raise _Enough

    with pytest.raises(_Enough), Tally(enough, 4).stage(4, [net]):
        net(torch.zeros(1, 1, 2, 2, 2))
    assert len(ran) == 1
    net(torch.zeros(1, 1, 2, 2, 2))
    assert len(ran) == 5


def test_the_detail_of_a_mask_is_told_in_parts(mask_run: Path) -> None:
    """Law: in the stage of the detail, too, progress is told one by one, and while its layers run."""
    model = engine.load(mask_run / "checkpoint", device="cpu")
    told: list[tuple[int, int]] = []
    while_running: list[int] = []
    net = model.checkpoint.model.detail.net.out
    hook = net.register_forward_hook(lambda *_: while_running.append(len(told)))
    try:
        model.generate(seed=3, steps=2, with_mask=True, progress=lambda done, total: told.append((done, total)))
    finally:
        hook.remove()
    total = drawing_units(2)
    assert told == [(k, total) for k in range(1, total + 1)]
    assert while_running[0] > 2 + PARTS, "some parts of the detail are told before its last layer has run"
