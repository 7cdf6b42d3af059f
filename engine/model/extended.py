"""A model with more parts than it has: those that it knows stay, the others are made anew."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from engine.model.config import AutoencoderConfig, DetailConfig, ModelConfig
from engine.model.joint import JointModel


def _detail(own: DetailConfig | None, wanted: DetailConfig | None) -> DetailConfig | None:
    """The model's ``own`` detail, or else what is ``wanted``; masks are drawn in detail where either does so."""
    if own is None or wanted is None or own.mask_steps:
        return own or wanted
    return replace(own, mask_steps=wanted.mask_steps)


def finer_image(own: AutoencoderConfig, wanted: AutoencoderConfig) -> AutoencoderConfig:
    """The model's ``own``, on the grid that is ``wanted`` where the autoencoders' is the same: a cascade begins with a coarse model."""
    return replace(own, grid=wanted.grid, reduction=wanted.reduction) if own.coded == wanted.coded else own


def extended(model: JointModel, config: ModelConfig, seed: int) -> JointModel:
    """The ``model`` with the parts of ``config`` that it lacks, a network of rows, a mask or detail, made from ``seed``, and on its
    grid where that is finer: what local networks know of places is then interpolated."""
    wanted = replace(
        model.config,
        image=finer_image(model.config.image, config.image),
        rows=model.config.rows or config.rows,
        mask=model.config.mask or config.mask,
        detail=_detail(model.config.detail, config.detail),
        calibrated=model.config.calibrated or config.calibrated,
    )
    if wanted == model.config:
        return model
    torch.manual_seed(seed)
    made = JointModel(wanted, model.schema).to(model.centre.device)
    state = made.state_dict()
    for key, value in model.state_dict().items():
        there = state[key].shape
        state[key] = value if value.shape == there else _interpolated(value, there[-3:])
    made.load_state_dict(state)
    return made


def _interpolated(places: Float[Tensor, "c x y z"], sides: torch.Size) -> Float[Tensor, "c i j k"]:
    return nn.functional.interpolate(places[None].float(), size=tuple(sides), mode="trilinear")[0].to(places)
