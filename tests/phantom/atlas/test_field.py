"""A field says what its volume says, at points as on grids; the mask and the nodes are those that are needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.phantom.atlas.checkpoint import load_anatomy
from engine.phantom.atlas.config import FieldConfig, GridConfig
from engine.phantom.atlas.field import LabelField, corners
from engine.phantom.atlas.storing import as_stored, restored, stored
from engine.phantom.atlas.volume import LabelVolume
from engine.vocabulary.refusal import ConfigError
from tests.phantom.atlas.balls import BRIEF, balls


@pytest.fixture(scope="module")
def field(learned: Path) -> LabelField:
    return load_anatomy(learned / "checkpoint").fields["body"]


def centres(volume: LabelVolume) -> torch.Tensor:
    axes = [
        o + mm * torch.arange(n) for o, mm, n in zip(volume.origin, volume.spacing, volume.labels.shape, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)


def test_it_says_what_lies_where(field: LabelField) -> None:
    found, truth = field.decode(), balls().labels
    assert found.dtype == np.uint8
    assert (found == truth).mean() > 0.99
    assert (found == truth)[truth > 0].mean() > 0.99


def test_points_and_grids_are_told_alike(field: LabelField) -> None:
    """Interpolating along one axis after the other changes no class but by the last digit of a tie."""
    said = field(centres(balls())).argmax(1).numpy().reshape(field.config.shape)
    assert (said != field.decode()).mean() < 1e-4


def test_a_finer_grid_shows_the_same_shapes(field: LabelField) -> None:
    """Volumes in ml are those of the volume fitted to, on voxels of other sizes that no mask's cell is a multiple of."""
    truth = balls()
    for spacing in ((1.0, 1.5, 2.5), (3.0, 1.7, 2.0)):
        found = field.decode(spacing)
        assert found.shape == field.config.shape_at(spacing)
        for label in (1, 2, 3):
            mine = (found == label).sum() * np.prod(spacing)
            theirs = (truth.labels == label).sum() * np.prod(truth.spacing)
            assert mine == pytest.approx(theirs, rel=0.06)


def test_what_cannot_be_is_never_said(field: LabelField) -> None:
    logits = field(torch.tensor([[500.0, 0.0, 0.0], [-39.0, 10.0, -43.0]]))
    assert logits.argmax(1).tolist() == [0, 0]
    assert torch.isinf(logits[0, 1:]).all()
    possible = field.barred_at(centres(balls())).numpy() == 0
    assert possible[np.arange(balls().labels.size), balls().labels.ravel()].all()


def test_cells_of_one_class_ask_no_network() -> None:
    """An unfitted field is right wherever its mask knows."""
    volume = balls((60, 60, 60))
    field = LabelField.for_volume(BRIEF.config(volume), volume)
    single = field.get_buffer("allowed").sum(-1) == 1
    assert single.any()
    known = (field.barred_at(centres(volume)) == 0).sum(1).numpy().reshape(volume.labels.shape) == 1
    np.testing.assert_array_equal(field.decode()[known], volume.labels[known])


def test_only_nodes_near_borders_have_features_of_their_own() -> None:
    volume = balls((60, 60, 60))
    field = LabelField.for_volume(BRIEF.config(volume), volume)
    fine, coarse = field.rows(0), field.rows(1)
    assert 0.1 < (fine > 0).float().mean() < 0.6
    assert (coarse > 0).all()
    # all corners of every cell that a border runs through
    at_border = centres(volume)[torch.from_numpy(volume.borders.ravel())]
    cell = ((at_border - torch.tensor(field.config.low)) / 6.0).long()
    flat, _ = corners(cell, torch.zeros(len(cell), 3), (fine.shape[1], fine.shape[2]))
    assert (fine.flatten()[flat] > 0).all()


def test_trilinear_weights_keep_linear_functions() -> None:
    share = torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
    flat, weights = corners(torch.zeros(20, 3).long(), share, (2, 2))
    place = torch.stack([flat // 4, flat // 2 % 2, flat % 2], -1)
    torch.testing.assert_close(weights.sum(1), torch.ones(20))
    torch.testing.assert_close((place * weights[..., None]).sum(1), share)


def test_storing_changes_hardly_a_voxel(field: LabelField) -> None:
    again = as_stored(field)
    np.testing.assert_array_equal(again.decode(), field.decode())
    generator = torch.Generator().manual_seed(1)
    rough = as_stored(field)
    for table in rough.tables:  # between the steps of int8
        table += 0.3 * table.abs().amax(0) / 127 * torch.randn(table.shape, generator=generator)
    assert (as_stored(rough).decode() != rough.decode()).mean() < 0.003


def test_tensors_of_other_sizes_are_refused(field: LabelField) -> None:
    tensors = stored(field)
    other = replace(field.config, shape=(80, 80, 80))
    with pytest.raises(ValueError, match="bytes where the sizes make it"):
        restored(other, tensors)


def test_impossible_sizes_are_refused() -> None:
    labels = np.zeros((3, 3, 3), np.uint8)
    place = {"origin": (0.0, 0.0, 0.0), "spacing": (1.0, 1.0, 1.0)}
    with pytest.raises(ConfigError, match="label 2 has no class among 2"):
        LabelVolume(labels=labels + 2, classes=("outside", "liver"), **place)
    with pytest.raises(ConfigError, match="different names"):
        LabelVolume(labels=labels, classes=("outside", "outside"), **place)
    with pytest.raises(ConfigError, match="a spacing of"):
        LabelVolume(labels=labels, classes=("outside", "liver"), origin=(0.0,) * 3, spacing=(1.0, 0.0, 1.0))
    with pytest.raises(ConfigError, match="a field needs a grid"):
        FieldConfig(
            shape=(3, 3, 3),
            classes=("outside", "liver"),
            grids=(GridConfig(0.0, 4),),
            width=8,
            depth=1,
            cell=9.0,
            **place,
        )
