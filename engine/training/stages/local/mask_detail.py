"""After the mask's refiner: what tokens do not tell of a mask is learned to be drawn, on crops; all else stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from engine.cohort.store import CohortStore
from engine.inference.conditioning import given_rows
from engine.inference.generate import IMAGE_POWER
from engine.model.flow import shifted
from engine.model.joint import JointModel
from engine.model.nn.large import encoded, encoded_mask
from engine.model.nn.mask_detail import MaskDetail, in_cells
from engine.model.sampler import integrate, schedule
from engine.training.loop import Limits, Loss, Objective, ReadAhead
from engine.training.run import Progress, RunError, Schedule, bfloat16_is_fast
from engine.training.stages.autoencoder import load_batch
from engine.training.stages.local.crops import CropConfig, Crops, Read, begun, learn
from engine.training.stages.mask import class_of_code, load_masks

#: network evaluations of tokens that are redrawn, and how many of them, the last ones, are done
REDRAWN_STEPS, REDRAWN = 6, 2


@dataclass(frozen=True, kw_only=True)
class MaskDetailTraining(Schedule):
    """How the masks' detail is learned, on ``crops``. In the share ``mean`` of the examples the state is noise alone (t = 1), all
    that a draw of one evaluation sees, in the others t is even, and shifted. The share ``redrawn`` of the persons has tokens that
    the flow ended, from a low noise level on: as a draw's are, and still theirs."""

    steps: int = 4000
    crops: CropConfig = field(default_factory=CropConfig)
    constant: int = 1000
    mean: float = 0.9
    redrawn: float = 0.5
    bfloat16: bool = True


def train_mask_detail(
    model: JointModel,
    store: CohortStore,
    rows: Int[np.ndarray, " n"],
    config: MaskDetailTraining,
    *,
    run_dir: Path,
    seed: int,
    deadline: float | None = None,
    save_every: float = 120.0,
) -> Iterator[Progress]:
    """Train ``model.mask_detail`` on those of the store's ``rows`` who have labels, until ``config.steps`` or the ``deadline``;
    yields progress. Resumes from ``run_dir``; ends with the averaged weights in ``model``. Losses are cross-entropies in nats a
    voxel, ``mean`` of noise alone. Raises :class:`RunError` for a store without labels."""
    rows = rows[store.labelled[rows]]
    classes = model.config.mask or model.config.detail
    if not len(rows) or classes is None:
        raise RunError(f"no training person of {store.path} has a label map; make the store with --labels")
    table = class_of_code(classes)
    device = model.centre.device
    fast = config.bfloat16 and bfloat16_is_fast(device)
    net = model.mask_detail
    stage, _ = begun(model, net, "mask_detail", run_dir)

    @torch.no_grad()
    def make(row: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """What the tokens decode to, scan and class scores, and the classes."""
        labels = load_masks(store, np.array([row]), table).to(device)
        image, mask = _tokens(model, store, row, labels, config, generator, fast)
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            base = model.decode(image).float()
            scores = model.mask_scores(mask)[:, :, None] if model.has_mask else model.tissues(base, [(0, 0, 0)])
        return base[0], scores[0].half(), labels.reshape(net.maps, *store.grid)

    def objective(read: ReadAhead[Read]) -> Objective:
        return labels_error(net, read, config.mean, fast)

    crops = Crops(make, rows, store.grid, config.crops, seed + 52)
    limits = Limits(steps=config.steps, deadline=deadline, save_every=save_every)
    yield from learn(stage, crops, objective, config.learning_rate, limits)


def _tokens(
    model: JointModel,
    store: CohortStore,
    row: int,
    labels: UInt8[Tensor, "1 *m x y z"],
    config: MaskDetailTraining,
    generator: torch.Generator,
    fast: bool,
) -> tuple[Float[Tensor, "1 n c"], Float[Tensor, "1 n m"]]:
    """The diffused states of a person's scan and mask (0 channels where the model knows none), with the noise of their posterior
    or, in the share ``config.redrawn``, ended by the flow."""
    device, known = model.centre.device, given_rows(model, [store.rows[row]])
    scan = load_batch(store, np.array([row]), device)[:, :-1]

    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator).to(device)

    mask = known.value.mask
    with torch.autocast(device.type, torch.bfloat16, enabled=fast):
        means = encoded(model.autoencoder, scan, model.cascade).float()
        tokens = model.autoencoder.posterior(means, noise(means))
        if model.has_mask:
            coded = encoded_mask(model.mask_autoencoder, labels, model.cascade).float()
            mask = model.standardise_mask(model.mask_autoencoder.posterior(coded, noise(coded)))
    state = known.value._replace(image=model.standardise(model.fuse(tokens, known.value.table, known.table)), mask=mask)
    if bool(torch.rand((), generator=generator) >= config.redrawn):
        return state.image, state.mask
    times = schedule(REDRAWN_STEPS, power=IMAGE_POWER)
    times = times[-2 - int(torch.randint(REDRAWN, (), generator=generator)) :]
    level = shifted(times[0], model.config.shift)
    noisy = state._replace(
        image=(1 - level) * state.image + level * noise(state.image),
        mask=(1 - level) * state.mask + level * noise(state.mask),
    )
    *_, last = integrate(model.velocity, noisy, known, times, shift=model.config.shift, linear=model.linear(known))
    return last.image, last.mask


def labels_error(net: MaskDetail, read: ReadAhead[Read], mean: float, fast: bool) -> Objective:
    """Cross-entropy of the classes beside a state of any noise level, in the share ``mean`` of noise alone; ``read`` gives decoded
    scans, scores and classes."""

    def loss(step: int) -> Loss:
        (base, scores, labels), corners, generator = read(step)
        device = base.device
        t = shifted(torch.rand(len(base), generator=generator), net.shift)
        t = torch.where(torch.rand(len(base), generator=generator) < mean, 1.0, t).to(device)
        codes = in_cells(net.codes[labels.long()].movedim(-1, 1))
        noise = torch.randn(codes.shape, generator=generator).to(device)
        at = t.reshape(-1, 1, 1, 1, 1, 1)
        state = (1 - at) * codes + at * noise
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            found = net(state, t, base, scores.float(), corners)
        error = torch.nn.functional.cross_entropy(found.float(), labels.long(), reduction="none").flatten(1).mean(1)
        alone = t == 1
        some = error[alone].mean() if bool(alone.any()) else error.mean()
        return Loss(error.mean(), {"entropy": error.mean(), "mean": some})

    return loss
