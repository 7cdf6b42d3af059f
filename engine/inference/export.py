"""Generated persons on disk: a BIDS folder that says how to make it again."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydicom import dcmread

from engine.anatomy import region_of
from engine.checkpoints.files import CheckpointError
from engine.cohort.bids_write import COLUMNS, save_scan, write_bids
from engine.imaging.dicom_seg import write_dicom_seg
from engine.imaging.dicom_sr import write_sr
from engine.imaging.dicom_write import Copied, Origin, write_series
from engine.imaging.segmentation import Segmentation, write_segmentation
from engine.imaging.volume import Volume, VolumeError
from engine.inference.counterfactual import (
    Counterfactual,
    counterfactual,
    counterfactual_units,
    generated_counterfactual,
    generated_counterfactual_units,
    psnr,
)
from engine.inference.export_arrays import write_arrays
from engine.inference.generate import DISCLAIMER, Model
from engine.inference.mask_edit import MaskEdit
from engine.inference.progress import ProgressCallback, Tally
from engine.measure.clinical import changes
from engine.measure.ruler import Ruler
from engine.measure.shipped import load_ruler
from engine.storage.ranks import SINGLE, Ranks
from engine.storage.whole import refusing, whole_directory
from engine.vocabulary.catalogue import OPT_IN
from engine.vocabulary.refusal import RequestError
from engine.vocabulary.schema import Category, Row

#: dB stated where two volumes are equal
PERFECT = 99.0
#: what the head of a NIfTI file of a what-if says: of the scan that was given, and of all that is made of it
REAL = "Real scan as given, on the model's grid: not synthetic. Not for diagnosis."
MADE = "Synthetic what-if. Associations, not causes. Not for diagnosis."
Form = Literal["nifti", "dicom", "parquet+zarr"]


def write_people(
    model: Model,
    out: str | Path,
    *,
    n: int = 1,
    given: Mapping[str, Any] | None = None,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    form: Form = "nifti",
    mask: Segmentation | None = None,
    with_mask: bool = False,
    with_sr: bool = False,
    progress: ProgressCallback | None = None,
    ranks: Ranks = SINGLE,
) -> Path:
    """:meth:`Model.generate` straight to the new or empty folder ``out``, one person in memory at a time; of several ``ranks`` each
    draws and writes persons of its own.

    Scans are NIfTI, or in the ``form`` dicom a series a channel under ``sourcedata``, where BIDS keeps such; masks, given or drawn
    ``with_mask``, are dseg files with their table, or DICOM-SEG; rows ``with_sr`` are DICOM-SR under ``sourcedata`` too. In the form
    parquet+zarr they are arrays (:func:`engine.inference.export_arrays.write_arrays`). Returns the folder: whole or not at all, and
    the same files for the same request. The request, the checkpoint's digest and the disclaimer stand in dataset_description.json
    under GeneratedBy; the licence is :attr:`Model.licence`. Raises as ``generate`` does, and
    :class:`~engine.cohort.sources.bids.BidsError` when the folder cannot be written.
    """
    config = model.checkpoint.config
    request = {
        "n": n,
        "given": dict(given or {}),
        "seed": seed,
        "steps": model.steps if steps is None else steps,
        "guidance": config.guidance if guidance is None else guidance,
        "device": model.device,
    }
    if mask is not None or with_mask:
        request |= {"mask": "given" if mask is not None else "drawn"}
    save = partial(_save_dicom, model, request) if form == "dicom" else None
    if save is None and (mask is not None or with_mask):
        save = _save_with_mask
    origin = {
        "Name": "Somatwin",
        "Version": version("somatwin"),
        "Description": f"{DISCLAIMER} sub-0001 is drawn with the seed, each further person with the next one.",
        "Checkpoint": {"Name": model.name, "Digest": model.digest},
        "Request": request,
    }
    drawn: dict[str, Any] = {"n": n, "given": given, "seed": seed, "steps": steps, "guidance": guidance}
    people = model.stream(**drawn, mask=mask, with_mask=with_mask, progress=progress, ranks=ranks)
    title, thanks = f"Synthetic persons drawn from {model.name}", str(config.provenance.get("acknowledgement", ""))
    if form == "parquet+zarr":
        if with_sr:
            raise RequestError("DICOM-SR is written beside nifti or dicom, not beside arrays; leave one of them out")
        about = {"Name": title, "License": model.licence, "GeneratedBy": [origin], "HowToAcknowledge": thanks}
        masks = mask is not None or with_mask
        return write_arrays(model, Path(out), people, n=n, seed=seed, about=about, with_mask=masks, ranks=ranks)
    return write_bids(
        out,
        people,
        name=title,
        generated_by=[origin],
        licence=model.licence,
        acknowledge=thanks,
        columns=further_columns(model),
        save=save,
        also=partial(_save_report, model, request) if with_sr else None,
        number=lambda person: person.seed - seed + 1,
        ranks=ranks,
    )


def _save_with_mask(root: Path, subject: str, person: Any) -> None:
    """Write the person's scan and mask into the data set at ``root``."""
    save_scan(root, subject, person)
    write_segmentation(person.mask, root / subject / "anat" / f"{subject}_dseg.nii.gz", description=DISCLAIMER)


