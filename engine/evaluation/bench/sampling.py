"""How fast a checkpoint answers, and the phantom makes persons, on this machine: seconds and memory."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from engine.inference.generate import PARTS, Model, choose_device, load
from engine.vocabulary.refusal import RequestError
from engine.vocabulary.schema import Number, Row

#: evaluations of a draft, as Explore shows it first
DRAFT_STEPS = 2
COLD = "import sys, engine; engine.load(sys.argv[1], sys.argv[2])"


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds over repeated runs."""

    median: float
    min: float
    max: float
    runs: int


def timing(seconds: Sequence[float]) -> Timing:
    """
    >>> timing([3.0, 1.0, 2.0])
    Timing(median=2.0, min=1.0, max=3.0, runs=3)
    """
    rounded = [round(s, 4) for s in (statistics.median(seconds), min(seconds), max(seconds))]
    return Timing(median=rounded[0], min=rounded[1], max=rounded[2], runs=len(seconds))


def benchmark(
    checkpoint: str | Path,
    *,
    device: str = "auto",
    steps: Sequence[int] = (8, 4),
    runs: int = 5,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure one checkpoint; the result is ready for JSON.

    ``cold_load_seconds`` is a fresh process from its start until the model is ready (the files may be in the disk's
    cache). ``warm_seconds`` is one person from request to volume and table, each run another seed, after one run that is
    not counted. ``progress`` is called with what comes next, requests done and requests in all.
    """
    if runs < 1:
        raise RequestError(f"{runs} runs measure nothing; give 1 or more")
    total, done = len(steps) * (runs + 1), 0
    report = progress or (lambda _what, _done, _total: None)
    report("loading", 0, total)
    model = load(checkpoint, device)
    report("loading in a new process", 0, total)
    cold = cold_load(checkpoint, model.device)
    given, results = typical_request(model), {}
    for count in steps:
        measured = []
        for run in range(runs + 1):
            report(f"{count} steps", done, total)
            measured.append(one_request(model, given, seed=run, steps=count))
            done += 1
        results[str(count)] = _summary(measured[1:])
    report("done", done, total)
    cuda = model.device == "cuda"
    return {
        "checkpoint": {"name": model.name, "digest": model.digest},
        "machine": machine(model.device),
        "request": {"n": 1, "given": given, "guidance": "the checkpoint's default"},
        "cold_load_seconds": round(cold, 3),
        "steps": results,
        "peak_memory_mib": round(peak_memory() / 2**20),
        "peak_device_memory_mib": round(torch.cuda.max_memory_allocated() / 2**20) if cuda else None,
    }


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request's seconds, in all, until the last step and from there on (decoding, mask and detail), and how often the
    network ran."""

    seconds: float
    sampling: float
    decoding: float
    evaluations: int


def one_request(model: Model, given: Row, *, seed: int, steps: int, detail: bool = True) -> Request:
    """Generate one person, as a draft without ``detail``, and take the times."""
    evaluations, times = 0, []

    def count(*_: object) -> None:
        nonlocal evaluations
        evaluations += 1

    def note(_done: int, _total: int) -> None:
        if model.device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter())

    hook = model.checkpoint.model.velocity_net.register_forward_pre_hook(count)
    try:
        began = time.perf_counter()
        model.generate(n=1, given=given, seed=seed, steps=steps, detail=detail, progress=note)
        seconds = time.perf_counter() - began
    finally:
        hook.remove()
    # the parts of decoding and detail are reported after the last step (:func:`engine.inference.generate.drawing_units`)
    last, decoded = times[-1 - 2 * PARTS], times[-1]
    return Request(seconds=seconds, sampling=last - began, decoding=decoded - last, evaluations=evaluations)


def benchmark_phantom(
    *, persons: int = 24, device: str = "auto", progress: Callable[[str, int, int], None] | None = None
) -> dict[str, Any]:
    """Measure the making of in-silico torsos; the result is ready for JSON.

    ``persons_per_second`` counts from the first person on (the start of the worker processes apart), all cores at work;
    ``peak_memory_mib`` is of one process.
    """
    from engine.phantom.cohort import stream

    if persons < 2:
        raise RequestError(f"{persons} persons measure nothing; give 2 or more")
    chosen = choose_device(device)
    began, first = time.perf_counter(), 0.0
    for done, _ in enumerate(stream(list(range(persons)), chosen), 1):
        first = first or time.perf_counter()
        if progress:
            progress("phantom", done, persons)
    rate = (persons - 1) / (time.perf_counter() - first)
    peak = max(peak_memory(), peak_memory(resource.RUSAGE_CHILDREN))
    return {
        "machine": machine(chosen),
        "phantom": {
            "persons": persons,
            "persons_per_second": round(rate, 3),
            "start_seconds": round(first - began, 2),
            "peak_memory_mib": round(peak / 2**20),
        },
    }


def _summary(measured: Sequence[Request]) -> dict[str, Any]:
    return {
        "evaluations": measured[0].evaluations,
        "warm_seconds": asdict(timing([m.seconds for m in measured])),
        "ms_per_evaluation": round(statistics.median(m.sampling / m.evaluations for m in measured) * 1000, 2),
        "decode_seconds": asdict(timing([m.decoding for m in measured])),
    }


def typical_request(model: Model) -> Row:
    """The first numeric column at its cohort's median, as a slider would give it."""
    column = next((c for c in model.schema.columns if isinstance(c, Number) and c.knots), None)
    return {} if column is None else {column.name: round(column.knots[len(column.knots) // 2])}


def cold_load(checkpoint: str | Path, device: str) -> float:
    """Seconds from the start of a new Python process until the checkpoint is loaded in it, and its end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", COLD, str(checkpoint), device], check=True, capture_output=True)
    return time.perf_counter() - began


def machine(device: str) -> dict[str, Any]:
    """The machine's name for a table of measurements; ``load`` is what else ran (the last minute's mean)."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": processor(),
        "cores": usable,
        "cores_in_machine": os.cpu_count(),
        "ram_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": device,
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "load": round(os.getloadavg()[0], 2),
    }


def processor() -> str:
    """The CPU's model as Linux gives it, elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def peak_memory(who: int = resource.RUSAGE_SELF) -> int:
    """The most resident memory of this process so far (or of one of its ended children), in bytes."""
    peak = resource.getrusage(who).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
