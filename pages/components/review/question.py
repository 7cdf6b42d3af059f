"""What a reader sets before a rating: who they are, what is rated, where real scans come from, or a saved session."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages.components.parts.choice import button_or_why, one_of
from pages.components.parts.facts import refused
from pages.components.parts.teaching.example import about, example_of, marked, pixels
from pages.components.review.session import (
    FEWEST,
    MOST,
    NAME,
    ROUNDS,
    Plan,
    RatingError,
    Session,
    Source,
    scans_problem,
)
from pages.components.review.work import StorePersons, begin, fresh_possible, model_of, open_store

if TYPE_CHECKING:
    from engine.inference.generate import Model

SOURCES: dict[Source, str] = {
    "fresh": "In-silico persons, computed now",
    "store": "A cohort on this computer",
    "none": "None: plausibility only",
}
NO_REAL = (
    "**Only plausibility is asked.** For heads real scans come from a cohort of yours alone, and none is named: every scan is "
    "synthetic, and you are not asked which are real."
)
ONLY = "**Only plausibility is asked.** Every scan is synthetic, and you are not asked which are real."
OTHER = "Another number"
UNNAMED = "Give a name or a code first."
NO_FOLDER = "Name the folder of the cohort first."
LOOK = (
    "Such scans are rated, one at a time and in full. Look at folds and ventricles or organs, at sharp borders, at left against "
    "right; grades go from 1, impossible, to 5, convincing."
)
SEED = "Who is shown, and in which order. For two reviewers to be compared, give both the same."
PATH = (
    "The folder of a store as the ingest made it, on the model's grid and defaced. Its test persons are shown here, on "
    "this page only; neither they nor the path get into any file."
)


def set_up(name: str, model: Model) -> None:
    """The controls of a new rating; begins it when the button is pressed."""
    kept = st.session_state.setdefault(
        "rating.kept", {"name": "Reader", "round": str(ROUNDS[0]), "scans": 20, "seed": secrets.randbelow(10_000)}
    )
    with st.container(border=True):
        st.markdown("**New rating**")
        source = _source(kept, model)
        first, second, third = st.columns([2, 3, 1], gap="medium")
        who = first.text_input("Your name or a code", kept["name"], max_chars=NAME, key="rating.name")
        kept["name"] = (who or "").strip()
        with second:
            scans = _scans(kept, source)
        kept["seed"] = third.number_input("Seed", 0, 2**31 - 1, kept["seed"], key="rating.seed", help=SEED)
        why_not, persons = _why_not(kept, source, model, scans)
        icon, many = ":material/play_circle:", "1 scan" if scans == 1 else f"{scans} scans"
        begins = {"key": "rating.begin", "type": "primary", "icon": icon}
        if not button_or_why(f"Begin with {many}", why_not, **begins):
            return
    plan = _plan(name, model, int(kept["seed"]), scans, source, persons)
    begin(Session.begun(plan, kept["name"]), persons)
    st.rerun()


def opened(name: str, model: Model) -> None:
    """What is to be rated, by the example of the model."""
    example = example_of(name, model.digest)
    shown = [person for person in example.people if person.planes] if example else []
    if example is None or not shown:
        return
    with st.container(border=True):
        marked(example, LOOK)
        # row by row, so that on a phone, too, they stand in their order
        places = [place for _ in shown[::2] for place in st.columns(2)]
        for place, person in zip(places, shown, strict=False):
            place.image(pixels(person.planes), width="stretch", alt=f"Synthetic scan, {about(person)}")
            place.caption(f"Synthetic, not for diagnosis: {about(person)}")


def _scans(kept: dict[str, Any], source: Source) -> int:
    """How many scans: a usual round, or another number."""
    st.session_state.setdefault("rating.round", kept["round"])
    kept["round"] = one_of("A round of", [*map(str, ROUNDS), OTHER], "rating.round", help="Finish earlier at any time.")
    if kept["round"] != OTHER:
        return int(kept["round"])
    most = f"{FEWEST} to {MOST}" if source == "none" else f"An even number up to {MOST}: half are real"
    kept["scans"] = int(st.number_input("Scans", FEWEST, MOST, kept["scans"], key="rating.scans", help=f"{most}."))
    return kept["scans"]


def _why_not(kept: dict[str, Any], source: Source, model: Model, scans: int) -> tuple[str, StorePersons | None]:
    """Why the rating cannot begin, in a sentence, empty where it can; and the persons of the cohort that was named."""
    if why := scans_problem(scans, source):
        return refused(why), None
    if not kept["name"]:
        return UNNAMED, None
    if source != "store":
        return "", None
    if not kept["path"].strip():
        return NO_FOLDER, None
    try:
        persons = open_store(kept["path"], model)
        _plan("", model, 0, scans, source, persons)
    except RatingError as error:
        return refused(error), None
    return "", persons


def _plan(name: str, model: Model, seed: int, scans: int, source: Source, persons: StorePersons | None) -> Plan:
    """Raises :class:`RatingError` for a cohort with too few persons."""
    return Plan(
        model=name,
        digest=model.digest,
        seed=seed,
        scans=scans,
        steps=model.steps,
        source=source,
        store=persons.digest if persons else "",
        pool=len(persons.indices) if persons else 0,
    )


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
        st.info(NO_REAL if len(sources) == 2 else ONLY, icon=":material/rate_review:")
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
