"""A short-axis cine in DICOM files to a volume of its phases: slices by their place, phases by their time in the heartbeat.

Scanners write one file a slice and phase (of one series, or of a series a slice) or one enhanced image. Phases of a slice follow
each other by trigger time, else by temporal position, else by number, which is said. A slice's own beat counts: its trigger times
are shares of its own interval from R wave to R wave.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from engine.imaging.cine.phases import MISSING, filled
from engine.imaging.cine.short_axis import MOST_TILT, check_short_axis, tilt
from engine.imaging.dicom.files import Origin
from engine.imaging.dicom.images import Image
from engine.imaging.dicom.pixels import voxels_of
from engine.imaging.dicom.series import (
    LPS_TO_RAS,
    STRAIGHT,
    Chooser,
    Series,
    ijk_to_lps,
    images_in,
    in_order,
    nothing_in,
    refuse_localizer,
    row_of,
    sayings,
    side_by_side,
    those_wanted,
    unbroken,
)
from engine.imaging.grid import MOST_PHASES, frames, plausible_cycle
from engine.imaging.volume import Volume, VolumeError, sized

#: slices from which on a stack shows a heart
FEWEST_SLICES = 6
#: mm within which images lie at the same height
SAME_HEIGHT = 0.1
#: how many times as many images as another a slice has that was taken twice
DOUBLED = 1.5
#: slices, each with its images
Places = list[list[Image]]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Cycle:
    """Which of ``phases`` each image of each slice is (``places``: ascending), the ``seconds`` of a cycle if known, and ``notes``."""

    slices: Places
    places: list[list[int]]
    phases: int
    seconds: float | None
    notes: list[str]


def read_cine(source: Origin, channel: str = "cine", wanted: str | Chooser = "") -> Series:
    """The short-axis cine in a zip of DICOM files (or in its bytes), a folder, a DICOMDIR or a list of these, with its own phases
    (t, x, y, z), its cycle, and its heart rate in the row; phases that slices lack are drawn between their neighbours.

    Raises :class:`VolumeError` as :func:`engine.imaging.dicom.series.read_series` does, and for a localizer, a still scan, long-axis
    views, fewer slices than :data:`FEWEST_SLICES`, slices that are doubled or lack more than a quarter of their phases, and
    where nothing tells in which order phases follow each other.
    """
    every = images_in(source)
    scans = [image for image in every.images if image.scan]
    if not scans:
        nothing_in(every)
    groups = those_wanted(_alike(scans), wanted)
    slices = _stack([part for group in groups for part in _candidates(group)], scans)
    chosen = [image for place in slices for image in place]
    broken = [fault.reason for fault in every.faults if fault.series in {"", *(image.series for image in chosen)}]
    if broken:
        raise VolumeError(broken[0])
    unbroken(chosen, every)

    firsts, shear = in_order([place[0] for place in slices])
    height = {id(first): k for k, first in enumerate(firsts)}
    slices.sort(key=lambda place: height[id(place[0])])
    cycle = _cycle(slices)
    volume, emptied = _volume(source, cycle, firsts, channel)
    row, flags = row_of({**chosen[0].person, **({"heart_rate": f"{60 / cycle.seconds:.0f}"} if cycle.seconds else {})})

    others = len(scans) - len(chosen)
    said = [f"{others} images of other series or directions were left out."] if others else []
    said += [*sayings(chosen, every), *cycle.notes, *([shear] if shear else []), *emptied, *flags]
    return Series(volume=volume, notes=tuple(said), row=row)


def _alike(images: Sequence[Image]) -> list[list[Image]]:
    """Images of one shape, echo and direction, whatever their series."""
    groups: list[list[Image]] = []
    for image in images:
        for group in groups:
            first = group[0]
            same = (first.shape, str(first.echo), first.dixon) == (image.shape, str(image.echo), image.dixon)
            if same and side_by_side(first, image):
                group.append(image)
                break
        else:
            groups.append([image])
    return groups


def _candidates(group: list[Image]) -> list[list[Image]]:
    """The series of a group that are stacks by themselves, else the whole group: some scanners write a series a slice."""
    series: dict[str, list[Image]] = {}
    for image in group:
        series.setdefault(image.series, []).append(image)
    whole = [images for images in series.values() if len(_places(images)) >= FEWEST_SLICES]
    return whole or [group]


def _places(images: Sequence[Image]) -> Places:
    """Images by the height along their normal at which they lie."""
    normal = np.cross(*images[0].axes)
    places: Places = []
    top = -math.inf
    for image in sorted(images, key=lambda one: float(one.position @ normal)):
        height = float(image.position @ normal)
        if height - top > SAME_HEIGHT:
            places.append([])
        places[-1].append(image)
        top = height
    return places


def _stack(candidates: list[list[Image]], scans: Sequence[Image]) -> Places:
    """The slices of the largest short-axis cine; raises where there is none, or which is meant stays open."""
    found = [_places(one) for one in candidates]
    cines = [places for places in found if np.median([len(place) for place in places]) >= 2]
    if not cines:
        refuse_localizer(scans)
        raise VolumeError(
            "the images show one phase at every place, a still scan; pack the short-axis cine, all its phases"
        )
    stacks = [places for places in cines if len(places) >= FEWEST_SLICES]
    if not stacks:
        most = max(map(len, cines))
        raise VolumeError(
            f"the cine has at most {most} parallel slices in one of {len(cines)} directions, as long-axis views have, and a short-axis "
            f"stack {FEWEST_SLICES} or more; pack the short-axis series"
        )
    upright = [places for places in stacks if tilt(LPS_TO_RAS[:3, :3] @ np.cross(*places[0][0].axes)) <= MOST_TILT]
    ordered = sorted(upright or stacks, key=len, reverse=True)
    alike = [places for places in ordered if len(places) == len(ordered[0])]
    if len(alike) > 1:
        raise VolumeError(f"there are {len(alike)} cines of {len(alike[0])} slices each; pack the one that is meant")
    for place in ordered[0]:
        if max(float(np.linalg.norm(image.position - place[0].position)) for image in place) > STRAIGHT:
            raise VolumeError("images of one slice are shifted against each other; export the series as it was scanned")
    return ordered[0]


def _cycle(slices: Places) -> _Cycle:
    """The phases of every slice in their order, and which of the cycle's they are."""
    _single(slices)
    notes: list[str] = []
    if _tells(slices, lambda image: image.beat.trigger):
        slices = [sorted(place, key=lambda image: image.beat.trigger) for place in slices]
        places, phases, seconds = _by_trigger(slices)
    elif _tells(slices, lambda image: image.beat.position):
        slices = [sorted(place, key=lambda image: image.beat.position) for place in slices]
        first = min(place[0].beat.position for place in slices)
        places = [[round(image.beat.position - first) for image in place] for place in slices]
        phases, seconds = max(max(place) for place in places) + 1, _seconds(slices)
    elif _tells(slices, _number):
        slices = [sorted(place, key=_number) for place in slices]
        phases, seconds = max(map(len, slices)), _seconds(slices)
        if min(map(len, slices)) < phases:
            raise VolumeError(
                f"slices have {min(map(len, slices))} to {phases} phases and no trigger times, so nothing tells which are missing; "
                "export the series again with its trigger times"
            )
        places = [list(range(phases)) for _ in slices]
        notes.append(
            "No trigger time or temporal position says when its phases were taken; they follow the images' numbers."
        )
    else:
        raise VolumeError(
            "nothing in the headers tells in which order phases follow each other (no trigger times, temporal positions or "
            "numbers of images); export the series again with them"
        )
    phases = max(phases, _stated(slices))
    notes += _missing(places, phases)
    return _Cycle(slices=slices, places=places, phases=phases, seconds=seconds, notes=notes)


