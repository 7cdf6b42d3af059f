"""Frozen regressors: ridge models that read attributes off a scan's features, fitted on real training persons only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from engine.evaluation.metrics.checks import MINIMUM_SUBJECTS
from engine.evaluation.metrics.classify import ridge
from engine.evaluation.subjects.people import Gathered, People
from engine.vocabulary.schema import AttributeSchema, Category, Number

#: attributes read, where the table has them; numbers, then categories of two levels
NUMBERS, BINARY = ("age", "bmi", "height"), ("sex",)


def inputs(data: Gathered, side: People) -> Float[np.ndarray, "n d"]:
    """The encoder's features (radiomics where there is none) and all measures; unseen ones as the training persons' mean.

    Radiomics beside an encoder would let a blur pass for age: head-t1's were then read as 69 years off.
    """
    parts = [side.features(data.features[0])]
    if data.measures:
        known = np.nanmean(data["train"].arrays["measures"].astype(float), 0)
        values = side.arrays["measures"].astype(float)
        parts.append(np.where(np.isfinite(values), values, np.nan_to_num(known)))
    return np.concatenate(parts, 1)


def truth(side: People, name: str, schema: AttributeSchema) -> Float[np.ndarray, " n"]:
    """An attribute as a number: of two levels the second is 1 and the first -1; NaN where missing."""
    column = schema[name]
    if isinstance(column, Category):
        code = {column.levels[0]: -1.0, column.levels[1]: 1.0}
        return np.array([code.get(row.get(name), np.nan) for row in side.rows])  # pyright: ignore[reportArgumentType, reportCallIssue]
    return side.column(name)


@dataclass(frozen=True, eq=False)
class Readers:
    """The fitted models by attribute."""

    models: Mapping[str, Any]
    schema: AttributeSchema

    @classmethod
    def fitted(cls, data: Gathered, schema: AttributeSchema, side: People | None = None) -> Readers:
        """Fit on the training persons, or on ``side``; an attribute that is missing or constant there is left out."""
        people = side or data["train"]
        x = inputs(data, people)
        models = {}
        for column in schema.columns:
            wanted = (isinstance(column, Number) and column.name in NUMBERS) or (
                isinstance(column, Category) and column.name in BINARY and len(column.levels) == 2
            )
            if not wanted:
                continue
            y = truth(people, column.name, schema)
            known = np.isfinite(y)
            if known.sum() > MINIMUM_SUBJECTS and np.ptp(y[known]) > 0:
                models[column.name] = ridge(np.logspace(0, 5, 16)).fit(x[known], y[known])
        return cls(models, schema)

    def read(self, data: Gathered, side: People, name: str) -> Float[np.ndarray, " n"]:
        """What the model reads off the scans of a side."""
        return self.models[name].predict(inputs(data, side))

    def errors(self, data: Gathered, side: People, name: str) -> Float[np.ndarray, " n"]:
        """Absolute error of each person, or for a category 1 where the wrong level is read; NaN where the table is silent."""
        y, found = truth(side, name, self.schema), self.read(data, side, name)
        if isinstance(self.schema[name], Category):
            return np.where(np.isfinite(y), (np.sign(found) != y).astype(float), np.nan)
        return np.abs(found - y)
