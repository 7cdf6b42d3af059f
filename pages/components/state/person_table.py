"""A person's attributes as a reader sees them: label, value, unit, given or sampled, place in the cohort."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.anatomy.words import column_title
from engine.vocabulary.catalogue import CATALOGUE
from engine.vocabulary.schema import AttributeSchema, Category, Cell, Derived, Number
from engine.vocabulary.units import written_unit

Column = Number | Category | Derived


def label(name: str) -> str:
    return column_title(name)


def level(name: str, value: object) -> str:
    """A category's level in words."""
    levels = CATALOGUE[name].levels if name in CATALOGUE else {}
    return levels.get(str(value), str(value).replace("_", " "))


def unit(text: str) -> str:
    return written_unit(text)


def capital(text: str) -> str:
    """The text with a capital first, the rest as it is.

    >>> capital("woman of 70, BMI 34")
    'Woman of 70, BMI 34'
    """
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """A column's description as a sentence."""
    return f"{capital(text).rstrip('.')}." if text else ""


def titled(column: Column) -> str:
    """``BMI, kg/m²``."""
    units = "" if isinstance(column, Category) else unit(column.unit)
    return f"{label(column.name)}, {units}" if units else label(column.name)


def person_rows(
    schema: AttributeSchema, attributes: Mapping[str, Any], given: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """One JSON-ready row a column, modelled columns first."""
    modelled = {column.name for column in schema.columns}
    rows = []
    for name in schema.names:
        column, value = schema[name], attributes.get(name)
        free = "sampled" if name in modelled else "derived"
        origin = "given" if name in given else free
        percentile = (
            column.percentile(float(value))
            if isinstance(column, Number) and column.knots and value is not None
            else None
        )
        rows.append(
            {
                "name": name,
                "label": label(name),
                "value": _text(name, value),
                "unit": "" if isinstance(column, Category) else unit(column.unit),
                "origin": origin,
                "percentile": percentile,
                "description": column.description,
            }
        )
    return rows


def summary(attributes: Mapping[str, Any]) -> str:
    """The few words that tell people apart in a strip: ``female, 61``."""
    parts = [_text(name, attributes[name]) for name in ("sex", "age") if attributes.get(name) is not None]
    return ", ".join(part.split(".")[0] for part in parts)


def _text(name: str, value: Cell) -> str:
    if value is None:
        return "missing"
    if isinstance(value, str):
        return level(name, value)
    return f"{value:.1f}".removesuffix(".0")


def cells_in_words(schema: AttributeSchema, cells: Mapping[str, Cell]) -> str:
    """``Age 73 years, Sex male``."""
    found = []
    for name, value in cells.items():
        column = schema[name]
        shown = level(name, str(value)) if isinstance(column, Category) else f"{value:g} {unit(column.unit)}"
        found.append(f"{label(name)} {shown}".rstrip())
    return ", ".join(found)
