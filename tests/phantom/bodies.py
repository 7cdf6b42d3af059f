"""Drawn bodies that several tests look at, drawn once a process."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from engine.phantom.anthropometry import sample_people
from engine.phantom.body import Body, build
from engine.phantom.process import one_thread
from engine.phantom.tissue import code, codes


@cache
def drawn(seed: int, **given: float | str) -> Body:
    """The body of one seed, on one thread."""
    with one_thread():
        return build(sample_people([seed], given))


def labels(body: Body) -> np.ndarray:
    return body.label[0].numpy()


def is_group(body: Body, *groups: str) -> np.ndarray:
    return np.isin(labels(body), codes(*groups))


def is_named(body: Body, *names: str) -> np.ndarray:
    return np.isin(labels(body), [code(name) for name in names])


def corners() -> list[Mapping[str, float | str]]:
    """The ends of the range: sex, BMI, age."""
    return [
        {"sex": sex, "bmi": bmi, "age": age, "height": 178.0 if sex == "M" else 165.0}
        for sex in "MF"
        for bmi, age in ((18.0, 25), (27.0, 50), (45.0, 80))
    ]
