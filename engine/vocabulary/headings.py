"""What a table calls a well-known column: letter case, spaces, units in brackets, another word, another language.

Only a heading that can mean one thing is taken for a column, and every heading that was is said; "Age at death" is no age at scan.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from engine.vocabulary.catalogue import CATALOGUE
from engine.vocabulary.units import known

ID = "participant_id"
#: other words for a column, as :func:`plain` leaves them
SYNONYMS: dict[str, tuple[str, ...]] = {
    "age": (
        "alter",
        "lebensalter",
        "patient age",
        "patientage",
        "scan age",
        "age at scan",
        "age at mri",
        "age at mr",
        "age at imaging",
        "age at examination",
        "age at exam",
        "age at visit",
        "alter bei untersuchung",
        "edad",
    ),
    "sex": ("gender", "geschlecht", "patient sex", "patientsex", "sexe", "sexo", "biological sex"),
    "height": (
        "body height",
        "standing height",
        "stature",
        "patient size",
        "patientsize",
        "grösse",
        "groesse",
        "körpergrösse",
        "koerpergroesse",
    ),
    "weight": (
        "body weight",
        "bodyweight",
        "body mass",
        "patient weight",
        "patientweight",
        "gewicht",
        "körpergewicht",
        "koerpergewicht",
    ),
    "bmi": ("body mass index", "bodymassindex"),
    "ethnicity": ("ethnic group", "ethnicgroup", "ethnie"),
    "smoking": ("smoking status", "smokingstatus", "smoker status", "raucherstatus"),
    ID: (
        "participantid",
        "participant",
        "subject",
        "subject id",
        "subjectid",
        "sub id",
        "subj id",
        "patient id",
        "patientid",
        "patienten id",
        "probanden id",
        "probandennummer",
        "pseudonym",
        "case id",
        "record id",
        "id",
    ),
}
_PLAIN_NAMES = {words: name for name, others in SYNONYMS.items() for words in others}
#: signs that say what a number is: "BMI %" is a percentile and "±Age" a deviation
_SIGNS = re.compile(r"[%‰±∆#+\"″'′]")
#: a heading and the last word of it, after a space, an underscore or in brackets
_ENDED = re.compile(r"(.*?)[\s_(\[{]+([^\s_()\[\]{}]+)[)\]}]*")


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A column as its table has it: its ``name`` here, the ``text`` above it, and the ``unit`` in that text (or "")."""

    name: str
    text: str
    unit: str = ""


def plain(text: str) -> str:
    """A heading without case, punctuation and doubled spaces.

    >>> plain("  Körper-Größe_(cm) "), plain("kg/m²")
    ('körper grösse cm', 'kg m²')
    """
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


def named(headings: Sequence[str], wanted: Collection[str]) -> tuple[dict[str, Heading], list[str]]:
    """By text, what each of a table's ``headings`` is here, and a sentence for each that was not simply its name.

    A heading that is a wanted name itself is that column. Another may be one by case, spaces, unit or a synonym, where no
    heading is it itself and no two could be: then neither is, and that is said.

    >>> found, said = named(["ID", "Alter", "Weight (lb)", "site"], ["age", "weight", "bmi"])
    >>> [(one.text, one.name, one.unit) for one in found.values()]
    [('ID', 'participant_id', ''), ('Alter', 'age', ''), ('Weight (lb)', 'weight', 'lb'), ('site', 'site', '')]
    >>> said[1:]
    ['column Alter is taken as age', 'column Weight (lb) is taken as weight in lb']
    """
    found = {text: Heading(name=text, text=text) for text in headings}
    meant: dict[str, list[Heading]] = {}
    for text in headings:
        if text in wanted or text == ID:
            continue
        one = _meant(text, [*wanted, ID])
        if one is not None and one.name not in headings:
            meant.setdefault(one.name, []).append(one)
    said = _untaken(found, meant)
    for name, those in meant.items():
        if len(those) > 1:
            texts = " and ".join(one.text for one in those)
            said.append(f"columns {texts} could each be {name}, so neither is taken as it; rename one to {name}")
            continue
        (one,) = those
        found[one.text] = one
        said.append(f"column {one.text} is taken as {name}" + (f" in {one.unit}" if one.unit else ""))
    return found, said


def _untaken(found: dict[str, Heading], meant: dict[str, list[Heading]]) -> list[str]:
    """A sentence for each heading that begins as a well-known column's, says something in brackets, and is none."""
    said = []
    for text, one in found.items():
        start = plain(re.split(r"[(\[{=]", text)[0])
        name = start if start in CATALOGUE else _PLAIN_NAMES.get(start, "")
        adds = start != plain(text) or _SIGNS.search(text)
        if one.name == text != name and adds and name in CATALOGUE and name not in (*found, *meant):
            said.append(
                f"column {text} was not taken as {name}, because of what its heading adds; rename it to {name} if it is"
            )
    return said


def _meant(text: str, wanted: Collection[str]) -> Heading | None:
    """The wanted column that a heading can only mean, with the unit at its end; None where there is none."""
    words = plain(text)
    names = {plain(name): name for name in wanted}
    names |= {other: name for other, name in _PLAIN_NAMES.items() if name in wanted}
    if words in names:
        name, signs = names[words], "".join(_SIGNS.findall(text))
        if name not in CATALOGUE or not signs:
            return Heading(name=name, text=text)
        return Heading(name=name, text=text, unit=signs) if known(name, signs) else None
    ended = _ENDED.fullmatch(text)
    for start, name in names.items():
        if name not in CATALOGUE or not words.startswith(f"{start} "):
            continue
        unit = words.removeprefix(start).removeprefix(" in").strip()
        last = ended[2] if ended and plain(ended[1]) == start else ""
        spelled = next((u for u in (unit, unit.replace(" ", "/"), last) if known(name, u)), None)
        if spelled:
            return Heading(name=name, text=text, unit=spelled)
    return None
