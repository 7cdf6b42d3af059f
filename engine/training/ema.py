"""Exponential moving average of weights whose memory is a fixed share of the run so far."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

#: exponent of the power-function profile of width 0.10 (EDM2, arXiv 2312.02696, equation 123)
GAMMA = 6.94


class PowerEMA:
    """The average after step n weighs step i by (i / n) ** gamma: no half-life to choose, no end to know beforehand."""

    def __init__(self, module: nn.Module) -> None:
        self.weights: dict[str, Tensor] = {n: p.detach().clone() for n, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the weights after ``step`` (1 for the first)."""
        beta = (1 - 1 / step) ** (GAMMA + 1)
        for name, parameter in module.named_parameters():
            self.weights[name].lerp_(parameter.detach(), 1 - beta)

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Put the average into the module."""
        for name, parameter in module.named_parameters():
            parameter.copy_(self.weights[name])

    @contextmanager
    def standing_in(self, module: nn.Module) -> Iterator[None]:
        """The module with the average in place of its own weights, which come back bit for bit."""
        own = {n: p.detach().clone() for n, p in module.named_parameters()}
        self.copy_to(module)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in module.named_parameters():
                    parameter.copy_(own[name])
