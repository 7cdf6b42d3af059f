"""The pixels of DICOM images, decompressed where they are compressed, their rescale applied, what only fills them up made dark."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from engine.imaging.dicom.files import DAMAGED, Origin, files, parsed, quiet
from engine.imaging.dicom.images import DAMAGE, TAGS, Image
from engine.imaging.volume import VolumeError

#: transfer syntaxes that hold pixels as they are: implicit and explicit little endian, explicit big endian
PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")


def voxels_of(source: Origin, images: Sequence[Image]) -> tuple[Float[np.ndarray, "c r n"], list[str]]:
    """The pixels (column, row) of images of one shape, in their order, float32; and what was done to those that only fill up."""
    where = {(image.file, image.frame): k for k, image in enumerate(images)}
    wanted = {image.file for image in images}
    rows, columns = images[0].shape
    voxels = np.zeros((columns, rows, len(images)), np.float32)
    padded = np.zeros(voxels.shape, bool)
    for number, (_, data) in enumerate(files(source)):
        if number not in wanted:
            continue
        frames = _pixels(data)
        for frame in range(len(frames)):
            if (k := where.get((number, frame))) is not None:
                if frames[frame].shape != images[0].shape:
                    raise VolumeError(DAMAGE)
                slope, intercept = images[k].scale
                voxels[:, :, k] = frames[frame].T.astype(np.float32) * np.float32(slope) + np.float32(intercept)
                padded[:, :, k] = _padded(frames[frame], images[k].padding).T
    if not np.isfinite(voxels).all():
        raise VolumeError(DAMAGE)
    return voxels, _emptied(voxels, padded)


def _padded(pixels: np.ndarray, padding: tuple[int, int] | None) -> Bool[np.ndarray, "r c"]:
    """Which stored values only fill up the image; they may be written with or without a sign."""
    if padding is None or not np.issubdtype(pixels.dtype, np.integer):
        return np.zeros(pixels.shape, bool)
    low, high = sorted(np.asarray(padding, np.int64).astype(pixels.dtype).tolist())
    return (pixels >= low) & (pixels <= high)


def _emptied(voxels: Float[np.ndarray, "c r s"], padded: Bool[np.ndarray, "c r s"]) -> list[str]:
    """Put what only fills up the image at the darkest of the rest, in place, and say so; what is as dark as air stays."""
    if not padded.any():
        return []
    if padded.all():
        raise VolumeError("every voxel of the series is marked as padding; export it again, or as NIfTI")
    dark, filled = float(voxels[~padded].min()), voxels[padded]
    if filled.min() >= min(dark, 0.0) and filled.max() <= dark:
        return []
    voxels[padded] = dark
    return [f"{padded.mean():.0%} of its voxels only fill it up (PixelPaddingValue); they were made dark."]


def _pixels(data: bytes) -> Float[np.ndarray, "f r c"] | np.ndarray:
    """Numbers as they are stored, (frame, row, column), decompressed where they are compressed."""
    try:
        with quiet():
            image = parsed(data, TAGS, pixels=True)
            syntax = str(image.file_meta.TransferSyntaxUID)
    except DAMAGED:
        raise VolumeError(DAMAGE) from None
    try:
        with quiet():
            pixels = image.pixel_array
    except (*DAMAGED, MemoryError):
        if syntax not in PLAIN:
            raise VolumeError(
                "the DICOM files are compressed in a way that cannot be read, or damaged; export them uncompressed (explicit little "
                "endian), or as NIfTI"
            ) from None
        raise VolumeError(DAMAGE) from None
    return pixels if pixels.ndim == 3 else pixels[None]
