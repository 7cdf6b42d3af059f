"""Which model answers, and the device it runs on."""

from __future__ import annotations

import atexit
import gc
import hashlib
import importlib
from html import escape
from typing import Any

import streamlit as st

from engine.vocabulary.schema import AttributeSchema, Number
from pages.components.parts.frame import refuse, trained_on, training_data
from pages.components.parts.person_table import label
from pages.components.state.address import seen_range

#: keys of a model card that its short form shows
FACTS = {"what_it_is": "What it is", "what_it_is_not": "What it is not", "licence": "Licence"}


def engine_module() -> Any:
    """The engine, imported under a spinner: the first import of its networks takes seconds."""
    with st.spinner("Starting the engine"):
        return importlib.import_module("engine")


def checkpoint_names() -> list[str]:
    return list(engine_module().checkpoints(scans=True))


def load_model(name: str) -> Any:
    """One copy of a model for all sessions; a checkpoint that was replaced is read again."""
    find = importlib.import_module("engine.checkpoints.checkpoint").find
    return _load(name, hashlib.sha256((find(name) / "config.json").read_bytes()).hexdigest())


@st.cache_resource(max_entries=3, show_spinner="Loading the model")
def _load(name: str, config_digest: str) -> Any:
    del config_digest  # it holds the hash of the weights; here it is only part of the cache's key
    model = engine_module().load(name, device="auto")
    # Streamlit collects garbage after every run of a page: without the hundred thousands of objects of the libraries it
    # takes 5 ms instead of 220, which is what a draft on a moved slider would wait
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # or nanobind complains of leaks at the end
    return model


def model_picker() -> tuple[str, Any]:
    """Name and model chosen in the control or in the address; without one the page ends here with a sentence."""
    names = checkpoint_names()
    if not names:
        refuse("There is no model here yet. Train one, or put a checkpoint folder under `checkpoints/`.")
    asked = st.query_params.get("model")
    state = st.session_state
    if asked in names and state.get("model asked") != asked:
        state["model asked"] = state["model"] = asked
    elif "model" not in state and state.get("model last") in names:
        state["model"] = state["model last"]
    name = state["model last"] = st.selectbox(
        "Model", names, key="model", help="A checkpoint: its weights, its columns and its card."
    )
    try:
        model = load_model(name)
    except ValueError as error:
        refuse(str(error))
    st.caption(f"Runs on {device_name(model.device)} · weights {model.digest}")
    trained_on(model.card)
    return name, model


def device_name(device: str) -> str:
    """The device in words."""
    kind = str(device).split(":")[0]
    return {"cpu": "the processor", "cuda": "the graphics card"}.get(kind, str(device))


def model_card(name: str, model: Any) -> None:
    """The few facts a reader needs, and the whole card on demand."""
    card = model.card
    facts = {title: str(card[key]) for key, title in FACTS.items() if key in card}
    facts |= {"Cohort": training_data(card), "Columns": columns_in_words(model.schema)}
    facts |= {"Grid": card["size"]["grid"]} if "grid" in card.get("size", {}) else {}
    facts["Weights"] = model.digest
    items = "".join(f"<dt>{escape(title)}</dt><dd>{escape(text)}</dd>" for title, text in facts.items())
    st.subheader(card.get("title", name), anchor=False)
    st.html(f'<dl class="facts"><dt>Name</dt><dd>{escape(name)}</dd>{items}</dl>')
    with st.expander("Model card"):
        st.markdown(model.card_markdown)


def columns_in_words(schema: AttributeSchema) -> str:
    """``Age 20 to 86 years, Sex, ... and Weight, computed``."""
    words = []
    for column in schema.columns:
        extent = ""
        if isinstance(column, Number):
            low, high = seen_range(column)
            extent = f" {low:g} to {high:g} {column.unit}"
        words.append(label(column.name) + extent)
    return ", ".join([*words, *(f"{label(d.name)} (computed)" for d in schema.derived)])
