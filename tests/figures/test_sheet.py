"""The page to print: one page, its words and marks in it."""

from __future__ import annotations

import re
import shutil
import subprocess
import zlib

import numpy as np
import pytest

from engine.figures.sheet import MARGIN, PAGE, Picture, columns, sheet, wide_of

FACTS = {"model": "tiny", "seed": "5", "weights": "0123456789ab"}
TABLE = [["", "Value", "", "Percentile"], ["Age", "50 years", "given", "57"], ["BMI", "30 kg/m²", "sampled", "79"]]


def page() -> bytes:
    return sheet("A person", "About them.", [Picture("Scan", np.full((300, 700), 128, np.uint8))], TABLE, facts=FACTS)


def test_it_is_one_page_with_its_marks_and_the_same_bytes_again():
    data = page()
    assert data.startswith(b"%PDF")
    assert len(re.findall(rb"/Type /Page\b(?!s)", data)) == 1
    assert b"SYNTHETIC - not for diagnosis" in data
    assert data == page()


def test_there_is_a_picture_in_it():
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", page(), re.DOTALL)
    assert any(len(zlib.decompress(one)) > 10_000 for one in streams if one[:1] == b"x")


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="needs pdftotext")
def test_a_reader_finds_the_words(tmp_path):
    (tmp_path / "a.pdf").write_bytes(page())
    text = subprocess.run(["pdftotext", "-layout", str(tmp_path / "a.pdf"), "-"], capture_output=True, text=True).stdout
    for words in ("A person", "30 kg/m²", "seed 5", "weights 0123456789ab", "SYNTHETIC - not for diagnosis"):
        assert words in text


LONG = [
    [
        "",
        "Before: BMI 22 kg/m², Age 70 years",
        "What if: BMI 34 kg/m², Age 70 years",
        "",
        "Percentile in the training cohort",
    ],
    *[[f"Left ventricular mass {k}", "1234.5 mL/m²", "1234.5 mL/m²", "computed", "100"] for k in range(14)],
]


def test_no_cell_of_a_table_runs_into_the_next_one_or_over_the_edge():
    for table in (TABLE, LONG):
        for r, (row, placed) in enumerate(zip(table, columns(table), strict=True)):
            lefts = [left for left, _ in placed] + [PAGE[0] - 2 * MARGIN]
            for c, (cell, (left, size)) in enumerate(zip(row, placed, strict=True)):
                weight = "bold" if r == 0 or c == 0 else "normal"
                assert left + wide_of(cell, size, weight) < lefts[c + 1], cell


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="needs pdftotext")
def test_no_words_of_a_full_page_stand_on_others(tmp_path):
    """Two wide pictures, long names and fourteen rows: the boxes of all lines are apart, and within the page."""
    facts = {
        "model": "heart-cine",
        "seed": "none, a scan was given",
        "steps": "16",
        "weights": "0123456789ab",
        "more": "word " * 30,
    }
    grey = np.full((500, 900), 128, np.uint8)
    pictures = [Picture(name, grey) for name in LONG[0][1:3]]
    title = f"What if: {', '.join(LONG[0][1:3])}"
    (tmp_path / "a.pdf").write_bytes(
        sheet(title, "About them. " * 12, pictures, LONG, facts=facts, note="A note. " * 30)
    )
    command = ["pdftotext", "-bbox-layout", str(tmp_path / "a.pdf"), "-"]
    text = subprocess.run(command, capture_output=True, text=True).stdout
    boxes = [
        [float(x) for x in found]
        for found in re.findall(r'<word xMin="(.*?)" yMin="(.*?)" xMax="(.*?)" yMax="(.*?)"', text)
    ]
    assert len(boxes) > 150
    assert max(box[2] for box in boxes) < 72 * PAGE[0]
    assert max(box[3] for box in boxes) < 72 * PAGE[1]
    # a box is as high as the font's tallest letters, twice as high as most
    boxes = [(a + 0.5, b + 0.28 * (d - b), c - 0.5, d - 0.28 * (d - b)) for a, b, c, d in boxes]
    for k, (left, top, right, bottom) in enumerate(boxes):
        for other in boxes[k + 1 :]:
            beside = other[0] >= right or other[2] <= left
            assert beside or other[1] >= bottom or other[3] <= top, (boxes[k], other)