def write_segmented(
    model: Model, scan: Volume, mask: Segmentation, out: str | Path, *, name: str, form: Form = "nifti"
) -> Path:
    """The ``mask`` that ``model`` finds in the ``scan`` of the file ``name`` into the new folder ``out``: dseg and its BIDS table,
    or in the ``form`` dicom a DICOM-SEG with the slices that it refers to, the scan as the model sees it. Returns the folder, whole
    or not at all. Raises :class:`RequestError` when ``out`` exists or cannot be written."""
    out = Path(out)
    if out.exists():
        raise RequestError(f"{out} exists already; choose a new folder")
    stem = name.removesuffix(".gz").removesuffix(".nii")
    said = f"Segmentation by {model.name} ({model.digest}). Not for diagnosis."
    with refusing(out, RequestError), whole_directory(out) as part:
        if form == "nifti":
            write_segmentation(mask, part / f"{stem}_dseg.nii.gz", description=said)
        else:
            copied = Copied(scan=name, checkpoint=model.name, digest=model.digest)
            _save_series(scan, copied, part)
            _save_seg(model, mask, part, said)
    return out


def _save_series(volume: Volume, origin: Origin | Copied, folder: Path) -> None:
    for name, data in write_series(volume, origin):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _save_seg(model: Model, mask: Segmentation, folder: Path, description: str) -> None:
    """A DICOM-SEG beside the series in the ``folder``, on the slices of the first of them."""
    files = sorted(folder.glob("*/*.dcm"))
    slices = [dcmread(path) for path in files if path.parent == files[0].parent]
    how = {"model_name": model.name, "model_version": model.digest}
    (folder / "dseg.dcm").write_bytes(write_dicom_seg(mask, slices, description=description, **how))


def _origin(model: Model, request: Mapping[str, Any], person: Any) -> Origin:
    """What draws the person again."""
    return Origin(
        checkpoint=model.name,
        digest=model.digest,
        seed=person.seed,
        steps=request["steps"],
        guidance=request["guidance"],
        given=request["given"],
        attributes=person.attributes,
    )


def _save_report(model: Model, request: Mapping[str, Any], root: Path, subject: str, person: Any) -> None:
    """Write the person's row as a DICOM-SR into the data set at ``root``."""
    units = {name: str(getattr(model.schema[name], "unit", "")) for name in model.schema.names}
    path = root / "sourcedata" / subject / f"{subject}_sr.dcm"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(write_sr(person.attributes, units, _origin(model, request, person)))


def _save_dicom(model: Model, request: Mapping[str, Any], root: Path, subject: str, person: Any) -> None:
    """Write the person's series into the data set at ``root``."""
    origin = _origin(model, request, person)
    folder = root / "sourcedata" / subject
    _save_series(person.volume, origin, folder)
    if person.mask is not None:
        _save_seg(model, person.mask, folder, DISCLAIMER)


def further_columns(model: Model) -> dict[str, dict[str, Any]]:
    """What participants.json says of the columns that :data:`engine.cohort.bids_write.COLUMNS` does not know."""
    about: dict[str, dict[str, Any]] = {}
    for name in model.schema.names:
        column = model.schema[name]
        if name not in COLUMNS:
            values = (
                {"Levels": {level: level for level in column.levels}}
                if isinstance(column, Category)
                else {"Units": column.unit}
            )
            about[name] = {"Description": column.description, **values}
    return about


