"""A session as a small file: the page, its address and the weights it was drawn with, to come back to the same people."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.vocabulary.refusal import Refusal
from pages.components.parts.facts import program_version, refused
from pages.components.state.address import read_query
from pages.components.state.generation import Drawn
from pages.components.state.intervention import Question, read_question
from pages.components.state.region_edit import WHOSE, parted, read_edit

if TYPE_CHECKING:
    from engine.inference.generate import Model

NOTICE = "synthetic, not for diagnosis"
FORMAT, VERSION = "somatwin-session", 1
#: pages that a session leads to, by name
PAGES = {"Explore": "pages/1_Explore.py", "What if": "pages/2_What_if.py"}
#: bytes of a file, and entries of an address, at most
LARGEST, MOST = 16_384, 64
#: what each part of a file must look like, to the last character
NAME, TEXT, HASH = (re.compile(text, re.ASCII) for text in (r"[\w.-]{1,64}", r"[^\x00-\x1f]{1,96}", r"[0-9a-f]{6,64}"))
FOREIGN = "This is no session file of Somatwin; choose one that its Download saved."
DAMAGED = "The session file is damaged; save it again, or open the page's address instead."


class SessionError(Refusal):
    """A file that leads nowhere here; the message says why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """Which people: the ``page`` (of :data:`PAGES`), its ``address``, and ``checkpoint`` and ``digest`` that drew them."""

    page: str
    address: dict[str, str]
    checkpoint: str
    digest: str

    def to_bytes(self) -> bytes:
        about = {
            "format": FORMAT,
            "version": VERSION,
            "notice": NOTICE,
            "program": program_version(),
            "page": self.page,
            "address": self.address,
            "checkpoint": {"name": self.checkpoint, "digest": self.digest},
        }
        return json.dumps(about, indent=1).encode()


def session_of(drawn: Drawn, address: Mapping[str, str] | None = None) -> Session:
    """The session that leads back to the people shown, at an ``address`` that says more than their request."""
    request = drawn.request
    return Session(
        page="Explore", address=dict(address or request.to_query()), checkpoint=request.model, digest=drawn.digest
    )


def session_of_whatif(question: Question) -> Session:
    """The session that leads back to a synthetic person's what-if; a scan of the reader's is in no session."""
    return Session(page="What if", address=question.to_query(), checkpoint=question.model, digest=question.digest)


def read_session(data: bytes) -> Session:
    """The session in a file, each part of it checked; nothing else in the file is kept.

    Raises :class:`SessionError` for a file that is too large, foreign, damaged, or of a later version.
    """
    if len(data) > LARGEST:
        raise SessionError(f"A session file has {LARGEST // 1024} kB at most, this one is larger. {FOREIGN}")
    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=_no_key_twice)
    except (ValueError, RecursionError):
        raise SessionError(DAMAGED if FORMAT.encode() in data else FOREIGN) from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise SessionError(FOREIGN)
    if found.get("version") != VERSION:
        raise SessionError(
            f"The session file is of version {str(found.get('version'))[:9]}, this program reads {VERSION}."
        )
    address = found.get("address")
    checkpoint = found.get("checkpoint")
    page = found.get("page")
    if not isinstance(address, dict) or not isinstance(checkpoint, dict) or len(address) > MOST:
        raise SessionError(DAMAGED)
    if (
        page not in PAGES
        or not all(_like(TEXT, text) for pair in address.items() for text in pair)
        or not _like(NAME, checkpoint.get("name"))
        or not _like(HASH, checkpoint.get("digest"))
        or address.get("model") != checkpoint["name"]
    ):
        raise SessionError(DAMAGED)
    return Session(page=page, address=address, checkpoint=checkpoint["name"], digest=checkpoint["digest"])


def check_here(session: Session, names: list[str], load: Callable[[str], Model]) -> None:
    """Raise :class:`SessionError` unless the session's checkpoint is one of ``names``, its weights are those of then, and it
    can do all that the address asks for."""
    name = session.checkpoint
    if name not in names:
        raise SessionError(f"The session needs the checkpoint {name}, which is not here: put it under checkpoints/.")
    model = load(name)
    if model.digest != session.digest:
        raise SessionError(
            f"The session was drawn with {name} of weights {session.digest}, here it has {model.digest}: the same settings "
            "would draw other people. Restore that checkpoint, or enter the settings anew."
        )
    if session.page == "Explore":
        plain, own = parted(session.address)
        own.pop(WHOSE, None)
        problems = read_query(plain, name, model.schema)[1] + read_edit(own, model)[1]
    else:
        problems = read_question(session.address, name, model)[1]
    if problems:
        raise SessionError(f"The session asks for what {name} cannot do: {problems[0]}.")


def open_session(place: DeltaGenerator, names: list[str], load: Callable[[str], Model]) -> None:
    """Take a session file and go where it leads; otherwise say in one sentence why not."""
    with place.popover("Open a session", icon=":material/folder_open:"), st.container(width=380):
        file = st.file_uploader("Session file", ["json"], max_upload_size=1, key="session file")
        st.markdown(":small[Saved on Explore or What if. It leads to the same people.]")
        if file is None:
            return
        try:
            session = read_session(file.getvalue() if file.size <= LARGEST else b" " * (LARGEST + 1))
            check_here(session, names, load)
        except Refusal as error:  # the checkpoint's own refusals too
            st.error(refused(error), icon=":material/link_off:")
            return
    st.switch_page(PAGES[session.page], query_params=session.address)


def _like(pattern: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found
