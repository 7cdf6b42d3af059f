"""Given some facts about a person, who is it? Exact values, and everything else from the population given them.

A person's unconditional draw is kept wherever it can be: with weights w of a candidate (the density of what is given,
:func:`solve`) and a bound M of w, the own draw stays with probability w / M; otherwise one of :data:`CANDIDATES` fresh
draws is taken with probability proportional to w. Both together follow the posterior. Only residuals that the given
values depend on and that are unknown are drawn anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from scipy.special import ndtr

from engine.phantom import regressions as law
from engine.phantom.composition import LOADINGS, MECHANISMS, Mechanism, Values, factors
from engine.phantom.given.counted import COUNTED_LAWS
from engine.phantom.regressions import Array
from engine.vocabulary.refusal import Refusal


class PhantomError(Refusal):
    """A person or a body that cannot be; the message names the value and the remedy."""


CANDIDATES = 4096
#: persons whose candidates are weighed at once; it changes no result
TOGETHER = 16
#: names in public of quantities of the structural model, where they differ
PUBLIC = {"trunk_sat": "sat", "liver": "liver_volume"}
#: a given value whose own residual is farther out than this contradicts the rest
CONTRADICTION = 5.0
#: where a given value is weighed when it lies at the very end of its range
INSIDE = {"age": (18.1, 89.9), "bmi": (16.3, 49.5)}

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
    "muscle": ("sex", "age", "ethnicity", "height", "bmi", "body_fat", "adiposity", "frame"),
    "liver_pdff": ("sex", "age", "ethnicity", "bmi", "central", "visceral"),
    "liver": ("sex", "age", "height", "bmi", "liver_pdff", "organs", "frame"),
}
#: all that a condition may redraw, in the order of the candidates' draw: append only
REDRAWN = (
    *("sex", "ethnicity", "smoking", "age", "height", "bmi", "adiposity", "central", "visceral", "frame", "organs"),
    *("vat", "liver_pdff", "body_fat"),
)


def solve(
    residuals: Values, given: Values, wanted: Collection[str] | None = None, *, counted: bool = False
) -> tuple[Values, Values, Array]:
    """Values of the mechanisms (all, or those ``wanted``), the residuals that give them, the log density of the given.

    ``given`` holds values by name, NaN where free, categories as indices; ``weight`` (kg) alone fixes BMI by the
    height. The density of an impossible value is -inf. Where ``counted``, quantities that the table counts are given
    as it counts them (:data:`~engine.phantom.given.counted.COUNTED_LAWS`); their values are those of the same score.
    """
    values, log_density = _roots(residuals, given)
    residuals = dict(residuals)
    for mechanism in MECHANISMS:
        name = mechanism.name
        if wanted is not None and name not in wanted:
            continue
        known = given.get(name)
        if name == "bmi" and "weight" in given:
            known, change = _bmi_of_weight(values, given)
            log_density = log_density + change
        shared, left = factors(name, values["male"], residuals, LOADINGS)
        fixed = np.zeros(len(left), bool) if known is None else ~np.isnan(known)
        if known is not None and fixed.any():
            seen = COUNTED_LAWS[name] if counted and name in COUNTED_LAWS else mechanism
            own, density = _infer(seen, values, known, shared, left)
            log_density = log_density + np.where(fixed, density, 0.0)
            residuals[name] = np.where(fixed, own, residuals[name])
        exact = known is not None and not (counted and name in COUNTED_LAWS)
        if known is not None and exact and fixed.all():
            values[name] = known
            continue
        with np.errstate(invalid="ignore"):  # an impossible value has no residual
            drawn = mechanism.value(values, shared + left * residuals[name])
        values[name] = np.where(fixed, known, drawn) if known is not None and exact else drawn
    return values, residuals, log_density


def _infer(mechanism: Mechanism, values: Values, known: Array, shared: Array, left: Array) -> tuple[Array, Array]:
    """The own residual of a given value, and the value's log density (slope by central differences)."""
    known = np.clip(known, *INSIDE.get(mechanism.name, (-np.inf, np.inf)))
    step = 1e-4 * np.abs(known)
    with np.errstate(divide="ignore", invalid="ignore"):
        below, above = (mechanism.score(values, known + sign * step) for sign in (-1, 1))
        own = ((below + above) / 2 - shared) / left
        density = np.log(np.abs(above - below) / (2 * step * left)) - own**2 / 2
    return own, np.where(np.isfinite(density), density, -np.inf)


