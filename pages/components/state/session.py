"""What a page keeps of a visit, as one typed object instead of names in ``st.session_state``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import streamlit as st

Kept = TypeVar("Kept")


def kept(name: str, make: Callable[[], Kept]) -> Kept:
    """The visit's object under ``name``, made when it is first asked for; controls keep their own keys beside it."""
    if name not in st.session_state:
        st.session_state[name] = make()
    return st.session_state[name]
