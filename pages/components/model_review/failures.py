# ruff: noqa: E501 - a figure a line
"""What fails in a model, in plain words and the worst first: privacy, then agreement, what-ifs, pictures and tables."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from engine.anatomy.words import channel_in_words, column_title, measure_title, within
from engine.evaluation.report.page import number
from engine.evaluation.report.words import ATTACKS
from pages.components.model_review.work import Review
from pages.components.parts.evaluation.grade import Grade, Span
from pages.components.state.person_table import capital

#: in the order in which they are shown
GROUPS = ("Privacy", "Scan and table together", "What if", "Pictures", "Table")
#: AUC from which an attacker can often tell
OFTEN = 0.7
#: the feature space at the end of a figure's name
_SEEN = r" \(([^,)]+).*"
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
    """An attribute within a sentence."""
    return within(column_title(name.strip()))


def _steep(ratio: float) -> str:
    """How a measure changes with an attribute, as the beginning of a comparison with real persons."""
    if ratio < 0:
        return f"changes the other way, {abs(ratio):.2f} times as steeply,"
    return f"changes {ratio:.2f} times as steeply"


def _member(found: re.Match[str], grade: Grade) -> str:
    how = "often" if grade.figure.value >= OFTEN else "sometimes"
    what = "row" if "row" in found[1] else "scan"
    return (
        f"Who holds somebody's {what} could {how} tell, by the {ATTACKS.get(found[1], found[1])}, whether they were in "
        f"training: right in {grade.figure.value:.0%} of pairs (a guess is 50%)."
    )


def _seen_by(encoder: str) -> str:
    return "texture and brightness" if "radiomics" in encoder else "learned features"


#: group, pattern of a figure's name, and what it means where it is not as real
GLOSSES: tuple[tuple[str, str, Words], ...] = (
    ("Privacy", r"membership by (.+), AUC", _member),
    ("Privacy", r"(.+): copy rate", lambda m, g: f"{_share(g.figure.value)} of the synthetic {m[1].replace('scan and row', 'scans with their rows')} lie nearer to one training person than real persons lie to each other{_of_real(g, _share)}."),
    ("Privacy", r"(.+): closest record.*", lambda m, g: f"For {_share(g.figure.value)} of the synthetic {m[1]} the nearest real person is one of the training (50% would be no sign of memory)."),
    ("Privacy", r"(.+): nearest-neighbour ratio.*", lambda m, g: f"{_share(g.figure.value)} of the synthetic {m[1]} single out one training person more than any other person (50% would be no sign of memory)."),
    ("Privacy", r"patches: distance to training persons.*", lambda m, g: f"Small pieces of synthetic scans lie {g.figure.value:.2f} times as far from those of training persons as pieces of other real scans do (1 would be no sign of memory)."),
    ("Privacy", r"patches: nearest one is a training person's \((\d+%) is ideal\)", lambda m, g: f"For {_share(g.figure.value)} of small pieces of synthetic scans the nearest real piece is a training person's ({m[1]} would be no sign of memory)."),
    ("Scan and table together", r"(.+) from the bare scan: mean error", lambda m, g: f"The model's own reading of {measured(m[1])} off a real scan is off by {_number(g)(g.figure.value)} on average{_of_real(g, _number(g))}."),
    ("Scan and table together", r"(.+) from the bare scan: share wrong", lambda m, g: f"The model's own reading of {measured(m[1])} is wrong for {_share(g.figure.value)} of real scans{_of_real(g, _share)}."),
    ("Scan and table together", r"(.+) learnt from (\d+) made pairs: mean error.*", lambda m, g: f"A reader taught on {m[2]} synthetic persons reads {measured(m[1])} off real scans with an error of {_number(g)(g.figure.value)}; one taught on real persons is better{_of_real(g, _number(g))}."),
    ("Scan and table together", r"(.+) learnt from (\d+) made pairs: share wrong.*", lambda m, g: f"A reader taught on {m[2]} synthetic persons reads {measured(m[1])} wrong off {_share(g.figure.value)} of real scans; one taught on real persons is better{_of_real(g, _share)}."),
    ("Scan and table together", r"(.+): mean error of reading", lambda m, g: f"{capital(measured(m[1]))} is read off synthetic scans with an error of {_number(g)(g.figure.value)}{_of_real(g, _number(g))}."),
    ("Scan and table together", r"(.+): share read wrong", lambda m, g: f"{capital(measured(m[1]))} is read wrong off {_share(g.figure.value)} of synthetic scans{_of_real(g, _share)}."),
    ("Scan and table together", r"(.+) on its own row: synthetic over real slope", lambda m, g: f"{measure_title(m[1])}: {_steep(g.figure.value)} with the value in the row as in real persons."),
    ("Scan and table together", r"(.+) on (.+): synthetic over real slope", lambda m, g: f"{measure_title(m[1])}: {_steep(g.figure.value)} with {measured(m[2])} as in real persons."),
    ("Scan and table together", r"(.+): read on requested, slope", lambda m, g: f"Of a change of {measured(m[1])} that is requested of a synthetic person, {_share(g.figure.value)} are seen in the scan."),
    ("Scan and table together", r"(.+): test persons within the range of (\d+) draws", lambda m, g: f"The range of {m[2]} draws holds {measured(m[1])} of {_share(g.figure.value)} of real persons: it is too {'narrow' if g.figure.value < (g.target or 0.9) else 'wide'}."),
    ("Scan and table together", r"own row told from another's, AUC", lambda m, g: f"A scan's own row is told from another's in {_share(g.figure.value)} of pairs{_of_real(g, _share)}."),
    ("What if", r"(.+): read change per change asked", lambda m, g: f"Of a change of {measured(m[1])} that a what-if asks for, {_share(g.figure.value)} are seen in the changed scan."),
    ("What if", r"(.+): change of (.+) that should stay, SD", lambda m, g: f"A what-if of {measured(m[1])} moves what should stay ({', '.join(within(measure_title(name.strip())) for name in m[2].split(','))}) by {g.figure.value:.2f} standard deviations."),
    ("What if", r"(.+): kernel distance of what-ifs to other real persons", lambda m, g: f"Scans after a what-if of {measured(m[1])} no longer look like other real scans."),
    ("Pictures", r"Fréchet distance" + _SEEN, lambda m, g: f"By {_seen_by(m[1])} the average synthetic scan, or how such scans vary, is unlike real ones: Fréchet distance {number(g.figure.value)}{_of_real(g, number)}; 0 is alike, more is less alike."),
    ("Pictures", r"kernel distance \(KID\)" + _SEEN, lambda m, g: f"By {_seen_by(m[1])} a test over the whole distribution, shape included, tells synthetic scans from real ones: kernel distance (KID) {number(g.figure.value)}{_of_real(g, number)}; about 0 is alike, more is less alike."),
    ("Pictures", r"precision" + _SEEN, lambda m, g: f"By {_seen_by(m[1])} only {_share(g.figure.value)} of synthetic scans lie among real ones{_of_real(g, _share)}."),
    ("Pictures", r"recall" + _SEEN, lambda m, g: f"By {_seen_by(m[1])} only {_share(g.figure.value)} of real scans lie among synthetic ones{_of_real(g, _share)}."),
    ("Pictures", r"density" + _SEEN, lambda m, g: f"By {_seen_by(m[1])} synthetic scans lie where real ones are rare: density {g.figure.value:.2f}{_of_real(g, number)}."),
    ("Pictures", r"coverage" + _SEEN, lambda m, g: f"By {_seen_by(m[1])} only {_share(g.figure.value)} of real scans have a synthetic one close by{_of_real(g, _share)}."),
    ("Pictures", r"AUC of telling made from real: (.*)", lambda m, g: f"A trained classifier tells a synthetic scan from a real one ({m[1]}) in {_share(g.figure.value)} of pairs (a guess is 50%)."),
    ("Pictures", r"edge sharpness, strongest (\d+)% of voxels(, [\w ]+)?: made over real", lambda m, g: f"The steepest {m[1]}% of voxels{channel_in_words(m[2] or '')}{',' if m[2] else ''} in synthetic scans are {g.figure.value:.2f} times as steep as in real ones."),
    ("Pictures", r"(contrast|area) (of .+): made over real", lambda m, g: f"The {m[1]} {m[2]} in synthetic scans is {g.figure.value:.2f} of that in real ones."),
    ("Pictures", r"power spectrum: .*", lambda m, g: f"Detail of some size is too strong or too weak in synthetic scans, at worst by {_share(g.figure.value)} of its power{_of_real(g, _share)}."),
    ("Pictures", r"(.+): made beside real persons, Cohen's d", lambda m, g: f"{measure_title(m[1])} of synthetic scans: {abs(g.figure.value):.1f} standard deviations {'above' if g.figure.value > 0 else 'below'} real ones."),
    ("Table", r"detection AUC, (.+)", lambda m, g: f"A classifier ({m[1]}) tells synthetic rows from real ones in {_share(g.figure.value)} of pairs (a guess is 50%)."),
    ("Table", r"rows that break a rule.*", lambda m, g: f"{_share(g.figure.value)} of synthetic rows hold a value that is not possible."),
    ("Table", r"(.+) predicted after training on synthetic rows.*", lambda m, g: f"What is learned on synthetic rows predicts {measured(m[1])} of real persons worse: {number(g.figure.value)}{_of_real(g, number)}."),
    ("Table", r"alpha-precision", lambda m, g: f"Synthetic rows spread otherwise about the centre than real ones: α-precision {number(g.figure.value)}{_of_real(g, number)}."),
    ("Table", r"beta-recall", lambda m, g: f"Fewer real rows have a synthetic one near them: β-recall {number(g.figure.value)}{_of_real(g, number)}."),
    ("Table", r"Sinkhorn divergence", lambda m, g: f"Synthetic rows lie farther from real ones than real ones do: Sinkhorn divergence {number(g.figure.value)}{_of_real(g, number)}."),
    ("Table", r"mean difference of associations", lambda m, g: f"Columns go together otherwise than in real rows: their correlations differ by {number(g.figure.value)} on average{_of_real(g, number)}."),
)  # fmt: skip


def explained(grade: Grade) -> tuple[str, str]:
    """The group of a figure and what it means in a sentence; figures without a gloss by their name, as pictures."""
    for group, pattern, words in GLOSSES:
        if found := re.fullmatch(pattern, grade.name):
            return group, words(found, grade)
    return "Pictures", f"{grade.title}: {grade.figure} {grade.unit}".rstrip() + f"{_of_real(grade, number)}."


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
