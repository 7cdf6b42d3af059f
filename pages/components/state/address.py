"""What is asked of the model, and the page address that says the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from engine.vocabulary.schema import AttributeSchema, AttributeValueError, Category, Cell, Number
from pages.components.state.person_table import label, unit

MOST_PEOPLE = 8
#: whole numbers in an address: default, lowest, highest
COUNTS = {"seed": (0, 0, 2**31 - 1), "n": (1, 1, MOST_PEOPLE), "steps": (8, 1, 64)}


@dataclass(frozen=True, kw_only=True)
class Request:
    """One press of the button. A column absent from ``given`` is free: the model samples it."""

    model: str
    given: tuple[tuple[str, Cell], ...] = ()
    seed: int = 0
    n: int = 1
    steps: int = 8

    def to_query(self) -> dict[str, str]:
        """The address of exactly these people; it names the defaults too, so that they may change later."""
        counts = {name: str(getattr(self, name)) for name in COUNTS}
        return {"model": self.model, **counts, **{k: v if isinstance(v, str) else f"{v:g}" for k, v in self.given}}


def read_query(query: Mapping[str, str], model: str, schema: AttributeSchema) -> tuple[Request, list[str]]:
    """The request an address makes, and a sentence for each part of it that cannot be done (left out of it)."""
    counts: dict[str, int] = {}
    given: list[tuple[str, Cell]] = []
    problems: list[str] = []
    for name, text in query.items():
        try:
            if name in COUNTS:
                counts[name] = _count(name, text)
            elif name != "model":
                given.append((name, _cell(schema, name, text)))
            elif text != model:
                raise AttributeValueError(f"there is no model {text!r} here: choose one on the left")
        except AttributeValueError as error:
            problems.append(str(error))
    order = [column.name for column in schema.columns]
    given.sort(key=lambda pair: order.index(pair[0]))
    return Request(model=model, given=tuple(given), **counts), problems


def whole(column: Number) -> bool:
    """Is the column set in whole units? Its range is then wide enough for it."""
    low, high = column.seen
    return high - low > 25


def seen_range(column: Number) -> tuple[float, float]:
    """The training range of a column, rounded outwards to its step."""
    low, high = column.seen
    return max(float(math.floor(low)), column.low), min(float(math.ceil(high)), column.high)


def tidy(column: Number, value: float) -> Cell:
    """A slider's value: an int where the column is set in whole units."""
    return round(value) if whole(column) else round(float(value), 1)


def _count(name: str, text: str) -> int:
    _, low, high = COUNTS[name]
    if not text.strip().isdecimal() or not low <= int(text) <= high:
        raise AttributeValueError(f"{name} {text!r} is not possible here: give a whole number from {low} to {high}")
    return int(text)


def _cell(schema: AttributeSchema, name: str, text: str) -> Cell:
    column = schema[name]
    if isinstance(column, Category):
        return column.check(text)
    if not isinstance(column, Number):
        factors = " and ".join(label(factor) for factor, _ in column.powers)
        raise AttributeValueError(f"{label(name)} is computed from {factors}: set those instead")
    low, high = seen_range(column)
    span = f"{low:g} to {high:g} {unit(column.unit)}".rstrip()
    try:
        value = column.check(text)
    except AttributeValueError:
        raise AttributeValueError(
            f"{label(name)} {text!r} is not possible here: give {span}, the range seen in training"
        ) from None
    if not low <= value <= high:
        raise AttributeValueError(f"{label(name)} {value:g} lies outside what this model was trained on: give {span}")
    return int(value) if value.is_integer() and whole(column) else value
