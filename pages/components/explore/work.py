"""Who is drawn on Explore: the people shown, those wanted, and the drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.vocabulary.refusal import Refusal
from pages.components.state.address import Request
from pages.components.state.generation import Drawn, draw
from pages.components.state.job import bars
from pages.components.state.session import kept

if TYPE_CHECKING:
    from engine.inference.generate import Model

#: sampling steps of a draft, which live mode shows first
DRAFT_STEPS = 2


@dataclass
class Visit:
    """What Explore keeps: who is ``drawn`` and who is ``wanted``, ``problems`` in sentences, who was ``followed`` last in
    live mode, the ``address`` that was taken over, and the digest of the model whose ``controls`` are shown."""

    drawn: Drawn | None = None
    wanted: Request | None = None
    problems: list[str] = field(default_factory=list)
    followed: Request | None = None
    address: dict[str, str] | None = None
    controls: str = ""

    @property
    def missing(self) -> Request | None:
        """Those wanted, unless they are shown."""
        if self.drawn is not None and self.drawn.request == self.wanted:
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
    """Draw who is wanted, in live mode as a draft first, with progress in ``places``; show them by running the page again."""
    here = visit()
    draft = replace(wanted, steps=min(DRAFT_STEPS, wanted.steps))
    first = live and (here.drawn is None or here.drawn.request != draft)
    target = draft if first else wanted

    try:
        with bars(places, here.stop) as report:
            here.drawn = draw(model, target, report, draft=target != wanted)
    except Refusal as error:
        here.wanted = None
        here.problems = [str(error)]
    st.rerun()
