"""A person's row: cells by column name, None where one is missing."""

from __future__ import annotations

Cell = float | int | str | None
Row = dict[str, Cell]
