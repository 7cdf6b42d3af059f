"""The library keeps exact settings, comes back from a file and from the browser, and believes nothing unchecked."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import engine
from pages.components.parts.library.store import (
    MOST,
    Entry,
    Library,
    LibraryError,
    library_text,
    read_library,
)
from pages.components.parts.session_file import NOTICE, Session
from tests.pages.conftest import ROOT

SESSION = Session(
    page="Explore",
    address={"model": "tiny", "seed": "5", "n": "1", "steps": "2", "age": "41"},
    checkpoint="tiny",
    digest="0123456789ab",
)
#: eight by eight grey dots
WEBP = bytes.fromhex("52494646240000005745425056503820180000003001009d012a0800080001402625a400037000feee704000")
ENTRY = Entry(name="Anna", words="Given: Age 41.", session=SESSION, picture=WEBP)


def test_a_file_brings_back_what_was_kept_and_is_marked():
    other = replace(ENTRY, name="Berta", session=replace(SESSION, address=SESSION.address | {"seed": "6"}))
    text = library_text([ENTRY, other])
    assert read_library(text) == [ENTRY, other]
    assert json.loads(text)["notice"] == NOTICE
    assert ENTRY.key != other.key


def changed(**changes: object) -> str:
    content = json.loads(library_text([ENTRY]))
    content["entries"][0] |= changes
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no library file"),
        ("[]", "no library file"),
        (json.dumps({"format": "somatwin-library", "version": 9}), "of version 9"),
        (json.dumps({"format": "somatwin-library", "version": 1}), "damaged"),
        (changed(session={}), "damaged"),
        (changed(picture="no base64!"), "damaged"),
        (changed(picture=base64.b64encode(b"<script>").decode()), "a picture that is none of its own"),
        (changed(picture=base64.b64encode(WEBP[:30]).decode()), "a picture that is none of its own"),
        ("x" * 2**21, "at most"),
    ],
)
def test_anything_else_is_refused_in_a_sentence(text: str, words: str):
    with pytest.raises(LibraryError, match=words):
        read_library(text)


def test_what_was_removed_does_not_come_back_and_the_oldest_goes():
    here = Library()
    here.add(ENTRY)
    here.rename(ENTRY.key, "  Clara ")
    here.rename(ENTRY.key, " ")
    assert here.entries[ENTRY.key].name == "Clara"
    here.merge([ENTRY])
    assert here.entries[ENTRY.key].name == "Clara", "what is here is newer"
    here.remove(ENTRY.key)
    here.merge([ENTRY])
    assert not here.entries
    for k in range(MOST + 2):
        here.add(replace(ENTRY, session=replace(SESSION, address=SESSION.address | {"seed": str(k)})))
    assert len(here.entries) == MOST
    assert min(entry.seed for entry in here.entries.values()) == 2


def test_a_person_is_kept_found_compared_and_removed(checkpoint: str):
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).switch_page("pages/1_Explore.py")
    for name, text in {"seed": "5", "n": "2", "steps": "2", "age": "41"}.items():
        app.query_params[name] = text
    app.run()
    for k in (1, 2):
        next(b for b in app.button if b.label.startswith(f"Keep person {k}")).click().run()
    assert not app.exception
    entries = [*app.session_state["library"].entries.values()]
    digest = engine.load(checkpoint, "cpu").digest
    assert [entry.session.address for entry in entries] == [
        {"model": "tiny", "seed": str(seed), "n": "1", "steps": "2", "age": "41"} for seed in (5, 6)
    ]
    assert {entry.session.digest for entry in entries} == {digest}
    assert all(entry.picture[8:12] == b"WEBP" for entry in entries)
    assert read_library(library_text(entries)) == entries

    app.switch_page("pages/9_Library.py").run()
    assert not app.exception
    assert [text.value for text in app.text_input] == [entry.name for entry in entries]
    assert sum(link.proto.label == "Open in Explore" for link in app.get("page_link")) == 2
    next(b for b in app.button if b.label == "Compare").click().run()
    app.selectbox(key="library.B").set_value(entries[1].key).run()
    next(b for b in app.button if b.label == "Compare").click().run()
    assert not app.exception
    assert any(c.proto.component_name.endswith("somatwin_viewer") for c in app.get("bidi_component"))
    app.text_input(key=f"library.name.{entries[0].key}").set_value("Anna").run()
    assert app.session_state["library"].entries[entries[0].key].name == "Anna"
    next(b for b in app.button if b.label == "Remove").click().run()
    assert [*app.session_state["library"].entries] == [entries[1].key]


def test_an_entry_of_other_weights_is_not_opened(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(tiny_checkpoint))
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).switch_page("pages/9_Library.py")
    here = Library()
    here.add(ENTRY)
    app.session_state["library"] = here
    app.run()
    assert not app.exception
    assert any("they would draw somebody else" in text.value for text in app.caption)
    assert not [link for link in app.get("page_link") if link.proto.label == "Open in Explore"]
