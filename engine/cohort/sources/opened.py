"""Which kind of cohort lies at a path: a BIDS data set, a table with NIfTI files, or DICOM."""

from __future__ import annotations

from pathlib import Path

from engine.cohort.sources.bids import BidsDataset, read_bids
from engine.cohort.sources.dicom import DicomCohort, read_dicom, table_beside
from engine.cohort.sources.folder import ENDS, KINDS, FolderCohort, read_folder, tables_in
from engine.cohort.sources.proposal import TablePlan
from engine.cohort.sources.source import Source
from engine.imaging.scan import is_dicom_source


def opened(
    path: str | Path,
    *,
    channel: str = "T1w",
    labels_from: str | None = "dlmuse",
    plan: TablePlan | None = None,
    series: str = "",
) -> Source:
    """The cohort at ``path``: BIDS by its dataset_description.json, else a table beside NIfTI files, else DICOM. A ``plan`` says
    how the columns of its table are read, ``series`` is a text in the description or the name of the scans that are meant.

    Raises :class:`engine.cohort.sources.bids.BidsError` where it is none of these, and as the reader of its kind does.
    """
    path = Path(path)
    if path.is_file() and path.suffix.casefold() in KINDS:
        return read_folder(path, channel=channel, plan=plan, series=series)
    if path.is_file() and is_dicom_source(path):
        return read_dicom(path, channel=channel, plan=plan, series=series)
    if path.is_dir() and not (path / "dataset_description.json").is_file():
        scans = any(p.name.endswith(ENDS) for p in path.rglob("*"))
        if scans and tables_in(path):
            return read_folder(path, channel=channel, plan=plan, series=series)
        if not scans and _has_dicom(path):
            return read_dicom(path, channel=channel, plan=plan, series=series)
    return read_bids(path, suffix=channel, labels_from=labels_from, plan=plan, series=series)


def table_of(source: Source) -> Path | None:
    """The table file that a cohort was read with; None where it has none."""
    if isinstance(source, BidsDataset):
        return source.root / "participants.tsv"
    if isinstance(source, FolderCohort):
        return source.table
    return table_beside(source.root) if isinstance(source, DicomCohort) else None


def _has_dicom(folder: Path) -> bool:
    """Whether a folder holds a DICOM file or an archive."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return any(is_dicom_source(path) and path.suffix.casefold() not in KINDS for path in files)
