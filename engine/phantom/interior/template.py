"""The learned anatomy as persons are pulled back to it: tissues on a lattice, distances to organs, sections of the body.

Coordinates of the template are mm: x to the right, y to anterior, z up from its own soles. A section is given in polar
coordinates about the middle of the cavity, ``axis`` (y by z): how far the cavity, the bones and the muscles reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import grid_sample

from engine.phantom.atlas.build import (
    ABDOMINAL,
    ARM,
    BODY,
    HEART,
    MUSCLES,
    NAMES,
    PELVIS,
    SPINE,
    THORACIC,
    VISCERA,
)
from engine.phantom.atlas.checkpoint import load_anatomy
from engine.phantom.atlas.meshes import Lattice
from engine.phantom.atlas.morphology import distance_to, nearest, wrapped_largest, wrapped_smooth
from engine.phantom.shape.voxels import values_at
from engine.phantom.skin.basis import SkinBasis

#: angles of a section, from the right over the front; mm between two radii of a ray, and its length
ANGLES, STEP, REACH = 96, 2.0, 260.0
#: voxels that a distance field reaches beyond its organ, and the smoothing of distances, in voxels
MARGIN, SMOOTH = 8, 0.7
#: how far muscles are continued beyond the template's, mm
CONTINUED = 22.0
#: bones that never move but with the skeleton
RIGID = (*SPINE, "pelvis", "pelvis_shell", "femur", "femur_shell")
#: bones that move with the wall and keep their thickness
CAGE = ("rib", "sternum", "costal_cartilage")
CAVITY = (*THORACIC, *ABDOMINAL, "mediastinal_fat", "epicardial_fat", "abdominal_fat")
#: organs with a place and size of their own, by the classes they are made of
ORGANS: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in (
        "liver", "spleen", "stomach", "pancreas", "adrenal", "kidney_right", "kidney_left", "gallbladder", "bladder",
        "prostate", "duodenum", "colon", "rectum", "aorta", "vena_cava", "iliac_artery", "iliac_vein", "renal_vessel",
        "left_ventricle", "right_ventricle", "left_atrium", "right_atrium",
    )},
    "small_bowel": ("jejunum", "ileum"),
    "heart": HEART,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Organ:
    """Signed distance to an organ, mm, negative inside, on its own box; ``centre`` and ``volume`` (mL) of the organ."""

    distance: Float[Tensor, "x y z"]
    origin: tuple[float, float, float]
    spacing: tuple[float, float, float]
    centre: tuple[float, float, float]
    volume: float

    def at(self, x: Tensor, y: Tensor, z: Tensor, far: bool = True) -> Tensor:
        """The distance at points of the template, mm; outside the box that of its border and, where ``far`` counts, the
        way to it."""
        size = self.distance.shape
        places = [
            2 * (p - o) / (s * (n - 1)) - 1
            for p, o, s, n in zip((x, y, z), self.origin, self.spacing, size, strict=True)
        ]
        shape = torch.broadcast_shapes(*(p.shape for p in places))
        points = torch.stack([p.expand(shape) for p in reversed(places)], -1).reshape(1, 1, 1, -1, 3)
        found = grid_sample(self.distance[None, None], points, align_corners=True, padding_mode="border")
        if not far:
            return found.reshape(shape)
        beyond = torch.zeros(shape, device=found.device)
        for place, n, s in zip(places, size, self.spacing, strict=True):
            beyond = beyond + (place.abs() - 1).clamp(min=0) * (s * (n - 1) / 2)
        return found.reshape(shape) + beyond


@dataclass(frozen=True, kw_only=True, eq=False)
class Template:
    """What persons are pulled back to.

    ``labels`` are indices of :data:`engine.phantom.atlas.build.NAMES` on a lattice of ``spacing`` from ``origin``.
    ``axis`` (z) is y of the middle; ``cavity``, ``bone``, ``fascia`` (angle, z) reach to there, mm; ``rigid`` is 1 where
    bones hold a ray, 0 where it is free; ``caged`` is 1 where ribs or breastbone lie in the wall. ``leg`` holds the right
    femur's axis (x and y by z) and ``leg_fascia`` (angle, z) the thigh about it; ``arm`` and ``arm_fascia`` the same of the
    right arm.
    ``dome`` (x, y) is the height of the diaphragm. ``heights`` are the places of the tables along z.
    """

    labels: UInt8[Tensor, "x y z"]
    origin: tuple[float, float, float]
    spacing: tuple[float, float, float]
    heights: Float[Tensor, " z"]
    axis: Float[Tensor, " z"]
    cavity: Float[Tensor, "angle z"]
    bone: Float[Tensor, "angle z"]
    fascia: Float[Tensor, "angle z"]
    rigid: Float[Tensor, "angle z"]
    caged: Float[Tensor, "angle z"]
    leg: Float[Tensor, "two z"]
    leg_fascia: Float[Tensor, "angle z"]
    arm: Float[Tensor, "two z"]
    arm_fascia: Float[Tensor, "angle z"]
    dome: Float[Tensor, "x y"]
    organs: Mapping[str, Organ]
    skin: SkinBasis

    def to(self, device: torch.device | str) -> Template:
        """The same template on another device."""
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                moved[field.name] = value.to(device)
        organs = {name: replace(organ, distance=organ.distance.to(device)) for name, organ in self.organs.items()}
        return replace(self, **moved, organs=organs, skin=self.skin.to(device))

    def under_lungs(self, x: Tensor, y: Tensor) -> Tensor:
        """Height of the diaphragm over points of the template, mm, to the nearest place of its table."""
        i, j = (
            (place - o).div_(s).round_().clamp_(0, n - 1)
            for place, o, s, n in zip((x, y), self.origin, self.spacing, self.dome.shape, strict=False)
        )
        return values_at(self.dome, (i * self.dome.shape[1] + j).int())


def template_of(
    body: UInt8[np.ndarray, "x y z"],
    bowel: UInt8[np.ndarray, "a b c"],
    womb: UInt8[np.ndarray, "d e f"],
    skin: SkinBasis,
) -> Template:
    """The template from decoded label volumes in the axes of their source (x to the left, y to posterior)."""
    labels, lattice = _turned(body, BODY)
    masks = _Masks(labels)
    x, y, z = lattice.axes()
    cavity = masks.of(*CAVITY)
    axis = _middle(cavity, masks.flesh, y[0, :, 0], z[0, 0])
    rays = _Rays(lattice, np.zeros_like(axis), axis)
    fascia = _smooth(rays.last(masks.flesh))
    fascia = np.maximum(fascia, 24.0)
    inner = np.clip(_smooth(rays.last(cavity)), 8.0, fascia - 6)
    held = masks.of(*RIGID)
    bones = masks.of("rib", "sternum", "costal_cartilage", "scapula", "clavicle") | held
    outer = rays.last(bones)
    outer = np.where(outer > inner + 2, outer, inner + 0.4 * (fascia - inner))
    outer = wrapped_largest(outer, (3, 5)) + 1.0
    fascia = np.maximum(fascia, outer + 2)
    leg = _femur(masks.of("femur", "femur_shell") & (x > 0), x[:, 0, 0], y[0, :, 0])
    about = _Rays(lattice, *leg)
    thigh = masks.flesh & (x > 0)
    arm = _humerus(masks.of("humerus", "arm_shell", "forearm_bone") & (x > 0), x[:, 0, 0], y[0, :, 0])
    organs = {name: organ_of(*masks.cut_out(lattice, *classes)) for name, classes in ORGANS.items()}
    for name, volume, box, code in (
        ("small_bowel_2", bowel, VISCERA, 1), ("colon_2", bowel, VISCERA, 2), ("uterus", womb, PELVIS, 1), ("ovary", womb, PELVIS, 2),
    ):  # fmt: skip
        turned, own = _turned(volume, box)
        organs[name] = organ_of(turned == code, own)

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32))

    return Template(
        labels=torch.from_numpy(_continued(masks)),
        origin=lattice.origin,
        spacing=lattice.spacing,
        heights=tensor(z[0, 0]),
        axis=tensor(axis),
        cavity=tensor(inner),
        bone=tensor(_smooth(np.clip(outer, inner + 2, fascia - 2), 0.6)),
        fascia=tensor(fascia),
        rigid=tensor(_held(rays.last(held) > 0)),
        caged=tensor(_smooth(wrapped_largest((rays.last(masks.of(*CAGE)) > 0).astype(float), (5, 9)))),
        leg=tensor(np.stack(leg)),
        leg_fascia=tensor(_smooth(about.last(thigh))),
        arm=tensor(np.stack(arm)),
        arm_fascia=tensor(_smooth(_Rays(lattice, *arm).last(masks.of(*ARM) & (x > 0)))),
        dome=tensor(_dome(masks, z[0, 0])),
        organs=organs,
        skin=skin,
    )


def _continued(masks: _Masks) -> UInt8[np.ndarray, "x y z"]:
    """The labels with the trunk's muscles continued outwards, for persons with more of them than the template."""
    muscle = masks.of(
        *(name for name in (*MUSCLES, "thigh_front", "thigh_inner", "thigh_back") if name != "linea_alba")
    )
    every = (slice(None, None, 2),) * 3
    coarse = muscle[every]
    distance, place = nearest(coarse, [2 * mm for mm in BODY.spacing])
    found = np.where(distance < CONTINUED, masks.labels[every][tuple(place)], 0)
    labels = masks.labels
    for axis, size in enumerate(labels.shape):
        found = found.repeat(2, axis).take(range(size), axis)
    return np.ascontiguousarray(np.where(labels == 0, found, labels))


