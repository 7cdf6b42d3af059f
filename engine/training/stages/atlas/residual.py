"""What tokens do not tell of how a person lies in the atlas: mean and SD of the registration's residual at each place of it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from engine.model.nn.atlas_autoencoder import SHARED, AtlasAutoencoder
from engine.model.nn.warp import displacement
from engine.training.stages.atlas.fit import AtlasTraining, Cohort
from engine.training.stages.atlas.registration import splatted


@torch.no_grad()
def fit_residual(
    coder: AtlasAutoencoder, cohort: Cohort, fields: Mapping[int, Float[Tensor, "3 x2 y2 z2"]], config: AtlasTraining
) -> None:
    """Set ``coder.residual`` by the ``cohort``, whose rows lie in the atlas by the ``fields`` (voxels).

    Only within the structures that were compared at full resolution: elsewhere a residual is mostly a slide along a border, of
    which a draw would make waves.
    """
    device = coder.residual.device
    summed, weight = torch.zeros(4, *coder.grid), torch.zeros(coder.grid)
    for k, row in enumerate(cohort.rows):
        field = fields[int(row)].float()
        told = coder.field(coder.encode(cohort.labels(k)[None].to(device)))[0].float().cpu()
        missed = field - told
        values = torch.cat([missed, missed.square().mean(0, keepdim=True)])
        found, counts = splatted(displacement(values[None])[0], field)
        summed, weight = summed + found, weight + counts
    mean = summed / weight.clamp(min=1e-3)
    spread = (mean[3:] - mean[:3].square().mean(0, keepdim=True)).clamp(min=0).sqrt()
    names = [name for group in config.outlines for name in group]
    compared = torch.tensor([coder.config.classes.index(name) for name in names], dtype=torch.uint8)
    inside = torch.isin(coder.anatomy.cpu(), compared)
    coder.residual.copy_(nn.functional.avg_pool3d(inside * torch.cat([mean[:3], spread]), SHARED))
