"""A small training to be started by torchrun: ``small_run.py RUN_DIR``; at the first try rank 1 is killed in the middle of it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from engine.training.loop import Limits, Loss, Objective, optimise
from engine.training.run import Stage, step_generator
from engine.training.world import World, joined

STEPS, BATCH, KILLED_AT = 12, 6, 5


def fitted(run_dir: Path, world: World, *, killed: bool = False) -> torch.Tensor:
    """The weights of a net after :data:`STEPS` steps, saved after each; rank 1 is ``killed`` before one of them."""
    run_dir.mkdir(exist_ok=True, parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1))
    stage = Stage("net", run_dir, net, world=world)
    stage.load()
    objective = squares(stage)

    def loss(step: int) -> Loss:
        if killed and world.rank == 1 and step == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)
        return objective(step)

    for _ in optimise(stage, loss, lambda step: 0.05, Limits(steps=STEPS, save_every=0.0)):
        pass
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def squares(stage: Stage) -> Objective:
    """Squared error of y = x0 + 2 x1 on points of the step's own, of this rank's share of them."""
    shard = stage.world.shard(BATCH)

    def loss(step: int) -> Loss:
        x = torch.randn(BATCH, 2, generator=step_generator(3, step))[shard.rows]
        error = shard.weight * (stage.modules(x)[:, 0] - x @ torch.tensor([1.0, 2.0])).square().mean()
        return Loss(error, {"error": error})

    return loss


def main(run_dir: Path) -> None:
    torch.set_num_threads(1)
    first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    with joined("cpu") as world:
        found = fitted(run_dir, world, killed=first)
        if world.leads:
            torch.save({"weights": found, "first": first}, run_dir / "end.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
