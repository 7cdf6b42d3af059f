"""What the Consistency page can be asked: an attribute and its range, a sex, how many persons."""

from __future__ import annotations

from typing import Any

import streamlit as st

from engine.attributes import AttributeSchema, Number
from pages.components.address import seen_range, tidy, whole
from pages.components.consistency_run import Plan
from pages.components.person_table import label, level, unit

#: attributes that can be asked for, where the model and the real cohort have them
ASKED = ("age", "bmi")
MOST, EITHER = 60, "either"


def plan_controls(name: str, model: Any, cohort: Any) -> tuple[Plan, int]:
    """Draw the controls; the persons they ask for, and how many."""
    measured = cohort.lines.get("all", {})
    names = [c.name for c in model.schema.columns if c.name in measured and c.name in ASKED]
    if not names:
        st.error("This model has no column that the real cohort was measured against: age or BMI is needed.")
        st.stop()
    chosen = one_of("Ask for", names, "consistency.attribute", format_func=label)
    low, high = _span(model.schema[chosen], next(iter(measured[chosen].values())))
    sex = _sex(model.schema, cohort)
    places = st.columns(3)
    n = places[0].number_input("Persons", 2, MOST, 16, key="consistency.n", help="Each is drawn anew.")
    steps = places[1].number_input("Steps", 1, 64, 8, key="consistency.steps", help="More are slower and finer.")
    seed = places[2].number_input("Seed", 0, 2**31 - 1, 0, key="consistency.seed", help="Person i has the seed plus i.")
    plan = Plan(
        model=name, digest=model.digest, attribute=chosen, low=low, high=high, sex=sex, steps=int(steps), seed=int(seed)
    )
    return plan, int(n)


def one_of(title: str, options: list[str], key: str, **settings: Any) -> str:
    """Buttons of which one is always pressed."""
    st.session_state.setdefault(key, options[0])
    if st.session_state[key] not in options:
        st.session_state[key] = options[0]
    chosen = st.segmented_control(title, options, key=key, required=True, width="stretch", **settings)
    return str(chosen or options[0])


def _span(column: Number, real: Any) -> tuple[float, float]:
    """A range of the attribute; at first the one in which the middle 95 % of the real cohort lies."""
    low, high = seen_range(column)
    start = (float(round(max(low, real.low))), float(round(min(high, real.high))))
    units = unit(column.unit)
    chosen = st.slider(
        f"{label(column.name)} from, to ({units})" if units else f"{label(column.name)} from, to",
        float(low),
        float(high),
        start,
        step=1.0 if whole(column) else 0.5,
        format="%g",
        key=f"consistency.{column.name}",
        help="Persons are asked for evenly over this range.",
    )
    first, last = (float(tidy(column, value) or 0) for value in chosen)
    return first, last


def _sex(schema: AttributeSchema, cohort: Any) -> str | None:
    levels = [s for s in ("F", "M") if "sex" in schema.names and s in cohort.lines]
    if not levels:
        return None
    chosen = one_of(
        "Sex",
        [EITHER, *levels],
        "consistency.sex",
        format_func=lambda s: level("sex", s).capitalize(),
        help="Either: the model samples it, and the grey band is that of all real persons.",
    )
    return None if chosen == EITHER else chosen
