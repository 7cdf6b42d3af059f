"""Scan to mask: the model's own segmentation of a scan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from engine.imaging.segmentation import Segmentation
from engine.imaging.volume import Volume
from engine.inference.conditioning import Voxels, given_scans
from engine.inference.generate import Model
from engine.model.joint import JointModel
from engine.vocabulary.refusal import RequestError
from engine.vocabulary.schema import Row


@torch.inference_mode()
def segment(model: Model, volume: Volume, given: Mapping[str, Any] | None = None) -> Segmentation:
    """The likeliest class of each voxel of the scan in ``volume``, on the model's grid, beside the ``given`` columns.

    It is decoded from the mask's posterior mean (:func:`mask_mean`), one evaluation of the network. Raises
    :class:`RequestError` for a model without masks or a scan of another grid,
    :class:`engine.vocabulary.schema.AttributeValueError` for an impossible value.
    """
    net = model.checkpoint.model
    if not net.has_mask:
        raise RequestError(f"{model.name} knows no masks; choose a model that was trained on label maps")
    voxels = model.checkpoint.on_grid(volume)
    mean = mask_mean(net, model.schema.resolve(given or {}), voxels)
    return model.segmentation(net.decode_mask(mean)[0].cpu().numpy())


def mask_mean(net: JointModel, row: Row, voxels: Voxels) -> Float[Tensor, "1 n m"]:
    """E[mask | scan, row], read off the velocity where the mask is unknown: at t = 1 it is e - E[z | ...]."""
    known = given_scans(net, [row], [voxels])
    noise = net.noise([0])
    state = known.impose(noise._replace(mask=torch.zeros_like(noise.mask)))
    return -net.velocity(state, known.levels(1.0)).mask
