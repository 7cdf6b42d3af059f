"""What a report is made of: figures that each stand between a floor and a ceiling, in sections, ready for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from engine.evaluation.metrics.interval import Figure

#: what a good figure is: as small or as large as real data's, near a value, or one whose exact test does not alarm
Aim = Literal["low", "high", "equal", "test", "none"]
#: p below which a test alarms
ALARM = 0.05
#: quantiles of the normal distribution: of 95% one-sided, and of the ends of a 95% interval
ONE_SIDED, TWO_SIDED = 1.645, 1.96


@dataclass(frozen=True, kw_only=True)
class ReportedFigure:
    """One figure of a report.

    ``floor`` is what real data score, ``ceiling`` what broken data score, both at the figure's N. ``target`` is the value
    aimed at with ``aim`` equal. ``p`` is of the test that ``note`` or the section names.
    """

    key: str
    name: str
    figure: Figure
    aim: Aim = "none"
    unit: str = ""
    floor: Figure | None = None
    ceiling: Figure | None = None
    target: float | None = None
    p: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """``as real``, ``worse than real``, or nothing where there is nothing to judge by.

        A figure to be low (high) is worse when it lies above (below) the floor by more than chance explains: one-sided at
        5%, standard errors taken from both intervals as of normals; with a ``target``, above (below) the worse of floor and target:
        an AUC of one half tells nobody apart, whatever chance made of the floor. One that aims at a value differs when its interval
        leaves it out, one to be tested alarms when p is below :data:`ALARM`.
        """
        value = self.figure.value
        if self.aim == "none" or not math.isfinite(value):
            return ""
        if self.aim == "equal":
            if self.target is None or not math.isfinite(self.figure.low):
                return ""
            return "as real" if self.figure.low <= self.target <= self.figure.high else "differs from real"
        if self.aim == "test":
            return "" if self.p is None else "alarm" if self.p < ALARM else "passes"
        if self.floor is None or not math.isfinite(self.floor.value):
            return ""
        worse = max if self.aim == "low" else min
        floor = self.floor.value if self.target is None else worse(self.floor.value, self.target)
        gap = value - floor if self.aim == "low" else floor - value
        error = math.hypot(_standard_error(self.figure), _standard_error(self.floor))
        return "worse than real" if gap > ONE_SIDED * error + 1e-9 * max(1.0, abs(value)) else "as real"

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and words; what is not finite is None."""
        return plain({**asdict(self), "verdict": self.verdict})


def _standard_error(figure: Figure) -> float:
    width = figure.high - figure.low
    return width / (2 * TWO_SIDED) if math.isfinite(width) else 0.0


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table of a report: a heading, column names, and rows of words, numbers or figures."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Curves of a report: for each series by name its x and y (lists of equal length); names of aggregates begin with real.

    With ``kind`` heat ``series`` holds ``rows`` of numbers and the ``labels`` of the columns (and ``rows_labels`` of the rows).
    """

    title: str
    kind: Literal["line", "heat"]
    x: str
    y: str
    series: Mapping[str, Any]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a report: ``meaning`` is for a clinician, ``method`` for a statistician; ``missing`` says what could not be
    computed and why."""

    key: str
    title: str
    meaning: str
    method: str
    figures: Sequence[ReportedFigure] = ()
    sheets: Sequence[Sheet] = ()
    plots: Sequence[Plot] = ()
    missing: Sequence[str] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """The section with its figures, tables and plots."""
        return {
            "key": self.key,
            "title": self.title,
            "meaning": self.meaning,
            "method": self.method,
            "entries": [reported.to_json() for reported in self.figures],
            "sheets": [plain(asdict(sheet)) for sheet in self.sheets],
            "plots": [plain(asdict(plot)) for plot in self.plots],
            "missing": list(self.missing),
        }


def plain(value: Any) -> Any:
    """Anything of numbers, arrays, figures and words as JSON takes it; a number that is not finite is None.

    >>> plain({"a": (1, float("nan"))})
    {'a': [1, None]}
    """
    if isinstance(value, Figure):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
