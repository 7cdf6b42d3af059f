"""Persons sampled over a range of one attribute, and what the ruler reads off each of them."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.vocabulary.refusal import Refusal
from engine.vocabulary.schema import AttributeSchema, Cell, Number
from pages.components.parts.facts import refused
from pages.components.parts.heart.panel import Shown
from pages.components.parts.mask.asked import read_with_mask
from pages.components.parts.ruler.reader import read, ruler_for
from pages.components.state.address import Request, tidy
from pages.components.state.generation import Report, people_of, time_left
from pages.components.state.job import alive
from pages.components.state.session import kept

if TYPE_CHECKING:
    from engine.checkpoints.example import Example, ExamplePerson
    from engine.inference.generate import Model
    from engine.measure.ruler import Ruler

Point = dict[str, Any]
#: plans whose persons are kept, over all sessions
KEPT = 64
#: share of a person's time that drawing takes; the rest is measuring
DRAWING = 0.5


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which persons are asked for: ``attribute`` over ``low`` to ``high``, the rest free (or of one ``sex``); everything
    is free where there is no ``attribute``."""

    model: str
    digest: str
    attribute: str | None
    low: float
    high: float
    sex: str | None
    steps: int
    seed: int

    def request(self, column: Number | None, i: int) -> Request:
        """Person ``i``: the ends first, then ever finer between them, so that few persons cover the range already."""
        share = float(i) if i < 2 else _van_der_corput(i - 1)
        given: list[tuple[str, Cell]] = []
        if self.attribute is not None and column is not None:
            given.append((self.attribute, tidy(column, self.low + share * (self.high - self.low))))
        if self.sex is not None:
            given.append(("sex", self.sex))
        return Request(model=self.model, given=tuple(given), seed=self.seed + i, steps=self.steps)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A plan being carried out: ``done`` persons were measured when it began."""

    plan: Plan
    done: int
    began: float = field(default_factory=time.monotonic)

    def report(self, moved: Report, i: int, wanted: int) -> Report:
        """For person ``i`` of ``wanted``: tells ``moved`` what is being done, and how long the whole run will take."""

        def report(fraction: float, text: str) -> None:
            share = (i - self.done + fraction) / (wanted - self.done)
            who = f"Person {i + 1} of {wanted}: {text[:1].lower()}{text[1:]}"
            moved((i + fraction) / wanted, who + time_left(self.began, share))

        return report


def ended(old: Plan, new: Plan, measured: int) -> str:
    """Why a run ended of itself: the question it was to answer is no longer the one on the page."""
    if old.model != new.model:
        change, back = f"the model was changed from {old.model} to {new.model}", f"choose {old.model} again"
    elif old.digest != new.digest:
        change, back = f"the checkpoint {old.model} was replaced by another", ""
    else:
        change, back = "what to ask for was changed", "set it back"
    kept = f"; {back} to see the {measured} measured so far and go on" if back and measured else ""
    return f"The run was ended because {change}{kept}."


def _van_der_corput(i: int) -> float:
    """The i-th term of the sequence 1/2, 1/4, 3/4, 1/8, ... (base 2)."""
    share, weight = 0.0, 0.5
    while i:
        share = share + weight * (i & 1)
        i = i >> 1
        weight = weight / 2
    return share


def cohort_of(ruler: Ruler) -> str:
    """The cohort of which a ruler holds regressions, in a word: ``Real`` or ``In-silico``."""
    return ruler.region.cohort.removesuffix(" persons").capitalize()


def ruler_needed(model: Model) -> Ruler:
    """The shipped ruler for what the model draws, one for all sessions; without it the page ends here with a sentence."""
    ruler, problem = ruler_for(model)
    if ruler is None:
        st.error(problem)
        st.stop()
    return ruler


def sample_one(model: Model, ruler: Ruler, plan: Plan, i: int, report: Report) -> Point:
    """Draw person ``i`` of the plan and measure them; ``problem`` says why a scan could not be measured."""
    request = plan.request(number(model.schema, plan.attribute), i)
    ((found,), _) = people_of(model, request, lambda fraction, text: report(DRAWING * fraction, text))
    report(DRAWING, "measuring")
    if (mask := found.person.mask) is None:
        values, problem = read(ruler, found.person.volume)
    else:
        values, problem = read_with_mask(ruler, found.person.volume, mask)
    # what is sampled and measured under one name stands in the table twice
    row = {column_key(k, ruler): v for k, v in found.person.attributes.items()}
    asked: Point = {"seed": request.seed}
    if plan.attribute is not None:
        asked["requested"] = dict(request.given)[plan.attribute]
    return {**asked, **row, **values, "problem": problem}


def number(schema: AttributeSchema, name: str | None) -> Number | None:
    """The column of numbers of that name; None where none is asked for."""
    if name is None:
        return None
    column = schema[name]
    assert isinstance(column, Number)
    return column


def column_key(name: str, ruler: Ruler) -> str:
    """A column's name in a point: another than that of a measure, whether or not the scan could be measured."""
    return f"{name} (sampled)" if name in ruler.measures else name


