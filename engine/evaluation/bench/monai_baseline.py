"""MONAI's brain latent diffusion network at its published configuration with random weights: its cost, not its pictures.

Configuration: MONAI model zoo, bundle ``brain_image_synthesis_latent_diffusion_model`` 1.0.0, ``configs/inference.json``
(networks, 50 DDIM steps) and ``scripts/sampler.py`` (conditions concatenated to the latent and attended to); Pinaya et
al. 2022, Brain imaging generation with latent diffusion models, arXiv 2209.07162. Published at 160 x 224 x 160 voxels.
"""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from engine.evaluation.bench.cost import (
    Cost,
    Progress,
    child_peak,
    flop_of,
    require_positive,
    sampling_cost,
)
from engine.evaluation.bench.energy import JOULES_PER_KWH, Meter, energy, require_energy
from engine.evaluation.bench.sampling import machine, timing
from engine.evaluation.metrics.checks import EvaluationError
from engine.inference.generate import Model

SOURCE = "MONAI model zoo, brain_image_synthesis_latent_diffusion_model 1.0.0 (Pinaya et al. 2022, arXiv 2209.07162)"
STEPS = 50
LATENT = 3
#: sex, age, ventricular volume, brain volume
CONDITIONS = 4
#: three halvings of the autoencoder
FACTOR = 8
#: and two of the network on its latent
MULTIPLE = 32

#: compared as ratios, beside the seconds
TIMES = ("cpu_seconds", "peak_memory_mib", "flop", "joules", "parameters")

Grid = tuple[int, int, int]


