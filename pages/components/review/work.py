"""The scans of a rating, drawn ahead of time and alike in everything but the person.

All are brought to one grid, one matrix and 256 grey values, described in the same words, and sent in the same number of
bytes. What is left is the picture itself: where its texture tells, that is an answer and no leak.
"""

from __future__ import annotations

import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.cohort.store import CohortStore, StoreError
from engine.imaging.grid import phases_of
from engine.imaging.volume import Volume, centred_affine
from engine.vocabulary.refusal import Refusal
from pages.components.parts.facts import refused
from pages.components.parts.frame import refuse, trained_on
from pages.components.parts.model_picker import checkpoint_names, load_model
from pages.components.review.session import Place, Plan, RatingError, Session
from pages.components.state.address import Request
from pages.components.state.generation import Report, people_of, time_left
from pages.components.state.job import alive
from pages.components.state.scene import FOOTER, payload
from pages.components.state.session import kept

if TYPE_CHECKING:
    from engine.inference.generate import Model
    from engine.phantom.kinds import Kind

#: ratings kept over all sessions, whose scans take some MB each, and what the address calls theirs
KEPT, TOKEN = 12, "rating"
UNKNOWN = "BLIND RATING, synthetic or real - not for diagnosis"
NOTE = "You learn who this is when all scans are rated."
#: the flag of a gzip header that has a comment, the flags' place, and the header's length (RFC 1952)
COMMENTED = 0x10
FLAGS = 3
HEADER = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class StorePersons:
    """The persons of a store whom no training saw; ``digest`` tells the store from others without naming it."""

    store: CohortStore
    indices: np.ndarray
    digest: str

    def voxels(self, number: int) -> np.ndarray:
        """The scan of one of them, uint8 (c, x, y, z)."""
        return np.asarray(self.store.volumes[int(self.indices[number])])


def open_store(path: str, model: Model) -> StorePersons:
    """The test persons of a store on the model's grid.

    Raises :class:`RatingError` for what is no store, another grid or channels, and heads with faces.
    """
    try:
        store = CohortStore.open(Path(path.strip().strip("\"'")).expanduser())
    except (StoreError, OSError) as error:
        raise RatingError(str(error)) from None
    grid, channels = tuple(model.checkpoint.model.config.image.grid), model.checkpoint.config.channels
    if store.grid != grid or not np.allclose(store.affine, model.checkpoint.affine, atol=0.01):
        found = " x ".join(map(str, store.grid))
        raise RatingError(f"the store's grid ({found}) is not the model's: ingest it with the recipe of {model.name}")
    if store.channels != channels:
        raise RatingError(f"the store has the channels {store.channels}, {model.name} draws {channels}: name another")
    facts = store.meta.get("plan", {}).get("preprocess") or {}
    if model.checkpoint.config.preprocess and not facts.get("deface"):
        raise RatingError("the store's heads have faces, or it does not say that they are removed: ingest it defaced")
    arrays = {name: entry["sha256"] for name, entry in store.meta["arrays"].items()}
    stamp = json.dumps([arrays, store.meta["participants_sha256"]], sort_keys=True)
    return StorePersons(store=store, indices=store.split()["test"], digest=sha256(stamp.encode()).hexdigest()[:16])


def fresh_possible(model: Model) -> bool:
    """Was the model trained on in-silico persons, so that persons of the same kind can be made?"""
    return _kind(model) is not None


def _kind(model: Model) -> Kind | None:
    from engine.phantom.kinds import KINDS  # imports torch

    config, grid = model.checkpoint.config, tuple(model.checkpoint.model.config.image.grid)
    for kind in KINDS.values() if not config.preprocess else ():
        placed = kind.grid == grid and np.allclose(
            model.checkpoint.affine, centred_affine(kind.grid, kind.spacing), atol=0.01
        )
        same = kind.frames == tuple(config.channels) and kind.name in str(config.provenance.get("source_name"))
        if placed and same:
            return kind
    return None


def draw_scans(
    model: Model, plan: Plan, persons: StorePersons | None, scenes: dict[int, bytes], report: Report
) -> None:
    """Draw the scans that ``scenes`` lacks into it, and make all equally long when they are complete.

    Synthetic ones come first: what is drawn when says nothing about what is shown when. Every call of ``report`` is a
    point at which the work can be stopped; what was drawn stays.
    """
    began, before = time.monotonic(), len(scenes) / plan.scans

    def said(share: float) -> None:
        done = (len(scenes) + share) / plan.scans
        left = time_left(began, (done - before) / (1 - before))
        report(min(done, 1.0), f"{len(scenes)} of {plan.scans} scans are ready{left}")

    missing = [i for i in range(plan.scans) if i not in scenes]
    for i in sorted(missing, key=lambda i: plan.people[i].real):
        said(0.0)
        volume = _real(model, plan, i, persons) if plan.people[i].real else _synthetic(model, plan, i, said)
        scenes[i] = scene(plan, i, Volume(volume, model.checkpoint.affine, model.checkpoint.config.channels))
    if missing:
        scenes.update(dict(equally_long(scenes, plan.seed)))


def request_of(plan: Plan, i: int) -> Request:
    """The synthetic person of scan ``i``."""
    return Request(model=plan.model, seed=plan.people[i].number, steps=plan.steps)


def _synthetic(model: Model, plan: Plan, i: int, said: Callable[[float], None]) -> np.ndarray:
    (found,), _ = people_of(model, request_of(plan, i), lambda share, text: said(share))
    return found.person.volume.data


