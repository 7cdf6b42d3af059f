"""Contrastive training: its loss is the paper's, resuming is never having stopped, its figures have known answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.losses.contrastive import ContrastiveLoss

from engine.cohort.store import CohortStore
from engine.measure.features import FeatureConfig, FeatureEncoder, fold_of
from engine.training.augment import Augmentation
from engine.training.run import RunError
from engine.training.stages.feature_figures import damaged, detected, probed, retrieval
from engine.training.stages.features import (
    FeatureRecipe,
    Views,
    head_features,
    rows_of_folds,
    torso_features,
    train_features,
    two_views,
)

TINY = FeatureRecipe(
    name="features-head",
    title="Tiny",
    encoder=FeatureConfig(grid=(32, 32, 32), channels=("T1w",), widths=(4, 8, 8, 8), groups=2, size=4),
    views=Views(window=1.0, shift=1, augmentation=Augmentation(rotation=1.15, scale=0.0, shift=0.0, elastic=0.0)),
    steps=6,
    batch=4,
    warmup=2,
    constant=50,
    head=8,
    bfloat16=False,
    judged=6,
)


@pytest.fixture(scope="module")
def tiny_features(tmp_path_factory: pytest.TempPathFactory, tiny_store: CohortStore) -> Path:
    """The run directory of an uninterrupted training."""
    run = tmp_path_factory.mktemp("features")
    for _ in train_features(TINY, tiny_store, run):
        pass
    return run


def test_the_loss_is_equation_1_of_the_paper():
    first, second = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1)).unbind()
    z = np.concatenate([first.numpy(), second.numpy()])
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    losses = []
    for i in range(10):
        similar = np.exp(z @ z[i] / 0.2)
        losses.append(-np.log(similar[(i + 5) % 10] / (similar.sum() - similar[i])))
    assert float(ContrastiveLoss(0.2)(first, second)) == pytest.approx(np.mean(losses), rel=1e-5)


def test_resumed_equals_uninterrupted(tiny_store: CohortStore, tiny_features: Path, tmp_path: Path):
    run, steps = tmp_path / "run", 0
    for stop in (1, 3):  # also before the second fold has taken a step
        for progress in train_features(replace(TINY, steps=stop), tiny_store, run):
            steps = progress.step
        assert steps == stop
    steps = [p.step for p in train_features(TINY, tiny_store, run)]
    assert steps == [6]
    for file in ("weights.safetensors", "config.json", "model_card.json"):
        assert (run / "checkpoint" / file).read_bytes() == (tiny_features / "checkpoint" / file).read_bytes()


def test_a_time_limit_stops_and_leaves_a_checkpoint(tiny_store: CohortStore, tmp_path: Path):
    assert [p.step for p in train_features(TINY, tiny_store, tmp_path, minutes=0.0)] == [1]
    assert FeatureEncoder.load(tmp_path / "checkpoint").name == "features-head"


def test_the_card_says_whom_it_saw(tiny_store: CohortStore, tiny_features: Path):
    encoder = FeatureEncoder.load(tiny_features / "checkpoint")
    train = len(tiny_store.split()["train"])
    assert f"{train} training persons only" in encoder.card["trained_on"]
    assert "balls" in encoder.card["trained_on"]
    assert "ask the cohort's owner" in encoder.card["licence"]
    assert any("found again" in line for line in encoder.card["figures"])
    assert encoder.encode(np.zeros((1, 1, 32, 32, 32), np.float32)).shape == (1, 2, 4)


def test_only_training_persons_of_its_own_fold_train(tiny_store: CohortStore):
    folds = rows_of_folds(tiny_store, 2)
    assert sorted(np.concatenate(folds)) == list(tiny_store.split()["train"])
    for f, rows in enumerate(folds):
        assert {fold_of(tiny_store.rows[i]["participant_id"]) for i in rows} == {f}


def test_another_store_is_refused(tiny_store: CohortStore, tmp_path: Path):
    with pytest.raises(RunError, match=r"grid is \(32, 32, 32\) of T1w, the encoder's \(96, 80, 144\) of water, fat"):
        next(train_features(torso_features(), tiny_store, tmp_path))
    with pytest.raises(RunError, match="a batch 99; lower the batch"):
        next(train_features(replace(TINY, batch=99), tiny_store, tmp_path))


def test_views_keep_what_must_be_seen():
    still = Augmentation(mirror=0, rotation=0, scale=0, shift=0, elastic=0, gain=0, gamma=0)
    volumes = torch.rand(3, 2, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    config = Views(window=1.0, shift=0, noise=0.0, augmentation=still)
    for view in two_views(volumes, config, torch.Generator().manual_seed(1), spacing=(1, 1, 1)):
        assert torch.allclose(view, volumes, atol=1e-5)
    deformed, moved = two_views(volumes, replace(config, shift=3), torch.Generator().manual_seed(1), spacing=(1, 1, 1))
    assert torch.allclose(deformed, volumes, atol=1e-5)
    assert not torch.allclose(moved, volumes)
    kept = set(volumes.flatten().tolist()) | {0.0}
    assert set(moved.flatten().tolist()) <= kept, "moved by whole voxels: nothing is blurred"
    noisy = two_views(volumes, replace(config, noise=0.02), torch.Generator().manual_seed(1), spacing=(1, 1, 1))[1]
    assert 0 < float((noisy - volumes).abs().max()) < 0.15
    part = two_views(volumes, replace(config, window=0.5), torch.Generator().manual_seed(1), spacing=(1, 1, 1))
    assert part[0].shape == (3, 2, 8, 8, 8)
    assert torch.allclose(*part, atol=1e-5), "without variation both show the same place"
    assert set(part[1].flatten().tolist()) <= kept


def test_a_torso_has_a_left_and_a_right_and_a_head_has_not():
    assert torso_features().views.augmentation.mirror == 0
    assert head_features().views.augmentation.mirror == 0.5


def test_retrieval_of_the_same_and_of_strangers():
    points = np.random.default_rng(0).normal(size=(40, 8))
    assert retrieval(points, points + 1e-3)["share"] == 1
    assert retrieval(points, points)["interval"][0] > 0.9
    assert retrieval(points, points[::-1] + 1e-3)["share"] == 0


def test_damage_seen_and_unseen():
    rng = np.random.default_rng(0)
    plain = rng.normal(size=(60, 4))
    moved = plain + np.array([3.0, 0, 0, 0])
    seen, unseen = detected(plain, moved), detected(plain, plain + rng.normal(size=plain.shape) * 1e-3)
    assert seen["auc"] > 0.95
    assert seen["shift"] == pytest.approx(3 / 2.7, rel=0.15)  # two standard normals in 4 dimensions lie 2.7 apart
    assert unseen["auc"] == pytest.approx(0.5, abs=0.1)
    assert unseen["shift"] < 0.01


def test_a_probe_reads_what_is_there(tiny_store: CohortStore):
    rng = np.random.default_rng(0)
    rows = tiny_store.rows * 10
    store = replace(tiny_store, rows=rows)
    parts = {}
    for part, members in (("train", range(0, 160)), ("validation", range(160, 200)), ("test", range(200, 240))):
        age = np.array([rows[i]["age"] for i in members])
        parts[part] = np.array(members), np.stack([age, *rng.normal(size=(3, len(age)))], 1)
    assert probed(store, parts, "age")["test"] > 0.99
    assert abs(probed(store, parts, "sex")["test"] - 0.5) < 0.35
    assert probed(store, parts, "unknown") == {}


def test_damages_do_what_they_say():
    ball = np.linalg.norm(np.indices((40, 40, 40)) - 19.5, axis=0) < 12
    volume = np.where(ball, 0.5, 0.1).astype(np.float32)[None]
    found = damaged(volume, ball, np.random.default_rng(0))
    assert (found["smaller"] - 0.1).sum() / (volume - 0.1).sum() == pytest.approx(0.9, abs=0.03)
    assert (found["noise"] - volume).std() == pytest.approx(0.05, rel=0.1)
    assert found["blur"].mean() == pytest.approx(volume.mean(), rel=0.01)
    assert np.abs(np.diff(found["blur"], axis=1)).max() < 0.6 * 0.4