def baseline_grid(grid: Grid) -> Grid:
    """The grid of nearly as many voxels as ``grid`` whose sides the network can halve five times (multiples of 32).

    >>> baseline_grid((96, 112, 112))
    (96, 96, 128)
    """
    if min(grid) < 1:
        raise EvaluationError(f"grid {grid} has an empty side: give voxels in x, y and z")
    sides = [sorted({max(1, n // MULTIPLE) * MULTIPLE, -(-n // MULTIPLE) * MULTIPLE}) for n in grid]
    x, y, z = min(itertools.product(*sides), key=lambda s: abs(math.prod(s) - math.prod(grid)))
    return x, y, z


class LatentDiffusionBaseline(nn.Module):
    """Its two networks, for volumes of ``channels``; :meth:`evaluate` runs once a step, :meth:`decode` once a sample.

    Raises :class:`EvaluationError` where einops, of which MONAI's network is made, is not installed.
    """

    def __init__(self, channels: int = 1) -> None:
        if find_spec("einops") is None:
            raise EvaluationError(
                "MONAI's diffusion network needs einops, which is not installed: add it (pip install einops)"
            )
        from monai.networks.nets.autoencoderkl import AutoencoderKL
        from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet

        super().__init__()
        self.autoencoder = AutoencoderKL(
            spatial_dims=3,
            in_channels=channels,
            out_channels=channels,
            latent_channels=LATENT,
            channels=(64, 128, 128, 128),
            num_res_blocks=2,
            norm_num_groups=32,
            norm_eps=1e-6,
            attention_levels=(False, False, False, False),
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
        )
        self.unet = DiffusionModelUNet(
            spatial_dims=3,
            in_channels=LATENT + CONDITIONS,
            out_channels=LATENT,
            channels=(256, 512, 768),
            num_res_blocks=2,
            attention_levels=(False, True, True),
            norm_num_groups=32,
            norm_eps=1e-6,
            resblock_updown=True,
            num_head_channels=(0, 512, 768),
            with_conditioning=True,
            transformer_num_layers=1,
            cross_attention_dim=CONDITIONS,
            upcast_attention=True,
            use_flash_attention=False,
        )

    def noise(self, grid: Grid) -> Float[Tensor, "1 c x y z"]:
        """A latent to start from, for a volume of ``grid``, multiples of 32."""
        if any(n % MULTIPLE for n in grid):
            raise EvaluationError(f"grid {grid} is not of multiples of {MULTIPLE}: round it (baseline_grid)")
        place = next(self.parameters()).device
        size = (1, LATENT, *(n // FACTOR for n in grid))
        generator = torch.Generator().manual_seed(0)
        return torch.randn(size, generator=generator, device="cpu").to(place)

    @torch.inference_mode()
    def evaluate(self, latent: Float[Tensor, "1 c x y z"]) -> Float[Tensor, "1 c x y z"]:
        """One evaluation of the diffusion network, as in a step of DDIM; the scheduler's own arithmetic is left out."""
        conditions = torch.full((1, 1, CONDITIONS), 0.5, device=latent.device)
        everywhere = conditions[0, 0, :, None, None, None].expand(1, CONDITIONS, *latent.shape[2:])
        moment = torch.full((1,), 500, device=latent.device)
        return self.unet(torch.cat([latent, everywhere], 1), timesteps=moment, context=conditions)

    @torch.inference_mode()
    def decode(self, latent: Float[Tensor, "1 c x y z"]) -> Float[Tensor, "1 channel x8 y8 z8"]:
        """Latent to volume; on a GPU in mixed precision, as published."""
        with torch.autocast("cuda", enabled=latent.is_cuda):
            return self.autoencoder.decode_stage_2_outputs(latent)


def baseline_flop(grid: Grid, *, channels: int = 1, steps: int = STEPS) -> tuple[int, int]:
    """FLOP of a sample of the published network on ``grid`` (multiples of 32), and its parameters; nothing is computed."""
    with torch.device("meta"):
        network = LatentDiffusionBaseline(channels)
    latent = network.noise(grid)
    one, decoding = flop_of(lambda: network.evaluate(latent)), flop_of(lambda: network.decode(latent))
    return steps * one + decoding, sum(p.numel() for p in network.parameters())


def baseline_cost(
    grid: Grid,
    *,
    channels: int = 1,
    steps: int = STEPS,
    runs: int = 1,
    device: str = "cpu",
    country: str | None = None,
    meter: Meter | None = None,
    progress: Progress | None = None,
) -> Cost:
    """Cost of MONAI's published network on as many voxels as ``grid`` has, nearly.

    A whole sample takes minutes on a CPU: each run measures one evaluation, taken ``steps`` times, and one decoding,
    after one evaluation not counted. Joules are the runs' mean power times the seconds so found.
    """
    require_positive(runs, "runs measure nothing")
    require_positive(steps, "steps draw nothing")
    report, total = progress or (lambda _what, _done, _total: None), 2 * runs + 2
    near = baseline_grid(grid)
    report("published network", 0, total)
    flop, parameters = baseline_flop(near, channels=channels, steps=steps)
    network = LatentDiffusionBaseline(channels).requires_grad_(False).eval().to(device)
    latent, times = network.noise(near), []
    network.evaluate(latent)
    with energy(country=country, meter=meter) as used:
        for run in range(runs):
            report("one evaluation", 1 + 2 * run, total)
            began = _now(device)
            latent = network.evaluate(latent)
            evaluated = _now(device)
            report("one decoding", 2 + 2 * run, total)
            network.decode(latent)
            times.append(steps * (evaluated - began) + (_now(device) - evaluated))
    require_energy(used)
    del network, latent
    report("memory", total - 1, total)
    peak, on_device = child_peak(_published, list(near), channels, device)
    report("done", total, total)
    seconds = timing([float(wall) for wall, _ in times])
    joules = used.joules / used.seconds * seconds.median
    return Cost(
        what=SOURCE,
        samples=runs,
        seconds=seconds,
        cpu_seconds=round(float(np.mean(times, axis=0)[1]), 4),
        peak_memory_mib=peak,
        peak_device_memory_mib=on_device,
        flop=flop,
        joules=joules,
        grams_co2e=joules / JOULES_PER_KWH * used.grams_per_kwh,
        country=used.country,
        grams_per_kwh=used.grams_per_kwh,
        method=used.method,
        parameters=parameters,
        evaluations=steps,
        grid=near,
        channels=channels,
        voxels=math.prod(near),
        device=device,
        extrapolated=f"{steps} times one evaluation, and one decoding, after one evaluation not counted; no scheduler",
    )


def comparison(
    model: Model,
    *,
    n: int = 3,
    steps: int = 8,
    runs: int = 1,
    country: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The model and the published network side by side in one run, on the same device; ready for JSON.

    ``times`` is how many times as much the published network takes.
    """
    image = model.checkpoint.model.config.image
    ours = sampling_cost(model, n=n, steps=steps, country=country, progress=progress)
    theirs = baseline_cost(
        image.grid, channels=image.channels, runs=runs, device=model.device, country=country, progress=progress
    )
    times = {k: getattr(theirs, k) / getattr(ours, k) for k in TIMES}
    return {
        "machine": machine(model.device),
        "model": asdict(ours),
        "baseline": asdict(theirs),
        "times": {"seconds": theirs.seconds.median / ours.seconds.median, **times},
    }


def _now(device: str) -> np.ndarray:
    """Seconds on the clock, and of CPU time."""
    if device == "cuda":
        torch.cuda.synchronize()
    return np.array([time.perf_counter(), time.process_time()])


def _published(grid: list[int], channels: int, device: str) -> None:
    network = LatentDiffusionBaseline(channels).requires_grad_(False).eval().to(device)
    x, y, z = grid
    network.decode(network.evaluate(network.noise((x, y, z))))
