"""What the Consistency page can be asked: an attribute and its range, a sex, how many persons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from engine.vocabulary.schema import AttributeSchema, Number
from pages.components.consistency.work import Plan
from pages.components.parts.attribute_controls import range_control
from pages.components.parts.choice import one_of
from pages.components.state.address import seen_range, tidy
from pages.components.state.person_table import label, level

if TYPE_CHECKING:
    from engine.inference.generate import Model
    from engine.measure.reference import CohortBand
    from engine.measure.relation import Relation

#: attributes that can be asked for, where the model and the real cohort have them
ASKED = ("age", "bmi")
MOST, EITHER = 60, "either"
QUESTIONS = {"asked": "Asked, measured", "pair": "Any two"}
QUESTION = (
    "What was asked for against what is measured; or any two columns or measures of persons of whom nothing is asked, "
    "so that they are spread as the model spreads them."
)
COUNTS = {
    "consistency.n": ("Persons", 1, MOST, "Each is drawn anew."),
    "consistency.steps": ("Steps", 1, 64, "More are slower and finer."),
    "consistency.seed": ("Seed", 0, 2**31 - 1, "Person i has the seed plus i."),
}
DEFAULTS = {"consistency.n": 16, "consistency.steps": 8, "consistency.seed": 0}


def plan_controls(name: str, model: Model, cohort: CohortBand) -> tuple[Plan, int]:
    """Draw the controls; the persons they ask for, and how many."""
    _remember()
    measured = cohort.lines.get("all", {})
    names = [c.name for c in model.schema.columns if c.name in measured and c.name in ASKED]
    chosen = None
    low = 0.0
    high = 0.0
    if one_of("Compare", list(QUESTIONS), "consistency.question", format_func=QUESTIONS.get, help=QUESTION) == "asked":
        if not names:
            st.error("This model has no column that the real cohort was measured against: age or BMI is needed.")
            st.stop()
        chosen = one_of("Ask for", names, "consistency.attribute", format_func=label)
        column = model.schema[chosen]
        assert isinstance(column, Number)
        low, high = _span(column, next(iter(measured[chosen].values())))
    sex = _sex(model.schema, cohort)
    n, steps, seed = (
        int(place.number_input(title, least, most, key=key, help=text))
        for place, (key, (title, least, most, text)) in zip(st.columns(3), COUNTS.items(), strict=True)
    )
    plan = Plan(model=name, digest=model.digest, attribute=chosen, low=low, high=high, sex=sex, steps=steps, seed=seed)
    return plan, n


def _remember() -> None:
    """Keep what the controls say: Streamlit forgets a control that a page, or another choice, does not show."""
    state = st.session_state
    kept = state.setdefault("kept consistency", dict(DEFAULTS))
    kept.update({str(key): state[key] for key in state if str(key).startswith("consistency.")})
    for key, value in kept.items():
        state.setdefault(key, value)


def _span(column: Number, real: Relation) -> tuple[float, float]:
    """A range of the attribute; at first the one in which the middle 95 % of the real cohort lies."""
    low, high = seen_range(column)
    start = (float(round(max(low, real.low))), float(round(min(high, real.high))))
    key, text = f"consistency.{column.name}", "Persons are asked for evenly over this range."
    chosen = range_control(column, f"{label(column.name)} from, to", key, start, [*st.columns(2), st.container()], text)
    first, last = (float(tidy(column, value) or 0) for value in chosen)
    return first, last


def _sex(schema: AttributeSchema, cohort: CohortBand) -> str | None:
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
