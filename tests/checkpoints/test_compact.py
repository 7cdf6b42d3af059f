"""Weights of 8 bits: no farther off than half a step of their channel, and the same again when stored again."""

from __future__ import annotations

import pytest
import torch

from engine.checkpoints.compact import LEAST, SCALE, TOP, compacted, expanded, is_compact


@pytest.mark.parametrize(("name", "axis"), [("autoencoder.decoder.weight", 0), ("mask_loadings", 2)])
def test_each_value_is_within_half_a_step_of_its_channel(name: str, axis: int) -> None:
    sizes = torch.logspace(-6, 2, 12).reshape([12 if d == axis else 1 for d in range(3)])
    value = sizes * torch.randn([12 if d == axis else 90 for d in range(3)], generator=torch.Generator().manual_seed(0))
    stored = compacted(name, value)
    assert stored[name].dtype == torch.int8
    found = expanded(stored)
    assert found.keys() == {name}
    greatest = value.abs().amax([d for d in range(3) if d != axis], keepdim=True)
    assert bool(((found[name] - value).abs() <= (0.5 + 1e-4) * greatest / TOP).all())
    again = compacted(name, found[name])
    assert torch.equal(again[name], stored[name])
    torch.testing.assert_close(again[name + SCALE], stored[name + SCALE])


def test_nothing_stays_nothing() -> None:
    assert torch.equal(expanded(compacted("correction", torch.zeros(4, 5)))["correction"], torch.zeros(4, 5))


@pytest.mark.parametrize(
    ("name", "count", "compact"),
    [
        ("autoencoder.x", LEAST, True),
        ("autoencoder.x", LEAST - 2, False),
        ("velocity_net.blocks.0.qkv.weight", LEAST, True),
        ("velocity_net.x", LEAST, False),
        ("rows.correction", LEAST, False),
    ],
)
def test_what_is_compact(name: str, count: int, compact: bool) -> None:
    assert is_compact(name, torch.zeros(2, count // 2)) == compact
    assert not is_compact(name, torch.zeros(count))
    assert not is_compact(name, torch.zeros(2, count // 2, dtype=torch.int32))
