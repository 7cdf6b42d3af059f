"""The atlas stage: groupwise registration without a chosen person (Joshi et al., NeuroImage 23, 2004).

The atlas starts as the mean of all persons. Each round moves every person's field towards it, and the atlas becomes the mean of the
persons as they lie in it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from engine.cohort.store import CohortStore
from engine.model.config import MaskConfig
from engine.model.nn.atlas_autoencoder import AtlasAutoencoder
from engine.model.nn.tiles.boxes import box_about
from engine.model.nn.warp import STRIDE
from engine.training.journal import stop_asked
from engine.training.run import Progress, RunError, load_tensors, save_tensors
from engine.training.stages.atlas.below import box_below, moved_below, share_below, sharpened
from engine.training.stages.atlas.registration import Box, Parts, Pass, registered, splatted
from engine.training.stages.mask import class_of_code, load_masks

#: the stage's file in a run directory
ATLAS = "atlas.safetensors"
#: how much of persons must have a structure where it is compared at full resolution, and the voxels about it
PRESENT, MARGIN = 0.02, 4
#: share of persons from which a voxel of the atlas is of a structure
EVEN = 0.5


@dataclass(frozen=True, kw_only=True)
class AtlasTraining:
    """The ``rounds`` of the registration, each of one or more passes, of at most so many ``persons``, and the classes whose
    ``outlines`` are compared beside the scans; full resolution is for a box about all but the ``outer`` ones. Then the rounds of
    what lies ``below`` it (:mod:`engine.training.stages.atlas.below`)."""

    rounds: tuple[tuple[Pass, ...], ...] = (
        (Pass(15, 2.0, 0.3, False), Pass(15, 1.2, 0.2, False)),
        (Pass(14, 1.0, 0.15, False), Pass(10, 0.8, 0.1, True)),
        (Pass(8, 0.8, 0.1, True), Pass(6, 0.6, 0.1, True)),
        (Pass(10, 0.8, 0.1, False), Pass(10, 0.6, 0.1, True)),
        (Pass(10, 0.5, 0.08, True),),
    )
    below: tuple[tuple[Pass, ...], ...] = (
        (Pass(14, 2.0, 0.3, False), Pass(10, 1.2, 0.2, True)),
        (Pass(10, 1.2, 0.15, True), Pass(8, 0.9, 0.1, True)),
        (Pass(10, 0.8, 0.1, True), Pass(8, 0.6, 0.08, True)),
        (Pass(10, 0.6, 0.08, True),),
    )
    persons: int = 128
    outlines: tuple[tuple[str, ...], ...] = (
        ("cortex left", "cortex right"),
        ("white matter",),
        ("ventricles",),
        ("deep grey matter",),
        ("cerebellum",),
    )
    outer: tuple[tuple[str, ...], ...] = (("scalp",),)


@dataclass(frozen=True, eq=False)
class Cohort:
    """Those who are registered: ``rows`` of the store, their classes by ``table``, the outlines' class indices."""

    store: CohortStore
    rows: Int[np.ndarray, " n"]
    table: UInt8[np.ndarray, " codes"]
    outlines: list[list[int]]

    @classmethod
    def of(cls, store: CohortStore, rows: Int[np.ndarray, " n"], mask: MaskConfig, config: AtlasTraining) -> Cohort:
        """Every so manieth of the labelled ``rows``; raises :class:`RunError` where there is none."""
        rows = rows[store.labelled[rows]]
        if not len(rows):
            raise RunError(f"no training person of {store.path} has a label map; leave the mask out")
        outlines = [[mask.classes.index(name) for name in names] for names in (*config.outlines, *config.outer)]
        chosen = rows[:: -(-len(rows) // config.persons)]
        return cls(store, chosen, class_of_code(mask), outlines)

    def labels(self, k: int) -> UInt8[Tensor, "x y z"]:
        return load_masks(self.store, self.rows[k : k + 1], self.table)[0]

    def parts(self, k: int) -> Parts:
        labels = self.labels(k)
        scan = torch.from_numpy(np.array(self.store.volumes[self.rows[k]])).float() / 255
        shares = [torch.isin(labels, torch.tensor(group, dtype=torch.uint8)).float() for group in self.outlines]
        return Parts(scan, torch.stack(shares) if shares else scan[:0])


def fit_atlas(
    coder: AtlasAutoencoder,
    store: CohortStore,
    rows: Int[np.ndarray, " n"],
    config: AtlasTraining,
    *,
    run_dir: Path,
    deadline: float | None = None,
) -> Iterator[Progress]:
    """Give ``coder`` the atlas of those of the store's ``rows`` who have labels; yields progress, a step a person and round.

    Goes on from ``run_dir`` at the last whole round, and leaves the persons' fields there (:func:`fields_of`). After the ``deadline``
    (``time.monotonic``) no other round begins, but for the first, and none on another call: what comes next rests on the atlas.
    Stopped by a signal it ends at once. Raises :class:`RunError` for a store without labels.
    """
    cohort, path = Cohort.of(store, rows, coder.config, config), run_dir / ATLAS
    run_dir.mkdir(parents=True, exist_ok=True)
    n, began = len(cohort.rows), time.monotonic()
    if path.exists():
        kept = load_tensors(path)[0]
    else:
        half = [side // STRIDE for side in store.grid]
        mean = sum((cohort.parts(k).stacked() for k in range(n)), torch.zeros(())) / n
        kept = {"fields": torch.zeros(n, 3, *half, dtype=torch.float16), "mean": mean, "rounds": torch.tensor(0)}
    channels, inner = len(store.channels), len(config.outlines)
    total = len(config.rounds) + len(config.below)
    for number, passes in list(enumerate((*config.rounds, *config.below)))[int(kept["rounds"]) :]:
        if number and deadline is not None and time.monotonic() > deadline:
            save_tensors(path, kept | {"rounds": torch.tensor(total)}, {})
            break
        if number >= len(config.rounds):
            # as they were before anything below them moved, also where this goes on
            kept.setdefault("structures", kept["mean"][channels:][:inner].clone())
        lower = _lower(kept)
        if number >= len(config.rounds) and lower is None:
            break
        atlas = Parts(kept["mean"][:channels], kept["mean"][channels:])
        box = _about(atlas, inner) if lower is None else lower.box
        summed, weight = torch.zeros_like(kept["mean"]), torch.zeros(store.grid)
        for k in range(n):
            if stop_asked():
                raise KeyboardInterrupt
            person, before = cohort.parts(k), kept["fields"][k].float()
            field, error = registered(atlas, person, before, passes, box)
            kept["fields"][k] = field if lower is None else moved_below(before, field, lower.share)
            values, counts = splatted(person.stacked(), kept["fields"][k].float())
            summed, weight = summed + values, weight + counts
            seconds = time.monotonic() - began
            yield Progress("atlas", number * n + k + 1, n * total, seconds, {"difference": error})
        mean = summed / weight.clamp(min=1e-3)
        kept["mean"] = mean if lower is None else kept["mean"] + lower.share * (mean - kept["mean"])
        kept["rounds"] = torch.tensor(number + 1)
        save_tensors(path, kept, {})
    lower = _lower(kept)
    coder.template.copy_(sharpened(kept["mean"][:channels], lower.share if lower else None))
    coder.anatomy.copy_(likeliest(cohort, kept["fields"], len(coder.config.classes)))


@dataclass(frozen=True, eq=False)
class Lower:
    """The box below what was compared at full resolution, and how far each voxel belongs to it."""

    box: Box
    share: Tensor

    @classmethod
    def of(cls, outlines: Float[Tensor, "o x y z"]) -> Lower | None:
        """Below structures of these shares of persons; None where there is nothing."""
        there = (outlines > PRESENT).any(0)
        box = box_below(box_about(there, MARGIN)) if there.any() else None
        return None if box is None else cls(box, share_below((outlines > EVEN).any(0), box[2].stop))


def below(run_dir: Path) -> Lower | None:
    """What lies below the structures of the atlas that was fitted there; None where nothing does, or nothing of it was registered."""
    return _lower(load_tensors(run_dir / ATLAS)[0])


def _lower(kept: Mapping[str, Tensor]) -> Lower | None:
    return Lower.of(kept["structures"]) if "structures" in kept else None


def fields_of(run_dir: Path) -> Float[Tensor, "n 3 x2 y2 z2"]:
    """The fields of those who were registered, in voxels, in their order (:meth:`Cohort.of`)."""
    return load_tensors(run_dir / ATLAS)[0]["fields"]


def likeliest(cohort: Cohort, fields: Float[Tensor, "n 3 x2 y2 z2"], classes: int) -> UInt8[Tensor, "x y z"]:
    """The class that most persons have at each voxel of the atlas."""
    counts = torch.zeros(classes, *cohort.store.grid)
    for k, field in enumerate(fields):
        labels = cohort.labels(k)
        counts += splatted(torch.stack([labels == c for c in range(classes)]).float(), field.float())[0]
    return counts.argmax(0).to(torch.uint8)


def _about(atlas: Parts, outlines: int) -> Box:
    """The box of what is compared at full resolution: about the first ``outlines``, or everything where there are none."""
    grid = atlas.scan.shape[1:]
    if not outlines:
        return slice(0, grid[0]), slice(0, grid[1]), slice(0, grid[2])
    return box_about((atlas.outlines[:outlines] > PRESENT).any(0), MARGIN)
