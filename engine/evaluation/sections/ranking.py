"""The synthetic table in a row with what others fit to the same training rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.table_encoding import Table
from engine.evaluation.metrics.tabular_ranking import BEST, ranking
from engine.evaluation.report.parts import Section, Sheet
from engine.evaluation.rivals.rivals import RIVALS, complete_cases, rivals
from engine.evaluation.sections.table import TARGETS, varying
from engine.evaluation.subjects.people import Gathered
from engine.vocabulary.schema import AttributeSchema

TITLES = {
    "model": "this model",
    "ctgan": "CTGAN",
    "tvae": "TVAE",
    "arf": "adversarial random forest",
    "copula": "Gaussian copula",
    "real": "real training rows",
    "bootstrap": "their bootstrap",
    "shuffled": "columns shuffled",
}


def rival_tables(data: Gathered, schema: AttributeSchema, work: Path, seed: int):
    """Fit each rival to the training rows; yields (name, table), or (name, what went wrong)."""
    schema, _ = varying(data, schema)
    for name in RIVALS:
        try:
            (found,) = rivals(
                [*data["train"].rows], schema, n=len(data["synthetic"]), seed=seed, work=work, names=(name,)
            )
            yield name, found.table
        except EvaluationError as error:
            yield name, str(error)


def ranking_section(
    data: Gathered, schema: AttributeSchema, tables: Mapping[str, Table | str], rng: np.random.Generator
) -> Section:
    """The ranking at equal N on complete cases, since the rivals know no missing cells."""
    schema, _ = varying(data, schema)
    missing = [f"{TITLES[name]}: {table}." for name, table in tables.items() if isinstance(table, str)]
    train, test = (complete_cases([*data[side].rows], schema)[0] for side in ("train", "test"))
    candidates: dict[str, Table] = {"model": complete_cases([*data["synthetic"].rows], schema)[0]}
    candidates |= {name: table for name, table in tables.items() if not isinstance(table, str)}
    targets = [t for t in TARGETS if t in [c.name for c in schema.columns]][:2]
    sheets = []
    try:
        found = ranking(train, test, candidates, schema, targets, rng)
        rows = [
            (
                TITLES.get(one.name, one.name),
                one.mean_rank if one.ranked else "unranked",
                *(one.figures[measure] for measure in BEST),
                *(one.utility[target] for target in targets),
            )
            for one in found.standings
        ]
        columns = ("table", "mean rank", *BEST, *(f"{target} predicted" for target in targets))
        note = f"N = {found.n} rows each, against test rows; rank 1 is best. Missing cells are no part of this."
        sheets.append(Sheet(title="Ranking", columns=columns, rows=tuple(rows), note=note))
    except EvaluationError as error:
        missing.append(f"{error}.")
    return Section(
        key="ranking",
        title="Beside other table generators",
        meaning="Rows alone: how this model's table stands beside generators that were made for tables only.",
        method="CTGAN and TVAE (300 epochs), an adversarial random forest and a Gaussian copula, fitted in this run to the same "
        "complete training rows in an environment of their own. All targets together have one vote in the mean rank.",
        sheets=sheets,
        missing=missing,
    )
