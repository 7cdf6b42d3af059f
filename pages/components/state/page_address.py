"""The address of a page: what a reader asks by it, and what the page itself wrote into it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

#: seconds after an address was written for which a browser may still send the one before
LAG = 5.0


@dataclass
class PageAddress:
    """The address that a page last took over or wrote, and the one that its writing replaced.

    Whatever a browser sends (a button, a part of the page that looks after some work) comes with the address that it has by then.
    Right after the page wrote another one that may still be the old one, which nobody asks for.
    """

    known: dict[str, str] | None = None
    replaced: dict[str, str] | None = None
    written: float = 0.0

    def changed(self) -> bool:
        """Is the browser at another address than the page's own?"""
        address = st.query_params.to_dict()
        late = address == self.replaced and time.monotonic() - self.written < LAG
        return not late and address != self.known

    def take(self) -> None:
        """Take over the browser's address, which has been answered."""
        self.known, self.replaced = st.query_params.to_dict(), None

    def write(self, query: Mapping[str, str]) -> None:
        """Make ``query`` the address."""
        address = st.query_params.to_dict()
        if address != query:
            st.query_params.from_dict(query)
            self.replaced, self.written = address, time.monotonic()
        self.known = dict(query)
