"""Persons whose table shows what is given: the nearest person of the model whose drawn body counts so.

The person is first drawn from the population given the counted values (:mod:`engine.phantom.given.counted`). Then some of
the standard normals behind it (:data:`KNOBS`) are moved, as little as will do, until what is counted on the drawn body
is what was given: Gauss-Newton with least-norm steps, the Jacobian from the model and the average body, corrected
after every body by Broyden's formula (Math. Comp. 19, 1965). How a body is drawn enters only as ``count``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from engine.phantom.anthropometry import Draw, Given, People, draw, people_of
from engine.phantom.composition import Values
from engine.phantom.given.conditioning import CONTRADICTION, PhantomError, named, refuse_contradictions, solve
from engine.phantom.given.counted import BEHIND, COUNTED, TOLERANCE

Count = Callable[[People], Mapping[str, float]]
Vector = Float[np.ndarray, " k"]

#: what the counts follow from
QUANTITIES = ("trunk_sat", "vat", "muscle", "liver", "waist")
#: dimensions that muscle fills: ``build`` moves the residuals of all of them
BUILD = (
    *("chest_breadth", "chest_depth", "hip_breadth", "buttock_depth", "shoulder_breadth", "neck_girth"),
    *("thigh_girth", "upper_arm_girth"),
)
MOVED_TRAITS = ("bowel_volume", "wall_thickness")
MOVED_RESIDUALS = ("height", "bmi", *QUANTITIES)
KNOBS = (*MOVED_RESIDUALS, "build", *MOVED_TRAITS)
#: how far a residual or trait may lie out, SD, where that is less than a contradiction
FAR = {"height": 3.0, "bmi": 3.0, "bowel_volume": 3.5, "wall_thickness": 3.5}
#: bodies that are drawn at most; longest step, SD
BODIES, STRIDE = 14, 2.5
#: what is counted for one more of each of :data:`QUANTITIES` (L, L, kg, mL, cm) on the average body
SLOPES: Mapping[str, tuple[float, ...]] = {
    "sat": (1.3, 0.0, 0.0, 0.0, 0.0),
    "vat": (0.0, 1.04, 0.0, 0.0, 0.0),
    "muscle": (-0.6, -0.1, 0.32, 0.0, 0.13),
    "liver_volume": (0.0, 0.0, 0.0, 0.98, 0.0),
    "waist": (0.9, 1.5, 0.15, 0.001, 0.5),
}
#: the same for one SD of the build and of each of :data:`MOVED_TRAITS`
SHIFTS: Mapping[str, tuple[float, ...]] = {
    "sat": (0.0, 0.0, 0.0),
    "vat": (0.0, 0.0, 0.0),
    "muscle": (1.2, 0.1, 0.3),
    "liver_volume": (0.0, 0.0, 0.0),
    "waist": (0.0, 0.5, 0.4),
}


def fit(seeds: Sequence[int], given: Given | Sequence[Given] | None, count: Count) -> People:
    """Persons of these seeds on whose bodies ``count`` finds what is ``given``, to :data:`TOLERANCE`.

    ``count`` draws the body of one person and returns its :data:`COUNTED` values. It is called 1 to
    :data:`BODIES` times, mostly 2 or 3, for each person of whom such a value is given, and never for the others, who
    are those of :func:`~engine.phantom.anthropometry.sample_people`. Raises :class:`PhantomError` where no body is
    found.
    """
    drawn = draw(seeds, given, counted=True)
    values, residuals, _ = solve(drawn.residuals, drawn.fixed, counted=True)
    for i, one in enumerate(drawn.given):
        refuse_contradictions(one, residuals, values, i, counted=True)
    behind = set(BEHIND.values())
    # from here on the counted quantities follow from their residuals
    fixed = {name: values for name, values in drawn.fixed.items() if name not in behind}
    drawn = Draw(drawn.seeds, drawn.given, fixed, residuals, drawn.traits)
    for i, one in enumerate(drawn.given):
        wanted = {name: one[BEHIND[name]] for name in COUNTED if BEHIND[name] in one}
        if wanted:
            moves = _search(_Person(drawn, i), wanted, count)
            _move(drawn.residuals, drawn.traits, moves, slice(i, i + 1))
    values, residuals, _ = solve(drawn.residuals, drawn.fixed)
    return people_of(drawn.seeds, values, residuals, drawn.traits)


@dataclass(frozen=True, eq=False)
class _Person:
    """Person ``i`` of a draw, to be tried with its knobs moved."""

    drawn: Draw
    i: int

    def _copies(self, moves: Float[np.ndarray, "n k"]) -> tuple[Values, Values, Values]:
        """Values, residuals and traits of the person with each row of ``moves``."""

        def copied(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: np.repeat(array[self.i], len(moves)) for name, array in arrays.items()}

        residuals, traits = copied(self.drawn.residuals), copied(self.drawn.traits)
        _move(residuals, traits, moves.T, slice(None))
        values, residuals, _ = solve(residuals, copied(self.drawn.fixed))
        return values, residuals, traits

    def people(self, moves: Vector) -> People:
        """The person with its knobs moved by ``moves``, SD."""
        return people_of(self.drawn.seeds[self.i : self.i + 1], *self._copies(moves[None]))

    def jacobian(self, names: Sequence[str]) -> Float[np.ndarray, "m k"]:
        """Of the counted ``names`` on the knobs, as the model and the average body have it."""
        step = 0.1
        values, _, _ = self._copies(np.vstack([np.zeros(len(KNOBS)), step * np.eye(len(KNOBS))]))
        inner = np.stack([values[name] for name in QUANTITIES])
        model = (inner[:, 1:] - inner[:, :1]) / step
        shifts = np.zeros((len(names), len(KNOBS)))
        shifts[:, len(MOVED_RESIDUALS) :] = [SHIFTS[name] for name in names]
        return np.array([SLOPES[name] for name in names]) @ model + shifts

    def limits(self) -> tuple[Vector, Vector]:
        """The least and the greatest move of every knob."""
        normals = self.drawn.residuals | self.drawn.traits
        now = np.array([0.0 if name == "build" else normals[name][self.i] for name in KNOBS])
        far = np.array([FAR.get(name, CONTRADICTION) for name in KNOBS])
        return np.minimum(-far - now, 0.0), np.maximum(far - now, 0.0)


def _move(residuals: Values, traits: Values, moves: np.ndarray, who: slice) -> None:
    """Add the moves of the knobs (k, or k x n) to the residuals and traits of ``who``."""
    for name, move in zip(KNOBS, moves, strict=True):
        if name in MOVED_TRAITS:
            traits[name] = traits[name].copy()
            traits[name][who] += move
            continue
        for residual in BUILD if name == "build" else (name,):
            residuals[residual] = residuals[residual].copy()
            residuals[residual][who] += move


def _search(person: _Person, wanted: Mapping[str, float], count: Count) -> Vector:
    """The moves with which the person's body counts what is wanted; raises where none are found."""
    names, goal = list(wanted), np.array(list(wanted.values()))
    unit = np.array([TOLERANCE[name] for name in names])
    low, high = person.limits()
    jacobian = person.jacobian(names) / unit[:, None]

    def counted(moves: Vector) -> np.ndarray:
        found = count(person.people(moves))
        return np.array([found[name] for name in names]) / unit

    best = np.zeros(len(KNOBS))
    at, shorter = counted(best), 1.0
    for _ in range(BODIES - 1):
        miss = goal / unit - at
        if np.abs(miss).max() <= 1:
            return best
        step = shorter * _least_step(jacobian, miss, low - best, high - best)
        if not step.any() or not np.isfinite(step).all():
            break
        there = counted(best + step)
        jacobian = jacobian + np.outer(there - at - jacobian @ step, step) / (step @ step)
        nearer = np.linalg.norm(goal / unit - there) < np.linalg.norm(miss)
        shorter = 1.0 if nearer else shorter / 2
        if nearer:
            best, at = best + step, there
    if np.abs(goal / unit - at).max() <= 1:
        return best
    raise PhantomError(_refusal(person.drawn.given[person.i], dict(zip(names, at * unit, strict=True)), wanted))


