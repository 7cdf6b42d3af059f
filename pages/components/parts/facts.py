"""Facts by heading, as pages show them, and which version of the program they are of."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib.metadata import PackageNotFoundError, version

import streamlit as st


def facts_list(facts: Mapping[str, str]) -> None:
    """Headings and words in two columns."""
    items = "".join(f"<dt>{escape(title)}</dt><dd>{escape(text)}</dd>" for title, text in facts.items())
    st.html(f'<dl class="facts">{items}</dl>')


def program_version() -> str:
    """Of the installed program."""
    try:
        return version("somatwin")
    except PackageNotFoundError:
        return "of a clone that was not installed"


def refused(error: Exception | str) -> str:
    """A refusal of the engine, or what a process said, as a sentence of a page."""
    text = " ".join(str(error).split())
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
