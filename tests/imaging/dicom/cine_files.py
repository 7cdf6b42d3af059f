"""A cine as scanners write it: one file a slice and phase, or one enhanced image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import EnhancedMRImageStorage, generate_uid

from engine.imaging.grid import frames
from engine.imaging.volume import Volume
from tests.imaging.cine.hearts import patient
from tests.imaging.dicom_files import image, series

#: ms from R wave to R wave, and from it to the first phase
INTERVAL, FIRST = 800.0, 10.0


def cine(phases: int = 8, slices: int = 7) -> Volume:
    """Every voxel different in every phase, where a heart lies in a patient."""
    data = np.arange(phases * 10 * 12 * slices, dtype=np.float32).reshape(phases, 10, 12, slices)
    return Volume(data / 1000, patient().affine, frames(["cine"], phases), INTERVAL / 1000)


def images(
    volume: Volume, *, axcodes: str = "LIA", intervals: Sequence[float] = (), time: str = "TriggerTime"
) -> list[list[FileDataset]]:
    """Slices of every slice and phase. What tells when each was taken is its TriggerTime (of a beat of its own, if there are
    ``intervals``), its TemporalPositionIdentifier, or its InstanceNumber alone."""
    stills = [series(one, axcodes=axcodes) for one in volume.stills()]
    uid = generate_uid()
    found = []
    for k, slices in enumerate(zip(*stills, strict=True)):
        interval = intervals[k] if intervals else INTERVAL
        for phase, one in enumerate(slices):
            one.SeriesInstanceUID, one.InstanceNumber = uid, k * len(slices) + phase + 1
            if time == "TriggerTime":
                one.TriggerTime = f"{FIRST + phase * interval / len(slices):.1f}"
                one.NominalInterval, one.HeartRate = round(interval), round(60000 / interval)
                one.CardiacNumberOfImages = len(slices)
            elif time == "TemporalPositionIdentifier":
                one.TemporalPositionIdentifier = phase + 1
        found.append(list(slices))
    return found


def flat(slices: Sequence[Sequence[FileDataset]]) -> list[FileDataset]:
    return [one for place in slices for one in place]


def enhanced_cine(volume: Volume) -> FileDataset:
    """All frames in one file, in an order that says nothing."""
    frames = flat(images(volume))
    frames = [frames[k] for k in np.random.default_rng(4).permutation(len(frames))]
    made = image(np.zeros((2, 2)), [0, 0, 0], [1, 0, 0, 0, 1, 0], [1, 1], frames[0].SeriesInstanceUID)
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(made, name)
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    made.Rows, made.Columns, made.NumberOfFrames = frames[0].Rows, frames[0].Columns, len(frames)
    made.SharedFunctionalGroupsSequence = [Dataset()]
    shared = made.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [Dataset()], [Dataset()]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = frames[0].ImageOrientationPatient
    shared.PixelMeasuresSequence[0].PixelSpacing = frames[0].PixelSpacing
    made.PerFrameFunctionalGroupsSequence = []
    for frame in frames:
        group = Dataset()
        group.PlanePositionSequence, group.CardiacSynchronizationSequence = [Dataset()], [Dataset()]
        group.PlanePositionSequence[0].ImagePositionPatient = frame.ImagePositionPatient
        group.CardiacSynchronizationSequence[0].NominalCardiacTriggerDelayTime = float(frame.TriggerTime)
        group.CardiacSynchronizationSequence[0].RRIntervalTimeNominal = INTERVAL
        made.PerFrameFunctionalGroupsSequence.append(group)
    made.PixelData = np.stack([frame.pixel_array for frame in frames]).astype(np.uint16).tobytes()
    return made
