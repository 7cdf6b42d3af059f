"""Laws of cost: FLOP known by hand, a sample's FLOP the sum of its parts, energy proportional to time, clear refusals."""

from __future__ import annotations

import json
import socket
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

import engine
from engine.evaluation.bench.cost import Cost, flop_of, sampling_cost
from engine.evaluation.bench.energy import JOULES_PER_KWH, energy, grid_factor
from engine.evaluation.bench.monai_baseline import (
    LatentDiffusionBaseline,
    baseline_cost,
    baseline_flop,
    baseline_grid,
    comparison,
)
from engine.evaluation.bench.sampling import typical_request
from engine.evaluation.metrics.checks import EvaluationError
from engine.inference.generate import ROW_STEPS
from engine.model.flow import Levels
from engine.vocabulary.schema import Row

WATTS = 20.0
needs_einops = pytest.mark.skipif(find_spec("einops") is None, reason="MONAI's network needs einops")


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Steady:
    """A meter of constant power."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or time.perf_counter

    def start(self) -> None:
        self.began = self.clock()

    def stop(self) -> tuple[float, str]:
        return WATTS * (self.clock() - self.began) / JOULES_PER_KWH, "a steady 20 W"


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> engine.Model:
    return engine.load(tiny_checkpoint / "tiny", device="cpu")


@pytest.fixture(scope="module")
def cost(model: engine.Model) -> Cost:
    """While this process holds 2 GiB, which are none of the sample's."""
    big = torch.ones(2**29)
    found = sampling_cost(model, n=2, steps=4, meter=Steady())
    del big
    return found


def test_flop_of_layers_known_by_hand() -> None:
    linear, conv = nn.Linear(7, 11), nn.Conv3d(3, 5, 3, padding=1)
    assert flop_of(lambda: linear(torch.ones(13, 7))) == 2 * 13 * 7 * 11
    assert flop_of(lambda: conv(torch.ones(1, 3, 4, 5, 6))) == 2 * 27 * 3 * 5 * 4 * 5 * 6
    with torch.inference_mode():
        assert flop_of(lambda: linear(torch.ones(13, 7))) == 2 * 13 * 7 * 11


def test_a_samples_flop_is_that_of_its_parts(model: engine.Model) -> None:
    given, joint = typical_request(model), model.checkpoint.model
    attributes = model.generate(given=given)[0].attributes
    whole = {column.name: attributes[column.name] for column in model.schema.columns}
    rows = joint.rows
    assert rows is not None

    def sample(given: Row, steps: int) -> int:
        return flop_of(lambda: model.generate(given=given, steps=steps, guidance=1.0))

    tokens = torch.zeros(1, joint.config.image.tokens, joint.config.image.latent)
    with torch.inference_mode():
        decoding = flop_of(lambda: joint.decode(tokens))
        row = flop_of(lambda: rows.velocity(rows.noise([0]), Levels(torch.ones(1), torch.ones(1, len(whole)))))
    step = sample(whole, 2) - sample(whole, 1)
    start = sample(whole, 1) - step - decoding  # what is expected of the given columns
    assert 0 < start < 0.2 * step
    drawing = sample(given, 1) - sample(whole, 1)  # the row, for which the scan is drawn
    assert ROW_STEPS * row <= drawing < 1.1 * ROW_STEPS * row
    for steps in (4, 8):
        assert sample(whole, steps) == start + steps * step + decoding
        assert sample(given, steps) == sample(whole, steps) + drawing


@pytest.mark.slow
def test_the_cost_of_a_sample(model: engine.Model, cost: Cost) -> None:
    assert cost.samples == cost.seconds.runs == 2
    assert cost.evaluations == 4
    assert cost.grid == (32, 32, 32)
    assert cost.voxels == 32**3
    assert cost.device == "cpu"
    assert cost.peak_device_memory_mib is None
    assert cost.extrapolated == ""
    assert cost.parameters == sum(p.numel() for p in model.checkpoint.model.parameters())
    given = typical_request(model)
    assert cost.flop == flop_of(lambda: model.generate(given=given, steps=4))
    assert cost.joules / WATTS >= 0.99 * cost.seconds.min
    assert cost.grams_co2e == pytest.approx(cost.joules / JOULES_PER_KWH * cost.grams_per_kwh)
    assert 50 < cost.peak_memory_mib < 2048
    assert cost.cpu_seconds > 0


@pytest.mark.parametrize("seconds", [0.5, 2.0, 3600.0])
def test_energy_is_power_times_time(tmp_path: Path, seconds: float) -> None:
    clock = Clock()
    with energy(tmp_path, country="GBR", meter=Steady(clock), clock=clock) as used:
        clock.now += seconds
    assert used.seconds == pytest.approx(seconds)
    assert used.joules == pytest.approx(WATTS * seconds)
    assert used.grams_co2e == pytest.approx(used.kwh * grid_factor("GBR"))
    left = json.loads((tmp_path / "energy.json").read_text("utf-8"))
    assert left["joules"] == used.joules
    assert left["country"] == "GBR"
    assert left["method"] == "a steady 20 W"
    assert [p.name for p in tmp_path.iterdir()] == ["energy.json"]


