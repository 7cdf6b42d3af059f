"""Which cells of a cohort are missing, and whether those who lack them differ from those who have them.

The model takes a missing cell for unknown, which is right as long as missing depends on the cells that are there ("missing
at random", Rubin 1976); what depends on the missing value itself cannot be seen in a table, only asked about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engine.vocabulary.schema import AttributeSchema

#: smallest share of missing cells that is spoken of, and smallest difference (in SD) of those who lack them
RARE, SMALL = 0.001, 0.2


def missing_cells(rows: Sequence[Mapping[str, Any]], schema: AttributeSchema) -> dict[str, str]:
    """A sentence for every modelled column with missing cells: how many, and where those who lack them differ the most.

    The difference is that of the mean codes (:meth:`AttributeSchema.encode`; ``schema`` is fitted) in standard deviations.
    """
    state, known = schema.encode(rows)
    found: dict[str, str] = {}
    for k, column in enumerate(schema.columns):
        lacking = ~known[:, k]
        if lacking.mean() <= RARE:
            continue
        most, where = 0.0, ""
        for j, other in enumerate(schema.columns):
            here, there = known[:, j] & lacking, known[:, j] & ~lacking
            if j == k or here.sum() < 10 or there.sum() < 10:
                continue
            codes = state[:, j, : other.width]
            spread = codes[known[:, j]].std(0).clip(1e-6)
            apart = float(np.abs((codes[here].mean(0) - codes[there].mean(0)) / spread).max())
            if apart > most:
                most, where = apart, other.name
        said = f"{100 * lacking.mean():.1f}% missing"
        if most > SMALL:
            said += f"; those who lack it differ by {most:.2f} SD in {where}"
        found[column.name] = said
    return found
