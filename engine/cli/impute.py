"""``somatwin impute``: a table with its missing cells drawn, under its own headings, in its own units and words."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.cli.terminal import Meter

if TYPE_CHECKING:
    from engine.cohort.sources.table import NamedTable
    from engine.vocabulary.row import Row
    from engine.vocabulary.schema import AttributeSchema


def run_impute(args: argparse.Namespace, meter: Meter) -> None:
    """A table with its missing cells filled, as a new file; on stdout the file."""
    from engine.cohort.dictionary import codes
    from engine.cohort.sources.table import read_named, write_table
    from engine.inference.generate import load
    from engine.inference.impute import impute
    from engine.inference.intake import admit
    from engine.vocabulary.cells import parse_rows, spellings
    from engine.vocabulary.refusal import RequestError
    from engine.vocabulary.schema import Category

    if args.draws < 1 or args.out.exists():
        fault = f"{args.draws} draws" if args.draws < 1 else f"{args.out} exists"
        raise RequestError(f"{fault}: give 1 or more draws and a new --out file")
    model = load(args.checkpoint, args.device)
    table = read_named(args.table, (*model.schema.names, "scan"))
    cells, about = table.rows, codes(table.about)
    levels = {c.name: c.levels for c in model.schema.columns if isinstance(c, Category)}
    rows, flags = parse_rows(cells, {name: about.get(name, {}) for name in levels}, levels)
    written = spellings(cells, rows, levels)
    for note in [*table.notes, *_unknown(table, model.schema)]:
        print(f"somatwin: {note}", file=sys.stderr)
    for flag in flags:
        print(f"somatwin: {flag['participant_id']}: {flag['reason']}", file=sys.stderr)
    there = [_present(raw, row, model.schema) for raw, row in zip(cells, rows, strict=True)]
    paths = [row.get("scan") for row in there]
    scans = [admit(model, args.table.parent / str(p))[0] if p else None for p in paths] if any(paths) else None
    filled, began, total = [], time.monotonic(), args.draws * len(rows)
    for draw in range(args.draws):
        drawn = impute(model, rows, scans, seed=args.seed + draw * len(rows), steps=args.steps)
        for row, present in zip(drawn, there, strict=True):
            made = {name: written.get((name, str(value)), value) for name, value in row.items()}
            filled.append({**_as_written({**made, **present}, table), **({"draw": draw + 1} if args.draws > 1 else {})})
            left = (time.monotonic() - began) / len(filled) * (total - len(filled))
            meter.show(f"{len(filled)} of {total} rows", left, now=len(filled) == total)
    meter.close()
    print(write_table(args.out, filled))


def _unknown(table: NamedTable, schema: AttributeSchema) -> list[str]:
    """What is said of columns that the model does not have, where it knows none of that name."""
    others = [text for name, text in table.headings.items() if name not in (*schema.names, "scan", "participant_id")]
    return [f"not known to this model, copied as they are: {', '.join(others)}"] if others else []


def _present(raw: Mapping[str, str], row: Row, schema: AttributeSchema) -> dict[str, str]:
    """The cells that stay as they are: those of the model's columns that were taken, and all others that are not missing."""
    from engine.vocabulary.cells import MISSING

    return {
        name: text
        for name, text in raw.items()
        if (row[name] is not None if name in schema.names else (text or "").strip().casefold() not in MISSING)
    }


def _as_written(row: Mapping[str, Any], table: NamedTable) -> dict[str, Any]:
    """A row under the table's own headings, its numbers in the table's own units."""
    made = {}
    for name, value in row.items():
        by = table.factors.get(name, 1.0)
        if by != 1 and value is not None:
            value = _back(value, by)
        made[table.headings.get(name, name)] = value
    return made


def _back(value: Any, by: float) -> Any:
    try:
        return f"{float(value) / by:.10g}"
    except ValueError:
        return value
