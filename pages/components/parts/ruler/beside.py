"""What was read off the scans of the people shown, beside what was drawn in their tables: for a page to print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pages.components.parts.ruler.measured import readings_kept, rows
from pages.components.parts.ruler.reader import ruler_for
from pages.components.state.generation import Drawn

if TYPE_CHECKING:
    from engine.inference.generate import Model


def read_beside(model: Model, drawn: Drawn) -> list[dict[str, str]]:
    """For each of the people the readings of their table's columns, by name, ``4.5 ± 0.9 %``; nothing of what was not measured."""
    ruler, _ = ruler_for(model)
    if ruler is None:
        return [{} for _ in drawn.people]
    found = []
    for person, reading in zip(drawn.people, readings_kept(ruler, drawn), strict=True):
        told = rows(ruler, model.schema, person.attributes, reading.values) if reading else []
        seen = [row for row in told if row["sampled"] and row["value"]]
        found.append({row["name"]: " ".join(filter(None, (row["value"], row["error"], row["unit"]))) for row in seen})
    return found
