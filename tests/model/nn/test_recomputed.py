"""What is computed twice for the gradient, and attention that makes no table of pairs: the same numbers, less memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from engine.model.nn import autoencoder, transformer
from engine.model.nn.autoencoder import ResidualBlock
from engine.model.nn.transformer import Block


def gradients(module: nn.Module, *inputs: object) -> list[Tensor]:
    module.zero_grad()
    module(*inputs).square().sum().backward()
    return [parameter.grad.clone() for parameter in module.parameters() if parameter.grad is not None]


def test_a_block_that_is_computed_twice_has_the_same_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    block, x = ResidualBlock(8), torch.randn(2, 8, 6, 6, 6, requires_grad=True)
    kept = gradients(block, x)
    kept_output = block(x)
    monkeypatch.setattr(autoencoder, "RECOMPUTED", 8)
    assert torch.equal(block(x), kept_output)
    for one, other in zip(kept, gradients(block, x), strict=True):
        assert torch.equal(one, other)


def test_less_is_kept_for_the_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    def held() -> int:
        sizes: list[int] = []
        block, x = ResidualBlock(8), torch.randn(1, 8, 8, 8, 8, requires_grad=True)

        def pack(kept: Tensor) -> Tensor:
            sizes.append(kept.numel())
            return kept

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept):
            block(x)
        return sum(size for size in sizes if size >= x.numel())

    whole = held()
    monkeypatch.setattr(autoencoder, "RECOMPUTED", 8)
    assert held() <= whole / 4


@pytest.mark.parametrize("tokens", [40, 300])
def test_attention_in_one_kernel_is_that_of_all_pairs(monkeypatch: pytest.MonkeyPatch, tokens: int) -> None:
    torch.manual_seed(0)
    block, x = Block(32, 4), torch.randn(2, tokens, 32)
    explicit = block.attention(x)
    monkeypatch.setattr(transformer, "EXPLICIT", 8)
    torch.testing.assert_close(block.attention(x), explicit, rtol=0, atol=1e-5)
