"""What a user asks of a loaded model: persons, given any subset of their attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from engine.checkpoints.checkpoint import Checkpoint, load_checkpoint
from engine.imaging.grid import cycle_by, phases_of
from engine.imaging.segmentation import Segmentation
from engine.imaging.volume import Volume
from engine.inference.conditioning import given_rows, with_masks
from engine.inference.progress import ProgressCallback, Tally
from engine.model.flow import Joint
from engine.model.joint import JointModel
from engine.model.sampler import Known, guided, integrate, sample, schedule
from engine.storage.ranks import SINGLE, Ranks
from engine.vocabulary.refusal import RequestError
from engine.vocabulary.schema import AttributeSchema, Row

DISCLAIMER = "Synthetic. Associations, not causes. Not for diagnosis."
#: persons computed at once on a GPU; on a CPU one at a time is as fast and makes results equal to the last bit
GPU_BATCH = 8
#: rows computed at once where there is no image; always as many, so that a row never depends on how many are asked for
ROWS = 64
#: network evaluations of a person with a scan, of a row alone, and of the row that a scan is drawn for
IMAGE_STEPS, TABLE_STEPS, ROW_STEPS = 8, 32, 16
#: evaluations of the local network that draws a scan's detail
DETAIL_STEPS = 1
#: parts as which progress counts the decoding with the mask, and the detail, each about as long as the steps
PARTS = 6
#: of the times of a scan's steps (:func:`engine.model.sampler.schedule`): nearest to 100 steps of the same seeds (engine/LOG.md)
IMAGE_POWER = 0.7


@dataclass(frozen=True, eq=False)
class Person:
    """One synthetic person: the scan (None from a model of tables), the table (given values exactly as given), the seed
    that makes them again, and the mask where it is given (exactly as given) or was asked for."""

    scan: Volume | None
    attributes: Row
    seed: int
    mask: Segmentation | None = None

    @property
    def volume(self) -> Volume:
        """The scan; raises :class:`RequestError` where there is none."""
        if self.scan is None:
            raise RequestError(
                f"person {self.seed} has no scan: the model knows tables only; choose one that knows scans"
            )
        return self.scan


def choose_device(device: str = "auto") -> str:
    """``auto`` is a GPU when there is one; raises :class:`RequestError` for ``cuda`` without one."""
    if device not in ("auto", "cpu", "cuda"):
        raise RequestError(f"device {device!r} is unknown; use auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise RequestError("device cuda is not available on this machine; use --device cpu or auto")
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def evaluations(net: JointModel) -> int:
    """Network evaluations of a draw when nothing else is asked for: rows alone cost little."""
    return IMAGE_STEPS if net.has_image else TABLE_STEPS


def drawing_units(steps: int) -> int:
    """What the progress of drawing one person, or one block of rows, counts: ``steps`` evaluations, and :data:`PARTS` of the decoding
    and of the detail, which may be none."""
    return steps + 2 * PARTS


def _local_nets(model: JointModel) -> tuple[list[nn.Module], list[nn.Module]]:
    """The networks whose layers run while a mask is drawn with its detail, and while the detail of a scan is."""
    if model.config.detail is None:
        return [], []
    masks: list[nn.Module] = [model.mask_detail] if model.draws_masks else []
    if model.tells_tissues:
        return [], [model.tissues, *masks, model.detail]
    return masks, [model.detail]


def checked_weight(weight: float, name: str) -> float:
    """A weight of guidance; raises :class:`RequestError` by ``name`` for one that nothing comes of."""
    if not 0 <= weight <= 10:
        raise RequestError(f"{name} {weight} is outside 0 to 10; 1 means none, 2 is strong")
    return weight


class Model:
    """A loaded checkpoint that answers questions; load one with :func:`engine.load`."""

    def __init__(self, checkpoint: Checkpoint, device: str = "cpu") -> None:
        self.checkpoint, self.device = checkpoint, device
        self.name: str = checkpoint.config.name
        self.card, self.card_markdown, self.digest = checkpoint.card, checkpoint.card_markdown, checkpoint.digest

    @property
    def schema(self) -> AttributeSchema:
        return self.checkpoint.model.schema

    @property
    def has_image(self) -> bool:
        """Whether it draws scans, or tables only."""
        return self.checkpoint.model.has_image

    @property
    def has_mask(self) -> bool:
        """Whether it knows segmentations."""
        return self.checkpoint.model.has_mask

    @property
    def steps(self) -> int:
        """Network evaluations when nothing else is asked for."""
        return evaluations(self.checkpoint.model)

    @property
    def licence(self) -> str:
        """What generated persons fall under: the licence of the training cohort, or else the card's words."""
        return str(self.checkpoint.config.provenance.get("licence") or self.card.get("licence") or "unknown")

    def generate(
        self,
        *,
        n: int = 1,
        given: Mapping[str, Any] | None = None,
        seed: int = 0,
        steps: int | None = None,
        guidance: float | None = None,
        mask: Segmentation | None = None,
        with_mask: bool = False,
        detail: bool = True,
        progress: ProgressCallback | None = None,
    ) -> list[Person]:
        """``n`` persons who have the ``given`` attributes; the rest is sampled: the row by the network of rows, where the
        model has one, and the scan for it, or else both together.

        Person i comes from noise seed ``seed + i`` and is the same whatever ``n`` is. ``steps`` counts network
        evaluations (None: :attr:`steps`); ``guidance`` 1 is none, None the checkpoint's default. Scans are drawn for the
        ``mask``, where one is given (on the model's grid); ``with_mask`` draws one with each scan. Without ``detail`` scans are as
        their tokens decode to, and sooner there, for a draft. ``progress`` counts
        :func:`drawing_units`. Raises
        :class:`engine.vocabulary.schema.AttributeValueError` for an impossible attribute, :class:`RequestError` for the rest.
        """
        how = {"steps": steps, "guidance": guidance, "mask": mask, "with_mask": with_mask, "detail": detail}
        return list(self.stream(n=n, given=given, seed=seed, progress=progress, **how))

    @torch.inference_mode()
    def stream(
        self,
        *,
        n: int = 1,
        given: Mapping[str, Any] | None = None,
        seed: int = 0,
        steps: int | None = None,
        guidance: float | None = None,
        mask: Segmentation | None = None,
        with_mask: bool = False,
        detail: bool = True,
        progress: ProgressCallback | None = None,
        ranks: Ranks = SINGLE,
    ) -> Iterator[Person]:
        """As :meth:`generate`, one person after the other; of several ``ranks`` each draws blocks of its own."""
        steps = self.steps if steps is None else steps
        if n < 1 or not 1 <= steps <= 1000 or not 0 <= seed < 2**62:
            raise RequestError(
                f"n {n}, steps {steps}, seed {seed}: n and steps start at 1, steps end at 1000, seed at 0"
            )
        model, row = self.checkpoint.model, self.schema.resolve(given or {})
        default = self.checkpoint.config.guidance
        weight = checked_weight(default if guidance is None else guidance, "guidance")
        labels = None if mask is None else self.checkpoint.labels_on_grid(mask)
        # the detail of a scan is drawn for its mask
        detail = detail and model.config.detail is not None
        draws_mask = mask is None and (with_mask or (self.has_mask and detail))
        times = schedule(steps, power=IMAGE_POWER if self.has_image else 1.0)
        size = (GPU_BATCH if self.device == "cuda" else 1) if self.has_image else ROWS
        starts = range(0, n, size)[ranks.rank :: ranks.size]
        tally = Tally(progress, len(starts) * drawing_units(steps))
        of_mask, of_detail = _local_nets(model)
        for start in starts:
            last = min(seed + start + size, seed + n) if self.has_image else seed + start + size
            seeds = list(range(seed + start, last))
            noise = model.noise(seeds)
            # a row for a mask is drawn beside it
            rows = [row] * len(seeds) if mask else self._rows(noise.table, [row] * len(seeds))
            known = with_masks(model, given_rows(model, rows), [labels] * len(seeds), drawn=draws_mask)
            for state in integrated(model, noise, known, weight, times):
                tally.add()
            volumes, drawn, field = [None] * len(seeds), None, None
            with tally.stage(PARTS, of_mask if draws_mask and detail else []):
                scans = model.decode(state.image) if self.has_image else None
                if draws_mask and scans is not None:
                    # a draft's mask is the likeliest
                    drawn, field = model.drawn_mask(state.mask, scans, seeds) if detail else model.seen_mask(state.mask)
            with tally.stage(PARTS, of_detail if detail else []):
                if scans is not None:
                    if detail:
                        shown = drawn if labels is None else labels.to(scans.device).expand(len(seeds), -1, -1, -1)
                        scans = model.detailed(scans, shown, seeds, DETAIL_STEPS, field=field, table=state.table)
                    volumes = scans.cpu().numpy()
            rows = self.schema.decode(state.table.cpu().numpy(), rows)
            masks = [mask] * len(seeds)
            if drawn is not None and with_mask:
                masks = [self.segmentation(part) for part in drawn.cpu().numpy()]
            for s, volume, attributes, part in list(zip(seeds, volumes, rows, masks, strict=True))[: n - start]:
                scan = None if volume is None else self._volume(volume, attributes)
                yield Person(scan, {k: attributes[k] for k in self.schema.names}, s, part)

    def _rows(self, noise: Float[Tensor, "b k d"], given: list[Row]) -> list[Row]:
        """The rows completed by the network of rows, where there is one and something is free; else as they are."""
        net = self.checkpoint.model.rows
        if net is None:
            return given
        known = given_rows(net, given)
        if bool(known.table.all()):
            return given
        start = known.value._replace(table=noise)
        state = sample(net.velocity, start, known, evaluations=ROW_STEPS, linear=net.linear(known))
        return self.schema.decode(state.table.cpu().numpy(), given)

    def segmentation(self, labels: UInt8[np.ndarray, "x y z"]) -> Segmentation:
        """Classes of voxels on the model's grid as a segmentation; only of a model with a mask."""
        assert self.checkpoint.config.model.mask
        return Segmentation(labels, self.checkpoint.affine, self.checkpoint.config.model.mask.classes)

    def _volume(self, data: Any, row: Row) -> Volume:
        channels = self.checkpoint.config.channels
        voxels = data[0] if len(channels) == 1 else data
        return Volume(
            voxels,
            self.checkpoint.affine,
            channels,
            cycle_by(row.get("heart_rate")) if phases_of(channels)[1] > 1 else None,
        )


def integrated(net: JointModel, noise: Joint, known: Known, guidance: float, times: list[float]) -> Iterator[Joint]:
    """The states of a draw along ``times``, whose images' mean is corrected and guided by the weight ``guidance`` and whose images are
    drawn for the calibrated rows; in the columns stands what is ``known``."""
    row = net.calibrated(known)
    linear = net.linear(row)
    shift = (guidance - 1) * linear.centre.image
    if net.has_image:
        shift = shift + net.corrected(row)
    field, linear = guided(net.velocity, linear, shift)
    for state in integrate(field, noise, row, times, shift=net.config.shift, linear=linear):
        yield known.impose(state)


def load(name: str | Path, device: str = "auto") -> Model:
    """A model by name (``head-t1``) or by its directory, on ``auto``, ``cpu`` or ``cuda``.

    Raises :class:`engine.checkpoints.checkpoint.CheckpointError` for a missing, damaged or foreign checkpoint.
    """
    chosen = choose_device(device)
    return Model(load_checkpoint(name, chosen), chosen)
