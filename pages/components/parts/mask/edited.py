"""A person drawn for an edited mask, and from the same noise for the mask as it was."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from engine.anatomy import region_of
from engine.vocabulary.schema import Cell
from pages.components.state.address import Request
from pages.components.state.generation import Report, engaged, people_of
from pages.components.state.person_table import label
from pages.components.state.region_edit import RegionEdit

if TYPE_CHECKING:
    from engine.imaging.segmentation import Segmentation
    from engine.inference.generate import Model, Person
    from engine.inference.mask_edit import MaskEdit

#: share of the time that drawing a person anew takes of what an edit takes
FIRST = 0.34


@dataclass(frozen=True, eq=False, kw_only=True)
class Pair:
    """A synthetic person ``before`` and ``after`` an ``edit`` of the mask, ``fact`` what the first one was drawn with, and the
    attributes that are to ``follow`` the mask."""

    before: Person
    after: Person
    edit: MaskEdit
    fact: dict[str, Cell]
    follow: tuple[str, ...]


def masks_and_fact(
    model: Model, request: Request, edit: RegionEdit, report: Report, change: Mapping[str, Cell], hold: Collection[str]
) -> tuple[MaskEdit, dict[str, Cell], tuple[str, ...]]:
    """The mask of the synthetic person of ``request`` and what the ``edit`` makes of it, what the person keeps, and the attributes
    that follow the mask, which is none that is set by the ``change``.

    Without :attr:`RegionEdit.keep` only what is given and what to ``hold`` is kept. Raises the engine's refusals.
    """
    from engine.inference.mask_edit import MaskEdit, volume_ratios

    ((found,), _) = people_of(model, request, report)
    person = found.person
    assert person.mask is not None
    masks = MaskEdit(before=person.mask, after=edit.on(person.mask))
    follow = tuple(name for name in volume_ratios(model, masks) if name not in change)
    columns = [column.name for column in model.schema.columns]
    stays = set(columns if edit.keep else [*dict(request.given), *hold]) - set(follow)
    return masks, {name: person.attributes[name] for name in columns if name in stays}, follow


def edited_pair(
    model: Model,
    request: Request,
    edit: RegionEdit,
    report: Report,
    *,
    change: Mapping[str, Cell] | None = None,
    hold: Collection[str] = (),
) -> Pair:
    """The synthetic person of ``request`` drawn for the mask as it was, and for the edited one with the attributes of ``change``
    set (:func:`masks_and_fact`)."""
    from engine.inference.counterfactual import generated_counterfactual

    def first(share: float, text: str) -> None:
        report(FIRST * share, text)

    change = change or {}
    masks, fact, follow = masks_and_fact(model, request, edit, first, change, hold)
    with engaged("Drawing for the mask", lambda share, text: report(FIRST + (1 - FIRST) * share, text)) as progress:
        one, other = generated_counterfactual(
            model, request.seed, fact, change, request.steps, edit=masks, progress=progress
        )
    return Pair(before=one, after=other, edit=masks, fact=fact, follow=follow)


def regions_volumes(model: Model, region: str) -> list[str]:
    """The attributes of the model that are, or are part of, the volume of a ``region``: they follow its mask."""
    part = region_of(model.checkpoint.config.channels)
    known = part.volumes.items() if part else ()
    return [name for name, classes in known if region in classes and name in model.schema.names]


def stays_in_words(keep: bool, follow: Collection[str]) -> str:
    """One sentence on what an edit leaves as it is; the attributes that ``follow`` it do not stay."""
    but = f", but for {_listed(follow)}, which {'follow' if len(follow) > 1 else 'follows'} the mask" if follow else ""
    if keep:
        return (
            f"Stays: the noise, every attribute as it was{but}, and every other region where this one does not push it aside or "
            "leave it room."
        )
    return f"Stays: the noise and the attributes that are given or held{but}; all others move with the mask."


def _listed(names: Collection[str]) -> str:
    words = [label(name) for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def mask_files(mask: Segmentation, name: str) -> dict[str, bytes]:
    """The mask as files by name: NIfTI dseg, its BIDS table and what it is."""
    from engine.imaging.segmentation import SUFFIX, write_segmentation

    with TemporaryDirectory() as folder:
        write_segmentation(mask, Path(folder) / f"{name}{SUFFIX}", description="SYNTHETIC - not for diagnosis")
        return {file.name: file.read_bytes() for file in sorted(Path(folder).iterdir())}


def mask_zip(mask: Segmentation, name: str) -> bytes:
    """:func:`mask_files` as one file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for file, data in mask_files(mask, name).items():
            archive.writestr(zipfile.ZipInfo(file, (1980, 1, 1, 0, 0, 0)), data)
    return stream.getvalue()


def read_mask(model: Model, files: list[tuple[str, bytes]]) -> tuple[Segmentation, list[str]]:
    """The mask in uploaded files: a label map, with its table beside it or not. Raises the engine's refusals.

    They lie in a folder of their own, without their names, for as long as they are read.
    """
    from engine.inference.masks import admit_mask

    with TemporaryDirectory() as folder:
        main = None
        for name, data in files:
            end = next((end for end in (".nii.gz", ".nii", ".tsv", ".dcm") if name.lower().endswith(end)), ".nii")
            path = Path(folder) / (f"mask_dseg{end}" if end != ".tsv" else "mask_dseg.tsv")
            path.write_bytes(data)
            main = path if end != ".tsv" else main
        return admit_mask(model, main or Path(folder) / "mask_dseg.nii.gz")
