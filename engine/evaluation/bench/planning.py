"""What a training would take: memory, hours and energy of a recipe on so many participants, by ranks.

FLOP of a step and the numbers kept for its gradient are counted on tensors that hold no data; speed is measured here, or stated.
Ranks split a step's batch evenly and add up their gradients by a ring all-reduce, which moves 2 (n - 1) / n times their bytes past
the slowest link (Patarasuk and Yuan 2009, doi 10.1016/j.jpdc.2008.09.002). Nothing overlaps: an upper bound of the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from engine.evaluation.bench.cost import flop_of
from engine.evaluation.bench.roof import seconds_of
from engine.model.flow import Joint, Levels
from engine.model.joint import JointModel
from engine.training.recipes import Recipe
from engine.vocabulary.refusal import ConfigError, RequestError

#: bytes a weight takes in training: itself, its gradient, two moments of Adam, its running average, in single precision
STATE = 20
#: bytes of a voxel in a store
STORED = 1


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What a rank runs on: ``flop_per_second`` that training reaches, the slowest link's ``bytes_per_second`` and ``latency``
    (s) of one message, ``watts`` of a rank; ``source`` says where the figures are from. Raises :class:`ConfigError`."""

    name: str
    flop_per_second: float
    bytes_per_second: float
    latency: float
    watts: float
    source: str

    def __post_init__(self) -> None:
        if min(self.flop_per_second, self.bytes_per_second, self.watts) <= 0 or self.latency < 0:
            raise ConfigError(f"hardware {self.name} has a figure that is not above 0; state what it can do")


#: an accelerator as it is stated, never measured here: 30% of 400 TFLOP/s in bfloat16, 50 GB/s between ranks, 700 W
ACCELERATOR = Hardware(
    name="one accelerator a rank",
    flop_per_second=1.2e14,
    bytes_per_second=5e10,
    latency=2e-5,
    watts=700,
    source="stated, not measured: 30% of 400 TFLOP/s in bfloat16, 50 GB/s between ranks",
)


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """Of a training stage: its ``steps``, the ``flop`` of one, ``weights`` that learn, and the bytes ``kept`` for the gradient of one
    person of the ``batch``."""

    name: str
    steps: int
    batch: int
    flop: int
    weights: int
    kept: int

    def seconds(self, ranks: int, hardware: Hardware) -> float:
        """Of all steps on so many ranks."""
        shared = min(ranks, self.batch)
        computed = self.flop * math.ceil(self.batch / shared) / self.batch / hardware.flop_per_second
        moved = 2 * (shared - 1) / shared * 4 * self.weights / hardware.bytes_per_second
        return self.steps * (computed + moved + 2 * (shared - 1) * hardware.latency)

    def bytes(self, ranks: int) -> int:
        """Held by one of so many ranks."""
        return STATE * self.weights + math.ceil(self.batch / min(ranks, self.batch)) * self.kept


def stage_costs(recipe: Recipe) -> list[StageCost]:
    """The stages whose steps are shared by the ranks: autoencoder and flow. Raises :class:`RequestError` for tables alone."""
    if not recipe.model.image.tokens:
        raise RequestError(f"recipe {recipe.name} has no scans; tables alone take minutes on one core")
    found, how = [], {"autoencoder": recipe.autoencoder, "flow": recipe.flow}
    with torch.device("meta"):
        for name, (network, loss) in _losses(recipe).items():
            flop, kept = _one(network, loss)
            weights = sum(weight.numel() for weight in network.parameters())
            size = {"steps": how[name].steps, "batch": how[name].batch}
            found.append(StageCost(name=name, **size, flop=how[name].batch * flop, weights=weights, kept=kept))
    return found


def here(recipe: Recipe, *, runs: int = 3) -> Hardware:
    """This machine's CPU as one rank: the median speed of a training step of one person, forwards and backwards; its links and
    watts are stated."""
    flop, seconds = 0, 0.0
    for network, loss in _losses(recipe).values():
        weights = list(network.parameters())

        def step(weights: list[nn.Parameter] = weights, loss: Callable[[], Tensor] = loss) -> None:
            torch.autograd.grad(loss(), weights, allow_unused=True)

        flop += flop_of(step)
        seconds += median(seconds_of(step, "cpu", runs))
    return Hardware(
        name="this machine's CPU",
        flop_per_second=flop / seconds,
        bytes_per_second=1.2e8,
        latency=1e-4,
        watts=65,
        source="speed of a step of one person measured in single precision; 1 Gbit/s between machines and 65 W stated",
    )


def _losses(recipe: Recipe) -> dict[str, tuple[nn.Module, Callable[[], Tensor]]]:
    """Network and error of one person, for each stage, on the default device."""
    net = JointModel(replace(recipe.model, mask=None, detail=None), recipe.schema)
    image, coder = recipe.model.image, net.autoencoder
    volume = torch.zeros(1, image.channels, *image.coded)
    tokens, columns = torch.zeros(1, image.tokens, image.latent), torch.zeros(1, *net.codes.shape)
    state = Joint(tokens, columns, torch.zeros(1, image.tokens, 0))
    levels = Levels(torch.ones(1), torch.ones(1, net.codes.shape[0]), torch.ones(1))

    def velocity_error() -> Tensor:
        image, table, *_ = net.velocity_net(state, state, levels)
        return image.square().mean() + table.square().mean()

    return {
        "autoencoder": (coder, lambda: coder.decode(coder.encode(volume)).square().mean()),
        "flow": (net.velocity_net, velocity_error),
    }


def _one(network: nn.Module, loss: Callable[[], Tensor]) -> tuple[int, int]:
    """FLOP of one person's step forwards and backwards, and the bytes kept in between."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[id(tensor)] = tensor.numel() * tensor.element_size()
        alive.append(tensor)
        return tensor

    alive: list[Tensor] = []
    own = {id(weight) for weight in network.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        flop = flop_of(lambda: torch.autograd.grad(loss(), list(network.parameters()), allow_unused=True))
    return flop, sum(size for name, size in kept.items() if name not in own)


def plan(
    recipe: Recipe, *, persons: int, ranks: Sequence[int] = (1, 2, 4, 8), hardware: Hardware = ACCELERATOR
) -> dict[str, Any]:
    """Memory, hours and energy of the recipe's shared stages on ``persons``, for each number of ``ranks``; ready for JSON.

    The recipe's steps are for 1,000 persons; more take proportionally more, so that each is seen as often. Raises
    :class:`RequestError` for numbers below 1.
    """
    if persons < 1 or not ranks or min(ranks) < 1:
        raise RequestError(f"{persons} persons on {list(ranks)} ranks is no training; give numbers from 1")
    often = max(1.0, persons / 1000)
    stages = [replace(stage, steps=math.ceil(stage.steps * often)) for stage in stage_costs(recipe)]
    image = recipe.model.image
    rows = []
    for n in ranks:
        seconds = sum(stage.seconds(n, hardware) for stage in stages)
        rows.append(
            {
                "ranks": n,
                "hours": round(seconds / 3600, 2),
                "memory_gib_a_rank": round(max(stage.bytes(n) for stage in stages) / 2**30, 2),
                "kwh": round(seconds * n * hardware.watts / 3.6e6, 2),
            }
        )
    return {
        "recipe": recipe.name,
        "persons": persons,
        "voxels": image.channels * math.prod(image.grid),
        "tokens": image.tokens,
        "store_gib": round(STORED * persons * image.channels * math.prod(image.grid) / 2**30, 1),
        "hardware": asdict(hardware),
        "stages": [asdict(stage) for stage in stages],
        "training": rows,
    }
