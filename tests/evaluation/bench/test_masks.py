"""The bench of masks: known answers of its measures, and the whole of it on balls with a ruler that reads brightness."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from engine.cohort.participants import Roles
from engine.cohort.store import CohortStore
from engine.evaluation.bench import masks
from engine.evaluation.bench.masks import benchmark_masks, dice, steepness
from engine.imaging.segmentation import Segmentation
from engine.imaging.volume import Volume
from engine.vocabulary.refusal import RequestError

AFFINE = np.diag([6.0, 6, 6, 1])


def blocks(size: int) -> Segmentation:
    labels = np.zeros((24, 24, 24), np.uint8)
    labels[4 : 4 + size, 4:20, 4:20] = 1
    return Segmentation(labels, AFFINE, ("background", "liver", "spleen"))


def test_dice_of_blocks() -> None:
    assert dice(blocks(8), blocks(8)) == {"liver": 1.0}
    assert dice(blocks(8), blocks(4)) == {"liver": pytest.approx(2 * 4 / 12)}


def test_a_blurred_scan_is_less_steep_at_its_edges() -> None:
    mask = blocks(12)
    sharp = Volume(mask.labels.astype(np.float32), AFFINE)
    soft = Volume(gaussian_filter(sharp.data, 1.5), AFFINE)
    assert steepness(mask, sharp, sharp) == {"liver": pytest.approx(1.0)}
    assert steepness(mask, soft, sharp)["liver"] < 0.6


class Brightness:
    """Reads balls by their brightness: background, ball and dark middle."""

    def classes_on(self, volume: Volume) -> SimpleNamespace:
        data = np.asarray(volume.data, np.float32).reshape(volume.grid)
        inside = gaussian_filter(data, 1.0) > 0.3
        names = ("background", "brain", "ventricles")
        labels = np.where(inside, np.where(data < 0.45, 2, 1), 0)
        shares = np.stack([labels == k for k in range(3)]).astype(np.float32)
        return SimpleNamespace(framed=volume, probabilities=shares, affine=volume.affine, names=names)


def test_the_whole_of_it_on_balls(masked: str, labelled_store: CohortStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "load_ruler", lambda region: Brightness())
    monkeypatch.setattr(masks, "GROWN", "brain")
    monkeypatch.setattr(masks, "FACTOR", 0.8)
    monkeypatch.setattr(masks, "STEPS", 2)
    seen: list[tuple[int, int]] = []
    few = np.flatnonzero(labelled_store.labelled)[:6]
    none = few[:0]
    persons = labelled_store.with_roles(Roles(parts={"train": none, "validation": none, "test": few}))
    found = benchmark_masks(masked, persons, edits=4, device="cpu", progress=lambda _, a, b: seen.append((a, b)))
    assert seen[-1] == (found["persons"], found["persons"])
    assert found["read off real scans"]["brain"]["value"] > 0.8
    assert 0.3 < found["mask autoencoder"]["brain"]["value"] <= 1
    assert found["brain times 0.8"]["asked"]["value"] == pytest.approx(0.8, abs=0.01)
    assert {"segmented", "read off scans drawn for the mask", "steepness over real"} <= found.keys()


def test_a_model_without_masks_is_refused(checkpoint: str, labelled_store: CohortStore) -> None:
    with pytest.raises(RequestError, match="knows no masks"):
        benchmark_masks(checkpoint, labelled_store)
