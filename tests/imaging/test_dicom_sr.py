"""A row to DICOM-SR and back exactly; what others report is read by what it means, and what cannot be right is left out and said."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset

from engine.imaging.dicom_sr import is_report, read_sr, write_sr
from engine.imaging.dicom_write import NOTICE, Copied, Origin
from engine.imaging.volume import VolumeError

ROW = {
    "age": 61.3000000000000043,
    "sex": "F",
    "height": 1 / 3 * 500,
    "bmi": 27.123456789012345,
    "smoking": "former",
    "liver_volume": 1534.2,
    "cigarettes a day, as they remember it, over the last ten years or so": 3.0,
}
UNITS = {"cigarettes a day, as they remember it, over the last ten years or so": "cigarettes/day"}


def origin(seed: int = 3) -> Origin:
    return Origin(checkpoint="tiny", digest="0123abcd", seed=seed, steps=8, guidance=None, given={}, attributes=ROW)


def test_a_row_comes_back_to_the_last_digit_and_says_that_it_is_synthetic() -> None:
    data = write_sr(ROW, UNITS, origin())
    assert data == write_sr(ROW, UNITS, origin())
    found = read_sr(data)
    assert (found.row, found.notes) == (ROW, ())
    assert found.units["bmi"] == "kg/m²"
    assert found.units["liver_volume"] == "mL"
    assert found.units[next(iter(UNITS))] == "cigarettes/day"
    report = dcmread(BytesIO(data))
    assert (report.PatientComments, report.SyntheticData, report.Modality) == (NOTICE, "YES", "SR")
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert is_report(data)
    copied = read_sr(write_sr(ROW, UNITS, Copied(scan="a.nii.gz", checkpoint="tiny", digest="0123abcd")))
    assert copied.row == ROW


def test_highdicom_reads_what_was_written() -> None:
    from highdicom.sr import EnhancedSR

    report = EnhancedSR.from_dataset(dcmread(BytesIO(write_sr(ROW, UNITS, origin()))))
    assert report.content is not None


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.text("abcdefgh_ ü", min_size=1, max_size=80).filter(lambda name: name == name.strip()),
        st.floats(allow_nan=False, allow_infinity=False)
        | st.text("xyz ü", min_size=1).filter(lambda s: s == s.strip()),
        min_size=1,
    )
)
def test_any_row_comes_back(row: dict[str, float | str]) -> None:
    assert read_sr(write_sr(row, {}, origin())).row == row


def item(kind: str, code: str, scheme: str, meaning: str) -> Dataset:
    made = Dataset()
    made.ValueType, made.ConceptNameCodeSequence = kind, [concept(code, scheme, meaning)]
    return made


def concept(code: str, scheme: str, meaning: str) -> Dataset:
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = code, scheme, meaning
    return made


def number(code: str, scheme: str, meaning: str, value: str, unit: str) -> Dataset:
    made, measured = item("NUM", code, scheme, meaning), Dataset()
    measured.NumericValue, measured.MeasurementUnitsCodeSequence = value, [concept(unit, "UCUM", unit)]
    made.MeasuredValueSequence = [measured]
    return made


def foreign(*items: Dataset) -> bytes:
    """A report that another program wrote, with these items in a group."""
    report, group = dcmread(BytesIO(write_sr({"age": 1.0}, {}, origin()))), item("CONTAINER", "125007", "DCM", "Group")
    group.ContentSequence = list(items)
    report.ContentSequence = [group]
    stream = BytesIO()
    report.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def test_the_reports_of_others_are_read_by_what_they_mean() -> None:
    site = item("CODE", "363698007", "SCT", "Finding Site")
    site.ConceptCodeSequence = [concept("10200004", "SCT", "Liver")]
    found = read_sr(
        foreign(
            site,
            number("118565006", "SCT", "Volume", "1500", "ml"),
            number("8302-2", "LN", "Body height", "1.75", "m"),
            number("29463-7", "LN", "Body weight", "165", "[lb_av]"),
        )
    )
    assert found.row["liver_volume"] == 1500
    assert found.row["height"] == 175
    assert found.row["weight"] == pytest.approx(165 * 0.45359237)


def test_a_number_without_a_unit_or_a_deviation_is_no_value() -> None:
    """0.05 of unit 1 was 0.05 %, and a standard deviation was the liver's volume."""
    site, derived = item("CODE", "363698007", "SCT", "Finding Site"), item("CODE", "121401", "DCM", "Derivation")
    site.ConceptCodeSequence = [concept("10200004", "SCT", "Liver")]
    derived.ConceptCodeSequence = [concept("386136009", "SCT", "Standard Deviation")]
    deviation = number("118565006", "SCT", "Volume", "30", "mL")
    deviation.ContentSequence = [derived]
    rate = number("heart_rate", "99SOMATWIN", "heart_rate", "60", "{beats}/min")
    found = read_sr(foreign(site, deviation, number("liver_pdff", "99SOMATWIN", "liver_pdff", "0.05", "1"), rate))
    assert found.row == {"liver_volume_standard_deviation": 30, "heart_rate": 60}
    assert found.notes == ("a report gives liver_pdff 0.05 without a unit; give it in %",)


def test_what_cannot_be_right_is_left_out_and_said() -> None:
    found = read_sr(
        foreign(
            number("8302-2", "LN", "Body height", "3", "s"),
            number("29463-7", "LN", "Body weight", "70", "kg"),
            number("27113001", "SCT", "Body weight", "80", "kg"),
        )
    )
    assert found.row == {}
    assert "height is counted in 's'" in found.notes[0]
    assert "weight several values" in found.notes[1]
    with pytest.raises(VolumeError, match="nothing to report"):
        write_sr({"age": None}, {}, origin())
    with pytest.raises(VolumeError, match="damaged"):
        read_sr(b"no report")
