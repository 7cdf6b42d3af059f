"""What if this person were otherwise: the noise of a scan under its own attributes, run forwards under others.

Abduction, action, prediction (Pearl, Causality, 7.1; for images Pawlowski et al., arXiv 2006.06485), with the probability
flow as the invertible mechanism. It follows associations of the cohort, not causes.

The law of fusion: the columns fused into the image's code are exactly those that stand clean (t = 0) in the flow, with the
same values. A scan is encoded once, under its factual attributes, and inverted under these; what the flow brings back under
other attributes is a code that has THESE fused in, as in generation, so it is decoded as it is and nothing is fused twice. A
null intervention therefore returns what the autoencoder makes of the scan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from statistics import median, mode
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import uniform_filter
from torch import Tensor

from engine.imaging.grid import cycle_by
from engine.imaging.segmentation import Segmentation
from engine.imaging.volume import Volume, finite
from engine.inference.conditioning import given_for_inversion, given_otherwise, given_rows, with_masks
from engine.inference.generate import Model, Person, checked_weight, drawing_units, evaluations
from engine.inference.infer import infer
from engine.inference.mask_edit import MaskEdit, changed_masks, followed, painted, window
from engine.inference.progress import ProgressCallback, Tally
from engine.model.flow import Joint
from engine.model.sampler import Known, guided, integrate, schedule
from engine.model.sampler import invert as invert_flow
from engine.vocabulary.refusal import RequestError
from engine.vocabulary.schema import AttributeSchema, Derived, Row

#: draws from which a missing attribute is inferred
DRAWS = 16
#: fixed-point iterations of a step backwards, each one evaluation
ROUNDS = 3
#: intensity change (mean of 3 x 3 x 3 voxels) at which nothing of the autoencoder's residual is added back
CHANGED = 0.1


@dataclass(frozen=True, eq=False, kw_only=True)
class Counterfactual:
    """What the intervention makes of a scan, and how far to trust it.

    ``volume``: the counterfactual as the model draws it, on which every figure rests; ``restored``: the same with what the
    model lost of the scan added back where nothing changed, for the eye. ``reconstruction``: the scan through the autoencoder,
    with the detail that the model draws, as all of these; ``null``: the scan through the whole chain without an intervention;
    ``difference``: ``volume`` less ``null``, what the intervention alone did. ``factual`` and ``row``: the table before and
    after, what was missing inferred. PSNR in dB (peak 1) of reconstruction and null against the scan: ``null_psnr`` below
    ``autoencoder_psnr`` is drift of the inversion.
    """

    volume: Volume
    restored: Volume
    reconstruction: Volume
    null: Volume
    difference: Float[np.ndarray, "..."]
    factual: Row
    row: Row
    autoencoder_psnr: float
    null_psnr: float


class _Scan(NamedTuple):
    """A scan ready for the flow: voxels (c, x, y, z), the clean state and what of it is known, the row complete."""

    voxels: Tensor
    known: Known
    row: Row


def _voxels(model: Model, volume: Volume) -> Float[Tensor, "c x y z"]:
    data = model.checkpoint.on_grid(finite(volume))
    if not np.allclose(volume.affine, model.checkpoint.affine, atol=0.01):
        origin = ", ".join(f"{mm:g}" for mm in volume.affine[:3, 3])
        raise RequestError(f"the scan lies elsewhere than the model's grid (its origin is {origin} mm); preprocess it")
    return data


def _factors(schema: AttributeSchema, names: Collection[str]) -> set[str]:
    """Modelled columns that the columns ``names`` are made of."""
    found = set()
    for name in names:
        column = schema[name]
        found |= {factor for factor, _ in column.powers} if isinstance(column, Derived) else {name}
    return found


def _completed(model: Model, volume: Volume, row: Row, tally: Tally) -> Row:
    """The row with every missing column inferred from the bare scan: the median or the most frequent of the draws."""
    full = dict(row)
    if missing := _missing(model.schema, row):
        draws = infer(model, volume, row, samples=DRAWS, progress=tally.add)
        for name in missing:
            cells: list[Any] = [draw[name] for draw in draws]
            full[name] = mode(cells) if isinstance(cells[0], str) else median(cells)
    return model.schema.decode(model.schema.encode([full])[0], [full])[0]


def _prepared(
    model: Model,
    voxels: Float[Tensor, "c x y z"],
    full: Row,
    held: Collection[str],
    edit: MaskEdit | None = None,
) -> _Scan:
    """Encode the scan with the ``held`` columns of its ``full`` row and, where it is to be edited, with its mask."""
    net = model.checkpoint.model
    known = given_for_inversion(net, full, voxels, held)
    if edit is not None:
        known = with_masks(net, known, [model.checkpoint.labels_on_grid(edit.before)])
    return _Scan(voxels, known, full)


def _followed(model: Model, full: Row, held: Collection[str], target: Row) -> Row:
    """The ``target``, which has the ``held`` columns, completed: the other columns of the ``full`` row move by their regression on the
    held ones, in the network of rows' linear Gaussian part, and keep their residuals. Where the target is what was, so is the
    row, to the last bit.

    Nearer to the phantom's truth than their noise kept in the flow, which has seen few rows of extreme values (engine/LOG.md 56).
    """
    net, schema = model.checkpoint.model.rows, model.schema
    assert net is not None
    was, then = given_rows(net, [full]), given_rows(net, [{**full, **target}])
    on = torch.tensor([[column.name in held for column in schema.columns]], device=was.table.device)
    before, after = (net.linear(known._replace(table=on)).centre.table for known in (was, then))
    moved = was.value.table + (after - before)
    return schema.decode(moved.cpu().numpy(), [target])[0]


def _times(steps: int) -> list[float]:
    if not 1 <= steps <= 1000:
        raise RequestError(f"steps {steps} is not possible: give 1 to 1000")
    return schedule(steps)


def _noise(model: Model, scan: _Scan, steps: int, tally: Tally) -> Joint:
    net = model.checkpoint.model
    known = net.calibrated(scan.known)
    field, linear = guided(tally.counting(net.velocity), net.linear(known), net.corrected(known))
    how = {"shift": net.config.shift, "linear": linear, "rounds": ROUNDS}
    return scan.known.impose(invert_flow(field, known.value, known, _times(steps), **how))


def _missing(schema: AttributeSchema, row: Mapping[str, Any]) -> list[str]:
    """Modelled columns that are not in the row."""
    return [column.name for column in schema.columns if column.name not in row]


def _inferring(model: Model, row: Mapping[str, Any]) -> int:
    """Evaluations that inferring the missing columns of ``row`` from a scan takes."""
    return evaluations(model.checkpoint.model) if _missing(model.schema, row) else 0


def counterfactual_units(model: Model, factual: Mapping[str, Any], steps: int) -> int:
    """Network evaluations of one :func:`counterfactual` of a person with these ``factual`` attributes."""
    return _inferring(model, model.schema.resolve(factual)) + (ROUNDS + 1) * steps


@torch.inference_mode()
def invert(
    model: Model,
    volume: Volume,
    given: Mapping[str, Any] | None = None,
    *,
    steps: int = 32,
    progress: ProgressCallback | None = None,
) -> Joint:
    """The noise from which ``steps`` steps under the ``given`` columns lead to ``volume``, unguided.

    Image noise (1, n, c), columns (1, k, d); columns that are not given are inferred from the bare scan and inverted with
    the image, given ones stay as they are. Costs three evaluations a step, of which ``progress`` hears. Raises
    :class:`RequestError` for a scan of another grid, :class:`engine.vocabulary.schema.AttributeValueError` for an impossible value.
    """
    row = model.schema.resolve(given or {})
    tally = Tally(progress, _inferring(model, row) + ROUNDS * steps)
    voxels = _voxels(model, volume)
    full = _completed(model, volume, row, tally)
    return _noise(model, _prepared(model, voxels, full, set(row)), steps, tally)


def intervened(schema: AttributeSchema, factual: Mapping[str, Any], intervention: Mapping[str, Any]) -> Row:
    """The ``factual`` attributes with those of the ``intervention`` set, modelled columns held unless set.

    A derived column follows; where it is itself set, its first factor that is not set gives way (weight moves bmi and
    holds height). Raises :class:`engine.vocabulary.schema.AttributeValueError` for an impossible value.
    """
    for name, value in intervention.items():
        schema[name].check(value)
    base = schema.resolve(factual)
    kept: Row = {c.name: base[c.name] for c in schema.columns if c.name in base}
    for derived in schema.derived:
        open_factors = [name for name, _ in derived.powers if name not in intervention]
        if derived.name in intervention and open_factors:
            kept.pop(open_factors[0], None)
        elif derived.name in base and derived.value({**kept, **intervention}) == derived.value(kept):
            kept[derived.name] = base[derived.name]
    return schema.resolve({**kept, **intervention})


@torch.inference_mode()
def counterfactual(
    model: Model,
    volume: Volume,
    *,
    factual: Mapping[str, Any],
    intervention: Mapping[str, Any],
    steps: int = 32,
    free: Collection[str] = (),
    strength: float = 1.0,
    edit: MaskEdit | None = None,
    progress: ProgressCallback | None = None,
) -> Counterfactual:
    """The person in ``volume``, who has the ``factual`` attributes, under the ``intervention`` and the ``edit`` of the mask.

    ``factual`` columns are held unless they are set or named in ``free``; a free or missing column moves with the intervention as it
    does in the cohort: by its regression, its residual kept, before the scan, where there is a network of rows, else it keeps its
    noise beside the scan's. A free column that is the volume of what is edited moves as the mask does; where nothing is set beside
    the edit, the scan further from it than :data:`engine.inference.mask_edit.RIM` stays. A missing column that is to be set is
    inferred from the bare scan first.
    ``strength`` w other than 1 extrapolates from the factual
    attributes (:func:`engine.model.sampler.guided` with the fact in the place of the unconditional), so that a null
    intervention stays null at any strength. Costs three evaluations a step backwards, and one forwards for both rows together;
    ``progress`` hears of each, and what it raises cancels. Raises :class:`RequestError` for a scan of another grid or a column
    both set and free, :class:`engine.vocabulary.schema.AttributeValueError` for an impossible value.
    """
    schema, row = model.schema, model.schema.resolve(factual)
    moved = _factors(schema, intervention)
    for name in free:
        if name in moved or schema[name] not in schema.columns:
            raise RequestError(f"{name} cannot be free: it is {'set' if name in moved else 'computed'}; leave it out")
    intervened(schema, row, intervention)
    checked_weight(strength, "strength")
    tally = Tally(progress, counterfactual_units(model, row, steps))
    times, voxels = _times(steps), _voxels(model, volume)
    full = _completed(model, volume, row, tally)
    # volumes of what is edited are what the mask says, and not what goes with it in the cohort
    by_mask = {} if edit is None else {k: v for k, v in followed(model, edit, full).items() if k in free}
    held = (set(row) | moved | set(by_mask)) - (set(free) - set(by_mask))
    fact: Row = {column.name: full[column.name] for column in schema.columns if column.name in held}
    whole = {d.name: row[d.name] for d in schema.derived if d.name in row and d.value(fact) is not None}
    target = intervened(schema, {**fact, **whole}, {**by_mask, **intervention})
    if edit is None and model.checkpoint.model.rows is not None and len(fact) < len(schema.columns):
        # a person's scan follows their whole row, as it does when it is drawn
        target = _followed(model, full, held, target)
        held = {column.name for column in schema.columns}
    scan = _prepared(model, voxels, full, held, edit)
    noise = _noise(model, scan, steps, tally)
    state = _forwards(model, noise, scan, target, times, strength, tally, edit)
    tokens, table = (torch.cat([a, b]) for a, b in zip(scan.known.value[:2], state[:2], strict=True))
    reconstruction, null, changed = _decoded(model, tokens, table, scan.voxels, edit).cpu().numpy()
    if edit is not None and not intervention:
        changed = null + (window(edit) * (changed - null)).astype(np.float32)
    row = schema.decode(state.table[1:].cpu().numpy(), [target])[0]
    scanned = scan.voxels.numpy()

    def like(data: np.ndarray, cycle: float | None = volume.cycle) -> Volume:
        return replace(volume, data=data.reshape(volume.data.shape), cycle=cycle)

    beats = cycle_by(row.get("heart_rate")) if volume.phases > 1 else None
    return Counterfactual(
        volume=like(changed, beats),
        restored=like(add_back(changed, null, scanned), beats),
        reconstruction=like(reconstruction),
        null=like(null),
        difference=(changed - null).reshape(volume.data.shape),
        factual={name: scan.row[name] for name in schema.names},
        row={name: row[name] for name in schema.names},
        autoencoder_psnr=psnr(reconstruction, scanned),
        null_psnr=psnr(null, scanned),
    )


def _forwards(
    model: Model,
    noise: Joint,
    scan: _Scan,
    target: Row,
    times: list[float],
    strength: float,
    tally: Tally,
    edit: MaskEdit | None,
) -> Joint:
    """From one noise two rows: under the factual columns and mask, and under those of ``target`` and the mask afterwards."""
    net = model.checkpoint.model
    after = None if edit is None else model.checkpoint.labels_on_grid(edit.after)
    asked = given_otherwise(net, scan.known, noise, target, after)
    both = net.calibrated(asked)
    start = both.value._replace(table=noise.table.expand(2, -1, -1))
    linear = net.linear(both)
    shift = (strength - 1) * (linear.centre.image - linear.centre.image[:1]) + net.corrected(both)
    field, linear = guided(tally.counting(net.velocity), linear, shift)
    return asked.impose([*integrate(field, start, both, times, "euler", shift=net.config.shift, linear=linear)][-1])


def _decoded(
    model: Model,
    tokens: Float[Tensor, "3 n latent"],
    table: Float[Tensor, "3 k d"],
    scan: Float[Tensor, "c x y z"],
    edit: MaskEdit | None,
) -> Float[Tensor, "3 c x y z"]:
    """The scans of reconstruction, no change and change, with the detail of the person's own mask and of how it changes (but for an
    atlas') or, where the mask is edited, of the mask before and after."""
    net = model.checkpoint.model
    if edit is not None:
        return painted(model, tokens, edit)
    base = net.decode(tokens)
    # an atlas' folds would stand where the person's own are: half as near to the scan again, its ventricles off by 8 ml
    if net.config.detail is None or net.atlas is not None:
        return base
    labels = changed_masks(net, base, scan.to(base.device)) if net.has_mask else None
    return net.detailed(base, labels, [0] * len(base), 1, table=table)


