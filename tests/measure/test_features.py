"""The feature encoder on disk: what is frozen stays frozen, a scan's features are its own, wrong input is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets.resnet import resnet10
from safetensors.torch import load_file, save_file
from torch import nn

from engine.checkpoints.files import CheckpointError
from engine.imaging.volume import VolumeError
from engine.measure.features import FOLDS, FeatureConfig, FeatureEncoder, fold_of, new_folds
from engine.measure.foreign_features import foreign
from engine.storage.whole import file_sha256

CONFIG = FeatureConfig(grid=(32, 32, 40), channels=("water", "fat"), widths=(8, 8, 16, 16), size=5)
CARD = {"name": "features-torso", "title": "Made up"}


@pytest.fixture(scope="module")
def untrained() -> FeatureEncoder:
    torch.manual_seed(3)
    folds = new_folds(CONFIG)
    folds.load_state_dict({k: v.bfloat16() for k, v in folds.state_dict().items()})
    return FeatureEncoder("features-torso", CONFIG, folds.requires_grad_(False).eval(), dict(CARD))


@pytest.fixture
def saved(untrained: FeatureEncoder, tmp_path: Path) -> Path:
    untrained.save(tmp_path / "features", {"persons": 7})
    return tmp_path / "features"


def scans(n: int) -> np.ndarray:
    return np.random.default_rng(0).random((n, 2, 32, 32, 40), np.float32)


def test_saved_and_read_again_it_sees_the_same(untrained: FeatureEncoder, saved: Path):
    again = FeatureEncoder.load(saved)
    assert (again.name, again.config, again.grid, again.channels) == (
        "features-torso",
        CONFIG,
        (32, 32, 40),
        ("water", "fat"),
    )
    assert again.digest == file_sha256(saved / "weights.safetensors")[:12]
    assert np.array_equal(again.encode(scans(2)), untrained.encode(scans(2)))


def test_features_have_length_one_and_depend_on_no_other_scan(untrained: FeatureEncoder):
    volumes = scans(3)
    found = untrained.encode(volumes)
    assert found.shape == (3, FOLDS, 5)
    assert np.allclose(np.linalg.norm(found, axis=2), 1, atol=1e-5)
    assert np.array_equal(untrained.encode(volumes[2:]), found[2:])
    assert not np.allclose(found[:, 0], found[:, 1]), "the folds are two networks"
    assert untrained.encode(volumes[:0]).shape == (0, FOLDS, 5)


def test_everything_frozen_is_a_parameter(untrained: FeatureEncoder):
    assert not list(untrained.folds.buffers())
    assert not [m for m in untrained.folds.modules() if isinstance(m, nn.BatchNorm3d)]
    assert not any(p.requires_grad for p in untrained.folds.parameters())


def test_the_full_size_fits_three_megabytes():
    config = FeatureConfig(grid=(96, 80, 144), channels=("water", "fat"))
    assert 2 * sum(p.numel() for p in new_folds(config).parameters()) < 3e6


def test_a_fold_is_of_the_person_alone():
    folds = [fold_of(f"sub-{i:04d}") for i in range(2000)]
    assert set(folds) == {0, 1}
    assert 900 < sum(folds) < 1100
    assert [fold_of(f"sub-{i}") for i in range(4)] == [1, 0, 0, 1]


@pytest.mark.parametrize(
    ("volumes", "sentence"),
    [
        (np.zeros((1, 1, 32, 32, 40), np.float32), r"shape \(1, 32, 32, 40\) were given; features-torso sees \(2, 32"),
        (np.zeros((1, 2, 32, 40, 32), np.float32), r"sees \(2, 32, 32, 40\)"),
        (np.full((1, 2, 32, 32, 40), 255.0, np.float32), "values of 255 to 255; features-torso sees 0 to 1"),
        (np.full((1, 2, 32, 32, 40), np.nan, np.float32), "sees 0 to 1"),
    ],
)
def test_another_scan_is_refused(untrained: FeatureEncoder, volumes: np.ndarray, sentence: str):
    with pytest.raises(VolumeError, match=sentence):
        untrained.encode(volumes)


def test_changed_weights_are_refused(saved: Path):
    weights = load_file(saved / "weights.safetensors")
    name = next(iter(weights))
    save_file(weights | {name: weights[name] + 1}, saved / "weights.safetensors")
    with pytest.raises(CheckpointError, match="not those it was saved with"):
        FeatureEncoder.load(saved)


@pytest.mark.parametrize("change", [{"name": "measure-head"}, {"version": 9}, {"features": {"grid": [32, 32, 32]}}])
def test_another_kind_is_refused(saved: Path, change: dict):
    stored = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(stored | change))
    with pytest.raises(CheckpointError, match="restore or replace it"):
        FeatureEncoder.load(saved)


def test_nothing_there_is_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match="there is no features-head"):
        FeatureEncoder.load(tmp_path / "nowhere")


def test_settings_that_make_no_network_are_refused():
    for change in ({"grid": (8, 32, 32)}, {"channels": ()}, {"widths": (8, 8, 16)}, {"widths": (6, 8, 16, 16)}):
        with pytest.raises(ValueError, match=r"grid|channels|widths"):
            replace(CONFIG, **change)


def test_foreign_weights(tmp_path: Path):
    torch.manual_seed(0)
    net = resnet10(n_input_channels=1, feed_forward=False, shortcut_type="B", bias_downsample=False)
    weights = {f"module.{k}": v for k, v in net.state_dict().items()} | {"module.conv_seg.0.weight": torch.zeros(2)}
    path = tmp_path / "resnet_10.pth"
    torch.save({"state_dict": weights}, path)
    encoder = foreign(path, 2)
    volumes = scans(2)
    found = encoder.encode(volumes)
    assert found.shape == (2, 2, 512)
    assert encoder.digest == file_sha256(path)
    # brightness is not seen, and each channel is seen on its own
    assert np.allclose(encoder.encode(volumes / 2), found, atol=1e-3)
    assert np.allclose(encoder.encode(volumes[:, ::-1]), found[:, ::-1], atol=1e-5)
    with pytest.raises(VolumeError, match="1 channels were given"):
        encoder.encode(volumes[:, :1])
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, tmp_path / "r.safetensors")
    assert np.allclose(foreign(tmp_path / "r.safetensors", 2).encode(volumes), found, atol=1e-5)


@pytest.mark.parametrize("contents", [b"nothing", b"", None, {"conv1.weight": torch.zeros(3)}, [1, 2]])
def test_foreign_weights_of_something_else_are_refused(tmp_path: Path, contents: object):
    path = tmp_path / "weights.pth"
    if isinstance(contents, bytes):
        path.write_bytes(contents)
    elif contents is not None:
        torch.save(contents, path)
    with pytest.raises(CheckpointError, match=r"holds no weights of a 3D ResNet-10"):
        foreign(path, 1)
