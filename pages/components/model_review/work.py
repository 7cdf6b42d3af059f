"""What is known of a model's quality, from its card or from a report: every figure beside what real and broken data score."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.anatomy.words import column_title, within
from engine.evaluation.report.page import TITLES
from engine.vocabulary.refusal import Refusal
from pages.components.parts.evaluation.grade import Grade, Span, from_words, span_of
from pages.components.state.generation import Drawn
from pages.components.state.session import kept

if TYPE_CHECKING:
    pass

#: what a report says of itself (:mod:`engine.evaluation.report.write`)
FORMAT, VERSION = "somatwin-report", 1
#: the parts of a card that evaluate and audit write, by heading
CARD_PARTS = {"evaluation": "evaluate", "privacy audit": "audit"}
MEANINGS = {
    "evaluate": "How people who do not exist compare with real ones who took no part in the training.",
    "audit": "Whether synthetic people are nearer to those trained on than people who took no part are. Passing proves nothing.",
}
#: how a plot of persons asked for several values of an attribute is headed
ASKED = "Requested and read "


class ReviewError(Refusal):
    """A report that cannot be shown; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A chapter of a review; ``remarks`` are figures that are said in words only."""

    key: str
    title: str
    meaning: str
    method: str = ""
    grades: tuple[Grade, ...] = ()
    remarks: Mapping[str, str]
    sheets: Sequence[Mapping[str, Any]] = ()
    plots: Sequence[Mapping[str, Any]] = ()
    missing: Sequence[str] = ()

    def judged(self) -> tuple[int, int]:
        """How many figures are as real data's are (or do not alarm), and how many were judged."""
        verdicts = [grade.good for grade in self.grades if grade.verdict]
        return sum(verdicts), len(verdicts)


@dataclass(frozen=True, kw_only=True)
class Review:
    """All that is shown of one model: ``facts`` by heading, then the parts; ``cohort`` is what it was trained on."""

    title: str
    facts: Mapping[str, str]
    parts: tuple[Part, ...]
    cohort: object
    digest: str = ""
    steps: int = 0
    guidance: float | None = None


@dataclass(frozen=True, kw_only=True)
class Worst:
    """A synthetic person whose scan is read farthest from what was asked for; drawn again from the seed."""

    attribute: str
    seed: int
    asked: float
    read: float
    expected: float

    def in_words(self) -> str:
        what = within(column_title(self.attribute))
        return f"seed {self.seed}: {what} {self.asked:g} asked, {self.read:.1f} read, {self.expected:.1f} expected"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a review comes from: the ``model``'s card, or the report in a ``folder``."""

    model: str
    folder: str


@dataclass
class Visit:
    """What Model review keeps: the ``source`` chosen last, and the worst person ``drawn`` again."""

    source: Source | None = None
    drawn: Drawn | None = None


def visit() -> Visit:
    return kept("model review", Visit)


def card_review(card: Mapping[str, Any]) -> Review:
    """What a model card knows; raises :class:`ReviewError` for a card without any figures."""
    parts = []
    for key, kind in CARD_PARTS.items():
        if isinstance(lines := card.get(key), Mapping):
            said = {str(k): str(v) for k, v in lines.items() if k != "how"}
            grades = {name: grade for name, text in said.items() if (grade := from_words(name, text))}
            rest = {name: text for name, text in said.items() if name not in grades}
            parts.append(
                Part(
                    key=key,
                    title=TITLES[kind],
                    meaning=MEANINGS[kind],
                    method=str(lines.get("how", "")),
                    grades=tuple(grades.values()),
                    remarks=rest,
                )
            )
    for key, value in card.items():
        if key.startswith("figures") and isinstance(value, Mapping):
            remarks = {str(k): str(v) for k, v in value.items()}
            meaning = "What the people who made this model measured and found worth saying."
            parts.append(Part(key=key, title=key.replace("_", " ").capitalize(), meaning=meaning, remarks=remarks))
    return Review(
        title=f"{card.get('title', 'Model')}: what its card says",
        facts={},
        parts=tuple(parts),
        cohort=card.get("trained_on"),
    )


def report_file(folder: str) -> Path:
    """The report.json that a reader means by a folder, or by the file itself."""
    path = Path(folder.strip().strip("'\"")).expanduser()
    return path if path.name == "report.json" else path / "report.json"