def _number(image: Image) -> float:
    """Of an image in its series, of a frame in its file."""
    return float(image.frame if image.number is None else image.number)


def _single(slices: Places) -> None:
    """Raises where slices were taken twice: they have far more images than there are phases, or two at one trigger time."""
    counts = [len(place) for place in slices]
    usual = _stated(slices) or int(np.median(counts))
    twice = sum(count > DOUBLED * usual for count in counts)
    if not twice and not _tells(slices, lambda image: image.beat.position):
        moments = [{image.beat.trigger for image in place} for place in slices]
        twice = sum(1 < len(times) < count for times, count in zip(moments, counts, strict=True))
    if twice:
        raise VolumeError(
            f"{twice} of {len(slices)} slices were taken twice ({max(counts)} images of one slice); pack each slice and phase once"
        )


def _stated(slices: Places) -> int:
    """How many phases the headers say there are; 0 where they do not, or no cycle has as many."""
    said = [image.beat.phases for place in slices for image in place]
    number = said[0] if len({*said}) == 1 and not math.isnan(said[0]) else 0
    return int(number) if 2 <= number <= MOST_PHASES else 0


def _tells(slices: Places, key: Callable[[Image], float]) -> bool:
    """Whether the images of every slice differ in something that is a number for each."""
    values = [[key(image) for image in place] for place in slices]
    return all(len({*some}) == len(some) and not any(map(math.isnan, some)) for some in values)


