"""The one loop: going on where it stopped changes nothing, a deadline means one thing, reports are means."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import engine.training.journal
from engine.training.loop import Limits, Loss, ReadAhead, optimise
from engine.training.run import OptimizerConfig, Stage, step_generator

STEPS = 12


def line() -> nn.Linear:
    """A line to fit, always from the same start."""
    net = nn.Linear(2, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[0.5, -0.5]]))
        net.bias.zero_()
    return net


def stage_of(folder: Path | None) -> Stage:
    if folder is not None:
        folder.mkdir(exist_ok=True)
    stage = Stage("line", folder, line())
    stage.load()
    return stage


def squares(stage: Stage):
    """Squared error of y = x0 + 2 x1 on points of the step's own."""

    def loss(step: int) -> Loss:
        x = torch.randn(8, 2, generator=step_generator(3, step))
        error = (stage.modules(x)[:, 0] - x @ torch.tensor([1.0, 2.0])).square().mean()
        return Loss(error, {"error": error, "step": torch.tensor(float(step))})

    return loss


def rate(step: int) -> float:
    return 0.1 / (1 + step)


def weights(stage: Stage) -> Tensor:
    return torch.cat([p.detach().flatten() for p in stage.modules.parameters()]).clone()


def whole(folder: Path) -> Tensor:
    stage = stage_of(folder)
    for _ in optimise(stage, squares(stage), rate, Limits(steps=STEPS)):
        pass
    return weights(stage)


@pytest.mark.parametrize("closes", [False, True])
def test_a_training_that_is_cut_anywhere_ends_in_the_same_weights(tmp_path: Path, closes: bool) -> None:
    expected = whole(tmp_path / "never cut")
    for cut in (1, 5, STEPS - 1):
        folder = tmp_path / f"{closes} {cut}"
        first = stage_of(folder)
        steps = optimise(
            first, squares(first), rate, Limits(steps=STEPS, save_every=0.0, report_every=1, closes=closes)
        )
        while next(steps).step < cut:
            pass
        steps.close()
        again = stage_of(folder)
        assert again.step == cut
        for _ in optimise(again, squares(again), rate, Limits(steps=STEPS, closes=closes)):
            pass
        assert torch.equal(weights(again), expected)


def test_the_step_at_hand_is_finished_and_saved_at_the_deadline(tmp_path: Path) -> None:
    stage = stage_of(tmp_path)
    reached = time.monotonic() - 1
    (only,) = optimise(stage, squares(stage), rate, Limits(steps=STEPS, deadline=reached))
    assert only.step == 1
    assert stage_of(tmp_path).step == 1


def test_after_a_deadline_a_stage_goes_on_unless_it_closes(tmp_path: Path) -> None:
    for closes, steps in ((False, STEPS), (True, 1)):
        folder = tmp_path / str(closes)
        stage = stage_of(folder)
        cut = Limits(steps=STEPS, deadline=time.monotonic() - 1, closes=closes)
        assert [p.step for p in optimise(stage, squares(stage), rate, cut)] == [1]
        again = stage_of(folder)
        for _ in optimise(again, squares(again), rate, Limits(steps=STEPS, closes=closes)):
            pass
        assert again.step == steps


def test_a_finished_stage_is_left_as_it_is(tmp_path: Path) -> None:
    expected = whole(tmp_path)
    stage = stage_of(tmp_path)
    assert list(optimise(stage, squares(stage), rate, Limits(steps=STEPS))) == []
    assert torch.equal(weights(stage), expected)


def test_reports_are_means_since_the_last_report(tmp_path: Path) -> None:
    stage = stage_of(tmp_path)
    found = list(optimise(stage, squares(stage), rate, Limits(steps=STEPS, report_every=5)))
    assert [p.step for p in found] == [5, 10, 12]
    assert [p.losses["step"] for p in found] == [2.0, 7.0, 10.5]
    assert all(p.total == STEPS and p.stage == "line" for p in found)


def test_asked_to_stop_it_saves_after_the_step_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = whole(tmp_path / "never cut")
    stage = stage_of(tmp_path)
    seen: list[int] = []

    def squares_until_asked(step: int) -> Loss:
        seen.append(step)
        if step == 4:
            engine.training.journal._stop.set()
        return squares(stage)(step)

    with pytest.raises(KeyboardInterrupt):
        for _ in optimise(stage, squares_until_asked, rate, Limits(steps=STEPS)):
            pass
    engine.training.journal._stop.clear()
    assert seen == [0, 1, 2, 3, 4]
    again = stage_of(tmp_path)
    assert again.step == 5
    for _ in optimise(again, squares(again), rate, Limits(steps=STEPS)):
        pass
    assert torch.equal(weights(again), expected)


def test_the_observer_sees_every_step_and_what_is_left() -> None:
    stage = stage_of(None)
    seen: list[tuple[int, float, bool]] = []
    limits = Limits(steps=STEPS, deadline=time.monotonic() + 1000)
    for _ in optimise(
        stage, squares(stage), rate, limits, observe=lambda s, left, last: seen.append((s.step, left, last))
    ):
        pass
    assert [step for step, _, _ in seen] == list(range(1, STEPS + 1))
    assert [last for _, _, last in seen] == [False] * (STEPS - 1) + [True]
    assert all(0 <= left <= 1000 for _, left, _ in seen)
    assert seen[-1][1] == 0


def test_it_ends_in_the_average_or_where_none_is_kept_in_the_last_weights() -> None:
    averaged = stage_of(None)
    last = Stage("line", None, line(), OptimizerConfig(averaged=False))
    for stage in (averaged, last):
        for _ in optimise(stage, squares(stage), rate, Limits(steps=STEPS)):
            pass
    mean = torch.cat([averaged.ema.weights[name].flatten() for name in averaged.parameters])
    assert torch.equal(weights(averaged), mean)
    assert not torch.allclose(weights(averaged), weights(last))


def test_gradients_are_cut_where_that_is_asked_for() -> None:
    moved = {}
    for clip in (1.0, None):
        stage = Stage("line", None, line(), OptimizerConfig(clip=clip))
        stage.advance(1e4 * stage.modules(torch.ones(1, 2)).sum(), 0.0)
        norms = [float(p.grad.norm()) for p in stage.modules.parameters() if p.grad is not None]
        moved[clip] = math.hypot(*norms)
    assert moved[1.0] == pytest.approx(1.0, rel=1e-3)
    assert moved[None] == pytest.approx(1e4 * math.sqrt(3), rel=1e-3)


def test_what_is_read_ahead_is_that_of_the_step_whatever_the_order() -> None:
    made: list[int] = []

    def prepare(step: int) -> int:
        made.append(step)
        return 10 * step

    with ReadAhead(prepare) as read:
        assert [read(step) for step in (0, 1, 2, 7, 8, 3)] == [0, 10, 20, 70, 80, 30]
    assert made[:4] == [0, 1, 2, 3]
