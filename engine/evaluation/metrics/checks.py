"""What every figure refuses, in one sentence that names the remedy."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Num

from engine.vocabulary.refusal import Refusal

#: fewest subjects a figure is computed from
MINIMUM_SUBJECTS = 4


class EvaluationError(Refusal):
    """Input from which a figure would be wrong or undefined; the message says why and what to do."""


def checked_features(name: str, features: Num[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """``features`` in double precision; raises :class:`EvaluationError` on too few subjects or a cell not finite."""
    out = np.asarray(features, float)
    if len(out) < MINIMUM_SUBJECTS:
        raise EvaluationError(f"{name} features hold {len(out)} subjects: give {MINIMUM_SUBJECTS} or more")
    if out.shape[1] < 1:
        raise EvaluationError(f"{name} features have no column: give one or more")
    if bad := int((~np.isfinite(out)).any(1).sum()):
        raise EvaluationError(f"{name} features are not finite in {bad} of {len(out)} subjects: leave these out")
    return out


def checked_values(name: str, values: Num[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """``values``, one per subject, in double precision; raises :class:`EvaluationError` as for features."""
    return checked_features(name, np.asarray(values)[:, None])[:, 0]


def checked_varying(name: str, values: Num[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """``values`` that differ between subjects; raises :class:`EvaluationError` on a constant."""
    out = checked_values(name, values)
    if np.ptp(out) <= 1e-12 * max(1.0, float(np.abs(out).max())):
        raise EvaluationError(f"{name} is {out[0]:g} in all {len(out)} subjects: a constant correlates with nothing")
    return out


def checked_pair(
    real: Num[np.ndarray, "n d"], synthetic: Num[np.ndarray, "m d"]
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "m d"]]:
    """Both feature matrices, checked."""
    return checked_features("real", real), checked_features("synthetic", synthetic)


def require_equal_n(real: int, synthetic: int, figure: str) -> None:
    """Raise :class:`EvaluationError` when the sides differ in size: the bias of ``figure`` depends on N."""
    if real != synthetic:
        fault = f"{figure} is biased by N and the sides hold {real} and {synthetic} subjects"
        raise EvaluationError(f"{fault}: draw {min(real, synthetic)} from each (distribution.equal_n)")
