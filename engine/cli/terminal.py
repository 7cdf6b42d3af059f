"""What the command line shows and what is typed to it: progress, and words as values."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine.vocabulary.row import NUMBER

if TYPE_CHECKING:
    from engine.inference.generate import Model

#: seconds between progress lines, on a terminal and elsewhere
REFRESH, PERIOD = 0.1, 5.0


class Meter:
    """Progress on stderr: one line written over on a terminal, elsewhere a line every few seconds."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self.due, self.pending, self.standing = 0.0, "", False

    def show(self, text: str, left: float | None, *, now: bool = False) -> None:
        """Say where the command is and the seconds ``left``, where known; when not ``now``, a line may be skipped."""
        self.pending = text if left is None else f"{text}, {duration(left)} left"
        if now or time.monotonic() >= self.due:
            self.due = time.monotonic() + (REFRESH if self.terminal else PERIOD)
            self._print()

    def close(self) -> None:
        """Say the last line unless it was said; what follows starts on a new line."""
        if self.pending:
            self._print()
        if self.standing:
            print(file=sys.stderr, flush=True)
            self.standing = False

    def _print(self) -> None:
        if self.terminal:
            line = self.pending[: shutil.get_terminal_size().columns - 1]
            print(f"\r\x1b[2K{line}", file=sys.stderr, end="", flush=True)
        else:
            print(self.pending, file=sys.stderr, flush=True)
        self.pending, self.standing = "", self.terminal


def duration(seconds: float) -> str:
    """
    >>> duration(0.2), duration(75), duration(7380)
    ('0 s', '1 min 15 s', '2 h 3 min')
    """
    whole = round(max(seconds, 0.0))
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def assignment(text: str) -> tuple[str, str]:
    """``NAME=VALUE`` in two; argparse makes a sentence of the refusal."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as age=60")
    return name, value


def sweep(text: str) -> tuple[str, list[float]]:
    """``NAME=FROM:TO:COUNT`` as the name and evenly spaced values, both ends included.

    >>> sweep("bmi=18:24:3")
    ('bmi', [18.0, 21.0, 24.0])
    """
    name, _, span = text.partition("=")
    ends = [part.strip() for part in span.split(":")]
    numbers = len(ends) == 3 and all(NUMBER.fullmatch(end) for end in ends)
    if not name.strip() or not numbers or float(ends[2]) not in range(2, 1001):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME=FROM:TO:COUNT with 2 or more values, such as bmi=18:45:10"
        )
    first, last, n = float(ends[0]), float(ends[1]), int(float(ends[2]))
    return name.strip(), [float(f"{first + (last - first) * i / (n - 1):.10g}") for i in range(n)]


def cell(text: str) -> int | float | str:
    """A number as a number, everything else as text (also nan and inf, which no column accepts).

    >>> cell("60"), cell("61.50"), cell("F"), cell("nan")
    (60, 61.5, 'F', 'nan')
    """
    if re.fullmatch(r"[+-]?\d{1,15}", text, re.ASCII):
        return int(text)
    return float(text) if NUMBER.fullmatch(text) else text


def attributes_of(model: Model, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """NAME=VALUE pairs as values of the model's columns."""
    from engine.vocabulary.refusal import RequestError
    from engine.vocabulary.schema import Category

    names = [name for name, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise RequestError(f"{twice[0]} is set twice; set it once")
    return {name: text if isinstance(model.schema[name], Category) else cell(text) for name, text in pairs}
