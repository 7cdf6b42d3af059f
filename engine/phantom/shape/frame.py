"""The body frame: where every voxel lies in each person's body, and boxes that cut out a neighbourhood."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn.functional import pad

from engine.phantom.anthropometry import People
from engine.phantom.shape.shapes import Point, spread

#: voxels along x, y, z and their size in mm: the trunk of BMI 45 lies inside, arms may be cut
GRID = (96, 80, 144)
SPACING = (5.0, 5.0, 6.0)
VOXEL_ML = SPACING[0] * SPACING[1] * SPACING[2] / 1000


@dataclass(frozen=True)
class Raster:
    """Voxels along x, y, z and their size in mm, in the same field of view as :data:`GRID`, or nearly."""

    grid: tuple[int, int, int]
    spacing: tuple[float, float, float]

    @property
    def fine(self) -> int:
        """How many of its slices lie in one of :data:`SPACING`."""
        return round(SPACING[2] / self.spacing[2])


RASTER = Raster(GRID, SPACING)
#: 2 x 2 x 3 mm: twice and more as fine along every axis; 16 mm wider from front to back, for a grid of whole tokens
HD = Raster((240, 208, 288), (2.0, 2.0, 3.0))
#: top of the field of view, a fraction of the height; a reference stature for lengths written in mm
TOP, REFERENCE = 0.862, 1790.0
#: amplitude of the body's smooth random warp, mm, and its control points
WARP_MM, WARP_POINTS = (3.0, 2.6, 4.0), (6, 6, 7)
MARGIN = 15.0
#: rows in front are left out by as many, so that coarse grids still fit
STEP = 4
#: the middle of the grid lies this far in front of the body's axis, mm, for everyone: they lie on the same table
FORWARD = 72.0


class Frame:
    """A batch of bodies and the ``raster`` they are painted on.

    ``h`` is the height in mm, ``s`` the size of the skeleton relative to a man of 1.79 m, ``male`` 0 or 1, ``x``, ``y``
    the warped coordinates of the voxels, ``z`` the height of the axial slices and ``u`` the same as a fraction of ``h``.
    """

    def __init__(self, people: People, raster: Raster = RASTER) -> None:
        self.raster, self.grid, self.spacing = raster, raster.grid, raster.spacing
        self.voxel_ml = raster.spacing[0] * raster.spacing[1] * raster.spacing[2] / 1000
        self.fine = raster.fine
        self.people, self.n, self.device = people, len(people), people.height.device
        self.h = column(people.height) * 10
        self.male = column(people.male)
        self.s = self.h / REFERENCE * (1 - 0.035 * (1 - self.male))
        axes = [
            (torch.arange(size, device=self.device) - size / 2 + 0.5) * mm
            for size, mm in zip(self.grid, self.spacing, strict=True)
        ]
        self.axes = axes[0], axes[1]
        length = self.grid[2] * self.spacing[2]
        self.z = (self.h * TOP - length / 2 + axes[2]).reshape(self.n, 1, 1, self.grid[2])
        self.u = self.z / self.h
        self.tallest = float(people.height.max()) * 10
        side = self.trait("scoliosis") * 3.5
        bend = side * torch.sin((self.u - 0.55) * 14.0) * (self.u > 0.5)
        self.x = axes[0][:, None, None] + self.noise("warp x", WARP_POINTS) * WARP_MM[0] + bend
        self.y = axes[1][:, None] + FORWARD + bounded(self.noise("warp y", WARP_POINTS)) * WARP_MM[1]
        self.lift = self.noise("warp z", WARP_POINTS) * WARP_MM[2]

    def without_front(self, front: float) -> Frame:
        """The same frame as far as ``front`` (mm of the body's y): nothing is drawn in the air before a body."""
        cut = copy(self)
        step = STEP * self.fine
        needed = int((self.axes[1] + FORWARD <= front).sum()) // step * step + step
        rows = min(needed, self.grid[1])
        cut.grid = (self.grid[0], rows, self.grid[2])
        cut.axes = self.axes[0], self.axes[1][:rows]
        cut.x, cut.y, cut.lift = (field[:, :, :rows].contiguous() for field in (self.x, self.y, self.lift))
        cut.__dict__.pop("whole", None)
        return cut

    def padded(self, field: Shaped[Tensor, "n x rows z"], value: float = 0) -> Shaped[Tensor, "n x y z"]:
        """A field of :meth:`without_front` on the whole grid."""
        return pad(field, (0, 0, 0, self.grid[1] - field.shape[2]), value=value)

    def trait(self, name: str) -> Tensor:
        """A standard normal of the person that no column tells, (n, 1, 1, 1)."""
        return column(self.people.traits[name])

    def dim(self, name: str) -> Tensor:
        """A dimension of the body surface in mm, (n, 1, 1, 1)."""
        return column(self.people.dims[name])

    def value(self, name: str) -> Tensor:
        """Any other number of the person, (n, 1, 1, 1)."""
        return column(getattr(self.people, name))

    def noise(self, name: str, points: tuple[int, int, int], box: Box | None = None) -> Float[Tensor, "n x y z"]:
        """A smooth field of unit variance over the grid, or over a box of it, from each person's own generator."""
        coarse = torch.stack(
            [torch.randn(points, generator=generator(seed, name), device="cpu") for seed in self.people.seeds]
        )
        every = slice(self.grid[0]), slice(self.grid[1]), slice(self.grid[2])
        part = every if box is None else box.part
        field = spread(coarse.to(self.device), self.raster.grid, part or every)
        return field if box is None or part else box.take(field)

    @cached_property
    def whole(self) -> Box:
        """The box of all voxels."""
        return Box(self, (0, 0, 0), self.grid, None)

    def box(self, centre: Point, half: tuple[float, float, float]) -> Box:
        """The voxels around ``centre`` within ``half`` mm (at the reference stature), and a margin for the warp."""
        scale = max(self.tallest / REFERENCE, 1.0)
        size = [
            min(g, round(2 * (r * scale + MARGIN) / mm) + 1)
            for r, mm, g in zip(half, self.spacing, self.grid, strict=True)
        ]
        first = (self.axes[0][0], self.axes[1][0] + FORWARD, self.z[..., :1])
        starts = []
        for i in range(3):
            middle = (torch.as_tensor(centre[i], device=self.device) - first[i]) / self.spacing[i]
            start = (middle - (size[i] - 1) / 2).round().clamp(0, self.grid[i] - size[i])
            starts.append(start.long().expand(self.n, 1, 1, 1).flatten())
        return Box(self, (0, 0, 0), (size[0], size[1], size[2]), starts)

    def slab(self, low: float, high: float) -> Box:
        """All voxels between two fractions of the height."""
        half = (high - low) / 2 * REFERENCE
        return self.box((0.0, FORWARD, self.h * (low + high) / 2), (1e4, 1e4, half))


@dataclass(eq=False)
class Box:
    """A block of voxels of the same size in every person, at a place of its own.

    ``x``, ``y``, ``z`` are the voxels' body coordinates; ``rows`` is the unwarped height of its slices, on which the body surface
    and the skeleton are built, ``u`` the same as a fraction of the person's height.
    """

    frame: Frame
    corner: tuple[int, int, int]
    size: tuple[int, int, int]
    starts: list[Tensor] | None

    def __post_init__(self) -> None:
        self.index: tuple[Tensor | slice, ...] | None = self._index()
        frame = self.frame
        self.x, self.y, self.rows, self.u = (self.take(field) for field in (frame.x, frame.y, frame.z, frame.u))

    @cached_property
    def z(self) -> Tensor:
        """The warped height of every voxel, mm."""
        return self.rows + self.take(self.frame.lift)

    def cropped(self, low: Sequence[int], high: Sequence[int]) -> Box:
        """The voxels from ``low`` to ``high`` (not included) of the box along each axis."""
        starts = self.starts or [torch.zeros(self.frame.n, dtype=torch.long, device=self.frame.device)] * 3
        size = (high[0] - low[0], high[1] - low[1], high[2] - low[2])
        return Box(self.frame, self.corner, size, [start + by for start, by in zip(starts, low, strict=True)])

    def _index(self) -> tuple[Tensor | slice, ...] | None:
        if self.starts is None:
            return None
        if self.frame.n == 1 and self.frame.device.type == "cpu":
            corner = [int(start) for start in self.starts]
            return (slice(None), *(slice(c, c + size) for c, size in zip(corner, self.size, strict=True)))
        pairs = zip(self.starts, self.size, strict=True)
        every = [start[:, None] + torch.arange(size, device=start.device) for start, size in pairs]
        person = torch.arange(self.frame.n, device=self.frame.device)[:, None, None, None]
        return (person, every[0][:, :, None, None], every[1][:, None, :, None], every[2][:, None, None, :])

    @property
    def part(self) -> tuple[slice, slice, slice] | None:
        """The same voxels as slices, where all persons share them."""
        if self.index is None:
            return slice(self.size[0]), slice(self.size[1]), slice(self.size[2])
        _, x, y, z = self.index
        if isinstance(x, slice) and isinstance(y, slice) and isinstance(z, slice):
            return x, y, z
        return None

    def take(self, field: Tensor) -> Tensor:
        """Cut (n, x, y, z), or rows (n, 1, 1, z), down to the box."""
        if self.index is None:
            return field
        if field.shape[1:3] == (1, 1):
            person, _, _, z = self.index
            return field[:, :, :, z] if isinstance(z, slice) else field[person, 0, 0, z]
        return field[self.index]

    def changed(self, field: Tensor, value: Tensor) -> None:
        """Write back what :meth:`take` gave and was changed in place: only a copy has to be."""
        if self.part is None:
            self.put(field, value)

    def put(self, field: Tensor, value: Tensor) -> None:
        """Write ``value`` back into ``field`` (n, x, y, z)."""
        if self.index is None:
            field.copy_(value)
        else:
            field[self.index] = value


def column(values: Shaped[Tensor, " n"]) -> Shaped[Tensor, "n 1 1 1"]:
    """One number a person, ready to meet voxels."""
    return values[:, None, None, None]


def bounded(noise: Tensor) -> Tensor:
    """Standard normals held within 1.5."""
    return 1.5 * torch.tanh(noise / 1.5)


def generator(seed: int, name: str) -> torch.Generator:
    """The person's own stream of random numbers for one purpose; always on the CPU, so that devices agree."""
    key = seed * 1_000_003 + sum(ord(c) * 31**i for i, c in enumerate(name))
    return torch.Generator().manual_seed(key % (2**63 - 1))
