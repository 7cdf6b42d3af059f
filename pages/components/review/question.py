"""What a reader sets before a rating: who they are, what is rated, where real scans come from, or a saved session."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages.components.parts.facts import refused
from pages.components.review.session import FEWEST, MOST, NAME, Plan, RatingError, Session, Source
from pages.components.review.work import StorePersons, begin, fresh_possible, model_of, open_store

if TYPE_CHECKING:
    from engine.inference.generate import Model

SOURCES: dict[Source, str] = {
    "fresh": "In-silico persons, made now",
    "store": "A cohort on this computer",
    "none": "None: plausibility only",
}
NO_REAL = (
    "With a head model and no cohort at hand there is nothing real to show: you rate how plausible synthetic scans are, "
    "and are not asked which are real."
)
ONLY = "You rate how plausible synthetic scans are, and are not asked which are real."
SEED = "Who is shown, and in which order. For two reviewers to be compared, give both the same."
PATH = (
    "The folder of a store as the ingest made it, on the model's grid and defaced. Its test persons are shown here, on "
    "this page only; neither they nor the path get into any file."
)


def set_up(name: str, model: Model) -> None:
    """The controls of a new rating; begins it when the button is pressed."""
    kept = st.session_state.setdefault("rating.kept", {"name": "", "scans": 20, "seed": secrets.randbelow(10_000)})
    with st.container(border=True):
        st.markdown("**New rating**")
        first, second, third = st.columns([2, 2, 1], gap="large")
        kept["name"] = first.text_input("Your name or a code", kept["name"], max_chars=NAME, key="rating.name")
        kept["scans"] = second.slider("Scans", FEWEST, MOST, kept["scans"], 2, key="rating.scans")
        kept["seed"] = third.number_input("Seed", 0, 2**31 - 1, kept["seed"], key="rating.seed", help=SEED)
        source = _source(kept, model)
        if not st.button(
            f"Begin with {kept['scans']} scans", "rating.begin", type="primary", icon=":material/play_circle:"
        ):
            return
    try:
        persons = open_store(kept["path"], model) if source == "store" else None
        plan = Plan(
            model=name,
            digest=model.digest,
            seed=int(kept["seed"]),
            scans=int(kept["scans"]),
            steps=model.steps,
            source=source,
            store=persons.digest if persons else "",
            pool=len(persons.indices) if persons else 0,
        )
        begin(Session.begun(plan, kept["name"]), persons)
    except RatingError as error:
        st.error(refused(error))
        return
    st.rerun()


def _source(kept: dict[str, Any], model: Model) -> Source:
    """Where real scans come from, of what there is for this model."""
    sources: list[Source] = [key for key in SOURCES if key != "fresh" or fresh_possible(model)]
    usual = sources[0] if "fresh" in sources else sources[-1]
    chosen: Source = kept["source"] if kept.get("source") in sources else usual
    source: Source = st.radio(
        "Real scans, half of all",
        sources,
        sources.index(chosen),
        format_func=SOURCES.__getitem__,
        key="rating.source",
        horizontal=True,
    )
    kept["source"] = source
    if source == "store":
        kept["path"] = st.text_input("Folder of the cohort", kept.get("path", ""), key="rating.path", help=PATH)
    elif source == "none":
        st.caption(NO_REAL if len(sources) == 2 else ONLY)
    return source


def resume() -> None:
    """Go on with a session file, in the middle or at its end."""
    with st.container(border=True, height="stretch"):
        st.markdown("**Go on with a saved rating**")
        file = st.file_uploader(
            "Session file", "json", key="rating.file", max_upload_size=1, label_visibility="collapsed"
        )
        if file is None:
            return
        try:
            session = Session.from_json(file.getvalue())
            plan = session.plan
            st.caption(f"{session.reviewer}: {session.done} of {plan.scans} scans of {plan.model}, seed {plan.seed}")
            folder = ""
            if plan.source == "store" and not session.finished:
                folder = st.text_input("Folder of the cohort", key="rating.folder", help=PATH)
            if not st.button("Go on", icon=":material/play_circle:"):
                return
            persons = None if session.finished else _again(session, folder)
        except RatingError as error:
            st.error(refused(error))
            return
        begin(session, persons)
        st.rerun()


def _again(session: Session, folder: str) -> StorePersons | None:
    """The store's persons of a session, after a look at whether its model and its store are those it was begun with."""
    plan = session.plan
    model = model_of(plan)
    if plan.source == "fresh" and not fresh_possible(model):
        raise RatingError(f"{plan.model} draws no in-silico torsos, but the session's plan says so: begin another one")
    if plan.source != "store":
        return None
    persons = open_store(folder, model)
    if persons.digest != plan.store:
        raise RatingError("this is another cohort than the one the rating was begun with: name that one")
    return persons
