"""What the page opens with: the what-if that a checkpoint brings, drawn beforehand and marked as such; nobody is drawn unasked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from engine.checkpoints.example import HELD, Example
from engine.vocabulary.schema import Number
from pages.components.parts.onward import follows_at_first
from pages.components.parts.ruler.numbers import greyed
from pages.components.parts.teaching.example import about, example_of, marked, pixels
from pages.components.state.address import seen_range, tidy
from pages.components.state.intervention import Cells, Question
from pages.components.state.person_table import label
from pages.components.whatif.tables import CHANGE, MEASURED, measure_table

if TYPE_CHECKING:
    from engine.inference.generate import Model
    from engine.measure.ruler import Ruler

DRAW = "Press Draw to have this pair in the viewer, or say on the left what is to be otherwise."
#: sampling steps at first of a synthetic person
STEPS = 8


def opening(name: str, model: Model) -> tuple[Question, Example | None]:
    """What is asked at first, and the example that answers it where the checkpoint brings one."""
    example = example_of(name, model.digest)
    if example is None or len(example.whatif) != 2 or not all(person.planes for person in example.whatif):
        return at_first(name, model), None
    one, other = example.whatif
    asked = Question(model=name, digest=model.digest, seed=one.seed, steps=example.steps)
    names = {column.name for column in model.schema.columns} - {example.attribute}
    before, change = ((example.attribute, person.row[example.attribute]) for person in (one, other))
    return replace(asked, before=(before,), change=(change,), held=tuple(sorted(names & set(HELD)))), example


def at_first(name: str, model: Model) -> Question:
    """Somebody young, of age or of the first number there is, and the same at the other end."""
    columns = [c for c in model.schema.columns if isinstance(c, Number)]
    chosen = next((c for c in columns if c.name == "age"), columns[0] if columns else None)
    cells: list[Cells] = [(), ()]
    if chosen:
        low, high = seen_range(chosen)
        cells = [((chosen.name, tidy(chosen, low + share * (high - low))),) for share in (0.15, 0.85)]
    apart = tuple(sorted(c.name for c in model.schema.columns if c is not chosen and not follows_at_first(c.name)))
    asked = Question(model=name, digest=model.digest, steps=STEPS, held=apart)
    return replace(asked, before=cells[0], change=cells[1])


def example_shown(name: str, model: Model, ruler: Ruler | None) -> bool:
    """Show the checkpoint's what-if: three slices of both, and what is measured in them. False where there is none."""
    _, example = opening(name, model)
    if example is None:
        return False
    if st.query_params.get("model") != name:
        st.query_params["model"] = name  # for a reload
    marked(example, DRAW)
    for place, title, person in zip(st.columns(2), ("Before", "What if"), example.whatif, strict=True):
        place.image(pixels(person.planes), width="stretch", alt=f"{title}: synthetic scan, {about(person)}")
        value = f"{label(example.attribute)} {person.row[example.attribute]:g}"
        place.caption(f"**{title}: {value}.** Synthetic, not for diagnosis: {about(person)}")
    _measured(example, ruler)
    return True


def _measured(example: Example, ruler: Ruler | None) -> None:
    """What the ruler read of both when they were drawn."""
    from engine.measure.clinical import changes

    readings = [person.values for person in example.whatif]
    if ruler is None or not all(set(ruler.measures) <= set(values) for values in readings):
        return
    asked = dict([(example.attribute, example.whatif[1].row[example.attribute])])
    table = measure_table(changes(ruler, readings), asked)
    if not table.empty:
        st.header("Measured on both scans", anchor=False)
        st.table(greyed(table, CHANGE))
        st.caption(MEASURED)
