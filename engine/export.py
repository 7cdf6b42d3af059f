"""Generated persons on disk: a BIDS folder that says how to make it again."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from engine.attributes import Category
from engine.cohort.bids import COLUMNS, write_bids
from engine.generate import DISCLAIMER, Model, ProgressCallback


def write_people(
    model: Model,
    out: str | Path,
    *,
    n: int = 1,
    given: Mapping[str, Any] | None = None,
    seed: int = 0,
    steps: int = 8,
    guidance: float | None = None,
    progress: ProgressCallback | None = None,
) -> Path:
    """:meth:`Model.generate` straight to the new or empty folder ``out``, one person in memory at a time.

    Returns the folder: whole or not at all, and the same files for the same request. The request, the checkpoint's
    digest and the disclaimer stand in dataset_description.json under GeneratedBy; the licence is
    :attr:`Model.licence`. Raises as ``generate`` does, and :class:`~engine.cohort.bids.BidsError` when the folder cannot be
    written.
    """
    config = model.checkpoint.config
    request = {
        "n": n,
        "given": dict(given or {}),
        "seed": seed,
        "steps": steps,
        "guidance": config["guidance"] if guidance is None else guidance,
        "device": model.device,
    }
    origin = {
        "Name": "Somatwin",
        "Version": version("somatwin"),
        "Description": f"{DISCLAIMER} sub-0001 is drawn with the seed, each further person with the next one.",
        "Checkpoint": {"Name": model.name, "Digest": model.digest},
        "Request": request,
    }
    return write_bids(
        out,
        model.stream(n=n, given=given, seed=seed, steps=steps, guidance=guidance, progress=progress),
        name=f"Synthetic persons drawn from {model.name}",
        generated_by=[origin],
        licence=model.licence,
        acknowledge=str(config["provenance"].get("acknowledgement", "")),
        columns=_further_columns(model),
    )


def _further_columns(model: Model) -> dict[str, dict[str, Any]]:
    """What participants.json says of the columns that :data:`engine.cohort.bids.COLUMNS` does not know."""
    about: dict[str, dict[str, Any]] = {}
    for name in model.schema.names:
        column = model.schema[name]
        if name not in COLUMNS:
            values = (
                {"Levels": {level: level for level in column.levels}}
                if isinstance(column, Category)
                else {"Units": column.unit}
            )
            about[name] = {"Description": column.description, **values}
    return about
