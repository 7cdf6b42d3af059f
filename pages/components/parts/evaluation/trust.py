"""How far what is drawn may be believed, measure by measure, as the checkpoint's evaluation found it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from engine.anatomy.words import within
from pages.components.parts.evaluation.grade import Grade, from_words
from pages.components.state.person_table import label

Level = Literal["good", "part", "poor", "unknown"]
SIGNS: dict[Level, str] = {"good": "●", "part": "◐", "poor": "▲", "unknown": "○"}
NAMES: dict[Level, str] = {"good": "trust", "part": "trust in part", "poor": "do not trust", "unknown": "not evaluated"}
UNEVALUATED = (
    "This model has not been evaluated yet, so nothing says how far its measures or its texture may be believed."
)
#: a figure's name: how a measure goes with an attribute, and whether an organ's look is that of real scans
SLOPE = re.compile(r"(?P<measure>\w+) on (?P<attribute>\w+): synthetic over real slope")
STAYS = re.compile(r"(?P<attribute>\w+): change of (?P<measures>[\w, ]+) that should stay, SD")
TEXTURE = re.compile(r"Fréchet distance \(radiomics.*")


@dataclass(frozen=True, kw_only=True)
class Trust:
    """A line: ``title`` of what is graded, its ``level``, and in ``words`` why."""

    title: str
    level: Level
    words: str

    @property
    def short(self) -> str:
        """``● trust``."""
        return f"{SIGNS[self.level]} {NAMES[self.level]}"

    def line(self) -> str:
        """``Ventricles: follow age as real ones do (trust).``"""
        return f"{SIGNS[self.level]} **{self.title}**: {self.words} ({NAMES[self.level]})."


def grades_of(card: Mapping[str, Any]) -> list[Grade]:
    """The figures of a card's evaluation."""
    lines = card.get("evaluation")
    if not isinstance(lines, Mapping):
        return []
    found = (from_words(str(name), str(text)) for name, text in lines.items())
    return [grade for grade in found if grade is not None]


def trust_of(card: Mapping[str, Any], measures: Mapping[str, str]) -> dict[str, Trust]:
    """A line for each of the ``measures`` (name and title), by name; none where nothing was evaluated of any."""
    grades = grades_of(card)
    found = {name: _measure(name, title, grades) for name, title in measures.items()}
    return found if any(one.level != "unknown" for one in found.values()) else {}


def trust_in_words(trust: Mapping[str, Trust], texture: Trust) -> str:
    """A line for each measure that was evaluated; those that were not by name on one line, or that nothing was."""
    every = [*trust.values(), texture]
    known = [f"* {one.line()}" for one in every if one.level != "unknown"]
    unknown = [one.title for one in every if one.level == "unknown"]
    if not known:
        return UNEVALUATED
    return "\n".join([*known, *([f"* {SIGNS['unknown']} Not evaluated: {', '.join(unknown)}."] if unknown else [])])


def _measure(name: str, title: str, grades: Iterable[Grade]) -> Trust:
    good: list[str] = []
    poor: list[str] = []
    for grade in grades:
        if (found := SLOPE.fullmatch(grade.name)) and found["measure"] == name and grade.verdict:
            attribute = within(label(found["attribute"]))
            steep = f"{grade.figure.value:.1f} times as steeply"
            (good if grade.good else poor).append(attribute if grade.good else f"{attribute} {steep}")
        elif (found := STAYS.fullmatch(grade.name)) and name in re.split(r",\s*", found["measures"]):
            poor += [f"a what-if of {found['attribute']} although it should not"] if _failed(grade) else []
    words = [f"follows {_and(good)} as in real persons"] if good else []
    words += [f"follows {_and(poor)}"] if poor else []
    if not words:
        return Trust(title=title, level="unknown", words="nothing was evaluated of it for this model")
    level: Level = "good" if not poor else "part"
    return Trust(title=title, level=level if good else "poor", words=", but ".join(words))


def texture_trust(card: Mapping[str, Any]) -> Trust:
    """Whether the fine texture of drawn scans is that of real ones."""
    grade = next((one for one in grades_of(card) if TEXTURE.fullmatch(one.name)), None)
    if grade is None or not grade.verdict:
        return Trust(title="Fine texture", level="unknown", words="nothing was evaluated of it for this model")
    if grade.good:
        return Trust(title="Fine texture", level="good", words="is as that of real scans")
    return Trust(title="Fine texture", level="poor", words="is told from that of real scans")


def _failed(grade: Grade) -> bool:
    return bool(grade.verdict) and not grade.good


def _and(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
