"""A mask from elsewhere to what a model takes: its classes, on its grid."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from engine.anatomy import region_of
from engine.imaging.segmentation import Segmentation, read_segmentation
from engine.imaging.volume import Volume
from engine.inference.generate import Model
from engine.inference.intake import moves
from engine.inference.mask_edit import MaskEdit, volume_ratios
from engine.inference.segment import check_masks, segment
from engine.vocabulary.schema import Row


def admit_mask(model: Model, path: str | Path, scan: str | Path | None = None) -> tuple[Segmentation, list[str]]:
    """The segmentation at ``path`` (NIfTI with or without a BIDS table of its labels, or DICOM-SEG) as ``model`` takes it, and
    what was done to it.

    Where it is of a ``scan`` that the model moves, it has to lie on the model's grid: it would stay where the scan was.

    Raises :class:`RequestError` for a model without masks, :class:`engine.imaging.volume.VolumeError` for a file that is no
    mask of its classes: unknown labels, none at all, numbers that are no labels, an organ twice.
    """
    config = model.checkpoint.config
    check_masks(model)
    assert config.model.mask is not None
    region = region_of(config.channels)
    return read_segmentation(
        path,
        classes=config.model.mask.classes,
        grid=config.model.image.grid,
        affine=model.checkpoint.affine,
        single=region.single if region else (),
        aligned=scan is not None and moves(model, scan),
    )


#: a change of a segmentation, such as a region that grows
Change = Callable[[Segmentation], Segmentation]


def edit_of_scan(
    model: Model, scan: Volume, given: Row, change: Change, *, held: Collection[str] = ()
) -> tuple[MaskEdit, list[str]]:
    """The ``change`` of the model's own mask of a ``scan``, and which of its ``given`` attributes follow it: those that are the
    volume of a changed region and not to be ``held``."""
    before = segment(model, scan, given)
    edit = MaskEdit(before=before, after=change(before))
    return edit, [name for name in volume_ratios(model, edit) if name in given and name not in held]


def edit_of_seed(
    model: Model, seed: int, given: Row, change: Change, *, held: Collection[str] = (), steps: int | None = None
) -> tuple[MaskEdit, Row]:
    """The ``change`` of the mask that is drawn with the synthetic person of ``seed``, and what that person keeps: every attribute
    as it was drawn, but for those that follow the mask and are not to be ``held``, which both are drawn with anew."""
    (person,) = model.generate(given=given, seed=seed, steps=steps, with_mask=True)
    assert person.mask is not None
    edit = MaskEdit(before=person.mask, after=change(person.mask))
    follow = {name for name in volume_ratios(model, edit) if name not in held}
    kept: Row = {c.name: person.attributes[c.name] for c in model.schema.columns if c.name not in follow}
    return edit, kept
