"""The small example that a checkpoint may bring: people it drew beforehand, so that no page opens empty.

``example.json`` stands beside the weights and holds synthetic persons only, with the digest of the weights that drew them.
``somatwin example`` makes it (:mod:`engine.evaluation.example`); it is read here, without any network.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.storage import strict_json
from engine.vocabulary.schema import Row

FILE, FORMAT, VERSION = "example.json", "somatwin-example", 1
#: bytes of a file that is read, at most
LARGEST = 2**20
NOTICE = "synthetic, not for diagnosis"
#: columns that the what-if of another one leaves as they are
HELD = ("sex", "height", "ethnicity")
#: steps and values of a loss, by name, by stage
Losses = Mapping[str, Mapping[str, tuple[list[float], list[float]]]]


@dataclass(frozen=True, kw_only=True)
class ExamplePerson:
    """A synthetic person: ``row`` is their table, ``values`` what the region's ruler reads off the scan, ``picture`` a slice of it
    and ``planes`` three of them, as WebP (empty: none)."""

    seed: int
    row: Row
    values: Mapping[str, float]
    picture: bytes = b""
    planes: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Example:
    """What is in the file. ``people`` had nothing given; each of the ``asked`` had their own value of ``attribute`` (``low`` to
    ``high``); ``whatif`` is one person before and after that attribute was set. ``losses`` are of a training on the rows of the
    ``people``."""

    name: str
    digest: str
    steps: int
    people: tuple[ExamplePerson, ...]
    attribute: str = ""
    low: float = 0.0
    high: float = 0.0
    asked: tuple[ExamplePerson, ...] = ()
    whatif: tuple[ExamplePerson, ...] = ()
    losses: Losses


def example_file(path: Path) -> Path:
    """Where the example of the checkpoint in the folder ``path`` lies."""
    return path / FILE


def read_example(path: Path) -> Example | None:
    """The example of the checkpoint in a folder; None where there is none, or none that can be read."""
    file = example_file(path)
    try:
        if file.stat().st_size > LARGEST:
            return None
        found = strict_json.read(file)
        if found["format"] != FORMAT or found["version"] != VERSION:
            return None
        return _example(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        return None


def example_text(example: Example) -> str:
    """The text of a file that :func:`read_example` reads."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "notice": NOTICE,
        "checkpoint": {"name": example.name, "digest": example.digest},
        "steps": example.steps,
        "people": [_plain(person) for person in example.people],
        "attribute": example.attribute,
        "range": [example.low, example.high],
        "asked": [_plain(person) for person in example.asked],
        "whatif": [_plain(person) for person in example.whatif],
        "losses": {stage: {name: list(xy) for name, xy in by.items()} for stage, by in example.losses.items()},
    }
    return strict_json.text_of(strict_json.defined(content), indent=None)


def _plain(person: ExamplePerson) -> dict[str, Any]:
    pictures = {"picture": person.picture, "planes": person.planes}
    coded = {name: base64.b64encode(data).decode() for name, data in pictures.items() if data}
    return {"seed": person.seed, "row": dict(person.row), "values": dict(person.values), **coded}


def _example(found: Mapping[str, Any]) -> Example:
    low, high = found["range"]
    losses = {
        str(stage): {str(name): ([*map(float, xs)], [*map(float, ys)]) for name, (xs, ys) in by.items()}
        for stage, by in found["losses"].items()
    }
    groups = {name: tuple(map(_person, found[name])) for name in ("people", "asked", "whatif")}
    return Example(
        name=str(found["checkpoint"]["name"]),
        digest=str(found["checkpoint"]["digest"]),
        steps=int(found["steps"]),
        attribute=str(found["attribute"]),
        low=float(low),
        high=float(high),
        losses=losses,
        **groups,
    )


def _person(found: Mapping[str, Any]) -> ExamplePerson:
    values = {str(name): float("nan") if value is None else float(value) for name, value in found["values"].items()}
    pictures = {name: base64.b64decode(found.get(name, ""), validate=True) for name in ("picture", "planes")}
    return ExamplePerson(seed=int(found["seed"]), row=dict(found["row"]), values=values, **pictures)
