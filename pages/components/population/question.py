"""Which cohort is asked for, where it comes from, and which of it is looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from engine.vocabulary.refusal import Refusal
from engine.vocabulary.schema import Category
from pages.components.parts.attribute_controls import attribute_controls, restore_controls
from pages.components.parts.choice import one_of
from pages.components.parts.facts import refused
from pages.components.parts.frame import refuse, trained_on
from pages.components.parts.model_picker import asks_for_nothing, checkpoint_names, load_model, model_picker
from pages.components.population.filters import Filters, narrowed, span
from pages.components.population.work import FEWEST, MOST, Cohort, draw, read_cohort, visit
from pages.components.state.address import COUNTS, Request
from pages.components.state.person_table import level, titled

if TYPE_CHECKING:
    from engine.inference.generate import Model

KINDS = ("Scans and tables", "Tables alone")
TITLES = {
    "n": ("Persons", FEWEST, MOST, "Drawn one after the other, while you look at those that are there."),
    "seed": ("Seed", *COUNTS["seed"][1:], "Person i is drawn from the seed plus i."),
    "steps": ("Steps", *COUNTS["steps"][1:], "Sampling steps: more are slower and finer."),
}


def cohort_model() -> tuple[str, Model]:
    """Name and model; those of tables alone stand apart, and only where there are any."""
    tables = sorted({*checkpoint_names(scans=False)} - {*checkpoint_names()})
    if not tables:
        return model_picker()
    asked = st.query_params.get("model")
    if asked and st.session_state.get("population.asked") != asked:
        st.session_state.update({"population.asked": asked, "population.kind": KINDS[asked in tables]})
        if asked in tables:
            st.session_state["population.table"] = asked
    if one_of("Drawn", list(KINDS), "population.kind", persist_state="session") == KINDS[0]:
        return model_picker()
    if st.session_state.get("population.table") not in tables:
        st.session_state["population.table"] = tables[0]
    hint = "Its persons have no scan."
    name = str(st.selectbox("Model", tables, key="population.table", persist_state="session", help=hint))
    try:
        model = load_model(name)
    except Refusal as error:
        refuse(refused(error))
    trained_on(model.card)
    return name, model


def arrive(name: str, model: Model) -> None:
    """Take over a new address (and draw whom it asks for), or another model; on the way back bring back what was asked."""
    here = visit()
    state = st.session_state
    address = st.query_params.to_dict()
    fresh = not asks_for_nothing(address) and here.address.changed()
    if not fresh and here.controls == model.digest and "population.n" in state:
        return

    known = here.shown(model)
    source = address if fresh or known is None else replace(known.request, model=name).to_query()
    request, problems = read_cohort(source, name, model)
    restore_controls(request, model.schema)
    for key in COUNTS:
        del state[key]  # those of the Explore page
        state[f"population.{key}"] = getattr(request, key)
    here.problems = problems if fresh else []
    here.controls = model.digest
    here.address.take()
    if fresh and "n" in address and not problems:
        draw(model, request)


def asked(name: str, model: Model) -> Request:
    """Draw the controls; the cohort they ask for."""
    given = attribute_controls(model.schema)
    places = st.columns(3)
    for place, (key, (title, low, high, text)) in zip(places, TITLES.items(), strict=True):
        place.number_input(title, low, high, key=f"population.{key}", help=text)
    counts = {key: int(st.session_state[f"population.{key}"]) for key in TITLES}
    return Request(model=name, given=given, **counts)


def filter_controls(cohort: Cohort) -> Filters:
    """A range or levels for every column that was not fixed; untouched ones keep everybody."""
    ranges = {}
    levels = {}
    given = dict(cohort.request.given)
    columns = [cohort.schema[name] for name in cohort.schema.names if name not in given]
    with st.expander("Filters", icon=":material/filter_alt:", key="population filters"):
        for k, column in enumerate(columns):
            if k % 3 == 0:
                places = st.columns(3, gap="large")
            key, title = f"population.filter.{cohort.digest}.{column.name}", titled(column)
            with places[k % 3]:
                if isinstance(column, Category):
                    chosen = st.pills(  # a list that opens would close whenever the page scrolls
                        title,
                        column.levels,
                        selection_mode="multi",
                        key=key,
                        persist_state="session",
                        format_func=lambda each, name=column.name: level(name, each),
                    )
                    levels |= {column.name: tuple(chosen)} if chosen else {}
                    continue
                low, high = span(cohort.schema, column)
                wide = high - low > 25
                chosen = st.slider(
                    title,
                    low,
                    high,
                    (low, high),
                    step=1.0 if wide else 0.1,
                    format="%.0f" if wide else "%.1f",
                    key=key,
                    persist_state="session",
                    help="At its ends it is open.",
                )
                if (kept := narrowed((low, high), chosen)) is not None:
                    ranges[column.name] = kept
    return Filters(ranges=ranges, levels=levels)