def _turned(labels: np.ndarray, lattice: Lattice) -> tuple[np.ndarray, Lattice]:
    """Axes of the source (left, posterior, up) to right, anterior, up."""
    last = [o + s * (n - 1) for o, s, n in zip(lattice.origin, lattice.spacing, lattice.shape, strict=True)]
    turned = Lattice(origin=(-last[0], -last[1], lattice.origin[2]), spacing=lattice.spacing, shape=lattice.shape)
    return labels[::-1, ::-1], turned


class _Masks:
    """Where a label volume has given names; ``flesh`` is all of the trunk and legs."""

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels
        arm = self.of(*ARM, "genitals")
        self.flesh: Bool[np.ndarray, "x y z"] = (labels > 0) & ~arm
        self.boxes = ndimage.find_objects(labels)

    def of(self, *names: str) -> Bool[np.ndarray, "x y z"]:
        return _table(*names)[self.labels]

    def cut_out(self, lattice: Lattice, *names: str) -> tuple[Bool[np.ndarray, "a b c"], Lattice]:
        """Where given names are, within a box that holds them and :data:`MARGIN` voxels more, and that box's lattice."""
        boxes = [box for box in (self.boxes[NAMES.index(name) - 1] for name in names) if box]
        low = [max(min(box[axis].start for box in boxes) - MARGIN, 0) for axis in range(3)]
        high = [max(box[axis].stop for box in boxes) + MARGIN for axis in range(3)]
        part = self.labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        start = [o + s * a for o, s, a in zip(lattice.origin, lattice.spacing, low, strict=True)]
        own = Lattice(origin=(start[0], start[1], start[2]), spacing=lattice.spacing, shape=part.shape)
        return _table(*names)[part], own


