"""A torso is two files: either finds the other, and what is wrong with the two is one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.imaging.pair import load_pair, pair_of
from engine.imaging.volume import Volume, VolumeError, centred_affine

AFFINE = centred_affine((6, 5, 4), (5.0, 5.0, 6.0))


def write(folder: Path, *, shift: float = 0.0) -> tuple[Path, Path]:
    """A pair whose water is 1 and whose fat is 2, the fat ``shift`` mm away."""
    files = folder / "sub-01_water.nii.gz", folder / "sub-01_fat.nii.gz"
    for i, file in enumerate(files):
        affine = AFFINE.copy()
        affine[0, 3] += shift * i
        Volume(np.full((6, 5, 4), i + 1, np.float32), affine).save(file)
    return files


def test_either_file_stands_for_the_pair(tmp_path: Path):
    for file in write(tmp_path):
        pair = load_pair(file)
        assert pair.channels == ("water", "fat")
        assert [float(channel.mean()) for channel in pair.data] == [1.0, 2.0]
        assert np.allclose(pair.affine, AFFINE)


def test_names_round_trip():
    for name in ("sub-1_water.nii", "a_b_fat.nii.gz"):
        water, fat = pair_of(name)
        assert pair_of(water) == pair_of(fat) == (water, fat)
        assert Path(name) in (water, fat)


@pytest.mark.parametrize("gone", [0, 1])
def test_a_missing_partner_is_named(tmp_path: Path, gone: int):
    files = write(tmp_path)
    files[gone].unlink()
    with pytest.raises(VolumeError, match=f"{files[gone].name} does not exist; a torso is two files"):
        load_pair(files[1 - gone])


def test_another_name_and_another_grid_are_refused(tmp_path: Path):
    with pytest.raises(VolumeError, match=r"scan\.nii\.gz is no file of a torso"):
        pair_of("scan.nii.gz")
    file, _ = write(tmp_path, shift=3.0)
    with pytest.raises(VolumeError, match="different grids"):
        load_pair(file)
