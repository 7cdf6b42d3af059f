"""The report of a model of tables: its rows beside real test rows, and what others make of the same training rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.cohort.sources.table import TableCohort
from engine.evaluation.bench.sampling import machine
from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.table_encoding import Table
from engine.evaluation.metrics.tabular import violations
from engine.evaluation.report.parts import Section, Sheet
from engine.evaluation.rivals.rivals import RIVALS
from engine.evaluation.sections.ranking import TITLES, ranking_section, rival_tables
from engine.evaluation.sections.table import table_section
from engine.evaluation.subjects import plan
from engine.evaluation.subjects.gather import Step, claim
from engine.evaluation.subjects.people import Gathered, People
from engine.inference.generate import Model
from engine.vocabulary.schema import AttributeSchema, Number, Row

#: rows drawn when nothing else is asked for
ROWS = 1000


def table_sections(
    model: Model,
    cohort: TableCohort,
    about: dict[str, Any],
    work: Path,
    *,
    n: int,
    seed: int,
    steps: int,
    rivals: bool,
) -> Iterator[Step | Section]:
    """Progress, and each section when it is done; ``about`` gains seconds, machine and persons.

    Rivals learn every column, derived ones too, on complete rows. Raises :class:`EvaluationError` for a table that lacks
    the model's columns.
    """
    began = time.monotonic()
    if absent := [name for name in model.schema.names if name not in cohort.rows[0]]:
        raise EvaluationError(f"{cohort.path} has no column {absent[0]}: give the table that {model.name} was made for")
    parts = cohort.split()
    if min(len(parts["test"]), len(parts["train"])) < plan.MINIMUM_SIDE:
        raise EvaluationError(
            f"{cohort.path} leaves {len(parts['test'])} rows to test: give more rows, with age and sex"
        )
    claim(work, {k: about[k] for k in ("kind", "checkpoint", "store", "sampling", "version")})
    made: list[Row] = []
    for person in model.stream(n=n, seed=seed, steps=steps):
        made.append(person.attributes)
        if len(made) % 64 == 0:
            left = (time.monotonic() - began) / len(made) * (n - len(made))
            yield Step("rows", len(made), n, left)
    sides = {name: _people(cohort, parts[name]) for name in ("train", "test")}
    sides["synthetic"] = People(ids=tuple(f"made-{i}" for i in range(n)), rows=tuple(made), arrays={})
    data = Gathered(sides=sides, measures={}, features=(), about=about)
    yield Step("table fidelity", 0, 1, None)
    yield table_section(data, model.schema, np.random.default_rng([seed, 0]))
    if rivals:
        flat, tables = with_derived(model.schema), {}
        for name, table in rival_tables(data, flat, work / "rivals", seed):
            tables[name] = table
            yield Step("other table generators", len(tables), len(RIVALS), None)
        yield Step("ranking", 0, 1, None)
        found = ranking_section(data, flat, tables, np.random.default_rng([seed, 1]))
        yield replace(found, sheets=[*found.sheets, broken({"model": made, **tables}, model.schema)])
    about["seconds"] = round(time.monotonic() - began, 1)
    about["machine"] = machine(model.device)
    about["persons"] = {name: len(side) for name, side in sides.items()}


def _people(cohort: TableCohort, index: np.ndarray) -> People:
    rows = tuple(cohort.rows[i] for i in index)
    return People(ids=tuple(str(row["participant_id"]) for row in rows), rows=rows, arrays={})


def with_derived(schema: AttributeSchema) -> AttributeSchema:
    """The schema with derived columns as numbers to be learnt like any other."""
    more = [Number(name=d.name, unit=d.unit, low=d.low, high=d.high) for d in schema.derived]
    return AttributeSchema(columns=(*schema.columns, *more))


def broken(tables: Mapping[str, Table | str], schema: AttributeSchema) -> Sheet:
    """Share of rows of each table that break a rule: possible range, known level, identity."""
    rules = list(violations(next(t for t in tables.values() if not isinstance(t, str)), schema))
    rows = []
    for name, table in tables.items():
        if not isinstance(table, str):
            found = violations(table, schema)
            rows.append((TITLES.get(name, name), *(found[rule].value for rule in rules)))
    return Sheet(title="Rules broken, share of rows", columns=("table", *rules), rows=tuple(rows))
