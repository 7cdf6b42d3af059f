"""One attribute swept, or two over a grid: which what-ifs that takes, and how they are shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import streamlit as st

from engine.vocabulary.schema import AttributeSchema, Cell, Number
from pages.components.parts.person_table import label, unit
from pages.components.state.address import seen_range, tidy
from pages.components.whatif.answer import Answer, Question
from pages.components.whatif.figures import grid_figure, sweep_figure

#: values of a sweep, least, at first and most; and along each side of a grid
SWEEP, GRID = (3, 5, 11), 3
#: how far into the seen range the ends of a grid lie
ENDS = (0.1, 0.9)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The ``questions`` of a sweep of one column, or of a grid of two (across and down, row by row); ``base`` is the what-if
    they start from."""

    base: Question
    columns: tuple[str, ...]
    questions: tuple[Question, ...]

    def values(self, k: int) -> list[float]:
        """What column ``k`` is set to in each of the questions."""
        return [float(str(dict(question.change)[self.columns[k]])) for question in self.questions]


def _with(question: Question, cells: Mapping[str, Cell]) -> Question:
    """The question with these columns set too, which are then neither held nor loose."""
    change = {**dict(question.change), **cells}
    held, loose = (tuple(n for n in names if n not in cells) for names in (question.held, question.loose))
    return replace(question, change=tuple(sorted(change.items())), held=held, loose=loose)


def sweep_controls(schema: AttributeSchema, question: Question) -> Plan | None:
    """Which attribute, between which ends, in how many steps; the what-ifs when the button was pressed."""
    numbers = [column for column in schema.columns if isinstance(column, Number)]
    left, middle, right, button = st.columns([2, 4, 1.4, 1.6], vertical_alignment="bottom")
    st.session_state.setdefault("whatif.sweep.column", _first(numbers, "age"))
    name = left.selectbox("Attribute", [c.name for c in numbers], key="whatif.sweep.column", format_func=label)
    column = next(c for c in numbers if c.name == name)
    low, high = seen_range(column)
    key = f"whatif.sweep.{name}.ends"
    ends = st.session_state.get(key, (low, high))
    st.session_state[key] = tuple(min(high, max(low, float(end))) for end in ends)
    chosen: Any = middle.slider(  # a pair, since its state is one
        f"From, to ({unit(column.unit)})", low, high, step=0.5, format="%g", key=key
    )
    start, stop = chosen
    st.session_state.setdefault("whatif.sweep.n", SWEEP[1])
    n = right.number_input("Values", SWEEP[0], SWEEP[2], key="whatif.sweep.n")
    if not button.button("Sweep", width="stretch", icon=":material/play_arrow:", disabled=start == stop):
        return None
    values = dict.fromkeys(tidy(column, value) for value in np.linspace(start, stop, int(n)).tolist())
    return Plan(base=question, columns=(name,), questions=tuple(_with(question, {name: value}) for value in values))


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
    down = right.selectbox("Down", others, key="whatif.grid.down", format_func=label)
    if not button.button(f"Draw {GRID} x {GRID}", width="stretch", icon=":material/grid_on:"):
        return None
    one, other = (next(c for c in numbers if c.name == name) for name in (across, down))
    questions = [_with(question, {across: x, down: y}) for y in _grid_values(other) for x in _grid_values(one)]
    return Plan(base=question, columns=(across, down), questions=tuple(questions))


def _grid_values(column: Number) -> list[Cell]:
    low, high = seen_range(column)
    return [tidy(column, low + share * (high - low)) for share in np.linspace(*ENDS, GRID)]


def _first(numbers: list[Number], wish: str) -> str:
    names = [column.name for column in numbers]
    return wish if wish in names else names[0]


def show_sweep(
    schema: AttributeSchema, plan: Plan, answers: Mapping[Question, Answer], titles: Mapping[str, str]
) -> None:
    """The animation of what is drawn so far, with the measure that the reader chooses; ``titles`` are of the measures."""
    found = [(value, answers[one]) for value, one in zip(plan.values(0), plan.questions, strict=True) if one in answers]
    if not found:
        return
    measures = [name for name in titles if math.isfinite(found[0][1].read.get(name, math.nan))]
    measure = _measure_chosen(measures, titles) if measures else ""
    column: Any = schema[plan.columns[0]]
    figure = sweep_figure(
        [value for value, _ in found],
        [one.slices.planes for _, one in found],
        [one.read.get(measure, math.nan) for _, one in found],
        (label(column.name), titles[measure] if measure else "nothing is measured"),
        unit(column.unit),
    )
    st.plotly_chart(figure, key="whatif sweep plot", config={"displaylogo": False})
    st.caption(f"{len(found)} of {len(plan.questions)} values drawn. The patient's right is on the left.")


def _measure_chosen(measures: list[str], titles: Mapping[str, str]) -> str:
    key = "whatif.sweep.measure"
    if st.session_state.get(key) not in measures:
        st.session_state[key] = measures[0]
    return str(
        st.segmented_control(
            "Measured", measures, key=key, required=True, format_func=lambda one: titles[one].partition(",")[0]
        )
    )


def show_grid(schema: AttributeSchema, plan: Plan, answers: Mapping[Question, Answer]) -> None:
    """The small multiples of what is drawn so far."""
    found = [answers.get(question) for question in plan.questions]
    if not any(found):
        return
    across, down = (list(dict.fromkeys(plan.values(k))) for k in range(2))
    pictures = [one.slices.axial if one else None for one in found]
    rows = [pictures[k : k + len(across)] for k in range(0, len(pictures), len(across))]
    columns: list[Any] = [schema[name] for name in plan.columns]
    titles = [f"{label(column.name)}, {unit(column.unit)}" for column in columns]
    st.plotly_chart(
        grid_figure(rows, (titles[0], across), (titles[1], down)),
        key="whatif grid plot",
        config={"displaylogo": False},
    )
    drawn = sum(one is not None for one in found)
    st.caption(f"{drawn} of {len(found)} drawn: the same person, axial slices, the patient's right on the left.")
