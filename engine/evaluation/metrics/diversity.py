"""How unlike one another the volumes of a set are: mean multi-scale SSIM of pairs. Secondary to recall and coverage."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.interval import Figure, bootstrap

#: exponents of the five scales (Wang et al. 2003, section 3.2)
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
KERNEL = 11


def scale_weights(shortest: int) -> tuple[float, ...]:
    """Wang's exponents of the scales that fit a volume whose shortest side has ``shortest`` voxels, summing to 1."""

    def fits(scales: int) -> bool:
        return min(shortest // max(1, scales - 1) ** 2, shortest // 2 ** (scales - 1)) >= KERNEL

    scales = max((s for s in range(1, len(WEIGHTS) + 1) if fits(s)), default=0)
    if scales == 0:
        raise EvaluationError(f"a side of {shortest} voxels is shorter than MS-SSIM's window: give {KERNEL} or more")
    return tuple(w / sum(WEIGHTS[:scales]) for w in WEIGHTS[:scales])


def ms_ssim_diversity(volumes: Float[np.ndarray, "n c x y z"], rng: np.random.Generator, *, pairs: int = 200) -> Figure:
    """Mean MS-SSIM (Wang et al. 2003, eq. 7) of random pairs of different volumes of range 0 to 1; lower is more diverse.

    Read it beside the same figure of as many real volumes: below it is noise, above it is collapse (Kwon et al. 2019
    use it so on 3D heads). Scales that the grid is too small for are left out. Every volume enters about
    equally often; the interval is a bootstrap over the mean of each volume's pairs, and so approximate.
    """
    import torch
    from monai.metrics.regression import compute_ms_ssim

    n = len(volumes)
    if n < 4:
        raise EvaluationError(f"{n} volumes make too few pairs: give 4 or more")
    if not np.isfinite(volumes).all():
        raise EvaluationError("a volume holds a voxel that is not finite: mend it first")
    if volumes.min() < 0 or volumes.max() > 1:
        raise EvaluationError(f"volumes run from {volumes.min():g} to {volumes.max():g}: scale them to 0 to 1")
    weights, most = scale_weights(min(volumes.shape[2:])), min(pairs, n * (n - 1) // 2)
    # circulant pairing: step s of a random order pairs every volume with two others
    order = rng.permutation(n)
    steps = [(int(order[i]), int(order[(i + s) % n])) for s in range(1, n) for i in range(n)]
    chosen = list({(min(p), max(p)): None for p in steps})[:most]
    sums, counts = np.zeros(n), np.zeros(n)
    with torch.inference_mode():
        for a, b in chosen:
            one, two = (torch.from_numpy(volumes[i : i + 1]).float() for i in (a, b))
            score = float(compute_ms_ssim(one, two, spatial_dims=3, kernel_size=KERNEL, weights=weights))
            sums[[a, b]] += score
            counts[[a, b]] += 1
    seen = counts > 0
    person, weight = sums[seen], counts[seen]
    return bootstrap(lambda i: float(person[i].sum() / weight[i].sum()), np.arange(len(person)), rng)
