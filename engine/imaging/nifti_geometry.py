"""Where a NIfTI header says its voxels lie: taken only when it says so, and says it once.

A header has two places for the geometry, sform and qform, each with a code that says what it means; a code of 0 says that there
is none. nibabel then makes one up whose x axis points left (as Analyze 7.5 had it), and mends sizes of 0 to 1 mm. Neither is
known, so both are refused here: left and right, and millimetres, are never guessed.
"""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Float
from nibabel.spatialimages import HeaderDataError

from engine.imaging.grid import plausible_cycle
from engine.imaging.volume import VolumeError, sized

#: what a code may be: scanner, aligned, Talairach, MNI, another template (NIfTI-1, and 5 since 2019)
CODES = range(1, 6)
#: codes of a geometry in the scanner's own space, whose voxels have their true size
TRUE_SIZE = (1, 2)
#: factor by which voxels may differ in size between the header's two statements, in the scanner's space and in a template's
SAME_SIZE, TEMPLATE_SIZE = 1.02, 1.6
#: mm of one unit of length by its code: unknown (taken as mm, as everybody does), metre, millimetre, micrometre
MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
#: degrees and mm by which two statements about one and the same space may differ
SAME_TURN, SAME_PLACE = 5.0, 50.0
#: seconds of one unit of time by its code: second, millisecond, microsecond
SECONDS = {8: 1.0, 16: 1e-3, 24: 1e-6}
EXPORT = "export it again from the scanner's images, with its orientation"


def ijk_to_ras(header: Any, name: str) -> Float[np.ndarray, "4 4"]:
    """The affine in mm that a header, as it was read (``check=False``), states.

    Raises :class:`VolumeError` where neither sform nor qform has a code, both have one and contradict each other (a mirrored
    axis, another voxel size), a size is zero, negative or not finite, or voxels are larger or smaller than a scan's.
    """
    scale = MILLIMETRES.get(int(header["xyzt_units"]) & 7)
    if scale is None:
        raise VolumeError(f"{name} counts its lengths in unit {int(header['xyzt_units']) & 7}, not mm; {EXPORT}")
    s_code, q_code = int(header["sform_code"]), int(header["qform_code"])
    sform = _sform(header, name) if s_code in CODES else None
    qform = _qform(header, name, needed=sform is None) if q_code in CODES else None
    if sform is None and qform is None:
        raise VolumeError(
            f"{name} does not say where left and right are (qform code {q_code}, sform code {s_code}); {EXPORT}"
        )
    if sform is not None and qform is not None:
        _agree(sform, qform, name)
        if s_code == q_code:
            _one_place(header, sform, qform, name)
    if sform is not None:
        _as_large(header, sform, TRUE_SIZE, name)
    affine = sform if sform is not None else qform
    assert affine is not None
    return sized(np.diag([scale, scale, scale, 1.0]) @ affine, name)


def cycle_of(header: Any, phases: int) -> float | None:
    """Seconds of a cycle of so many phases by the step (``pixdim[4]``) that a header states; None where it states no unit of time,
    or what is no heart's cycle (:data:`engine.imaging.grid.CYCLES`)."""
    unit = SECONDS.get(int(header["xyzt_units"]) & 0x38)
    return None if unit is None else plausible_cycle(abs(float(header["pixdim"][4])) * unit * phases)


def _sform(header: Any, name: str) -> Float[np.ndarray, "4 4"]:
    affine = np.asarray(header.get_sform(), float)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise VolumeError(f"{name} has an affine (sform) that is singular or not finite; {EXPORT}")
    return affine


def _qform(header: Any, name: str, *, needed: bool) -> Float[np.ndarray, "4 4"] | None:
    """The qform; None where it cannot be made out and is not needed, because there is an sform."""
    sizes, handed = np.asarray(header["pixdim"][1:4], float), float(header["pixdim"][0])
    if handed not in (-1, 0, 1) and needed:
        raise VolumeError(f"{name} has a qfac (pixdim[0]) of {handed:g}, which must be 1 or -1; {EXPORT}")
    if not (np.isfinite(sizes).all() and sizes.min() > 0 and handed in (-1, 0, 1)):
        if needed:
            said = ", ".join(f"{size:g}" for size in sizes)
            raise VolumeError(f"{name} has voxels of the sizes {said}, which must be above 0; {EXPORT}")
        return None
    whole = header.copy()
    whole["pixdim"][0] = handed or 1
    try:
        affine = np.asarray(nib.Nifti1Header.get_qform(whole), float)
    except (HeaderDataError, ValueError) as error:
        raise VolumeError(f"{name} has an affine (qform) that is no rotation ({error}); {EXPORT}") from None
    if not np.isfinite(affine).all():
        raise VolumeError(f"{name} has an affine (qform) that is not finite; {EXPORT}")
    return affine


def _agree(sform: Float[np.ndarray, "4 4"], qform: Float[np.ndarray, "4 4"], name: str) -> None:
    """Each axis points roughly the same way in both: a template's is turned a little, never round."""
    axes = [affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0) for affine in (sform, qform)]
    if (axes[0] * axes[1]).sum(0).min() <= 0 or np.linalg.det(axes[0]) * np.linalg.det(axes[1]) < 0:
        stated = ["".join(nib.orientations.aff2axcodes(affine)) for affine in (sform, qform)]
        raise VolumeError(
            f"{name} contradicts itself: its axes point to {stated[0]} by the sform and to {stated[1]} by the qform, so left and "
            f"right cannot be told; {EXPORT}"
        )


def _one_place(header: Any, sform: Float[np.ndarray, "4 4"], qform: Float[np.ndarray, "4 4"], name: str) -> None:
    """Two statements about the same space (one code) put the scan in the same place."""
    axes = [affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0) for affine in (sform, qform)]
    turn = float(np.degrees(np.arccos((axes[0] * axes[1]).sum(0).clip(-1, 1))).max())
    middle = np.append((np.asarray(header["dim"][1:4], float) - 1) / 2, 1)
    apart = float(np.linalg.norm((sform @ middle - qform @ middle)[:3]))
    if turn > SAME_TURN or apart > SAME_PLACE:
        raise VolumeError(
            f"{name} contradicts itself: sform and qform, both of code {int(header['sform_code'])}, lie {apart:.0f} mm and "
            f"{turn:.0f} degrees apart; {EXPORT}"
        )


def _as_large(header: Any, sform: Float[np.ndarray, "4 4"], true: tuple[int, ...], name: str) -> None:
    """The sform's voxels are as large as pixdim says; where pixdim says nothing, the sform is believed."""
    sizes, sides = np.abs(np.asarray(header["pixdim"][1:4], float)), np.linalg.norm(sform[:3, :3], axis=0)
    if not (np.isfinite(sizes).all() and sizes.min() > 0):
        return
    most = SAME_SIZE if int(header["sform_code"]) in true else TEMPLATE_SIZE
    if np.maximum(sizes / sides, sides / sizes).max() > most:
        ours, theirs = (" x ".join(f"{mm:.4g}" for mm in one) for one in (sides, sizes))
        raise VolumeError(
            f"{name} contradicts itself: its voxels measure {ours} mm by the sform and {theirs} mm by pixdim; {EXPORT}"
        )
