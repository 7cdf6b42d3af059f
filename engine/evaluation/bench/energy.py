"""What a block of code used of energy, such as a training run.

Joules are codecarbon's, read offline; ``method`` says what was measured and what estimated, CO2e is by a stated factor.
"""

from __future__ import annotations

import json
import logging
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from engine.checkpoints.card import write_card
from engine.checkpoints.files import amended_checkpoint
from engine.evaluation.metrics.checks import EvaluationError
from engine.storage.whole import write_text

JOULES_PER_KWH = 3.6e6


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
            with suppress(OSError):  # a full disk is for the work itself to tell
                write_text(path, json.dumps(asdict(total), indent=1))


def energy_into_card(run_dir: Path) -> None:
    """Say in the card of ``run_dir``'s checkpoint what all of its training used, as :func:`energy` left it there."""
    path = run_dir / "checkpoint"
    if not (run_dir / "energy.json").exists():
        return
    used = json.loads((run_dir / "energy.json").read_text("utf-8"))
    card = json.loads((path / "model_card.json").read_text("utf-8"))
    card["energy of training"] = {
        "kwh": float(f"{used['kwh']:.3g}"),
        "g CO2e": float(f"{used['grams_co2e']:.3g}"),
        "hours": float(f"{used['seconds'] / 3600:.3g}"),
        "how": f"{used['method']}; {used['country']}, {used['grams_per_kwh']:.0f} g CO2e a kWh",
    }
    with amended_checkpoint(path) as part:
        write_card(part, card)


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
