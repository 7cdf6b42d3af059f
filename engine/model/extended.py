"""A model with more parts than it has: those that it knows stay, the others are made anew."""

from __future__ import annotations

from dataclasses import replace

import torch

from engine.model.config import DetailConfig, ModelConfig
from engine.model.joint import JointModel


def _detail(own: DetailConfig | None, wanted: DetailConfig | None) -> DetailConfig | None:
    """The model's ``own`` detail, or else what is ``wanted``; masks are drawn in detail where either does so."""
    if own is None or wanted is None or own.mask_steps:
        return own or wanted
    return replace(own, mask_steps=wanted.mask_steps)


def extended(model: JointModel, config: ModelConfig, seed: int) -> JointModel:
    """The ``model`` with the parts of ``config`` that it lacks, a network of rows, a mask or detail, made from ``seed``."""
    wanted = replace(
        model.config,
        rows=model.config.rows or config.rows,
        mask=model.config.mask or config.mask,
        detail=_detail(model.config.detail, config.detail),
    )
    if wanted == model.config:
        return model
    torch.manual_seed(seed)
    made = JointModel(wanted, model.schema).to(model.centre.device)
    made.load_state_dict({**made.state_dict(), **model.state_dict()})
    return made