def to_csv(plan: Plan, points: list[Point]) -> bytes:
    """One row a person, what it takes to draw them again in the first columns."""
    stream = io.StringIO()
    table = pd.DataFrame(points).assign(synthetic="SYNTHETIC - not for diagnosis", model=plan.model, steps=plan.steps)
    first = [name for name in ("synthetic", "model", "steps", "seed", "requested") if name in table]
    table[[*first, *(name for name in table if name not in first)]].to_csv(stream, index=False, float_format="%.4f")
    return stream.getvalue().encode()


@dataclass
class Visit:
    """What Consistency keeps: the persons ``measured`` so far, by plan; the run that goes on; the plan whose run ``ended`` of
    itself, and why; the ``problem`` of the last one, a sentence; the ``example`` by plan, of which model; and the
    cycles of ``hearts`` that were read, by the model's digest and request."""

    measured: dict[Plan, list[Point]] = field(default_factory=dict)
    running: Run | None = None
    ended: tuple[Plan, str] | None = None
    problem: str = ""
    example: tuple[str, dict[Plan, list[Point]]] = ("", {})
    hearts: dict[tuple[str, Request], Shown] = field(default_factory=dict)

    def open_with(self, example: Example | None, model: Model, ruler: Ruler) -> None:
        """Take over the example of a model, once."""
        if self.example[0] == model.digest:
            return
        found = opened_with(example, model, ruler) if example else {}
        self.example = model.digest, found
        self.measured = {**found, **self.measured}

    def look(self, plan: Plan, pressed: bool) -> list[Point]:
        """The persons measured for the plan on the page; a run of another plan ends."""
        points = self.measured.get(plan, [])
        if len(before := _measured().get(plan, [])) > len(points):
            points = before
            self.measured = self.measured | {plan: points}
        if pressed:
            self.running = Run(plan=plan, done=len(points))
            self.ended = None
            self.problem = ""
        if (run := self.running) is not None and run.plan != plan:
            self.ended = run.plan, ended(run.plan, plan, len(self.measured.get(run.plan, [])))
            self.running = None
        return points

    def stop(self) -> None:
        self.running = None


@st.cache_resource
def _measured() -> dict[Plan, list[Point]]:
    """Persons measured in any session, by plan: the same plan gives the same persons, and a reload loses nobody."""
    return {}


def visit() -> Visit:
    return kept("consistency", Visit)


def opened_with(example: Example, model: Model, ruler: Ruler) -> dict[Plan, list[Point]]:
    """The persons of an example by the plan that would draw them: those asked for, and those of whom nothing was asked."""
    common = {"model": model.name, "digest": model.digest, "sex": None, "steps": example.steps, "seed": 0}
    free = Plan(attribute=None, low=0.0, high=0.0, **common)
    found = {free: [_point(person, ruler) for person in example.people]}
    if example.asked:
        plan = Plan(attribute=example.attribute, low=example.low, high=example.high, **common)
        requested = example.attribute
        found[plan] = [{"requested": one.row[requested], **_point(one, ruler)} for one in example.asked]
    return {plan: points for plan, points in found.items() if any(point["problem"] == "" for point in points)}


def _point(person: ExamplePerson, ruler: Ruler) -> Point:
    row = {column_key(name, ruler): value for name, value in person.row.items()}
    problem = "" if person.values else "the scan could not be read"
    return {"seed": person.seed, **row, **person.values, "problem": problem}


def carry_out(model: Model, ruler: Ruler, run: Run, wanted: int, status: DeltaGenerator) -> None:
    """Draw and measure one more person, then run the page again: each point appears as soon as it is there."""
    here = visit()
    points = here.measured.get(run.plan, [])
    with status.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(len(points) / wanted, "Starting")
        st.button("Stop", on_click=here.stop, type="tertiary", icon=":material/stop_circle:")
    try:
        with alive(bar.progress) as moved:
            point = sample_one(model, ruler, run.plan, len(points), run.report(moved, len(points), wanted))
        here.measured = here.measured | {run.plan: [*points, point]}
        _measured()[run.plan] = here.measured[run.plan]
        while len(_measured()) > KEPT:
            _measured().pop(next(iter(_measured())))
    except Refusal as error:
        here.stop()
        here.problem = refused(error)
    st.rerun()
