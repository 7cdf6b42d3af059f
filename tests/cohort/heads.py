"""A made-up head for the tests: a brain in a skull with a nose, turned and shifted at will, and a masker that knows it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from engine.cohort.preprocess.preprocess import PreprocessConfig
from engine.imaging.volume import Volume, centred_affine

CONFIG = PreprocessConfig(grid=(48, 56, 56), spacing=4.0)
DESCRIPTION = {"Name": "made up", "BIDSVersion": "1.10.0", "License": "CC0", "HowToAcknowledge": "nobody"}


def ellipsoid(points: np.ndarray, centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    return ((points - np.array(centre)) ** 2 / np.array(radii) ** 2).sum(-1) <= 1


def made_up_head(
    *,
    turn: tuple[float, float, float] = (0, 0, 0),
    shift: tuple[float, float, float] = (0, 0, 0),
    size: float = 1.0,
    grid: tuple[int, int, int] = (52, 64, 68),
    spacing: float = 4.0,
) -> Volume:
    """RAS, mm. ``turn`` is yaw, roll, pitch in degrees; brain 800, nose 500, soft tissue 300, a bright spot at the left."""
    affine = centred_affine(grid, (spacing,) * 3)
    ijk = np.stack(np.meshgrid(*(np.arange(n) for n in grid), indexing="ij"), -1)
    world = ijk @ affine[:3, :3].T + affine[:3, 3] - np.array(shift)
    points = world @ Rotation.from_euler("zyx", turn, degrees=True).as_matrix() / size
    data = np.zeros(grid, np.float32)
    data[ellipsoid(points, (0, 0, 30), (80, 100, 80))] = 300
    data[ellipsoid(points, (0, -10, -60), (50, 50, 70))] = 300
    data[ellipsoid(points, (0, 98, -30), (15, 24, 24))] = 500
    tilted = points @ Rotation.from_euler("x", -20, degrees=True).as_matrix()
    data[ellipsoid(tilted, (0, -10, 30), (62, 80, 58))] = 800
    data[ellipsoid(points, (-30, 0, 40), (10, 10, 10))] = 1000
    return Volume(data, affine)


def brain_of(head: Volume) -> np.ndarray:
    """The masker of the made-up head: whatever is brighter than its nose."""
    return head.data > 650


def write_dataset(root: Path, heads: dict[str, Volume | bytes | None], table: str, *, labels: bool = False) -> Path:
    """A BIDS data set; bytes are written as they are, None means no image."""
    root.mkdir(parents=True)
    (root / "dataset_description.json").write_text(json.dumps(DESCRIPTION))
    (root / "participants.tsv").write_text(table)
    for name, head in heads.items():
        folder = root / name / "anat"
        folder.mkdir(parents=True)
        if isinstance(head, Volume):
            head.save(folder / f"{name}_T1w.nii.gz")
            if labels:
                derived = root / "derivatives" / "dlmuse" / name / "anat"
                derived.mkdir(parents=True)
                codes = np.where(head.data > 650, 7, 0).astype(np.uint8)
                Volume(codes, head.affine).save(derived / f"{name}_dseg.nii.gz")
        elif head is not None:
            (folder / f"{name}_T1w.nii.gz").write_bytes(head)
    return root
