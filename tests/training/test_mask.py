"""Training with masks, of all persons or of some, from nothing and on top of a model that knew none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.checkpoints.checkpoint import load_checkpoint
from engine.cohort.store import CohortStore
from engine.imaging.volume import Volume
from engine.inference.generate import Model
from engine.inference.segment import segment
from engine.model.flow import NoiseMixture
from engine.training.augment import Augmentation
from engine.training.pipeline import train
from engine.training.recipes import Recipe
from engine.training.run import RunError, load_tensors
from engine.training.stages.flow import encode_cohort
from engine.training.stages.mask import label_loss
from engine.training.stages.segmenter import segmentation_loss
from tests.conftest import MASK


def test_a_cohort_with_labels_of_some_gives_the_model_a_mask(mask_run: Path, labelled_store: CohortStore) -> None:
    checkpoint = load_checkpoint(mask_run / "checkpoint")
    assert checkpoint.config.model.mask == MASK
    assert checkpoint.config.provenance["mask_steps"] == 80
    kept = load_tensors(mask_run / "latents.safetensors")[0]
    rows = labelled_store.split()["train"]
    assert kept["has_mask"].tolist() == labelled_store.labelled[rows].tolist()
    assert 0 < int(kept["has_mask"].sum()) < len(rows)
    assert not kept["masks"][~kept["has_mask"]].any()
    assert checkpoint.model.mask_loadings.abs().sum() > 0


def test_persons_are_drawn_with_masks_for_masks_and_segmented(mask_run: Path, labelled_store: CohortStore) -> None:
    model = Model(load_checkpoint(mask_run / "checkpoint"))
    (alone,) = model.generate(seed=5, steps=2)
    assert alone.mask is None
    (person,) = model.generate(seed=5, steps=2, with_mask=True)
    assert person.mask is not None
    assert person.mask.classes == MASK.classes
    (drawn,) = model.generate(seed=5, steps=2, mask=person.mask)
    assert drawn.mask is person.mask, "a given mask comes back exactly"
    row = int(np.flatnonzero(labelled_store.labelled)[0])
    scan = Volume(labelled_store.scan(row)[0], labelled_store.affine)
    found = segment(model, scan, {"age": 50})
    truth = np.asarray(labelled_store.labels[row])
    ball = 2 * ((found.labels > 0) & (truth > 0)).sum() / ((found.labels > 0).sum() + (truth > 0).sum())
    assert ball > 0.8


def test_without_labels_training_is_as_before(
    mask_recipe: Recipe, tiny_store: CohortStore, tiny_run: Path, tmp_path: Path
) -> None:
    short = replace(
        mask_recipe, autoencoder=replace(mask_recipe.autoencoder, steps=2), flow=replace(mask_recipe.flow, steps=2)
    )
    stages = {p.stage for p in train(short, tiny_store, tmp_path / "run")}
    assert "mask" not in stages
    assert load_checkpoint(tmp_path / "run" / "checkpoint").config.model.mask is None


@pytest.mark.slow
def test_a_mask_is_added_to_a_model_that_knew_none(
    mask_recipe: Recipe, labelled_store: CohortStore, tiny_run: Path, tmp_path: Path
) -> None:
    """First only what takes it in learns; before any step the model is as it was."""
    base = load_checkpoint(tiny_run / "checkpoint")
    short = replace(
        mask_recipe, autoencoder=replace(mask_recipe.autoencoder, steps=2), flow=replace(mask_recipe.flow, steps=4)
    )
    plain = [p.stage for p in train(short, labelled_store, tmp_path / "plain", source=base.path)]
    assert "mask" not in plain, "unless it is asked for"
    stages = [p.stage for p in train(short, labelled_store, tmp_path / "run", source=base.path, add_mask=True)]
    assert list(dict.fromkeys(stages)) == [
        "autoencoder",
        "mask",
        "latents",
        "rows",
        "adapter",
        "flow",
        "correction",
        "refiner",
        "detail",
        "fingerprint",
    ]
    made = load_checkpoint(tmp_path / "run" / "checkpoint")
    assert made.config.model.mask == MASK
    assert made.config.provenance["adapter_steps"] == 2
    adapter = load_tensors(tmp_path / "run" / "adapter.safetensors")[0]
    learned = {name.split(".")[1] for name in adapter if name.startswith("weights.")}
    assert learned == {"noise", "into", "gate", "said", "out"}
    assert torch.equal(made.model.autoencoder.linear.weight, base.model.autoencoder.linear.weight)
    assert torch.equal(made.model.image_loadings, base.model.image_loadings), "its latents and linear part stay"
    again = [p.stage for p in train(short, labelled_store, tmp_path / "again", source=made.path)]
    assert not {"mask", "adapter"} & set(again), "a model with a mask keeps it"


def test_a_mask_that_cannot_be_added_is_refused(
    mask_recipe: Recipe,
    tiny_recipe: Recipe,
    labelled_store: CohortStore,
    tiny_store: CohortStore,
    tiny_run: Path,
    mask_run: Path,
    tmp_path: Path,
) -> None:
    base = tiny_run / "checkpoint"
    for recipe, store, source, why in (
        (mask_recipe, tiny_store, base, "no label maps"),
        (tiny_recipe, labelled_store, base, "no label maps"),
        (mask_recipe, labelled_store, None, "no model to add it to"),
        (mask_recipe, labelled_store, mask_run / "checkpoint", "one already in the model"),
    ):
        with pytest.raises(RunError, match=f"cannot be added: there is {why}"):
            train(recipe, store, tmp_path / "run", source=source, add_mask=True)
    assert not (tmp_path / "run").exists()


def test_copies_of_image_and_mask_are_deformed_alike(
    mask_recipe: Recipe, mask_run: Path, labelled_store: CohortStore, tmp_path: Path
) -> None:
    """A head that is mirrored and moved has its mask mirrored and moved: shapes found in both stay together."""
    model = load_checkpoint(mask_run / "checkpoint").model
    rows = np.flatnonzero(labelled_store.labelled)[:3]
    far = Augmentation(mirror=1.0, rotation=0, scale=0, shift=(12.0, 0, 0), elastic=0, gain=0, gamma=0)
    flow = replace(mask_recipe.flow, copies=2, augmentation=far)
    steps = encode_cohort(model, labelled_store, rows, flow, path=tmp_path / "latents", seed=0)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            latents = end.value
            break
    with torch.inference_mode():
        for i in range(len(rows)):
            image = model.autoencoder.decode(latents.image[i, 1:].float())[0, 0] > 0.35
            mask = model.mask_autoencoder.decode(latents.mask[i, 1:].float()).argmax(1)[0] == 1
            axis = torch.arange(32.0)
            middle = [float((part.sum((1, 2)) * axis).sum() / part.sum()) for part in (image, mask)]
            assert abs(middle[0] - middle[1]) < 1.0
    assert not torch.equal(latents.mask[:, 0], latents.mask[:, 1])


def test_levels_of_masks_come_in_their_shares() -> None:
    levels = NoiseMixture().draw(20000, 3, torch.Generator().manual_seed(0), 3.0, masks=True)
    share = NoiseMixture()
    assert (levels.mask == 1).float().mean() == pytest.approx(share.mask_unknown, abs=0.01)
    assert (levels.mask == 0).float().mean() == pytest.approx(share.mask_given, abs=0.01)
    alone = (levels.image == 1) & (levels.mask < 1)
    assert alone.float().mean() == pytest.approx(share.mask_own / 2, abs=0.01)
    same = (levels.image == levels.mask) & (levels.mask > 0) & (levels.mask < 1)
    assert same.float().mean() == pytest.approx(share.mask_equal * (1 - share.image_clean), abs=0.015)


def test_without_masks_levels_are_drawn_as_ever() -> None:
    one, other = (NoiseMixture().draw(50, 3, torch.Generator().manual_seed(0), 3.0, masks=m) for m in (False, True))
    assert torch.equal(one.table, other.table)
    assert (one.mask == 1).all()


def test_the_loss_of_labels_is_cross_entropy_and_dice() -> None:
    """Against the same by one-hot targets (:func:`engine.training.stages.segmenter.segmentation_loss`)."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (1, 6, 6, 6), generator=rng).to(torch.uint8)
    scores = torch.randn(1, 4, 6, 6, 6, generator=rng)
    target = torch.nn.functional.one_hot(labels.long(), 4).movedim(-1, 1).float()
    entropy, dice = label_loss(scores, labels)
    wanted, near = segmentation_loss(scores, target[:, 1:])
    assert torch.allclose(entropy, wanted)
    assert abs(float(dice - near)) < 0.02, "that one adds 1 above and below"
