"""Drawing from the joint model: pure functions of a velocity field, noise and what is known.

The probability-flow ODE dz/dt = v(z_t, t) runs from t = 1 (noise) to t = 0. Known parts stand at t = 0 all along and
come back untouched. A guided field is a field again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from engine.flow import Joint, Levels, VelocityField, shifted

Solver = Literal["euler", "heun"]


class Known(NamedTuple):
    """What is given: clean values, whether each person's image is (b,), and which columns are (b, k)."""

    value: Joint
    image: Tensor
    table: Tensor

    def levels(self, t: float, shift: float = 1.0) -> Levels:
        """t where unknown (:func:`engine.flow.shifted` for the image), 0 where given."""
        kind = self.value.table.dtype
        return Levels((~self.image).to(kind) * shifted(t, shift), (~self.table).to(kind) * t)

    def impose(self, state: Joint) -> Joint:
        """The state with the given values put in, bit for bit."""
        return Joint(
            torch.where(self.image[:, None, None], self.value.image, state.image),
            torch.where(self.table[..., None], self.value.table, state.table),
        )


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """Classifier-free guidance of ``weight`` w (arXiv 2207.12598) while the image's ``low`` < t <= ``high``
    (arXiv 2404.07724)."""

    weight: float = 1.0
    low: float = 0.3
    high: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 10:
            raise ValueError(f"guidance {self.weight} is outside 0 to 10; 1 means none, 2 is strong")

    def acts(self, t: float) -> bool:
        """Whether a step at t costs a second evaluation."""
        slack = 1e-6  # a time that went through single precision must decide alike
        return self.weight != 1.0 and self.low + slack < t <= self.high + slack


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearFlow:
    """The probability flow of independent Gaussian coordinates, solved exactly.

    Coordinates of the image are ``directions`` (n * c, r), orthonormal, with variances ``spread`` (r,), and the tokens
    themselves, less those directions, with variances ``image`` (n, c); a column's code has variance ``table`` about
    ``centre`` (k, d). From t to s a coordinate of variance v and mean 0 is multiplied by
    sqrt(((1 - s)^2 v + s^2) / ((1 - t)^2 v + t^2)).
    """

    directions: Tensor
    spread: Tensor
    image: Tensor
    table: Tensor = field(default_factory=lambda: torch.ones(()))
    centre: Tensor = field(default_factory=lambda: torch.zeros(()))

    def _apply(self, state: Joint, of: Callable[..., Tensor], *levels: Levels) -> Joint:
        """Multiply every coordinate by ``of`` its variance and its levels (each row's own, by broadcasting)."""
        by_image, by_table = [at.image[:, None] for at in levels], [at.table[..., None] for at in levels]
        flat = state.image.flatten(1)
        along = flat @ self.directions
        rest = (flat - along @ self.directions.T).reshape(state.image.shape)
        rest = (rest * of(self.image, *(t[..., None] for t in by_image))).flatten(1)
        rest = rest - rest @ self.directions @ self.directions.T
        image = rest + along * of(self.spread, *by_image) @ self.directions.T
        table = state.table - (1 - by_table[0]) * self.centre
        return Joint(image.reshape(state.image.shape), table * of(self.table, *by_table))

    def velocity(self, state: Joint, levels: Levels) -> Joint:
        """The field whose solution :meth:`advance` is."""
        moved = self._apply(state, lambda v, t: (t - (1 - t) * v) / ((1 - t) ** 2 * v + t**2), levels)
        return Joint(moved.image, moved.table - self.centre)

    def advance(self, state: Joint, now: Levels, then: Levels) -> Joint:
        """Where the flow takes ``state`` from levels ``now`` to ``then``; a step of no length is the identity.

        Tokens less the directions do not keep their variances apart, so there it is exact to second order in the step.
        """

        def growth(v: Tensor, t: Tensor, s: Tensor) -> Tensor:
            return (((1 - s) ** 2 * v + s**2) / ((1 - t) ** 2 * v + t**2)).sqrt() - 1

        grown = self._apply(state, growth, now, then)
        drift = (now.table - then.table)[..., None] * self.centre
        return Joint(state.image + grown.image, state.table + grown.table + drift)


def guided(field: VelocityField, guidance: Guidance, noise: Joint) -> VelocityField:
    """v + (w - 1) (v - v_0) on the IMAGE tokens only, v_0 with every column unknown; columns keep w = 1, since guidance
    shrinks their variance."""

    def guided_field(state: Joint, levels: Levels) -> Joint:
        conditional = field(state, levels)
        t = float(levels.image.max())
        if not guidance.acts(t):
            return conditional
        free = field(Joint(state.image, noise.table), Levels(levels.image, torch.ones_like(levels.table)))
        return Joint(free.image + guidance.weight * (conditional.image - free.image), conditional.table)

    return guided_field


