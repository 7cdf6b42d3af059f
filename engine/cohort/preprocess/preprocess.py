"""One scan to the recipe's grid: canonical, brain found, face removed, rigidly centred, resampled once, scaled.

The same path serves a cohort's ingest and a single uploaded scan.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import gaussian_filter

from engine.cohort.preprocess.centring import centring
from engine.cohort.preprocess.deface import quickshear_keep, tangent_keep
from engine.imaging.volume import Volume, VolumeError, black_at_zero, centred_affine, finite
from engine.vocabulary.refusal import Refusal

BrainMasker = Callable[[Volume], np.ndarray]

BRAIN_ML = (500.0, 2500.0)


class PreprocessError(Refusal):
    """Settings that cannot be used; the message names the value and the remedy."""


@dataclass(frozen=True, kw_only=True)
class PreprocessConfig:
    """How a scan becomes a grid; stored with every store. Lengths in mm, angles in degrees.

    ``centre`` is where the middle of the grid lies, in RAS mm from the brain's centroid. ``pitch`` is the angle below
    the horizontal at which the mask's long axis comes to lie (the IXI heads' own mean, so that nobody turns far).
    """

    grid: tuple[int, int, int] = (96, 112, 112)
    spacing: float = 2.0
    centre: tuple[float, float, float] = (0.0, 6.0, -30.0)
    channels: tuple[str, ...] = ("T1w",)
    rotate: bool = True
    pitch: float = 19.5
    deface: bool = True
    buffer: float = 10.0
    shear: float = 50.0
    order: int = 3
    percentile: float = 99.0
    headroom: float = 1.25

    def __post_init__(self) -> None:
        if len(self.grid) != 3 or min(self.grid) < 8:
            raise PreprocessError(f"grid {self.grid} is too small; give three sizes of 8 voxels or more")
        if not (self.spacing > 0 and 0 < self.percentile <= 100 and self.headroom > 0 and self.buffer >= 0):
            raise PreprocessError("spacing, percentile and headroom must be positive; check the preprocessing settings")
        if self.order not in (0, 1, 2, 3):
            raise PreprocessError(f"spline order {self.order} is not supported; use 1 or 3")

    @property
    def affine(self) -> Float[np.ndarray, "4 4"]:
        """The grid's ``ijk_to_ras``; the origin is the brain's centroid."""
        affine = centred_affine(self.grid, (self.spacing,) * 3)
        affine[:3, 3] += self.centre
        return affine


@dataclass(frozen=True, eq=False, kw_only=True)
class Preprocessed:
    """A scan on the recipe's grid.

    ``volume`` holds uint8 (x, y, z), 255 = intensity 1.0; ``brain`` is its mask; ``head_to_ras`` is the rigid (4, 4)
    matrix from the centred frame (mm) to the scan's own RAS mm, which carries labels in and results back.
    """

    volume: Volume
    brain: Bool[np.ndarray, "x y z"]
    head_to_ras: Float[np.ndarray, "4 4"]
    quality: dict[str, float] = field(default_factory=dict)

    def resample(self, other: Volume, order: int = 0) -> Volume:
        """Another volume of the same scan (labels, for example) on the same grid."""
        moved = Volume(other.data, np.linalg.inv(self.head_to_ras) @ other.affine, other.channels)
        return moved.resampled(self.volume.grid, self.volume.affine, order)


def deepbet_masker() -> BrainMasker:
    """A brain masker by deepbet on the CPU (Fisch et al. 2024); 2 to 4 s a head on two cores.

    The returned function takes a RAS volume and gives a boolean array of its shape. It raises :class:`VolumeError`
    when no brain is found.
    """
    from deepbet import BrainExtraction

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit")
        extraction = BrainExtraction(no_gpu=True)

    def mask(volume: Volume) -> np.ndarray:
        image = nib.Nifti1Image(volume.data.astype(np.float32), volume.affine)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*torch.jit")
                found = extraction.run(image)[1]
        except (AssertionError, ValueError, RuntimeError, IndexError):
            raise VolumeError("no brain was found; is this a T1-weighted head?") from None
        return np.asarray(found.dataobj) > 0

    return mask


def preprocess(volume: Volume, config: PreprocessConfig, masker: BrainMasker | None = None) -> Preprocessed:
    """One scan, in any orientation, to the grid of ``config``; a pure function of its arguments.

    ``volume`` is 3D with any affine. ``masker`` defaults to :func:`deepbet_masker` (loaded anew: pass one to reuse it).
    Raises :class:`VolumeError` when there is no contrast, no brain, or an implausible one.
    """
    head = finite(volume.reoriented("RAS"))
    if head.data.ndim != 3:
        raise VolumeError(f"a scan with {head.data.shape[0]} channels was given; preprocess one channel at a time")
    if float(head.data.max()) <= float(head.data.min()):
        raise VolumeError("every voxel has the same value; there is nothing to see in this scan")
    head = black_at_zero(head)
    inside = (masker or deepbet_masker())(head)
    millilitres = float(inside.sum()) * abs(float(np.linalg.det(head.affine[:3, :3]))) / 1000
    if not BRAIN_ML[0] <= millilitres <= BRAIN_ML[1]:
        raise VolumeError(
            f"the brain found has {millilitres:.0f} ml, outside {BRAIN_ML[0]:.0f} to {BRAIN_ML[1]:.0f}; check the scan"
        )
    head_to_ras, quality = centring(head, inside, rotate=config.rotate, pitch=config.pitch)
    brain = Volume(inside.astype(np.float32), head.affine)
    keep = np.ones(head.grid, bool)
    if config.deface:
        keep = quickshear_keep(brain, buffer_mm=config.buffer)
        keep &= tangent_keep(brain, head_to_ras, buffer_mm=config.buffer, angle=config.shear) | inside
    white = max(float(np.percentile(head.data[inside], config.percentile)) * config.headroom, 1e-30)
    scaled = np.clip(head.data * keep / white, 0, 1).astype(np.float32)
    blank = Volume(np.zeros(config.grid, np.uint8), config.affine, config.channels[:1])
    place = Preprocessed(volume=blank, brain=np.zeros(config.grid, bool), head_to_ras=head_to_ras)
    moved = place.resample(Volume(antialiased(scaled, head.spacing, config.spacing), head.affine), config.order)
    on_grid = place.resample(brain, 1).data > 0.5
    kept = place.resample(Volume(keep.astype(np.uint8), head.affine), 0).data > 0
    codes = np.round(np.clip(moved.data * kept, 0, 1) * 255).astype(np.uint8)
    quality |= {
        "brain_ml": round(millilitres, 1),
        "brain_in_grid": round(float(on_grid.sum()) * config.spacing**3 / 1000 / millilitres, 4),
        "removed_fraction": round(1 - float((scaled > 0).sum()) / max(float((head.data > 0).sum()), 1.0), 4),
        "white": round(white, 3),
    }
    return Preprocessed(
        volume=Volume(codes, config.affine, config.channels[:1]),
        brain=on_grid,
        head_to_ras=head_to_ras,
        quality=quality,
    )


def antialiased(
    data: Float[np.ndarray, "x y z"],
    spacing: tuple[float, float, float],
    target: float | tuple[float, float, float],
) -> Float[np.ndarray, "x y z"]:
    """Data blurred along the axes that are finer than ``target`` mm, so that resampling does not alias."""
    sigma = np.sqrt(np.maximum((np.asarray(target) / spacing) ** 2 - 1, 0)) / 2.355
    return gaussian_filter(data, sigma) if max(sigma) > 0.1 else data


def as_float(codes: UInt8[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Stored codes (255 = 1.0) as float32 in 0..1."""
    return codes.astype(np.float32) / 255