def _by_trigger(slices: Places) -> tuple[list[list[int]], int, float | None]:
    """Which phases the images of every slice are, in order of their trigger times; how many there are; and seconds of a cycle.

    A cycle lasts as long as the header says, if its last phase lies in it, else as long as its phases do.
    """
    times = [np.array([image.beat.trigger for image in place]) for place in slices]
    usual_step = float(np.median(np.concatenate([np.diff(some) for some in times])))
    steps = [float(np.median(np.diff(some))) if len(some) > 1 else usual_step for some in times]
    beats = [place[0].beat.interval for place in slices]
    stated = [
        beat if plausible_cycle(beat / 1000) and beat > some[-1] - some[0] else math.nan
        for beat, some in zip(beats, times, strict=True)
    ]
    counted = [round(beat / step) for beat, step in zip(stated, steps, strict=True) if not math.isnan(beat)]
    usual = int(np.median(counted)) if counted else 0
    phases = max(usual, _stated(slices), *map(len, slices))

    first = min(float(some[0]) for some in times)
    places = []
    lengths = []
    for some, step, beat in zip(times, steps, stated, strict=True):
        length = step * phases if math.isnan(beat) else beat
        lengths.append(length)
        if len(some) == phases:
            places.append(list(range(phases)))
            continue
        at = np.rint((some - first) / length * phases).astype(int)
        if len({*at.tolist()}) < len(at) or at.max() >= phases:
            raise VolumeError(
                f"a slice has {len(some)} of {phases} phases, at trigger times so uneven that nothing tells which are missing; "
                "export the series again with all of them"
            )
        places.append(at.tolist())
    return places, phases, plausible_cycle(float(np.median(lengths)) / 1000)


def _seconds(slices: Places) -> float | None:
    """Of a cycle, by what the headers say of the beat; None where they say nothing, or what cannot be."""
    for key in (lambda beat: beat.interval / 1000, lambda beat: 60 / beat.rate if beat.rate > 0 else math.nan):
        said = [key(image.beat) for place in slices for image in place]
        if not any(map(math.isnan, said)):
            return plausible_cycle(float(np.median(said)))
    return None


def _missing(places: list[list[int]], phases: int) -> list[str]:
    """What is to be said of phases that are missing; raises where they are too many."""
    if not 2 <= phases <= MOST_PHASES:
        raise VolumeError(
            f"the series has {phases} phases, 2 to {MOST_PHASES} are a cycle; pack the phases of one cycle"
        )
    fewest = min(map(len, places))
    if fewest < (1 - MISSING) * phases:
        raise VolumeError(
            f"a slice has {fewest} of {phases} phases, at most {MISSING:.0%} may be missing; pack the phases of the whole cycle"
        )
    short = sum(len(some) < phases for some in places)
    if not short:
        return []
    lost = sum(phases - len(some) for some in places)
    return [
        f"{short} of {len(places)} slices lack phases, {lost} of {phases * len(places)} in all; they were interpolated in time."
    ]


def _volume(source: Origin, cycle: _Cycle, firsts: list[Image], channel: str) -> tuple[Volume, list[str]]:
    """The pixels of all phases, put in place; and what was done to those that only fill up."""
    affine = sized(LPS_TO_RAS @ ijk_to_lps(firsts))
    voxels, emptied = voxels_of(source, [image for place in cycle.slices for image in place])
    whole = np.empty((cycle.phases, *voxels.shape[:2], len(cycle.slices)), np.float32)
    start = 0
    for k, some in enumerate(cycle.places):
        present = np.moveaxis(voxels[:, :, start : start + len(some)], -1, 0)
        whole[..., k] = filled(present, some, cycle.phases)
        start += len(some)
    volume = Volume(whole, affine, frames([channel], cycle.phases), cycle.seconds).reoriented("RAS")
    check_short_axis(volume, "the series")
    return volume, emptied
