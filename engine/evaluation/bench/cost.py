"""What one sample costs in seconds, memory, FLOP and joules.

FLOP are those of matrix products, convolutions and attention, two for a multiply-add (torch's ``FlopCounterMode``).
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from engine.evaluation.bench.energy import Meter, energy, require_energy
from engine.evaluation.bench.sampling import Timing, one_request, peak_memory, timing, typical_request
from engine.evaluation.metrics.checks import EvaluationError
from engine.inference.generate import Model, load

CHILD = """import json, sys; from {module} import {name} as work; work(*json.loads(sys.argv[1]))
from engine.evaluation.bench.cost import print_peak; print_peak()"""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one sample: ``seconds`` over ``samples`` warm ones, ``joules`` and ``grams_co2e`` a mean one's, as ``method`` says.

    ``cpu_seconds`` are of all threads together; unlike seconds and joules, what else runs hardly lengthens them.
    ``peak_memory_mib`` is of a process that makes one sample and nothing else, interpreter and libraries included.
    ``extrapolated`` says how the sample was put together; it is empty where whole samples were measured.
    """

    what: str
    samples: int
    seconds: Timing
    cpu_seconds: float
    peak_memory_mib: int
    peak_device_memory_mib: int | None
    flop: int
    joules: float
    grams_co2e: float
    country: str
    grams_per_kwh: float
    method: str
    parameters: int
    evaluations: int
    grid: tuple[int, int, int]
    channels: int
    voxels: int
    device: str
    extrapolated: str = ""


def flop_of(work: Callable[[], object]) -> int:
    """FLOP that ``work`` takes."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def sampling_cost(
    model: Model,
    *,
    n: int = 3,
    steps: int = 8,
    detail: bool = True,
    country: str | None = None,
    meter: Meter | None = None,
    progress: Progress | None = None,
) -> Cost:
    """Cost of one typical request (:func:`engine.evaluation.bench.sampling.typical_request`), as a draft without ``detail``, ``n`` of them
    after one not counted."""
    require_positive(n, "samples measure nothing")
    require_positive(steps, "steps draw nothing")
    report = progress or (lambda _what, _done, _total: None)
    given, measured = typical_request(model), []
    report("FLOP", 0, n + 2)
    flop = flop_of(lambda: one_request(model, given, seed=0, steps=steps, detail=detail))
    with energy(country=country, meter=meter) as used:
        began = time.process_time()
        for i in range(n):
            report("sampling", i + 1, n + 2)
            measured.append(one_request(model, given, seed=1 + i, steps=steps, detail=detail))
        busy = time.process_time() - began
    require_energy(used)
    report("memory", n + 1, n + 2)
    peak, on_device = child_peak(_sample, str(model.checkpoint.path.resolve()), model.device, steps, detail)
    report("done", n + 2, n + 2)
    config = model.checkpoint.model.config.image
    return Cost(
        what=f"Somatwin {model.name} ({model.digest}){'' if detail else ', a draft'}",
        samples=n,
        seconds=timing([m.seconds for m in measured]),
        cpu_seconds=round(busy / n, 4),
        peak_memory_mib=peak,
        peak_device_memory_mib=on_device,
        flop=flop,
        joules=used.joules / n,
        grams_co2e=used.grams_co2e / n,
        country=used.country,
        grams_per_kwh=used.grams_per_kwh,
        method=used.method,
        parameters=sum(p.numel() for p in model.checkpoint.model.parameters()),
        evaluations=measured[0].evaluations,
        grid=config.grid,
        channels=config.channels,
        voxels=math.prod(config.grid),
        device=model.device,
    )


def require_positive(value: int, fault: str) -> None:
    if value < 1:
        raise EvaluationError(f"{value} {fault}: give 1 or more")


def resident_peak() -> int:
    """The most resident memory of this process so far, in bytes, without what it inherits.

    On Linux a child's ``ru_maxrss`` starts at its parent's size; the kernel's ``VmHWM`` starts afresh.
    """
    status = Path("/proc/self/status")
    lines = status.read_text("utf-8").splitlines() if status.exists() else []
    found = next((line.split()[1] for line in lines if line.startswith("VmHWM")), None)
    return peak_memory() if found is None else int(found) * 1024


def child_peak(work: Callable[..., None], *arguments: Any) -> tuple[int, int | None]:
    """MiB of memory, and of the GPU's, that a module's function ``work`` takes in a new process; JSON ``arguments``."""
    peak, on_device = json.loads(child_lines(work, *arguments)[-1])
    return peak, on_device


def child_lines(work: Callable[..., None], *arguments: Any) -> list[str]:
    """What ``work`` prints in a new process, and last its peaks (:func:`print_peak`)."""
    code = CHILD.format(module=work.__module__, name=work.__name__)
    done = subprocess.run([sys.executable, "-c", code, json.dumps(arguments)], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it was stopped"])[-1]
        raise EvaluationError(f"the process that measures memory failed ({last[:200]}): free some memory and try again")
    return done.stdout.splitlines()


def print_peak() -> None:
    """This process's peaks in MiB, for the one that started it."""
    on_device = round(torch.cuda.max_memory_allocated() / 2**20) if torch.cuda.is_initialized() else None
    print(json.dumps([round(resident_peak() / 2**20), on_device]))


def _sample(path: str, device: str, steps: int, detail: bool) -> None:
    model = load(path, device)
    model.generate(given=typical_request(model), steps=steps, detail=detail)
