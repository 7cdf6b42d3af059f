"""A region of a person on Explore grown, shrunk, moved or painted, and the person drawn for it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.vocabulary.refusal import Refusal
from pages.components.parts.facts import refused
from pages.components.parts.mask.controls import edit_controls, restore_edit
from pages.components.parts.mask.edited import edited_pair, mask_zip, regions_volumes, stays_in_words
from pages.components.state.address import Request
from pages.components.state.generation import Drawn, Report, scene_of, time_left
from pages.components.state.job import bars
from pages.components.state.overlay import painted, titles_of
from pages.components.state.person_table import label
from pages.components.state.region_edit import WHOSE, RegionEdit, keep_mask, parted, read_edit
from pages.components.state.scene import fingerprint
from pages.components.state.session import kept

if TYPE_CHECKING:
    from engine.imaging.segmentation import Segmentation
    from engine.inference.generate import Model

#: how the keys of the controls begin, and that of the viewer in which a mask can be painted
KEY, VIEWER = "explore.edit", "painting viewer"
WHO = f"{KEY}.person"
NAMES = ("Before", "Edited")
NOTE = (
    "A is the person drawn for the mask as it was, B the same noise for the edited one: what differs between them is the edit's "
    "alone. It follows associations of the cohort, not causes."
)
ABOUT = (
    "The person's scan is drawn again for a mask in which a region is larger, smaller or elsewhere. To paint a mask instead, "
    "choose Brush under the scan."
)
WAITS = "This is a draft, which has no mask. What is set here stays; it can be drawn once the person is there in full."


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The ``edit`` of one of the people of a ``request``, by ``seed``."""

    request: Request
    edit: RegionEdit

    def to_query(self, shown: Request) -> dict[str, str]:
        """The address of the people ``shown`` with this edit of one of them."""
        edit = self.edit.to_query()
        person = self.request.seed - shown.seed
        return shown.to_query() | edit | ({WHOSE: str(person + 1)} if edit and person else {})


#: what was asked, the person before and after, and the attributes that follow
Made = tuple[Asked, Drawn, tuple[str, ...]]


@dataclass
class Edits:
    """What is ``wanted``, what was ``made`` of what, and the ``problem`` of the last one."""

    wanted: Asked | None = None
    made: Made | None = None
    problem: str = ""

    def stop(self) -> None:
        self.wanted = None


def edits() -> Edits:
    return kept("explore edits", Edits)


def split_address(address: Mapping[str, str], model: Model) -> tuple[dict[str, str], RegionEdit | None, int, list[str]]:
    """An address without its edit, the edit, which of the people it is of, and what of it cannot be done."""
    plain, own = parted(address)
    text = own.pop(WHOSE, "1")
    edit, problems = read_edit(own, model)
    if not text.isdecimal() or not 1 <= int(text) <= 99:
        problems = [*problems, f"{WHOSE} {text!r} is not possible here: give a whole number from 1"]
        text = "1"
    return plain, edit, int(text) - 1, problems


def arrive_edit(request: Request, edit: RegionEdit | None, person: int) -> None:
    """Take over the edit of an address."""
    here = edits()
    restore_edit(KEY, edit)
    here.problem = ""
    st.session_state[WHO] = min(person, request.n - 1)
    if edit is None or not edit.changes:
        here.wanted = here.made = None
    else:
        here.wanted = Asked(request=of_person(request, min(person, request.n - 1)), edit=edit)


def of_person(request: Request, i: int) -> Request:
    """The request of person ``i`` alone."""
    return replace(request, seed=request.seed + i, n=1)


def edited_of(drawn: Drawn) -> Made | None:
    """The edit that was made of one of the people shown: what was asked, the pair, and the attributes that follow."""
    made = edits().made
    if made is None or made[1].digest != drawn.digest or drawn.draft:
        return None
    alone = [of_person(drawn.request, i) for i in range(drawn.request.n)]
    return made if made[0].request in alone else None


