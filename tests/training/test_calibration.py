"""Calibration: the row to draw for, so that what is read off a drawn scan is what was asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from engine.cohort.store import CohortStore
from engine.model.calibration import MOST, Calibration
from engine.model.config import TransformerConfig
from engine.model.joint import JointModel
from engine.training.recipes import heart_cine
from engine.training.stages.heart import calibration
from engine.training.stages.heart.calibration import UNREAD, fit_calibration, slopes_of
from engine.vocabulary.row import Row
from engine.vocabulary.schema import AttributeSchema
from tests.cli.test_cli_train_heart import heart_store

COLUMNS = ("lv_edv", "lv_ef", "lv_mass")


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def changed(slopes: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    return torch.cat([asked, torch.ones(len(asked), 1)], 1) @ slopes.T


def test_a_linear_reading_becomes_what_was_asked() -> None:
    follows = torch.tensor([[0.6, 0.1, 0.0], [0.0, 0.8, -0.2], [0.1, 0.0, 0.5]])
    constant, noise = torch.tensor([0.3, -0.2, 0.5]), 0.02 * normal(4002, 3)[:4000]

    def read(row: torch.Tensor) -> torch.Tensor:
        return row @ follows.T + constant

    asked, changes = normal(4000, 3), 0.7 * normal(4001, 3)[:4000]
    slopes = slopes_of(asked, changes, asked - (read(asked + changes) + noise), torch.eye(3))
    more = 2 * normal(50, 3)
    before, after = (read(more + change) - more for change in (torch.zeros(50, 3), changed(slopes, more)))
    assert after.square().mean() < 0.05 * before.square().mean()


def test_what_drawn_scans_do_not_show_is_not_forced_on_them() -> None:
    """Of the second column only noise is read, whatever is asked: the inverse of what is read would ask for twenty SDs; no change is
    beyond half of one over the root of what stays unread."""
    asked, changes, read = normal(400, 2), normal(402, 2)[:400], normal(401, 2)[:400]
    read[:, 0] = asked[:, 0] + changes[:, 0]
    slopes = slopes_of(asked, changes, asked - read, torch.eye(2))
    assert slopes.abs().max() < 0.5 / UNREAD**0.5 < 3


@pytest.mark.parametrize("together", [0.8, 0.0, -0.8])
def test_of_changes_that_are_read_alike_the_likeliest_is_made(together: float) -> None:
    """Only the first column is read, and the second goes with it as it does in the cohort."""
    asked, changes = normal(4000, 2), normal(4001, 2)[:4000]
    read = (asked + changes)[:, :1].expand(-1, 2)
    correlations = torch.tensor([[1.0, together], [together, 1.0]])
    (made,) = changed(slopes_of(asked, changes, 1 - read, correlations), torch.zeros(1, 2))
    assert float(made[0]) == pytest.approx(1, abs=0.05)
    assert float(made[1]) == pytest.approx(together, abs=0.05)


def test_the_change_ends_at_three_standard_deviations_and_is_of_its_columns() -> None:
    schema = heart_cine().schema
    made = Calibration(COLUMNS, schema)
    made.slopes.copy_(normal(3, 4))
    table = torch.zeros(3, *schema.mask.shape)
    table[1, made.columns] = MOST
    table[2, made.columns] = 2 * MOST
    moved = made(table) - table
    assert torch.allclose(moved[1], moved[2], atol=1e-5)
    assert torch.equal(made.asked(moved)[0], made.slopes[:, -1])
    others = [k for k in range(len(schema.columns)) if k not in made.columns]
    assert not moved[:, others].any()


def test_slopes_that_precede_others_change_the_row_before_them() -> None:
    schema = heart_cine().schema
    first, then, both = (Calibration(COLUMNS, schema) for _ in range(3))
    first.slopes.copy_(0.1 * normal(3, 4))
    then.slopes.copy_(0.1 * normal(4, 4)[:3])
    both.precede(then.slopes)
    assert torch.allclose(both.slopes, then.slopes, atol=1e-6)
    both.precede(first.slopes)
    table = 0.5 * normal(20, *schema.mask.shape)
    assert torch.allclose(both(table), then(first(table)), atol=1e-5)


def test_columns_that_a_cohort_has_not_are_not_calibrated() -> None:
    whole = heart_cine().schema
    few = AttributeSchema(columns=tuple(c for c in whole.columns if c.name in ("age", "lv_mass")))
    assert len(Calibration(COLUMNS, few).columns) == 1
    none = Calibration(COLUMNS, AttributeSchema(columns=few.columns[:1]))
    row = normal(1, 1, 3)
    assert torch.equal(none(row), row)


def test_hearts_are_drawn_for_whole_validation_rows_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading of half of what a heart is drawn for, of age in the place of a volume; of every seventh nothing is read."""
    store = heart_store(tmp_path / "store", 120)
    for i, row in enumerate(store.rows):
        row["age"] = 20 + i / 2
    whole = heart_cine()
    sizes = replace(
        whole.model,
        image=replace(whole.model.image, latent=2, widths=(4, 8, 8, 8)),
        flow=TransformerConfig(width=16, depth=1, heads=2),
        rows=None,
        rank=2,
        calibrated=("age",),
    )
    schema = AttributeSchema(columns=tuple(c for c in whole.schema.columns if c.name in ("age", "sex")))
    model = JointModel(sizes, schema.fitted(store.rows)).requires_grad_(False)
    found, drawn = model.calibration, list[Row]()
    assert found is not None

    def cells(row: Row) -> torch.Tensor:
        return torch.from_numpy(model.schema.encode([row])[0])

    def draw(model: JointModel, row: Row, change: torch.Tensor, guidance: float, seed: int) -> np.ndarray:
        del model, guidance
        drawn.append(row)
        changed = found(found.moved(cells(row), change[None]))
        return (0.5 * found.asked(changed)[0] + 0.2).numpy() if seed % 7 != 3 else np.zeros(0)

    def read(model: JointModel, store: CohortStore, row: Row, ruler: object, scan: np.ndarray) -> torch.Tensor | None:
        del model, store, ruler
        if scan.ndim > 1:
            return found.asked(cells(row))[0]
        return torch.from_numpy(scan) if len(scan) else None

    for name, other in (("load_ruler", lambda region: SimpleNamespace(digest="")), ("_drawn", draw), ("_read", read)):
        monkeypatch.setattr(calibration, name, other)

    def off() -> float:
        """By how much less is read than asked, of somebody of 75, in SDs."""
        asked = cells({"age": 75.0, "sex": "F"})
        return float((asked - 0.5 * found(asked) - 0.2)[0, 0, 0])

    before, left = off(), []
    for rounds in (1, 2):
        monkeypatch.setattr(calibration, "ROUNDS", rounds)
        drawn.clear()
        (tmp_path / str(rounds)).mkdir()
        steps = list(fit_calibration(model, store, guidance=2.0, seed=0, run_dir=tmp_path / str(rounds)))
        assert [p.step for p in steps] == list(range(1, rounds * calibration.DRAWN + 1))
        persons = {row["participant_id"] for row in drawn}
        assert persons == {store.rows[i]["participant_id"] for i in store.split()["validation"]}
        left.append(off())
    # what the prior takes back, s / (M R M' + s), and its square
    share = UNREAD / (0.25 + UNREAD)
    assert left == pytest.approx([share * before, share**2 * before], abs=0.03)
    # killed at any draw it goes on from what was saved, and ends in the same
    whole = found.slopes.clone()
    how = {"guidance": 2.0, "seed": 0, "run_dir": tmp_path, "save_every": 0.0}
    for _ in zip(fit_calibration(model, store, **how), range(calibration.DRAWN + 20), strict=False):
        pass
    found.slopes.fill_(9.0)
    (first, *_) = rest = list(fit_calibration(model, store, **how))
    assert (first.step, rest[-1].step) == (calibration.DRAWN + 21, 2 * calibration.DRAWN)
    assert torch.equal(found.slopes, whole)
    # of another model it begins anew; after the deadline few were drawn: nothing is calibrated
    model.centre += 1
    assert [p.step for p in fit_calibration(model, store, **how, deadline=0.0)] == [1]
    assert not found.slopes.any()