def test_a_resumed_run_adds_up_and_a_failed_one_counts(tmp_path: Path) -> None:
    clock = Clock()

    def stop() -> None:
        clock.now += 3
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"), energy(tmp_path, meter=Steady(clock), clock=clock):
        stop()
    with energy(tmp_path, meter=Steady(clock), clock=clock) as used:
        clock.now += 2
    assert used.joules == pytest.approx(2 * WATTS)
    left = json.loads((tmp_path / "energy.json").read_text("utf-8"))
    assert left["seconds"] == pytest.approx(5)
    assert left["joules"] == pytest.approx(5 * WATTS)


def test_codecarbon_is_quiet_offline_and_says_what_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    home, here = tmp_path / "home", tmp_path / "here"
    for folder in (home, here):
        folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with energy(tmp_path) as used:
        end = time.perf_counter() + 0.3
        while time.perf_counter() < end:
            torch.mm(torch.ones(100, 100), torch.ones(100, 100))
    assert used.joules > 0
    assert used.grams_per_kwh == grid_factor()
    assert used.method.startswith("codecarbon")
    assert "mean" in used.method
    assert capfd.readouterr() == ("", "")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["energy.json", "here", "home"]
    assert not [*home.iterdir(), *here.iterdir()]


@pytest.mark.parametrize(
    ("text", "words"), [("{", "delete it"), ('{"seconds": NaN, "kwh": 1}', "no quantity"), ("[]", "delete it")]
)
def test_a_damaged_record_is_refused_before_the_run(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "energy.json").write_text(text, "utf-8")
    with pytest.raises(EvaluationError, match=words), energy(tmp_path, meter=Steady()):
        pytest.fail("the run began")


def test_refusals(tmp_path: Path, model: engine.Model) -> None:
    with pytest.raises(EvaluationError, match="0 samples measure nothing"):
        sampling_cost(model, n=0)
    with pytest.raises(EvaluationError, match="0 steps draw nothing"):
        sampling_cost(model, steps=0)
    with pytest.raises(EvaluationError, match="0 runs measure nothing"):
        baseline_cost((32, 32, 32), runs=0)
    with pytest.raises(EvaluationError, match="0 steps draw nothing"):
        baseline_cost((32, 32, 32), steps=0)
    with pytest.raises(EvaluationError, match="empty side"):
        baseline_grid((0, 32, 32))
    with pytest.raises(EvaluationError, match="'UK' has no grid factor"), energy(country="UK"):
        pass
    with pytest.raises(EvaluationError, match="not a folder"), energy(tmp_path / "none"):
        pass


@pytest.mark.parametrize("grid", [(96, 112, 112), (160, 224, 160), (33, 50, 90), (8, 8, 8), (144, 112, 96)])
def test_the_published_grid_can_be_halved_and_holds_nearly_as_much(grid: tuple[int, int, int]) -> None:
    near = baseline_grid(grid)
    assert all(n % 32 == 0 and n >= 32 for n in near)
    assert all(abs(a - b) < 32 for a, b in zip(near, grid, strict=True))
    assert baseline_grid(near) == near


@needs_einops
def test_the_published_network_is_the_published_one() -> None:
    with torch.device("meta"):
        network = LatentDiffusionBaseline()
    assert sum(p.numel() for p in network.unet.parameters()) == pytest.approx(553e6, rel=0.01)
    latent = network.noise((160, 224, 160))
    assert latent.shape == (1, 3, 20, 28, 20)  # the bundle's noise
    small = network.noise((32, 32, 32))
    assert network.evaluate(small).shape == small.shape
    assert network.decode(small).shape == (1, 1, 32, 32, 32)
    with pytest.raises(EvaluationError, match="multiples of 32"):
        network.noise((32, 40, 32))
    (one, parameters), (four, _) = (baseline_flop((32, 32, 32), steps=steps) for steps in (1, 4))
    decoding = flop_of(lambda: network.decode(small))
    assert four - decoding == 4 * (one - decoding)
    assert parameters == sum(p.numel() for p in network.parameters())


@needs_einops
@pytest.mark.slow
def test_side_by_side(model: engine.Model) -> None:
    out = json.loads(json.dumps(comparison(model, n=8, steps=4)))
    ours, theirs = out["model"], out["baseline"]
    assert ours["voxels"] == theirs["voxels"] == 32**3
    assert theirs["evaluations"] == 50
    assert "50 times one evaluation" in theirs["extrapolated"]
    for name in ("flop", "joules", "parameters"):
        assert out["times"][name] == pytest.approx(theirs[name] / ours[name])
        assert out["times"][name] > 1
