"""JSON as its standard has it (RFC 8259): no NaN, no Infinity, and no key twice."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def parse(text: str | bytes) -> Any:
    """What the text says. Raises ValueError with the reason for NaN, Infinity, a key given twice, or no JSON at all.

    >>> parse('{"guidance": 1.5}')
    {'guidance': 1.5}
    """
    return json.loads(text, parse_constant=_constant, object_pairs_hook=_once, parse_float=_finite)


def read(path: Path) -> Any:
    """:func:`parse` of a file in UTF-8. Raises OSError, or ValueError with the reason."""
    return parse(path.read_text("utf-8"))


def text_of(value: Any, indent: int | None = 1) -> str:
    """The value as JSON. Raises ValueError where a number is not finite."""
    return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)


def defined(value: Any) -> Any:
    """The value with None for every number that is not finite, such as a correlation over one person.

    >>> defined({"r": [float("nan"), 0.5]})
    {'r': [None, 0.5]}
    """
    if isinstance(value, Mapping):
        return {key: defined(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [defined(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is larger than a number can be")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)} is given twice")
    return found
