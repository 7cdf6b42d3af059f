"""A head turned upright and its brain put in the middle, without a template.

The origin is the brain's centroid, yaw and roll come from the mirror symmetry of the blurred brain, pitch from the brain
mask's long axis in the sagittal plane. Over 25 IXI heads this lowers the mean voxel variance by 3 % in the whole head and by
16 % in the brain, against translation alone.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_dilation, gaussian_filter
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from engine.imaging.volume import Volume, centred_affine


def centring(
    head: Volume, inside: Bool[np.ndarray, "x y z"], *, rotate: bool, pitch: float
) -> tuple[Float[np.ndarray, "4 4"], dict[str, float]]:
    """The rigid ``head_to_ras`` (4, 4) of a RAS head with its brain mask, and the angles and asymmetry found.

    Without ``rotate`` it only shifts; ``pitch`` is the angle in degrees below the horizontal at which the mask's long axis is
    to lie.
    """
    points = np.argwhere(inside) @ head.affine[:3, :3].T + head.affine[:3, 3]
    origin = points.mean(axis=0)
    head_to_ras = np.eye(4)
    head_to_ras[:3, 3] = origin
    if not rotate:
        return head_to_ras, {}
    (yaw, roll, shift), asymmetry = mirror_symmetry(head, inside, origin)
    turn = _yaw_roll(yaw, roll)
    origin = origin + turn @ np.array([shift, 0.0, 0.0])
    around = (points - origin) @ turn
    axis = np.linalg.eigh(np.cov(around[:, 1:].T))[1][:, 1]
    axis = axis * (1 if axis[0] >= 0 else -1)
    tilt = float(np.degrees(np.arctan2(axis[1], axis[0])) - pitch)
    turn = turn @ Rotation.from_euler("x", tilt, degrees=True).as_matrix()
    head_to_ras[:3, :3], head_to_ras[:3, 3] = turn, origin
    angles = {"yaw": yaw, "roll": roll, "pitch": tilt, "shift_mm": shift, "asymmetry": asymmetry}
    return head_to_ras, {name: round(float(value), 3) for name, value in angles.items()}


def _yaw_roll(yaw: float, roll: float) -> Float[np.ndarray, "3 3"]:
    return Rotation.from_euler("zy", [yaw, roll], degrees=True).as_matrix()


def mirror_symmetry(
    head: Volume, inside: Bool[np.ndarray, "x y z"], origin: Float[np.ndarray, "3"], blur: float = 4.0
) -> tuple[tuple[float, float, float], float]:
    """Yaw, roll (degrees) and sideways shift (mm) that make the brain most like its mirror image, and what is left.

    Powell's method on the squared left-right difference over the variance, on a 4 mm grid; deterministic.
    """
    padded = binary_dilation(inside, iterations=max(1, round(4.0 / min(head.spacing))))
    seen = np.clip(head.data / max(float(np.percentile(head.data[inside], 99)), 1e-12), 0, 1.25) * padded
    smooth = gaussian_filter(seen.astype(np.float32), [blur / s for s in head.spacing])
    grid = (48, 56, 48)
    coarse = centred_affine(grid, (4.0, 4.0, 4.0))

    def asymmetry(p: np.ndarray) -> float:
        rigid = np.eye(4)
        rigid[:3, :3] = _yaw_roll(p[0], p[1])
        rigid[:3, 3] = origin + rigid[:3, :3] @ np.array([p[2], 0.0, 0.0])
        v = Volume(smooth, np.linalg.inv(rigid) @ head.affine).resampled(grid, coarse).data
        return float(((v - v[::-1]) ** 2).sum() / max(float(((v - v.mean()) ** 2).sum()), 1e-12))

    bounds = [(-20, 20), (-20, 20), (-15, 15)]
    best = minimize(asymmetry, np.zeros(3), method="Powell", bounds=bounds, options={"xtol": 0.05, "ftol": 1e-4})
    yaw, roll, shift = (float(v) for v in best.x)
    return (yaw, roll, shift), float(best.fun)