def read_report(folder: str) -> Review:
    """The report in a folder; raises :class:`ReviewError`. Nothing but ``report.json`` is opened."""
    file = report_file(folder)
    remedy = "give the folder that somatwin evaluate or somatwin audit wrote"
    try:
        found = json.loads(file.read_text("utf-8"))
    except OSError:
        raise ReviewError(f"There is no report.json to read in {file.parent}: {remedy}.") from None
    except ValueError:  # no JSON, or no text
        raise ReviewError(f"{file} is no report, or a damaged one: {remedy}.") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT or found.get("version") != VERSION:
        raise ReviewError(f"{file} is not a Somatwin report of version {VERSION}: {remedy}.")
    try:
        return _review(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ReviewError(f"{file} is damaged ({reason}): run the evaluation again, it goes on where it was.") from None


def _review(found: Mapping[str, Any]) -> Review:
    store = found["store"]
    sampling = found["sampling"]
    checkpoint = found["checkpoint"]
    parts = []
    for section in found["sections"]:
        part = Part(
            key=str(section["key"]),
            title=str(section["title"]),
            meaning=str(section["meaning"]),
            method=str(section["method"]),
            grades=tuple(map(_grade, section["entries"])),
            remarks={},
            sheets=tuple(section["sheets"]),
            plots=tuple(section["plots"]),
            missing=tuple(section["missing"]),
        )
        parts.append(part)
    facts = {
        "Model": f"{checkpoint['name']}, weights {checkpoint['digest']}",
        "Compared with": f"{store['source']}: {store['train']} training, {store['validation']} validation, "
        f"{store['test']} test persons",
        "Drawn": f"{sampling['n']} synthetic persons, seed {sampling['seed']}, {sampling['steps']} steps",
        "Seen by": ", ".join(f"{kind}: {name}" for kind, name in found["extractors"].items()) or "the table alone",
        "Licence": str(found["licence"]),
    }
    if "seconds" in found:
        facts["Took"] = f"{found['seconds'] / 60:.1f} minutes"
    return Review(
        title=f"{TITLES.get(found['kind'], 'Report')} of {checkpoint['name']}",
        facts=facts,
        parts=tuple(parts),
        cohort=found["trained_on"],
        digest=str(checkpoint["digest"]),
        steps=int(sampling["steps"]),
        guidance=sampling["guidance"],
    )


def _grade(entry: Mapping[str, Any]) -> Grade:
    def span(found: Mapping[str, Any] | None) -> Span | None:
        return None if found is None else span_of(found["value"], found["low"], found["high"])

    figure = entry["figure"]
    return Grade(
        name=str(entry["name"]),
        figure=span_of(figure["value"], figure["low"], figure["high"]),
        unit=str(entry["unit"]),
        n=int(figure["n"]),
        real=span(entry["floor"]),
        broken=span(entry["ceiling"]),
        target=entry["target"],
        p=entry["p"],
        verdict=str(entry["verdict"]),
        note=str(entry["note"]),
    )


def worst(review: Review, most: int = 4) -> list[Worst]:
    """The persons, one a seed, whose scans are read farthest from where a real person's of the asked value would be.

    Distances are in spans of the asked values, so that attributes compare.
    """
    found: dict[int, tuple[float, Worst]] = {}
    for plot in [p for part in review.parts for p in part.plots if str(p["title"]).startswith(ASKED)]:
        lines = {name: np.array(xy, float) for name, xy in plot["series"].items()}
        made = {name: xy for name, xy in lines.items() if name.startswith("seed-")}
        real = next((xy for name, xy in lines.items() if name.startswith("real")), None)
        reach = float(np.ptp([xy[0] for xy in made.values()])) if made else 0.0
        for name, (asked, read) in made.items():
            expected = asked if real is None else np.interp(asked, *real)
            far = np.abs(read - expected) / max(reach, 1e-9)
            if not np.isfinite(far).any():
                continue
            k, seed = int(np.nanargmax(far)), int(name.removeprefix("seed-"))
            values = {"asked": float(asked[k]), "read": float(read[k]), "expected": float(expected[k])}
            person = Worst(attribute=str(plot["title"]).removeprefix(ASKED), seed=seed, **values)
            found[seed] = max(found.get(seed, (-1.0, person)), (float(far[k]), person), key=lambda pair: pair[0])
    ordered = sorted(found.values(), key=lambda pair: -pair[0])
    return [person for _, person in ordered[:most]]


def groups_heat(part: Part) -> tuple[list[list[float | None]], list[str], list[str]]:
    """Reading errors of each group relative to the mean of all groups, in %: values, columns, rows; empty where there are none."""
    for sheet in part.sheets:
        places = {k: str(c).split(":")[0] for k, c in enumerate(sheet["columns"]) if str(c).endswith("reading error")}
        rows = [row for row in sheet["rows"] if any(row[k] is not None for k in places)]
        if not rows:
            continue
        means = {k: float(np.mean([row[k] for row in rows if row[k] is not None] or [0])) for k in places}
        cells = [[100 * (r[k] / means[k] - 1) if r[k] is not None and means[k] else None for k in places] for r in rows]
        return cells, list(places.values()), [str(row[0]) for row in rows]
    return [], [], []
