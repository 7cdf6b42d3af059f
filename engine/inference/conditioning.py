"""What is known of persons: the only maker of :class:`engine.model.sampler.Known`, for every ask.

The leak to avoid: a scan is encoded with the columns that are given and with no other, so that an image token never carries
a value that is to be inferred from it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from engine.model.flow import Joint
from engine.model.joint import JointModel
from engine.model.sampler import Known
from engine.vocabulary.refusal import RequestError
from engine.vocabulary.schema import Row

#: voxels of a scan on the model's grid (:meth:`engine.checkpoints.checkpoint.Checkpoint.on_grid`)
Voxels = Float[Tensor, "c x y z"]
#: classes of a segmentation on the model's grid
Labels = UInt8[Tensor, "x y z"]


def given_rows(net: JointModel, rows: Sequence[Row]) -> Known:
    """The cells that each of the ``rows`` has; nobody's scan or mask is known. ``net`` is the network that is asked."""
    image = net.config.image
    table, given = _cells(net, rows)
    value = Joint(
        table.new_zeros(len(rows), image.tokens, image.latent),
        table,
        table.new_zeros(len(rows), image.tokens, net.mask_latent),
    )
    nobody = torch.zeros_like(given[:, 0])
    return Known(value, nobody, given, nobody.clone())


def given_scans(net: JointModel, rows: Sequence[Row], scans: Sequence[Voxels | None]) -> Known:
    """The cells that each of the ``rows`` has, and its scan where there is one, encoded with these cells alone."""
    known = given_rows(net, rows)
    for i, voxels in enumerate(scans):
        if voxels is not None:
            one = slice(i, i + 1)
            coded = net.encode(voxels[None].to(known.image.device), known.value.table[one], known.table[one])
            known.value.image[i] = coded[0]
            known.image[i] = True
    return known


def with_masks(net: JointModel, known: Known, masks: Sequence[Labels | None], *, drawn: bool = False) -> Known:
    """What is ``known``, and of each person its mask where there is one; with ``drawn`` the others' are drawn, else unknown.

    Raises :class:`RequestError` for a model without masks.
    """
    if not net.has_mask:
        if drawn or any(mask is not None for mask in masks):
            raise RequestError("the model knows no masks; choose one that was trained on label maps")
        return known
    tokens, given = known.value.mask.clone(), known.mask.clone()
    for i, labels in enumerate(masks):
        if labels is not None:
            tokens[i] = net.encode_mask(labels[None].to(tokens.device))[0]
            given[i] = True
    return known._replace(value=known.value._replace(mask=tokens), mask=given, draws_mask=drawn)


def given_again(known: Known, samples: int) -> Known:
    """What is known of one person, ``samples`` times over."""
    value = Joint(*(part.expand(samples, -1, -1) for part in known.value))
    given = (known.image.expand(samples), known.table.expand(samples, -1), known.mask.expand(samples))
    return Known(value, *given, known.draws_mask)


def given_for_inversion(net: JointModel, row: Row, voxels: Voxels, held: Collection[str]) -> Known:
    """Of a whole ``row`` the ``held`` columns; the other cells and the scan, encoded with the held ones, are the clean
    values from which the flow is run backwards, and not themselves known."""
    table, _ = _cells(net, [row])
    given = torch.tensor([[column.name in held for column in net.schema.columns]], device=table.device)
    value = given_rows(net, [row]).value
    image = net.encode(voxels[None].to(table.device), table, given)
    nobody = torch.zeros(1, dtype=torch.bool, device=table.device)
    return Known(value._replace(image=image), nobody, given, nobody.clone())


def given_otherwise(net: JointModel, known: Known, noise: Joint, target: Row, mask: Labels | None = None) -> Known:
    """Two rows for the same columns: first what is ``known`` of the one person, then their values in the row ``target``, and the
    ``mask``, where it is another than the known one.

    No scan is known; in its place stands the image of the ``noise`` that both start from.
    """
    table, _ = _cells(net, [target])
    other = known.value.mask if mask is None else net.encode_mask(mask[None].to(table.device))
    both = Joint(
        noise.image.expand(2, -1, -1),
        torch.cat([known.value.table, table]),
        torch.cat([known.value.mask, other]) if bool(known.mask.all()) else noise.mask.expand(2, -1, -1),
    )
    return Known(both, known.image.expand(2), known.table.expand(2, -1), known.mask.expand(2))


def _cells(net: JointModel, rows: Sequence[Row]) -> tuple[Float[Tensor, "b k d"], Tensor]:
    """States of the rows' cells, and which of them there are."""
    table, given = (torch.from_numpy(part).to(net.codes.device) for part in net.schema.encode(rows))
    return table, given
