"""A field as small tensors: features as int8 with a scale a channel, the MLP in half precision, masks as bits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from engine.phantom.atlas.config import FieldConfig
from engine.phantom.atlas.field import LabelField
from engine.phantom.atlas.supports import numbered


def stored(field: LabelField) -> dict[str, Tensor]:
    """The tensors from which :func:`restored` makes the field again."""
    found = {"allowed": _bits(field.get_buffer("allowed"))}
    for number, table in enumerate(field.tables):
        scale = (table.detach().abs().amax(0) / 127).clamp(min=1e-12)
        found[f"tables.{number}"] = (table.detach() / scale).round().to(torch.int8)
        found[f"tables.{number}.scale"] = scale
        found[f"tables.{number}.nodes"] = _bits(field.rows(number) > 0)
    for name, value in field.named_parameters():
        if not name.startswith("tables."):
            found[name] = value.detach().half()
    return found


def restored(config: FieldConfig, tensors: Mapping[str, Tensor]) -> LabelField:
    """The field of these sizes, in evaluation mode; raises KeyError, ValueError or RuntimeError for tensors of others."""
    allowed = _unpacked(tensors["allowed"], (*config.cells, len(config.classes)))
    kept = [_unpacked(tensors[f"tables.{n}.nodes"], config.nodes(grid.step)) for n, grid in enumerate(config.grids)]
    with torch.random.fork_rng(devices=[]):  # reading draws no random numbers of anybody else
        field = LabelField(config, allowed, [numbered(nodes) for nodes in kept])
    weights = {}
    for name in field.state_dict():
        value = tensors[name].float()
        weights[name] = value * tensors[f"{name}.scale"] if name.startswith("tables.") else value
    field.load_state_dict(weights)
    return field.requires_grad_(False).eval()


def as_stored(field: LabelField) -> LabelField:
    """The field as it will be read: judge this one, not the one that was fitted."""
    return restored(field.config, stored(field))


def megabytes(field: LabelField) -> float:
    """The size of the stored field in MB (10^6 bytes)."""
    return sum(tensor.numel() * tensor.element_size() for tensor in stored(field).values()) / 1e6


def _bits(mask: Bool[Tensor, "..."]) -> UInt8[Tensor, " n"]:
    return torch.from_numpy(np.packbits(mask.numpy().reshape(-1)))


def _unpacked(bits: UInt8[Tensor, " n"], shape: Sequence[int]) -> Bool[Tensor, "..."]:
    """The inverse of :func:`_bits`; raises ValueError where the bits are not as many as the shape needs."""
    count = math.prod(shape)
    if len(bits) != -(-count // 8):
        raise ValueError(f"a mask has {len(bits)} bytes where the sizes make it {-(-count // 8)}")
    return torch.from_numpy(np.unpackbits(bits.numpy(), count=count).astype(bool)).reshape(*shape)
