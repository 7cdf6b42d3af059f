"""Cost against size: grids as they are typed, FLOP in proportion to voxels, the measured parts and how they add up."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from engine.evaluation.bench import cost, everything, sizes
from engine.evaluation.bench.everything import PARTS, benchmark_everything
from engine.evaluation.bench.roof import roof
from engine.evaluation.bench.sampling import DRAFT_STEPS
from engine.evaluation.bench.sizes import GRIDS, benchmark_sizes, grids_of, sample_flop, untrained
from engine.inference.generate import load
from engine.vocabulary.refusal import RequestError
from pages.components.explore.work import DRAFT_STEPS as EXPLORES


def test_grids_as_they_are_typed() -> None:
    assert grids_of("") == GRIDS
    assert grids_of("96x112x112, 64X64X64".replace(" ", "")) == ((96, 112, 112), (64, 64, 64))
    with pytest.raises(RequestError, match="'96x96' is no grid"):
        grids_of("96x96")
    with pytest.raises(RequestError, match="'axbxc' is no grid"):
        grids_of("axbxc")
    with pytest.raises(RequestError, match="not of multiples of 16"):
        grids_of("96x96x100")
    with pytest.raises(RequestError, match="not of multiples of 16"):
        grids_of("0x96x96")


def test_a_slope_is_that_of_the_logarithms() -> None:
    assert sizes._slope([1, 10, 100], [3, 300, 30000]) == 2
    assert sizes._slope([5], [3]) is None
    assert sizes._slope([1, 2], [0, 1]) is None


def test_convolutions_cost_in_proportion_to_voxels(tiny_checkpoint: Path) -> None:
    name = str(tiny_checkpoint / "tiny")
    small, large = sample_flop(name, (32, 32, 32)), sample_flop(name, (64, 64, 32))
    assert large["decoding"] == 4 * small["decoding"]
    # columns are tokens too, and attention grows with pairs
    assert small["sampling"] < large["sampling"] < 16 * small["sampling"]


def test_a_model_with_an_atlas_costs_little_more_a_voxel_where_volumes_are_large() -> None:
    """In one piece and in tiles; 512 x 512 x 256 voxels within what is asked of a sample."""
    few, many = (sample_flop("head-t1", grid) for grid in ((96, 96, 96), (512, 512, 256)))
    assert few.keys() == many.keys() == {"sampling", "decoding", "mask", "detail"}
    slope = sizes._slope([96**3, 2**26], [sum(few.values()), sum(many.values())])
    assert slope is not None
    assert slope < 1.05
    assert sum(many.values()) / 2**26 < 0.3e6


def test_an_untrained_model_draws_persons_on_its_grid(tiny_checkpoint: Path) -> None:
    before = torch.random.get_rng_state()
    model = untrained(str(tiny_checkpoint / "tiny"), (48, 32, 32))
    assert torch.equal(torch.random.get_rng_state(), before)
    (person,) = model.generate(steps=2)
    assert person.volume.data.shape == (48, 32, 32)


def test_a_sample_says_what_it_took(tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes._draw(str(tiny_checkpoint / "tiny"), [32, 32, 32], "cpu")
    said = json.loads(capsys.readouterr().out)
    assert said["sampling_seconds"] + said["decoding_seconds"] <= said["seconds"] + 0.01
    assert said["cpu_seconds"] > 0
    sizes._several(str(tiny_checkpoint / "tiny"), [32, 32, 32], "cpu")
    assert json.loads(capsys.readouterr().out).keys() == {"1", "2", "4"}


@pytest.mark.slow
def test_sizes_in_processes_of_their_own(tiny_checkpoint: Path) -> None:
    found = benchmark_sizes(str(tiny_checkpoint / "tiny"), [(32, 32, 32), (96, 96, 96)], device="cpu")
    assert [size["voxels"] for size in found["sizes"]] == [32**3, 96**3]
    assert found["sizes"][1]["peak_mib"] >= found["fixed_mib"]
    assert found["slopes"]["flop_on_voxels"] == pytest.approx(1, abs=0.3)
    json.dumps(found, allow_nan=False)


def test_the_roof_is_what_was_measured() -> None:
    found = roof(runs=2, side=64, copied=2**12)
    assert found.flop_per_second >= 2 * 64**3 / max(found.matmul_seconds.median, 1e-4)
    assert found.bytes_per_second > 0
    assert found.share(found.flop_per_second, 2.0) == 0.5


def test_everything_in_one_run(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.evaluation.bench.roof.SIDE", 64)
    left = tuple(part for part in PARTS if part != "parts")
    found = benchmark_everything(tiny_checkpoint / "tiny", runs=2, device="cpu", leave_out=left)
    assert found["sample"] is None
    assert found["draft"] is None
    assert found["times"] == {"sample": None, "draft": None}
    for name, part in found["parts"].items():
        assert part["flop"] > 0, name
        assert part["flop_per_voxel"] == pytest.approx(part["flop"] / 32**3, rel=1e-3)
        low, high = part["quartiles"]
        assert part["seconds"]["min"] <= low <= part["seconds"]["median"] + 1e-4 <= high + 2e-4
        assert 0 <= part["share_of_roof"] < 2
    step = found["parts"]["training step of the autoencoder, 1 person"]
    # forwards through encoder and decoder, and twice that backwards
    assert step["flop"] > 3 * found["parts"]["decoding"]["flop"]
    json.dumps(found, allow_nan=False)


def test_a_draft_is_explores_and_takes_less(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # of so little work no meter reads the energy
    monkeypatch.setattr(cost, "require_energy", lambda used: None)
    model = load(tiny_checkpoint / "tiny", "cpu")
    draft, whole = (
        everything._sample(model, roof(runs=1, side=64, copied=64), 1, None, draft=d) for d in (True, False)
    )
    assert draft["evaluations"] == DRAFT_STEPS == EXPLORES
    assert 0 < draft["flop_per_voxel"] < whole["flop_per_voxel"]
    assert draft["flop_per_voxel"] == pytest.approx(draft["flop"] / 32**3, rel=1e-3)
    assert draft["what"].endswith(", a draft")


def test_what_cannot_be_measured_is_said(tiny_checkpoint: Path) -> None:
    with pytest.raises(RequestError, match="0 runs measure nothing"):
        benchmark_everything(tiny_checkpoint / "tiny", runs=0)
    with pytest.raises(RequestError, match="weather is no part"):
        benchmark_everything(tiny_checkpoint / "tiny", leave_out=("weather",))


def test_voxels_of_the_default_grids_span_two_orders() -> None:
    voxels = [math.prod(grid) for grid in GRIDS]
    assert voxels == sorted(voxels)
    assert voxels[-1] / voxels[0] > 75
