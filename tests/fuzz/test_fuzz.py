"""Whatever is done to a valid file, it is read or refused in a sentence: no other error, no hang, no memory, no half a result."""

from __future__ import annotations

import json
import resource
import shutil
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import engine
from engine.__main__ import main
from engine.cohort.sources.table import TableCohort
from engine.cohort.store import CohortStore
from engine.imaging.volume import Volume
from engine.vocabulary.refusal import Refusal
from tests.fuzz.files import NASTY, TABLE, damage, kinds

KINDS = kinds()
#: cases of the fast and of the slow suite, and seconds and bytes that one may take
FAST, SLOW, SECONDS, MEMORY = 300, 10_000, 10.0, 2 * 2**30
QUIET = {
    "derandomize": True,
    "database": None,
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
}


def outcome(name: str, data: bytes, folder: Path) -> Any:
    """What is read, or the sentence of the refusal; anything else is the fault that is looked for."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = KINDS[name].read(data, folder)
        except Refusal as error:
            found = str(error)
            assert len(found) > 20
    assert time.monotonic() - began < SECONDS
    if isinstance(found, Volume):
        assert np.isfinite(found.data).all()
        assert min(found.grid) >= 2
        assert 0.05 <= min(found.spacing) <= max(found.spacing) <= 1000
    if isinstance(found, TableCohort):
        assert all(value is None or isinstance(value, float | str) for row in found.rows for value in row.values())
    return found


@pytest.mark.parametrize("name", KINDS)
def test_the_files_themselves_are_read(name: str, tmp_path: Path):
    assert not isinstance(outcome(name, KINDS[name].valid, tmp_path / "f"), str)


@settings(max_examples=FAST, **QUIET)
@given(name=st.sampled_from(sorted(KINDS)), change=damage())
def test_a_damaged_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, name: str, change: Any):
    outcome(name, change(KINDS[name].valid), tmp_path_factory.getbasetemp() / "fuzz")


@pytest.mark.slow
@settings(max_examples=SLOW, **QUIET)
@given(name=st.sampled_from(sorted(KINDS)), change=damage())
def test_ten_thousand_damaged_files_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, change: Any
):
    outcome(name, change(KINDS[name].valid), tmp_path_factory.getbasetemp() / "fuzz")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < MEMORY + 2**30, "the libraries take one of them"


CELL = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["", "n/a", "NA", "none", "-", ".", "40", "1,5", "1.5", "1.234,5", "1,234", "61Y", "999", "-9", "M", "w", "inf"]
    ),
    st.floats(allow_nan=True).map(str),
    st.integers(-(10**6), 10**6).map(str),
)
HEADING = st.one_of(
    st.text(max_size=6),
    st.sampled_from(["participant_id", "ID", "Age", "sex", "Größe (m)", "weight_lb", "bmi", "scan"]),
)


@settings(max_examples=60, **QUIET)
@given(
    headings=st.lists(HEADING, min_size=1, max_size=6),
    rows=st.lists(st.lists(CELL, min_size=1, max_size=6), max_size=8),
    mark=st.sampled_from("\t,;|"),
)
def test_any_table_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, headings: list[str], rows: list[list[str]], mark: str
):
    lines = [mark.join(headings), *(mark.join((row * len(headings))[: len(headings)]) for row in rows)]
    data = "\n".join(lines).encode("utf-8", "replace")
    for name in ("tsv", "participants.tsv"):
        outcome(name, data, tmp_path_factory.getbasetemp() / "fuzz")


@settings(max_examples=60, **QUIET)
@given(
    value=st.recursive(
        st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=5)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(
                    ["age", "smoking", "Units", "Levels", "Minimum", "Derived", "powers", "Cohort", "Name", "x"]
                ),
                inner,
                max_size=4,
            ),
        ),
        max_leaves=12,
    )
)
def test_any_dictionary_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, value: Any):
    for name in ("dictionary", "participants.json", "description"):
        outcome(name, json.dumps(value).encode(), tmp_path_factory.getbasetemp() / "fuzz")


FIELDS = [
    "dim",
    "datatype",
    "bitpix",
    "pixdim",
    "vox_offset",
    "scl_slope",
    "scl_inter",
    "xyzt_units",
    "qform_code",
    "sform_code",
]
FIELDS += ["quatern_b", "quatern_c", "qoffset_x", "srow_x", "srow_y", "magic", "intent_code", "dim_info"]


@settings(max_examples=100, **QUIET)
@given(
    name=st.sampled_from(["nifti", "nifti big endian", "nifti-2", "nifti pair", "labels"]),
    fields=st.lists(
        st.tuples(st.sampled_from(FIELDS), st.integers(0, 7), st.sampled_from(NASTY)), min_size=1, max_size=3
    ),
)
def test_any_header_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, name: str, fields: Any):
    import nibabel as nib

    data = bytearray(KINDS[name].valid)
    dtype = (nib.Nifti2Header if name == "nifti-2" else nib.Nifti1Header).template_dtype
    for field, index, value in fields:
        assert dtype.fields is not None
        part, offset = dtype.fields[field][:2]
        size = part.base.itemsize
        at = offset + size * (index % max(1, part.itemsize // size))
        data[at : at + size] = (value * size)[:size]
    outcome(name, bytes(data), tmp_path_factory.getbasetemp() / "fuzz")


@pytest.fixture(scope="module")
def folders(tiny_run: Path, tiny_store: CohortStore, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = tmp_path_factory.mktemp("whole")
    shutil.copytree(tiny_run / "checkpoint", made / "checkpoint")
    shutil.copytree(tiny_store.path, made / "store")
    return {"checkpoint": made / "checkpoint", "store": made / "store"}


@pytest.mark.parametrize("cases", [12, pytest.param(300, marks=pytest.mark.slow)])
def test_a_damaged_checkpoint_or_store_is_refused_or_as_it_was(folders: dict[str, Path], cases: int):
    """Weights (safetensors), settings, card, arrays, rows: a changed byte is found, or changes nothing that is read."""
    rng = np.random.default_rng(0)
    readers = {"checkpoint": engine.load, "store": CohortStore.open}
    for kind, folder in folders.items():
        files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in (".json", ".safetensors", ".npy"))
        for case in range(cases):
            file = files[case % len(files)]
            valid = file.read_bytes()
            at = int(rng.integers(min(len(valid), 2000)))
            new = NASTY[int(rng.integers(len(NASTY)))]
            damaged = valid[:at] if case % 5 == 4 else valid[:at] + new + valid[at + len(new) * int(rng.integers(2)) :]
            file.write_bytes(damaged)
            with suppress(Refusal):
                readers[kind](folder)
            file.write_bytes(valid)
        readers[kind](folder)


@pytest.mark.parametrize("cases", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_a_damaged_table_leaves_no_half_of_an_answer(checkpoint: str, tmp_path: Path, cases: int, capsys: Any):
    rng = np.random.default_rng(1)
    valid, out = TABLE.encode(), tmp_path / "out.csv"
    for case in range(cases):
        at = int(rng.integers(len(valid)))
        damaged = valid[:at] + NASTY[case % len(NASTY)] + valid[at + 1 :]
        (tmp_path / "t.tsv").write_bytes(damaged)
        code = main(["impute", checkpoint, str(tmp_path / "t.tsv"), "--steps", "1", "--out", str(out)])
        said = capsys.readouterr()
        assert code in (0, 2), said.err
        assert out.exists() == (code == 0)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["out.csv", "t.tsv"][code == 2 :]
        out.unlink(missing_ok=True)
