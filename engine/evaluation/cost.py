"""What one sample costs in seconds, memory, FLOP and joules, and what a training run used of energy.

FLOP are those of matrix products, convolutions and attention, two for a multiply-add (torch's ``FlopCounterMode``).
Joules are codecarbon's, read offline; ``method`` says what was measured and what estimated, CO2e is by a stated factor.
"""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch.utils.flop_counter import FlopCounterMode

from engine.benchmark import Timing, one_request, peak_memory, timing, typical_request
from engine.evaluation.checks import EvaluationError
from engine.generate import Model, load

JOULES_PER_KWH = 3.6e6
CHILD = """import json, sys; from {module} import {name} as work; work(*json.loads(sys.argv[1]))
from engine.evaluation.cost import print_peak; print_peak()"""
Progress = Callable[[str, int, int], None]


@runtime_checkable
class Meter(Protocol):
    """Reads energy between ``start`` and ``stop``, which returns kWh and, in words, how they were got."""

    def start(self) -> None: ...

    def stop(self) -> tuple[float, str]: ...


class CodeCarbon:
    """This process and its children on the CPU and in memory, and all of the GPUs (codecarbon's process mode)."""

    def __init__(self, folder: Path, country: str | None, factor: float) -> None:
        self.folder, self.country, self.factor = folder, country, factor

    def start(self) -> None:
        from codecarbon import OfflineEmissionsTracker

        self.log = logging.getLogger("codecarbon")
        self.log.disabled = True
        # what could reach the network or leave a file is switched off here, against any codecarbon configuration
        self.tracker = OfflineEmissionsTracker(
            country_iso_code=self.country,
            force_carbon_intensity_g_co2e_kwh=self.factor,
            tracking_mode="process",
            output_methods=[],
            output_dir=str(self.folder),
            emissions_endpoint="",
            electricitymaps_api_token="",
            allow_multiple_runs=True,
            pue=1.0,
        )
        self.tracker.start()

    def stop(self) -> tuple[float, str]:
        self.tracker.stop()
        self.log.disabled = False
        data = getattr(self.tracker, "final_emissions_data", None)
        if data is None or data.cpu_energy + data.gpu_energy <= 0:
            return 0.0, "nothing: codecarbon read no energy, as of work that is over in an instant"
        return data.energy_consumed, self._method(data)

    def _method(self, data: Any) -> str:
        cpu = next((h for h in self.tracker._hardware if type(h).__name__ not in ("RAM", "GPU")), None)
        mode, rated = getattr(cpu, "_mode", "the chip's own readings"), getattr(cpu, "_tdp", None)
        ways = {
            "cpu_load": f"ESTIMATED, {rated} W (codecarbon's rating of {data.cpu_model}) times the share of the machine's "
            "CPU time that this process used",
            "constant": f"ESTIMATED, half of {rated} W",
            "intel_rapl": "measured by RAPL, all that ran on the package",
        }
        used = (data.cpu_energy, data.ram_energy, data.gpu_energy)
        cpu_mean, ram_mean, gpu_mean = (f"mean {kwh * JOULES_PER_KWH / data.duration:.1f} W" for kwh in used)
        gpu = f"measured by the driver, whole boards, {gpu_mean}" if data.gpu_count else "none"
        tool = f"codecarbon {data.codecarbon_version}, offline, process mode"
        return f"{tool}; CPU {ways.get(mode, mode)}, {cpu_mean}; memory ESTIMATED from its size, {ram_mean}; GPU {gpu}"


def grid_factor(country: str | None = None) -> float:
    """Grams of CO2e a kWh of electricity: codecarbon's figure for a country (ISO 3166, three letters), or the world's mean."""
    from codecarbon.input import DataSource

    data = DataSource()
    if country is None:
        return float(data.get_carbon_intensity_per_source_data()["world_average"])
    known = data.get_global_energy_mix_data()
    if country not in known:
        raise EvaluationError(f"country {country!r} has no grid factor: give three letters such as GBR, or nothing")
    return float(known[country]["carbon_intensity"])