def _real(model: Model, plan: Plan, i: int, persons: StorePersons | None) -> np.ndarray:
    """A real person's scan, grey values 0 to 1 in steps of 1 / 255: (x, y, z), or (c, x, y, z) of several channels."""
    number = plan.people[i].number
    if plan.source == "fresh":
        kind = _kind(model)
        if kind is None:
            raise RatingError(f"there are no in-silico persons like those of {model.name}: name a store")
        (person,) = kind.make([number], "cpu")
        voxels = person.images
    elif persons is None or persons.digest != plan.store:
        raise RatingError("this rating's real persons are those of another store: name the one it was begun with")
    else:
        voxels = persons.voxels(number)
    grey = voxels.astype(np.float32) / 255
    return grey[0] if len(model.checkpoint.config.channels) == 1 else grey


def scene(plan: Plan, i: int, volume: Volume) -> bytes:
    """What the viewer shows of scan ``i``: the same words for everybody."""
    person = {"title": f"Scan {i + 1}", "subtitle": f"of {plan.scans}", "file": f"scan-{i + 1:03d}", "rows": []}
    store = plan.source == "store"
    footer = UNKNOWN if store else FOOTER
    return payload([volume], [person], model=plan.model, draft=False, note=NOTE, footer=footer, pictures=not store)


def equally_long(scenes: dict[int, bytes], seed: int) -> Iterator[tuple[int, bytes]]:
    """The same gzip streams, filled up to one length by a comment in the header: smooth scans would be shorter."""
    size, rng = max(len(stream) for stream in scenes.values()) + 1, np.random.default_rng(seed)
    for i, stream in scenes.items():
        filling = rng.integers(1, 256, size - 1 - len(stream), dtype=np.uint8).tobytes()
        head = stream[:FLAGS] + bytes([COMMENTED]) + stream[FLAGS + 1 : HEADER]
        yield i, head + filling + b"\0" + stream[HEADER:]


@dataclass
class Visit:
    """What Review keeps of a rating that goes on or was finished: its ``session``, the store's ``persons``, the ``scenes``
    drawn so far, the scan ``at`` which the reader is and ``since`` when, what is ``unclear`` of a place, the ``wish`` to go on
    or back, the scan ``opened`` in the viewer with its mark, whether drawing is ``paused``, whether a press found something
    ``missing``, of the model its ``card`` and whether it draws ``several`` channels, and the ``token`` of its address."""

    session: Session | None = None
    persons: StorePersons | None = None
    scenes: dict[int, bytes] = field(default_factory=dict)
    at: int = 0
    since: float | None = None
    unclear: str = ""
    wish: tuple[int, int] | None = None
    opened: tuple[int, Place | None] | None = None
    paused: bool = False
    missing: bool = False
    card: Mapping[str, Any] = field(default_factory=dict)
    several: bool = False
    token: str = ""

    @property
    def rating(self) -> Session:
        """The session; a page asks for it only where there is one."""
        assert self.session is not None
        return self.session

    def pause(self) -> None:
        """Draw no more scans until asked."""
        self.paused = True


def visit() -> Visit:
    """What is kept of this reader's rating; after a reload that which the address names."""
    if "rating" not in st.session_state and (found := _ratings().get(st.query_params.get(TOKEN, ""))):
        st.session_state["rating"] = found
    here = kept("rating", Visit)
    if here.session is not None and here.token and st.query_params.get(TOKEN) != here.token:
        st.query_params[TOKEN] = here.token
    return here


@st.cache_resource
def _ratings() -> OrderedDict[str, Visit]:
    """Ratings of all sessions by a token that nobody guesses, so that a reload loses none."""
    return OrderedDict()


def begin(session: Session, persons: StorePersons | None) -> None:
    """Take up a session, whose scans are not drawn yet."""
    here = Visit(session=session, persons=persons, at=session.position, token=secrets.token_urlsafe(12))
    st.session_state["rating"] = _ratings()[here.token] = here
    while len(_ratings()) > KEPT:
        _ratings().popitem(last=False)


def leave() -> None:
    """Give up the rating, here and after a reload."""
    here = visit()
    _ratings().pop(here.token, None)
    st.query_params.pop(TOKEN, None)
    here.session = None


def model_of(plan: Plan) -> Model:
    """The model of a plan; raises :class:`RatingError` where it is missing or was replaced."""
    if plan.model not in checkpoint_names():
        raise RatingError(f"there is no model {plan.model!r} here: put its checkpoint back, or begin another rating")
    try:
        model = load_model(plan.model)
    except Refusal as error:
        raise RatingError(str(error)) from None
    if model.digest != plan.digest:
        raise RatingError(
            f"the checkpoint {plan.model} was replaced (weights {model.digest}, the rating has {plan.digest}): "
            "put the old one back, or begin another rating"
        )
    return model


def draw(session: Session, status: DeltaGenerator) -> None:
    """Draw the scans that are missing, then run the page again."""
    here, scans = visit(), session.plan.scans
    with status.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(len(here.scenes) / scans, "Starting")
        st.button("Stop", on_click=here.pause, type="tertiary", icon=":material/stop_circle:")
    try:
        model = model_of(session.plan)
        here.card = model.card
        here.several = len(phases_of(model.checkpoint.config.channels)[0]) > 1
        trained_on(model.card)
        with alive(bar.progress) as report:
            draw_scans(model, session.plan, here.persons, here.scenes, report)
    except Refusal as error:
        refuse(refused(error))
    st.rerun()
