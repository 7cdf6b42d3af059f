# ruff: noqa: E501 - a figure a line
"""What fails in a model, in plain words and the worst first: privacy, then agreement, what-ifs, pictures and tables."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from engine.evaluation.report.page import number
from pages.components.model_review.work import Review
from pages.components.parts.evaluation.grade import Grade, Span
from pages.components.state.person_table import capital

#: in the order in which they are shown
GROUPS = ("Privacy", "Scan and table together", "What if", "Pictures", "Table")
#: AUC from which an attacker can often tell
OFTEN = 0.7
_DISTANCE = r"(?:Fréchet distance|kernel distance \(KID\)) \(([^,)]+)"
Words = Callable[[re.Match[str], Grade], str]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A figure that is not as real data's (or an alarm of a test): its group, and what it means in a sentence."""

    group: str
    sentence: str
    grade: Grade


def _of_real(grade: Grade, form: Callable[[float], str]) -> str:
    """What real persons score, in brackets; nothing where that is not known."""
    return f" (real persons {form(grade.real.value)})" if grade.real and math.isfinite(grade.real.value) else ""


def _share(value: float) -> str:
    return f"{value:.0%}"


def _number(grade: Grade) -> Callable[[float], str]:
    return lambda value: f"{number(value)} {grade.unit}".rstrip()


def measured(name: str) -> str:
    """``intracranial_ml`` as a reader would say it."""
    text = name.strip().replace("_ml", " volume").replace("_cm", "").replace("_", " ")
    return text.upper() if text in ("bmi", "sat", "vat") else text


def _member(found: re.Match[str], grade: Grade) -> str:
    how = "often" if grade.figure.value >= OFTEN else "sometimes"
    what = "row" if "row" in found[1] else "scan"
    return (
        f"Who holds somebody's {what} could {how} tell whether they were in training: right in "
        f"{grade.figure.value:.0%} of pairs (a guess is 50%)."
    )


def _seen_by(encoder: str) -> str:
    return "texture and brightness" if "radiomics" in encoder else "a network that has learned what scans look like"


