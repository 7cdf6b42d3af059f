"""The cohort as the autoencoders of a cascade see it, on their grid.

All stages on tokens stand on it, and are as cheap as of scans of that size; the local stages see the store itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.lib.format import open_memmap
from torch import Tensor

from engine.cohort.store import CohortStore
from engine.model.nn.cascade import Cascade
from engine.storage.whole import refusing, whole_directory
from engine.training.run import Progress, RunError

#: the folder of a run directory that holds it
FOLDER = "coarse"


def make_coarser(
    store: CohortStore, rows: Int[np.ndarray, " n"], cascade: Cascade, run_dir: Path
) -> Iterator[Progress]:
    """Put the store's ``rows`` into ``run_dir`` on the coarse grid, once; yields progress. Raises :class:`RunError` where the disk
    refuses."""
    folder, began = run_dir / FOLDER, time.monotonic()
    if cascade.by == 1 or folder.is_dir():
        return
    with refusing(folder, RunError), whole_directory(folder) as part:
        arrays = {name: _empty(part / f"{name}.npy", array, cascade) for name, array in _arrays(store).items()}
        for k, row in enumerate(rows):
            scan = cascade.coarser(torch.from_numpy(np.array(store.volumes[row])).float()[None])
            arrays["volumes"][row] = scan[0].round().to(torch.uint8).numpy()
            inside = cascade.coarser(torch.from_numpy(np.array(store.mask[row])).float()[None, None])
            arrays["mask"][row] = (inside[0, 0] >= 0.5).numpy()
            if store.labels is not None and store.labelled[row]:
                arrays["labels"][row] = cascade.coarser_labels(_codes(store.labels[row]))[0].numpy()
            yield Progress("coarse", k + 1, len(rows), time.monotonic() - began, {})
        for array in arrays.values():
            array.flush()


def coarse_store(store: CohortStore, cascade: Cascade, run_dir: Path) -> CohortStore:
    """The store as :func:`make_coarser` left it in ``run_dir``; of rows that it was not asked for there is nothing in it."""
    if cascade.by == 1:
        return store
    arrays = {name: np.load(run_dir / FOLDER / f"{name}.npy", mmap_mode="r") for name in _arrays(store)}
    affine = store.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ ((cascade.by - 1) / 2 - np.array(cascade.margin))
    affine[:3, :3] *= cascade.by
    meta: dict[str, Any] = {
        **store.meta,
        "grid": list(cascade.coded),
        "spacing": [cascade.by * mm for mm in store.spacing],
        "affine": affine.tolist(),
    }
    return replace(store, meta=meta, **arrays)


def _arrays(store: CohortStore) -> dict[str, Any]:
    found = {"volumes": store.volumes, "mask": store.mask}
    return found if store.labels is None else {**found, "labels": store.labels}


def _empty(path: Path, like: Any, cascade: Cascade) -> np.memmap:
    """An array of zeros for what one of a store's holds, on the coarse grid."""
    shape = (*like.shape[:-3], *cascade.coded)
    return open_memmap(path, mode="w+", dtype=like.dtype, shape=shape)


def _codes(labels: Any) -> Tensor:
    return torch.from_numpy(np.array(labels))[None]
