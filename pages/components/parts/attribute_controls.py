"""A control for every column: fixed by the reader, or free for the model to sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.vocabulary.schema import AttributeSchema, Category, Cell, Number
from pages.components.state.address import COUNTS, Request, seen_range, tidy, whole
from pages.components.state.person_table import capital, label, level, sentence, unit

FREE = "free"
#: columns shown at once; the others wait under a heading
FIRST = ("age", "sex", "bmi", "lv_ef")
#: with more options than this a list replaces the buttons
MOST_BUTTONS = 4


COUNT_TEXTS = {
    "seed": ("Seed", "The same seed makes the same person."),
    "n": ("Persons", "Person i is drawn from the seed plus i."),
    "steps": ("Steps", "Sampling steps: more are slower and finer."),
}


def restore_controls(request: Request, schema: AttributeSchema) -> None:
    """Set every control to what ``request`` says; call before the controls are drawn."""
    given = dict(request.given)
    st.session_state.update({name: getattr(request, name) for name in COUNTS})
    for column in schema.columns:
        value = given.get(column.name)
        if isinstance(column, Category):
            st.session_state[f"{column.name}.level"] = FREE if value is None else value
            continue
        low, high = seen_range(column)
        middle = column.knots[len(column.knots) // 2] if column.knots else (low + high) / 2
        st.session_state[f"{column.name}.fixed"] = value is not None
        start = min(high, max(low, float(middle if value is None else value)))  # pyright: ignore[reportArgumentType]
        st.session_state[f"{column.name}.value"] = round(start) if whole(column) else round(start, 1)


def attribute_controls(schema: AttributeSchema) -> tuple[tuple[str, Cell], ...]:
    """Draw the controls; the given columns in the schema's order."""
    first = [column for name in FIRST for column in schema.columns if column.name == name]
    rest = [column for column in schema.columns if column not in first]
    cells = {column.name: _control(column) for column in first}
    if rest:
        with st.expander("More attributes" if first else "Attributes", expanded=not first):
            cells |= {column.name: _control(column) for column in rest}
    return tuple((c.name, cells[c.name]) for c in schema.columns if cells[c.name] is not None)


def _control(column: Number | Category) -> Cell:
    return _levels(column) if isinstance(column, Category) else _slider(column)


def _levels(column: Category) -> Cell:
    options, key = (FREE, *column.levels), f"{column.name}.level"
    help_text = f"{sentence(column.description)} Free: the model samples it, and the scan to go with it."

    def name(option: str) -> str:
        return capital(level(column.name, option))

    if len(options) > MOST_BUTTONS:
        chosen = st.selectbox(label(column.name), options, key=key, format_func=name, help=help_text)
    else:
        chosen = st.segmented_control(
            label(column.name), options, key=key, format_func=name, help=help_text, width="stretch"
        )
    return None if chosen in (None, FREE) else chosen


def _slider(column: Number) -> Cell:
    low, high = seen_range(column)
    units = unit(column.unit)
    fixed = st.toggle(
        f"{label(column.name)}, {units}" if units else label(column.name),
        key=f"{column.name}.fixed",
        help=f"{sentence(column.description)} Trained on {low:g} to {high:g} {units}. "
        "Off: free, the model samples it, and the scan to go with it.",
    )
    value = number_control(column, f"{label(column.name)} value", f"{column.name}.value", disabled=not fixed)
    return value if fixed else None


def number_control(column: Number, title: str, key: str, disabled: bool = False) -> Cell:
    """A value of the column within its seen range; ``st.session_state[key]`` holds it, the box follows it. What is typed outside of
    the range becomes its nearest end, and that is said."""
    low, high = seen_range(column)
    state, typed, by_ones = st.session_state, f"{key}.typed", whole(column)
    kind = int if by_ones else float

    def take() -> None:
        wanted = state[typed]
        state[key] = kind(min(high, max(low, wanted)))
        state[f"{key}.outside"] = (state[key], wanted)

    left, right = st.columns([5, 3], vertical_alignment="center")
    how = {"step": 1 if by_ones else 0.1, "format": "%d" if by_ones else "%.1f", "disabled": disabled}
    value = left.slider(title, kind(low), kind(high), key=key, label_visibility="collapsed", **how)
    state[typed] = kind(value)
    right.number_input(f"{title}, typed", key=typed, on_change=take, label_visibility="collapsed", **how)
    end, wanted = state.get(f"{key}.outside", (value, value))
    if end != value:
        del state[f"{key}.outside"]
    elif wanted != value:
        st.caption(
            f":orange[{wanted:g} lies outside what this model was trained on: {low:g} to {high:g} {unit(column.unit)}.]"
        )
    return tidy(column, value)


def range_control(
    column: Number, title: str, key: str, start: tuple[float, float], places: Sequence[DeltaGenerator], text: str
) -> tuple[float, float]:
    """Two ends within the column's seen range, by a slider and by a box each; ``places`` are those of the boxes, and of the slider with
    what is said below it. ``st.session_state[key]`` holds the ends, the boxes follow it. What is typed outside of the range
    becomes its nearest end, what is typed beyond the other end is refused, and both are said."""
    low, high = seen_range(column)
    state = st.session_state
    step = 1.0 if whole(column) else 0.1
    shown = "%.0f" if whole(column) else "%.1f"
    wish: Any = state.get(key, start)
    state[key] = tuple(min(high, max(low, float(value))) for value in wish)  # another model, another range

    def take(end: int) -> None:
        wanted = float(state[f"{key}.{end}"])
        ends = list(state[key])
        ends[end] = min(high, max(low, wanted))
        beyond = ends[0] > ends[1]
        if not beyond:
            state[key] = tuple(ends)
        problem = ""
        if beyond:
            where = f"above the upper end, {ends[1]:g}" if end == 0 else f"below the lower end, {ends[0]:g}"
            problem = f"{wanted:g} is {where}: set that first."
        elif ends[end] != wanted:
            span = f"{low:g} to {high:g} {unit(column.unit)}".rstrip()
            problem = f"{wanted:g} lies outside what this model was trained on: {span}."
        state[f"{key}.refused"] = (state[key], problem)

    *boxes, below = places
    chosen: Any = below.slider(  # a pair, since its state is one
        title, low, high, step=step, format=shown, key=key, help=text, label_visibility="collapsed"
    )
    for end, (place, name) in enumerate(zip(boxes, ("From", "To"), strict=True)):
        state[f"{key}.{end}"] = float(chosen[end])
        place.number_input(
            f"{name}, {unit(column.unit)}".removesuffix(", "), key=f"{key}.{end}", on_change=take, args=(end,), step=step,
            format=shown, help=text if end == 0 else None,
        )  # fmt: skip
    ends, problem = state.get(f"{key}.refused", (chosen, ""))
    if ends != chosen:
        del state[f"{key}.refused"]
    elif problem:
        below.caption(f":orange[{problem}]")
    return float(chosen[0]), float(chosen[1])
