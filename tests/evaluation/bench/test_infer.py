"""Reading bare scans beside a ResNet: the sums, and one run of the whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.cohort.store import CohortStore
from engine.evaluation.bench.infer import benchmark_infer, errors_of, targets, wrong_level
from engine.inference.generate import RequestError, load
from engine.training.augment import Augmentation
from engine.training.baselines.resnet import DirectTraining, read_directly, train_direct
from engine.training.run import Progress
from engine.vocabulary.schema import Category


def test_errors_and_coverage_of_known_answers() -> None:
    rows = [{"age": float(a)} for a in (20, 30, 40, 50)] + [{"age": None}]
    answers = [{"mean": m, "interval": [m - 3, m + 3]} for m in (21.0, 28.0, 44.0, 50.0, 9.0)]
    found = errors_of("age", rows, answers, np.array([22.0, 32, 42, 52, 99]), seed=0)
    assert (found["mae"], found["mae_resnet"], found["mae_mean"]) == (1.75, 2.0, 10.0)
    assert found["difference"]["value"] == pytest.approx(-0.25)
    assert found["difference"]["low"] < -0.25 < found["difference"]["high"]
    assert found["coverage_90%"] == pytest.approx({"value": 0.75, "low": 0.1941, "high": 0.9937, "n": 4}, abs=1e-4)


def test_wrong_levels_of_known_answers() -> None:
    sex = Category(name="sex", levels=("F", "M"))
    rows = [{"sex": s} for s in ("F", "M", "M", None)]
    found = wrong_level(sex, rows, [{"likeliest": s} for s in ("F", "F", "M", "F")], np.array([1.0, 2, -1, 0]))
    assert (found["wrong"]["value"], found["wrong_resnet"]["value"]) == pytest.approx((1 / 3, 2 / 3))


def test_the_resnet_learns_what_a_scan_shows(tiny_store: CohortStore) -> None:
    rows = np.arange(8)
    bright = torch.tensor([float(tiny_store.volumes[i].mean()) for i in rows])
    target = ((bright - bright.mean()) / bright.std())[:, None]
    none = Augmentation(mirror=0, rotation=0, scale=0, shift=0, elastic=0, gain=0, gamma=0)
    still = DirectTraining(steps=40, batch=8, width=0.125, augmentation=none)
    *steps, net = train_direct(tiny_store, rows, target, torch.tensor([False]), still)
    losses = [step.losses["loss"] for step in steps if isinstance(step, Progress)]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:3])
    assert read_directly(net, tiny_store, rows, still).shape == (8, 1)


def test_one_run_of_the_whole(tiny_run: Path, tiny_store: CohortStore) -> None:
    seen: list[str] = []
    found = benchmark_infer(
        tiny_run / "checkpoint",
        tiny_store,
        draws=8,
        training=DirectTraining(steps=2, batch=2, width=0.125),
        device="cpu",
        progress=lambda what, done, total: seen.append(f"{what} {done}/{total}"),
    )
    json.dumps(found)
    schema = load(tiny_run / "checkpoint", "cpu").schema
    assert list(found["columns"]) == targets(schema, tiny_store, tiny_store.split()["train"])[2]
    assert found["columns"]["age"]["difference"]["n"] == len(tiny_store.split()["test"])
    assert "training the ResNet 2/2" in seen


def test_a_store_of_another_grid_is_refused(tiny_store: CohortStore) -> None:
    with pytest.raises(RequestError, match=r"the store's grid \(32, 32, 32\) is not the model's"):
        benchmark_infer("head-t1", tiny_store, device="cpu")