def _roots(residuals: Values, given: Values) -> tuple[Values, Array]:
    """Sex, ethnicity and smoking (indices as floats) and the log probability of those given."""
    log_density = np.zeros(len(residuals["sex"]))

    def choose(name: str, shares: np.ndarray) -> Array:
        """A level by the residual, or the given one; ``shares`` are (levels,) or (n, levels)."""
        nonlocal log_density
        ends, uniform = np.cumsum(shares, axis=-1).T, ndtr(residuals[name])
        level = np.sum([uniform > end for end in ends[:-1]], axis=0).astype(float)
        if name in given:
            fixed = ~np.isnan(given[name])
            level = np.where(fixed, given[name], level)
            chance = np.broadcast_to(shares, (len(level), len(ends)))[np.arange(len(level)), level.astype(int)]
            log_density = log_density + np.where(fixed, np.log(chance), 0.0)
        return level

    male = choose("sex", np.array([1 - law.MALE_SHARE, law.MALE_SHARE]))
    ethnicity = choose("ethnicity", np.array(law.ETHNICITY_SHARES))
    smoking = choose("smoking", np.array(law.SMOKING_SHARES)[male.astype(int)])
    return {"male": male, "ethnicity": ethnicity, "smoking": smoking}, log_density


def _bmi_of_weight(values: Values, given: Values) -> tuple[Array, Array]:
    """BMI where mass alone is given (or BMI is), NaN elsewhere; and what that adds to the log density."""
    square = (values["height"] / 100) ** 2
    bmi = given["weight"] / square
    with np.errstate(invalid="ignore"):
        possible = (bmi >= law.BMIS[0]) & (bmi <= law.BMIS[1])
    change = np.where(np.isnan(bmi), 0.0, np.where(possible, -np.log(square), -np.inf))
    return (np.where(np.isnan(bmi), given["bmi"], bmi) if "bmi" in given else bmi), change


def unknown_ancestors(given: Collection[str]) -> tuple[str, ...]:
    """Residuals that what is given depends on and leaves open, in the order of :data:`REDRAWN`."""
    reached: set[str] = set()
    stack = list(given)
    while stack:
        for parent in PARENTS.get(stack.pop(), ()):
            if parent not in given and parent not in reached:
                reached.add(parent)
                stack.append(parent)
    return tuple(name for name in REDRAWN if name in reached)


def condition(
    own: Values,
    given: Sequence[Mapping[str, float]],
    generators: Sequence[torch.Generator],
    *,
    counted: bool = False,
) -> Values:
    """Residuals of n persons given some values of each (names of :data:`PARENTS`, categories as indices).

    ``own`` are the residuals of the unconditional draw, (n,); ``generators`` the persons', after it;
    ``counted`` as in :func:`solve`.
    """
    found = {name: values.copy() for name, values in own.items()}
    alike: dict[tuple[str, ...], list[int]] = {}
    for i, one in enumerate(given):
        if unknown_ancestors(one):
            alike.setdefault(tuple(sorted(one)), []).append(i)
    for persons in alike.values():
        for start in range(0, len(persons), TOGETHER):
            some = persons[start : start + TOGETHER]
            drawn = _redraw(
                {name: values[some] for name, values in own.items()},
                {name: np.array([given[i][name] for i in some]) for name in given[some[0]]},
                [generators[i] for i in some],
                counted,
            )
            for name, values in drawn.items():
                found[name][some] = values
    return found


