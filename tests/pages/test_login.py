"""Where a login is configured nobody sees a page without one; where none is, nobody is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).parents[2]
ONE = {"client_id": "a", "client_secret": "b", "server_metadata_url": "https://login.invalid"}
COMMON = {"redirect_uri": "http://localhost:8501/oauth2callback", "cookie_secret": "nobody knows it"}


@pytest.mark.parametrize(
    ("auth", "labels"),
    [
        ({**COMMON, **ONE}, ["Log in"]),
        ({**COMMON, "clinic": ONE, "university": ONE}, ["Log in with clinic", "Log in with university"]),
    ],
)
@pytest.mark.parametrize("page", ["app.py", "pages/8_About.py"])
def test_a_page_waits_for_the_login(auth: dict[str, object], labels: list[str], page: str) -> None:
    app = AppTest.from_file(str(ROOT / page), default_timeout=60)
    app.secrets["auth"] = auth
    app.run()
    assert not app.exception
    assert [button.label for button in app.button] == labels
    assert [title.value for title in app.title] == ["Somatwin"]
    assert not app.header


def test_without_one_it_opens() -> None:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    assert not app.exception
    assert app.header
    assert not [button for button in app.button if button.label.startswith("Log in")]
