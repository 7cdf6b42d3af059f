"""Filling the missing cells of a table, each row given its own present cells and, where there is one, its scan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from engine.imaging.volume import Volume
from engine.inference.conditioning import given_scans
from engine.inference.generate import ROWS, Model, evaluations
from engine.inference.progress import ProgressCallback, Tally
from engine.model.joint import JointModel
from engine.model.sampler import sample
from engine.vocabulary.refusal import RequestError
from engine.vocabulary.schema import AttributeSchema, AttributeValueError, Category, Derived, Row

#: draws from which the one is taken that fits a derived column given alone, and how far their seeds lie from those of the rows
TRIED, APART = 8, 2**40


def impute(
    model: Model,
    rows: Sequence[Mapping[str, Any]],
    scans: Sequence[Volume | None] | None = None,
    *,
    seed: int = 0,
    steps: int | None = None,
    progress: ProgressCallback | None = None,
) -> Iterator[Row]:
    """Each of ``rows`` with one draw of its missing cells given all that is present, derived columns computed.

    Present cells come back as they are, and so do columns that the model does not know. ``scans``, one a row or None, lie
    on the model's grid and are encoded without any missing column. Row i has the noise of ``seed + i``: another seed is
    another draw (multiple imputation, Rubin 1987). Guidance is off. ``progress`` hears of every network evaluation, and
    what it raises cancels. Raises
    :class:`engine.vocabulary.schema.AttributeValueError` with the row for an impossible cell, :class:`RequestError` for the rest.
    """
    if not 1 <= (1 if steps is None else steps) <= 1000 or not 0 <= seed < 2**62:
        raise RequestError(f"steps {steps}, seed {seed}: steps are 1 to 1000, a seed starts at 0")
    if scans is not None and len(scans) != len(rows):
        raise RequestError(f"{len(scans)} scans for {len(rows)} rows: give one a row, None where there is none")
    if scans is not None and not model.has_image:
        raise RequestError(f"{model.name} knows tables only: leave the scans out, or choose a model that knows scans")
    alone = {i: d for i, row in enumerate(rows) if (d := _left_open(model.schema, row))}
    known = [_known(model, _without(row, alone.get(i)), i) for i, row in enumerate(rows)]
    size = 1 if scans or model.checkpoint.model.alone.has_image else ROWS
    starts = range(0, len(rows), size)
    nets = [_net(model, scans[start : start + size] if scans else ()) for start in starts]
    planned = [evaluations(net) if steps is None else steps for net in nets]
    more = [TRIED // min(size, TRIED) * planned[i // size] for i in alone]
    tally = Tally(progress, sum(planned) + sum(more))
    for i, derived in alone.items():
        net, seen = nets[i // size], scans[i : i + 1] if scans else ()
        tried = [seed + i + (k + 1) * APART for k in range(max(size, TRIED))]
        draws = [
            row
            for start in range(0, len(tried), size)
            for row in _drawn(
                model, net, [known[i]] * size, seen, tried[start : start + size], planned[i // size], tally
            )
        ]
        known[i] = _known(model, _fitting(model.schema, rows[i], derived, draws), i)
    for start, net, count in zip(starts, nets, planned, strict=True):
        # always as many rows at once, so that a row never depends on the others
        block = [*known[start : start + size], *[{}] * (start + size - min(start + size, len(rows)))]
        seen = scans[start : start + size] if scans else ()
        seeds = [seed + start + i for i in range(size)]
        made = _drawn(model, net, block, seen, seeds, count, tally)
        for given, row in zip(rows[start : start + size], made, strict=False):
            yield {**given, **row}


def _without(row: Mapping[str, Any], derived: Derived | None) -> Mapping[str, Any]:
    """The row, a derived column taken out."""
    return row if derived is None else {name: value for name, value in row.items() if name != derived.name}


def _left_open(schema: AttributeSchema, row: Mapping[str, Any]) -> Derived | None:
    """The derived column that a row has while several of its factors are missing, such as a weight without height and BMI."""
    for derived in schema.derived:
        if row.get(derived.name) is not None and sum(row.get(name) is None for name, _ in derived.powers) > 1:
            return derived
    return None


def _fitting(schema: AttributeSchema, row: Mapping[str, Any], derived: Derived, draws: Sequence[Row]) -> Row:
    """The row with all factors of its derived column but the first from the draw that comes closest to it.

    Draws made without the derived column, of which the one nearest to its value is kept, are draws given it (rejection
    sampling; the first factor then makes the identity hold).
    """
    given, names = float(row[derived.name]), [name for name, _ in derived.powers]
    best: tuple[float, Row] | None = None
    for draw in draws:
        made: Row = {**row, **{name: draw[name] for name in names if row.get(name) is None}}
        value = derived.value(made)
        missing = [name for name in names if row.get(name) is None]
        first = schema[missing[0]]
        solved = derived.solve({**made, derived.name: given}, missing[0])
        if value is None or isinstance(first, Category) or not first.low <= solved <= first.high:
            continue
        apart = abs(value / given - 1)
        if best is None or apart < best[0]:
            best = (apart, {**made, missing[0]: None})
    if best is None:
        raise AttributeValueError(
            f"row {row.get('participant_id', '')}: {derived.name} {given:g} fits no {' and '.join(names)} drawn; give one of them"
        )
    return best[1]


def _known(model: Model, row: Mapping[str, Any], i: int) -> Row:
    """What the model knows of a row; its own identifier or number stands in what is said of an impossible cell."""
    try:
        return model.schema.resolve({name: row.get(name) for name in model.schema.names})
    except AttributeValueError as error:
        raise AttributeValueError(f"row {row.get('participant_id', i + 1)}: {error}") from None


def _net(model: Model, scans: Sequence[Volume | None]) -> JointModel:
    """The joint network for a block in which some scan is known, or else that of rows alone."""
    return model.checkpoint.model if any(scan is not None for scan in scans) else model.checkpoint.model.alone


@torch.inference_mode()
def _drawn(
    model: Model,
    net: JointModel,
    rows: Sequence[Row],
    scans: Sequence[Volume | None],
    seeds: list[int],
    steps: int,
    tally: Tally,
) -> list[Row]:
    noise = net.noise(seeds)
    held = given_scans(net, rows, [None if scan is None else model.checkpoint.on_grid(scan) for scan in scans])
    field = tally.counting(net.velocity)
    state = sample(field, noise, held, evaluations=steps, shift=net.config.shift, linear=net.linear(held))
    filled = model.schema.decode(state.table.cpu().numpy(), rows)
    return [{name: row[name] for name in model.schema.names} for row in filled]
