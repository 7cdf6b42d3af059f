"""The canvas: water, fat and labels of a batch of bodies, painted shape by shape with partial volume."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from engine.phantom.shape.frame import Box, Frame
from engine.phantom.shape.shapes import Number
from engine.phantom.tissue import Tissue

#: half the width of the soft edge of a painted shape, mm
SOFT = 3.0


class Canvas:
    """What has been painted so far.

    Shape: ``water``, ``fat`` float32, ``label`` uint8 and ``taken`` bool, each (n, x, y, z). A voxel that is ``taken``
    belongs to an organ and is not painted again, so that no organ eats another.
    """

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        shape = (frame.n, *frame.grid)
        self.water: Float[Tensor, "n x y z"] = torch.zeros(shape, device=frame.device)
        self.fat: Float[Tensor, "n x y z"] = torch.zeros(shape, device=frame.device)
        self.label: UInt8[Tensor, "n x y z"] = torch.zeros(shape, dtype=torch.uint8, device=frame.device)
        self.taken: Bool[Tensor, "n x y z"] = torch.zeros(shape, dtype=torch.bool, device=frame.device)

    def paint(
        self,
        box: Box,
        distance: Tensor,
        tissue: Tissue,
        *,
        fat: Number | None = None,
        gain: Tensor | None = None,
        keep: bool = False,
        over: bool = False,
        signal_only: bool = False,
    ) -> None:
        """Blend ``tissue`` in where ``distance`` (mm) is negative.

        ``fat`` overrides its fat fraction, ``gain`` multiplies its signal; ``keep`` takes the voxels for good, ``over``
        paints on taken voxels too, ``signal_only`` leaves the labels as they are (vessels within the liver).
        """
        alpha = (distance * (-0.5 * self.frame.fine / SOFT)).add_(0.5).clamp_(0, 1)
        inside = distance < 0
        if not over:
            free = ~box.take(self.taken)
            alpha, inside = alpha.mul_(free), inside & free
        made = tissue.properties
        fraction = made.fat if fat is None else fat
        for image, signal in (
            (self.water, (1 - fraction) * made.water_signal),
            (self.fat, fraction * made.fat_signal),
        ):
            before = box.take(image)
            target = signal if gain is None else gain * signal
            target = torch.as_tensor(target, dtype=before.dtype, device=before.device)
            box.changed(image, before.lerp_(target, alpha))
        if not signal_only:
            box.changed(self.label, box.take(self.label).masked_fill_(inside, tissue.code))
        if keep:
            box.changed(self.taken, box.take(self.taken).logical_or_(inside))
