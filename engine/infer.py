"""Scan to attributes: draws from p(missing columns | bare scan, given columns)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from engine.attributes import Row
from engine.flow import Joint
from engine.generate import Model, RequestError
from engine.sample import Known, person_noise, sample
from engine.volume import Volume


@torch.inference_mode()
def infer(
    model: Model,
    volume: Volume,
    given: Mapping[str, Any] | None = None,
    *,
    samples: int = 64,
    seed: int = 0,
    steps: int = 8,
) -> list[Row]:
    """``samples`` draws of the whole table of the person in ``volume``, the ``given`` columns held.

    The scan is encoded without any column that is not given (the leak to avoid), and guidance is off. ``volume`` must lie
    on the model's grid (:func:`engine.cohort.preprocess.preprocess` brings it there). Raises :class:`RequestError`
    when it does not, :class:`engine.attributes.AttributeValueError` for an impossible given value.
    """
    net = model.checkpoint.model
    image = net.config.image
    data = np.asarray(volume.data, np.float32).reshape(-1, *volume.grid)
    if data.shape != (image.channels, *image.grid):
        raise RequestError(
            f"the scan has shape {data.shape}, the model's grid is {(image.channels, *image.grid)}; preprocess it"
        )
    row = model.schema.resolve(given or {})
    table, known = (torch.from_numpy(part).to(model.device) for part in model.schema.encode([row]))
    coded = net.encode(torch.from_numpy(data[None]).to(model.device), table, known)
    noise = person_noise(list(range(seed, seed + samples)), image.tokens, image.latent, net.mask.cpu(), model.device)
    everyone = torch.ones(samples, dtype=torch.bool, device=model.device)
    clean = Joint(coded.expand(samples, -1, -1), table.expand(samples, -1, -1))
    held = Known(clean, everyone, known.expand(samples, -1))
    state = sample(net.velocity, noise, held, evaluations=steps, linear=net.linear)
    rows = model.schema.decode(state.table.cpu().numpy(), [row] * samples)
    return [{name: r[name] for name in model.schema.names} for r in rows]
