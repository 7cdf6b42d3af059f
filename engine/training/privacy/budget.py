"""Differential privacy of a training: what is asked for, and the noise that it takes.

DP-SGD (Abadi et al. 2016, arXiv 1607.00133): of every step each person is one with the same chance, each person's gradient is
clipped, and Gaussian noise is added to their sum. What then comes of the weights is (epsilon, delta)-private: with one person
more or less every outcome is at most exp(epsilon) times as likely, but for a chance of delta. What all steps spend together is
bounded by Rényi divergences (Mironov 2017, arXiv 1702.07476; of sampled Gaussian noise arXiv 1908.10530), which opacus
(Yousefpour et al. 2021, arXiv 2109.12298) computes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from scipy.optimize import root_scalar

from engine.vocabulary.refusal import Refusal

#: norm at which a person's gradient is clipped; Adam's step does not go by it where nearly all are
CLIP = 1.0
#: least and most SDs of noise, in units of the clipping norm, among which those that are needed are searched; more leave nothing to learn
LEAST, MOST = 0.1, 1000.0
#: how near to the least noise that keeps within epsilon is near enough
NEAR = 1e-3
#: without a delta of its own a training has this share of 1 over its persons
DELTA_SHARE = 0.1
#: orders of the Rényi divergence among which the best is taken
ORDERS = (1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 4.5, *range(5, 32), *range(32, 64, 4), *range(64, 513, 32))


class PrivacyError(Refusal):
    """A privacy budget that cannot be kept; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """What a training is asked to keep; ``delta`` None: a tenth of 1 over the persons. Raises :class:`PrivacyError` for what
    is no budget, and where opacus is not installed."""

    epsilon: float
    delta: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < math.inf:
            raise PrivacyError(
                f"epsilon {self.epsilon:g} is no privacy budget; give a number above 0, such as 3, or leave it out"
            )
        if self.delta is not None and not 0 < self.delta < 1:
            raise PrivacyError(f"delta {self.delta:g} is no chance between 0 and 1; give one, such as 1e-5")
        try:
            import opacus  # noqa: F401
        except ImportError:
            raise PrivacyError(
                "training within a privacy budget needs the library opacus, which is not installed; "
                "run uv sync --extra private, or pip install 'opacus>=1.5,<2'"
            ) from None


class Lots(NamedTuple):
    """Of a stage: how many persons a step has on average, and how many steps there are."""

    batch: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The ``noise`` (SD in units of ``clip``) by which ``stages``, by name, together stay within ``epsilon`` at ``delta``."""

    epsilon: float
    delta: float
    persons: int
    noise: float
    stages: Mapping[str, Lots]
    clip: float = CLIP

    @classmethod
    def of(cls, asked: Privacy, persons: int, stages: Mapping[str, Lots]) -> Budget:
        """The least noise that keeps what is ``asked``; raises :class:`PrivacyError` where none does."""
        delta = DELTA_SHARE / persons if asked.delta is None else asked.delta

        def spent(noise: float) -> float:
            return epsilon_of([(noise, _rate(lots, persons), lots.steps) for lots in stages.values()], delta)

        def over(log_noise: float) -> float:
            return math.log(min(max(spent(math.exp(log_noise)), 1e-9), 1e9) / asked.epsilon)

        most = spent(MOST)
        if most > asked.epsilon:
            steps = " and ".join(f"{lots.steps} steps of {name}" for name, lots in stages.items())
            raise PrivacyError(
                f"epsilon {asked.epsilon:g} is out of reach in {steps} at delta {delta:.3g}: noise of {MOST:g} times a person's gradient "
                f"still spends {most:.3g}; ask for more than that, or for a larger delta"
            )
        noise = LEAST
        if spent(LEAST) > asked.epsilon:
            found = root_scalar(over, bracket=(math.log(LEAST), math.log(MOST)), method="brentq", xtol=NEAR)
            noise = math.exp(found.root + 2 * NEAR)  # on the safe side
        return cls(epsilon=asked.epsilon, delta=delta, persons=persons, noise=noise, stages=dict(stages))

    def rate(self, name: str) -> float:
        """The chance of a person to be one of a step of the stage ``name``."""
        return _rate(self.stages[name], self.persons)

    def spent(self, taken: Mapping[str, int]) -> float:
        """The epsilon of as many steps of each stage as were ``taken``."""
        return epsilon_of([(self.noise, self.rate(name), steps) for name, steps in taken.items()], self.delta)


def _rate(lots: Lots, persons: int) -> float:
    return min(1.0, lots.batch / persons)


def epsilon_of(history: list[tuple[float, float, int]], delta: float) -> float:
    """What is spent at ``delta`` by steps with a noise, a chance of each person to be one of a step, and their number."""
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = [each for each in history if each[2]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the best order is the last, which only makes the bound a little wider
        return max(0.0, accountant.get_epsilon(delta, list(ORDERS))) if accountant.history else 0.0
