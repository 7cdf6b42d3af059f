"""A segmenter that begins with the weights of another one: of the same sizes, but for the classes it tells apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from engine.measure.segmenter import Segmenter
from engine.vocabulary.refusal import ConfigError

#: voxels that the last convolution scores at once (:func:`engine.model.nn.autoencoder.depth_to_space`)
CUBE = 8


def inherit(net: Segmenter, weights: Mapping[str, Tensor], classes: Sequence[str], parents: Mapping[str, str]) -> None:
    """Take ``weights`` of a segmenter of ``classes``; a class that it had not begins as its parent.

    ``parents`` names a known class for each new one. Raises :class:`ConfigError` for a class without either, and for
    weights of other sizes.
    """
    sources = []
    for name in net.config.classes:
        parent = name if name in classes else parents.get(name, "")
        if parent not in classes:
            raise ConfigError(f"class {name!r} has nothing to begin with; name its parent among {', '.join(classes)}")
        sources.append(list(classes).index(parent))
    with torch.no_grad():
        for name, own in net.named_parameters():
            if name not in weights:
                raise ConfigError(f"the weights to begin with lack {name}; give those of a network of the same sizes")
            found = weights[name].to(own)
            for axis, size in enumerate(found.shape):
                if own.shape[axis] != size:
                    found = _chosen(found, axis, own.shape[axis], sources, len(classes))
            if found.shape != own.shape:
                raise ConfigError(f"the weights to begin with have {name} of {tuple(found.shape)}; give others")
            own.copy_(found)


def _chosen(found: Tensor, axis: int, wanted: int, sources: Sequence[int], known: int) -> Tensor:
    """Rows of the classes along an axis: 8 a class, or one a class with what else the network sees behind."""
    size = found.shape[axis]
    if size == CUBE * known and wanted == CUBE * len(sources):
        rows = [CUBE * source + part for source in sources for part in range(CUBE)]
    elif wanted - len(sources) == size - known:
        rows = [*sources, *range(known, size)]
    else:
        return found
    return found.index_select(axis, torch.tensor(rows))
