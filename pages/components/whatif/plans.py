"""A sweep of one attribute, and a grid of two: what is asked for, starting from a what-if."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import streamlit as st

from engine.vocabulary.schema import AttributeSchema, Cell, Number
from pages.components.parts.attribute_controls import range_control
from pages.components.state.address import seen_range, tidy
from pages.components.state.intervention import Question
from pages.components.state.person_table import cells_in_words, label
from pages.components.whatif.visit import Plan, with_cells

#: values of a sweep, least, at first and most; and along each side of a grid
SWEEP, GRID = (3, 5, 11), 3
#: how far into the seen range the ends of a grid lie
ENDS = (0.1, 0.9)
#: the attribute that is swept, and whether somebody chose it
SWEPT, CHOSEN = "whatif.sweep.column", "whatif.sweep.chosen"


def sweep_controls(schema: AttributeSchema, question: Question) -> Plan | None:
    """Which attribute, between which ends, in how many steps; the what-ifs when the button was pressed."""
    numbers = [column for column in schema.columns if isinstance(column, Number)]
    left, *ends, right, button = st.columns([2.4, 1.4, 1.4, 1.4, 1.6], vertical_alignment="bottom")
    names = [column.name for column in numbers]
    if not st.session_state.get(CHOSEN) or st.session_state.get(SWEPT) not in names:
        # until one is chosen, it is what the what-if changes
        changed = [name for name, _ in question.change if name in names]
        st.session_state[SWEPT] = changed[0] if changed else _first(numbers, "age")
    name = left.selectbox("Attribute", names, key=SWEPT, format_func=label, on_change=_sweep_chosen)
    column = next(c for c in numbers if c.name == name)
    start, stop = range_control(
        column,
        f"{label(name)} from, to",
        f"whatif.sweep.{question.model}.{name}.ends",
        seen_range(column),
        [*ends, st.container()],
        "The ends of the sweep: type them here, or drag them below.",
    )
    st.session_state.setdefault("whatif.sweep.n", SWEEP[1])
    n = right.number_input("Values", SWEEP[0], SWEEP[2], key="whatif.sweep.n")
    also_set(schema, question, [name])
    if not button.button("Sweep", width="stretch", icon=":material/play_arrow:", disabled=start == stop):
        return None
    values = dict.fromkeys(tidy(column, value) for value in np.linspace(start, stop, int(n)).tolist())
    return Plan(
        base=question, columns=(name,), questions=tuple(with_cells(question, {name: value}) for value in values)
    )


def also_set(schema: AttributeSchema, question: Question, names: Collection[str]) -> None:
    """Say what every picture of a sweep or a grid of the columns ``names`` has given or set beside them."""
    change = {name: value for name, value in question.change if name not in names}
    given = {name: value for name, value in question.before if name not in [*names, *change] and not question.scan}
    parts = [("given", given), ("also set", change)]
    said = [f"{word}: {cells_in_words(schema, cells)}" for word, cells in parts if cells]
    if said:
        st.caption(f"In every picture, as on the left: {'; '.join(said)}.")


def _sweep_chosen() -> None:
    st.session_state[CHOSEN] = True


def grid_controls(schema: AttributeSchema, question: Question) -> Plan | None:
    """Which two attributes; the what-ifs, row by row, when the button was pressed."""
    numbers = [column for column in schema.columns if isinstance(column, Number)]
    if len(numbers) < 2:
        st.caption("A grid needs two columns that are numbers.")
        return None
    names = [column.name for column in numbers]
    left, right, button = st.columns([3, 3, 2], vertical_alignment="bottom")
    st.session_state.setdefault("whatif.grid.across", _first(numbers, "bmi"))
    across = left.selectbox("Across", names, key="whatif.grid.across", format_func=label)
    others = [name for name in names if name != across]
    if st.session_state.get("whatif.grid.down") not in others:
        st.session_state["whatif.grid.down"] = "age" if "age" in others else others[0]
    down = str(right.selectbox("Down", others, key="whatif.grid.down", format_func=label))
    also_set(schema, question, [across, down])
    if not button.button(f"Draw {GRID} x {GRID}", width="stretch", icon=":material/grid_on:"):
        return None
    one, other = (next(c for c in numbers if c.name == name) for name in (across, down))
    questions = [with_cells(question, {across: x, down: y}) for y in _grid_values(other) for x in _grid_values(one)]
    return Plan(base=question, columns=(across, down), questions=tuple(questions))


def _grid_values(column: Number) -> list[Cell]:
    low, high = seen_range(column)
    return [tidy(column, low + share * (high - low)) for share in np.linspace(*ENDS, GRID)]


def _first(numbers: list[Number], wish: str) -> str:
    names = [column.name for column in numbers]
    return wish if wish in names else names[0]
