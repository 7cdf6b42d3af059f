"""Scan to attributes: draws from p(missing columns | bare scan, given columns)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from engine.imaging.volume import Volume
from engine.inference.conditioning import given_again, given_scans
from engine.inference.generate import Model, evaluations
from engine.inference.progress import ProgressCallback, Tally
from engine.model.sampler import sample
from engine.vocabulary.refusal import RequestError
from engine.vocabulary.schema import AttributeSchema, Category, Row


@torch.inference_mode()
def infer(
    model: Model,
    volume: Volume | None,
    given: Mapping[str, Any] | None = None,
    *,
    samples: int = 64,
    seed: int = 0,
    steps: int | None = None,
    progress: ProgressCallback | None = None,
) -> list[Row]:
    """``samples`` draws of the whole table of the person in ``volume`` (None: no scan is known), the ``given`` columns held.

    The scan is encoded without any column that is not given (the leak to avoid), and guidance is off; ``steps`` counts
    network evaluations (None: as many as a person with, or without, a scan is drawn with), and ``progress`` hears of
    each; what it raises cancels. ``volume`` must lie
    on the model's grid (:func:`engine.cohort.preprocess.preprocess.preprocess` brings it there). Raises :class:`RequestError`
    when it does not, :class:`engine.vocabulary.schema.AttributeValueError` for an impossible given value.
    """
    if not 1 <= samples <= 4096 or not 0 <= seed < 2**62:
        raise RequestError(f"samples {samples}, seed {seed}: give 1 to 4096 samples, and a seed from 0")
    net = model.checkpoint.model if volume is not None else model.checkpoint.model.alone
    steps = evaluations(net) if steps is None else steps
    row = model.schema.resolve(given or {})
    noise = net.noise(list(range(seed, seed + samples)))
    scan = None if volume is None else model.checkpoint.on_grid(volume)
    held = given_again(given_scans(net, [row], [scan]), samples)
    field = Tally(progress, steps).counting(net.velocity)
    state = sample(field, noise, held, evaluations=steps, shift=net.config.shift, linear=net.linear(held))
    rows = model.schema.decode(state.table.cpu().numpy(), [row] * samples)
    return [{name: r[name] for name in model.schema.names} for r in rows]


#: bins of a histogram, and the share of draws in the interval
BINS, INTERVAL = 12, 0.9


def posterior(schema: AttributeSchema, draws: Sequence[Row], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What the draws say of every column, ready for JSON.

    A number: ``mean``, ``sd``, ``median``, the central 90% ``interval`` and a ``histogram`` (``edges``, one more than
    ``counts``). The interval's ends are the draws of rank 5% and 95% of n + 1, between which 90% of all further draws fall
    whatever their distribution (of fewer than 19 draws: between the least and the largest, (n - 1) / (n + 1) of them; Wilks,
    Ann Math Stat 12, 1941). A category: the ``shares`` of its levels and the ``likeliest``; a given column: its ``given`` value.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in schema.names:
        column = schema[name]
        if name in given:
            found[name] = {"given": given[name]}
        elif isinstance(column, Category):
            counts = Counter(str(draw[name]) for draw in draws)
            shares = {level: counts[level] / len(draws) for level in column.levels}
            found[name] = {"likeliest": max(shares, key=lambda level: shares[level]), "shares": shares}
        else:
            values = np.array([draw[name] for draw in draws], float)
            counts, edges = np.histogram(values, BINS)
            tail = (1 - INTERVAL) / 2
            found[name] = {
                "unit": column.unit,
                "mean": float(values.mean()),
                "sd": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
                "median": float(np.median(values)),
                "interval": [float(v) for v in np.quantile(values, [tail, 1 - tail], method="weibull")],
                "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
            }
    return found
