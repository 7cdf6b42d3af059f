"""The linear Gaussian prior of the joint state: its velocity in closed form, its conditionals, and its fitting.

What is known before anything is learned (factor analysis: Bishop, Pattern Recognition and Machine Learning, 12.2); the
network learns only the rest.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from engine.model.flow import NO_MASK, Joint, Levels

#: least share of a column's variance that is its own
UNIQUE = 0.03


class FactorPrior(NamedTuple):
    """The linear Gaussian model z = W f + n of the joint state, f ~ N(0, 1), n ~ N(0, D) independent (factor analysis).

    Shape: loadings W (n, c, r) of the image, (k, d, r) of the columns and (n, m, r) of the mask; variances D (n, c), (k, d)
    and (n, m), positive.
    """

    image: Tensor
    table: Tensor
    image_variance: Tensor
    table_variance: Tensor
    mask: Tensor = NO_MASK
    mask_variance: Tensor = NO_MASK


def factor_velocity(state: Joint, levels: Levels, prior: FactorPrior) -> tuple[Joint, Joint]:
    """E[e - z | z_t] under the prior, in closed form, and its E[W f | z_t]: what is known before anything is learned.

    With A = 1 - t, C = A^2 D + t^2 and r = z_t - A W f_hat, where f_hat = (1 + W' A C^-1 A W)^-1 W' A C^-1 z_t
    (Bishop, Pattern Recognition and Machine Learning, 12.2), the velocity is (t - A D) / C r - W f_hat. The network learns
    only the rest (as the skip of EDM, arXiv 2206.00364, does for independent data), so that whole heads come before
    detail, and every conditional of a jointly Gaussian cohort is exact from the start.
    """
    loadings = (prior.image, prior.table, prior.mask)
    variances = (prior.image_variance, prior.table_variance, prior.mask_variance)
    parts = []
    for z, t, w, d in zip(state, levels.by_part(), loadings, variances, strict=True):
        if not z.numel():
            continue
        a, t = (1 - t).expand_as(z).flatten(1), t.expand_as(z).flatten(1)
        parts.append((z.flatten(1), t, a, w.flatten(0, 1), d.flatten(), a**2 * d.flatten() + t**2))
    precision = torch.eye(prior.image.shape[-1], dtype=state.image.dtype, device=state.image.device)
    right = 0
    for z, _, a, w, _, c in parts:
        precision = precision + (w.T * (a**2 / c)[:, None]) @ w
        right = right + (a / c * z) @ w
    factors = torch.linalg.solve(precision, right)
    velocities, means = list(state), list(state)  # what is empty stays so
    present = [i for i, part in enumerate(state) if part.numel()]
    for i, (z, t, a, w, d, c) in zip(present, parts, strict=True):
        mean = factors @ w.T
        velocities[i] = ((t - a * d) / c * (z - a * mean) - mean).reshape(state[i].shape)
        means[i] = mean.reshape(state[i].shape)
    return Joint(*velocities), Joint(*means)


def covariance_beside_scans(
    prior: FactorPrior, given: Bool[Tensor, "b k"], codes: Bool[Tensor, "k d"], *, mask: bool = False
) -> tuple[Float[Tensor, "b kd"], Float[Tensor, "b kd kd"]]:
    """Variances and principal axes of the unknown columns under the prior, beside a known scan, a known ``mask`` and the
    ``given`` columns (Bishop, Pattern Recognition and Machine Learning, 12.2); of what is not unknown, next to none."""
    image, table = prior.image.flatten(0, 1), prior.table.flatten(0, 1)
    own, seen = prior.table_variance.flatten(), (given[..., None] & codes).flatten(1)
    precision = image.T @ (image / prior.image_variance.flatten()[:, None])
    precision = precision + table.T @ ((seen / own)[..., None] * table) + torch.eye(len(precision)).to(precision)
    if mask:
        loadings = prior.mask.flatten(0, 1)
        precision = precision + loadings.T @ (loadings / prior.mask_variance.flatten()[:, None])
    covariance = table @ torch.linalg.solve(precision, table.T[None]) + own.diag()
    unknown = ~seen & codes.flatten()
    variances, axes = torch.linalg.eigh(covariance * (unknown[:, None] & unknown[..., None]))
    return variances.clamp(min=1e-6), axes


def mahalanobis(prior: FactorPrior, state: Float[Tensor, "n c"]) -> float:
    """The squared Mahalanobis distance of an image state from the mean person over its length: minus twice the
    log-likelihood under z = W f + n but for constants, z' (W W' + D)^-1 z by Woodbury, in double precision."""
    loadings, noise = prior.image.flatten(0, 1).double(), prior.image_variance.flatten().double()
    z, weighted = state.flatten().double(), loadings / noise[:, None]
    precision = torch.eye(loadings.shape[1], dtype=z.dtype, device=z.device) + loadings.T @ weighted
    right = weighted.T @ z
    return float(((z**2 / noise).sum() - right @ torch.linalg.solve(precision, right)) / z.numel())


class ImageFactors(NamedTuple):
    """Loadings (n, c, r) and own variances (n, c) of the image, and every person's scores (p, r)."""

    loadings: Tensor
    variance: Tensor
    scores: Tensor


