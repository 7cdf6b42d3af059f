"""How well volumes come back: the autoencoder's ceiling beside the best linear map of equal latent size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from engine.cohort.store import CohortStore
from engine.evaluation.metrics.checks import EvaluationError
from engine.model.joint import JointModel
from engine.model.nn.autoencoder import depth_to_space, patch_components, space_to_depth


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """Peak signal-to-noise ratio in dB, peak 1: of all voxels, and of those in the mask (a head's brain, a torso's body).

    ``by_person`` is the latter.
    """

    whole: float
    inside: float
    by_person: tuple[float, ...]


def decibel(mean_squared_error: float) -> float:
    """PSNR of a signal whose peak is 1."""
    return float(-10 * np.log10(mean_squared_error))


def _volumes(store: CohortStore, row: int) -> Float[Tensor, "1 c x y z"]:
    return torch.from_numpy(np.array(store.volumes[row : row + 1])).float() / 255


def reconstruction(
    store: CohortStore, rows: Int[np.ndarray, " n"], through: Callable[[Tensor], Tensor]
) -> Reconstruction:
    """PSNR of ``through`` (a volume (1, c, x, y, z) to its reconstruction) over the store's ``rows``.

    Squared errors are pooled over persons before the logarithm.
    """
    whole, masked, counts, people = [], [], [], []
    with torch.inference_mode():
        for row in rows:
            volume = _volumes(store, int(row))
            error = (through(volume).clamp(0, 1) - volume).square().mean(1)[0].numpy()
            inside = error[np.asarray(store.mask[int(row)])]
            whole.append(error.mean())
            masked.append(inside.sum())
            counts.append(len(inside))
            people.append(decibel(float(inside.mean())))
    return Reconstruction(
        whole=decibel(float(np.mean(whole))),
        inside=decibel(float(np.sum(masked) / np.sum(counts))),
        by_person=tuple(people),
    )


def autoencoder(model: JointModel) -> Callable[[Tensor], Tensor]:
    """Encode bare, standardise, restore, decode: what a scan suffers on its way through the model."""
    none = torch.zeros(1, len(model.schema.columns), dtype=torch.bool)
    table = torch.zeros(1, *model.codes.shape)
    return lambda volume: model.decode(model.encode(volume, table, none))


def patch_pca(
    store: CohortStore, rows: Int[np.ndarray, " n"], latent_values: int, patch: int
) -> Callable[[Tensor], Tensor]:
    """Project each cube of ``patch``^3 voxels on the principal components of the cubes of ``rows``, as many as
    ``latent_values`` a person pay for. Raises :class:`EvaluationError` when that is none."""
    cubes = int(np.prod(store.grid)) // patch**3
    count = latent_values // cubes
    if count < 1:
        raise EvaluationError(
            f"{latent_values} values a person are fewer than the {cubes} cubes of {patch} voxels; use larger ones"
        )
    volumes = torch.cat([_volumes(store, int(row)) for row in rows])
    components, mean = patch_components(volumes, count, patch)
    channels = volumes.shape[1]

    def through(volume: Tensor) -> Tensor:
        scores = (space_to_depth(volume, patch).flatten(2)[0].T - mean) @ components.T
        folded = (scores @ components + mean).T.reshape(1, channels * patch**3, *(n // patch for n in volume.shape[2:]))
        return depth_to_space(folded, patch)

    return through
