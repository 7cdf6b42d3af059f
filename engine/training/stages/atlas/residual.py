"""What tokens do not tell of how a person lies in the atlas: mean and SD of the registration's residual at each place of it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from engine.model.nn.atlas_autoencoder import SHARED, AtlasAutoencoder
from engine.model.nn.warp import displacement
from engine.training.stages.atlas.below import SHARE, within
from engine.training.stages.atlas.fit import AtlasTraining, Cohort, Lower
from engine.training.stages.atlas.registration import splatted


@torch.no_grad()
def fit_residual(
    coder: AtlasAutoencoder,
    cohort: Cohort,
    fields: Mapping[int, Float[Tensor, "3 x2 y2 z2"]],
    config: AtlasTraining,
    lower: Lower | None = None,
) -> None:
    """Set ``coder.residual`` by the ``cohort``, whose rows lie in the atlas by the ``fields`` (voxels).

    Only within the structures that were compared at full resolution and, less of it, in what is ``lower``: elsewhere a residual is
    mostly a slide along a border, of which a draw would make waves.
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
    inside = torch.isin(coder.anatomy.cpu(), compared).float()
    where = torch.stack([inside, inside])
    if lower is not None:
        where = where + (1 - inside) * lower.share * torch.stack(
            [torch.ones_like(inside), SHARE * within(coder.template.cpu())]
        )
    drawn = torch.cat([where[:1] * mean[:3], where[1:] * spread])
    coder.residual.copy_(nn.functional.avg_pool3d(drawn, SHARED))
