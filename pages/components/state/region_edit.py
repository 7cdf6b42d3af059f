"""An edit of a person's mask: a region grown, shrunk or moved, or a mask of the reader's, and the address that says the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.vocabulary.refusal import RequestError
from pages.components.state.session import kept

if TYPE_CHECKING:
    from engine.imaging.segmentation import Segmentation
    from engine.inference.generate import Model

#: how the parts of an address begin that are of an edit
OWN = "edit"
#: which of the people of an address is edited, from 1
WHOSE = f"{OWN}.person"
#: masks of the reader's that a session keeps, a torso's takes 1 MB
MOST = 8
#: change of a volume, as a share of it, from which on it counts as one
LEAST = 0.005
#: the ways of a shift in an address
WAYS = ("right", "front", "up")
GONE = "the mask of this edit is no longer here; load or paint it again"


@dataclass(frozen=True, kw_only=True)
class RegionEdit:
    """What is done to a mask: the class ``region`` gets ``factor`` times its volume and moves ``by`` mm to the right, to the front
    and upwards. ``mask`` is the key of one of the reader's (:func:`own_masks`) that it starts from, empty for the person's.
    ``keep``: whether every attribute stays that does not follow the mask."""

    region: str = ""
    factor: float = 1.0
    by: tuple[float, float, float] = (0.0, 0.0, 0.0)
    keep: bool = True
    mask: str = ""

    @property
    def resizes(self) -> bool:
        return abs(self.factor - 1) >= LEAST

    @property
    def changes(self) -> bool:
        """Whether a mask comes out of it otherwise."""
        return bool(self.mask) or self.resizes or any(self.by)

    def to_query(self) -> dict[str, str]:
        """The part of an address that asks for it; a mask of the reader's has none."""
        if self.mask or not self.changes:
            return {}
        query = {OWN: self.region, f"{OWN}.times": f"{self.factor:g}"}
        query |= {f"{OWN}.mm": " ".join(f"{mm:g}" for mm in self.by)} if any(self.by) else {}
        return query | ({} if self.keep else {f"{OWN}.keep": "no"})

    def in_words(self, title: Callable[[str], str]) -> str:
        """``Liver 1.3 times as large, 10 mm up``; ``title`` names a class."""
        words = [f"{self.factor:g} times as large"] if self.resizes else []
        ends = (("left", "right"), ("back", "front"), ("down", "up"))
        words += [
            f"{abs(mm):g} mm {low if mm < 0 else high}" for mm, (low, high) in zip(self.by, ends, strict=True) if mm
        ]
        base = [_titles().get(self.mask, "a mask of yours")] if self.mask else []
        return ", ".join([*base, f"{title(self.region)} {', '.join(words)}"] if words else base)

    def on(self, mask: Segmentation) -> Segmentation:
        """The edited ``mask``. Raises :class:`RequestError` for what cannot be done."""
        from engine.imaging.region_edit import LARGEST, SMALLEST, moved, resized

        found = self.base(mask)
        if any(self.by):
            found = moved(found, self.region, self.by)
        if self.resizes:
            wanted = self.factor * self.base(mask).volumes_ml()[self.region]
            now = found.volumes_ml()[self.region]
            found = resized(
                found, self.region, min(LARGEST, max(SMALLEST, wanted / now)) if any(self.by) else self.factor
            )
        return found

    def base(self, mask: Segmentation) -> Segmentation:
        """What is edited: the person's ``mask``, or one of the reader's."""
        if not self.mask:
            return mask
        if self.mask not in own_masks():
            raise RequestError(GONE)
        return own_masks()[self.mask]


def own_masks() -> dict[str, Segmentation]:
    """The masks that the reader loaded or painted in this session, by key."""
    return kept("own masks", dict)


def _titles() -> dict[str, str]:
    return kept("own masks' titles", dict)


def keep_mask(mask: Segmentation, title: str) -> str:
    """Keep a mask of the reader's, the oldest of too many is let go; returns its key."""
    masks = own_masks()
    key = hashlib.sha256(mask.labels.tobytes()).hexdigest()[:16]
    masks.pop(key, None)
    masks[key] = mask
    _titles()[key] = title
    while len(masks) > MOST:
        masks.pop(next(iter(masks)))
    return key


def mask_title(key: str) -> str:
    """What a mask of the reader's is called; the empty key is the person's own."""
    return _titles().get(key, "a mask of yours") if key else "The person's mask"


def fitting(model: Model) -> list[str]:
    """The keys of the reader's masks that are of the model's classes and grid."""
    config = model.checkpoint.config.model
    if config.mask is None:
        return []
    shape, classes = tuple(config.image.grid), config.mask.classes
    return [key for key, mask in own_masks().items() if (mask.labels.shape, mask.classes) == (shape, classes)]


def parted(query: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """An address without what is of an edit, and that."""
    own = {key: text for key, text in query.items() if key == OWN or key.startswith(f"{OWN}.")}
    return {key: text for key, text in query.items() if key not in own}, own


def read_edit(own: Mapping[str, str], model: Model) -> tuple[RegionEdit | None, list[str]]:
    """The edit that an address asks for, None for none; and a sentence for each part of it that cannot be done."""
    if not own:
        return None, []
    if not model.has_mask:
        return None, [
            f"{model.name} knows no masks, so no region can be edited: choose a model that was trained on masks"
        ]
    try:
        return _read(own, model), []
    except RequestError as error:
        return None, [str(error)]


def _read(own: Mapping[str, str], model: Model) -> RegionEdit:
    from engine.imaging.region_edit import FURTHEST, LARGEST, SMALLEST

    assert model.checkpoint.config.model.mask
    regions = model.checkpoint.config.model.mask.classes[1:]
    if unknown := sorted(own.keys() - {OWN, f"{OWN}.times", f"{OWN}.mm", f"{OWN}.keep"}):
        raise RequestError(f"{unknown[0]} is no part of an edit: give {OWN}, {OWN}.times, {OWN}.mm or {OWN}.keep")
    region = own.get(OWN, "")
    if region not in regions:
        raise RequestError(f"there is no region {region!r} here: give one of {', '.join(regions)}")
    factor = _number(own.get(f"{OWN}.times", "1"), f"{OWN}.times", SMALLEST, LARGEST)
    parts = own.get(f"{OWN}.mm", "0 0 0").split()
    if len(parts) != len(WAYS):
        raise RequestError(f"{OWN}.mm has {len(parts)} numbers: give three, mm to the {', '.join(WAYS)}")
    right, front, up = (_number(part, f"{OWN}.mm", -FURTHEST, FURTHEST) for part in parts)
    return RegionEdit(region=region, factor=factor, by=(right, front, up), keep=own.get(f"{OWN}.keep") != "no")


def _number(text: str, name: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise RequestError(f"{name} {text!r} is not possible here: give a number from {low:g} to {high:g}")
    return value
