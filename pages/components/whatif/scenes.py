"""What the viewer shows of a what-if: before beside after, or an uploaded scan; which of them is real is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.vocabulary.catalogue import OPT_IN
from engine.vocabulary.schema import AttributeSchema, Category, Row
from pages.components.state.generation import marks
from pages.components.state.intervention import Question
from pages.components.state.overlay import overlaid, titles_of
from pages.components.state.person_table import label, level, person_rows, summary, unit
from pages.components.state.scene import payload
from pages.components.whatif.upload import Scan, likeliest

if TYPE_CHECKING:
    from engine.inference.generate import Model
    from pages.components.whatif.answer import Made

#: of a scan's what-if, the scan itself beside the what-if that has its detail
WITH_DETAIL = "With the scan's detail"
#: burned into pictures of an uploaded scan, and of one beside its what-if
NOT_SYNTHETIC = "YOUR SCAN, REAL, not synthetic - not for diagnosis"
PAIR = "A: your scan, REAL. B: what if, SYNTHETIC - not for diagnosis"


def pair_scene(model: Model, question: Question, shown: str, made: Made) -> bytes:
    """What is ``shown`` before and after, to be compared; beside each value after why it is so, and of a scan which is real."""
    name = "scan" if question.scan else f"{question.model}_seed-{question.seed}"
    given = {column: value for column, value in question.before if column not in question.loose}
    why = reasons(model, question, made)
    tables = [
        [row for row in person_rows(model.schema, found, given) if row["name"] not in question.unread]
        for found in made.rows
    ]
    tables[1] = [row | {"origin": why[row["name"]]} for row in tables[1]]
    told = question.edit.in_words(titles_of(model).__getitem__) if question.edit else ""
    said = [summary(made.rows[0]), " · ".join(filter(None, (told, summary(made.rows[1]))))]
    seed = {} if question.scan else {"seed": question.seed}
    says = says_of(model.schema, question, made.rows)
    titles, suffixes = pair_names(question, shown), ("before", "whatif")
    people = [
        {"title": title, "subtitle": words, "file": f"{name}_{suffix}", "rows": table, "says": f"{title}{told}", **seed}
        for title, suffix, words, table, told in zip(titles, suffixes, said, tables, says, strict=True)
    ]
    note = "Associations of the cohort, not causes: nobody's body is foretold."
    marked = overlaid(model, made.masks) if made.masks else {}
    footer = {"footer": PAIR} if question.scan and shown == WITH_DETAIL else {}
    facts = {"note": note, **marks(model), **footer, **marked}
    return payload(list(made.shown[shown]), people, compare=True, model=question.model, draft=False, **facts)


def pair_names(question: Question, shown: str = "") -> tuple[str, str]:
    """What the person before and the one after are called; of a scan which of the two is real."""
    if not question.scan:
        return "Before", "What if"
    return ("Your scan, real" if shown == WITH_DETAIL else "Your scan redrawn, synthetic"), "What if, synthetic"


def says_of(schema: AttributeSchema, question: Question, rows: Sequence[Row]) -> list[str]:
    """What is set, for each of the ``rows`` with its own values: ``: BMI 22 kg/m²``; nothing where nothing is set."""
    names = [name for name, _ in question.change]
    found = []
    for row in rows:
        cells = {cell["name"]: cell for cell in person_rows(schema, row, {})}
        told = [f"{cells[name]['label']} {cells[name]['value']} {cells[name]['unit']}".strip() for name in names]
        found.append(f": {', '.join(told)}" if told else "")
    return found


def reasons(model: Model, question: Question, made: Made) -> dict[str, str]:
    """Why each column of the what-if is what it is, by name."""
    given = {column: value for column, value in question.before if column not in question.loose}
    return {row["name"]: _why(question, row, made) for row in person_rows(model.schema, made.rows[1], given)}


def _why(question: Question, row: Mapping[str, Any], made: Made) -> str:
    """Why a column is what it is in the what-if: it was set, was held, is computed, or follows what was set."""
    if row["name"] in dict(question.change):
        return "set"
    if row["origin"] == "derived":
        return "computed"
    if question.edit:
        return "held" if row["name"] in made.fact else "follows"
    return "held" if row["origin"] == "given" or row["name"] in question.held else "follows"


def scan_scene(model: Model, scan: Scan) -> bytes:
    """What the viewer shows of an uploaded scan: the scan, and in place of a table what the model reads off it."""
    rows = []
    for column in (part for part in model.schema.columns if part.name not in OPT_IN and scan.columns):
        found = scan.columns[column.name]
        value, read = likeliest(column, found)
        shown = level(column.name, value) if isinstance(column, Category) else f"{value:g}"
        units = "" if isinstance(column, Category) else unit(column.unit)
        about = f"{column.description}: {read}"
        row = {"name": column.name, "label": label(column.name), "value": shown, "unit": units, "origin": "read"}
        rows.append(row | {"percentile": None, "description": about, "range": read})
    told = "on the model's grid, as read" if rows else "on the model's grid"
    person = {"title": "Your scan, real", "subtitle": told, "file": "scan", "rows": rows}
    person["says"] = "Your scan, real"
    marked = overlaid(model, [scan.mask])
    note = "Read off the scan by the model, with the range it thinks possible. Not a measurement, not for diagnosis."
    facts = {"note": note, "footer": NOT_SYNTHETIC, "pictures": False, **marks(model), **marked}
    return payload([scan.volume], [person], model=model.checkpoint.config.name, draft=False, **facts)
