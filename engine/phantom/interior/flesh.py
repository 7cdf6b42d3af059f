"""From skin to bone: what the pull-back says of every voxel, with subcutaneous fat around it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from engine.phantom.atlas.build import ARM, NAMES
from engine.phantom.interior.pullback import Covers, Pulled, looked_up
from engine.phantom.interior.signal import label_of_class
from engine.phantom.interior.template import Template
from engine.phantom.shape.canvas import Canvas
from engine.phantom.shape.voxels import places_of, spread_out, values_at
from engine.phantom.tissue import code, codes, is_of

#: share of the subcutaneous layer that lies above its membrane (Scarpa's fascia)
SUPERFICIAL = 0.5
#: four of the eight halves of a voxel, balanced along each axis
CORNERS = ((0.25, 0.25, 0.25), (0.25, -0.25, -0.25), (-0.25, 0.25, -0.25), (-0.25, -0.25, 0.25))
#: bones that are thinner than a voxel in places
THIN = (*codes("ribs_and_sternum"), code("costal_cartilage"), *codes("pelvis"))
#: skin and fascia change by less than this between a voxel's middle and a corner, mm
REACH = 25.0
#: skin this far away leaves a voxel empty, mm
NEAR = 6.0


def flesh(
    canvas: Canvas,
    template: Template,
    pull: Pulled,
    covers: Covers,
    shown: Float[Tensor, "n two 256"],
) -> None:
    """Fill the bodies: labels at voxels' centres, signals at an edge as means of four halves."""
    for i in range(canvas.frame.n):
        tissue = _Tissue(template, pull, covers, i)
        near = covers.skin[i] < NEAR
        places = places_of(near)
        labels = spread_out(tissue.at(places)(), places, tuple(near.shape))
        canvas.label[i] = labels
        table = shown[i].to(canvas.water.device)
        codes_of_voxels = labels.int()
        canvas.water[i] = values_at(table[0], codes_of_voxels)
        canvas.fat[i] = values_at(table[1], codes_of_voxels)
        edge = places_of(_edges(labels) & near)
        beside = tissue.at(edge, differences=True)
        found = [beside(offset).int() for offset in CORNERS]
        _bridge(canvas.label[i], edge, found)
        for image, signal in ((canvas.water, table[0]), (canvas.fat, table[1])):
            mean = torch.stack([values_at(signal, labels) for labels in found]).mean(0)
            image[i].view(-1).scatter_(0, edge, mean)


def _bridge(labels: UInt8[Tensor, "x y z"], edge: Int[Tensor, " e"], found: list[Tensor]) -> None:
    """A bone thinner than a voxel is missed by centres: of the ``edge`` (flat numbers) those that it reaches (``found`` at
    their halves), with bone on both sides, are bone; a ramus of the pelvis goes on straight."""
    thin = torch.zeros(256, dtype=torch.int32, device=labels.device)
    thin[list(THIN)] = torch.tensor(THIN, dtype=torch.int32, device=labels.device)
    bone = is_of(labels, "ribs_and_sternum", "pelvis") | (labels == code("costal_cartilage"))
    own = values_at(thin, found[0])
    for others in found[1:]:
        own = torch.maximum(own, values_at(thin, others))
    between = values_at(_between(bone) & ~bone, edge) & (own > 0)
    labels.view(-1).scatter_(0, edge, torch.where(between, own.to(labels.dtype), values_at(labels, edge)))
    pelvis = is_of(labels, "pelvis")
    straight = pelvis.roll(1, 0) & pelvis.roll(-1, 0)
    for axis in (1, 2):
        straight |= pelvis.roll(1, axis) & pelvis.roll(-1, axis)
    of_edge = edge[values_at(straight & ~pelvis & ~is_of(labels, "femur"), edge)]
    labels.view(-1)[of_edge] = code("pelvis")


def _between(mask: Bool[Tensor, "x y z"]) -> Bool[Tensor, "x y z"]:
    """Voxels with neighbours of a mask on both sides along some axis; neighbours touch at a corner at least."""
    found = torch.zeros_like(mask)
    for axis in range(3):
        plate = mask
        for other in {0, 1, 2} - {axis}:
            plate = plate | plate.roll(1, other) | plate.roll(-1, other)
        found |= plate.roll(1, axis) & plate.roll(-1, axis)
    return found