def write_counterfactuals(
    model: Model,
    scan: Volume,
    out: str | Path,
    *,
    factual: Mapping[str, Any],
    interventions: Sequence[Mapping[str, Any]],
    steps: int = 32,
    free: Collection[str] = (),
    edit: MaskEdit | None = None,
    warnings: Sequence[str] = (),
    progress: ProgressCallback | None = None,
) -> Path:
    """The person in ``scan`` under each of the ``interventions``, and the ``edit`` of the mask, into the new folder ``out``; returns
    it.

    NIfTI of the scan as the model saw it, its reconstruction and, numbered, every counterfactual, the same with the
    autoencoder's residual added back, and the difference; ``whatif.json`` has the rows, the error bars taken before the
    add-back (PSNR in dB of reconstruction, of no change, and of there and back), what was measured before and after with the interval
    of the change (:class:`engine.measure.clinical.Change`), how it was made, and the ``warnings`` that the scan came with.
    ``progress`` hears of every network evaluation, and what it raises cancels and leaves no folder.
    Raises as :func:`engine.inference.counterfactual.counterfactual`; :class:`RequestError` when ``out`` exists.
    """
    out = Path(out)
    if out.exists():
        raise RequestError(f"{out} exists already; choose a new folder")
    tally = Tally(progress, sum(_passes(model, factual, each, steps) for each in interventions))
    how: dict[str, Any] = {"steps": steps, "free": free, "progress": tally.add}
    ruler = _ruler(model)
    found: list[dict[str, Any]] = []
    with refusing(out, RequestError), whole_directory(out) as part:
        for k, intervention in enumerate(interventions, 1):
            there = counterfactual(model, scan, factual=factual, intervention=intervention, edit=edit, **how)
            known: Row = {**factual, **intervention}
            if edit is not None:  # volumes that the edit moved are now what it made of them
                known |= {name: there.row[name] for name in free if name in factual}
            undone = {name: there.factual[name] for name in intervention}
            reverse = None if edit is None else MaskEdit(before=edit.after, after=edit.before)
            back = counterfactual(model, there.volume, factual=known, intervention=undone, edit=reverse, **how)
            if k == 1:
                _save(scan, part / "scan", REAL)
                _save(there.reconstruction, part / "reconstruction")
                _save_masks(edit, part)
            for name, volume in (("counterfactual", there.volume), ("restored", there.restored)):
                _save(volume, part / f"{k:02d}_{name}")
            _save(replace(scan, data=there.difference), part / f"{k:02d}_difference")
            scans = (there.null, there.volume, scan, there.null)
            measured = {"measured": _measured(ruler, scans)}
            found.append(_figures(k, {*factual, *free}, intervention, there, scan, back.volume) | measured)
        more = {"steps": steps, "free": list(free), "warnings": list(warnings)}
        more |= _edited(edit)
        more["files"] = {"scan": REAL, "all others": MADE}
        _write_whatif(part, model, ruler, {**more, "given": dict(factual), "counterfactuals": found})
    return out


def _save_masks(edit: MaskEdit | None, folder: Path) -> None:
    """The mask before and after, where it is edited."""
    for name, mask in (("before", edit.before), ("after", edit.after)) if edit else ():
        write_segmentation(mask, folder / f"mask_{name}_dseg.nii.gz", description=DISCLAIMER)


def _edited(edit: MaskEdit | None) -> dict[str, Any]:
    """What whatif.json says of an edited mask: the volume of every region before and after, ml."""
    if edit is None:
        return {}
    before, after = edit.before.volumes_ml(), edit.after.volumes_ml()
    return {"mask_ml": {name: [round(before[name], 1), round(after[name], 1)] for name in before}}


def _passes(model: Model, factual: Mapping[str, Any], intervention: Mapping[str, Any], steps: int) -> int:
    """Network evaluations of the way there and of the way back."""
    return sum(counterfactual_units(model, known, steps) for known in (factual, {**factual, **intervention}))


