"""All that a user waits for, in one run on one machine: what it costs, how near that is to what the machine can do, and what
MONAI's published network costs there at equal voxels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.evaluation.bench.cost import Progress, flop_of, sampling_cost
from engine.evaluation.bench.monai_baseline import baseline_cost
from engine.evaluation.bench.roof import Roof, roof, seconds_of
from engine.evaluation.bench.sampling import DRAFT_STEPS, benchmark_phantom, machine, timing
from engine.evaluation.bench.start import benchmark_start
from engine.evaluation.metrics.checks import EvaluationError
from engine.inference.generate import DETAIL_STEPS, Model, load
from engine.model.flow import Joint, Levels
from engine.model.joint import JointModel
from engine.vocabulary.refusal import Refusal, RequestError

#: persons whose making is timed, and of a step of the flow's training
PHANTOMS, FLOW_BATCH = 8, 8
#: what may be left out of a run
PARTS = ("parts", "sample", "draft", "published", "phantom", "app")


def benchmark_everything(
    checkpoint: str | Path,
    *,
    runs: int = 5,
    device: str = "auto",
    leave_out: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure a checkpoint that draws scans; the result is ready for JSON.

    ``parts`` are network evaluations, decoding, detail and training steps with medians and spread, FLOP and the share of the
    measured ``roof``; ``sample`` is a whole request with memory and energy, ``draft`` one without detail, ``published`` MONAI's
    network, ``times`` how many times as much that takes a voxel as either. What this machine cannot tell is None with the
    reason: no browser, no energy.
    """
    if runs < 1:
        raise RequestError(f"{runs} runs measure nothing; give 1 or more")
    if unknown := set(leave_out) - set(PARTS):
        raise RequestError(f"{min(unknown)} is no part of the benchmark; the parts are {', '.join(PARTS)}")
    model = load(checkpoint, device)
    if not model.has_image:
        raise RequestError(f"{model.name} draws no scans; choose a model that does")
    report = progress or (lambda _what, _done, _total: None)
    report("what the machine can do", 0, 0)
    top = roof(model.device)
    image = model.checkpoint.model.config.image
    how = {"channels": image.channels, "device": model.device, "progress": progress}
    work: dict[str, Callable[[], Any]] = {
        "parts": lambda: _parts(model, top, runs, report),
        "sample": lambda: _sample(model, top, runs, progress),
        "draft": lambda: _sample(model, top, runs, progress, draft=True),
        "published": lambda: _a_voxel(asdict(baseline_cost(image.grid, **how)), top),
        "phantom": lambda: benchmark_phantom(persons=PHANTOMS, device=model.device, progress=progress)["phantom"],
        "app": lambda: benchmark_start(checkpoint, runs=runs, progress=progress),
    }
    found: dict[str, Any] = {}
    for name in PARTS:
        found[name] = None if name in leave_out else _or_reason(work[name])
    return {
        "checkpoint": {"name": model.name, "digest": model.digest},
        "machine": machine(model.device),
        "roof": asdict(top),
        **found,
        "times": {name: _times(found[name], found["published"]) for name in ("sample", "draft")},
    }


def _sample(model: Model, top: Roof, runs: int, progress: Progress | None, *, draft: bool = False) -> dict[str, Any]:
    """What a whole request takes, or a draft of one."""
    steps = DRAFT_STEPS if draft else model.steps
    return _a_voxel(asdict(sampling_cost(model, n=runs, steps=steps, detail=not draft, progress=progress)), top)


def _a_voxel(cost: dict[str, Any], top: Roof) -> dict[str, Any]:
    """A cost, and of its FLOP how many a voxel takes and the share of the roof."""
    flop = cost["flop"]
    shares = {
        "flop_per_voxel": round(flop / cost["voxels"], 1),
        "share_of_roof": top.share(flop, cost["seconds"]["median"]),
    }
    return cost | shares


def _or_reason(work: Callable[[], Any]) -> Any:
    """What is measured, or in words why it cannot be."""
    try:
        return work()
    except (EvaluationError, Refusal) as error:
        return {"measured": None, "reason": str(error)}


def _times(ours: dict[str, Any] | None, theirs: dict[str, Any] | None) -> dict[str, float] | None:
    """How many times as much the published network takes a voxel."""
    if not ours or not theirs or "flop" not in ours or "flop" not in theirs:
        return None
    voxels = theirs["voxels"] / ours["voxels"]
    found = {k: theirs[k] / ours[k] / voxels for k in ("cpu_seconds", "flop", "joules") if ours[k]}
    found["seconds"] = theirs["seconds"]["median"] / ours["seconds"]["median"] / voxels
    return {name: round(value, 2) for name, value in found.items()}


def _parts(model: Model, top: Roof, runs: int, report: Progress) -> dict[str, Any]:
    """Each network by itself, and the steps that train it."""
    net = model.checkpoint.model
    config, voxels = net.config, math.prod(net.config.image.grid)
    state, levels = _state(net, 1)
    with torch.inference_mode():
        base = net.decode(state.image)
        labels = net.drawn_mask(state.mask, base, [0])[0] if config.mask else None
    work: dict[str, Callable[[], object]] = {
        "evaluation": lambda: net.velocity(state, levels),
        "decoding": lambda: net.decode(state.image),
    }
    if config.mask:
        work["mask"] = lambda: net.drawn_mask(state.mask, base, [0])
    if config.detail:
        work["detail"] = lambda: net.detailed(base, labels, [0], DETAIL_STEPS)
    training = {
        "training step of the autoencoder, 1 person": lambda: _learn_image(net, base),
        f"training step of the flow, {FLOW_BATCH} persons": lambda: _learn_flow(net),
    }
    found = {}
    for done, (name, task) in enumerate((work | training).items()):
        report(name, done, len(work | training))
        with torch.set_grad_enabled(name in training):
            flop = flop_of(task)
            seconds = seconds_of(task, model.device, runs)
        found[name] = {
            "seconds": asdict(timing(seconds)),
            "quartiles": [round(float(q), 4) for q in np.quantile(seconds, (0.25, 0.75))],
            "flop": flop,
            "flop_per_voxel": round(flop / voxels, 1),
            "share_of_roof": top.share(flop, float(np.median(seconds))),
        }
    return found


def _state(net: JointModel, persons: int) -> tuple[Joint, Levels]:
    """Noise of some persons, and its level."""
    state = net.noise(list(range(persons)))
    one = torch.ones(persons, device=net.codes.device)
    return state, Levels(one, one[:, None].expand(-1, net.codes.shape[0]), one)


def _learn_image(net: JointModel, volume: Tensor) -> None:
    """Forwards and backwards through the autoencoder; no weight is changed."""
    coder, volume = net.autoencoder, net.cascade.coarser(volume)
    _backward(coder, lambda: (coder.decode(coder.encode(volume)) - volume).square().mean())


def _learn_flow(net: JointModel) -> None:
    """Forwards and backwards through the velocity network; no weight is changed."""
    state, levels = _state(net, FLOW_BATCH)
    network = net.velocity_net
    _backward(network, lambda: sum(part.square().mean() for part in network(state, state, levels)[:2]))


def _backward(network: nn.Module, loss: Callable[[], Any]) -> None:
    """The gradient of a loss in weights that need none otherwise, computed and forgotten."""
    weights = list(network.parameters())
    needed = [weight.requires_grad for weight in weights]
    try:
        network.requires_grad_(True)
        torch.autograd.grad(loss(), weights, allow_unused=True)
    finally:
        for weight, was in zip(weights, needed, strict=True):
            weight.requires_grad_(was)
