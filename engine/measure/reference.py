"""What a measure does over a real cohort: regressions on the attributes, for everyone and for each sex."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.measure.relation import Relation, RelationError

EVERYONE = "all"
#: fewest persons of a group whose figures are kept: below this an aggregate says too much of each of them
MINIMUM_GROUP = 20


@dataclass(frozen=True, kw_only=True)
class CohortBand:
    """Regressions of a cohort: ``lines[group][attribute][measure]`` are straight (their slopes are in the measure's unit),
    ``curves`` are second-degree polynomials of the logarithm (their bands are never negative and widen with the mean).

    A group is ``all``, or a level of ``sex``. ``levels[measure][group]`` holds n, mean and SD.
    """

    lines: Mapping[str, Mapping[str, Mapping[str, Relation]]]
    curves: Mapping[str, Mapping[str, Mapping[str, Relation]]]
    levels: Mapping[str, Mapping[str, Mapping[str, float]]]

    @classmethod
    def fit(
        cls, rows: Sequence[Mapping[str, Any]], measures: Sequence[Mapping[str, float]], attributes: Sequence[str]
    ) -> CohortBand:
        """Fit over persons: ``rows`` their attributes (None where missing), ``measures`` what was read off their scans.

        Groups of fewer than :data:`MINIMUM_GROUP` persons are left out. Where sex is recorded, ``all`` are those of known sex:
        otherwise the difference between all and the two sexes would tell of the few others.
        """
        known = [i for i, row in enumerate(rows) if row.get("sex") is not None]
        groups = {EVERYONE: known or list(range(len(rows)))}
        for level in sorted({str(rows[i]["sex"]) for i in known}):
            groups[level] = [i for i, row in enumerate(rows) if row.get("sex") == level]
        lines: dict[str, Any] = {}
        curves: dict[str, Any] = {}
        levels: dict[str, Any] = {}
        for group, members in groups.items():
            if len(members) < MINIMUM_GROUP:
                continue
            for measure in measures[0]:
                y = np.array([measures[i][measure] for i in members], float)
                y = y[np.isfinite(y)]
                if len(y) >= MINIMUM_GROUP:
                    found = {"n": len(y), "mean": float(y.mean()), "sd": float(y.std(ddof=1))}
                    levels.setdefault(measure, {})[group] = found
            for attribute in attributes:
                for measure in measures[0]:
                    x = [rows[i].get(attribute) for i in members]
                    y = [measures[i][measure] for i in members]
                    try:
                        line = Relation.fit(x, y)
                        curve = Relation.fit(x, y, degree=2, log=True)
                    except RelationError:
                        continue
                    if line.n >= MINIMUM_GROUP:
                        lines.setdefault(group, {}).setdefault(attribute, {})[measure] = line
                        curves.setdefault(group, {}).setdefault(attribute, {})[measure] = curve
        return cls(lines=lines, curves=curves, levels=levels)

    def line(self, measure: str, attribute: str, group: str = EVERYONE) -> Relation | None:
        """The straight regression, or None where the cohort has none."""
        return self.lines.get(group, {}).get(attribute, {}).get(measure)

    def curve(self, measure: str, attribute: str, group: str = EVERYONE) -> Relation | None:
        """The curved regression, or None where the cohort has none."""
        return self.curves.get(group, {}).get(attribute, {}).get(measure)

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers."""
        return {"lines": _plain(self.lines), "curves": _plain(self.curves), "levels": _plain(self.levels)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> CohortBand:
        """What :meth:`to_json` gave; raises :class:`ValueError` or :class:`KeyError` for anything else."""

        def relations(part: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Relation]]]:
            return {
                group: {a: {m: Relation.from_json(r) for m, r in by.items()} for a, by in attributes.items()}
                for group, attributes in part.items()
            }

        return cls(lines=relations(stored["lines"]), curves=relations(stored["curves"]), levels=dict(stored["levels"]))


def _plain(value: Any) -> Any:
    if isinstance(value, Relation):
        return value.to_json()
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, Mapping) else value
