"""A torso scan on disk: two files side by side, ``*_water.nii.gz`` and ``*_fat.nii.gz``; one stands for both."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engine.imaging.nifti import load_volume
from engine.imaging.volume import Volume, VolumeError

WATER, FAT = "water", "fat"
CHANNELS = (WATER, FAT)
_NAME = re.compile(r"(?P<stem>.*_)(?P<channel>water|fat)(?P<end>\.nii(\.gz)?)")


def is_pair(path: str | Path) -> bool:
    """Whether the name is that of one of a pair's files.

    >>> is_pair("sub-0001_fat.nii.gz"), is_pair("sub-0001_T1w.nii.gz")
    (True, False)
    """
    return _NAME.fullmatch(Path(path).name) is not None


def pair_of(path: str | Path) -> tuple[Path, Path]:
    """The water and the fat file of the pair to which ``path`` belongs; whether they exist is not asked.

    Raises :class:`VolumeError` for any other name.

    >>> [file.name for file in pair_of("sub-0001_fat.nii.gz")]
    ['sub-0001_water.nii.gz', 'sub-0001_fat.nii.gz']
    """
    path = Path(path)
    found = _NAME.fullmatch(path.name)
    if found is None:
        raise VolumeError(f"{path.name} is no file of a torso; a torso is two, named *_water.nii.gz and *_fat.nii.gz")
    water, fat = (path.with_name(f"{found['stem']}{channel}{found['end']}") for channel in CHANNELS)
    return water, fat


def load_pair(path: str | Path) -> Volume:
    """The pair to which ``path`` belongs as one volume with the channels ``water`` and ``fat``, float32, (2, x, y, z).

    Raises :class:`VolumeError` when the other file is missing, one cannot be read, or they lie on different grids.
    """
    files = pair_of(path)
    for file in files:
        if not file.is_file() and file != Path(path):
            raise VolumeError(f"{file} does not exist; a torso is two files, {files[0].name} and {files[1].name}")
    water, fat = (load_volume(file, channel) for file, channel in zip(files, CHANNELS, strict=True))
    return paired(water, fat, f"{files[0].name} and {files[1].name}")


def load_channels(path: str | Path, channels: Sequence[str]) -> Volume:
    """The scan of these ``channels`` at ``path``: of one its file, of several the pair to which the file belongs.

    Raises :class:`VolumeError` when a file is missing or cannot be read.
    """
    if len(channels) > 1:
        return load_pair(path)
    return load_volume(path, *channels)


def paired(water: Volume, fat: Volume, names: str = "the water and the fat image") -> Volume:
    """Two volumes of one channel each as one of both, (2, x, y, z); raises :class:`VolumeError` for different grids."""
    if water.grid != fat.grid or not np.allclose(water.affine, fat.affine, atol=1e-2):
        raise VolumeError(f"{names} lie on different grids; export them from one scan")
    return Volume(np.stack([water.data, fat.data]), water.affine, CHANNELS)
