"""What differs from one part of the body to another, as data: channels, files, recipe, networks, what changes with what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from engine.imaging.grid import frames
from engine.vocabulary.refusal import Refusal

#: how a scan from elsewhere reaches a model's grid: through the preprocessing of its cohort, or resampled where it lies
Intake = Literal["preprocessed", "resampled"]
#: the plane in which a region is recognised at a glance
Plane = Literal["axial", "coronal"]
#: the area that every region has
BODY = "body"
#: what the planes across the axes z, y and x are called, and what lies at the low and the high end of the axes x, y and z
PLANES = ("Axial", "Coronal", "Sagittal")
ENDS = (("L", "R"), ("P", "A"), ("I", "S"))


class RegionError(Refusal):
    """A region whose facts contradict each other."""


@dataclass(frozen=True, kw_only=True)
class Area:
    """Where a change of an attribute is expected: the ruler's ``classes``, or with ``around`` the body without them.

    ``words`` stand in a sentence. No classes at all: the whole body.
    """

    words: str
    classes: tuple[str, ...] = ()
    around: bool = False


@dataclass(frozen=True, kw_only=True)
class Tissue:
    """What is coloured: its ``title``, the ruler's ``classes`` it is made of, its ``colour``, and the ``opacity`` (0 to 1)
    of its surface."""

    title: str
    classes: tuple[str, ...]
    colour: str
    opacity: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Region:
    """A part of the body.

    ``channels`` are those of a scan, in order, in ``phases`` of a cycle (1: still); ``files`` one pattern a channel, of file
    names without ``.nii`` or ``.nii.gz``. ``recipe``, ``ruler`` and ``features`` are the names of what is trained for it.
    ``largest_mm`` is the longest side of a field of view that is taken for it, ``coarsest_mm`` the largest voxel that its
    ruler reads.
    ``cohort`` says of which persons its ruler holds regressions.

    ``single`` are the ruler's classes that a body has once and in one piece; ``volumes`` the classes whose volume an attribute
    is.

    ``composition`` are columns that say what a body is made of: who asks what age or BMI would change lets them follow.

    ``cortex`` are the ruler's classes in which grey and white matter lie side by side.

    ``planes`` are what the planes across the grid's z, y and x are called, ``ends`` what lies at the low and the high end of its
    x, y and z: of a grid that lies in the body RAS+.

    ``measures`` are what its ruler measures, by name, as a reader calls it.

    ``areas`` by name, and ``expected`` the area that an attribute changes (any other attribute: the body);
    ``unmoved`` the measures that an attribute leaves where they are. ``relations`` are pairs of an attribute and the
    measure that follows it most closely. ``tissues`` are coloured in slices, ``surfaces`` shown as surfaces.

    Raises :class:`RegionError` where files and channels differ in number, or an attribute changes an unknown area.
    """

    name: str
    title: str
    channels: tuple[str, ...]
    files: tuple[str, ...]
    recipe: str
    ruler: str
    features: str
    cohort: str
    intake: Intake
    plane: Plane
    largest_mm: float
    phases: int = 1
    coarsest_mm: float = math.inf
    single: tuple[str, ...] = ()
    volumes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    composition: tuple[str, ...] = ()
    cortex: tuple[str, ...] = ()
    planes: tuple[str, str, str] = PLANES
    ends: tuple[tuple[str, str], ...] = ENDS
    measures: Mapping[str, str] = field(default_factory=dict)
    areas: Mapping[str, Area] = field(default_factory=dict)
    expected: Mapping[str, str] = field(default_factory=dict)
    unmoved: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    relations: tuple[tuple[str, str], ...] = ()
    tissues: tuple[Tissue, ...] = ()
    surfaces: tuple[Tissue, ...] = ()

    def __post_init__(self) -> None:
        if len(self.files) != len(self.channels) or not self.channels:
            raise RegionError(
                f"region {self.name} has {len(self.channels)} channels and {len(self.files)} files: give one file a channel"
            )
        if unknown := sorted({*self.expected.values()} - {*self.areas, BODY}):
            raise RegionError(f"region {self.name} has no area {unknown[0]}: add it to its areas")

    @property
    def frames(self) -> tuple[str, ...]:
        """The names of a scan's frames, every phase of every channel."""
        return frames(self.channels, self.phases)

    def names(self, path: str | Path) -> bool:
        """Whether a file of this region is named like ``path``."""
        name = Path(path).name
        return any(fnmatch(name, f"{pattern}{end}") for pattern in self.files for end in (".nii", ".nii.gz"))

    def area(self, name: str) -> Area:
        """The area called ``name``; the body has no classes."""
        return Area(words="the body") if name == BODY else self.areas[name]

    def area_of(self, attribute: str) -> str:
        """The name of the area that an attribute changes."""
        return self.expected.get(attribute, BODY)
