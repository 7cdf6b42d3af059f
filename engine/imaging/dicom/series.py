"""DICOM to a volume. Only pixels, geometry, the sequence and a person's age, sex and size are read; a person's number is compared with
that of the other files, and nothing else of who was scanned, when and where is looked at.

Coordinates: DICOM's patient space is LPS+ mm, ours RAS+. With row r and column c of a slice at ImagePositionPatient P, and
ImageOrientationPatient (X, Y), a voxel lies at P + c dx X + r dy Y (PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float

from engine.imaging.dicom.files import Origin, files
from engine.imaging.dicom.images import Fault, Image, images_of
from engine.imaging.dicom.pixels import voxels_of
from engine.imaging.dicom.words import OTHER_CONTRASTS
from engine.imaging.pair import CHANNELS, paired
from engine.imaging.volume import Volume, VolumeError, sized
from engine.vocabulary.cells import parse_rows
from engine.vocabulary.row import Row

#: slices from which on a series is a volume
FEWEST = 8
#: steps between slices differ by this share of the usual one at most; from so many steps on one is missing
UNEVEN, MISSING = 0.1, 1.5
#: how far directions (cosines), sizes (share) and places across the stack (mm) of one series' slices may differ
SAME_AXES, SAME_SIZE, STRAIGHT = 2e-3, 1e-3, 0.5
#: share by which the echo times of one series' slices may differ
OTHER_ECHO = 0.2
#: cosine between the normal and the stack from which on its shear is said
SHEARED = 0.9998
#: cosine between two normals below which they are two planes of a localizer
SQUARE = 0.5
#: ms of echo time above which an image is not T1-weighted
LONGEST_ECHO = 30.0
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


#: which series are meant: a text in their description, or what says of the facts of each (:attr:`Image.facts`) whether it is
Chooser = Callable[[Sequence[Mapping[str, Any]]], Sequence[bool]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Series:
    """A volume, float32 (x, y, z) turned to RAS+ (or (2, x, y, z), water and fat), ``notes``: sentences on what was left out, and
    the ``row`` of age, sex, height (cm) and weight (kg) that its header has."""

    volume: Volume
    notes: tuple[str, ...]
    row: Row = field(default_factory=dict)


def read_series(source: Origin, channel: str = "T1w", wanted: str | Chooser = "") -> Series:
    """The largest series of magnitude images in a zip of DICOM files (or in its bytes), a folder, a DICOMDIR or a list of
    these, sorted by place, its rescale applied; of a T1-weighted one those of a short echo time before others. Only series
    that are ``wanted`` are meant: whose description holds the text, or whose facts are chosen.

    Raises :class:`VolumeError` for what is no archive or damaged, unpacks to too much, is in colour, a mosaic, no MR image, or
    cannot be decompressed; is of several persons, holds no series of :data:`FEWEST` slices, several that are equally large, or one
    with slices missing, doubled, unevenly spaced or not in a row. No message, and nothing that is returned but the row, holds any text
    of the files.
    """
    every = images_in(source)
    stacks = those_wanted([stack for stack in _stacks(every.images) if stack[0].scan], wanted)
    if channel == "T1w" and stacks:
        stacks = _short_ones(stacks)
    chosen, notes = _largest(stacks, every)
    unbroken(chosen, every)
    return _read(source, chosen, channel, [*notes, *sayings(chosen, every)])


def read_dixon(source: Origin, wanted: str | Chooser = "") -> Series:
    """The water and the fat images of a Dixon scan, told by their headers, as one volume of both channels.

    Raises :class:`VolumeError` as :func:`read_series` does, and where one of the two is not there.
    """
    every = images_in(source)
    stacks = those_wanted([stack for stack in _stacks(every.images) if stack[0].scan], wanted)
    parts: list[Series] = []
    for channel in CHANNELS:
        shown = [stack for stack in stacks if stack[0].dixon == channel]
        if not shown and stacks:
            raise VolumeError(
                f"no series says that it shows {channel}; pack the water and the fat images of a Dixon scan"
            )
        chosen, _ = _largest(shown, every)
        unbroken(chosen, every)
        parts.append(_read(source, chosen, channel, sayings(chosen, every)))
    water, fat = parts
    notes = dict.fromkeys([*water.notes, *fat.notes])
    if (count := len(_stacks(every.images))) > len(CHANNELS):
        notes[f"The archive holds {count} series; its water and fat images were taken."] = None
    return Series(volume=paired(water.volume, fat.volume), notes=tuple(notes), row=water.row)


@dataclass(frozen=True, eq=False, kw_only=True)
class Found:
    """The images of a source, what is none, and how many files are there more than once."""

    images: list[Image]
    faults: list[Fault]
    copies: int = 0


def those_wanted(stacks: list[list[Image]], wanted: str | Chooser) -> list[list[Image]]:
    """The stacks that are wanted; raises where there are stacks, but none of these."""
    if not stacks or not wanted:
        return stacks
    if isinstance(wanted, str):
        meant = [stack for stack in stacks if wanted.casefold() in stack[0].words]
        fault = f"no series of this person has {wanted!r} in its description"
    else:
        truths = wanted([stack[0].facts for stack in stacks])
        meant = [stack for stack, truth in zip(stacks, truths, strict=True) if truth]
        fault = f"no series of this person is the one that is asked for ({_varied(stacks) or 'they are alike'})"
    if not meant:
        raise VolumeError(f"{fault}; ask for another, or for none")
    return meant


def _short_ones(stacks: list[list[Image]]) -> list[list[Image]]:
    """Those that may be T1-weighted; raises where none may."""
    if all(stack[0].contrast in OTHER_CONTRASTS for stack in stacks):
        raise VolumeError(f"no series is T1-weighted: the header says {stacks[0][0].contrast}; pack the one that is")
    stacks = [stack for stack in stacks if stack[0].contrast not in OTHER_CONTRASTS]
    short = [stack for stack in stacks if not stack[0].echo > LONGEST_ECHO]
    if not short:
        least = min(stack[0].echo for stack in stacks)
        raise VolumeError(
            f"no series is T1-weighted: the shortest echo time is {least:g} ms, {LONGEST_ECHO:g} ms are the most; pack the one that is"
        )
    return short


def images_in(source: Origin) -> Found:
    """All images of a source, each once, and what is none. Raises :class:`VolumeError` where they are of several persons."""
    images: list[Image] = []
    faults: list[Fault] = []
    seen: set[bytes] = set()
    copies = 0
    for number, (_, data) in enumerate(files(source)):
        digest = blake2b(data, digest_size=16).digest()
        if digest in seen:
            copies += 1
            continue
        seen.add(digest)
        for one in images_of(data, number):
            if isinstance(one, Image):
                images.append(one)
            else:
                faults.append(one)
    owners = {image.owner for image in images} - {""}
    if len(owners) > 1:
        raise VolumeError(f"the files are of {len(owners)} persons; give those of one")
    if {"M", "F"} <= {image.person.get("sex", "") for image in images}:
        raise VolumeError(
            "the files are of a man and of a woman by their headers (PatientSex); give those of one person"
        )
    return Found(images=images, faults=faults, copies=copies)


def _stacks(images: Iterable[Image]) -> list[list[Image]]:
    """Images that lie side by side: of one series, shape, direction and size; told apart further where several lie at one place."""
    groups: dict[tuple[Any, ...], list[list[Image]]] = {}
    for image in images:
        key = (image.series, image.shape, image.scout, image.magnitude, image.map, image.dixon, image.stack)
        alike = groups.setdefault(key, [])
        for stack in alike:
            if side_by_side(stack[0], image) and not _other_echo(stack[0], image):
                stack.append(image)
                break
        else:
            alike.append([image])
    return [part for alike in groups.values() for stack in alike for part in _apart(stack)]


def side_by_side(one: Image, other: Image) -> bool:
    same = np.abs(one.axes - other.axes).max() < SAME_AXES
    return bool(same) and np.allclose(one.spacing, other.spacing, rtol=SAME_SIZE)


def _other_echo(one: Image, other: Image) -> bool:
    """Whether two images are of two echoes; the last digits of one echo time may differ."""
    return abs(one.echo - other.echo) > OTHER_ECHO * max(one.echo, other.echo)


#: by what images at the same place are told apart, in this order
APART: tuple[Callable[[Image], Any], ...] = (
    lambda image: image.echo,
    lambda image: image.kind,
    lambda image: image.time,
    lambda image: image.timing[0],
    lambda image: image.timing[1],
    lambda image: image.timing[2],
)


def _apart(stack: list[Image]) -> list[list[Image]]:
    """The stack itself where every image has a place of its own, else its parts by echo, kind and time."""
    heights = np.sort([image.position @ np.cross(*image.axes) for image in stack])
    if len(stack) < 2 or np.diff(heights).min() > 0.01:
        return [stack]
    for key in APART:
        parts: dict[Any, list[Image]] = {}
        for image in stack:
            parts.setdefault(str(key(image)) if isinstance(key(image), float) else key(image), []).append(image)
        if len(parts) > 1:
            return [inner for part in parts.values() for inner in _apart(part)]
    return [stack]


def _largest(stacks: Sequence[list[Image]], every: Found) -> tuple[list[Image], list[str]]:
    """The stack of most slices, and a sentence where there are others; raises where that leaves open which."""
    if not every.images or not stacks:
        nothing_in(every)
    ordered = sorted(stacks, key=len, reverse=True)
    chosen, number = ordered[0], len(ordered[0])
    broken = [fault.reason for fault in every.faults if fault.series in {"", chosen[0].series}]
    if broken:
        raise VolumeError(broken[0])
    if number < FEWEST:
        refuse_localizer(every.images)
        raise VolumeError(f"the largest series has {number} slices, {FEWEST} are the least; pack the whole series")
    if len(ordered) > 1 and len(ordered[1]) == number:
        raise VolumeError(f"{_equals(ordered, number)}; pack the one that is meant")
    count = len(_stacks(every.images))
    if count > 1:
        return chosen, [f"The archive holds {count} series; the largest, of {number} slices, was taken."]
    return chosen, []


def nothing_in(every: Found) -> NoReturn:
    """Raises :class:`VolumeError` for a source without an image of a scan."""
    if every.images:
        refuse_localizer(every.images)
        raise VolumeError(
            "there are only localizers, projections or phase images, or maps computed from scans; pack the series of the scan itself"
        )
    if every.faults:
        raise VolumeError(every.faults[0].reason)
    raise VolumeError(
        "the archive or folder holds no DICOM image with a place in the patient; give one series of slices"
    )


def refuse_localizer(images: Iterable[Image]) -> None:
    """Raises :class:`VolumeError` where a series has slices in three planes, as a localizer has."""
    normals: dict[str, list[np.ndarray]] = {}
    for image in images:
        normal, others = np.cross(*image.axes), normals.setdefault(image.series, [])
        if all(abs(float(normal @ other)) < SQUARE for other in others):
            others.append(normal)
    if max(map(len, normals.values()), default=0) >= 3:
        raise VolumeError(
            "the images lie in three planes, each of a few slices, so they are a localizer; pack the series of the scan itself"
        )


def _equals(ordered: Sequence[list[Image]], number: int) -> str:
    """How many series are equally large, and in what they differ."""
    those = [stack for stack in ordered if len(stack) == number]
    counts = Counter(stack[0].series for stack in those)
    said = f"there are {len(those)} series of {number} slices each"
    if len(counts) == 1 or _varied(those):
        said += f", with {_varied(those) or 'other image types'}"
    return said


#: what a fact is called where series differ in it
CALLED = {
    "echo_time": "echo times of {} ms",
    "repetition_time": "repetition times of {} ms",
    "inversion_time": "inversion times of {} ms",
    "flip_angle": "flip angles of {} degrees",
}


def _varied(stacks: Sequence[list[Image]]) -> str:
    """In what several series differ, in words; "" where in nothing that has a name."""
    if len(times := {stack[0].time for stack in stacks}) > 1 and not any(np.isnan(list(times))):
        return f"{len(times)} points in time"
    for name, words in CALLED.items():
        values = {value for stack in stacks if isinstance(value := stack[0].facts[name], float)}
        if len(values) > 1:
            return words.format(", ".join(f"{value:g}" for value in sorted(values)))
    return ""


def sayings(chosen: Sequence[Image], every: Found) -> list[str]:
    """What is to be said of the series that was taken."""
    said = []
    if every.copies:
        said.append(f"{every.copies} files are copies of others, byte for byte; each was taken once.")
    for reason, count in sorted(Counter(fault.reason.partition(";")[0] for fault in every.faults).items()):
        said.append(f"{count} files were left out: {reason}.")
    if any(image.lossy for image in chosen):
        said.append("Its pixels were compressed with loss.")
    numbers = sorted(image.number for image in chosen if image.number is not None)
    alone = sum(image.series == chosen[0].series for image in every.images) == len(chosen)
    if alone and len(numbers) == len(chosen) and len(set(numbers)) == len(numbers) and numbers[0] > 1:
        said.append(f"Its images are numbered from {numbers[0]}, so some at its end may be missing.")
    most = max(image.counted for image in chosen)
    if alone and most > len(chosen):
        said.append(f"Its header counts {most} images, {len(chosen)} are here, so some may be missing.")
    return said


def unbroken(chosen: Sequence[Image], every: Found) -> None:
    """Raises where an image is spread over several files (a concatenation) and some of them are not there."""
    parts = {image.part[0] for image in every.images if image.series == chosen[0].series}
    there, total = len(parts), max(image.part[1] for image in chosen)
    if there < total:
        raise VolumeError(f"{there} of the {total} files of one image are here (a concatenation); pack all of them")


def _read(source: Origin, chosen: list[Image], channel: str, notes: Sequence[str]) -> Series:
    """The pixels of the chosen images, put in place."""
    ordered, shear = in_order(chosen)
    affine = sized(LPS_TO_RAS @ ijk_to_lps(ordered))
    voxels, filled_up = voxels_of(source, ordered)
    row, flags = row_of(chosen[0].person)
    said = [*notes, *([shear] if shear else []), *filled_up, *flags]
    volume = Volume(voxels, affine, (channel,)).reoriented("RAS")
    return Series(volume=volume, notes=tuple(said), row=row)


def row_of(person: Mapping[str, str]) -> tuple[Row, list[str]]:
    """The cells that a header has as a row, and sentences on those that are in doubt."""
    rows_read, flags = parse_rows([{"participant_id": "", **person}])
    row: Row = {name: value for name, value in rows_read[0].items() if name != "participant_id" and value is not None}
    return row, [f"The header says: {flag['reason']}." for flag in flags]


def in_order(stack: list[Image]) -> tuple[list[Image], str]:
    """A stack along its normal, every step checked, and what is said of its shear ("" where it has none)."""
    normal = np.cross(*stack[0].axes)
    normal = normal / np.linalg.norm(normal)
    ordered = sorted(stack, key=lambda one: float(one.position @ normal))
    places = np.array([one.position for one in ordered])
    heights = places @ normal
    steps = np.diff(heights)
    usual = float(np.median(steps))
    if steps.min() < 0.01 * max(usual, 0.1):
        twice = int((steps < 0.01 * max(usual, 0.1)).sum())
        raise VolumeError(
            f"several images lie at the same place ({twice} of {len(ordered)}, and nothing in their headers tells which is meant); "
            "pack one contrast of one series, each slice once"
        )
    if gaps := int((np.rint(steps / usual) - 1).clip(0)[steps > MISSING * usual].sum()):
        at = float(heights[int(steps.argmax())] - heights[0])
        raise VolumeError(
            f"{gaps} of {len(ordered) + gaps} slices are missing, the first {at:.0f} mm into the series; pack all of them"
        )
    if np.abs(steps - usual).max() > UNEVEN * usual:
        raise VolumeError("the slices are unevenly spaced; export the series as it was scanned, or as NIfTI")
    along = (places[-1] - places[0]) / (heights[-1] - heights[0])
    off = places - places[0] - np.outer(heights - heights[0], along)
    if np.abs(off).max() > STRAIGHT:
        raise VolumeError(
            "the slices do not lie in a row, they are shifted against each other; export the series as NIfTI"
        )
    cosine = float(normal @ along / np.linalg.norm(along))
    tilt = np.degrees(np.arccos(min(cosine, 1.0)))
    return (
        ordered,
        f"Its slices are sheared by {tilt:.1f} degrees (gantry tilt), as they were taken." if cosine < SHEARED else "",
    )


def ijk_to_lps(ordered: Sequence[Image]) -> Float[np.ndarray, "4 4"]:
    first, last = ordered[0], ordered[-1]
    rows, columns = first.spacing
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = first.axes[0] * columns, first.axes[1] * rows
    affine[:3, 2] = (last.position - first.position) / (len(ordered) - 1)
    affine[:3, 3] = first.position
    return affine
