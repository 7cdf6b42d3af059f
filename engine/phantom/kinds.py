"""The kinds of in-silico persons, one object each: voxels, frames, what makes them, and what their store says of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from engine.anatomy.heart import HEART
from engine.phantom.anthropometry import PhantomError
from engine.phantom.dixon import CHANNELS
from engine.phantom.heart import cohort as hearts
from engine.phantom.heart.raster import RASTER as CINE
from engine.phantom.heart.tissue import CODES
from engine.phantom.process import one_thread
from engine.phantom.shape.frame import HD, RASTER, Raster
from engine.phantom.tissue import TISSUES
from engine.phantom.torsos import COLUMNS, PHANTOM
from engine.phantom.torsos import make as make_torsos


@runtime_checkable
class InSilico(Protocol):
    """A computed person: frames (uint8, 255 the brightest), labels, and the row of the table."""

    @property
    def images(self) -> UInt8[np.ndarray, "f x y z"]: ...

    @property
    def labels(self) -> UInt8[np.ndarray, "*t x y z"]: ...

    @property
    def row(self) -> dict[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of in-silico person.

    ``make`` takes seeds and a device; ``version`` is the phantom's: another one makes other persons of the same seeds.
    ``columns`` is what participants.json says of the columns that every BIDS export does not know already.
    """

    name: str
    version: int
    grid: tuple[int, int, int]
    spacing: tuple[float, float, float]
    frames: tuple[str, ...]
    phases: int
    label_names: dict[int, str]
    columns: dict[str, dict[str, Any]]
    make: Callable[[Sequence[int], str], Sequence[InSilico]]


def _torsos(raster: Raster) -> Kind:
    def make(seeds: Sequence[int], device: str) -> Sequence[InSilico]:
        return make_torsos(seeds, device=device, raster=raster)

    return Kind(
        name="In-silico torso Dixon MRI",
        version=PHANTOM,
        grid=raster.grid,
        spacing=raster.spacing,
        frames=CHANNELS,
        phases=1,
        label_names={tissue.code: tissue.name for tissue in TISSUES},
        columns=COLUMNS,
        make=make,
    )


def _hearts() -> Kind:
    def make(seeds: Sequence[int], device: str) -> Sequence[InSilico]:
        del device  # numpy alone: seconds of the CPU
        with one_thread():
            return hearts.make(seeds)

    return Kind(
        name="In-silico short-axis cine MRI of the heart",
        version=hearts.PHANTOM,
        grid=CINE.grid,
        spacing=CINE.spacing,
        frames=HEART.frames,
        phases=CINE.phases,
        label_names={code: name for name, code in CODES.items()},
        columns=hearts.COLUMNS,
        make=make,
    )


TORSO = "torso_dixon"
#: by the recipe that is trained on them
KINDS = {TORSO: _torsos(RASTER), "torso_dixon_hd": _torsos(HD), HEART.recipe: _hearts()}


def kind_of(recipe: str) -> Kind:
    """The kind of a recipe; raises :class:`PhantomError` for one of real persons."""
    if recipe not in KINDS:
        raise PhantomError(f"recipe {recipe} takes no computed persons; name {' or '.join(KINDS)}")
    return KINDS[recipe]


def made(recipe: str, seed: int) -> InSilico:
    """The person of a kind and seed."""
    (person,) = kind_of(recipe).make([seed], "cpu")
    return person
