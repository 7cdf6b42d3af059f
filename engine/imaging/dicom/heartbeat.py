"""When in a heartbeat an image was taken: its trigger time, its temporal position, the beat's length (PS3.3 C.7.6.18, C.8.3.1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.imaging.dicom.elements import number_in, number_or

#: what is read of a classic image
BEAT_TAGS = (
    "TemporalPositionIdentifier",
    "TriggerTime",
    "NominalInterval",
    "HeartRate",
    "CardiacNumberOfImages",
)


@dataclass(frozen=True, kw_only=True)
class Beat:
    """``trigger``: ms from the R wave; ``position`` among the phases, from 1; ``interval``: ms from R wave to R wave; ``rate``: beats a
    minute; ``phases`` of the cycle. NaN: unknown."""

    trigger: float = math.nan
    position: float = math.nan
    interval: float = math.nan
    rate: float = math.nan
    phases: float = math.nan


#: of which nothing is known
UNKNOWN = Beat()


def beat_of(image: Any) -> Beat:
    """Of a classic image."""
    position, trigger, interval, rate, phases = (number_in(image, name) for name in BEAT_TAGS)
    return Beat(trigger=trigger, position=position, interval=interval, rate=rate, phases=phases)


def beat_of_frame(said: Callable[..., Any]) -> Beat:
    """Of a frame of an enhanced image, of whose functional groups ``said(sequence, name)`` gives an element, or None."""

    def number(*where: str) -> float:
        return number_or(said(*where), math.nan)

    gated = "CardiacSynchronizationSequence"
    nominal = number(gated, "NominalCardiacTriggerDelayTime")
    return Beat(
        trigger=number(gated, "ActualCardiacTriggerDelayTime") if math.isnan(nominal) else nominal,
        position=number("FrameContentSequence", "TemporalPositionIndex"),
        interval=number(gated, "RRIntervalTimeNominal"),
    )
