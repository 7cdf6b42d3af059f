"""What lies below the structures that are compared at full resolution: a neck under a brain.

Where a field is told by outlines alone a mean of persons is fog. So once the structures lie in the atlas, what is below them is
registered at full resolution too, by the scans; it takes the place of that part of the atlas, softly, and nothing else moves.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from engine.model.nn.blur import blurred
from engine.model.nn.warp import centres, sampled
from engine.training.stages.atlas.registration import Box

#: voxels above the lowest structure up to which is registered, and beneath that, of those over which it fades
ABOVE, FADE = 15, 8
#: voxels about the structures that stay as they are, and the SD of the blur of that border
ABOUT, BORDER = 3, 1.5
#: SD (voxels) of the blur beside which the atlas is sharpened, and its gain within the structures and below them: a mean of persons has
#: less contrast than each (Avants et al., NeuroImage 49, 2010)
COARSE, GAIN, GAIN_BELOW = 3.0, 1.3, 1.6
#: voxels of the body's rim in which no residual is drawn, where its draw would make waves; share of its SD that is drawn within
RIM, SHARE = 3, 0.4
#: intensity, 0 to 1, from which the atlas is a body
BODY = 0.08


def box_below(compared: Box) -> Box | None:
    """The box of what is registered below the box of what was ``compared``, its top among it; the last axis points up. None where that
    reaches the lower border."""
    x, y, z = compared
    if z.start == 0:
        return None
    return slice(0, x.stop + x.start), slice(0, y.stop + y.start), slice(0, z.start + ABOVE)


def share_below(structures: Bool[Tensor, "x y z"], top: int) -> Float[Tensor, "x y z"]:
    """1 below the ``structures``, 0 about them and from voxel ``top`` upwards, soft between."""
    near = nn.functional.max_pool3d(structures[None].float(), 2 * ABOUT + 1, 1, ABOUT)
    height = torch.arange(structures.shape[2], dtype=torch.float32)
    apart = (1 - blurred(near, BORDER)[0]).clamp(0, 1) * ~structures
    return apart * ((top - FADE - height) / FADE).clamp(0, 1)


def moved_below(
    field: Float[Tensor, "3 x2 y2 z2"], found: Float[Tensor, "3 x2 y2 z2"], share: Float[Tensor, "x y z"]
) -> Float[Tensor, "3 x2 y2 z2"]:
    """The ``field`` of a person (voxels), with that which was ``found`` where it leads below (:func:`share_below`)."""
    weight = sampled(share[None, None], (centres(field.shape[1:], field.device) + field)[None])[0]
    return field + weight * (found - field)


def sharpened(template: Float[Tensor, "c x y z"], share: Float[Tensor, "x y z"] | None) -> Float[Tensor, "c x y z"]:
    """The atlas' mean scan, 0 to 1, with what is finer than :data:`COARSE` amplified."""
    below = torch.zeros(template.shape[1:]) if share is None else share
    gain = GAIN + (GAIN_BELOW - GAIN) * below
    return (template + (gain - 1) * (template - blurred(template, COARSE))).clamp(0, 1)


def within(template: Float[Tensor, "c x y z"]) -> Float[Tensor, "x y z"]:
    """1 in the body of an atlas, 0 in its rim, soft between."""
    outside = (template.amax(0) <= BODY)[None].float()
    return blurred(1 - nn.functional.max_pool3d(outside, 2 * RIM + 1, 1, RIM), 1.0)[0]
