"""The parts of the body that scans show, one object each: :func:`regions` lists them, :func:`region_of` finds one.

A new region is a module here that makes a :class:`engine.anatomy.region.Region`, and its name in :data:`REGIONS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.anatomy.head import HEAD
from engine.anatomy.heart import HEART
from engine.anatomy.region import Region
from engine.anatomy.torso import TORSO
from engine.vocabulary.refusal import RequestError

REGIONS = (HEAD, TORSO, HEART)


def regions() -> tuple[Region, ...]:
    """Every region, in the order in which they are tried."""
    return REGIONS


def region_named(name: str) -> Region:
    """The region called ``name``; raises :class:`RequestError` for any other name.

    >>> region_named("torso").channels
    ('water', 'fat')
    """
    found = next((region for region in REGIONS if region.name == name), None)
    if found is None:
        names = ", ".join(region.name for region in REGIONS)
        raise RequestError(f"there is no region {name!r}; the regions are {names}")
    return found


def region_of(channels: Sequence[str]) -> Region | None:
    """The region whose scans have exactly these ``channels`` (of a cine its frames); None for no scan at all, and for an unknown one.

    >>> region_of(["T1w"]).name, region_of([])
    ('head', None)
    """
    return next((region for region in REGIONS if region.frames == tuple(channels)), None)


def region_of_file(path: str | Path) -> Region | None:
    """The region whose files are named like ``path``; None where the name tells nothing.

    >>> region_of_file("sub-01_fat.nii.gz").name, region_of_file("scan.nii.gz")
    ('torso', None)
    """
    return next((region for region in REGIONS if region.names(path)), None)
