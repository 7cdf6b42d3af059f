"""Channels, time and space of a scan: one axis of frames, then x, y, z.

A frame is one channel in one phase of a cycle. Arrays are (f, x, y, z) with the frames in C order of (channel, phase), so
that a still scan, whose frames are its channels, is the case of one phase. The cycle is closed: after the last phase comes
the first again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Num

from engine.vocabulary.refusal import Refusal

#: phases of a cycle at most: frames are numbered by two digits
MOST_PHASES = 99
#: seconds that a cycle of the heart may last: 220 to 20 beats a minute
CYCLES = (60 / 220, 60 / 20)
_FRAME = re.compile(r"(?P<channel>.+)_t(?P<phase>\d{2})")


class GridError(Refusal):
    """Frames that are no grid of channels and phases; the message names them."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """``channels`` in ``phases`` (t) on ``space`` voxels along x, y, z. Raises :class:`GridError` for a size below 1.

    >>> Grid(channels=("cine",), phases=2, space=(8, 8, 4)).frames
    ('cine_t00', 'cine_t01')
    """

    channels: tuple[str, ...]
    space: tuple[int, int, int]
    phases: int = 1

    def __post_init__(self) -> None:
        if not self.channels or self.phases < 1 or min(self.space) < 1:
            sides = " x ".join(map(str, self.space))
            raise GridError(
                f"a grid of {len(self.channels)} channels, {self.phases} phases and {sides} voxels is empty; give 1 or more of each"
            )

    @property
    def frames(self) -> tuple[str, ...]:
        """A name for each frame; those of a still scan are its channels'."""
        return frames(self.channels, self.phases)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of an array of it: frames, x, y, z."""
        return (len(self.channels) * self.phases, *self.space)


def frames(channels: Sequence[str], phases: int) -> tuple[str, ...]:
    """The names of the frames of some channels.

    >>> frames(["water", "fat"], 1)
    ('water', 'fat')
    """
    if phases == 1:
        return tuple(channels)
    return tuple(f"{channel}_t{phase:02d}" for channel in channels for phase in range(phases))


def phases_of(names: Sequence[str]) -> tuple[tuple[str, ...], int]:
    """The channels and the number of phases that some frames are of; :func:`frames` undoes it.

    Raises :class:`GridError` where phases are missing, or differ between channels.

    >>> phases_of(["cine_t00", "cine_t01", "cine_t02"]), phases_of(["water", "fat"])
    ((('cine',), 3), (('water', 'fat'), 1))
    """
    found = [_FRAME.fullmatch(name) for name in names]
    channels = tuple(
        dict.fromkeys(match["channel"] if match else name for match, name in zip(found, names, strict=True))
    )
    phases = len(names) // max(len(channels), 1)
    if any(found) and frames(channels, phases) != tuple(names):
        raise GridError(f"frames {', '.join(names)} are not whole cycles; give every phase of every channel in order")
    return channels, phases


def in_words(names: Sequence[str]) -> str:
    """Frames as a sentence lists them.

    >>> in_words(["water", "fat"]), in_words(frames(["cine"], 12)), in_words([])
    ('water, fat', 'cine in 12 phases', 'none')
    """
    channels, phases = phases_of(names)
    listed = ", ".join(channels) or "none"
    return f"{listed} in {phases} phases" if phases > 1 else listed


def plausible_cycle(seconds: float) -> float | None:
    """The length of a cycle itself, None where no heart's lasts as long.

    >>> plausible_cycle(0.8), plausible_cycle(20.0), plausible_cycle(float("nan"))
    (0.8, None, None)
    """
    return seconds if CYCLES[0] <= seconds <= CYCLES[1] else None


def cycle_by(heart_rate: object) -> float | None:
    """Seconds of a cycle at a heart rate (1/min); None for what is none.

    >>> cycle_by(75), cycle_by(None)
    (0.8, None)
    """
    if not isinstance(heart_rate, int | float) or heart_rate <= 0:
        return None
    return plausible_cycle(60 / heart_rate)


def phases_said(phases: int) -> str:
    """How many phases, for a sentence that refuses them.

    >>> phases_said(3), phases_said(2)
    ('3 phases', '2 phases (end-diastole and end-systole alone are no cycle)')
    """
    return f"{phases} phases" + (" (end-diastole and end-systole alone are no cycle)" if phases == 2 else "")


def by_channel(data: Num[np.ndarray, "f x y z"], names: Sequence[str]) -> Num[np.ndarray, "c t x y z"]:
    """Frames with their channels and phases as axes of their own."""
    channels, phases = phases_of(names)
    return data.reshape(len(channels), phases, *data.shape[1:])


def in_time(cycle: Num[np.ndarray, "t ..."], phases: int) -> Num[np.ndarray, "p ..."]:
    """A closed cycle at other phases, equally spaced from the first: linear between the two nearest, the last before the first.

    >>> in_time(np.array([0.0, 1.0, 2.0, 1.0]), 8)[:4].tolist()
    [0.0, 0.5, 1.0, 1.5]
    """
    if len(cycle) == phases:
        return cycle
    place = np.arange(phases) * len(cycle) / phases
    before = np.floor(place).astype(int)
    weight = (place - before).reshape(-1, *[1] * (cycle.ndim - 1)).astype(np.float32)
    mixed = cycle[before] * (1 - weight) + cycle[(before + 1) % len(cycle)] * weight
    return mixed.astype(cycle.dtype) if np.issubdtype(cycle.dtype, np.floating) else mixed
