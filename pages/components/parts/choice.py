"""A choice by buttons."""

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