def write_generated_counterfactuals(
    model: Model,
    out: str | Path,
    *,
    seed: int,
    factual: Mapping[str, Any],
    interventions: Sequence[Mapping[str, Any]],
    steps: int | None = None,
    hold: Collection[str] = (),
    edit: MaskEdit | None = None,
    progress: ProgressCallback | None = None,
) -> Path:
    """The synthetic person of ``seed`` and the same under each of the ``interventions``, and the ``edit`` of the mask, into the
    new folder ``out``.

    NIfTI of the person and, numbered, of every counterfactual and its difference (none from a model of tables);
    ``whatif.json`` has the rows. ``progress`` hears of every network evaluation. Raises as
    :func:`engine.inference.counterfactual.generated_counterfactual`, and :class:`RequestError` when ``out`` exists.
    """
    out = Path(out)
    steps = model.steps if steps is None else steps
    if out.exists():
        raise RequestError(f"{out} exists already; choose a new folder")
    tally = Tally(progress, len(interventions) * generated_counterfactual_units(model, steps, hold, edit))
    ruler = _ruler(model)
    found: list[dict[str, Any]] = []
    with refusing(out, RequestError), whole_directory(out) as part:
        for k, intervention in enumerate(interventions, 1):
            one, other = generated_counterfactual(
                model, seed, factual, intervention, steps, hold=hold, edit=edit, progress=tally.add
            )
            if one.scan and other.scan:
                if k == 1:
                    _save(one.scan, part / "person")
                    _save_masks(edit, part)
                _save(other.scan, part / f"{k:02d}_counterfactual")
                _save(replace(other.scan, data=other.scan.data - one.scan.data), part / f"{k:02d}_difference")
            measured = _measured(ruler, (one.scan, other.scan)) if one.scan and other.scan else {}
            asked = {"number": k, "set": dict(intervention), "factual": one.attributes, "row": other.attributes}
            found.append({**asked, "measured": measured})
        more = {"seed": seed, "steps": steps, "hold": list(hold), "given": dict(factual), **_edited(edit)}
        _write_whatif(part, model, ruler, {**more, "counterfactuals": found})
    return out


def _ruler(model: Model) -> Ruler | None:
    """The ruler of what the model draws; None where there is none at hand."""
    region = region_of(model.checkpoint.config.channels) if model.has_image else None
    with suppress(CheckpointError):
        return None if region is None else load_ruler(region)
    return None


def _measured(ruler: Ruler | None, scans: Sequence[Volume]) -> dict[str, Any]:
    """What whatif.json says of each measure that is read before and after, and where nothing is set; nothing where a scan cannot be
    read."""
    if ruler is None:
        return {}
    try:
        readings = {id(scan): ruler.examine(scan).values for scan in {id(scan): scan for scan in scans}.values()}
    except VolumeError:
        return {}
    return {each.name: each.record() for each in changes(ruler, [readings[id(scan)] for scan in scans])}


def _write_whatif(folder: Path, model: Model, ruler: Ruler | None, found: Mapping[str, Any]) -> None:
    about = {
        "disclaimer": DISCLAIMER,
        "version": version("somatwin"),
        "checkpoint": {"name": model.name, "digest": model.digest},
        "licence": model.licence,
        "measured_by": None if ruler is None else {"name": ruler.region.ruler, "weights": ruler.digest},
        **found,
    }
    (folder / "whatif.json").write_text(json.dumps(about, indent=1, ensure_ascii=False), "utf-8")


def _figures(
    k: int,
    given: Collection[str],
    intervention: Mapping[str, Any],
    there: Counterfactual,
    scan: Volume,
    back: Volume,
) -> dict[str, Any]:
    """What is said of one counterfactual beside its files, but for what a scan is not asked of its own accord."""
    unasked = {*OPT_IN} - {*given, *intervention}
    returned = psnr(back.data, scan.data)
    figures = {"autoencoder": there.autoencoder_psnr, "no_change": there.null_psnr, "there_and_back": returned}
    return {
        "number": k,
        "set": dict(intervention),
        "factual": {name: cell for name, cell in there.factual.items() if name not in unasked},
        "row": {name: cell for name, cell in there.row.items() if name not in unasked},
        "psnr_db": {name: round(min(value, PERFECT), 2) for name, value in figures.items()},
    }


def _save(volume: Volume, stem: Path, said: str = MADE) -> None:
    """One NIfTI file a channel, named by it where there are several; ``said`` stands in its header."""
    parts = volume.apart()
    for part in parts:
        name = f"{stem.name}.nii.gz" if len(parts) == 1 else f"{stem.name}_{part.kinds[0]}.nii.gz"
        part.save(stem.with_name(name), said)
