"""A cohort of synthetic persons: drawn in the background, kept as table, seeds and small pictures."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from engine.anatomy import region_of
from engine.imaging.pictures import planes
from engine.imaging.volume import Volume
from engine.vocabulary.schema import AttributeSchema, Row
from pages.components.parts.teaching.example import pixels
from pages.components.state.address import Request, read_query
from pages.components.state.generation import Report, model_lock, time_left, turn
from pages.components.state.job import Job, session_is_open
from pages.components.state.page_address import PageAddress
from pages.components.state.session import kept

if TYPE_CHECKING:
    from engine.checkpoints.example import Example
    from engine.inference.generate import Model, Person
    from pages.components.population.export import Export

#: cohorts kept in a session, those asked for last
KEPT = 3
#: persons of a cohort
FEWEST = 1
MOST = 5000
USUAL = 100
#: pixels of a thumbnail's longer side
THUMBNAIL = 64
#: rows without scans that a model computes at once, whatever is asked of it (engine.inference.generate.ROWS)
ROWS = 64
#: seconds for which the model is left to others after every turn
BREATH = 0.01


@dataclass(eq=False, kw_only=True)
class Cohort:
    """The persons drawn so far for a ``request``, in the order of their seeds, without their scans.

    ``rows`` are their attributes; ``pictures`` uint8 (height, width) of at most :data:`THUMBNAIL` pixels a side, none from a
    model of tables. Only the drawing thread adds to it; a reader may read at any time.
    """

    request: Request
    digest: str
    schema: AttributeSchema
    rows: list[Row] = field(default_factory=list)
    pictures: list[np.ndarray] = field(default_factory=list)

    def add(self, person: Person) -> None:
        """Keep the next person; the scan is let go."""
        if person.scan is not None:
            self.pictures.append(thumbnail(person.scan))
        self.rows.append(person.attributes)

    @property
    def whole(self) -> bool:
        return len(self.rows) >= self.request.n

    @property
    def question(self) -> tuple[object, ...]:
        """What decides who is drawn, but for how many."""
        return self.digest, self.request.given, self.request.seed, self.request.steps

    @property
    def nbytes(self) -> int:
        """Bytes kept in memory, about."""
        row = self.rows[0] if self.rows else {}
        cells = sys.getsizeof(row) + sum(sys.getsizeof(value) for value in row.values() if isinstance(value, float))
        return len(self.rows) * cells + sum(picture.nbytes + 128 for picture in self.pictures)

    def seed(self, i: int) -> int:
        """The seed that makes person ``i`` again."""
        return self.request.seed + i

    def person(self, i: int) -> Request:
        """Person ``i`` alone."""
        return replace(self.request, seed=self.seed(i), n=1)


def thumbnail(scan: Volume) -> np.ndarray:
    """The middle slice, uint8 (height, width), of all channels together, of a cine in its first phase, the patient's right on the left.

    In the plane in which its region is recognised; axial where the region is unknown.
    """
    turned = scan.at_phase().reoriented("RAS")
    wide, deep, high = (n * mm for n, mm in zip(turned.grid, turned.spacing, strict=True))
    region = region_of(scan.channels)
    coronal = region is not None and region.plane == "coronal"
    found = planes(turned, max(wide, high if coronal else deep) / THUMBNAIL)
    return found.coronal if coronal else found.axial


def draw_cohort(model: Model, cohort: Cohort, lock: threading.Lock, report: Report) -> None:
    """Draw who is missing of the cohort, and add each as soon as they are there.

    The model is held for one person at a time (:data:`ROWS` rows where there is no scan), so that others get their turn.
    """
    n = cohort.request.n
    before = len(cohort.rows)
    began = time.monotonic()
    size = 1 if model.has_image else ROWS
    while not cohort.whole:
        done = len(cohort.rows)
        start = done // size * size  # a table's rows are always computed with the same neighbours
        asked = replace(cohort.request, seed=cohort.seed(start), n=min(size, n - start))

        def progress(part: float, text: str, done: int = done, asked: Request = asked) -> None:
            at = done + part * min(asked.n, n - done)
            report(at / n, text + time_left(began, (at - before) / (n - before)))

        for person in drawn(model, asked, lock, f"Person {done + 1:,} of {n:,}", progress)[done - start :]:
            cohort.add(person)
        time.sleep(BREATH)


def drawn(model: Model, request: Request, lock: threading.Lock, who: str, report: Report) -> list[Person]:
    """The persons of ``request`` in one turn of the model; nothing of them is kept."""

    def waiting(_: float, text: str) -> None:
        report(0.0, f"{who}: {text[:1].lower()}{text[1:]}")

    def progress(done: int, total: int) -> None:
        report(done / total, who)

    with turn(lock, waiting):
        report(0.0, who)
        return model.generate(
            n=request.n, given=dict(request.given), seed=request.seed, steps=request.steps, progress=progress
        )


def begin(model: Model, request: Request, earlier: list[Cohort]) -> Cohort:
    """The cohort of ``request``, with the persons that an ``earlier`` one of the same question has already."""
    cohort = Cohort(request=request, digest=model.digest, schema=model.schema)
    for other in earlier:
        if other.question == cohort.question and len(other.rows) > len(cohort.rows):
            cohort.rows, cohort.pictures = other.rows[: request.n], other.pictures[: request.n]
    return cohort


@dataclass
class Visit:
    """What Population keeps: the ``cohorts`` asked for last, the jobs that draw (``run``) and export, the person ``opened``
    with their cohort, ``problems`` in sentences, the page's ``address`` and the digest of the model whose ``controls``
    are shown; ``again``: the whole page is to run after a part of it did; ``example``: the cohort that the page opens with."""

    cohorts: list[Cohort] = field(default_factory=list)
    run: Job[None] | None = None
    export: Job[Export] | None = None
    opened: tuple[Cohort, int] | None = None
    problems: list[str] = field(default_factory=list)
    address: PageAddress = field(default_factory=PageAddress)
    controls: str = ""
    again: bool = False
    example: Cohort | None = None

    def shown(self, model: Model) -> Cohort | None:
        """The cohort asked for last of this model."""
        return next((one for one in reversed(self.cohorts) if one.digest == model.digest), None)

    def open(self, cohort: Cohort, i: int) -> None:
        """Look at person ``i`` in full, once the page runs again."""
        self.opened = cohort, i
        self.again = True

    def close(self) -> None:
        self.opened = None


def visit() -> Visit:
    return kept("population", Visit)


def example_cohort(model: Model, example: Example) -> Cohort:
    """The people of an example as a cohort."""
    request = Request(model=model.name, seed=0, n=len(example.people), steps=example.steps)
    rows = [dict(person.row) for person in example.people]
    pictures = [pixels(person.picture) for person in example.people if person.picture]
    return Cohort(request=request, digest=model.digest, schema=model.schema, rows=rows, pictures=pictures)


def draw(model: Model, request: Request) -> None:
    """Begin a cohort in the background, or go on with it; one that is being drawn is stopped, what it has is kept."""
    here = visit()
    if here.run is not None:
        here.run.stop()
        here.run.join(60)
    cohort = begin(model, request, here.cohorts)
    others = [one for one in here.cohorts if one.question != cohort.question]
    here.cohorts = [*others, cohort][-KEPT:]
    lock = model_lock()
    here.run = Job(lambda report: draw_cohort(model, cohort, lock, report), session_is_open())
    here.problems = []


def read_cohort(query: Mapping[str, str], name: str, model: Model) -> tuple[Request, list[str]]:
    """The cohort an address asks for, and a sentence for each part of it that cannot be done (left out of it)."""
    text = query.get("n", str(USUAL)).strip()
    rest = {"steps": str(model.steps)} | {key: value for key, value in query.items() if key != "n"}
    request, problems = read_query(rest, name, model.schema)
    if text.isdecimal() and FEWEST <= int(text) <= MOST:
        return replace(request, n=int(text)), problems
    problems.append(f"n {text!r} is not possible here: give a whole number from {FEWEST} to {MOST}")
    return replace(request, n=USUAL), problems
