"""An uploaded scan stays in memory: nothing of it is written while it arrives, is read, defaced and seen by the model."""

from __future__ import annotations

import asyncio
import gzip
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Extension
from starlette.formparsers import MultiPartParser
from starlette.requests import Request
from streamlit.testing.v1 import AppTest

import engine
from engine.imaging.volume import Volume, VolumeError
from pages.components.whatif.upload import LIMIT_MB, admitted, held_in_memory, read_files
from tests.imaging.dicom_files import series, zipped

HEADS = Path(__file__).parents[3] / "shared/data/ixi-head-t1"
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
#: files opened for writing while the watch is on; a hook cannot be taken off again
opened: list[str] = []
watch = {"on": False, "hooked": False}


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not watch["on"]:
        return
    if event == "open" and (arguments[2] or 0) & WRITING and os.fspath(arguments[0]) != os.devnull:
        opened.append(str(arguments[0]))
    if event in ("tempfile.mkstemp", "tempfile.mkdtemp", "os.mkdir", "os.rename", "shutil.copyfile"):
        opened.append(f"{event} {arguments[0]}")


@contextmanager
def watched() -> Iterator[list[str]]:
    """Lists whatever is written to any file system."""
    if not watch["hooked"]:
        sys.addaudithook(_audit)
    opened.clear()
    watch.update(on=True, hooked=True)
    try:
        yield opened
    finally:
        watch["on"] = False


def quiet(share: float, text: str) -> None:
    pass


@pytest.fixture(scope="module")
def model(checkpoints: Path) -> engine.Model:
    return engine.load(checkpoints / "tiny", "cpu")


@pytest.fixture(scope="module")
def person(model: engine.Model) -> Volume:
    return model.generate(seed=4, steps=1, given={"age": 40})[0].volume


def files(person: Volume) -> dict[str, bytes]:
    image = person.to_nifti()
    image.header.extensions.append(Nifti1Extension("comment", b"x" * 2550))
    return {
        "NIfTI": image.to_bytes(),
        "packed": gzip.compress(image.to_bytes(), 1),
        "DICOM": zipped(series(person, 255)),
    }


def test_the_watch_sees_a_file(tmp_path: Path):
    with watched() as written:
        (tmp_path / "seen").write_bytes(b"x")
    assert written == [str(tmp_path / "seen")]


@pytest.mark.parametrize("kind", ["NIfTI", "packed", "DICOM"])
def test_nothing_of_a_scan_is_written_while_it_is_read(model: engine.Model, person: Volume, kind: str):
    data = files(person)[kind]
    with watched() as written:
        scan = admitted(model, [("Doe.nii.gz", data)], quiet)
    assert written == []
    assert np.abs(scan.volume.data - person.data.clip(0, 1)).max() < 0.01


@pytest.mark.skipif(not HEADS.is_dir(), reason="needs the shared heads")
def test_nothing_of_a_real_head_is_written_while_its_brain_is_found(model: engine.Model):
    """A file that the app once refused for its header extension, through deepbet and the defacing."""
    data = next(HEADS.glob("sub-*/anat/*_T1w.nii.gz")).read_bytes()
    with watched() as written:
        scan = admitted(model, [("Doe.nii.gz", data)], quiet)
    assert written == []
    assert scan.volume.grid == (32, 32, 32)


def test_nothing_of_a_scan_is_written_while_it_arrives():
    """The server's own parser, with a file of 3 MB; it would spool what exceeds 1 MB to the disk."""
    held_in_memory()
    payload = os.urandom(3 * 2**20)
    body = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n' + payload + b"\r\n--x--\r\n"

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def parsed() -> bytes:
        scope = {"type": "http", "method": "PUT", "headers": [(b"content-type", b"multipart/form-data; boundary=x")]}
        async with Request(scope, receive).form() as form:
            return await form["f"].read()  # pyright: ignore[reportAttributeAccessIssue]

    with watched() as written, ThreadPoolExecutor(1) as thread:  # the browser's tests leave a loop running in this one
        found = thread.submit(asyncio.run, parsed()).result()
    assert written == []
    assert found == payload


def panel() -> None:
    """What the What-if page shows for an upload, alone."""
    from types import SimpleNamespace

    from pages.components.whatif.upload import upload_panel

    config = SimpleNamespace(channels=("T1w",))
    upload_panel(SimpleNamespace(digest="0", checkpoint=SimpleNamespace(config=config)))


def test_the_page_asks_the_server_to_hold_files_in_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(MultiPartParser, "spool_max_size", 2**20)
    app = AppTest.from_function(panel, default_timeout=30).run()
    assert not app.exception
    assert len(app.file_uploader) == 1
    assert MultiPartParser.spool_max_size >= LIMIT_MB * 2**20


def test_a_pair_is_read_by_its_names_and_no_sentence_holds_one():
    water = Volume(np.full((4, 5, 6), 0.5, np.float32), np.eye(4))
    data = water.to_nifti().to_bytes()
    pair, _ = read_files([("Doe_fat.nii", data), ("Doe_water.nii", data)], ("water", "fat"))
    assert (pair.channels, pair.data.shape) == (("water", "fat"), (2, 4, 5, 6))
    with pytest.raises(VolumeError, match="2 of the files have 'water' in their name"):
        read_files([("water.nii", data), ("water_2.nii", data)], ("water", "fat"))
    with pytest.raises(VolumeError, match=r"^the fat image cannot be read") as refused:
        read_files([("Doe_fat.nii", b"no"), ("Doe_water.nii", data)], ("water", "fat"))
    assert "Doe" not in str(refused.value)


def test_a_refusal_begins_like_a_sentence(model: engine.Model):
    with pytest.raises(VolumeError, match=r"^The scan cannot be read as NIfTI: this is no NIfTI file but a PDF"):
        admitted(model, [("Doe.nii", b"%PDF-1.7")], quiet)


def test_a_dixon_scan_as_one_archive_and_files_of_no_known_side():
    """Water and fat are told by their headers; whatever is refused on the command line is refused here."""
    scan = Volume(np.arange(12 * 14 * 10, dtype=np.float32).reshape(12, 14, 10), np.diag([1.5, 2.0, 3.0, 1.0]))
    files = [*series(scan, 1), *series(Volume(scan.data + 1, scan.affine), 1)]
    for k, file in enumerate(files):
        file.ImageType = ["DERIVED", "PRIMARY", "DIXON", "WATER" if k < 10 else "FAT"]
    volume, notes = read_files([("Doe.zip", zipped(files))], ("water", "fat"))
    assert (volume.channels, notes) == (("water", "fat"), ())
    np.testing.assert_array_equal(volume.data, [scan.data, scan.data + 1])
    image = scan.to_nifti()
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    with pytest.raises(VolumeError, match="the scan does not say where left and right are"):
        read_files([("Doe.nii", image.to_bytes())], ("T1w",))
