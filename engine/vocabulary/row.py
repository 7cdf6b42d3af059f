"""A person's row: cells by column name, None where one is missing."""

from __future__ import annotations

import re

Cell = float | int | str | None
Row = dict[str, Cell]

#: how a number is written: in no other digits, and without the underscores that Python would take
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
