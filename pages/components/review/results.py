"""What a finished rating tells: how well the reader could tell, how plausible each side was, and two readers' agreement."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.classify import auc
from engine.evaluation.metrics.interval import Figure, bootstrap, bootstrap_two, proportion
from pages.components.review.session import (
    NOTICE,
    PLAUSIBILITY,
    Answer,
    RatingError,
    Session,
    read_place,
    was,
    write_place,
)


@dataclass(frozen=True, kw_only=True)
class Results:
    """Figures with 95 % intervals (NaN of fewer than four scans); those of a side are None where none of it was answered.

    ``sensitivity``: share of the synthetic scans called synthetic; ``specificity``: share of the real ones called
    real; ``auc``: chance that a real scan was rated more plausible than a synthetic one, half for a tie.
    """

    right: Figure | None
    sensitivity: Figure | None
    specificity: Figure | None
    synthetic: Figure | None
    real: Figure | None
    auc: Figure | None
    seconds: float


def results(session: Session) -> Results:
    """The figures of the scans answered; raises :class:`RatingError` before a session is finished."""
    real, said, rated = _arrays(session)
    rng = np.random.default_rng(session.plan.seed)
    seconds = float(np.median([session.answers[i].seconds for i in session.answered]))
    synthetic = _mean(rated[~real], rng)
    if session.plan.source == "none":
        none: dict[str, Any] = dict.fromkeys(("right", "sensitivity", "specificity", "real", "auc"))
        return Results(synthetic=synthetic, seconds=seconds, **none)
    hits = real == said
    ones = rated[real]
    zeros = rated[~real]
    labels = np.repeat([True, False], [len(ones), len(zeros)])
    return Results(
        right=proportion(int(hits.sum()), len(hits)),
        sensitivity=proportion(int(hits[~real].sum()), len(zeros)) if len(zeros) else None,
        specificity=proportion(int(hits[real].sum()), len(ones)) if len(ones) else None,
        synthetic=synthetic,
        real=_mean(ones, rng),
        auc=_auc(labels, ones, zeros, rng) if len(ones) and len(zeros) else None,
        seconds=seconds,
    )


def _arrays(session: Session) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Who was real (bool), who was said to be (bool), and plausibility (float), one a scan that was answered."""
    if not session.finished:
        stands = f"{session.done} of {session.plan.scans} scans are rated"
        raise RatingError(f"the rating of {session.reviewer} is not finished ({stands}): finish it first")
    answers = [session.answers[i] for i in session.answered]
    real = np.array([session.plan.people[i].real for i in session.answered])
    said = np.array([bool(answer.real) for answer in answers])
    return real, said, np.array([float(answer.plausibility or 0) for answer in answers])


def _mean(values: np.ndarray, rng: np.random.Generator) -> Figure | None:
    if not len(values):
        return None
    statistic: Callable[[np.ndarray], float] = lambda rows: float(values[rows].mean())  # noqa: E731
    return _interval(lambda: bootstrap(statistic, np.arange(len(values)), rng), float(values.mean()), len(values))


def _auc(labels: np.ndarray, ones: np.ndarray, zeros: np.ndarray, rng: np.random.Generator) -> Figure:
    statistic: Callable[[np.ndarray, np.ndarray], float]
    statistic = lambda a, b: auc(labels, np.concatenate([ones[a], zeros[b]]))  # noqa: E731
    sizes = len(ones), len(zeros)
    return _interval(
        lambda: bootstrap_two(statistic, *sizes, rng), auc(labels, np.concatenate([ones, zeros])), min(sizes)
    )


def _interval(figure: Callable[[], Figure], value: float, n: int) -> Figure:
    """A ``figure``; where resamples cannot tell its interval, the ``value`` alone."""
    try:
        return figure()
    except EvaluationError:
        return Figure(value=value, low=math.nan, high=math.nan, n=n)


def rows(session: Session) -> list[dict[str, Any]]:
    """The scans that were answered in a finished session, one a row."""
    _arrays(session)
    return [
        {
            "scan": i + 1,
            "was": was(someone.real),
            "said": was(answer.real),
            "right": right(answer.real, someone.real),
            "plausibility": answer.plausibility,
            "seconds": round(answer.seconds, 1),
            "place": write_place(answer.place),
            "voxel": " ".join(map(str, answer.voxel or ())),
            "comment": answer.comment,
            "person": session.plan.person(i),
        }
        for i in session.answered
        for someone, answer in [(session.plan.people[i], session.answers[i])]
    ]


def right(said: bool | None, real: bool) -> str:
    """Whether a scan was called what it is; nothing where that was not asked."""
    if said is None:
        return ""
    return "yes" if said == real else "no"


