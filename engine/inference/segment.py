"""Scan to mask: the model's own segmentation of a scan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from engine.imaging.segmentation import Segmentation
from engine.imaging.volume import Volume
from engine.inference.conditioning import given_rows
from engine.inference.generate import Model
from engine.vocabulary.refusal import RequestError


def check_masks(model: Model) -> None:
    """Raises :class:`RequestError` for a model without masks."""
    if not model.has_mask:
        raise RequestError(f"{model.name} knows no masks; choose a model that was trained on label maps")


@torch.inference_mode()
def segment(model: Model, volume: Volume, given: Mapping[str, Any] | None = None) -> Segmentation:
    """The likeliest class of each voxel of the scan in ``volume``, on the model's grid, beside the ``given`` columns.

    It is decoded from the mask's posterior mean (:meth:`engine.model.joint.JointModel.segment`), one evaluation of the network. Raises
    :class:`RequestError` for a model without masks or a scan of another grid,
    :class:`engine.vocabulary.schema.AttributeValueError` for an impossible value.
    """
    net = model.checkpoint.model
    check_masks(model)
    known = given_rows(net, [model.schema.resolve(given or {})])
    scan = model.checkpoint.on_grid(volume)[None].to(model.device)
    return model.segmentation(net.segment(scan, known)[0].cpu().numpy())