def _table(*names: str) -> Bool[np.ndarray, "256"]:
    """Which classes have these names."""
    table = np.zeros(256, bool)
    table[[NAMES.index(name) for name in names]] = True
    return table


class _Rays:
    """Rays from a middle (x and y by z) within every axial slice."""

    def __init__(self, lattice: Lattice, x: np.ndarray, y: np.ndarray) -> None:
        self.radius = np.arange(0, REACH, STEP)
        size = lattice.shape
        columns = np.arange(size[2])
        self.index = np.empty((ANGLES, len(self.radius), size[2]), np.intp)
        # an angle at a time stays in the processor's cache
        for index, angle in zip(self.index, np.arange(ANGLES) * 2 * np.pi / ANGLES, strict=True):
            px = x + np.cos(angle) * self.radius[:, None]
            py = y + np.sin(angle) * self.radius[:, None]
            for axis, place in ((0, px), (1, py)):
                place -= lattice.origin[axis]
                place /= lattice.spacing[axis]
                np.rint(place, out=place)
                np.clip(place, 0, size[axis] - 1, out=place)
            px *= size[1]
            px += py
            px *= size[2]
            px += columns
            index[...] = px

    def last(self, mask: np.ndarray) -> Float[np.ndarray, "angle z"]:
        """The greatest radius at which a ray is in the mask, mm; 0 where it never is."""
        hit = np.ascontiguousarray(mask).reshape(-1).take(self.index)
        steps = np.arange(len(self.radius), dtype=np.uint8)
        return self.radius[(hit.view(np.uint8) * steps[:, None]).max(1)]


def _smooth(table: np.ndarray, by: float = 1.2) -> np.ndarray:
    return wrapped_smooth(table, (by, 1.5 * by))


