"""Drawing from the joint model: pure functions of a velocity field, noise and what is known.

The probability-flow ODE dz/dt = v(z_t, t) runs from t = 1 (noise) to t = 0. Known parts stand at t = 0 all along and
come back untouched. A guided field is a field again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from engine.flow import Joint, Levels, VelocityField

Solver = Literal["euler", "heun"]


class Known(NamedTuple):
    """What is given: clean values, whether each person's image is (b,), and which columns are (b, k)."""

    value: Joint
    image: Tensor
    table: Tensor

    def levels(self, t: float) -> Levels:
        """t where unknown, 0 where given."""
        kind = self.value.table.dtype
        return Levels((~self.image).to(kind) * t, (~self.table).to(kind) * t)

    def impose(self, state: Joint) -> Joint:
        """The state with the given values put in, bit for bit."""
        return Joint(
            torch.where(self.image[:, None, None], self.value.image, state.image),
            torch.where(self.table[..., None], self.value.table, state.table),
        )


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """Classifier-free guidance of ``weight`` w (arXiv 2207.12598) while ``low`` < t < ``high`` (arXiv 2404.07724)."""

    weight: float = 1.0
    low: float = 0.3
    high: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 10:
            raise ValueError(f"guidance {self.weight} is outside 0 to 10; 1 means none, 2 is strong")

    def acts(self, t: float) -> bool:
        """Whether a step at t costs a second evaluation."""
        slack = 1e-6  # a time that went through single precision must decide alike
        return self.weight != 1.0 and self.low + slack < t < self.high - slack


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


def schedule(evaluations: int, guidance: Guidance, solver: Solver = "euler") -> list[float]:
    """Times from 1 to 0, evenly spaced, as many as ``evaluations`` of the network pay for.

    A guided step counts twice, and so does a step of Heun. Raises ValueError when not even one step is paid for.
    """

    def times(n: int) -> list[float]:
        return [1 - i / n for i in range(n + 1)]

    def cost(n: int) -> int:
        steps = times(n)
        stages = [*steps[:-1], *(steps[1:-1] if solver == "heun" else [])]
        return sum(2 if guidance.acts(t) else 1 for t in stages)

    affordable = [n for n in range(1, evaluations + 1) if cost(n) <= evaluations]
    if not affordable:
        raise ValueError(f"{evaluations} steps are too few; give at least 1")
    return times(affordable[-1])


def integrate(
    field: VelocityField, noise: Joint, known: Known, times: list[float], solver: Solver = "euler"
) -> Iterator[Joint]:
    """Solve the ODE along ``times``, yielding the state after each step; the last is the sample.

    Heun's correction is left out of the last step, as in EDM (arXiv 2206.00364, algorithm 1).
    """
    state = known.impose(noise)
    for t, s in itertools.pairwise(times):
        v = field(state, known.levels(t))
        ahead = known.impose(Joint(*(z + (s - t) * u for z, u in zip(state, v, strict=True))))
        if solver == "heun" and s > 0:
            w = field(ahead, known.levels(s))
            mean = (0.5 * (a + b) for a, b in zip(v, w, strict=True))
            ahead = known.impose(Joint(*(z + (s - t) * u for z, u in zip(state, mean, strict=True))))
        state = ahead
        yield state


def sample(
    field: VelocityField,
    noise: Joint,
    known: Known,
    *,
    evaluations: int = 8,
    guidance: Guidance | None = None,
    solver: Solver = "euler",
) -> Joint:
    """The end point of :func:`integrate`: one draw of what is not known, given what is."""
    guidance = guidance or Guidance()
    state = noise
    for state in integrate(
        guided(field, guidance, noise), noise, known, schedule(evaluations, guidance, solver), solver
    ):
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
