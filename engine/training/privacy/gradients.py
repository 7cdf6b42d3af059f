"""The gradients of DP-SGD: one a person, clipped, summed and noised by opacus (Yousefpour et al. 2021, arXiv 2109.12298).

Each person's gradient comes from ``torch.func`` and not from opacus' hooks (``GradSampleModule``), which fail on the velocity
network: its input is a state of several tensors, and it has parameters of its own beside its layers.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils._pytree import tree_leaves, tree_map

from engine.storage.whole import whole_file
from engine.training.privacy.budget import Budget, PrivacyError
from engine.training.run import Stage

KEY = "noise.key"
#: numbers of persons' gradients that are kept at a time
KEPT = 2**25


@dataclass(frozen=True, kw_only=True)
class Secret:
    """Where all randomness of a private stage comes from that nobody must know: who is in a step, and the noise.

    It depends on the run's ``key`` and on the step, so that a stage which is stopped and goes on ends in the same weights. A
    run's seed would not do: it is in the model's card, and who knows the noise can take it off.
    """

    key: bytes
    stage: str

    @classmethod
    def of(cls, run_dir: Path, stage: str) -> Secret:
        """That of a run directory, where its key is made if there is none. Raises :class:`PrivacyError` for a damaged one."""
        path = run_dir / KEY
        if not path.exists():
            with whole_file(path) as part:
                part.touch(0o600)
                part.write_text(secrets.token_hex(32), "ascii")
        try:
            key = bytes.fromhex(path.read_text("ascii"))
        except ValueError:
            key = b""
        if len(key) != 32:
            raise PrivacyError(f"{path} is damaged; choose a new --run-dir")
        return cls(key=key, stage=stage)

    def generator(self, use: str, step: int, device: torch.device | str = "cpu") -> torch.Generator:
        digest = sha256(self.key + f"{self.stage} {use} {step}".encode()).digest()
        return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big"))


class PrivateGradients:
    """What takes the place of ``loss.backward()`` in a ``stage`` under a ``budget``.

    ``error`` is a module that gives the loss of one example (tensors without a first axis that counts) and what of it is
    reported; the parameters of the stage are among its own. With ``alone`` one example is computed after the other: a module that
    keeps less than its gradient needs (``torch.utils.checkpoint``) cannot be computed for many by ``torch.func``.
    """

    def __init__(self, stage: Stage, error: nn.Module, budget: Budget, secret: Secret, *, alone: bool = False) -> None:
        from opacus.optimizers import DPOptimizer

        self.budget, self.secret, self.stage = budget, secret, stage
        self.rate = budget.rate(stage.name)
        learned = {id(parameter) for parameter in stage.parameters.values()}
        self.parameters = {name: p for name, p in error.named_parameters() if id(p) in learned}
        self.optimizer = DPOptimizer(
            stage.optimizer,
            noise_multiplier=budget.noise,
            max_grad_norm=budget.clip,
            expected_batch_size=self.rate * budget.persons,  # pyright: ignore[reportArgumentType]
        )

        def loss(weights: dict[str, Tensor], example: Any) -> tuple[Tensor, Any]:
            return functional_call(error, weights, (example,))

        def by_itself(weights: dict[str, Tensor], examples: Any) -> tuple[dict[str, Tensor], Any]:
            total, parts = error(tree_map(lambda values: values[0], examples))
            grads = torch.autograd.grad(total, list(self.parameters.values()), materialize_grads=True)
            found = {name: each[None] for name, each in zip(weights, grads, strict=True)}
            return found, {name: value[None] for name, value in parts.items()}

        self._each = by_itself if alone else vmap(grad(loss, has_aux=True), (None, 0))
        numbers = sum(parameter.numel() for parameter in self.parameters.values())
        self._at_a_time = 1 if alone else max(1, KEPT // numbers)

    def lot(self, step: int) -> Int[Tensor, " persons"]:
        """Who is in a step: everybody with the same chance and independently (Poisson sampling), sometimes nobody."""
        drawn = torch.rand(self.budget.persons, generator=self.secret.generator("lot", step), dtype=torch.float64)
        return (drawn < self.rate).nonzero()[:, 0]

    def __call__(self, step: int, examples: Any) -> dict[str, Tensor]:
        """Leave the noised mean of the clipped gradients of ``examples`` (tensors, a first axis counts them) in the
        parameters; returns the means of what is reported."""
        self.optimizer.zero_grad(set_to_none=True)
        device = next(iter(self.parameters.values())).device
        self.optimizer.generator = self.secret.generator("noise", step, device)
        count, sums = len(tree_leaves(examples)[0]), {}
        parts = list(self._parts(examples, count))
        for place, part in enumerate(parts):
            for name, value in self._keep_each(part).items():
                sums[name] = sums.get(name, 0) + value.sum()
            self.optimizer.signal_skip_step(place + 1 < len(parts))
            self.optimizer.pre_step()
        for parameter in self.optimizer.params:
            parameter.grad_sample = parameter.summed_grad = None  # pyright: ignore[reportAttributeAccessIssue]
        return {name: total / count for name, total in sums.items()}

    def _parts(self, examples: Any, count: int) -> Iterator[Any]:
        """The examples, as many at a time as there is room for; a part of none where there are none."""
        size = self._at_a_time
        for start in range(0, max(1, count), size):
            yield tree_map(lambda values, start=start: values[start : start + size], examples)

    def _keep_each(self, examples: Any) -> dict[str, Tensor]:
        """Leave each example's gradient where opacus looks for it; returns what is reported of each."""
        if not len(tree_leaves(examples)[0]):
            for parameter in self.parameters.values():
                parameter.grad_sample = parameter.new_zeros(0, *parameter.shape)  # pyright: ignore
            return {}
        weights = {name: parameter.detach() for name, parameter in self.parameters.items()}
        found, parts = self._each(weights, examples)
        for name, parameter in self.parameters.items():
            finite = found[name].nan_to_num_(0.0, 0.0, 0.0)  # what is not finite cannot be clipped
            parameter.grad_sample = finite  # pyright: ignore[reportAttributeAccessIssue]
        return {name: value.detach() for name, value in parts.items()}