def schedule(evaluations: int, guidance: Guidance, solver: Solver = "euler", shift: float = 1.0) -> list[float]:
    """Times from 1 to 0, evenly spaced, as many as ``evaluations`` of the network pay for.

    A guided step counts twice, and so does a step of Heun. Raises ValueError when not even one step is paid for.
    """

    def times(n: int) -> list[float]:
        return [1 - i / n for i in range(n + 1)]

    def cost(n: int) -> int:
        steps = times(n)
        stages = [*steps[:-1], *(steps[1:-1] if solver == "heun" else [])]
        return sum(2 if guidance.acts(shifted(t, shift)) else 1 for t in stages)

    affordable = [n for n in range(1, evaluations + 1) if cost(n) <= evaluations]
    if not affordable:
        raise ValueError(f"{evaluations} steps are too few; give at least 1")
    return times(affordable[-1])


def integrate(
    field: VelocityField,
    noise: Joint,
    known: Known,
    times: list[float],
    solver: Solver = "euler",
    *,
    shift: float = 1.0,
    linear: LinearFlow | None = None,
) -> Iterator[Joint]:
    """Solve the ODE along ``times``, yielding the state after each step; the last is the sample.

    With ``linear`` that part of the field is solved exactly and only the rest is stepped (an exponential integrator:
    Hochbruck and Ostermann, Acta Numerica 2010, equation 2.4, with the rest unweighted): eight steps then keep the variance of
    directions that Euler's would lose. Heun's correction is left out of the last step, as in EDM (arXiv 2206.00364,
    algorithm 1).
    """
    state = known.impose(noise)
    for t, s in itertools.pairwise(times):
        now, then = known.levels(t, shift), known.levels(s, shift)
        if linear is not None:
            ahead = known.impose(_euler(field, state, now, then, linear))
        else:
            v = field(state, now)
            ahead = known.impose(_step(state, v, now, then))
            if solver == "heun" and s > 0:
                w = field(ahead, then)
                mean = Joint(*(0.5 * (a + b) for a, b in zip(v, w, strict=True)))
                ahead = known.impose(_step(state, mean, now, then))
        state = ahead
        yield state


def invert(
    field: VelocityField,
    clean: Joint,
    known: Known,
    times: list[float],
    *,
    shift: float = 1.0,
    linear: LinearFlow | None = None,
    rounds: int = 4,
) -> Joint:
    """The noise from which Euler's :func:`integrate` along the same ``times`` arrives at ``clean``.

    A step from t to s moved with the velocity at t, so backwards it is an implicit equation in the state at t. It is solved
    by ``rounds`` fixed-point iterations, each one evaluation (ReNoise, arXiv 2403.14602): the state at t is
    moved by what its own step misses of the state at s. ``known`` parts stand at t = 0 as they do in :func:`integrate`.
    """
    state = known.impose(clean)
    for s, t in itertools.pairwise(reversed(times)):
        then, now = known.levels(s, shift), known.levels(t, shift)
        earlier = state if linear is None else linear.advance(state, then, now)
        for _ in range(rounds):
            reached = _euler(field, earlier, now, then, linear)
            missed = Joint(*(a - b for a, b in zip(state, reached, strict=True)))
            missed = missed if linear is None else linear.advance(missed, then, now)
            earlier = known.impose(Joint(*(a + b for a, b in zip(earlier, missed, strict=True))))
        state = earlier
    return state


def _euler(field: VelocityField, state: Joint, now: Levels, then: Levels, linear: LinearFlow | None) -> Joint:
    """One step, what is ``linear`` of the field solved and only the rest stepped."""
    v = field(state, now)
    if linear is None:
        return _step(state, v, now, then)
    rest = Joint(*(a - b for a, b in zip(v, linear.velocity(state, now), strict=True)))
    return _step(linear.advance(state, now, then), rest, now, then)


def _step(state: Joint, velocity: Joint, now: Levels, then: Levels) -> Joint:
    """The state moved with ``velocity``, each part by its own change of level."""
    by_image, by_table = (then.image - now.image)[:, None, None], (then.table - now.table)[..., None]
    return Joint(state.image + by_image * velocity.image, state.table + by_table * velocity.table)


def sample(
    field: VelocityField,
    noise: Joint,
    known: Known,
    *,
    evaluations: int = 8,
    guidance: Guidance | None = None,
    solver: Solver = "euler",
    shift: float = 1.0,
    linear: LinearFlow | None = None,
) -> Joint:
    """The end point of :func:`integrate`: one draw of what is not known, given what is. One evaluation is not guided."""
    guidance = guidance if guidance and evaluations > 1 else Guidance()
    state, times = noise, schedule(evaluations, guidance, solver, shift)
    for state in integrate(guided(field, guidance, noise), noise, known, times, solver, shift=shift, linear=linear):
        pass
    return state


def person_noise(
    seeds: list[int], tokens: int, latent: int, mask: Bool[Tensor, "k d"], device: str | torch.device = "cpu"
) -> Joint:
    """Standard normal noise, one generator for each seed on the CPU: never a function of batch or device."""

    def draw(seed: int) -> tuple[Float[Tensor, "n c"], Float[Tensor, "k d"]]:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(tokens, latent, generator=generator), torch.randn(mask.shape, generator=generator)

    parts = [draw(seed) for seed in seeds]
    image, table = torch.stack([p[0] for p in parts]), torch.stack([p[1] for p in parts])
    return Joint(image.to(device), table.to(device) * mask.to(device))
