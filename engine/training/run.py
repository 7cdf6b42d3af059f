"""A training run on disk: what is needed to go on exactly where it stopped, in one safetensors file a stage; of several ranks in
a folder of such files, which any number of ranks goes on from (:mod:`engine.training.shared_state`)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from engine.storage.whole import whole_file
from engine.training.ema import PowerEMA
from engine.training.shared_state import load_shared, save_shared, shared_step
from engine.training.world import ALONE, World
from engine.vocabulary.refusal import Refusal


class RunError(Refusal):
    """A run directory that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Progress:
    """Where a training loop is: ``losses`` are means since the last report, ``seconds`` of this stage so far."""

    stage: str
    step: int
    total: int
    seconds: float
    losses: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The ``steps`` of a stage and its learning rate: linear ``warmup`` to ``rate``, so until step ``constant``, then inverse square
    root, so that no end has to be known beforehand (EDM2, arXiv 2312.02696)."""

    steps: int = 6000
    rate: float = 1e-3
    warmup: int = 50
    constant: int = 1500

    def learning_rate(self, step: int) -> float:
        return self.rate * min(1.0, (step + 1) / self.warmup) / max(1.0, (step + 1) / self.constant) ** 0.5


def step_generator(seed: int, step: int, device: torch.device | str = "cpu") -> torch.Generator:
    """All randomness of one training step: nothing else has to be saved to resume bit for bit."""
    return torch.Generator(device).manual_seed(seed * 1_000_003 + step)


def some_of(rows: Int[np.ndarray, " n"], most: int) -> Int[np.ndarray, " m"]:
    """At most so many of them, from all over where there are many more.

    >>> some_of(np.arange(10), 3), some_of(np.arange(2), 3)
    (array([0, 3, 6]), array([0, 1]))
    """
    return rows[:: max(1, len(rows) // most)][:most]


def compiled(modules: Iterable[nn.Module], device: torch.device) -> None:
    """Compile what pays: on a GPU, where a step is short. A CPU gains 8% a step and would wait half a minute for it."""
    if device.type == "cuda":
        for module in modules:
            module.compile()


def bfloat16_is_fast(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 natively."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW (arXiv 1711.05101) with its ``betas`` and weight ``decay``; gradients are cut at norm ``clip`` (None: never). With
    ``averaged`` a stage ends in the average of its weights (:class:`engine.training.ema.PowerEMA`), else in the last."""

    betas: tuple[float, float] = (0.9, 0.99)
    decay: float = 0.0
    clip: float | None = 1.0
    averaged: bool = True


ADAMW = OptimizerConfig()


class Stage:
    """One stage's module, optimizer and average, and what ``extra`` belongs to it, saved and restored together."""

    def __init__(
        self,
        name: str,
        run_dir: Path | None,
        modules: nn.Module,
        optimizer: OptimizerConfig = ADAMW,
        *,
        world: World = ALONE,
    ) -> None:
        """``run_dir`` None: the stage is kept in memory only."""
        self.name = name
        self.modules = modules
        self.world = world
        self.path = None if run_dir is None else run_dir / f"{name}.safetensors"
        self.shared_path = None if run_dir is None else run_dir / f"{name}.ranks"
        self.config = optimizer
        self.parameters = dict(modules.named_parameters())
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(), betas=optimizer.betas, weight_decay=optimizer.decay
        )
        self.ema = PowerEMA(modules)
        self.step = 0
        self.seconds = 0.0
        self.done = False
        self.extra: dict[str, Tensor] = {}

    def advance(self, loss: Float[Tensor, ""] | None, rate: float) -> None:
        """One optimizer step on ``loss`` at the learning ``rate``; None: its gradients are in the parameters already."""
        self.optimizer.param_groups[0]["lr"] = rate
        if loss is not None:
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
        if self.config.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.config.clip)
        self.optimizer.step()
        self.step += 1
        if self.config.averaged:
            self.ema.update(self.modules, self.step)

    def finish(self) -> None:
        """Put the averaged weights, where they are kept, into the modules."""
        if self.config.averaged:
            self.ema.copy_to(self.modules)

    def save(self) -> None:
        """Write the stage, whole or not at all; what was saved by another number of ranks goes."""
        if self.path is None or self.shared_path is None:
            return
        tensors = {f"extra.{k}": v for k, v in self.extra.items()}
        for name, parameter in self.parameters.items():
            tensors[f"weights.{name}"] = parameter.detach()
            tensors[f"ema.{name}"] = self.ema.weights[name]
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{key}.{name}"] = value
        meta = {"step": self.step, "seconds": self.seconds, "done": self.done}
        if self.world.size == 1:
            save_tensors(self.path, tensors, meta)
            shutil.rmtree(self.shared_path, ignore_errors=True)
            return
        save_shared(self.shared_path, tensors, meta, self.world)
        if self.world.leads:
            self.path.unlink(missing_ok=True)

    def load(self) -> dict[str, Tensor]:
        """Restore from disk if there is something, of one process or of several; returns the extra tensors (empty for a fresh
        stage)."""
        with self.world.together():
            kept = self._kept()
            if kept is None:
                return {}
            tensors, meta = kept
            self.step, self.seconds, self.done = meta["step"], meta["seconds"], meta["done"]
            try:
                self._restore(tensors)
            except (KeyError, RuntimeError) as error:
                raise RunError(f"{self.path} belongs to another recipe ({error}); choose a new --run-dir") from None
            return {k.removeprefix("extra."): v for k, v in tensors.items() if k.startswith("extra.")}

    def _kept(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What is on disk, the further of two where a process was killed between writing one and deleting the other."""
        if self.path is None or self.shared_path is None:
            return None
        shared = shared_step(self.shared_path)
        alone = load_tensors(self.path) if self.path.exists() else None
        if shared is not None and (alone is None or shared > alone[1]["step"]):
            return load_shared(self.shared_path)
        return alone

    @torch.no_grad()
    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            _put(parameter, tensors[f"weights.{name}"])
            _put(self.ema.weights[name], tensors[f"ema.{name}"])
            state = {k: tensors.get(f"optimizer.{k}.{name}") for k in ("step", "exp_avg", "exp_avg_sq")}
            if state["step"] is None:
                continue
            self.optimizer.state[parameter] = {
                k: v if k == "step" else _put(torch.empty_like(parameter), v) for k, v in state.items() if v is not None
            }


def _put(place: Tensor, value: Tensor) -> Tensor:
    """The ``place`` with the ``value`` in it, each rank's part of it where the place is spread over ranks."""
    if isinstance(place, DTensor):
        value = distribute_tensor(value.to(place.device), place.device_mesh, place.placements)
    return place.copy_(value)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """A safetensors file with JSON metadata, written beside its place and renamed."""
    try:
        with whole_file(path) as part:
            save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, part, {"json": json.dumps(meta)})
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(
            f"{path} cannot be written ({reason}); free some space, and the same command goes on from the last save"
        ) from None


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What :func:`save_tensors` wrote; raises :class:`RunError` for any other file."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            return {key: file.get_tensor(key) for key in file.keys()}, json.loads(metadata["json"])  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise RunError(f"{path} is damaged or foreign ({error}); delete it to start this stage again") from None
