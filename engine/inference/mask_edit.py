"""The mask under an intervention: on the mask itself, with what of the table follows it, how the scan is painted for it and where it may
change; or on the row, with how the mask of a scan changes then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from engine.anatomy import region_of
from engine.imaging.segmentation import Segmentation
from engine.inference.generate import Model
from engine.model.joint import JointModel
from engine.model.nn.blur import blurred
from engine.vocabulary.schema import Number, Row

#: relative change of a volume from which it counts as one
CHANGED = 0.002
#: mm from an edited voxel beyond which a scan stays as it was, and up to which it is drawn as the model draws it
RIM, INNER = 15.0, 7.5
#: weight of guidance by the mask (arXiv 2207.12598, with the mask before in the place of no mask): painted for the mask after alone, 0.72
#: of the volume by which a liver was grown are read off the scan again, in six training persons; 1.8 gives 1.0
GUIDANCE = 1.8
#: of a scan's own mask whose row changes: SD (voxels) of the blur of its probabilities, without which it is too sure to move, the least
#: of them, and how many times the change (of logits) goes into it that masks of the decoded scans tell; nearest to the phantom's
#: truth of what was tried (engine/LOG.md 56)
BLUR, LEAST, CHANGE = 0.7, 1e-4, 1.25


@dataclass(frozen=True, kw_only=True)
class MaskEdit:
    """An intervention on the mask: the segmentation ``before`` (the model's own of the scan, or the user's) and ``after``."""

    before: Segmentation
    after: Segmentation


def volume_ratios(model: Model, edit: MaskEdit) -> dict[str, float]:
    """The attributes that are volumes of regions which the ``edit`` changes, each with its volume after over that before."""
    region = region_of(model.checkpoint.config.channels)
    before, after = edit.before.volumes_ml(), edit.after.volumes_ml()
    found = {}
    for name, classes in (region.volumes if region else {}).items():
        there = sum(before[c] for c in classes if c in before)
        then = sum(after[c] for c in classes if c in after)
        if name in model.schema.names and abs(then - there) > CHANGED * max(there, 1.0):
            found[name] = then / there if there else 1.0
    return found


def followed(model: Model, edit: MaskEdit, row: Row) -> Row:
    """Of a ``row`` the volumes that the ``edit`` changes, changed by as much as the mask is, within the column's range."""
    found: Row = {}
    for name, ratio in volume_ratios(model, edit).items():
        column, value = model.schema[name], row.get(name)
        if isinstance(column, Number) and isinstance(value, int | float):
            found[name] = min(column.high, max(column.low, ratio * value))
    return found


def painted(model: Model, tokens: Float[Tensor, "3 n c"], edit: MaskEdit) -> Float[Tensor, "3 c x y z"]:
    """Scans of three states: two for the mask before, and one for the mask after, guided away from the mask before."""
    net = model.checkpoint.model
    base = net.decode(tokens)
    before, after = (model.checkpoint.labels_on_grid(mask).to(base.device) for mask in (edit.before, edit.after))
    scans = net.detailed(torch.cat([base, base[2:]]), torch.stack([before, before, after, before]), [0] * 4, 1)
    guided = scans[3] + GUIDANCE * (scans[2] - scans[3])
    return torch.cat([scans[:2], guided[None].clamp(0, 1)])


def window(edit: MaskEdit) -> Float[np.ndarray, "x y z"]:
    """1 within :data:`INNER` of what is edited, 0 beyond :data:`RIM`, linear between: all else is kept, as in blended diffusion
    (Avrahami et al., arXiv 2111.14818)."""
    edited = edit.before.labels != edit.after.labels
    if not edited.any():
        return np.zeros(edited.shape)
    apart = np.asarray(distance_transform_edt(~edited, sampling=np.linalg.norm(edit.before.affine[:3, :3], axis=0)))
    return np.clip((RIM - apart) / (RIM - INNER), 0, 1)


def changed_masks(
    net: JointModel, base: Float[Tensor, "3 c x y z"], scan: Float[Tensor, "c x y z"]
) -> UInt8[Tensor, "3 x y z"]:
    """The ``scan``'s own mask for reconstruction and no change, and that with what the masks of the decoded scans tell of the change."""
    own = blurred(net.segment_scores(scan[None])[0].softmax(0), BLUR).clamp(min=LEAST).log()
    before, after = (net.mask_scores(net.mask_mean(one[None]))[0] for one in base[1:])
    masks = [own, own, own + CHANGE * (after - before)]
    return torch.stack([scores.argmax(0).to(torch.uint8) for scores in masks])
