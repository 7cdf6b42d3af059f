"""Whatever a scan's header says of a person is in nothing that is written or said of the scan."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import pytest

from engine.__main__ import main

FIELDS = {"descrip": b"Zq1xw^JOHN", "aux_file": b"Zq2xw", "intent_name": b"Zq3xw", "db_name": b"Zq4xw"}


@pytest.fixture
def named(masked: str, tmp_path: Path) -> Path:
    """A synthetic scan whose header names somebody in each of its texts, in an extension and in the name within its archive."""
    assert main(["generate", masked, "--seed", "3", "--steps", "2", "--out", str(tmp_path / "made")]) == 0
    image = nib.load(tmp_path / "made" / "sub-0001" / "anat" / "sub-0001_T1w.nii.gz")
    assert isinstance(image, nib.nifti1.Nifti1Image)
    for field, text in FIELDS.items():
        image.header[field] = text
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Zq5xw born 27.11.1943"))
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(gzip.compress(image.to_bytes()))
    return path


@pytest.mark.parametrize(
    ("command", "how"),
    [
        ("infer", ["--set", "sex=F", "--samples", "2"]),
        ("whatif", ["--given", "age=40", "--set", "age=50", "--steps", "2", "--out"]),
        ("segment", ["--out"]),
    ],
)
def test_no_text_of_a_header_comes_out(
    command: str, how: list[str], masked: str, named: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    capsys.readouterr()
    assert main([command, masked, str(named), "--force", *how, *([str(out)] if how[-1] == "--out" else [])]) == 0
    said = capsys.readouterr()
    written = [path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()]
    whole = [gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data for data in written]
    assert said.out
    assert bool(written) == (how[-1] == "--out")
    for text in (said.out.encode(), said.err.encode(), *whole):
        assert [name for name in [*FIELDS.values(), b"Zq5xw", b"27.11.1943"] if name in text] == []
