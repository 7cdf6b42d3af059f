"""From skin to bone: what the pull-back says of every voxel, with subcutaneous fat around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from engine.phantom.atlas.build import ARM, NAMES
from engine.phantom.shape.canvas import Canvas
from engine.phantom.shape.pullback import Pulled, looked_up
from engine.phantom.shape.signal import label_of_class
from engine.phantom.shape.template import Template
from engine.phantom.tissue import code

#: share of the subcutaneous layer that lies above its membrane (Scarpa's fascia)
SUPERFICIAL = 0.5
#: skin this far away leaves a voxel empty, mm
NEAR = 6.0


@dataclass(frozen=True, eq=False)
class Covers:
    """Signed distances (n, x, y, z), mm: skin and fascia of the whole body, and the fascia of the arms alone."""

    skin: Tensor
    fascia: Tensor
    arm: Tensor


def flesh(
    canvas: Canvas,
    template: Template,
    pull: Pulled,
    covers: Covers,
    shown: Float[Tensor, "n two 256"],
) -> None:
    """Fill the bodies: labels at voxels' centres, signals as means of the eight halves of voxels at an edge."""
    for i in range(canvas.frame.n):
        tissue = _Tissue(template, pull, covers, i)
        near = covers.skin[i] < NEAR
        labels = torch.zeros_like(canvas.label[i])
        labels[near] = tissue.labels(near, (0.0, 0.0, 0.0))
        canvas.label[i] = labels
        edge = _edges(labels) & near
        table = shown[i].to(canvas.water.device)
        canvas.water[i] = table[0][labels.long()]
        canvas.fat[i] = table[1][labels.long()]
        water = torch.zeros(int(edge.sum()), device=canvas.water.device)
        fat = torch.zeros_like(water)
        for offset in product((-0.25, 0.25), repeat=3):
            found = tissue.labels(edge, offset).long()
            water += table[0][found] / 8
            fat += table[1][found] / 8
        canvas.water[i][edge] = water
        canvas.fat[i][edge] = fat


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

    def labels(self, where: Bool[Tensor, "x y z"], offset: tuple[float, float, float]) -> UInt8[Tensor, " v"]:
        """Of the voxels ``where``, at ``offset`` (voxels) from their centres."""
        flat = torch.nonzero(where.reshape(-1))[:, 0]
        at = self._reader(flat, where.shape, offset)
        lattice = self.template.labels, self.template.origin, self.template.spacing
        skin, fascia, arm = at("skin"), at("fascia"), at("arm")
        classes = looked_up(*lattice, at("x"), at("y"), at("z"))
        # the template's own arms hang elsewhere
        classes = torch.where(self.arms[classes.long()], 0, classes)
        close = torch.nonzero(arm < 0)[:, 0]
        near = self._reader(flat[close], where.shape, offset)
        in_arm = looked_up(*lattice, near("arm_x"), near("arm_y"), near("arm_z"))
        classes[close] = torch.where(self.arms[in_arm.long()], in_arm, classes[close])
        labels = self.table[classes.long()]
        deep = -skin >= SUPERFICIAL * (fascia - skin)
        fat = torch.where(deep, code("subcutaneous_fat_deep"), code("subcutaneous_fat_superficial")).to(torch.uint8)
        labels = torch.where(fascia < 0, labels, fat)
        return torch.where(skin < 0, labels, 0).to(torch.uint8)

    def _reader(self, flat: Tensor, shape: torch.Size, offset: tuple[float, ...]) -> Callable[[str], Tensor]:
        """Fields at voxels, moved by ``offset`` along their central differences."""
        strides = (shape[1] * shape[2], shape[2], 1)
        sides = []
        for axis, part in enumerate(offset):
            if part:
                place = flat // strides[axis] % shape[axis]
                ahead = flat + strides[axis] * (place < shape[axis] - 1)
                behind = flat - strides[axis] * (place > 0)
                sides.append((part / 2, ahead, behind))

        def at(name: str) -> Tensor:
            field = self.fields[name].reshape(-1)
            value = field[flat]
            for half, ahead, behind in sides:
                value = value + half * (field[ahead] - field[behind])
            return value

        return at
