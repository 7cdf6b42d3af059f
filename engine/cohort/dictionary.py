"""The data dictionary beside a table: what its columns mean, their units, and what the codes of categories stand for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.cohort.sources.delimited import TableError
from engine.storage import strict_json


def codes(about: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """What the codes of each described category mean: ``Levels`` as an object of words (or of objects), or as a list."""
    found = {}
    for name, said in about.items():
        if "Levels" not in said:
            continue
        levels = said["Levels"]
        if isinstance(levels, list):
            levels = {str(level): str(level) for level in levels}
        if not isinstance(levels, dict):
            raise TableError(
                f"Levels of {name} is {levels!r}: give an object of level and meaning, or a list of levels"
            )
        found[name] = {
            code: str(words.get("Description", code)) if isinstance(words, dict) else str(words)
            for code, words in levels.items()
        }
    return found


def in_words(row: Mapping[str, str], about: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """A row whose codes are replaced by what the data dictionary says that they mean."""
    means = codes(about)
    return {name: means.get(name, {}).get(text.strip(), text).strip() for name, text in row.items()}


def beside(path: Path) -> dict[str, Any]:
    """The data dictionary of a table; of one person's sessions or scans also that of the whole data set, above it."""
    kind = path.stem.split("_")[-1]
    above = [folder / f"{kind}.json" for folder in path.parents[:4]] if kind in ("sessions", "scans") else []
    return dictionary(
        next((file for file in [path.with_suffix(".json"), *above] if file.is_file()), path.with_suffix(".json"))
    )


def dictionary(file: Path) -> dict[str, Any]:
    """A data dictionary, one object a column; empty where there is no such file. Raises :class:`TableError`."""
    if not file.is_file():
        return {}
    try:
        found = strict_json.parse(file.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise TableError(f"{file} cannot be read ({error}); mend or remove it") from None
    if not isinstance(found, dict) or not all(isinstance(part, dict) for part in found.values()):
        raise TableError(f"{file} is no data dictionary; make it an object with one object a column")
    return {column: {_key(key): value for key, value in said.items()} for column, said in found.items()}


def _key(key: str) -> str:
    """A key of a data dictionary as BIDS writes it."""
    known = {"unit": "Units", "units": "Units", "level": "Levels", "levels": "Levels", "description": "Description"}
    return known.get(key.casefold(), key)
