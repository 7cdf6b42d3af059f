"""Drawing people: one at a time, each kept, the model shared by all sessions behind one lock."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from pages.components.address import Request
from pages.components.person_table import person_rows, summary
from pages.components.viewer import payload

#: people kept in memory, over all sessions; a head takes 5 MB
KEPT = 48
#: called with a fraction done and a sentence; every call is a point at which a newer request takes over
Report = Callable[[float, str], object]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The people of one request, and the scene that the viewer shows of them."""

    request: Request
    digest: str
    people: list[Any]
    scene: bytes
    seconds: float
    guidance: float | None = None
    licence: str | None = None


@dataclass
class _Shared:
    """What all sessions have in common."""

    model: threading.Lock = field(default_factory=threading.Lock)
    access: threading.Lock = field(default_factory=threading.Lock)
    people: OrderedDict[tuple[Any, ...], Any] = field(default_factory=OrderedDict)

    def get(self, key: tuple[Any, ...]) -> Any:
        with self.access:
            if key in self.people:
                self.people.move_to_end(key)
            return self.people.get(key)

    def put(self, key: tuple[Any, ...], person: Any) -> None:
        with self.access:
            self.people[key] = person
            while len(self.people) > KEPT:
                self.people.popitem(last=False)


@st.cache_resource
def _shared() -> _Shared:
    return _Shared()


def draw(model: Any, request: Request, report: Report, draft: bool = False) -> Drawn:
    """Generate the people of ``request``, or take those still kept.

    Each person is drawn alone, with seed ``request.seed + i``: nobody depends on how many are asked for, and those
    finished before a run is given up are not drawn again.
    """
    started, shared = time.monotonic(), _shared()
    keys = [(model.digest, request.given, request.seed + i, request.steps) for i in range(request.n)]
    people = [shared.get(key) for key in keys]
    missing = [i for i, person in enumerate(people) if person is None]
    for position, i in enumerate(missing):
        share = (position / len(missing), 1 / len(missing))
        people[i] = _person(model, request, i, share, started, report)
        shared.put(keys[i], people[i])
    report(1.0, "Preparing the view")
    scene = _scene(model, request, people, draft)
    seconds = time.monotonic() - started
    return Drawn(
        request=request,
        digest=model.digest,
        people=people,
        scene=scene,
        seconds=seconds,
        guidance=model.checkpoint.config["guidance"],
        licence=model.card.get("licence"),
    )


def _person(model: Any, request: Request, i: int, share: tuple[float, float], started: float, report: Report) -> Any:
    """Person ``i``; ``share`` is the fraction of the whole run done before this person, and this person's part of it."""

    def progress(done: int, total: int) -> None:
        fraction = share[0] + share[1] * done / max(1, total)
        left = (time.monotonic() - started) * (1 / fraction - 1) if fraction > 0 else None
        who = f"Person {i + 1} of {request.n}, step" if request.n > 1 else "Step"
        report(fraction, f"{who} {done} of {total}{time_left(left)}")

    with _turn(_shared().model, report):
        progress(0, request.steps)
        (person,) = model.generate(
            n=1, given=dict(request.given), seed=request.seed + i, steps=request.steps, progress=progress
        )
    return person


def time_left(seconds: float | None) -> str:
    """``, about 3 s left``; nothing while there is nothing to judge by."""
    return "" if seconds is None else f", about {max(1, round(seconds))} s left"


@contextmanager
def _turn(lock: threading.Lock, report: Report) -> Iterator[None]:
    """Hold the model; say so while another session has it."""
    started = time.monotonic()
    while not lock.acquire(timeout=0.2):
        report(0.0, f"Waiting for another reader's turn to end, {time.monotonic() - started:.0f} s")
    try:
        yield
    finally:
        lock.release()


def _scene(model: Any, request: Request, people: list[Any], draft: bool) -> bytes:
    given = dict(request.given)
    described = [
        {
            "title": f"Person {i + 1}" if request.n > 1 else "This person",
            "subtitle": f"{summary(person.attributes)} · seed {person.seed}",
            "file": f"{request.model}_seed-{person.seed}",
            "rows": person_rows(model.schema, person.attributes, given),
        }
        for i, person in enumerate(people)
    ]
    note = f"Percentiles place a value in the cohort that {request.model} was trained on. This person does not exist."
    volumes = [person.volume for person in people]
    return payload(volumes, described, model=request.model, draft=draft, note=note)
