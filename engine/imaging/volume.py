"""A scan: voxels and the matrix that places them in the patient, in RAS+ millimetres.

Matrices are named by direction: ``ijk_to_ras`` takes a voxel index to a point in mm, x to the patient's Right,
y to Anterior, z to Superior (the NIfTI-1 convention, method 3).
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from jaxtyping import Float, Num
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from scipy.ndimage import affine_transform

from engine.imaging.grid import frames, phases_of
from engine.storage.whole import whole_file
from engine.vocabulary.refusal import Refusal

#: quantile that is taken for a scan's air, and share of the range of intensities by which it may lie off 0
DARK, BLACK = 0.001, 0.02
#: sides in mm that a voxel of a scan of a body can have
SIDES = (0.05, 50.0)


class VolumeError(Refusal):
    """A file or array that is not a usable 3D scan; the message names it and says what to do."""


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels with their place in space.

    Shape: ``data`` is (x, y, z), or (f, x, y, z) with one frame for each name in ``channels`` (:mod:`engine.imaging.grid`: a
    still scan's frames are its channels, a cine's their phases); ``affine`` is (4, 4), voxel index to RAS+ mm; ``cycle`` is the
    length of a cine's cycle in seconds, None where there is none or nobody knows.
    Raises :class:`VolumeError` for any other shape, a singular affine, or an axis shorter than two voxels.

    >>> Volume(np.zeros((4, 5, 6), np.float32), np.diag([2.0, 2, 2, 1])).spacing
    (2.0, 2.0, 2.0)
    """

    data: np.ndarray
    affine: np.ndarray
    channels: tuple[str, ...] = ("T1w",)
    cycle: float | None = None

    def __post_init__(self) -> None:
        affine = np.asarray(self.affine, dtype=np.float64)
        object.__setattr__(self, "affine", affine)
        grid = self.data.shape[-3:]
        if self.data.ndim not in (3, 4) or (self.data.ndim == 4 and self.data.shape[0] != len(self.channels)):
            raise VolumeError(f"a scan has 3 axes, this array has shape {self.data.shape}; give one 3D volume")
        if min(grid) < 2:
            raise VolumeError(f"a scan of {' x '.join(map(str, grid))} voxels is a single slice; give a 3D volume")
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise VolumeError("the scan's affine matrix is singular or not finite; re-export it with its geometry")

    @property
    def grid(self) -> tuple[int, int, int]:
        """Voxels along each spatial axis."""
        i, j, k = self.data.shape[-3:]
        return int(i), int(j), int(k)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm along each axis."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def axcodes(self) -> str:
        """Where each axis points, such as ``RAS``."""
        return "".join(nib.orientations.aff2axcodes(self.affine))

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.data, dtype=dtype, copy=copy)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The channels' names, whatever the number of phases."""
        return phases_of(self.channels)[0]

    @property
    def phases(self) -> int:
        """Phases of a cine's cycle; 1 of a still scan."""
        return phases_of(self.channels)[1]

    def apart(self) -> list[Volume]:
        """A volume for each channel, (x, y, z) or (t, x, y, z) with all its phases."""
        kinds, phases = phases_of(self.channels)
        cycles = self.data.reshape(len(kinds), phases, *self.grid)
        return [
            replace(self, data=data[0] if phases == 1 else data, channels=frames([name], phases))
            for data, name in zip(cycles, kinds, strict=True)
        ]

    def at_phase(self, phase: int = 0) -> Volume:
        """The still scan of one phase, (x, y, z) or (c, x, y, z); of a still scan the scan itself.

        Raises :class:`VolumeError` for a phase that it does not have.
        """
        kinds, phases = phases_of(self.channels)
        if not 0 <= phase < phases:
            raise VolumeError(f"phase {phase} of a cycle of {phases} does not exist; give 0 to {phases - 1}")
        if phases == 1:
            return self
        data = self.data.reshape(len(kinds), phases, *self.grid)[:, phase]
        return replace(self, data=data[0] if len(kinds) == 1 else data, channels=kinds, cycle=None)

    def stills(self) -> list[Volume]:
        """A volume for each frame, (x, y, z)."""
        data = self.data[None] if self.data.ndim == 3 else self.data
        return [replace(self, data=frame, channels=(name,)) for frame, name in zip(data, self.channels, strict=True)]

    def reoriented(self, axcodes: str = "RAS") -> Volume:
        """The same scan with its axes flipped and permuted (no interpolation) to point along ``axcodes``."""
        turn = ornt_transform(io_orientation(self.affine), axcodes2ornt(tuple(axcodes)))
        channels = self.data[None] if self.data.ndim == 3 else self.data
        turned = np.stack([apply_orientation(channel, turn) for channel in channels])
        affine = self.affine @ inv_ornt_aff(turn, self.grid)
        return replace(self, data=turned[0] if self.data.ndim == 3 else turned, affine=affine)

    def resampled(self, grid: tuple[int, int, int], affine: np.ndarray, order: int = 1) -> Volume:
        """The scan interpolated at the voxels of another grid; outside the field of view it is 0.

        ``order`` is the spline's: 0 for labels, 1 linear, 3 cubic (``scipy.ndimage.affine_transform``).
        """
        to_source = np.linalg.inv(self.affine) @ affine
        channels = self.data[None] if self.data.ndim == 3 else self.data
        turn, offset = to_source[:3, :3], cast(Any, to_source[:3, 3])
        out = np.stack(
            [affine_transform(c, turn, offset, output_shape=grid, order=order, mode="grid-constant") for c in channels]
        )
        return replace(self, data=out[0] if self.data.ndim == 3 else out, affine=affine)

    def to_nifti(self, description: str = "") -> nib.Nifti1Image:
        """A NIfTI-1 image of one channel, its ``descrip`` field set (79 characters at most); of a cine with time as fourth axis.

        Its step in time is the cycle's length over the phases, 0 where that is not known.
        """
        if len(self.kinds) != 1:
            raise VolumeError("a NIfTI file holds one channel; save each channel in a file of its own")
        phases = self.phases
        image = nib.Nifti1Image(self.data if self.data.ndim == 3 else np.moveaxis(self.data, 0, -1), self.affine)
        image.header.set_xyzt_units("mm", None if phases == 1 else "sec")
        if phases > 1:
            image.header.set_zooms((*image.header.get_zooms()[:3], (self.cycle or 0.0) / phases))
        image.header["descrip"] = description.encode("ascii", "replace")[:79]
        image.set_sform(self.affine, code=2)
        image.set_qform(self.affine, code=2)
        return image

    def save(self, path: str | Path, description: str = "") -> None:
        """Write ``.nii.gz`` whole or not at all: a temporary file beside it is renamed at the end."""
        path = Path(path)
        with whole_file(path) as part:
            part.write_bytes(gzip.compress(self.to_nifti(description).to_bytes(), 6, mtime=0))


