"""A scan on disk to what is measured on it: which ruler it needs, and a record that says who measured what."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from engine.imaging.nifti import load_volume
from engine.imaging.pair import is_pair, load_pair, pair_of
from engine.imaging.volume import Volume, VolumeError
from engine.measure import head
from engine.measure import torso as body

Kind = Literal["head", "torso"]
DISCLAIMER = "Not for diagnosis."
#: a field of view no longer than this along any axis is a head's, mm
HEAD_MM = 320.0
#: digits after the point by unit
DIGITS = {"ml": 1, "l": 3, "%": 2, "cm": 1}


def scans_of(paths: Sequence[str | Path]) -> Iterator[Path]:
    """The paths in order; of a pair's two files only the first that is named."""
    seen: set[Path] = set()
    for path in map(Path, paths):
        key = pair_of(path)[0] if is_pair(path) else path
        if key not in seen:
            seen.add(key)
            yield path


def measure_scan(path: str | Path, kind: Kind | None = None) -> dict[str, Any]:
    """Measure the scan at ``path``: a T1-weighted head, or either file of a torso's pair.

    ``kind`` overrides what name and field of view tell. Returns what is ready for JSON: ``scan`` (files), ``kind``,
    ``measures`` (by name: value or None where it cannot be seen, unit, description), ``notes``, ``measured_by`` (the
    ruler's name and the start of its weights' SHA-256), ``disclaimer``. Raises :class:`VolumeError` for a file that cannot
    be read or measured, :class:`engine.checkpoints.files.CheckpointError` without the ruler.
    """
    path = Path(path)
    kind, volume = read_scan(path, kind)
    files = [path]
    notes: tuple[str, ...] = ()
    if kind == "torso":
        files, ruler, units, name = list(pair_of(path)), _torso(), body.UNITS, body.NAME
        reading = ruler.examine(volume)
        values, notes = reading.values, reading.notes
    else:
        ruler, units, name = _head(), dict.fromkeys(head.MEASURES, "ml"), head.NAME
        values = ruler.measure(volume)
    measures = {
        key: {
            "value": round(value, DIGITS[units[key]]) if math.isfinite(value) else None,
            "unit": units[key],
            "description": ruler.definitions[key],
        }
        for key, value in values.items()
    }
    return {
        "scan": [str(file) for file in files],
        "kind": kind,
        "measures": measures,
        "notes": list(notes),
        "measured_by": {"name": name, "weights": ruler.digest},
        "disclaimer": DISCLAIMER,
    }


def read_scan(path: Path, kind: Kind | None = None) -> tuple[Kind, Volume]:
    """The scan and what it is of: told by ``kind``, else by its name, else by its field of view.

    Raises :class:`VolumeError` when that leaves it open, or the torso's other file is missing.
    """
    if kind == "torso" or (kind is None and is_pair(path)):
        return "torso", load_pair(path)
    volume = load_volume(path)
    if kind is None and not path.name.endswith(("_T1w.nii", "_T1w.nii.gz")):
        sides = [n * mm for n, mm in zip(volume.grid, volume.spacing, strict=True)]
        size = " x ".join(f"{side / 10:.0f}" for side in np.sort(sides)[::-1])
        if max(sides) > HEAD_MM:
            raise VolumeError(
                f"{path.name} covers {size} cm, more than a head, and is not named as one of a torso's pair: name the files "
                "*_water.nii.gz and *_fat.nii.gz, or say --as head"
            )
    return "head", volume


@cache
def _torso() -> body.TorsoMeasure:
    return body.TorsoMeasure.load()


@cache
def _head() -> head.HeadMeasure:
    return head.HeadMeasure.load()
