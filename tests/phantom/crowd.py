"""Persons drawn by the population model's own mechanisms, many at once."""

from __future__ import annotations

from functools import cache

import numpy as np

from engine.phantom.composition import RESIDUALS, score, trunk_fat
from engine.phantom.dimensions import dimensions
from engine.phantom.given.conditioning import solve
from engine.phantom.organ_sizes import organ_sizes


def simulate(n: int, seed: int, whole: bool = True, **given: float | np.ndarray) -> dict[str, np.ndarray]:
    """Persons without a seed of their own, by the same mechanisms; their organs and surface too when ``whole``."""
    rng = np.random.default_rng(seed)
    residuals = {name: rng.standard_normal(n) for name in RESIDUALS}
    fixed = {name: np.broadcast_to(np.asarray(value, float), (n,)).copy() for name, value in given.items()}
    values, residuals, _ = solve(residuals, fixed)
    if not whole:
        return values
    values["trunk_fat"] = trunk_fat(values, score("trunk_sat", values, residuals))
    values["weight"] = values["bmi"] * (values["height"] / 100) ** 2
    return values | organ_sizes(values, residuals) | dimensions(values, residuals)


@cache
def population() -> dict[str, np.ndarray]:
    return simulate(100_000, 0)


def by_sex() -> list[tuple[int, np.ndarray]]:
    male = population()["male"] > 0.5
    return [(0, male), (1, ~male)]


def slopes(y: np.ndarray, *columns: np.ndarray) -> np.ndarray:
    design = np.column_stack([np.ones(len(y)), *columns])
    return np.linalg.lstsq(design, y, rcond=None)[0]
