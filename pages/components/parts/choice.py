"""A choice by buttons, and a button that says why it cannot be pressed."""

from __future__ import annotations

from typing import Any

import streamlit as st


def one_of(title: str, options: list[str], key: str, *, width: Any = "stretch", **settings: Any) -> str:
    """Buttons of which one is always pressed."""
    st.session_state.setdefault(key, options[0])
    if st.session_state[key] not in options:
        st.session_state[key] = options[0]
    chosen = st.segmented_control(title, options, key=key, required=True, width=width, **settings)
    return str(chosen or options[0])


def button_or_why(label: str, why_not: str, **settings: Any) -> bool:
    """A button; while there is a sentence ``why_not``, it cannot be pressed and the sentence stands beside it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button(label, disabled=bool(why_not), **settings)
        if why_not:
            st.markdown(f":orange[:material/error:] {why_not}", width="content")
    return pressed and not why_not
