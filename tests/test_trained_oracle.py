"""A small network trained on the closed-form mixture of :mod:`tests.test_oracle` reaches its conditional means."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.flow import Joint
from engine.model import JointModel, ModelConfig
from engine.nn.autoencoder import AutoencoderConfig
from engine.nn.transformer import TransformerConfig
from engine.sample import Known, sample
from engine.training.flow import FlowTraining, train_flow
from tests.test_oracle import GROUP, GROUP_GIVEN, POINT, SCHEMA, SIDE, SUBSETS, TRUTH, Conditional

#: training persons, steps, and draws of every conditional
PERSONS, STEPS, DRAWS = 12000, 700, 1000


def tokens(image: Tensor) -> Tensor:
    """Voxels (n, 512) as 4 x 4 x 4 tokens of 2 x 2 x 2 voxels (n, 64, 8)."""
    half = SIDE // 2
    cubes = image.reshape(-1, half, 2, half, 2, half, 2).permute(0, 1, 3, 5, 2, 4, 6)
    return cubes.reshape(-1, half**3, 8).float()


def trained(run_dir: Path) -> JointModel:
    group, x, image = TRUTH.draw(PERSONS, 1)
    rows = [
        {"first": float(a), "second": float(b), "group": GROUP.levels[c]} for (a, b), c in zip(x, group, strict=True)
    ]
    torch.manual_seed(0)
    config = ModelConfig(
        image=AutoencoderConfig(grid=(64, 64, 64), latent=8, widths=(4, 4, 4, 4), blocks=1),
        flow=TransformerConfig(width=48, depth=2, heads=4, fusion=False),
        table_rank=4,
        shift=1.0,
    )
    model = JointModel(config, SCHEMA.fitted(rows))
    model.autoencoder.logvar.data.fill_(-30.0)  # nothing is encoded, and nothing blurred
    training = FlowTraining(steps=STEPS, batch=96, warmup=50, constant=350, table_weight=1.0, bfloat16=False)
    for _ in train_flow(model, tokens(image)[:, None], rows, training, run_dir=run_dir, seed=0):
        pass
    return model


@torch.inference_mode()
def draws(model: JointModel, given: tuple[bool, ...]) -> tuple[Tensor, Tensor]:
    """Shares of the levels, and numbers and then voxels (n, 514) with those of the image in the order of tokens."""
    schema, rng = model.schema, torch.Generator().manual_seed(1)
    row = {"first": float(POINT[0]), "second": float(POINT[1]), "group": GROUP.levels[GROUP_GIVEN]}
    known = {name: row[name] for name, here in zip(schema.names, given[1:], strict=True) if here}
    table, here = (torch.from_numpy(part) for part in schema.encode([known] * DRAWS))
    clean = Joint(model.standardise(tokens(POINT[None, 2:])).repeat(DRAWS, 1, 1), table)
    noise = Joint(torch.randn(clean.image.shape, generator=rng), torch.randn(table.shape, generator=rng) * model.mask)
    held = Known(clean, torch.full((DRAWS,), given[0]), here)
    out = sample(model.velocity, noise, held, evaluations=16, linear=model.linear)
    found = schema.decode(out.table.numpy(), [known] * DRAWS)
    shares = torch.tensor([sum(r["group"] == level for r in found) / DRAWS for level in GROUP.levels])
    numbers = torch.tensor([[r["first"], r["second"]] for r in found])
    return shares, torch.cat([numbers, model.restore(out.image).flatten(1)], 1).double()


@pytest.mark.slow
def test_a_trained_network_reaches_the_conditional_means(tmp_path: Path) -> None:
    """Of all 15 subsets, within 10% of a standard deviation (beside what so few draws can tell)."""
    model, off = trained(tmp_path), {}
    for given in SUBSETS[:-1]:
        law = Conditional.of(TRUTH, POINT, GROUP_GIVEN, given)
        free = [i for i, here in enumerate(given[1:3]) if not here] + ([] if given[0] else list(range(2, len(POINT))))
        shares, values = draws(model, given)
        mean = torch.zeros(len(POINT), dtype=torch.float64)
        second = torch.zeros_like(mean)
        mean[free] = law.mean()
        second[free] = law.weights @ (law.means**2 + law.roots.square().sum(-1))
        sd = (second - mean**2).clamp(min=1e-12).sqrt()
        mean, sd = (torch.cat([v[:2], tokens(v[None, 2:]).flatten().double()]) for v in (mean, sd))
        error = ((values.mean(0) - mean) / sd).abs()
        for i, name in enumerate(SCHEMA.names[:2]):
            if not given[1 + i]:
                off[given, name] = float(error[i])
        if not given[0]:
            off[given, "image"] = float(error[2:].square().mean().sqrt())
        if not given[3]:
            off[given, "group"] = float(((shares - law.weights) / (law.weights * (1 - law.weights)).sqrt()).abs().max())
    chance = 2.5 / DRAWS**0.5
    print({f"{''.join('ifsg'[i] for i in range(4) if g[i])}>{n}": round(v, 3) for (g, n), v in off.items()})
    assert {key: value for key, value in off.items() if value > 0.1 + chance} == {}
