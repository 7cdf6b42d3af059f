"""The page to print: one page, its words and marks in it."""

from __future__ import annotations

import re
import shutil
import subprocess
import zlib

import numpy as np
import pytest

from engine.figures.sheet import Picture, sheet

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
