"""A scan on disk to what is measured on it: which ruler it needs, and a record that says who measured what."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.anatomy import region_named, region_of_file, regions
from engine.anatomy.region import Region
from engine.imaging.dicom import Series
from engine.imaging.pair import is_pair, pair_of
from engine.imaging.scan import is_dicom_source, load_scan
from engine.imaging.volume import Volume, VolumeError, black_at_zero
from engine.measure.shipped import load_ruler

DISCLAIMER = "Not for diagnosis."
#: digits after the point by unit
DIGITS = {"ml": 1, "mL": 1, "l": 3, "%": 2, "cm": 1, "mm": 1, "g": 1}


def scans_of(paths: Sequence[str | Path]) -> Iterator[Path]:
    """The paths in order; of a pair's two files only the first that is named."""
    seen: set[Path] = set()
    for path in map(Path, paths):
        key = pair_of(path)[0] if is_pair(path) else path
        if key not in seen:
            seen.add(key)
            yield path


def measure_scan(path: str | Path, kind: str | None = None) -> dict[str, Any]:
    """Measure the scan at ``path``: a T1-weighted head, or either file of a torso's pair.

    ``kind``, a region's name, overrides what name and field of view tell. Returns what is ready for JSON: ``scan`` (files),
    ``kind``, ``measures`` (by name: value or None where it cannot be seen, unit, description), ``notes``, ``measured_by``
    (the ruler's name and the start of its weights' SHA-256), ``disclaimer``. Raises :class:`VolumeError` for a file that
    cannot be read or measured, :class:`engine.checkpoints.files.CheckpointError` without the ruler,
    :class:`engine.vocabulary.refusal.RequestError` for an unknown region.
    """
    path = Path(path)
    region, scan = scan_of(path, None if kind is None else region_named(kind))
    volume = scan.volume
    ruler = load_ruler(region)
    reading = ruler.examine(volume)
    measures = {
        name: {
            "value": round(value, DIGITS[ruler.units[name]]) if math.isfinite(value) else None,
            "unit": ruler.units[name],
            "description": ruler.definitions[name],
        }
        for name, value in reading.values.items()
    }
    return {
        "scan": [str(file) for file in files_of(path, region)],
        "kind": region.name,
        "measures": measures,
        "notes": [*scan.notes, *reading.notes],
        "measured_by": {"name": region.ruler, "weights": ruler.digest},
        "disclaimer": DISCLAIMER,
    }


def files_of(path: Path, region: Region) -> tuple[Path, ...]:
    """The files that make up the scan of a region to which ``path`` belongs."""
    return pair_of(path) if len(region.channels) > 1 and not is_dicom_source(path) else (path,)


def read_scan(path: Path, region: Region | None = None) -> tuple[Region, Volume]:
    """The scan and what it is of: told by ``region``, else by its name, else by its field of view.

    Raises :class:`VolumeError` when that leaves it open, or one of its files is missing.
    """
    told, scan = scan_of(path, region)
    return told, scan.volume


def scan_of(path: Path, region: Region | None = None) -> tuple[Region, Series]:
    """:func:`read_scan` with notes on how the scan was read."""
    named = region or region_of_file(path)
    scan = load_scan(path, ("T1w",) if named is None else named.frames)
    scan = replace(scan, volume=black_at_zero(scan.volume))
    return named or _region_by_size(path, scan.volume), scan


def _region_by_size(path: Path, volume: Volume) -> Region:
    """The first region of one file a scan that can be as large as this."""
    sides = sorted((n * mm for n, mm in zip(volume.grid, volume.spacing, strict=True)), reverse=True)
    alone = [region for region in regions() if len(region.frames) == 1]
    for region in alone:
        if sides[0] <= region.largest_mm:
            return region
    size = " x ".join(f"{side / 10:.0f}" for side in sides)
    named = [" and ".join(f"{file}.nii.gz" for file in region.files) for region in regions()]
    raise VolumeError(
        f"{path.name} covers {size} cm, more than a {alone[0].name}, and its name does not say what it is of: name the files "
        f"{' or '.join(named)}, or say --as {alone[0].name}"
    )
