"""Drawing from the joint model: pure functions of a velocity field, noise and what is known.

The probability-flow ODE dz/dt = v(z_t, t) runs from t = 1 (noise) to t = 0. Known parts stand at t = 0 all along and
come back untouched. A guided field is a field again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from engine.model.flow import NOT_GIVEN, Joint, Levels, VelocityField, shifted
from engine.model.linear import LinearFlow, stepped
from engine.vocabulary.refusal import RequestError

Solver = Literal["euler", "heun", "multistep"]


class Known(NamedTuple):
    """What is given: clean values, whether each person's image is (b,), which columns are (b, k), and whether its mask is
    (b,). A mask that is not given is left unknown (t = 1 all along) unless ``draws_mask``: then it is drawn with the rest."""

    value: Joint
    image: Tensor
    table: Tensor
    mask: Tensor = NOT_GIVEN
    draws_mask: bool = False

    def levels(self, t: float, shift: float = 1.0) -> Levels:
        """t where unknown (:func:`engine.model.flow.shifted` for image and mask), 0 where given."""
        kind = self.value.table.dtype
        mask = (~self.mask).to(kind) * (shifted(t, shift) if self.draws_mask else 1.0)
        return Levels((~self.image).to(kind) * shifted(t, shift), (~self.table).to(kind) * t, mask)

    def impose(self, state: Joint) -> Joint:
        """The state with the given values put in, bit for bit."""
        given = (self.image[:, None, None], self.table[..., None], self.mask[:, None, None])
        return Joint(*(torch.where(on, z, s) for on, z, s in zip(given, self.value, state, strict=True)))


def guided(
    field: VelocityField, linear: LinearFlow, shift: Float[Tensor, "*b n c"]
) -> tuple[VelocityField, LinearFlow]:
    """The field whose images' mean is moved by ``shift``, and the linear part that it then has.

    Classifier-free guidance of weight w (arXiv 2207.12598) adds (w - 1) (v - v_0), v_0 being the velocity without what is
    given, and costs a second evaluation. That difference is large near t = 1 only, where the linear Gaussian part explains
    it (cosine .95 and more on heads), and for a Gaussian whose mean the given values move by m it is what a further shift
    of (w - 1) m does. So it is taken in closed form. Columns are not guided, since guidance shrinks their variance.
    """
    moved = replace(linear, centre=linear.centre._replace(image=linear.centre.image + shift))

    def guided_field(state: Joint, levels: Levels) -> Joint:
        v, more, less = field(state, levels), moved.velocity(state, levels), linear.velocity(state, levels)
        return v._replace(image=v.image + (more.image - less.image))

    return guided_field, moved


def schedule(evaluations: int, solver: Solver = "multistep", power: float = 1.0) -> list[float]:
    """Times from 1 to 0, as many as ``evaluations`` of the network pay for; a step of Heun costs two, but the last one.

    Evenly spaced and then raised to ``power``: below 1 the steps are short near t = 1. Raises :class:`RequestError` when not
    even one step is paid for.
    """
    if evaluations < 1:
        raise RequestError(f"{evaluations} steps are too few; give at least 1")
    n = (evaluations + 1) // 2 if solver == "heun" else evaluations
    return [(1 - i / n) ** power for i in range(n + 1)]


def integrate(
    field: VelocityField,
    noise: Joint,
    known: Known,
    times: list[float],
    solver: Solver = "multistep",
    *,
    shift: float = 1.0,
    linear: LinearFlow | None = None,
) -> Iterator[Joint]:
    """Solve the ODE along ``times``, yielding the state after each step; the last is the sample.

    With ``linear`` that part of the field is solved exactly and only the rest is stepped (an exponential integrator:
    Hochbruck and Ostermann, Acta Numerica 2010, section 2): eight steps then keep the variance of directions that
    Euler's would lose. The multistep rule takes the rest halfway, on the line through its last two values, which costs no
    evaluation (DPM-Solver++ 2M, arXiv 2211.01095); its last step is Euler's, as there. Heun's correction is left out of the
    last step, as in EDM (arXiv 2206.00364, algorithm 1).
    """
    state, before = known.impose(noise), None
    for t, s in itertools.pairwise(times):
        now, then = known.levels(t, shift), known.levels(s, shift)
        rest = _rest(field, state, now, linear)
        plain = solver != "multistep" or before is None or s == 0
        used = rest if plain else _extrapolated(*before, rest, now, then)
        ahead = known.impose(_move(state, used, now, then, linear))
        if solver == "heun" and s > 0:
            end = _rest(field, ahead, then, linear)
            mean = Joint(*(0.5 * (a + b) for a, b in zip(rest, end, strict=True)))
            ahead = known.impose(_move(state, mean, now, then, linear))
        state, before = ahead, (rest, now)
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
    about = None if linear is None else replace(linear, centre=Joint(*torch.zeros(3)))
    for s, t in itertools.pairwise(reversed(times)):
        then, now = known.levels(s, shift), known.levels(t, shift)
        earlier = state if linear is None else linear.advance(state, then, now)
        for _ in range(rounds):
            reached = _move(earlier, _rest(field, earlier, now, linear), now, then, linear)
            missed = Joint(*(a - b for a, b in zip(state, reached, strict=True)))
            missed = missed if about is None else about.advance(missed, then, now)
            earlier = known.impose(Joint(*(a + b for a, b in zip(earlier, missed, strict=True))))
        state = earlier
    return state


def _rest(field: VelocityField, state: Joint, now: Levels, linear: LinearFlow | None) -> Joint:
    """The velocity less its ``linear`` part."""
    v = field(state, now)
    return v if linear is None else Joint(*(a - b for a, b in zip(v, linear.velocity(state, now), strict=True)))


def _move(state: Joint, rest: Joint, now: Levels, then: Levels, linear: LinearFlow | None) -> Joint:
    """What is ``linear`` solved, and the ``rest`` of the velocity stepped."""
    if linear is None:
        return stepped(state, rest, now, then)
    return stepped(linear.advance(state, now, then), linear.carry(rest, now, then), now, then)


def _extrapolated(last: Joint, before: Levels, rest: Joint, now: Levels, then: Levels) -> Joint:
    """The velocity halfway to ``then``, on the line through those of the last two steps."""

    def half(past: Tensor, here: Tensor, ahead: Tensor) -> Tensor:
        return torch.where(here == past, 0.0, 0.5 * (ahead - here) / torch.where(here == past, 1.0, here - past))

    shares = map(half, before.by_part(), now.by_part(), then.by_part())
    return Joint(*(v + by * (v - past) for v, past, by in zip(rest, last, shares, strict=True)))


def sample(
    field: VelocityField,
    noise: Joint,
    known: Known,
    *,
    evaluations: int = 8,
    solver: Solver = "multistep",
    shift: float = 1.0,
    linear: LinearFlow | None = None,
) -> Joint:
    """The end point of :func:`integrate`: one draw of what is not known, given what is."""
    state = noise
    for state in integrate(field, noise, known, schedule(evaluations, solver), solver, shift=shift, linear=linear):
        pass
    return state


def person_noise(
    seeds: list[int],
    tokens: int,
    latent: int,
    codes: Bool[Tensor, "k d"],
    device: str | torch.device = "cpu",
    *,
    mask_latent: int = 0,
) -> Joint:
    """Standard normal noise of ``tokens`` of ``latent`` and ``mask_latent`` channels and of the columns' ``codes``, one
    generator for each seed on the CPU: never a function of batch or device."""

    def draw(seed: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        # the mask last, so that image and row of a seed do not depend on it
        shapes = ((tokens, latent), codes.shape, (tokens, mask_latent))
        return [torch.randn(shape, generator=generator) for shape in shapes]

    image, table, mask = (torch.stack(parts).to(device) for parts in zip(*map(draw, seeds), strict=True))
    return Joint(image, table * codes.to(device), mask)
