"""Drawing people: one at a time, each kept, the model shared by all sessions behind one lock."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import streamlit as st

from engine.vocabulary.schema import Cell
from pages.components.state.address import Request
from pages.components.state.overlay import brush_of, overlaid
from pages.components.state.person_table import person_rows, summary
from pages.components.state.region_edit import RegionEdit
from pages.components.state.scene import payload

if TYPE_CHECKING:
    from engine.inference.generate import Model, Person

#: sampling steps of a draft, which is shown first
DRAFT_STEPS = 2
#: people kept in memory, over all sessions; a head takes 5 MB
KEPT = 48
#: what is said while another session has the model: how long that takes nobody knows
WAITING = "Waiting for another reader's turn"
#: seconds, and the share of the work, before which the time left cannot be told: the first step is slower than others
SOON, EARLY = 2.0, 0.1
#: what decides who a person is: weights, given cells, seed, steps, and whether their scan has its detail
Key = tuple[str, tuple[tuple[str, Cell], ...], int, int, bool]
#: called with a fraction done and a sentence; every call is a point at which a newer request takes over
Report = Callable[[float, str], object]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The people of one request, and the scene that the viewer shows of them.

    ``seconds`` is what drawing them took; ``kept`` of them were drawn for an earlier request. With an ``edit`` of the mask they
    are one person before and after it. A ``draft`` of the request has :data:`DRAFT_STEPS`, no detail and no masks.
    """

    request: Request
    digest: str
    people: list[Person]
    scene: bytes
    seconds: float
    kept: int = 0
    guidance: float | None = None
    licence: str | None = None
    edit: RegionEdit | None = None
    draft: bool = False

    def in_words(self) -> str:
        """How long the drawing took, and whether it was now."""
        if self.draft:
            return "A draft: press Generate to draw it in full"
        drawing = f"rawn in {self.seconds:.1f} s with {self.request.steps} steps"
        if self.kept == len(self.people):
            return f"Kept from before, d{drawing}"
        return f"D{drawing}" + (f", {self.kept} of {len(self.people)} kept from before" if self.kept else "")


class _Kept(NamedTuple):
    """A person, and the seconds that drawing them took."""

    person: Person
    seconds: float


@dataclass
class _Shared:
    """What all sessions have in common."""

    model: threading.Lock = field(default_factory=threading.Lock)
    access: threading.Lock = field(default_factory=threading.Lock)
    people: OrderedDict[Key, _Kept] = field(default_factory=OrderedDict)

    def get(self, key: Key) -> _Kept | None:
        with self.access:
            if key in self.people:
                self.people.move_to_end(key)
            return self.people.get(key)

    def put(self, key: Key, person: _Kept) -> None:
        with self.access:
            self.people[key] = person
            while len(self.people) > KEPT:
                self.people.popitem(last=False)


@st.cache_resource
def _shared() -> _Shared:
    return _Shared()


def model_lock() -> threading.Lock:
    """Held by whoever lets the model work: one run at a time, see :func:`turn`. Ask for it in a page, not in a thread of its own."""
    return _shared().model


def draw(model: Model, request: Request, report: Report, draft: bool = False) -> Drawn:
    """Generate the people of ``request``, or take those still kept, and prepare their view; or a ``draft`` of them."""
    began = time.monotonic()

    def said(share: float, text: str) -> None:
        report(share, text + time_left(began, share))

    found, kept = people_of(model, request, said, draft=draft)
    report(1.0, "Preparing the view")
    people = [each.person for each in found]
    return Drawn(
        request=request,
        digest=model.digest,
        people=people,
        scene=scene_of(model, request, people, draft=draft),
        seconds=sum(each.seconds for each in found),
        kept=kept,
        guidance=model.checkpoint.config.guidance,
        licence=model.licence,
        draft=draft,
    )


def person_kept(model: Model, request: Request) -> Person | None:
    """The first of the request's people, if still kept."""
    found = _shared().get(_key(model, request, 0))
    return found.person if found else None


def all_kept(model: Model, request: Request) -> bool:
    """Are the request's people all there, to be shown at once?"""
    return all(_shared().get(_key(model, request, i)) for i in range(request.n))


def _key(model: Model, request: Request, i: int, draft: bool = False) -> Key:
    return model.digest, request.given, request.seed + i, request.steps, not draft


def drafted(request: Request) -> Request:
    """The request with the steps of a draft."""
    return replace(request, steps=min(DRAFT_STEPS, request.steps))


def people_of(model: Model, request: Request, report: Report, *, draft: bool = False) -> tuple[list[_Kept], int]:
    """The people of ``request``, and how many of them were kept from before; of a ``draft`` with few steps, without detail and
    masks.

    Each person is drawn alone, with seed ``request.seed + i``: nobody depends on how many are asked for, and those
    finished before a run is given up are not drawn again.
    """
    shared = _shared()
    request = drafted(request) if draft else request
    keys = [_key(model, request, i, draft) for i in range(request.n)]
    people = {i: found for i, key in enumerate(keys) if (found := shared.get(key))}
    missing = [i for i in range(request.n) if i not in people]
    for position, i in enumerate(missing):
        part = (position / len(missing), 1 / len(missing))
        people[i] = _person(model, request, i, part, report, draft=draft)
        shared.put(keys[i], people[i])
    return [people[i] for i in range(request.n)], request.n - len(missing)