def _redraw(own: Values, given: Values, generators: Sequence[torch.Generator], counted: bool) -> Values:
    """The residuals of :func:`unknown_ancestors`, for persons of whom the same is given."""
    redrawn, n = unknown_ancestors(given), len(generators)
    chance, candidates = np.empty((n, 2)), np.empty((len(redrawn), n, CANDIDATES + 1))
    candidates[:, :, 0] = [own[name] for name in redrawn]
    for i, generator in enumerate(generators):
        chance[i] = torch.rand(2, generator=generator, dtype=torch.float64).numpy()
        fresh = torch.randn((len(redrawn), CANDIDATES), generator=generator, dtype=torch.float64)
        candidates[:, i, 1:] = fresh.numpy()
    residuals = {name: np.repeat(values, CANDIDATES + 1) for name, values in own.items() if name in PARENTS}
    residuals |= {name: rows.ravel() for name, rows in zip(redrawn, candidates, strict=True)}
    fixed = {name: np.repeat(values, CANDIDATES + 1) for name, values in given.items()}
    wanted = {*given, *redrawn, *(("bmi",) if "weight" in given else ())}
    log_weight = solve(residuals, fixed, wanted, counted=counted)[2].reshape(n, CANDIDATES + 1)
    pick = np.array([_pick(log_weight[i], *chance[i]) for i in range(n)])
    if (pick < 0).any():
        nobody = {name: float(values[np.argmin(pick)]) for name, values in given.items()}
        raise PhantomError(f"nobody in this population has {named(nobody)}: give values nearer to what is common")
    return {name: rows[np.arange(n), pick] for name, rows in zip(redrawn, candidates, strict=True)}


def _pick(log_weight: np.ndarray, accept: float, choose: float) -> int:
    """Index of the candidate to take, 0 the own draw; -1 where none is possible."""
    top = log_weight[1:].max()
    if not np.isfinite(top):
        return -1
    if np.log(max(accept, 1e-300)) <= log_weight[0] - top:
        return 0
    cumulated = np.cumsum(np.exp(log_weight[1:] - top))
    return 1 + min(int(np.searchsorted(cumulated, choose * cumulated[-1], side="right")), CANDIDATES - 1)


def named(given: Mapping[str, float]) -> str:
    """Given values for a message, under their public names."""
    shown = {
        name: law.LEVELS[name][int(value)] if name in law.LEVELS else f"{value:g}" for name, value in given.items()
    }
    return ", ".join(f"{PUBLIC.get(name, name)} {value}" for name, value in shown.items())


def refuse_contradictions(
    given: Mapping[str, float], residuals: Values, values: Values, person: int, *, counted: bool = False
) -> None:
    """Raise when a given value lies farther from what the rest implies than a ``person`` can.

    ``residuals`` and ``values`` (n,) are solved; ``counted`` as in :func:`solve`.
    """
    for mechanism in MECHANISMS:
        name = mechanism.name
        if name not in given or name not in LOADINGS or abs(residuals[name][person]) <= CONTRADICTION:
            continue
        low = residuals[name][person] > 0
        law_of_it = COUNTED_LAWS[name] if counted and name in COUNTED_LAWS else mechanism
        parents = {parent: array[[person]] for parent, array in values.items()}
        shared, left = factors(
            name, parents["male"], {key: array[[person]] for key, array in residuals.items()}, LOADINGS
        )
        end = float(law_of_it.value(parents, shared + (1 if low else -1) * CONTRADICTION * left)[0])
        rest = named({other: value for other, value in given.items() if other != name})
        one, public = named({name: given[name]}) + (f" with {rest}" if rest else ""), PUBLIC.get(name, name)
        remedy = (
            f"much lower {public}, about {end:.3g} at most"
            if low
            else f"much higher {public}, about {end:.3g} at least"
        )
        raise PhantomError(f"{one} is not a possible body: give a {remedy}")
