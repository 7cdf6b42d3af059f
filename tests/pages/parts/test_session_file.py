"""A session file leads back to the same people, and anything else gets one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from engine.vocabulary.schema import AttributeSchema, Category, Number
from pages.components.parts.session_file import (
    LARGEST,
    Session,
    SessionError,
    check_here,
    read_session,
    session_of,
    session_of_whatif,
)
from pages.components.state.address import Request, read_query
from pages.components.state.generation import Drawn
from pages.components.state.intervention import Question, read_question

SCHEMA = AttributeSchema(
    columns=(
        Number(name="age", unit="years", low=18, high=100),
        Category(name="sex", levels=("F", "M")),
    )
)
REQUEST = Request(model="tiny", given=(("age", 41), ("sex", "F")), seed=5, n=2, steps=3)
DRAWN = Drawn(request=REQUEST, digest="0123456789ab", people=[], scene=b"", seconds=1.0)
SESSION = session_of(DRAWN)
QUESTION = Question(
    model="tiny",
    digest="0123456789ab",
    seed=5,
    steps=3,
    before=(("age", 41.0),),
    change=(("age", 60.0),),
    held=("sex",),
)
WHATIF = session_of_whatif(QUESTION)


@dataclass
class Loaded:
    digest: str
    schema: AttributeSchema = SCHEMA


def load(name: str) -> Loaded:
    assert name == "tiny"
    return Loaded("0123456789ab")


def changed(change: Callable[[dict[str, Any]], Any]) -> bytes:
    found = json.loads(SESSION.to_bytes())
    change(found)
    return json.dumps(found).encode()


def test_a_file_leads_back_to_the_request_it_was_saved_of():
    found = read_session(SESSION.to_bytes())
    assert found == SESSION
    check_here(found, ["tiny"], load)
    assert read_query(found.address, "tiny", SCHEMA) == (REQUEST, [])
    saved = json.loads(SESSION.to_bytes())
    assert saved["notice"] == "synthetic, not for diagnosis"
    assert saved["checkpoint"] == {"name": "tiny", "digest": "0123456789ab"}


def test_a_file_leads_back_to_the_what_if_it_was_saved_of():
    found = read_session(WHATIF.to_bytes())
    assert found == WHATIF
    check_here(found, ["tiny"], load)
    assert read_question(found.address, "tiny", load("tiny")) == (QUESTION, [])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no session file"),
        (b"\x89PNG\r\n", "no session file"),
        (b'{"age": 40}', "no session file"),
        (b"[" * 5000, "no session file"),
        (b"[1, 2]", "no session file"),
        (SESSION.to_bytes()[:-40], "damaged"),
        (b" " * LARGEST + SESSION.to_bytes(), "16 kB at most"),
        (SESSION.to_bytes().replace(b'"page"', b'"notice"'), "damaged"),
        (changed(lambda s: s.update(version=2)), "version 2, this program reads 1"),
        (changed(lambda s: s.update(page="../secrets")), "damaged"),
        (changed(lambda s: s.pop("address")), "damaged"),
        (changed(lambda s: s["address"].update(age=41)), "damaged"),
        (changed(lambda s: s["address"].update(age="4\n1")), "damaged"),
        (changed(lambda s: s["address"].update(age="4" * 97)), "damaged"),
        (changed(lambda s: s["address"].update({str(i): "1" for i in range(64)})), "damaged"),
        (changed(lambda s: s["address"].update(model="other")), "damaged"),
        (changed(lambda s: s["checkpoint"].update(name="../tiny")), "damaged"),
        (changed(lambda s: s["checkpoint"].update(digest="__import__('os')")), "damaged"),
        (changed(lambda s: s["checkpoint"].pop("digest")), "damaged"),
    ],
)
def test_a_strange_or_damaged_file_is_refused(data: bytes, words: str):
    with pytest.raises(SessionError, match=words):
        read_session(data)


@pytest.mark.parametrize(
    ("session", "names", "words"),
    [
        (SESSION, ["head"], "needs the checkpoint tiny, which is not here"),
        (replace(SESSION, digest="ffffffffffff"), ["tiny"], "weights ffffffffffff, here it has 0123456789ab"),
        (replace(SESSION, address={**SESSION.address, "age": "300"}), ["tiny"], "Age '300' is not possible here"),
        (replace(SESSION, address={**SESSION.address, "shoe": "42"}), ["tiny"], "there is no column 'shoe' here"),
        (replace(WHATIF, address={**WHATIF.address, "set.age": "300"}), ["tiny"], "Age '300' is not possible here"),
        (replace(WHATIF, address={**WHATIF.address, "hold": "shoe"}), ["tiny"], "shoe"),
    ],
)
def test_a_session_of_other_weights_or_columns_is_refused(session: Session, names: list[str], words: str):
    with pytest.raises(SessionError, match=words):
        check_here(session, names, load)
