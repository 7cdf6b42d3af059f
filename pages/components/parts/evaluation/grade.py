"""One figure of a review: what the model scores, beside what real and broken data score."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from engine.evaluation.report.page import GOOD, number
from engine.evaluation.report.words import described

_N = r"(?:[-+]?\d+\.?\d*(?:e[-+]?\d+)?|undefined)"
_LINE = re.compile(
    rf"(?P<value>{_N})(?: (?P<unit>[^();]+?))?(?: \((?P<low>{_N}) to (?P<high>{_N}), n = (?P<n>\d+)\))?"
    rf"(?:; real (?P<real>{_N}) \((?P<real_low>{_N}) to (?P<real_high>{_N})\))?(?:; p = (?P<p>{_N}))?(?:; (?P<verdict>[^;]+))?"
)


@dataclass(frozen=True, kw_only=True)
class Span:
    """A number with its 95 % interval; NaN where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def __str__(self) -> str:
        if not math.isfinite(self.value):
            return "undefined"
        known = math.isfinite(self.low) and math.isfinite(self.high)
        return number(self.value) + (f" ({number(self.low)} to {number(self.high)})" if known else "")


@dataclass(frozen=True, kw_only=True)
class Grade:
    """One figure under its recorded ``name``: what the model scores, what ``real`` data score among themselves, what ``broken``
    data score."""

    name: str
    figure: Span
    unit: str = ""
    n: int | None = None
    real: Span | None = None
    broken: Span | None = None
    target: float | None = None
    p: float | None = None
    verdict: str = ""
    note: str = ""

    @property
    def title(self) -> str:
        """The ``name`` in the field's terms."""
        return described(self.name).title

    @property
    def good(self) -> bool:
        return self.verdict in GOOD

    def on_ladder(self) -> tuple[float, float, float] | None:
        """Value, low and high where 0 is real among real and 1 is broken; None without both."""
        if self.real is None or self.broken is None:
            return None
        step = self.broken.value - self.real.value
        if not math.isfinite(step) or abs(step) < 1e-12 or not math.isfinite(self.figure.value):
            return None
        return self._placed(lambda x: (x - self.real.value) / step)  # pyright: ignore[reportOptionalMemberAccess]

    def beside_real(self) -> tuple[float, float, float] | None:
        """Value, low and high where 0 is what real data score, and -1 and 1 the ends of their interval."""
        real = self.real
        if real is None or not real.low < real.value < real.high or not math.isfinite(self.figure.value):
            return None

        def place(x: float) -> float:
            reach = real.high - real.value if x > real.value else real.value - real.low
            return (x - real.value) / reach

        return self._placed(place)

    def _placed(self, place: Callable[[float], float]) -> tuple[float, float, float]:
        middle = place(self.figure.value)
        ends = [place(x) if math.isfinite(x) else middle for x in (self.figure.low, self.figure.high)]
        return middle, min(ends), max(ends)


def from_words(name: str, text: str) -> Grade | None:
    """A card's line as a figure (the inverse of :func:`engine.evaluation.report.write.in_words`); None for any other line.

    >>> from_words("SSIM", "0.8 (0.79 to 0.81, n = 28); real 0.9 (0.8 to 1); p = 0.04; worse than real").real.low
    0.8
    """
    if (found := _LINE.fullmatch(text)) is None:
        return None
    real = None if found["real"] is None else span_of(found["real"], found["real_low"], found["real_high"])
    return Grade(
        name=name,
        figure=span_of(found["value"], found["low"], found["high"]),
        unit=found["unit"] or "",
        n=int(found["n"]) if found["n"] else None,
        real=real,
        p=float(found["p"]) if found["p"] else None,
        verdict=found["verdict"] or "",
    )


def span_of(value: float | str | None, low: float | str | None, high: float | str | None) -> Span:
    """A span of numbers, or of their words; None and ``undefined`` are NaN."""
    numbers = [math.nan if v in (None, "undefined") else float(v) for v in (value, low, high)]
    return Span(value=numbers[0], low=numbers[1], high=numbers[2])
