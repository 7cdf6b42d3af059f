"""Columns of a table that say who a person is, or when something happened to them: they never reach a store.

The direct identifiers of HIPAA's safe harbour (45 CFR 164.514(b)(2)) as tables name them, in English and German.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from engine.vocabulary.cells import MISSING
from engine.vocabulary.headings import plain

#: what a column holds, and its headings as :func:`engine.vocabulary.headings.plain` leaves them, between commas
_HEADINGS = {
    "names": "name, names, surname, firstname, lastname, forename, first name, last name, full name, family name, given name, "
    "patient name, patientname, patients name, patient s name, initials, vorname, nachname, familienname, initialen, physician, "
    "doctor, referring physician, referringphysicianname, operator, operatorsname",
    "dates of birth": "dob, birthdate, birthday, birth date, date of birth, patient birth date, patientbirthdate, geburtsdatum",
    "addresses": "address, street, zip, zipcode, zip code, postcode, postal code, home address, adresse, strasse, plz, wohnort",
    "ways to reach somebody": "phone, telephone, phone number, mobile, fax, email, e mail, mail, telefon",
    "numbers of a register": "mrn, ssn, medical record number, hospital number, accession number, accessionnumber, insurance, "
    "social security number, insurance number, nhs number, case number, passport, ahv, ahv nummer, fallnummer",
    "institutions": "institution, institution name, institutionname, institution address, hospital, clinic, klinik, spital",
    "unique identifiers": "study uid, series uid, study instance uid, studyinstanceuid, series instance uid, seriesinstanceuid, "
    "sop instance uid, sopinstanceuid, uid",
}
_KINDS = {heading.strip(): kind for kind, headings in _HEADINGS.items() for heading in headings.split(",")}


def identifying(heading: str) -> str:
    """What a column of this heading tells of a person, in the plural; "" where it is no identifier.

    >>> identifying("Patient's Name"), identifying("Geburtsdatum"), identifying("age")
    ('names', 'dates of birth', '')
    """
    return _KINDS.get(plain(heading), "")


#: a day as tables write it: 1970-01-31, 31.1.1970, 1/31/70, with or without a time; and as DICOM does
_DAY = re.compile(r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{2}|\d{4}))([T ]\d{1,2}:\d{2}.*)?")
_PLAIN_DAY = re.compile(r"(18|19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_DATES = ("date", "datum", "day", "tag")


def tells_who(heading: str, cells: Iterable[str]) -> str:
    """What a column tells of persons by which they could be found, in the plural; "" where it does not.

    One day among other words is enough.

    >>> tells_who("scanned", ["2019-03-01", "unknown"]), tells_who("visit date", ["20190301"]), tells_who("score", ["20190301"])
    ('dates', 'dates', '')
    """
    if kind := identifying(heading):
        return kind
    known = [cell.strip() for cell in cells if (cell or "").strip().casefold() not in MISSING]
    dated = any(word in plain(heading).split() for word in _DATES)
    if any(_DAY.fullmatch(cell) or (dated and _PLAIN_DAY.fullmatch(cell)) for cell in known):
        return "dates"
    return ""