#: group, pattern of a figure's name, and what it means where it is not as real
GLOSSES: tuple[tuple[str, str, Words], ...] = (
    ("Privacy", r"membership by (.+), AUC", _member),
    ("Privacy", r"(.+): copy rate", lambda m, g: f"{_share(g.figure.value)} of the made {m[1].replace('scan and row', 'scans with their rows')} lie nearer to one training person than real persons lie to each other{_of_real(g, _share)}."),
    ("Privacy", r"(.+): (closest record|nearest-neighbour ratio).*", lambda m, g: f"{_share(g.figure.value)} of the made {m[1]} lie nearer to training persons than to others (50% would be no sign of memory)."),
    ("Scan and table together", r"(.+) from the bare scan: (?:mean error|share wrong)", lambda m, g: f"The model's own reading of {measured(m[1])} off a real scan is off by {_number(g)(g.figure.value)} on average{_of_real(g, _number(g))}."),
    ("Scan and table together", r"(.+) learnt from (\d+) made pairs: .*", lambda m, g: f"A reader taught on {m[2]} made persons reads {measured(m[1])} off real scans with an error of {_number(g)(g.figure.value)}; one taught on real persons is better{_of_real(g, _number(g))}."),
    ("Scan and table together", r"(.+): mean error of reading", lambda m, g: f"{capital(measured(m[1]))} is read off made scans with an error of {_number(g)(g.figure.value)}{_of_real(g, _number(g))}."),
    ("Scan and table together", r"(.+): share read wrong", lambda m, g: f"{capital(measured(m[1]))} is read wrong off {_share(g.figure.value)} of made scans{_of_real(g, _share)}."),
    ("Scan and table together", r"(.+) on (.+): synthetic over real slope", lambda m, g: f"{capital(measured(m[1]))} follows {measured(m[2])} {g.figure.value:.2f} times as steeply as in real persons."),
    ("Scan and table together", r"(.+): read on requested, slope", lambda m, g: f"Of a change of {measured(m[1])} that is asked for, {_share(g.figure.value)} are seen in the scan."),
    ("Scan and table together", r"(.+): test persons within the range of (\d+) draws", lambda m, g: f"The range of {m[2]} draws holds {measured(m[1])} of {_share(g.figure.value)} of real persons: it is too {'narrow' if g.figure.value < (g.target or 0.9) else 'wide'}."),
    ("Scan and table together", r"own row told from another's, AUC", lambda m, g: f"A scan's own row is told from another's in {_share(g.figure.value)} of pairs{_of_real(g, _share)}."),
    ("What if", r"(.+): read change per change asked", lambda m, g: f"Of a change of {measured(m[1])} that a what-if asks for, {_share(g.figure.value)} are seen in the scan."),
    ("What if", r"(.+): change of (.+) that should stay, SD", lambda m, g: f"A what-if of {measured(m[1])} moves what should stay ({', '.join(map(measured, m[2].split(',')))}) by {g.figure.value:.2f} standard deviations."),
    ("What if", r"(.+): kernel distance of what-ifs to other real persons", lambda m, g: f"Scans after a what-if of {measured(m[1])} no longer look like other real scans."),
    ("Pictures", _DISTANCE + ".*", lambda m, g: f"By {_seen_by(m[1])} made scans are told from real ones: distance {number(g.figure.value)}{_of_real(g, number)}."),
    ("Pictures", r"precision \(([^,)]+).*", lambda m, g: f"By {_seen_by(m[1])} only {_share(g.figure.value)} of made scans lie among real ones{_of_real(g, _share)}."),
    ("Pictures", r"recall \(([^,)]+).*", lambda m, g: f"By {_seen_by(m[1])} only {_share(g.figure.value)} of real scans have a made one like them{_of_real(g, _share)}."),
    ("Pictures", r"(density|coverage) \(([^,)]+).*", lambda m, g: f"By {_seen_by(m[2])} made scans do not fill the space of real ones: {m[1]} {g.figure.value:.2f}{_of_real(g, number)}."),
    ("Pictures", r"AUC of telling made from real: .*", lambda m, g: f"A trained classifier tells a made scan from a real one in {_share(g.figure.value)} of pairs (a guess is 50%)."),
    ("Pictures", r"edge sharpness, strongest (\d+)% of voxels(?:, channel \d+)?: made over real", lambda m, g: f"The steepest {m[1]}% of voxels in made scans are {g.figure.value:.2f} times as steep as in real ones."),
    ("Pictures", r"(contrast|area) (of .+): made over real", lambda m, g: f"The {m[1]} {m[2]} in made scans is {g.figure.value:.2f} of that in real ones."),
    ("Pictures", r"power spectrum: .*", lambda m, g: f"Detail of some size is too strong or too weak in made scans, at worst by a factor of {number(g.figure.value)}."),
    ("Pictures", r"(.+): made beside real persons, Cohen's d", lambda m, g: f"{capital(measured(m[1]))} of made scans is {abs(g.figure.value):.1f} standard deviations {'above' if g.figure.value > 0 else 'below'} that of real ones."),
    ("Table", r"detection AUC, (.+)", lambda m, g: f"A classifier ({m[1]}) tells made rows from real ones in {_share(g.figure.value)} of pairs (a guess is 50%)."),
    ("Table", r"rows that break a rule.*", lambda m, g: f"{_share(g.figure.value)} of made rows break a rule of the table."),
    ("Table", r"(.+) predicted after training on synthetic rows.*", lambda m, g: f"What is learned on made rows predicts {measured(m[1])} of real persons worse: {number(g.figure.value)}{_of_real(g, number)}."),
    ("Table", r"(?:alpha-precision|beta-recall|Sinkhorn divergence|mean difference of associations).*", lambda m, g: f"Made rows are spread otherwise than real ones: {m[0]} {number(g.figure.value)}{_of_real(g, number)}."),
)  # fmt: skip


def explained(grade: Grade) -> tuple[str, str]:
    """The group of a figure and what it means in a sentence; figures without a gloss by their name, as pictures."""
    for group, pattern, words in GLOSSES:
        if found := re.fullmatch(pattern, grade.name):
            return group, words(found, grade)
    return "Pictures", f"{grade.name}: {grade.figure} {grade.unit}".rstrip() + f"{_of_real(grade, number)}."


def failures(review: Review) -> list[Failure]:
    """All figures that are not as real, the worst of a group first: privacy, then the groups by their worst."""
    found = [
        Failure(group=group, sentence=sentence, grade=grade)
        for grade in _failing(review)
        for group, sentence in [explained(grade)]
    ]
    worst = {group: max((_badness(one.grade) for one in found if one.group == group), default=0.0) for group in GROUPS}
    return sorted(
        found,
        key=lambda one: (one.group != GROUPS[0], -worst[one.group], GROUPS.index(one.group), -_badness(one.grade)),
    )


def _failing(review: Review) -> Iterator[Grade]:
    for part in review.parts:
        yield from (grade for grade in part.grades if grade.verdict and not grade.good)


def _badness(grade: Grade) -> float:
    """How far off: in widths of the interval from real, or from the target; an AUC from one half."""
    real = grade.real or (None if grade.target is None else Span(value=grade.target))
    if "AUC" in grade.name and grade.real is None:
        real = Span(value=0.5)
    if real is None or not math.isfinite(real.value) or not math.isfinite(grade.figure.value):
        return 0.0
    spans = [span.high - span.low for span in (grade.figure, real) if math.isfinite(span.high - span.low)]
    return abs(grade.figure.value - real.value) / max(sum(spans), 1e-9)
