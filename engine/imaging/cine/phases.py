"""The phases of a cine: as many as are asked for, and those that are missing drawn between their neighbours.

The cycle is closed: after the last phase comes the first again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from engine.imaging.grid import MOST_PHASES, frames, in_time, phases_said
from engine.imaging.volume import Volume, VolumeError

#: phases from which on a cine is a cycle, and share of a cycle that may be missing
FEWEST_PHASES, MISSING = 6, 0.25


def in_phases(cine: Volume, phases: int, name: str = "the cine") -> tuple[Volume, list[str]]:
    """A cine of one or more channels with as many ``phases``, (f, x, y, z), linear in time, and what is to be said of that.

    Raises :class:`VolumeError` for fewer phases than :data:`FEWEST_PHASES`.
    """
    found = cine.phases
    if found == phases:
        return cine, []
    if not FEWEST_PHASES <= found <= MOST_PHASES:
        raise VolumeError(
            f"{name} has {phases_said(found)}, a cycle {FEWEST_PHASES} to {MOST_PHASES}; give the phases of one whole cycle"
        )
    cycles = [np.asarray(in_time(channel.data, phases), np.float32) for channel in cine.apart()]
    moved = replace(cine, data=np.concatenate(cycles), channels=frames(cine.kinds, phases))
    return moved, [f"Its {found} phases were resampled to {phases}."]


def filled(present: Float[np.ndarray, "n ..."], places: Sequence[int], phases: int) -> Float[np.ndarray, "t ..."]:
    """A whole cycle of ``phases`` of which those at ``places`` (ascending, each once) are known; the others lie between the nearest
    two known ones, in time over the closed cycle.

    >>> filled(np.array([0.0, 2.0, 1.0]), [0, 2, 3], 4).tolist()
    [0.0, 1.0, 2.0, 1.0]
    """
    known = list(places)
    if len(known) == phases:
        return present
    whole = np.empty((phases, *present.shape[1:]), present.dtype)
    whole[known] = present
    for phase in sorted({*range(phases)} - {*known}):
        after = int(np.searchsorted(known, phase)) % len(known)
        since = (phase - known[after - 1]) % phases
        span = (known[after] - known[after - 1]) % phases or phases
        whole[phase] = present[after - 1] * (1 - since / span) + present[after] * (since / span)
    return whole


def farthest_phase(cine: Volume) -> int | None:
    """The phase that differs the most from the first (root mean square over boxes of 2 x 2 voxels, since noise is not motion): of a
    cycle that begins at end-diastole that of end-systole, within a phase. None of what is still."""
    if cine.phases < 2 or len(cine.kinds) > 1:
        return None
    x, y = (n - n % 2 for n in cine.grid[:2])
    even = cine.data[:, :x, :y].astype(np.float32).reshape(cine.phases, x // 2, 2, y // 2, 2, -1).mean((2, 4))
    apart = np.square(even - even[0]).mean((1, 2, 3))
    return int(apart.argmax()) if apart.any() else None
