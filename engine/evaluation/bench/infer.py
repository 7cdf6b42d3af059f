"""What a model reads off bare scans of test persons, beside a plain ResNet trained on the same persons, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from engine.cohort.participants import judged, read_participants
from engine.cohort.store import CohortStore
from engine.evaluation.bench.sampling import machine
from engine.evaluation.metrics.interval import bootstrap, proportion
from engine.imaging.volume import Volume
from engine.inference.generate import load
from engine.inference.infer import INTERVAL, infer, posterior
from engine.training.baselines.resnet import DirectTraining, read_directly, train_direct
from engine.training.run import Progress
from engine.vocabulary.refusal import RequestError
from engine.vocabulary.schema import AttributeSchema, Category, Number, Row

#: of the interval of a difference of errors: its upper bound is one-sided 95%
LEVEL = 0.9


def benchmark_infer(
    checkpoint: str | Path,
    store: CohortStore,
    *,
    draws: int = 64,
    training: DirectTraining | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Errors of both on the store's test persons, ready for JSON.

    A number: mean absolute errors, their difference (the model's less the ResNet's, paired bootstrap over persons, level
    :data:`LEVEL`) and how often the central 90% interval of the draws holds the truth (exact binomial). A category of two
    levels: the share read wrongly. Raises :class:`RequestError` for a store of another grid.
    """
    report = progress or (lambda _what, _done, _total: None)
    model, training = load(checkpoint, device), training or DirectTraining()
    if not model.has_image or store.grid != model.checkpoint.model.config.image.grid:
        raise RequestError(f"the store's grid {store.grid} is not the model's; give the store it was trained on")
    store, _ = judged(store, read_participants(model.checkpoint.path), model.name)
    schema, parts = model.schema, store.split()
    target, binary, names = targets(schema, store, parts["train"])
    began, net = time.monotonic(), None
    for step in train_direct(store, parts["train"], target, binary, training, seed):
        if isinstance(step, Progress):
            report("training the ResNet", step.step, step.total)
        else:
            net = step
    assert net is not None
    seconds, test = time.monotonic() - began, parts["test"]
    by_resnet = read_directly(net, store, test, training)
    found: list[dict[str, Any]] = []
    for done, row in enumerate(test):
        scan = Volume(store.scan(row), model.checkpoint.affine, store.channels)
        found.append(posterior(schema, infer(model, scan, samples=draws, seed=seed), {}))
        report("reading test scans", done + 1, len(test))
    rows = [store.rows[i] for i in test]
    centre, sd = scale(schema, store, parts["train"], names)
    columns = {}
    for k, name in enumerate(names):
        column, answers = schema[name], [f[name] for f in found]
        if isinstance(column, Category):
            columns[name] = wrong_level(column, rows, answers, by_resnet[:, k])
        else:
            columns[name] = errors_of(name, rows, answers, by_resnet[:, k] * sd[k] + centre[k], seed)
    return {
        "checkpoint": {"name": model.name, "digest": model.digest},
        "machine": machine(model.device),
        "persons": {part: len(index) for part, index in parts.items()},
        "draws": draws,
        "resnet": {
            "seconds": round(seconds),
            "parameters": sum(p.numel() for p in net.parameters()),
            **asdict(training),
        },
        "columns": columns,
    }


def targets(
    schema: AttributeSchema, store: CohortStore, rows: np.ndarray
) -> tuple[Float[Tensor, "n k"], Bool[Tensor, " k"], list[str]]:
    """Modelled numbers, standardised, and categories of two levels as 0 and 1; NaN where missing."""
    names = [c.name for c in schema.columns if isinstance(c, Number) or len(c.levels) == 2]
    centre, sd = scale(schema, store, rows, names)
    values = []
    for name in names:
        column = schema[name]
        cells = [store.rows[i].get(name) for i in rows]
        if isinstance(column, Category):
            values.append([column.levels.index(str(c)) if c is not None else np.nan for c in cells])
        else:
            values.append([np.nan if c is None else float(c) for c in cells])
    binary = torch.tensor([isinstance(schema[name], Category) for name in names])
    return torch.tensor((np.array(values).T - centre) / sd, dtype=torch.float32), binary, names


def scale(
    schema: AttributeSchema, store: CohortStore, rows: np.ndarray, names: list[str]
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Mean and SD of the training persons' numbers; 0 and 1 for categories."""
    pairs = []
    for name in names:
        cells = [store.rows[i].get(name) for i in rows]
        known = [float(c) for c in cells if c is not None] if isinstance(schema[name], Number) else []
        pairs.append((np.mean(known), np.std(known)) if known else (0.0, 1.0))
    return np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs], float).clip(1e-9)


def errors_of(
    name: str, rows: list[Row], answers: list[dict[str, Any]], by_resnet: Float[np.ndarray, " n"], seed: int
) -> dict[str, Any]:
    """Of a number, over the persons whose table has it."""
    there = [i for i, row in enumerate(rows) if row.get(name) is not None]
    truth = np.array([float(rows[i][name]) for i in there])  # pyright: ignore[reportArgumentType]
    ours = np.abs([answers[i]["mean"] for i in there] - truth)
    theirs = np.abs(by_resnet[there] - truth)
    inside = sum(
        bool(answers[i]["interval"][0] <= t <= answers[i]["interval"][1]) for i, t in zip(there, truth, strict=True)
    )
    difference = bootstrap(
        lambda i: float((ours[i] - theirs[i]).mean()), np.arange(len(there)), np.random.default_rng(seed), level=LEVEL
    )
    return {
        "mae": round(float(ours.mean()), 3),
        "mae_resnet": round(float(theirs.mean()), 3),
        "mae_mean": round(float(np.abs(truth - truth.mean()).mean()), 3),
        "difference": asdict(difference),
        f"coverage_{INTERVAL:.0%}": asdict(proportion(inside, len(there))),
    }


def wrong_level(
    column: Category, rows: list[Row], answers: list[dict[str, Any]], by_resnet: Float[np.ndarray, " n"]
) -> dict[str, Any]:
    """Of a category of two levels: how many are read wrongly."""
    there = [i for i, row in enumerate(rows) if row.get(column.name) is not None]
    truth = [str(rows[i][column.name]) for i in there]
    ours = sum(answers[i]["likeliest"] != t for i, t in zip(there, truth, strict=True))
    theirs = sum(column.levels[int(by_resnet[i] > 0)] != t for i, t in zip(there, truth, strict=True))
    return {"wrong": asdict(proportion(ours, len(there))), "wrong_resnet": asdict(proportion(theirs, len(there)))}
