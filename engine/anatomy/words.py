"""What columns and measures are called in text: ``intracranial_ml`` is the intracranial space, ``liver_pdff`` the liver PDFF."""

from __future__ import annotations

import re

from engine.anatomy import regions
from engine.imaging.grid import phases_of
from engine.vocabulary.catalogue import CATALOGUE


def measure_title(name: str) -> str:
    """A measure of any region as a heading; any other name as :func:`column_title` has it.

    >>> measure_title("brain_ml"), measure_title("bmi")
    ('Brain', 'BMI')
    """
    found = (region.measures[name] for region in regions() if name in region.measures)
    return next(found, "") or column_title(name)


def column_title(name: str) -> str:
    """A column as a heading; one that is not well known by its name.

    >>> column_title("liver_pdff"), column_title("grip_strength")
    ('Liver PDFF', 'Grip strength')
    """
    return CATALOGUE[name].label if name in CATALOGUE else name.replace("_", " ").capitalize()


def within(title: str) -> str:
    """A heading within a sentence: small but for an abbreviation.

    >>> within("Liver PDFF"), within("LV EDV"), within("Age")
    ('liver PDFF', 'LV EDV', 'age')
    """
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def channel_in_words(text: str) -> str:
    """A text in which a channel that is only counted has its name: of the one region that has several.

    >>> channel_in_words(", channel 2"), channel_in_words("channel 7"), channel_in_words(", water")
    (', fat', 'channel 7', ', water')
    """
    names = next((kinds for region in regions() if len(kinds := phases_of(region.channels)[0]) > 1), ())

    def named(found: re.Match[str]) -> str:
        number = int(found[1])
        return names[number - 1] if 0 < number <= len(names) else found[0]

    return re.sub(r"\bchannel (\d+)\b", named, text)


def in_words(text: str) -> str:
    """A text with every well-known column, and every measure of a region that is none, in words.

    >>> in_words("requested bmi (kg/m²)"), in_words("brain_ml and sat_area")
    ('requested BMI (kg/m²)', 'brain and sat_area')
    """
    known = {name for region in regions() for name in region.measures} | CATALOGUE.keys()

    def said(found: re.Match[str]) -> str:
        name = found[0]
        if name not in known:
            return name
        return within(column_title(name) if name in CATALOGUE else measure_title(name))

    return re.sub(r"\w+", said, text)
