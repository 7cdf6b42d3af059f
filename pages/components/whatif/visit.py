"""What the What-if page keeps of a visit: what was answered, and what is still to be done."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from engine.vocabulary.schema import Cell
from pages.components.state.intervention import Question
from pages.components.state.page_address import PageAddress
from pages.components.state.session import kept

if TYPE_CHECKING:
    from pages.components.whatif.answer import Answer
    from pages.components.whatif.upload import File, Scan

#: what-ifs kept in a session; a whole one holds its scenes, 2 to 5 MB
KEPT = 40
#: share of a sweep's bar that its drafts take
DRAFTED = 0.1
#: a question, and whether the answer is to be whole (scenes and error bars) or slices and measures only
Key = tuple[Question, bool]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The ``questions`` of a sweep of one column, or of a grid of two (across and down, row by row); ``base`` is the what-if
    they start from."""

    base: Question
    columns: tuple[str, ...]
    questions: tuple[Question, ...]

    def values(self, k: int) -> list[float]:
        """What column ``k`` is set to in each of the questions."""
        return [float(str(dict(question.change)[self.columns[k]])) for question in self.questions]


def with_cells(question: Question, cells: Mapping[str, Cell]) -> Question:
    """The question with these columns set too, which are then neither held nor loose."""
    change = {**dict(question.change), **cells}
    held, loose = (tuple(n for n in names if n not in cells) for names in (question.held, question.loose))
    return replace(question, change=tuple(sorted(change.items())), held=held, loose=loose)


@dataclass
class Visit:
    """``answers`` by question, and ``drafts`` of those of a sweep; what is ``wanted``, when (monotonic s) it was ``asked`` for
    and how much of it was ``had`` then; files in ``reading``, the question in ``writing``; the question ``shown``, the ``file``
    made of one, the plans of a ``sweep`` (``swept``: asked for after the last draw, so to be shown; ``played``: the scene of
    these answers) and a ``grid``, the ``scan`` in use; ``problems`` in sentences, the ``address`` taken over, and the digest of
    the model whose ``controls`` are shown."""

    answers: dict[Key, Answer] = field(default_factory=dict)
    drafts: Mapping[Question, Answer] = field(default_factory=dict)
    wanted: tuple[Key, ...] = ()
    asked: float = 0.0
    had: int = 0
    reading: Sequence[File] = ()
    writing: Question | None = None
    shown: Question | None = None
    file: tuple[Question, bytes] | None = None
    sweep: Plan | None = None
    swept: bool = False
    played: tuple[tuple[Answer, ...], bytes] = ((), b"")
    grid: Plan | None = None
    scan: Scan | None = None
    problems: Sequence[str] = ()
    address: PageAddress = field(default_factory=PageAddress)
    controls: str = ""

    def want(self, questions: Sequence[Question], whole: bool) -> None:
        """Ask for answers."""
        self.wanted = tuple((one, whole) for one in questions)
        self.asked = time.monotonic()
        self.had = sum(key in self.answers for key in self.wanted)
        self.problems = ()

    def draw(self, question: Question) -> None:
        """Ask for a whole answer, which is then shown in place of a sweep."""
        self.want([question], whole=True)
        self.swept = False

    def read(self, files: Sequence[File]) -> None:
        """Take in the files of a scan."""
        self.reading = files
        self.problems = ()

    def write(self, question: Question) -> None:
        """Make the files of a what-if for download."""
        self.writing = question

    @property
    def drafted(self) -> bool:
        """Are there drafts of all that is wanted?"""
        return bool(self.wanted) and all(not whole and question in self.drafts for question, whole in self.wanted)

    def share(self, done: float) -> float:
        """The share of all that is wanted when ``done`` of the pictures are drawn."""
        first = DRAFTED if self.drafted else 0.0
        return first + (1 - first) * done / max(1, len(self.wanted))

    @property
    def unread(self) -> Scan | None:
        """The scan in use as long as nothing was read off it."""
        return self.scan if self.scan is not None and not self.scan.columns else None

    def put_off(self) -> None:
        """Leave what is wanted for later: what it took until now says nothing of how long the rest takes."""
        self.asked = time.monotonic()
        self.had = sum(key in self.answers for key in self.wanted)

    def stop(self) -> None:
        """Give up what is still to be done; what is done stays, but for a scan off which nothing was read."""
        if self.unread is not None:
            self.scan = None
        self.wanted = ()
        self.reading = ()
        self.writing = None

    def keep(self, key: Key, answer: Answer) -> None:
        """Keep an answer, and show it if it is whole."""
        self.answers = dict([*self.answers.items(), (key, answer)][-KEPT:])
        if key[1]:
            self.shown = key[0]

    def found(self) -> dict[Question, Answer]:
        """What was found so far; a whole answer before one that is not."""
        return {key[0]: one for whole in (False, True) for key, one in self.answers.items() if key[1] is whole}

    def answer(self, digest: str, current: Question | None) -> Answer | None:
        """The answer to show: the last one, if it is of the model with this digest and of the same person as ``current``."""
        question = self.shown
        if question is None or current is None or (question.digest, question.scan) != (digest, current.scan):
            return None
        return self.answers.get((question, True))

    def forget(self) -> None:
        """Remove the scan and everything that was drawn of it."""
        self.answers = {key: one for key, one in self.answers.items() if not key[0].scan}
        self.scan = self.shown = self.sweep = self.grid = None
        self.wanted = ()


def visit() -> Visit:
    return kept("whatif", Visit)