def _middle(cavity: np.ndarray, flesh: np.ndarray, y: np.ndarray, z: np.ndarray) -> Float[np.ndarray, " z"]:
    """y of the middle between the front and the back of the cavity, smooth along z."""
    near = np.asarray(cavity[abs(cavity.shape[0] // 2 - np.arange(cavity.shape[0])) < 8].any(0))
    ahead = np.asarray(near.any(0))
    front = np.array([y[near[:, k]].max() if ahead[k] else np.nan for k in range(len(z))])
    back = np.array([y[near[:, k]].min() if ahead[k] else np.nan for k in range(len(z))])
    middle = (front + back) / 2
    known = np.isfinite(middle) & (z > 800) & (z < 1365)
    return ndimage.gaussian_filter1d(np.interp(z, z[known], middle[known]), 10.0)


def _femur(bone: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The axis of the right femur by z; above its neck the axis of the shaft goes on."""
    weight = bone.sum((0, 1)).astype(float)
    height = BODY.origin[2] + BODY.spacing[2] * np.arange(bone.shape[2])
    shaft = (weight > 8) & (height < 760)
    lines = []
    for axis, place in ((0, x), (1, y)):
        profile = bone.sum(1 - axis)
        centre = (profile * place[:, None]).sum(0) / np.maximum(weight, 1)
        slope, start = np.polyfit(height[shaft], centre[shaft], 1)
        lines.append(start + slope * height)
    return lines[0], lines[1]


def _humerus(bone: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The middle of the right arm's bones by z, smooth."""
    weight = bone.sum((0, 1)).astype(float)
    known = weight > 4
    lines = []
    for axis, place in ((0, x), (1, y)):
        centre = (bone.sum(1 - axis) * place[:, None]).sum(0)[known] / weight[known]
        every = np.interp(np.arange(len(weight)), np.nonzero(known)[0], centre)
        lines.append(ndimage.gaussian_filter1d(every, 4.0))
    return lines[0], lines[1]


def _held(hit: np.ndarray) -> Float[np.ndarray, "angle z"]:
    """1 on rays that a rigid bone crosses and on those towards the back, falling off smoothly."""
    angle = np.arange(ANGLES) * 2 * np.pi / ANGLES
    behind = np.sin(angle)[:, None] < -0.55
    wide = wrapped_largest((hit | behind).astype(float), (7, 27))
    return np.clip(1.6 * wrapped_smooth(wide, (1.8, 7.0)) - 0.4, 0, 1)


def _dome(masks: _Masks, z: np.ndarray) -> Float[np.ndarray, "x y"]:
    """The height under lungs and heart by x and y, mm; what has neither above it falls off from its neighbours."""
    chest = masks.of(*(name for name in THORACIC if name.startswith("lung")), *HEART)
    found = np.asarray(chest.any(2))
    height = np.where(found, z[chest.argmax(2)], np.nan)
    distance, place = nearest(found, 1.0)
    filled = height[tuple(place)] - np.clip(distance * BODY.spacing[0] - 25, 0, None)
    return ndimage.gaussian_filter(filled, 1.5)


def organ_of(mask: Bool[np.ndarray, "x y z"], lattice: Lattice) -> Organ:
    """The signed distance to a mask, smoothed within a voxel."""
    where = np.argwhere(mask)
    low = np.maximum(where.min(0) - MARGIN, 0)
    high = np.minimum(where.max(0) + MARGIN + 1, mask.shape)
    box = mask[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
    spacing = np.array(lattice.spacing)
    distance = distance_to(box, lattice.spacing)
    # the nearest voxel outside is never farther than beside the organ's own box
    own = tuple(slice(max(a - 1, 0), b + 2) for a, b in zip(where.min(0) - low, where.max(0) - low, strict=True))
    distance[own] -= distance_to(~box[own], lattice.spacing)
    distance = ndimage.gaussian_filter(distance, SMOOTH)
    centre = np.array(lattice.origin) + where.mean(0) * spacing
    origin = np.array(lattice.origin) + low * spacing
    return Organ(
        distance=torch.from_numpy(distance.astype(np.float32)),
        origin=tuple(float(v) for v in origin),  # type: ignore[arg-type]
        spacing=lattice.spacing,
        centre=tuple(float(v) for v in centre),  # type: ignore[arg-type]
        volume=float(mask.sum() * spacing.prod() / 1000),
    )


@cache
def shipped(device: torch.device | str = "cpu") -> Template:
    """The shipped anatomy, decoded once in a process."""
    anatomy = load_anatomy()
    body, bowel, womb = (anatomy.fields[name].decode() for name in ("body", "bowel", "womb"))
    return template_of(body, bowel, womb, SkinBasis.of(anatomy.extras)).to(device)
