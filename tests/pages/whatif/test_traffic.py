"""Canaries in a browser's traffic: names in an uploaded scan are in no request, response or message but the upload itself, in no log of the
server, and in nothing that is downloaded."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

import nibabel as nib
import pytest
from nibabel.nifti1 import Nifti1Extension
from playwright.sync_api import Error, Page, Request, Response, expect
from pydicom import FileDataset
from pydicom.uid import generate_uid

import engine
from engine.imaging.volume import Volume
from tests.imaging.dicom_files import series
from tests.pages.conftest import WAIT, Served
from tests.pages.visit import Visit

TEXTS = ["PatientName", "PatientID", "InstitutionName", "ReferringPhysicianName", "OperatorsName", "StudyDescription"]
TEXTS += ["SeriesDescription", "ProtocolName", "PatientComments", "AccessionNumber", "StationName", "ImageComments"]
TEXTS += [
    "PatientAddress",
    "DeviceSerialNumber",
    "OtherPatientNames",
    "RequestingPhysician",
    "MedicalAlerts",
    "StudyID",
]


class Wire:
    """All that passes between a page and the server, but the bodies of uploads."""

    def __init__(self, page: Page) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.answers: list[Response] = []
        self.uploads = 0
        page.on("request", self._asked)
        page.on("response", lambda answer: self.answers.append(answer))
        page.on("websocket", lambda socket: socket.on("framesent", lambda frame: self._heard("sent", frame)))
        page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: self._heard("received", frame)))
        page.on("console", lambda message: self._heard("console", message.text))

    def _heard(self, kind: str, what: Any) -> None:
        self.heard.append((kind, what.encode() if isinstance(what, str) else bytes(what)))

    def _asked(self, request: Request) -> None:
        self._heard("address", request.url)
        upload = "upload_file" in request.url
        self.uploads += upload
        if not upload and (body := request.post_data_buffer):
            self._heard("request", body)

    def listen(self) -> None:
        """Read what has been answered so far."""
        while self.answers:
            response = self.answers.pop()
            self._heard("headers", str(response.headers))
            try:
                self._heard("response", response.body())
            except Error:  # a redirect, or a response without a body
                continue

    def holding(self, canaries: set[str]) -> list[tuple[str, str]]:
        self.listen()
        return [(kind, one) for kind, data in self.heard for one in canaries if one.encode() in data]


def planted(person: Volume) -> tuple[list[dict[str, Any]], set[str]]:
    """The same scan as a DICOM archive and as NIfTI, with names in them, and these names."""
    canaries = {name: f"Zq{i:02d}xw" for i, name in enumerate(TEXTS)}
    uid = generate_uid()
    images: list[FileDataset] = series(person, 255)
    for image in images:
        for name, text in canaries.items():
            setattr(image, name, text)
        image.PatientBirthDate, image.StudyInstanceUID = "19431127", uid
        image.private_block(0x0029, "ZqOwner", create=True).add_new(0x10, "LO", "Zqprivate")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for k, image in enumerate(images):
            part = io.BytesIO()
            image.save_as(part, enforce_file_format=True)
            archive.writestr(f"Zqfolder/{k:04d}", part.getvalue())
    made = nib.Nifti1Image(person.data * 255, person.affine)
    made.header["descrip"], made.header["aux_file"], made.header["intent_name"] = b"Zqdescrip", b"Zqaux", b"Zqintent"
    made.header.extensions.append(Nifti1Extension("comment", b"Zqextension"))
    files = [
        {"name": "series.zip", "mimeType": "application/zip", "buffer": stream.getvalue()},
        {"name": "scan.nii", "mimeType": "application/octet-stream", "buffer": made.to_bytes()},
    ]
    more = {"19431127", str(uid), "ZqOwner", "Zqprivate", "Zqfolder", "Zqdescrip", "Zqaux", "Zqintent", "Zqextension"}
    return files, {*canaries.values(), *more, *(str(image.SOPInstanceUID) for image in images)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [0, 1], ids=["dicom", "nifti"])
def test_no_name_in_an_uploaded_scan_travels_back(visit: Callable[..., Visit], served: Served, kind: int) -> None:
    person = engine.load(served.checkpoints / "tiny", "cpu").generate(seed=4, steps=2)[0].volume
    files, canaries = planted(person)
    here = visit()
    wire = Wire(here.page)
    here.open(f"{served.address}/What_if?seed=3&steps=2")
    here.page.get_by_text("Scan of yours").click()
    here.page.locator("input[type=file]").set_input_files([files[kind]])
    expect(here.page.get_by_role("button", name="Read the scan")).to_be_enabled(timeout=WAIT)
    here.page.get_by_role("button", name="Read the scan").click()
    here.page.get_by_text("Your scan is in use").wait_for()
    here.page.get_by_role("button", name="Draw", exact=True).click()
    here.page.locator(".viewer[data-fingerprint]").wait_for()
    here.at_rest()
    wire.listen()
    assert wire.uploads >= 1
    assert {"sent", "received", "response", "address"} <= {kind for kind, _ in wire.heard}
    assert sum(len(data) for _, data in wire.heard) > 10_000
    assert wire.holding(canaries) == []
    log = served.checkpoints.parent / "log.txt"
    assert [one for one in canaries if one in log.read_text(errors="replace")] == []


def test_the_wire_hears_what_a_page_sends(visit: Callable[..., Visit], served: Served) -> None:
    """The name of a file is sent by the browser itself: what listens would notice a canary."""
    here = visit()
    wire = Wire(here.page)
    here.open(f"{served.address}/About?canary=Zq77xw").at_rest()
    assert ("address", "Zq77xw") in wire.holding({"Zq77xw"})