def edit_section(model: Model, drawn: Drawn) -> DeltaGenerator:
    """The controls, what they will do, and the mask as a file. Returns the place below the buttons, for progress."""
    here, made = edits(), edited_of(drawn)
    with st.expander("Edit a region", icon=":material/healing:", expanded=made is not None or bool(here.problem)):
        st.caption(ABOUT)
        number = 0
        if len(drawn.people) > 1:
            if st.session_state.get(WHO, 0) >= len(drawn.people):
                st.session_state[WHO] = 0
            number = st.selectbox("Of", range(len(drawn.people)), format_func=lambda i: f"Person {i + 1}", key=WHO)
        person, request = drawn.people[number], of_person(drawn.request, number)
        edit = edit_controls(model, person.mask, KEY)
        waits = person.mask is None
        st.caption(WAITS if waits else stays_in_words(edit.keep, regions_volumes(model, edit.region)))
        if here.problem:
            st.warning(f"That cannot be done, so nothing was drawn. {here.problem}", icon=":material/error:")
        with st.container(horizontal=True, vertical_alignment="center"):
            wish = partial(_want, Asked(request=request, edit=edit))
            icon = ":material/brush:"
            st.button(
                "Draw for this mask", type="primary", on_click=wish, disabled=waits or not edit.changes, icon=icon
            )
            if made is not None:
                st.button("Back to the person", on_click=_back, icon=":material/undo:")
            mask = made[1].people[1].mask if made is not None and made[0].request == request else person.mask
            name = f"{drawn.request.model}_seed-{person.seed}{'_edited' if mask is not person.mask else ''}"
            data = partial(mask_zip, mask, name) if mask else b""
            st.download_button(
                "Mask as NIfTI", data, f"{name}_dseg.zip", "application/zip", on_click="ignore", disabled=waits,
                icon=":material/download:", help="NIfTI dseg with its BIDS table: of the edit where one is shown.",
            )  # fmt: skip
        place = st.empty()
        if made is not None and made[0].edit.mask:
            st.caption(
                "A mask that was loaded or painted is in no address and in no session file: save it as NIfTI to keep it."
            )
    return place


def _want(asked: Asked) -> None:
    here = edits()
    here.wanted = asked
    here.problem = ""


def _back() -> None:
    here = edits()
    here.made = here.wanted = None
    restore_edit(KEY, None)


def edit_wanted(name: str) -> bool:
    """Is an edit to be drawn by the model ``name``? What another one was asked for is let go."""
    here = edits()
    if here.wanted is not None and here.wanted.request.model != name:
        here.wanted = None
    return here.wanted is not None


def draw_edit(model: Model, places: Sequence[DeltaGenerator | None]) -> None:
    """Draw the edit that is wanted with progress in ``places`` and a way out; show it by running the page again."""
    here = edits()
    asked = here.wanted
    assert asked is not None
    began = time.monotonic()
    try:
        with bars(places, here.stop) as moved:
            here.made = _made(model, asked, lambda share, text: moved(share, text + time_left(began, share)))
    except Refusal as error:
        here.problem = refused(error)
    here.wanted = None
    st.rerun()


def _made(model: Model, asked: Asked, report: Report) -> Made:
    began = time.monotonic()
    pair = edited_pair(model, asked.request, asked.edit, report)
    people = [pair.before, pair.after]
    told = asked.edit.in_words(titles_of(model).__getitem__)
    names = [NAMES[0], f"{NAMES[1]}: {told}"]
    why = partial(_why, pair.fact)
    scene = scene_of(model, asked.request, people, names=names, why=why, compare=True)
    drawn = Drawn(
        request=asked.request,
        digest=model.digest,
        people=people,
        scene=scene,
        seconds=time.monotonic() - began,
        guidance=model.checkpoint.config.guidance,
        licence=model.licence,
        edit=asked.edit,
    )
    return asked, drawn, pair.follow


def _why(fact: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Why a column is what it is in the edited person."""
    if row["origin"] == "derived":
        return "computed"
    return "held" if row["name"] in fact else "follows"


def paint(model: Model, drawn: Drawn) -> None:
    """Take in what was painted into one of the people shown, and draw that person for it."""
    sent = st.session_state[VIEWER]["paint"]
    if sent is None or sent["scene"] != fingerprint(drawn.scene):
        return
    person = drawn.people[int(sent["person"])]
    mask: Segmentation | None = person.mask
    if mask is None:
        return
    key = keep_mask(painted(mask, sent["strokes"]), f"Painted, seed {person.seed}")
    edit = replace(RegionEdit(), mask=key, keep=bool(st.session_state.get(f"{KEY}.keep", True)))
    restore_edit(KEY, edit)
    _want(Asked(request=replace(drawn.request, seed=person.seed, n=1), edit=edit))


def followed_in_words(follow: tuple[str, ...], drawn: Drawn) -> str:
    """What the attributes that follow the mask did."""
    one, other = (person.attributes for person in drawn.people)
    moves = [f"{label(name)} {float(str(one[name])):.2f} to {float(str(other[name])):.2f}" for name in follow]
    return f" Follows the mask: {', '.join(moves)}." if moves else ""
