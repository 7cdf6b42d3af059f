"""What a reader asks by an address is told from what a browser sends that is behind."""

from __future__ import annotations

import pytest
import streamlit as st

from pages.components.state import page_address
from pages.components.state.page_address import LAG, PageAddress

ASKED, WRITTEN, OTHER = {"seed": "1"}, {"seed": "1", "n": "1"}, {"seed": "2"}


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch):
    """Come with an address, at a time in seconds."""
    clock = [100.0]
    monkeypatch.setattr(page_address.time, "monotonic", lambda: clock[0])

    def come(address: dict[str, str], seconds: float = 0.0) -> None:
        clock[0] += seconds
        st.query_params.from_dict(address)

    yield come
    st.query_params.clear()


def test_the_address_that_was_replaced_is_no_wish_for_a_while(browser):
    page = PageAddress()
    browser(ASKED)
    assert page.changed()
    page.take()
    assert not page.changed()
    page.write(WRITTEN)
    assert st.query_params.to_dict() == WRITTEN
    assert not page.changed()

    browser(ASKED, LAG - 1)
    assert not page.changed(), "the browser is behind"
    page.write(WRITTEN)
    assert st.query_params.to_dict() == WRITTEN, "and is told again"
    browser(OTHER)
    assert page.changed(), "any other address is a wish"
    browser(ASKED, LAG + 1)
    assert page.changed(), "somebody went back"


def test_what_was_taken_over_replaced_nothing(browser):
    page = PageAddress()
    browser(ASKED)
    page.take()
    page.write(WRITTEN)
    browser(OTHER)
    page.take()
    browser(ASKED)
    assert page.changed()