def add_back(
    changed: Float[np.ndarray, "c x y z"], null: Float[np.ndarray, "c x y z"], scan: Float[np.ndarray, "c x y z"]
) -> Float[np.ndarray, "c x y z"]:
    """``changed`` with what the model lost of the scan (``scan - null``) where the two hardly differ.

    Weight 1 where nothing changed, falling to 0 at a mean change of :data:`CHANGED` over 3 x 3 x 3 voxels. A picture for
    the eye: no figure of quality is taken from it. Without a change it is the scan itself.
    """
    change = np.stack([uniform_filter(channel, 3) for channel in np.abs(changed - null)])
    weight = np.clip(1 - change / CHANGED, 0, 1)
    return np.clip(changed + weight * (scan - null), 0, 1)


def generated_counterfactual(
    model: Model,
    seed: int,
    factual: Mapping[str, Any],
    intervention: Mapping[str, Any],
    steps: int = 8,
    *,
    hold: Collection[str] = (),
    guidance: float | None = None,
    edit: MaskEdit | None = None,
    draw: Callable[[Row], Person] | None = None,
    progress: ProgressCallback | None = None,
) -> tuple[Person, Person]:
    """The synthetic person of ``seed`` with the ``factual`` attributes, and the same noise under the ``intervention`` and the
    ``edit`` of the mask.

    ``factual`` attributes are held unless set; the others keep their own noise and follow, but for those to ``hold``, which both
    persons have as the first one was drawn. Without an intervention both are equal to the last
    bit. ``draw`` makes the person of the seed who has what is given (None: the model does), such as one kept from before;
    ``progress`` hears of every evaluation of the model, but not of what such a ``draw`` does. Raises as
    :meth:`engine.inference.generate.Model.generate`, and :class:`RequestError` for a column both set and held.
    """
    moved = _factors(model.schema, intervention)
    for name in hold:
        if name in moved or isinstance(model.schema[name], Derived):
            raise RequestError(f"{name} cannot be held: it is {'set' if name in moved else 'computed'}; leave it out")

    tally = Tally(progress, generated_counterfactual_units(model, steps, hold, edit))

    def drawn(given: Row, mask: Segmentation | None = None) -> Person:
        # drawn together with a mask, where none is given, as the app draws people
        how = {"seed": seed, "steps": steps, "guidance": guidance, "mask": mask, "with_mask": model.has_mask}
        return model.generate(given=given, progress=tally.add, **how)[0]

    before = drawn if edit is None else partial(drawn, mask=edit.before)
    after = drawn if edit is None else partial(drawn, mask=edit.after)
    if draw is not None and edit is None:
        before = after = draw
    fact = model.schema.resolve(factual)
    one = before(fact)
    if hold and edit is None and model.checkpoint.model.rows is not None:
        full, held = one.attributes, {*fact, *hold} | moved
        kept: Row = {name: full[name] for name in held if name in full}
        target = intervened(model.schema, kept, intervention)
        return one, after(_followed(model, full, {c.name for c in model.schema.columns} & held, target))
    if hold:
        fact = {**{name: one.attributes[name] for name in hold}, **fact}
        one = before(fact)
    return one, after(intervened(model.schema, {**factual, **fact}, intervention))


def generated_counterfactual_units(
    model: Model, steps: int, hold: Collection[str], edit: MaskEdit | None = None
) -> int:
    """What the progress of one :func:`generated_counterfactual` counts: two persons, or three where columns are held that a
    network of rows cannot hold alone."""
    again = hold and (edit is not None or model.checkpoint.model.rows is None)
    return (3 if again else 2) * drawing_units(steps)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Decibel, peak 1; infinite where both are equal."""
    error = float(np.square(one - other).mean(dtype=np.float64))
    return -10 * math.log10(error) if error else math.inf
