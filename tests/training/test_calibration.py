"""Laws of the columns' calibration: what helps nobody is taken out, what helps stays, and the scan's half never moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import engine.training.calibration as module
from engine.checkpoint import load_checkpoint
from engine.cohort.store import CohortStore
from engine.flow import flow_loss, interpolate
from engine.model import JointModel
from engine.recipes import Recipe
from engine.training.calibration import BATCHES, READING, calibrate_columns
from engine.training.flow import draw_examples, encode_rows
from engine.training.run import load_tensors


class Case:
    """A trained model whose columns' output is drawn anew, so that it fits some persons by chance and others not."""

    def __init__(self, run: Path, store: CohortStore, recipe: Recipe) -> None:
        self.model = load_checkpoint(run / "checkpoint").model.requires_grad_(False)
        self.latents = load_tensors(run / "latents.safetensors")[0]["latents"]
        self.rows: Sequence[Mapping[str, Any]] = [store.rows[i] for i in store.split()["train"]]
        self.config = replace(recipe.flow, mixture=READING)
        out = self.model.velocity_net.column_out
        out.copy_(0.1 * torch.randn(out.shape, generator=torch.Generator().manual_seed(0)))

    def calibrated(self, model: JointModel, seed: int = 1, **settings: Any) -> JointModel:
        model = deepcopy(model)
        for _ in calibrate_columns(model, self.latents, self.rows, self.config, seed=seed, **settings):
            pass
        return model

    def error(self, model: JointModel, seed: int = 1) -> tuple[float, torch.Tensor]:
        """Of the columns that are asked for; and the image's velocities."""
        tables = encode_rows(model, self.rows, self.config.table_versions, seed, torch.device("cpu"))
        sums, images = 0.0, []
        for step in range(BATCHES):
            clean, noise, levels, here = draw_examples(model, self.latents, tables, self.config, seed, step)
            found = model.velocity(interpolate(clean, noise, levels), levels)
            everyone = torch.ones(self.config.batch, dtype=torch.bool)
            sums += float(flow_loss(found, clean, noise, levels, here, everyone, model.mask)[1])
            images.append(found.image)
        return sums / BATCHES, torch.cat(images)


@pytest.fixture(scope="module")
def case(tiny_run: Path, tiny_store: CohortStore, tiny_recipe: Recipe) -> Case:
    return Case(tiny_run, tiny_store, tiny_recipe)


def slopes(before: JointModel, after: JointModel) -> torch.Tensor:
    """By how much each column's output was scaled; it is nothing but scaled."""
    one, other = before.velocity_net.column_out, after.velocity_net.column_out
    found = (one * other).sum((1, 2)) / one.square().sum((1, 2))
    assert torch.allclose(other, one * found[:, None, None], atol=1e-7)
    return found


def test_columns_get_nearer_and_the_scan_does_not_move(case: Case) -> None:
    after = case.calibrated(case.model)
    found = slopes(case.model, after)
    assert (found >= 0).all()
    assert (found <= 1).all()
    assert 0 < float(found.mean()) < 0.9, "a case in which there is something to do"
    none = deepcopy(case.model)
    none.velocity_net.column_out.zero_()
    (raw, image), (done, same) = case.error(case.model), case.error(after)
    assert done < raw
    assert done <= case.error(none)[0] + 1e-6
    assert torch.equal(image, same)


def test_it_is_a_projection_whatever_the_output_was_scaled_by(case: Case) -> None:
    once = case.calibrated(case.model)
    of_once = case.calibrated(once).velocity_net.column_out
    assert torch.allclose(of_once, once.velocity_net.column_out, atol=1e-5)
    louder = deepcopy(case.model)
    louder.velocity_net.column_out.mul_(3)
    of_louder = case.calibrated(louder).velocity_net.column_out
    assert torch.allclose(of_louder, once.velocity_net.column_out, atol=1e-5)


def test_what_points_the_wrong_way_is_taken_out(case: Case) -> None:
    helps = slopes(case.model, case.calibrated(case.model)) > 0
    turned = deepcopy(case.model)
    turned.velocity_net.column_out.mul_(-1)
    assert not slopes(turned, case.calibrated(turned))[helps].any()


def test_a_column_that_nobody_has_stays(case: Case) -> None:
    column = case.model.schema.names.index("age")
    everyone, case.rows = case.rows, [{**row, "age": None} for row in case.rows]
    found = slopes(case.model, case.calibrated(case.model))
    case.rows = everyone
    assert float(found[column]) == 1.0
    assert (found < 1).any()


def test_a_deadline_ends_it(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "monotonic", iter([0.0, *(float(k // 2) for k in range(1, 99))]).__next__)
    model = deepcopy(case.model)
    found = list(calibrate_columns(model, case.latents, case.rows, case.config, seed=1, deadline=1.5))
    assert [progress.step for progress in found] == [1, 2]
    assert (slopes(case.model, model) < 1).any(), "what was seen counts"
