"""The linear Gaussian part of the probability flow, solved exactly: what an exponential integrator does not have to step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.model.flow import NO_MASK, Joint, Levels


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearFlow:
    """The probability flow of independent Gaussian coordinates, solved exactly.

    Coordinates of the image are ``directions`` (n * c, r), orthonormal, with variances ``spread`` (r,), and the tokens
    themselves, less those directions, with variances ``image`` (n, c); a column's code has variance ``table`` (k, d), or,
    with ``axes`` (b, k * d, k * d), orthonormal, ``table`` (b, k * d) are the variances along those, which mix columns of one
    level only; the mask's are ``mask_directions`` (n * m, r), ``mask_spread`` (r,) and ``mask`` (n, m); all about ``centre``.
    Where persons differ, a first axis counts them. From t to s a coordinate of variance v and mean 0
    is multiplied by sqrt(((1 - s)^2 v + s^2) / ((1 - t)^2 v + t^2)).
    """

    directions: Tensor
    spread: Tensor
    image: Tensor
    table: Tensor = field(default_factory=lambda: torch.ones(()))
    centre: Joint = field(default_factory=lambda: Joint(*torch.zeros(3)))
    axes: Tensor | None = None
    mask_directions: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    mask_spread: Tensor = field(default_factory=lambda: torch.zeros(0))
    mask: Tensor = NO_MASK

    def _apply(self, state: Joint, of: Callable[..., Tensor], *levels: Levels) -> Joint:
        """Multiply every coordinate by ``of`` its variance and its levels (each row's own, by broadcasting)."""
        image = _apply_to_tokens(
            state.image, self.directions, self.spread, self.image, of, *(at.image[:, None] for at in levels)
        )
        table = self._apply_to_columns(state.table, of, *(at.table[..., None] for at in levels))
        if not state.mask.numel():
            return Joint(image, table, state.mask)
        mask = _apply_to_tokens(
            state.mask, self.mask_directions, self.mask_spread, self.mask, of, *(at.mask[:, None] for at in levels)
        )
        return Joint(image, table, mask)

    def _apply_to_columns(self, table: Tensor, of: Callable[..., Tensor], *levels: Tensor) -> Tensor:
        if self.axes is None:
            return table * of(self.table, *levels)
        along = (table.flatten(1)[:, None] @ self.axes)[:, 0]
        along = along * of(self.table, *(t.amax((1, 2))[:, None] for t in levels))  # that of the unknown columns
        return (self.axes @ along[..., None]).reshape(table.shape)

    def _centred(self, state: Joint, levels: Levels) -> Joint:
        return Joint(*(z - (1 - t) * c for z, c, t in zip(state, self.centre, levels.by_part(), strict=True)))

    def velocity(self, state: Joint, levels: Levels) -> Joint:
        """The field whose solution :meth:`advance` is."""
        moved = self._apply(
            self._centred(state, levels), lambda v, t: (t - (1 - t) * v) / ((1 - t) ** 2 * v + t**2), levels
        )
        return Joint(*(z - c for z, c in zip(moved, self.centre, strict=True)))

    def advance(self, state: Joint, now: Levels, then: Levels) -> Joint:
        """Where the flow takes ``state`` from levels ``now`` to ``then``; a step of no length is the identity.

        Tokens less the directions do not keep their variances apart, so there it is exact to second order in the step.
        """

        def growth(v: Tensor, t: Tensor, s: Tensor) -> Tensor:
            return _spread(v, s) / _spread(v, t) - 1

        grown = self._apply(self._centred(state, now), growth, now, then)
        return Joint(*(z + more for z, more in zip(state, stepped(grown, self.centre, then, now), strict=True)))

    def carry(self, rest: Joint, now: Levels, then: Levels) -> Joint:
        """What becomes at ``then`` of a push ``rest`` that acts all the way from ``now``, divided by the way: a coordinate's is
        multiplied by the mean over u of sqrt(((1 - s)^2 v + s^2) / ((1 - u)^2 v + u^2)), in closed form."""

        def share(v: Tensor, t: Tensor, s: Tensor) -> Tensor:
            length = torch.where(t == s, 1.0, t - s)
            return torch.where(t == s, 1.0, _spread(v, s) * _way(v, t, s) / length)

        return self._apply(rest, share, now, then)


def _apply_to_tokens(
    tokens: Tensor, directions: Tensor, spread: Tensor, variance: Tensor, of: Callable[..., Tensor], *levels: Tensor
) -> Tensor:
    """Multiply tokens (b, n, c) by ``of`` the ``spread`` of each of the ``directions``, and by ``of`` the tokens' own
    ``variance`` in what is left of them; ``levels`` (b, 1)."""
    flat = tokens.flatten(1)
    along = flat @ directions
    rest = (flat - along @ directions.T).reshape(tokens.shape)
    rest = (rest * of(variance, *(t[..., None] for t in levels))).flatten(1)
    rest = rest - rest @ directions @ directions.T
    return (rest + along * of(spread, *levels) @ directions.T).reshape(tokens.shape)


def _spread(v: Tensor, t: Tensor) -> Tensor:
    """SD at level t of a coordinate of variance v."""
    return ((1 - t) ** 2 * v + t**2).sqrt()


def _way(v: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """Integral of 1 / SD(u) from s to t, for a coordinate of variance v: the difference of
    asinh(a(u)) / sqrt(1 + v), a(u) = (u - (1 - u) v) / sqrt(v).

    The logarithm that asinh stands for cancels in single precision where v is large, and the difference of two of them where
    v or the step is small. So it is taken as one asinh, of sinh(x - y) = sinh(x) cosh(y) - cosh(x) sinh(y), and where both
    have the same sign as (a^2 - b^2) / (sinh(x) cosh(y) + cosh(x) sinh(y)).
    """
    root = v.sqrt()
    a = (t - (1 - t) * v) / root
    b = (s - (1 - s) * v) / root
    ab = a * torch.sqrt(1 + b**2)
    ba = b * torch.sqrt(1 + a**2)
    step = (1 + v) * (t - s) / root
    return torch.asinh(torch.where(a * b > 0, step * (a + b) / (ab + ba), ab - ba)) / (1 + v).sqrt()


def stepped(state: Joint, velocity: Joint, now: Levels, then: Levels) -> Joint:
    """The state moved with ``velocity``, each part by its own change of level."""
    parts = zip(state, velocity, now.by_part(), then.by_part(), strict=True)
    return Joint(*(z + (s - t) * v for z, v, t, s in parts))
