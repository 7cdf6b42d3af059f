"""Who is drawn on Explore: the people shown, those wanted, and the drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.vocabulary.refusal import Refusal
from pages.components.state.address import Request
from pages.components.state.generation import DRAFT_STEPS, Drawn, all_kept, draw
from pages.components.state.job import bars
from pages.components.state.page_address import PageAddress
from pages.components.state.session import kept

if TYPE_CHECKING:
    from engine.inference.generate import Model


@dataclass
class Visit:
    """What Explore keeps: who is ``drawn`` and who is ``wanted``, ``problems`` in sentences, who was ``followed`` last in
    live mode, the page's ``address``, and the digest of the model whose ``controls`` are shown."""

    drawn: Drawn | None = None
    wanted: Request | None = None
    problems: list[str] = field(default_factory=list)
    followed: Request | None = None
    address: PageAddress = field(default_factory=PageAddress)
    controls: str = ""

    @property
    def missing(self) -> Request | None:
        """Those wanted, unless they are shown in full."""
        if self.drawn is not None and self.drawn.request == self.wanted and not self.drawn.draft:
            return None
        return self.wanted

    def ask(self, request: Request) -> None:
        """Want these people."""
        self.wanted = self.followed = request
        self.problems = []

    def stop(self) -> None:
        """Want nobody any more."""
        self.wanted = None


def visit() -> Visit:
    return kept("explore", Visit)


def generate(model: Model, wanted: Request, live: bool, places: Sequence[DeltaGenerator]) -> None:
    """Draw who is wanted with progress in ``places``, as a draft first where :func:`draft_first`; show them by running the page
    again."""
    here = visit()
    try:
        with bars(places, here.stop) as report:
            here.drawn = draw(model, wanted, report, draft=draft_first(model, here.drawn, wanted, live))
    except Refusal as error:
        here.wanted = None
        here.problems = [str(error)]
    st.rerun()


def draft_first(model: Model, drawn: Drawn | None, wanted: Request, live: bool) -> bool:
    """Is a draft of those wanted to be shown first? In live mode, and while nobody of this model is shown; once."""
    shown = drawn is not None and drawn.digest == model.digest
    if drawn is not None and shown and (not live or (drawn.draft and drawn.request == wanted)):
        return False
    return wanted.steps > DRAFT_STEPS and not all_kept(model, wanted)