@dataclass(kw_only=True)
class Energy:
    """What a block of code used; filled in when :func:`energy` ends, 0 before."""

    country: str
    grams_per_kwh: float
    method: str = ""
    seconds: float = 0.0
    kwh: float = 0.0
    joules: float = 0.0
    grams_co2e: float = 0.0

    def add(self, seconds: float, kwh: float) -> None:
        self.seconds, self.kwh = self.seconds + seconds, self.kwh + kwh
        self.joules, self.grams_co2e = self.kwh * JOULES_PER_KWH, self.kwh * self.grams_per_kwh


@contextmanager
def energy(
    folder: str | Path | None = None,
    *,
    country: str | None = None,
    meter: Meter | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Energy]:
    """Meter the block: ``with energy(run_dir) as e: train(); e.joules``. Also of a block that ends in an error.

    The total is left in ``folder`` as ``energy.json``: a run resumed in the same folder adds to it, one begun anew
    should delete it. No folder, no file. ``meter`` is codecarbon unless given. Raises :class:`EvaluationError` before
    the block on an unknown country, a missing folder or a damaged file.
    """
    used = Energy(country=country or "world average", grams_per_kwh=(factor := grid_factor(country)))
    total = Energy(**asdict(used))
    path = None if folder is None else Path(folder) / "energy.json"
    if path is not None:
        _resume(total, path)
    meter = meter or CodeCarbon(Path(tempfile.gettempdir()) if path is None else path.parent, country, factor)
    meter.start()
    began = clock()
    try:
        yield used
    finally:
        seconds = clock() - began
        kwh, total.method = meter.stop()
        used.method = total.method
        used.add(seconds, kwh)
        total.add(seconds, kwh)
        if path is not None:
            part = path.with_suffix(".part")
            part.write_text(json.dumps(asdict(total), indent=1), "utf-8")
            part.replace(path)


def _resume(total: Energy, path: Path) -> None:
    if not path.parent.is_dir():
        raise EvaluationError(f"{path.parent} is not a folder: make it first")
    if not path.exists():
        return
    try:
        earlier = json.loads(path.read_text("utf-8"))
        if not (0 <= earlier["seconds"] < math.inf and 0 <= earlier["kwh"] < math.inf):
            raise ValueError("seconds or kWh are no quantity")
        total.add(earlier["seconds"], earlier["kwh"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{path} cannot be read ({error}): delete it") from None


def require_energy(used: Energy) -> None:
    """Raise :class:`EvaluationError` where the meter read nothing."""
    if not used.joules > 0:
        raise EvaluationError(f"no energy was read in {used.seconds:.2g} s: measure more samples")


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
    country: str | None = None,
    meter: Meter | None = None,
    progress: Progress | None = None,
) -> Cost:
    """Cost of one typical request (:func:`engine.benchmark.typical_request`), ``n`` of them after one not counted."""
    require_positive(n, "samples measure nothing")
    require_positive(steps, "steps draw nothing")
    report = progress or (lambda _what, _done, _total: None)
    given, measured = typical_request(model), []
    report("FLOP", 0, n + 2)
    flop = flop_of(lambda: one_request(model, given, seed=0, steps=steps))
    with energy(country=country, meter=meter) as used:
        began = time.process_time()
        for i in range(n):
            report("sampling", i + 1, n + 2)
            measured.append(one_request(model, given, seed=1 + i, steps=steps))
        busy = time.process_time() - began
    require_energy(used)
    report("memory", n + 1, n + 2)
    peak, on_device = child_peak(_sample, str(model.checkpoint.path.resolve()), model.device, steps)
    report("done", n + 2, n + 2)
    config = model.checkpoint.model.config.image
    return Cost(
        what=f"Somatwin {model.name} ({model.digest})",
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
    code = CHILD.format(module=work.__module__, name=work.__name__)
    done = subprocess.run([sys.executable, "-c", code, json.dumps(arguments)], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it was stopped"])[-1]
        raise EvaluationError(f"the process that measures memory failed ({last[:200]}): free some memory and try again")
    peak, on_device = json.loads(done.stdout.splitlines()[-1])
    return peak, on_device


def print_peak() -> None:
    """This process's peaks in MiB, for the one that started it."""
    on_device = round(torch.cuda.max_memory_allocated() / 2**20) if torch.cuda.is_initialized() else None
    print(json.dumps([round(resident_peak() / 2**20), on_device]))


def _sample(path: str, device: str, steps: int) -> None:
    model = load(path, device)
    model.generate(given=typical_request(model), steps=steps)
