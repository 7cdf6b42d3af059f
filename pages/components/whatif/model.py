"""The model lent to one what-if at a time: nobody else's turn, and every evaluation of its network a point to stop at."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

from pages.components.state.address import Request
from pages.components.state.generation import Report, model_lock, people_of, turn

if TYPE_CHECKING:
    from engine.inference.generate import Model


@contextmanager
def engaged(model: Model, evaluations: int, doing: str, report: Report) -> Iterator[Any]:
    """Hold the model and lend a copy that reports each of about ``evaluations`` as ``doing, step 3 of 8``.

    The copy shares all weights. Whatever ``report`` raises ends the run between two evaluations.
    """
    net = copy.copy(model.checkpoint.model)
    velocity, number = net.velocity, count(1)

    def reported(*arguments: Any) -> Any:
        done = min(next(number), evaluations)
        report((done - 1) / evaluations, f"{doing}, step {done} of {evaluations}")
        return velocity(*arguments)

    net.velocity = reported
    lent = copy.copy(model)
    lent.checkpoint = replace(model.checkpoint, model=net)
    with turn(model_lock(), report):
        report(0.0, doing)
        yield lent


def keeping(model: Model, name: str, report: Report) -> tuple[Any, list[Request]]:
    """A copy of the model that draws a person only where they are not kept from before, and the requests it was asked."""
    asked: list[Request] = []

    def generate(*, given: dict[str, Any], seed: int, steps: int, guidance: float | None = None) -> list[Any]:
        del guidance  # the what-if page leaves it at the model's default, as the kept persons have it
        asked.append(Request(model=name, given=tuple(given.items()), seed=seed, steps=steps))
        return [one.person for one in people_of(model, asked[-1], report)[0]]

    lent = copy.copy(model)
    lent.generate = generate
    return lent, asked