def finite(volume: Volume, name: str = "the scan") -> Volume:
    """The volume itself; raises :class:`VolumeError` when a voxel is NaN or infinite."""
    bad = int((~np.isfinite(volume.data)).sum())
    if bad:
        raise VolumeError(f"{name} has {bad} voxels that are NaN or infinite; export it again or fill them")
    return volume


def sized(affine: Float[np.ndarray, "4 4"], name: str = "the scan") -> Float[np.ndarray, "4 4"]:
    """An affine itself; raises :class:`VolumeError` where its voxels are larger or smaller than a scan's, as in another unit."""
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    if not (sides.min() >= SIDES[0] and sides.max() <= SIDES[1]):
        size = " x ".join(f"{mm:g}" for mm in sides)
        raise VolumeError(
            f"{name} has voxels of {size} mm, a scan's measure {SIDES[0]:g} to {SIDES[1]:g} mm; correct its units or sizes"
        )
    return affine


def black_at_zero(volume: Volume) -> Volume:
    """The volume with the darkest of each channel, its air, at 0 where it lies elsewhere: below, or well above.

    A constant that was added (``scl_inter``), a z-score or a range of -0.5 to 0.5 leaves the same scan. The darkest is the minimum,
    or the quantile :data:`DARK` where single voxels lie far below it; a few voxels that interpolation left below 0 are no
    other scale. All phases of a cine move together. Raises nothing; a channel whose darkest is within :data:`BLACK` of its range
    from 0 is left as it is.
    """
    channels = [volume.data] if volume.data.ndim == 3 else [part.data for part in volume.apart()]
    moved = [_moved(channel) for channel in channels]
    if all(new is old for new, old in zip(moved, channels, strict=True)):
        return volume
    return replace(volume, data=np.stack(moved).reshape(volume.data.shape))


def _moved(channel: Num[np.ndarray, "... x y z"]) -> Num[np.ndarray, "... x y z"]:
    dark, bright = (float(v) for v in np.quantile(channel, (DARK, 1 - DARK)))
    slack = BLACK * (bright - dark)
    if abs(dark) <= slack or not bright > dark:
        return channel
    darkest = float(channel.min())
    numbers = channel if np.issubdtype(channel.dtype, np.floating) else channel.astype(np.float32)
    return numbers - np.asarray(darkest if darkest >= dark - slack else dark, numbers.dtype)


def centred_affine(grid: tuple[int, int, int], spacing: Float[np.ndarray, "3"] | tuple[float, ...]) -> np.ndarray:
    """The RAS+ ``ijk_to_ras`` of a grid whose middle lies at the origin."""
    affine = np.diag([*spacing, 1.0]).astype(np.float64)
    affine[:3, 3] = -(np.asarray(grid) - 1) / 2 * np.asarray(spacing)
    return affine
