"""What the Library page does: draws two of its entries to be compared."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.inference.counterfactual import generated_counterfactual
from engine.vocabulary.refusal import Refusal, RequestError
from engine.vocabulary.schema import Cell, Row
from pages.components.parts.facts import refused
from pages.components.parts.library.store import Entry
from pages.components.parts.mask.edited import edited_pair
from pages.components.parts.model_picker import load_model
from pages.components.state.address import Request, read_query
from pages.components.state.generation import Report, people_of, scene_of, time_left
from pages.components.state.intervention import Question, read_question
from pages.components.state.job import alive
from pages.components.state.session import kept

if TYPE_CHECKING:
    from engine.inference.generate import Model, Person

Pair = tuple[str, str]


@dataclass
class Visit:
    """What Library keeps: the keys of a pair that is ``wanted``, the ``scene`` of the pair that was drawn, and the ``problem`` of
    the last one."""

    wanted: Pair | None = None
    drawn: Pair | None = None
    scene: bytes = b""
    problem: str = ""

    def want(self, pair: Pair) -> None:
        self.wanted = pair
        self.problem = ""

    def stop(self) -> None:
        self.wanted = None


def visit() -> Visit:
    return kept("library page", Visit)


def drawn_now(entry: Entry) -> Model:
    """The model that drew an entry; raises :class:`RequestError` where other weights lie here now."""
    model = load_model(entry.session.checkpoint)
    if model.digest != entry.session.digest:
        raise RequestError(
            f"{entry.name} was drawn with weights {entry.session.digest} of {model.name}, here it has {model.digest}, which "
            "would draw somebody else"
        )
    return model


def compare(one: Entry, other: Entry, status: DeltaGenerator) -> None:
    """Draw two entries with progress and a way out, and show them by running the page again."""
    here = visit()
    began = time.monotonic()
    with status.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, "Starting")
        st.button("Stop", on_click=here.stop, type="tertiary", icon=":material/stop_circle:")
    try:
        with alive(bar.progress) as moved:
            here.scene = _scene(one, other, lambda share, text: moved(share, text + time_left(began, share)))
        here.drawn = one.key, other.key
    except Refusal as error:
        here.problem = refused(error)
    here.wanted = None
    st.rerun()


def _scene(one: Entry, other: Entry, report: Report) -> bytes:
    models = [drawn_now(entry) for entry in (one, other)]
    if models[0].digest != models[1].digest:
        raise RequestError(
            "the two were drawn by different models, whose scans do not lie on one grid: choose two of one"
        )
    model = models[0]
    people = [
        person_of(model, entry, lambda share, text, k=k: report((k + share) / 2, f"{'AB'[k]}: {text}"))
        for k, entry in enumerate((one, other))
    ]
    given, also = (given_in(model, entry) for entry in (one, other))
    request = Request(model=model.name, given=tuple(given.items()), seed=one.seed, n=2)
    names = [f"{letter}: {entry.name}" for letter, entry in zip("AB", (one, other), strict=True)]
    return scene_of(model, request, people, names=names, why=partial(_why, also), compare=True)


def given_in(model: Model, entry: Entry) -> dict[str, Cell]:
    """What was given of an entry's person, in a what-if with what is set there."""
    if entry.session.page == "Explore":
        return dict(read_query(entry.session.address, model.name, model.schema)[0].given)
    question, _ = read_question(entry.session.address, model.name, model)
    return {**dict(question.before), **dict(question.change)}


def _why(given: Mapping[str, Cell], row: Mapping[str, Any]) -> str:
    if row["origin"] == "derived":
        return "derived"
    return "given" if row["name"] in given else "sampled"


def person_of(model: Model, entry: Entry, report: Report) -> Person:
    """The person of an entry; of a what-if who they are in it."""
    if entry.session.page == "Explore":
        request, _ = read_query(entry.session.address, model.name, model.schema)
        return _drawn(model, request, report)
    question, _ = read_question(entry.session.address, model.name, model)
    if question.edit:
        change = dict(question.change)
        return edited_pair(model, question.person(), question.edit, report, change=change, hold=question.held).after
    return _after(model, question, report)


def _after(model: Model, question: Question, report: Report) -> Person:
    def draw(given: Row) -> Person:
        request = Request(model=model.name, given=tuple(given.items()), seed=question.seed, steps=question.steps)
        return _drawn(model, request, report)

    _, after = generated_counterfactual(
        model,
        question.seed,
        dict(question.before),
        dict(question.change),
        question.steps,
        hold=question.held,
        draw=draw,
    )
    return after


def _drawn(model: Model, request: Request, report: Report) -> Person:
    ((found,), _) = people_of(model, request, report)
    return found.person