class ColumnFactors(NamedTuple):
    """Centre (k, d), loadings (k, d, rank + table_rank) and own variances (k, d) of the columns."""

    centre: Tensor
    loadings: Tensor
    variance: Tensor


def fit_image_factors(image: Float[Tensor, "p v n c"], rank: int) -> ImageFactors:
    """The image's ``rank`` principal components over p persons in v versions each (Tipping and Bishop 1999); scores are
    means over versions.

    What the components leave of the persons they were fitted to is less than what they leave of others: each person's own part in
    them takes a share of ``rank`` / p of independent noise. The variances are those left of others, at most ten times the fitted."""
    persons, versions = image.shape[:2]
    flat = image.flatten(0, 1).flatten(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        left, values, right = torch.svd_lowrank(flat, min(rank + 8, *flat.shape), niter=8)
    # a component is one with either sign; rounding must not choose
    sign = torch.where(right.pow(3).sum(0) < 0, -1.0, 1.0).to(right)
    left, right = left * sign, right * sign
    energy = values[:rank].square() / len(flat)
    floor = (flat.square().mean(0).sum() - energy.sum()) / flat.shape[1]
    loadings = right[:, :rank] * (energy - floor).clamp(min=0).sqrt()
    residual = (flat - left[:, :rank] * values[:rank] @ right[:, :rank].T).square().mean(0).reshape(image.shape[2:])
    residual = residual / max(1 - rank / persons, 0.1)
    # few persons: a token's own variance is shrunk towards its channel's
    variance = 0.8 * residual + 0.2 * residual.mean(0, keepdim=True) + 1e-4
    scores = (left[:, :rank] * len(flat) ** 0.5).reshape(persons, versions, rank).mean(1)
    return ImageFactors(loadings.reshape(*image.shape[2:], rank), variance, scores)


def fit_column_factors(
    table: Float[Tensor, "p k d"],
    known: Bool[Tensor, "p k"],
    mask: Bool[Tensor, "k d"],
    scores: Float[Tensor, "p r"],
    *,
    rank: int,
    table_rank: int,
) -> ColumnFactors:
    """The columns' slopes on the image's ``scores`` in the first of ``rank`` factors, and ``table_rank`` of their own.

    Each slope is shrunk by the positive-part James-Stein rule, since few persons make large correlations by chance, and
    together they are cut to the adjusted R^2 (Ezekiel 1930), the share that they would explain of other persons. What the
    image leaves of the columns' covariance (over the persons who have both cells) has factors of its own.
    """
    here = (known[..., None] & mask).to(table.dtype)
    count = here.sum(0).clamp(min=1)
    centre = (table * here).sum(0) / count
    centred = (table - centre) * here
    variance = torch.where(mask, (centred.square().sum(0) / count).clamp(min=1e-3), 1.0)
    slopes = torch.einsum("pkd,pr->kdr", centred, scores) / count[..., None]
    used = scores.shape[1]
    left = (variance - slopes.square().sum(-1)).clamp(min=UNIQUE * variance) / (1 - used / count).clamp(min=0.1)
    slopes = _shrunk(slopes, left / count)
    most = (variance - left).clamp(min=0)
    slopes = slopes * (most / slopes.square().sum(-1).clamp(min=1e-9)).clamp(max=1).sqrt()[..., None]
    loadings = table.new_zeros(*mask.shape, rank + table_rank)
    loadings[..., :used] = slopes
    own = min(table_rank, variance.numel())
    if own:
        loadings[..., rank : rank + own] = _shared(centred, here, slopes, own)
    explained = loadings.square().sum(-1)
    return ColumnFactors(centre, loadings, (variance - explained).clamp(min=UNIQUE * variance))


def fit_slopes(
    state: Float[Tensor, "p n m"], scores: Float[Tensor, "p r"]
) -> tuple[Float[Tensor, "n m r"], Float[Tensor, "n m"]]:
    """Slopes of mask tokens on the image's ``scores``, by least squares and shrunk like those of columns, and the variances
    that they leave."""
    persons, used = scores.shape
    flat = state.flatten(1)
    moments = scores.T @ scores / persons + 1e-3 * torch.eye(used).to(scores)
    slopes = torch.linalg.solve(moments, scores.T @ flat / persons).T
    left = (flat - scores @ slopes.T).square().mean(0) / max(1 - used / persons, 0.1)
    slopes = _shrunk(slopes, left / persons)
    residual = (flat - scores @ slopes.T).square().mean(0).reshape(state.shape[1:])
    # few persons: a token's own variance is shrunk towards its channel's
    variance = 0.8 * residual + 0.2 * residual.mean(0, keepdim=True) + 1e-4
    return slopes.reshape(*state.shape[1:], used), variance


def factor_scores(prior: FactorPrior, image: Float[Tensor, "p n c"]) -> Float[Tensor, "p r"]:
    """E[f | image] under the prior (Bishop, Pattern Recognition and Machine Learning, 12.2)."""
    loadings = prior.image.flatten(0, 1)
    weighted = loadings / prior.image_variance.flatten()[:, None]
    precision = torch.eye(loadings.shape[1]).to(loadings) + loadings.T @ weighted
    return torch.linalg.solve(precision, image.flatten(1) @ weighted, left=False)


def _shrunk(slopes: Float[Tensor, "*s r"], error: Float[Tensor, "*s"]) -> Float[Tensor, "*s r"]:
    """Slopes shrunk by the positive-part James-Stein rule, each of which has the variance ``error`` by chance."""
    return slopes * (1 - error[..., None] / slopes.square().clamp(min=1e-9)).clamp(min=0)


def _shared(
    centred: Float[Tensor, "p k d"], here: Float[Tensor, "p k d"], slopes: Float[Tensor, "k d r"], rank: int
) -> Float[Tensor, "k d rank"]:
    """Loadings of the factors behind the columns' covariance, less what ``slopes`` explain: principal axes of the
    correlations with a share :data:`UNIQUE` kept for each column."""
    flat, pairs, taken = centred.flatten(1), here.flatten(1), slopes.flatten(0, 1)
    covariance = flat.T @ flat / (pairs.T @ pairs).clamp(min=1)
    scale = covariance.diagonal().clamp(min=1e-9).sqrt()
    values, vectors = torch.linalg.eigh((covariance - taken @ taken.T) / (scale[:, None] * scale))
    lengths = (values.flip(0)[:rank] - UNIQUE).clamp(min=0).sqrt()
    return (vectors.flip(1)[:, :rank] * lengths * scale[:, None]).reshape(*slopes.shape[:2], rank)


def row_terms(table: Float[Tensor, "b k d"], codes: Bool[Tensor, "k d"]) -> Float[Tensor, "b f"]:
    """What an image is regressed on: every number of a row's code, its square less 1, and a constant."""
    code = table.flatten(1)[:, codes.flatten()]
    return torch.cat([code, code**2 - 1, torch.ones_like(code[:, :1])], 1)
