"""A blind rating: who is shown in which order, what was answered, and the file that keeps it.

The order, and who is real, follow from the seed; the file of an unfinished rating tells neither.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from hashlib import sha256
from typing import Any, Literal, get_args

import numpy as np

from engine.vocabulary.refusal import Refusal

#: files of version 1 have no voxels and are read too
FORMAT, VERSION = "somatwin-rating", 2
NOTICE = "Synthetic scans, beside real ones where the plan names a source of them, as one reader rated them. Not for diagnosis."
FEWEST, MOST = 1, 100
#: scans of a usual round
ROUNDS = (4, 10, 20)
PLAUSIBILITY = (1, 2, 3, 4, 5)
#: longest name and longest comment, characters
NAME, COMMENT = 60, 2000
#: seeds of fresh in-silico persons: cohorts are made of seeds below this one (engine.phantom.cohort.person_seeds)
FRESH, SEEDS = 4000 * 1_000_003, 2**32
#: seeds of the synthetic persons, far from those a reader tries on the other pages
DRAWN = 2**30
#: RAS+ mm
Place = tuple[float, float, float]
#: where the real persons come from: there are none, in-silico persons made for this rating, test persons of a store
Source = Literal["none", "fresh", "store"]
REMEDY = "choose a session file that this page saved"


class RatingError(Refusal):
    """A plan, an answer or a file that cannot be; the message is one sentence with the remedy."""


@dataclass(frozen=True, kw_only=True)
class Someone:
    """Who stands behind a scan: real or not, and a seed, or the place among the test persons of the store."""

    real: bool
    number: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is rated. ``store`` is a digest of the store and ``pool`` the number of its test persons; both empty without.

    Raises :class:`RatingError` for a number of scans outside 1 to 100, for an odd one where half are real, and for too few
    test persons.
    """

    model: str
    digest: str
    seed: int
    scans: int
    steps: int
    source: Source
    store: str = ""
    pool: int = 0

    def __post_init__(self) -> None:
        if why := scans_problem(self.scans, self.source):
            raise RatingError(why)
        if self.seed < 0 or self.steps < 1 or self.source not in get_args(Source):
            raise RatingError(
                f"seed {self.seed}, steps {self.steps}, source {self.source!r} are not possible; {REMEDY}"
            )
        if (self.source == "store") != bool(self.store) or (self.source != "store" and self.pool):
            raise RatingError(f"the source {self.source!r} does not fit the store {self.store!r}; {REMEDY}")
        if self.source == "store" and self.pool < self.scans // 2:
            need = f"{self.scans} scans need {self.scans // 2}"
            raise RatingError(
                f"the store has {self.pool} test persons, {need}: rate fewer scans or name a larger store"
            )

    @cached_property
    def people(self) -> tuple[Someone, ...]:
        """Who is shown, in order: half are real, unless there is no source of real persons."""
        rng = np.random.default_rng([self.seed, self.scans])
        real = rng.permutation(self.scans) < self.scans // 2
        drawn = iter(DRAWN + rng.choice(DRAWN, self.scans, replace=False))
        if self.source == "none":
            return tuple(Someone(real=False, number=int(next(drawn))) for _ in range(self.scans))
        first, range_ = (0, self.pool) if self.source == "store" else (FRESH, SEEDS - FRESH)
        reals = iter(first + rng.choice(range_, self.scans // 2, replace=False))
        return tuple(Someone(real=bool(r), number=int(next(reals if r else drawn))) for r in real)

    def person(self, i: int) -> str:
        """The seed of the person of scan ``i``; of a store's person a hash of their place in it, nothing else."""
        someone = self.people[i]
        if someone.real and self.source == "store":
            return sha256(f"{self.store} {someone.number}".encode()).hexdigest()[:12]
        return f"seed {someone.number}"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a reader says of a scan; ``real`` and ``plausibility`` are None until said. ``place`` is RAS+ in mm, ``voxel`` its
    indices from 0 where it was marked in the viewer; both are of the grid that all scans of a rating share."""

    real: bool | None = None
    plausibility: int | None = None
    comment: str = ""
    place: Place | None = None
    voxel: tuple[int, int, int] | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        numbers = [self.seconds, *(self.place or ())]
        sound = (
            self.real in (None, True, False)
            and (self.plausibility is None or self.plausibility in PLAUSIBILITY)
            and isinstance(self.comment, str)
            and len(self.comment) <= COMMENT
            and len(self.place or (0, 0, 0)) == len(self.voxel or (0, 0, 0)) == 3
            and (self.voxel is None or (self.place is not None and all(type(i) is int and i >= 0 for i in self.voxel)))
            and all(isinstance(n, int | float) and np.isfinite(n) for n in numbers)
            and self.seconds >= 0
        )
        if not sound:
            raise RatingError(
                f"an answer is not possible (plausibility {self.plausibility}, {self.seconds} s); {REMEDY}"
            )


@dataclass(frozen=True, kw_only=True)
class Session:
    """A reviewer's answers to a plan, one a scan in the order shown; a finished one, of which some scans may have no answer, is
    not changed any more."""

    plan: Plan
    reviewer: str
    answers: tuple[Answer, ...]
    finished: bool = False

    def __post_init__(self) -> None:
        if not 1 <= len(self.reviewer.strip()) <= NAME:
            raise RatingError(f"the reviewer's name has 1 to {NAME} characters: give a name or a code")
        if len(self.answers) != self.plan.scans:
            raise RatingError(f"there are {len(self.answers)} answers to {self.plan.scans} scans; {REMEDY}")
        if self.finished and not self.done:
            raise RatingError(f"a finished rating has no answer to any of {self.plan.scans} scans; {REMEDY}")

    @classmethod
    def begun(cls, plan: Plan, reviewer: str) -> Session:
        """A session without an answer."""
        return cls(plan=plan, reviewer=reviewer.strip(), answers=(Answer(),) * plan.scans)

    def complete(self, i: int) -> bool:
        """Is everything said that has to be? Without real persons only plausibility is asked."""
        answer = self.answers[i]
        return answer.plausibility is not None and (self.plan.source == "none" or answer.real is not None)

    @property
    def done(self) -> int:
        """How many scans are answered."""
        return len(self.answered)

    @property
    def answered(self) -> list[int]:
        """The scans of which everything is said that has to be."""
        return [i for i in range(self.plan.scans) if self.complete(i)]

    @property
    def position(self) -> int:
        """The first scan without an answer, or the last one."""
        missing = (i for i in range(self.plan.scans) if not self.complete(i))
        return next(missing, self.plan.scans - 1)

    def answering(self, i: int, answer: Answer) -> Session:
        """The session with this answer to scan ``i``; raises :class:`RatingError` once it is finished."""
        if self.finished:
            raise RatingError("this rating is finished, its answers stand: begin another one")
        return replace(self, answers=(*self.answers[:i], answer, *self.answers[i + 1 :]))

    def to_json(self) -> str:
        """The session file; who was real stands in it once the rating is finished, and voxels never."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "notice": NOTICE,
            "reviewer": self.reviewer,
            "plan": asdict(self.plan),
            "answers": [asdict(answer) for answer in self.answers],
            "finished": self.finished,
            "scans": self._revealed() if self.finished else [],
        }
        return json.dumps(content | {"checksum": _checksum(content)}, indent=1, ensure_ascii=False)

    def _revealed(self) -> list[dict[str, str]]:
        return [{"was": was(s.real), "person": self.plan.person(i)} for i, s in enumerate(self.plan.people)]

    @classmethod
    def from_json(cls, text: str | bytes) -> Session:
        """The session of a file; raises :class:`RatingError` for one that is damaged or of something else."""
        try:
            content = json.loads(text)
        except ValueError:
            raise RatingError(f"the file is damaged or no JSON; {REMEDY}") from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise RatingError(f"the file is not of a rating; {REMEDY}")
        if content.get("version") not in (1, VERSION):
            raise RatingError(
                f"the file has version {content.get('version')}, this program reads 1 and {VERSION}; {REMEDY}"
            )
        if content.pop("checksum", None) != _checksum(content):
            raise RatingError(f"the file was changed after it was saved, or is damaged; {REMEDY}")
        try:
            answers = tuple(_answer(answer, content["version"]) for answer in content["answers"])
            plan = _built(Plan, content["plan"])
            session = cls(plan=plan, reviewer=content["reviewer"], answers=answers, finished=content["finished"])
        except RatingError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise RatingError(f"the file is damaged ({type(error).__name__}: {error}); {REMEDY}") from None
        if content["scans"] != (session._revealed() if session.finished else []):
            raise RatingError(f"the file shows other persons than its seed {plan.seed} gives; {REMEDY}")
        return session


def scans_problem(scans: int, source: Source) -> str:
    """Why a rating cannot have so many scans, with the remedy; empty where it can."""
    if not FEWEST <= scans <= MOST:
        return f"{scans} scans are not possible: give {FEWEST} to {MOST}"
    if scans % 2 and source != "none":
        return f"{scans} is an odd number: half of the scans are real, so give an even one"
    return ""


def was(real: bool | None) -> str:
    """One side in a word; nothing where it was not asked."""
    if real is None:
        return ""
    return "real" if real else "synthetic"


def read_place(text: str) -> Place | None:
    """A place in RAS+ mm, as the viewer writes it or as three numbers; None for an empty text.

    >>> read_place("R 12  P 30  S 5 mm"), read_place("-12, 30.5, 0")
    ((12.0, -30.0, 5.0), (-12.0, 30.5, 0.0))

    Raises :class:`RatingError` for anything else.
    """
    words = text.upper().replace(",", " ").strip().removesuffix("MM").strip()
    if not words:
        return None
    axes = (rf"([{ends}]?)\s*([-+]?\d+(?:\.\d+)?)" for ends in ("RL", "AP", "SI"))
    found = re.fullmatch(r"\s+".join(axes), words)
    if not found:
        raise RatingError(f"{text!r} is no place: give it as the viewer writes it, such as R 12 A 30 S 45")
    pairs = zip(found.groups()[::2], found.groups()[1::2], strict=True)
    values = [float(number) * (-1 if side in ("L", "P", "I") else 1) for side, number in pairs]
    return values[0], values[1], values[2]


def write_place(place: Place | None) -> str:
    """A place as the viewer writes it.

    >>> write_place((12.0, -30.0, 5.0))
    'R 12 P 30 S 5'
    """
    pairs = zip(place or (), ("RL", "AP", "SI"), strict=False)
    return " ".join(f"{ends[value < 0]} {abs(value):g}" for value, ends in pairs)


def _answer(content: Mapping[str, Any], version: int) -> Answer:
    added = {"voxel": None} if version == 1 else {}
    triples = {name: tuple(content[name]) for name in ("place", "voxel") if content.get(name) is not None}
    return _built(Answer, {**added, **content, **triples})


def _built(kind: Any, content: Mapping[str, Any]) -> Any:
    """A dataclass of exactly these entries."""
    wanted = {field.name for field in fields(kind)}
    if set(content) != wanted:
        raise RatingError(f"the file is damaged (entries {sorted(wanted ^ set(content))}); {REMEDY}")
    return kind(**content)


def _checksum(content: Mapping[str, Any]) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
