"""Given some facts about a person, who is it? Exact values, and everything else from the population given them.

A person's unconditional draw is kept wherever it can be: with weights w of a candidate (the density of what is given,
:func:`engine.phantom.composition.solve`) and a bound M of w, the own draw stays with probability w / M; otherwise one
of :data:`CANDIDATES` fresh draws is taken with probability proportional to w. Both together follow the posterior.
Only residuals that the given values depend on and that are unknown are drawn anew.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from engine.phantom.composition import CATEGORIES, LOADINGS, MECHANISMS, Values, solve


class PhantomError(ValueError):
    """A person or a body that cannot be; the message names the value and the remedy."""


CANDIDATES = 4096
#: a given value whose own residual is farther out than this contradicts the rest
CONTRADICTION = 5.0

#: what each quantity's law refers to directly
PARENTS: Mapping[str, tuple[str, ...]] = {
    "sex": (),
    "ethnicity": (),
    "smoking": ("sex",),
    "age": ("sex",),
    "height": ("sex", "age", "ethnicity"),
    "bmi": ("sex", "age", "ethnicity", "height"),
    "weight": ("sex", "age", "ethnicity", "height"),
    "body_fat": ("sex", "age", "ethnicity", "bmi", "adiposity"),
    "vat": ("sex", "age", "ethnicity", "bmi", "adiposity", "central", "visceral"),
    "trunk_sat": ("sex", "age", "ethnicity", "height", "bmi", "vat", "adiposity", "central"),
    "waist": ("sex", "age", "ethnicity", "height", "bmi", "adiposity", "central"),
    "muscle": ("sex", "age", "ethnicity", "height", "bmi", "adiposity", "frame"),
    "liver_pdff": ("sex", "age", "ethnicity", "bmi", "central", "visceral"),
    "liver": ("sex", "age", "height", "bmi", "liver_pdff", "organs", "frame"),
}
#: all that a condition may redraw, in the order of the candidates' draw: append only
REDRAWN = (
    *("sex", "ethnicity", "smoking", "age", "height", "bmi", "adiposity", "central", "visceral", "frame", "organs"),
    *("vat", "liver_pdff"),
)


def unknown_ancestors(given: frozenset[str] | set[str]) -> tuple[str, ...]:
    """Residuals that what is given depends on and leaves open, in the order of :data:`REDRAWN`."""
    reached: set[str] = set()
    stack = list(given)
    while stack:
        for parent in PARENTS.get(stack.pop(), ()):
            if parent not in given and parent not in reached:
                reached.add(parent)
                stack.append(parent)
    return tuple(name for name in REDRAWN if name in reached)


def condition(own: Mapping[str, float], given: Mapping[str, float], generator: torch.Generator) -> dict[str, float]:
    """One person's residuals given some values (names of :data:`PARENTS`, categories as indices).

    ``own`` are the residuals of the unconditional draw; ``generator`` the person's, after it.
    """
    redrawn = unknown_ancestors(set(given))
    if not redrawn:
        return dict(own)
    fresh = torch.randn((len(REDRAWN), CANDIDATES), generator=generator, dtype=torch.float64).numpy()
    accept, choose = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
    residuals: Values = {name: np.full(CANDIDATES + 1, value) for name, value in own.items()}
    for name in redrawn:
        residuals[name][1:] = fresh[REDRAWN.index(name)]
    fixed = {name: np.full(CANDIDATES + 1, float(value)) for name, value in given.items()}
    log_weight = solve(residuals, fixed, until=_last(given))[2]
    top = log_weight[1:].max()
    if not np.isfinite(top):
        raise PhantomError(f"{named(given)} do not go together in this population: leave one of them out")
    if np.log(max(accept, 1e-300)) <= log_weight[0] - top:
        return dict(own)
    cumulated = np.cumsum(np.exp(log_weight[1:] - top))
    pick = 1 + int(np.searchsorted(cumulated, choose * cumulated[-1], side="right"))
    return {name: float(values[min(pick, CANDIDATES)]) for name, values in residuals.items()}


def _last(given: Mapping[str, float]) -> str:
    """The last mechanism in causal order that is needed to weigh what is given."""
    wanted = {"bmi" if name == "weight" else name for name in given}
    order = [mechanism.name for mechanism in MECHANISMS]
    return order[max((order.index(name) for name in wanted if name in order), default=0)]


def named(given: Mapping[str, float]) -> str:
    """Given values for a message."""
    return ", ".join(f"{name} {value:g}" for name, value in given.items())


def refuse_contradictions(given: Mapping[str, float], solved: Mapping[str, float], i: int) -> None:
    """Raise when a given value of person i lies farther from what the rest implies than a person can."""
    for name in given:
        if name in LOADINGS and name not in CATEGORIES and abs(solved[name]) > CONTRADICTION:
            side = "much lower" if solved[name] > 0 else "much higher"
            rest = named({other: value for other, value in given.items() if other != name})
            with_rest = f" with {rest}" if rest else ""
            raise PhantomError(f"{name} {given[name]:g}{with_rest} (person {i}) is not a body: give a {side} {name}")