def _person(
    model: Model, request: Request, i: int, share: tuple[float, float], report: Report, *, draft: bool
) -> _Kept:
    """Person ``i``; ``share`` is the fraction of the whole run done before this person, and this person's part of it."""
    from engine.inference.generate import drawing_units

    named = [*(["Draft"] if draft else []), *([f"Person {i + 1} of {request.n}"] if request.n > 1 else [])]
    who = f"{', '.join(named)}, step" if named else "Step"

    def progress(done: int, total: int) -> None:
        report(share[0] + share[1] * done / total, f"{who} {step_in_words(done, total)}")

    with turn(model_lock(), report):
        progress(0, drawing_units(request.steps))
        began = time.monotonic()
        (person,) = model.generate(
            n=1,
            given=dict(request.given),
            seed=request.seed + i,
            steps=request.steps,
            with_mask=model.has_mask and not draft,
            detail=not draft,
            progress=progress,
        )
        return _Kept(person, time.monotonic() - began)


def step_in_words(done: int, total: int) -> str:
    """``3 of 8``: the engine's last units of work are parts of the decoding with the mask, and of the detail.

    >>> step_in_words(3, 20), step_in_words(8, 20), step_in_words(14, 20), step_in_words(17, 20)
    ('3 of 8', '8 of 8, decoding', '8 of 8, its detail', '8 of 8, its detail, part 4 of 6')
    """
    from engine.inference.generate import PARTS

    last = total - 2 * PARTS
    if done < last:
        return f"{done} of {last}"
    stage, part = divmod(min(done, total - 1) - last, PARTS)
    return f"{last} of {last}, {'its detail' if stage else 'decoding'}{f', part {part + 1} of {PARTS}' if part else ''}"


def time_left(began: float, share: float) -> str:
    """``, about 3 s left``, for a run of which ``share`` was done since ``began``; nothing while too little is done to say."""
    gone = time.monotonic() - began
    if share < EARLY or gone < SOON:
        return ""
    seconds = max(1, round(gone * (1 / share - 1)))
    return f", about {seconds} s left" if seconds < 90 else f", about {round(seconds / 60)} min left"


@contextmanager
def turn(lock: threading.Lock, report: Report) -> Iterator[None]:
    """Hold the model; say so while another session has it."""
    started = time.monotonic()
    while not lock.acquire(timeout=0.2):
        report(0.0, f"{WAITING} to end, {time.monotonic() - started:.0f} s")
    try:
        yield
    finally:
        lock.release()


@contextmanager
def engaged(doing: str, report: Report) -> Iterator[Callable[[int, int], None]]:
    """Hold the model for one ask; lends the ask's ``progress``, which reports each unit of it as ``doing, 40%``. Whatever ``report``
    raises ends the ask."""

    def progress(done: int, total: int) -> None:
        report(done / total, f"{doing}, {100 * done // total}%")

    with turn(model_lock(), report):
        report(0.0, doing)
        yield progress


def scene_of(
    model: Model,
    request: Request,
    people: list[Person],
    *,
    draft: bool = False,
    names: Sequence[str] = (),
    why: Callable[[Mapping[str, Any]], str] | None = None,
    **marked: Any,
) -> bytes:
    """What the viewer shows: every channel of everybody's scan, and their tables.

    ``marked``: labels and legend of :func:`payload`, where people have no masks of their own, and whether to ``compare`` them.
    ``names`` are theirs, after a colon what is to be said of them; ``why`` says of a row of whoever is not the first why it is so.
    """
    given = dict(request.given)
    described = []
    for i, person in enumerate(people):
        rows = person_rows(model.schema, person.attributes, given)
        if i and why:
            rows = [row | {"origin": why(row)} for row in rows]
        alone = "This person" if request.n == 1 else f"Person {i + 1}"
        file = f"{request.model}_seed-{person.seed}"
        name, _, told = names[i].partition(": ") if names else (alone, "", "")
        described.append(
            {
                "title": name,
                "subtitle": " · ".join(filter(None, (told, summary(person.attributes), f"seed {person.seed}"))),
                "file": f"{file}_{name.lower()}" if names else file,
                "seed": person.seed,
                "rows": rows,
            }
        )
    note = f"Percentiles place a value in the cohort that {request.model} was trained on. This person does not exist."
    scans = [person.volume for person in people]
    if masks := overlaid(model, [person.mask for person in people]):
        marked = {**marked, **masks}
    if model.has_mask:
        marked["brush"] = brush_of(model)
    return payload(scans, described, model=request.model, draft=draft, note=note, **marks(model), **marked)


def marks(model: Model) -> dict[str, Any]:
    """What stands in the header of every scene of a model's people: its ``weights``, and where faces were removed the normal
    of the ``cut`` (along RAS), in front of which nothing is left."""
    from engine.cohort.preprocess.deface import cut_normal

    found: dict[str, Any] = {"weights": model.digest}
    recipe = model.checkpoint.config.preprocess
    if recipe.get("deface") and "shear" in recipe:
        found["cut"] = cut_normal(float(recipe["shear"]))
    return found
