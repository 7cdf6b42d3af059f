"""The sides of an evaluation: what was extracted from each person of a source, as arrays, one row a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from engine.evaluation.metrics.checks import EvaluationError
from engine.vocabulary.schema import Row

#: name of the frozen encoder's and of the training-free features
ENCODED, RADIOMICS = "encoded", "radiomics"


@dataclass(frozen=True, kw_only=True)
class People:
    """Extracted persons: ``ids`` and ``rows`` (the table), and ``arrays`` by name, (n, ...) each.

    ``encoded`` is (n, folds, d), ``radiomics`` (n, d), ``measures`` (n, m) in the order of the gathering's ``measures``,
    NaN where something cannot be seen; what else there is depends on the source.
    """

    ids: tuple[str, ...]
    rows: tuple[Row, ...]
    arrays: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.ids)

    def features(self, name: str) -> Float[np.ndarray, "n d"]:
        """The features ``encoded`` (folds side by side) or ``radiomics``."""
        return self.arrays[name].reshape(len(self), -1).astype(float)

    def column(self, name: str) -> Float[np.ndarray, " n"]:
        """A numeric column, NaN where missing."""
        return np.array([np.nan if (v := row.get(name)) is None else float(v) for row in self.rows])

    def take(self, rows: Int[np.ndarray, " k"] | Sequence[int]) -> People:
        """Some of the persons."""
        index = np.asarray(rows, int)
        return People(
            ids=tuple(self.ids[i] for i in index),
            rows=tuple(self.rows[i] for i in index),
            arrays={name: array[index] for name, array in self.arrays.items()},
        )


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """All sides by name (``test``, ``train``, ``synthetic``, and others), with what every section needs to know of them.

    ``measures`` names the columns of ``measures`` with their unit; ``features`` which features there are; ``channels`` those of a
    scan, without its phases.
    """

    sides: dict[str, People]
    measures: dict[str, str]
    features: tuple[str, ...]
    about: dict[str, Any]
    channels: tuple[str, ...] = ()

    def __getitem__(self, side: str) -> People:
        if side not in self.sides:
            raise EvaluationError(f"{side} persons were not gathered: gather them first")
        return self.sides[side]

    def measured(self, side: str, name: str) -> Float[np.ndarray, " n"]:
        """A measure of a side, NaN where it cannot be seen."""
        return self[side].arrays["measures"][:, list(self.measures).index(name)].astype(float)