def _edges(labels: UInt8[Tensor, "x y z"]) -> Bool[Tensor, "x y z"]:
    """Voxels with a neighbour of another label."""
    edge = torch.zeros_like(labels, dtype=torch.bool)
    for axis in range(3):
        size = labels.shape[axis] - 1
        changed = labels.narrow(axis, 0, size) != labels.narrow(axis, 1, size)
        edge.narrow(axis, 0, size).logical_or_(changed)
        edge.narrow(axis, 1, size).logical_or_(changed)
    return edge


class _Tissue:
    """The labels of one person's voxels, or of points a fraction of a voxel beside their centres."""

    def __init__(self, template: Template, pull: Pulled, covers: Covers, i: int) -> None:
        self.template = template
        shape = covers.skin.shape[1:]
        fields = {
            "x": pull.x, "y": pull.y, "z": pull.z, "arm_x": pull.arm_x, "arm_y": pull.arm_y, "arm_z": pull.arm_z,
            "skin": covers.skin, "fascia": covers.fascia, "arm": covers.arm,
        }  # fmt: skip
        self.fields = {name: field[i].expand(shape) for name, field in fields.items()}
        device = covers.skin.device
        self.table = label_of_class().to(device)
        self.arms = torch.zeros(256, dtype=torch.bool, device=device)
        self.arms[[NAMES.index(name) for name in ARM]] = True
        # the template's own arms hang elsewhere
        self.without_arms = torch.where(self.arms, self.table[0], self.table)

    def at(self, flat: Int[Tensor, " v"], differences: bool = False) -> Callable[..., UInt8[Tensor, " v"]]:
        """The labels of the voxels of these flat numbers, as a function of the offset (voxels) from their centres."""
        places = self._places(flat, differences)
        arms = places_of(values_at(self.fields["arm"], flat) < NEAR)
        trunk = {name: self._read(name, places) for name in ("x", "y", "z")}
        of_arms = [place.index_select(0, arms) for place in places]
        limb = {name: self._read(name, of_arms) for name in ("arm_x", "arm_y", "arm_z", "arm")}
        outer = self._near_fascia(flat, differences)
        of_outer = [place.index_select(0, outer) for place in places]
        cover = {name: self._read(name, of_outer) for name in ("skin", "fascia")}
        lattice = self.template.labels, self.template.origin, self.template.spacing

        def labels(offset: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> UInt8[Tensor, " v"]:
            at = {name: _moved(values, offset) for name, values in (trunk | limb | cover).items()}
            classes = looked_up(*lattice, at["x"], at["y"], at["z"])
            found = values_at(self.without_arms, classes.int())
            in_arm = looked_up(*lattice, at["arm_x"], at["arm_y"], at["arm_z"]).int()
            own = (at["arm"] < 0) & values_at(self.arms, in_arm)
            found[arms] = torch.where(own, values_at(self.table, in_arm), found[arms])
            skin, fascia = at["skin"], at["fascia"]
            deep = -skin >= SUPERFICIAL * (fascia - skin)
            fat = torch.where(deep, code("subcutaneous_fat_deep"), code("subcutaneous_fat_superficial"))
            covered = torch.where(fascia < 0, found[outer], fat.to(torch.uint8))
            found[outer] = torch.where(skin < 0, covered, 0).to(torch.uint8)
            return found

        return labels

    def _near_fascia(self, flat: Tensor, neighbours: bool) -> Int[Tensor, " o"]:
        """Which of the voxels may lie, or have a corner, beyond the fascia or the skin: fields change by less than
        :data:`REACH` within half a voxel."""
        most = -REACH if neighbours else 0.0
        outer = values_at(self.fields["fascia"], flat) >= most
        return places_of(outer | (values_at(self.fields["skin"], flat) >= most))

    def _places(self, flat: Tensor, neighbours: bool) -> list[Tensor]:
        """The voxels and, where wanted, those behind and ahead of them along each axis."""
        shape = self.fields["skin"].shape
        places = [flat]
        if neighbours:
            stride = shape.numel()
            rest = flat.int()
            for size in shape:
                stride //= size
                place = rest // stride
                rest = rest - place * stride
                places += [flat - stride * (place > 0), flat + stride * (place < size - 1)]
        return places

    def _read(self, name: str, places: list[Tensor]) -> list[Tensor]:
        """A field at voxels and, where their neighbours are given, its central differences along each axis."""
        found = [values_at(self.fields[name], place) for place in places]
        return [found[0], *((ahead - behind) / 2 for behind, ahead in zip(found[1::2], found[2::2], strict=True))]


def _moved(values: list[Tensor], offset: tuple[float, float, float]) -> Tensor:
    """To first order."""
    moved = values[0]
    for part, slope in zip(offset, values[1:], strict=False):
        moved = torch.add(moved, slope, alpha=part)
    return moved
