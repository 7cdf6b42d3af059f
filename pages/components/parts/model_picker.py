"""Which model answers."""

from __future__ import annotations

import atexit
import gc
import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from engine.evaluation.report.words import described
from engine.vocabulary.refusal import Refusal
from engine.vocabulary.schema import AttributeSchema, Number
from pages.components.parts.facts import facts_list, refused
from pages.components.parts.frame import refuse, trained_on, training_data
from pages.components.state.address import seen_range
from pages.components.state.person_table import capital, label

if TYPE_CHECKING:
    from engine.inference.generate import Model

WEIGHTS = (
    "The hash of this model: weights and settings together. It stands on every page and in every file, so that a person can be "
    "drawn again exactly."
)
#: parts of a card whose lines are figures
FIGURES = ("evaluation", "privacy audit")
#: keys of a model card that its short form shows
FACTS = {"what_it_is": "What it is", "what_it_is_not": "What it is not", "licence": "Licence"}


def checkpoint_names(*, scans: bool = True) -> list[str]:
    """The models at hand, in alphabetical order; with ``scans`` but for those of tables alone."""
    with st.spinner("Starting the engine"):  # the first import of its networks takes seconds
        from engine.checkpoints.files import checkpoints

    return checkpoints(scans=scans)


def load_model(name: str) -> Model:
    """One copy of a model for all sessions; a checkpoint that was replaced is read again."""
    from engine.checkpoints.files import find

    return _load(name, hashlib.sha256((find(name) / "config.json").read_bytes()).hexdigest())


@st.cache_resource(max_entries=3, show_spinner="Loading the model")
def _load(name: str, config_digest: str) -> Model:
    del config_digest  # it holds the hash of the weights; here it is only part of the cache's key
    with st.spinner("Starting the engine"):
        from engine.inference.generate import load

    model = load(name, device="auto")
    # Streamlit collects garbage after every run of a page: without the hundred thousands of objects of the libraries it
    # takes 5 ms instead of 220, which is what a draft on a moved slider would wait
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # or nanobind complains of leaks at the end
    return model


def model_picker() -> tuple[str, Model]:
    """Name and model chosen in the control or in the address; without one the page ends here with a sentence."""
    names = checkpoint_names()
    if not names:
        refuse("There is no model here yet. Train one, or put a checkpoint folder under `checkpoints/`.")
    name = chosen_model(names)
    try:
        model = load_model(name)
    except Refusal as error:
        refuse(refused(error))
    st.caption(f"Weights {model.digest}", help=WEIGHTS)
    trained_on(model.card)
    return name, model


def chosen_model(names: Sequence[str]) -> str:
    """One of the models ``names``: the one in the address, or else the one chosen last on whatever page. It joins the address where
    nothing else stands there, so that it is the same after a reload."""
    state = st.session_state
    name = state.get("model last")
    asked = st.query_params.get("model")
    # a page writes the model that it showed into its address: that asks for nothing, and another may be chosen since
    own = asks_for_nothing(st.query_params.to_dict())
    if asked in names and state.get("model asked") != asked:
        state["model asked"] = asked
        name = name if own and name in names else asked
    if name is None or name not in names:
        name = names[0]
    state["model"] = state["model last"] = name  # other pages have a control of their own
    st.selectbox(
        "Model", names, key="model", on_change=_choose, help="A checkpoint: its weights, its columns and its card."
    )
    # an unknown one is left for the page to refuse
    if not {*st.query_params} - {"model"} and asked != name and (asked is None or asked in names):
        st.query_params["model"] = name
        state.setdefault("models written", set()).add(name)
    return name


def _choose() -> None:
    st.session_state["model last"] = st.session_state["model"]
    # what the address says was shown until now, and no wish
    st.session_state["model asked"] = st.query_params.get("model")


def asks_for_nothing(address: Mapping[str, str]) -> bool:
    """Is an address bare, or does it hold no more than the model that a page wrote into it?"""
    return not address or (set(address) == {"model"} and address["model"] in st.session_state.get("models written", ()))


def model_card(name: str, model: Model) -> None:
    """The few facts a reader needs, and the whole card on demand."""
    card = model.card
    facts = {title: capital(str(card[key])) for key, title in FACTS.items() if key in card}
    facts |= {"Cohort": training_data(card), "Columns": columns_in_words(model.schema)}
    facts |= {"Grid": card["size"]["grid"]} if "grid" in card.get("size", {}) else {}
    facts["Weights"] = model.digest
    st.subheader(card.get("title", name), anchor=False)
    facts_list({"Name": name, **facts})
    with st.expander("Model card"):
        st.markdown(card_in_words(card, model.card_markdown))


def card_in_words(card: Mapping[str, Any], markdown: str) -> str:
    """A card's text with its figures called as Model review calls them."""
    figures = [card[part] for part in FIGURES if isinstance(card.get(part), Mapping)]
    for name, text in (line for part in figures for line in part.items()):
        recorded = f"* {str(name).replace('_', ' ')}: {text}"
        markdown = markdown.replace(recorded, f"* {described(str(name)).title}: {text}")
    return markdown


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
