"""What a sample costs, beside the published brain latent diffusion network on as many voxels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.evaluation.bench.monai_baseline import comparison
from engine.evaluation.metrics.interval import Figure
from engine.evaluation.report.parts import ReportedFigure, Section, Sheet
from engine.inference.generate import Model

ROWS = (
    ("seconds a sample", lambda c: c["seconds"]["median"]),
    ("peak memory, MiB", lambda c: c["peak_memory_mib"]),
    ("TFLOP a sample", lambda c: c["flop"] / 1e12),
    ("joules a sample", lambda c: c["joules"]),
    ("g CO2e a sample", lambda c: c["grams_co2e"]),
    ("million parameters", lambda c: c["parameters"] / 1e6),
    ("network evaluations", lambda c: c["evaluations"]),
    ("million voxels", lambda c: c["voxels"] / 1e6),
)


def cost_section(model: Model, steps: int) -> Section:
    """Seconds, memory, FLOP and joules of a sample; both networks on the same machine, one after the other."""
    return section_of(comparison(model, steps=steps))


def section_of(found: Mapping[str, Any]) -> Section:
    """The section of what :func:`engine.evaluation.bench.monai_baseline.comparison` found."""
    ours, theirs = found["model"], found["baseline"]
    seconds = ours["seconds"]
    figure = Figure(value=seconds["median"], low=seconds["min"], high=seconds["max"], n=seconds["runs"])
    rows = [
        (name, float(of(ours)), float(of(theirs)), float(of(theirs) / of(ours)) if of(ours) else None)
        for name, of in ROWS
    ]
    return Section(
        key="cost",
        title="Cost",
        meaning="What one synthetic person takes of this machine, and what the published network for synthetic brains would take.",
        method=f"{ours['what']} beside {theirs['what']}, random weights, on the same machine ({found['machine']['cpu']}, "
        f"{ours['device']}, {found['machine']['threads']} threads, load {found['machine']['load']}). Energy: {ours['method']}; "
        f"{ours['grams_per_kwh']:g} g CO2e a kWh ({ours['country']}). Published network: {theirs['extrapolated'] or 'measured whole'}.",
        figures=[
            ReportedFigure(
                key="seconds",
                name="seconds from request to volume, warm",
                unit="s",
                figure=figure,
                note="interval: least to most",
            )
        ],
        sheets=[
            Sheet(
                title="Side by side", columns=("", "this model", "published network", "times as much"), rows=tuple(rows)
            )
        ],
    )
