"""What the flow learns from: persons' latents and rows, and the noised examples that a step makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from engine.model.flow import Joint, Levels, NoiseMixture
from engine.model.joint import JointModel
from engine.training.augment import Augmentation
from engine.training.run import Schedule, step_generator
from engine.training.world import Shard

#: the columns' state (n, k, d), which cells are known (n, k), and versions of the state (v, n, k, d)
Tables = tuple[Float[Tensor, "n k d"], Bool[Tensor, "n k"], Float[Tensor, "v n k d"]]


class Latents(NamedTuple):
    """Bare latents of persons in deformed copies, of image (n, copies, tokens, latent) and mask (n, copies, tokens, m), and
    who has a mask (n,)."""

    image: Tensor
    mask: Tensor
    has_mask: Tensor

    @classmethod
    def of_scans(cls, image: Float[Tensor, "n copies tokens latent"]) -> Latents:
        """Of persons without masks."""
        return cls(image, image.new_zeros(*image.shape[:3], 0), torch.zeros(len(image), dtype=torch.bool))

    @classmethod
    def of_rows(cls, persons: int) -> Latents:
        """Of persons with neither scan nor mask."""
        return cls.of_scans(torch.zeros(persons, 1, 0, 1))


@dataclass(frozen=True, kw_only=True)
class FlowTraining(Schedule):
    """How the flow is trained. ``copies`` deformed versions of every person are encoded once and kept; ``whitening``
    is the exponent of :meth:`JointModel.fit_standardisation`; ``table_weight`` and ``mask_weight`` balance columns and mask
    against the image.
    A value that owns an interval of scores stands at its middle where it is given, and where it is to be made anywhere in
    it, as in ``table_versions`` drawn beforehand. With ``fsdp`` several ranks keep a part each of the network and of what the
    optimizer knows of it (FSDP2), where they would else keep all of it each."""

    steps: int = 20000
    batch: int = 16
    warmup: int = 200
    constant: int = 2000
    copies: int = 8
    whitening: float = 0.0
    table_weight: float = 0.3
    mask_weight: float = 0.5
    table_versions: int = 16
    bfloat16: bool = True
    fsdp: bool = False
    mixture: NoiseMixture = field(default_factory=NoiseMixture)
    augmentation: Augmentation = field(default_factory=Augmentation)


class Examples(NamedTuple):
    """Clean states of examples, their noise, their levels, which cells are known (b, k), and who has a mask (b,)."""

    clean: Joint
    noise: Joint
    levels: Levels
    here: Tensor
    has_mask: Tensor


def _weights(
    levels: Levels,
    here: Bool[Tensor, "b k"],
    has_mask: Bool[Tensor, " b"],
    codes: Bool[Tensor, "k d"],
    shard: Shard,
) -> Joint:
    """What makes a shard's means (:func:`flow_loss`) their part of the means over what all examples have to be made."""
    image, mask = levels.image > 0, has_mask & (levels.mask > 0)
    cells = here & (levels.table > 0)
    table = (cells[..., None] & codes).sum((1, 2))
    return Joint(*(shard.part(made[shard.rows].sum(), made.sum()) for made in (image, table, mask)))


@torch.no_grad()
def examples_of(
    model: JointModel,
    latents: Latents,
    tables: Tables,
    config: FlowTraining,
    seed: int,
    step: int,
    shard: Shard,
    pick: Int[Tensor, " batch"] | None = None,
) -> tuple[Examples, Joint]:
    """The shard of a step's examples, drawn among all of them, and the weights of its errors. Without ``pick`` each is of a
    random person."""
    (state, known, spread), device, mine = tables, model.centre.device, shard.rows
    generator = step_generator(seed, step)
    if pick is None:
        pick = torch.randint(len(latents.image), (config.batch,), generator=generator)
    batch = len(pick)
    copy = torch.randint(latents.image.shape[1], (batch,), generator=generator)
    levels = config.mixture.draw(
        batch, known.shape[1], generator, model.config.shift, masks=bool(latents.has_mask.any())
    )
    drawn = generator if device.type == "cpu" else step_generator(seed, step, device)

    def normal(part: Tensor) -> Tensor:
        """Noise of the whole batch, as many numbers as ``part``, this rank's examples, has each; the shard of it."""
        return torch.randn((batch, *part.shape[1:]), generator=drawn, device=device)[mine]

    index = pick.to(device)
    here, has_mask = known[index], latents.has_mask[index]
    levels = Levels(
        levels.image.to(device),
        torch.where(here, levels.table.to(device), 1.0),
        torch.where(has_mask, levels.mask.to(device), 1.0),
    )
    weights = _weights(levels, here, has_mask, model.codes, shard)
    levels, here, has_mask = Levels(*(part[mine] for part in levels)), here[mine], has_mask[mine]
    index = index[mine]
    bare, mask = (part[index, copy[mine].to(device)].float() for part in latents[:2])
    given = here & (levels.table == 0)
    jitter = normal(bare)
    if model.has_image:
        bare = bare + torch.exp(0.5 * model.autoencoder.logvar) * jitter
    version = torch.randint(len(spread), (batch,), generator=generator)[mine].to(device)
    table = torch.where(given[..., None], state[index], spread[version, index])
    if model.has_mask:
        mask = model.standardise_mask(mask + torch.exp(0.5 * model.mask_autoencoder.logvar) * normal(mask))
    clean = Joint(model.standardise(model.fuse(bare, table, given)), table, mask)
    noise = Joint(*(normal(part) for part in clean))
    return Examples(clean, noise, levels, here, has_mask), weights


def tables_of(
    model: JointModel, rows: Sequence[Mapping[str, Any]], versions: int, seed: int, device: torch.device
) -> Tables:
    """The columns' state, which cells are known, and versions of the state (:meth:`AttributeSchema.encode`)."""
    state, known = model.schema.encode(rows)
    spread = [model.schema.encode(rows, np.random.default_rng([seed, v]))[0] for v in range(versions)]
    return (
        torch.from_numpy(state).to(device),
        torch.from_numpy(known).to(device),
        torch.from_numpy(np.stack(spread)).to(device),
    )
