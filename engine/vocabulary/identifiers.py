"""Headings of a table that say who a person is: such columns never reach a store.

The direct identifiers of HIPAA's safe harbour (45 CFR 164.514(b)(2)) as tables name them, in English and German.
"""

from __future__ import annotations

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