def to_csv(session: Session) -> bytes:
    """The rows as a spreadsheet, each with the session's facts and the notice."""
    plan = session.plan
    facts = {"reviewer": session.reviewer, "model": plan.model, "checkpoint_digest": plan.digest, "seed": plan.seed}
    table = [{key: _inert(value) for key, value in (row | facts).items()} | {"notice": NOTICE} for row in rows(session)]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, table[0])
    writer.writeheader()
    writer.writerows(table)
    return stream.getvalue().encode("utf-8-sig")


def _inert(value: object) -> object:
    """A text that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Two readers of the same scans: ``sides`` is Cohen's kappa of real or synthetic (None where it was not asked),
    ``plausibility`` the one with quadratic weights, ``same`` the share of scans called alike, and a row for each scan."""

    reviewers: tuple[str, str]
    sides: Figure | None
    same: Figure | None
    plausibility: Figure
    rows: tuple[dict[str, Any], ...]


def merge(one: Session, other: Session) -> Agreement:
    """The agreement of two finished sessions of one plan, in whatever order they are given.

    Raises :class:`RatingError` for an unfinished session, for two plans, or for the same session twice.
    """
    first, second = sorted((one, other), key=lambda session: (session.reviewer, session.to_json()))
    if first == second:
        raise RatingError("both files are the same session: choose those of two reviewers")
    if first.plan != second.plan:
        different = [n for n in ("model", "digest", "seed", "scans", "source", "store", "steps", "pool")
                     if getattr(first.plan, n) != getattr(second.plan, n)]  # fmt: skip
        raise RatingError(f"the two sessions differ in {', '.join(different)}: choose two of the same scans")
    both = sorted({*first.answered} & {*second.answered})
    if not both:
        raise RatingError("no scan was answered in both sessions: choose two that share some")
    first, second = (_only(session, both) for session in (first, second))
    (_, said_a, rated_a), (_, said_b, rated_b) = _arrays(first), _arrays(second)
    asked, seed = first.plan.source != "none", first.plan.seed
    return Agreement(
        reviewers=(first.reviewer, second.reviewer),
        sides=_kappa_figure(said_a, said_b, (False, True), False, seed) if asked else None,
        same=proportion(int((said_a == said_b).sum()), len(said_a)) if asked else None,
        plausibility=_kappa_figure(rated_a, rated_b, PLAUSIBILITY, True, seed),
        rows=tuple(_both(a, b) for a, b in zip(rows(first), rows(second), strict=True)),
    )


def _only(session: Session, scans: Sequence[int]) -> Session:
    """The session as if nothing but these scans had been answered."""
    answers = tuple(answer if i in scans else Answer() for i, answer in enumerate(session.answers))
    return replace(session, answers=answers)


def _both(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    said = {"first said": a["said"], "second said": b["said"], "agree": "yes" if a["said"] == b["said"] else "no"}
    rated = {"first plausibility": a["plausibility"], "second plausibility": b["plausibility"]}
    difference = {"difference": abs(a["plausibility"] - b["plausibility"])}
    places = [read_place(row["place"]) for row in (a, b)]
    apart = f"{math.dist(*places):.0f}" if all(places) else ""  # pyright: ignore[reportArgumentType]
    marked = {"first place": a["place"], "second place": b["place"], "mm apart": apart}
    return {"scan": a["scan"], "was": a["was"], **(said if a["said"] else {}), **rated, **difference, **marked}


def kappa(one: np.ndarray, other: np.ndarray, labels: Sequence[int], *, quadratic: bool = False) -> float:
    """Cohen's kappa (1960), or his weighted one (1968): 1 less the disagreement seen over the one chance would give.

    ``labels`` in order; ``quadratic`` weighs a disagreement by its squared distance. NaN where chance gives none.

    >>> kappa(np.array([1, 1, 2, 2]), np.array([1, 1, 2, 1]), (1, 2))
    0.5
    """
    n, place = len(labels), {label: i for i, label in enumerate(labels)}
    a, b = (np.array([place[label] for label in side.tolist()]) for side in (one, other))
    distance = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    weights = distance**2 if quadratic else distance > 0
    chance = np.bincount(a, minlength=n) @ weights @ np.bincount(b, minlength=n) / len(a)
    return float(1 - weights[a, b].sum() / chance) if chance else math.nan


def _kappa_figure(a: np.ndarray, b: np.ndarray, labels: Sequence[int], quadratic: bool, seed: int) -> Figure:
    """Kappa with a bootstrap interval over scans; without one (NaN) where resamples too often leave it undefined."""
    statistic: Callable[[np.ndarray], float] = lambda chosen: kappa(a[chosen], b[chosen], labels, quadratic=quadratic)  # noqa: E731
    rows, rng = np.arange(len(a)), np.random.default_rng(seed)
    return _interval(lambda: bootstrap(statistic, rows, rng), statistic(rows), len(a))