def _least_step(jacobian: np.ndarray, miss: np.ndarray, low: Vector, high: Vector) -> Vector:
    """The shortest step that makes up for ``miss`` within the bounds, as far as they let it; at most :data:`STRIDE`."""
    step, free = np.zeros(len(low)), np.ones(len(low), bool)
    for _ in range(len(low)):
        slopes = jacobian * free
        square = slopes @ slopes.T + 1e-2 * np.eye(len(miss))
        step = step + slopes.T @ np.linalg.solve(square, miss - jacobian @ step)
        beyond = (step < low) | (step > high)
        if not (beyond & free).any():
            break
        step, free = np.clip(step, low, high), free & ~beyond
    return step * min(1.0, STRIDE / max(np.abs(step).max(), 1e-9))


def _refusal(given: Mapping[str, float], nearest: Mapping[str, float], wanted: Mapping[str, float]) -> str:
    """Which given value is farthest off, and what is possible instead."""
    worst = max(wanted, key=lambda name: abs(nearest[name] - wanted[name]) / TOLERANCE[name])
    rest = named({name: value for name, value in given.items() if name != BEHIND[worst]})
    one = f"{worst} {wanted[worst]:g}" + (f" with {rest}" if rest else "")
    return (
        f"{one} is not a possible body of this seed: the nearest has {worst} {nearest[worst]:.4g}, so give about that"
    )
