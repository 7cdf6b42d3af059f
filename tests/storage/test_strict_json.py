"""JSON as its standard has it: what is no number there is refused, read or written."""

from __future__ import annotations

import pytest

from engine.storage.strict_json import parse, text_of


@pytest.mark.parametrize("text", ['{"a": NaN}', "[Infinity]", "[-Infinity]", "[1e999]", '{"a": 1, "a": 2}', "{", ""])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse(text)


def test_what_is_written_is_read_again() -> None:
    value = {"ä": [1, 2.5, None, True], "b": {"c": "…"}}
    assert parse(text_of(value)) == value
    assert parse(text_of(value).encode()) == value


def test_a_number_that_is_none_is_not_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        text_of({"loss": float("nan")})
