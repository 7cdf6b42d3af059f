"""Training: resuming is the same as never stopping; a run directory is not mixed up; augmentation keeps its promises."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.checkpoints.checkpoint import load_checkpoint
from engine.cohort.participants import read_participants
from engine.cohort.store import CohortStore
from engine.model.extended import extended
from engine.training.augment import Augmentation, augment
from engine.training.ema import PowerEMA
from engine.training.pipeline import train
from engine.training.recipes import Recipe
from engine.training.run import Progress, RunError, Schedule


def test_resumed_equals_uninterrupted(
    tiny_recipe: Recipe, tiny_store: CohortStore, tiny_run: Path, tmp_path: Path
) -> None:
    stops = 0
    for stage in ("autoencoder", "latents", "flow"):
        for progress in train(tiny_recipe, tiny_store, tmp_path / "run", save_every=0.0):
            if progress.stage == stage:
                stops += 1
                break
    assert stops == 3
    for _ in train(tiny_recipe, tiny_store, tmp_path / "run"):
        pass
    for file in ("weights.safetensors", "config.json"):
        assert (tmp_path / "run" / "checkpoint" / file).read_bytes() == (tiny_run / "checkpoint" / file).read_bytes()


@pytest.mark.slow
def test_training_beats_the_closed_form_it_starts_from(
    tiny_recipe: Recipe, tiny_store: CohortStore, tmp_path: Path
) -> None:
    """On the same persons, noise and levels: a step's draws do not depend on what was learned before."""

    def last(rate: float) -> dict[str, float]:
        recipe = replace(tiny_recipe, flow=replace(tiny_recipe.flow, steps=200, rate=rate))
        return [p.losses for p in train(recipe, tiny_store, tmp_path / str(rate)) if p.stage == "flow"][-1]

    learned, still = last(tiny_recipe.flow.rate), last(0.0)
    assert learned["table"] < 0.95 * still["table"]
    assert learned["image"] < 1.02 * still["image"]


def test_a_time_limit_stops_both_stages(tiny_recipe: Recipe, tiny_store: CohortStore, tmp_path: Path) -> None:
    steps = {p.stage: p.step for p in train(tiny_recipe, tiny_store, tmp_path / "run", minutes=0.0)}
    assert steps["autoencoder"] == 1
    assert steps["flow"] == 1
    assert (tmp_path / "run" / "checkpoint" / "weights.safetensors").exists()


def test_another_recipe_is_refused(tiny_recipe: Recipe, tiny_store: CohortStore, tiny_run: Path) -> None:
    other = replace(tiny_recipe, seed=9)
    with pytest.raises(RunError, match="another recipe"):
        next(train(other, tiny_store, tiny_run))


def test_only_the_persons_who_are_chosen_take_part(
    tiny_recipe: Recipe, tiny_store: CohortStore, tmp_path: Path
) -> None:
    for _ in train(tiny_recipe, tiny_store, tmp_path / "run", minutes=0.0, where="sex == 'F'"):
        pass
    women = {i for i, row in enumerate(tiny_store.rows) if row["sex"] == "F"}
    own = tiny_store.split()
    made = load_checkpoint(tmp_path / "run" / "checkpoint")
    assert made.config.provenance["persons"] == len(women & set(own["train"].tolist())) < len(own["train"])
    assert made.config.provenance["selection"][0] == f"{len(women)} of {len(tiny_store)} persons fit"
    assert made.card["trained_on"]["chosen"].endswith(f"sex == 'F': {len(women)} of {len(tiny_store)}")
    record = read_participants(made.path)
    assert record is not None
    assert sum(map(len, record.cohorts[0].parts.values())) == len(women)
    for other in ("", "sex == 'M'"):
        with pytest.raises(RunError, match="or of other persons"):
            train(tiny_recipe, tiny_store, tmp_path / "run", where=other)


def test_a_damaged_state_is_refused(tiny_recipe: Recipe, tiny_store: CohortStore, tmp_path: Path) -> None:
    for _ in train(tiny_recipe, tiny_store, tmp_path / "run", save_every=0.0):
        break
    (tmp_path / "run" / "autoencoder.safetensors").write_bytes(b"nothing")
    with pytest.raises(RunError, match="damaged or foreign"):
        next(train(tiny_recipe, tiny_store, tmp_path / "run"))


@pytest.mark.slow
def test_a_warm_start_keeps_the_latents_and_learns_on(
    tiny_recipe: Recipe, tiny_store: CohortStore, tiny_run: Path, tmp_path: Path
) -> None:
    """What the flow knows stays true: encoder, transforms, standardisation and linear part do not move; the rest does."""

    def go(run_dir: Path) -> Iterator[Progress]:
        return train(tiny_recipe, tiny_store, run_dir, source=tiny_run / "checkpoint", save_every=0.0)

    for stage in ("autoencoder", "rows", "flow"):  # cut thrice
        next(p for p in go(tmp_path / "run") if p.stage == stage)
    warm = [p for p in go(tmp_path / "run") if p.losses][-1]
    cold = [p for p in train(tiny_recipe, tiny_store, tmp_path / "cold") if p.losses][-1]
    assert warm.losses["table"] < cold.losses["table"], "the same persons, noise and levels"
    before, after = (load_checkpoint(run / "checkpoint") for run in (tiny_run, tmp_path / "run"))
    one, other = before.model.state_dict(), after.model.state_dict()
    moved = {name.rsplit("velocity_net", 1)[0].split(".")[0] for name in one if not torch.equal(one[name], other[name])}
    assert moved == {"autoencoder", "", "rows", "correction"}, "velocity networks, the rows' own too"
    assert all(torch.equal(one[name], other[name]) for name in one if name.startswith("rows.table_"))
    kept = ("autoencoder.linear", "autoencoder.encoder", "autoencoder.logvar", "autoencoder.template")
    assert all(torch.equal(one[name], other[name]) for name in one if name.startswith(kept))
    assert before.model.schema == after.model.schema
    assert after.config.provenance["from"] == f"tiny {before.digest}, after 60 steps"
    with pytest.raises(RunError, match="another recipe, store or start"):
        train(tiny_recipe, tiny_store, tmp_path / "run")


def test_a_warm_start_gives_a_model_without_rows_a_network_of_rows(
    tiny_recipe: Recipe, tiny_store: CohortStore, tmp_path: Path
) -> None:
    """Nothing else is touched by it."""
    short = replace(
        tiny_recipe, autoencoder=replace(tiny_recipe.autoencoder, steps=2), flow=replace(tiny_recipe.flow, steps=2)
    )
    bare = replace(short, rows=None, model=replace(short.model, rows=None))
    assert "rows" not in {p.stage for p in train(bare, tiny_store, tmp_path / "bare")}
    old = load_checkpoint(tmp_path / "bare" / "checkpoint")
    assert old.model.rows is None
    assert old.model.alone is old.model
    warm = [p.stage for p in train(short, tiny_store, tmp_path / "warm", source=old.path)]
    new = load_checkpoint(tmp_path / "warm" / "checkpoint")
    assert "rows" in warm
    assert new.config.provenance["rows_steps"] == 20
    assert new.model.alone.table_loadings.abs().sum() > 0, "its linear part is fitted"
    joint = extended(old.model, short.model, 0)
    assert all(torch.equal(value, joint.state_dict()[name]) for name, value in old.model.state_dict().items())


def test_a_warm_start_from_a_model_of_other_kind_is_refused(
    tiny_recipe: Recipe, tiny_store: CohortStore, tiny_run: Path, tmp_path: Path
) -> None:
    wider = replace(tiny_recipe, model=replace(tiny_recipe.model, shift=1.0))
    with pytest.raises(RunError, match="other sizes than tiny gives a model"):
        train(wider, tiny_store, tmp_path / "run", source=tiny_run / "checkpoint")
    fewer = replace(tiny_recipe, schema=replace(tiny_recipe.schema, columns=tiny_recipe.schema.columns[:4]))
    with pytest.raises(RunError, match="other columns"):
        train(fewer, tiny_store, tmp_path / "run", source=tiny_run / "checkpoint")
    assert not (tmp_path / "run").exists()


def test_augmentation_of_nothing_is_the_identity() -> None:
    still = Augmentation(mirror=0, rotation=0, scale=0, shift=0, elastic=0, gain=0, gamma=0)
    x = torch.rand(2, 2, 16, 16, 16)
    assert torch.allclose(augment(x, still, torch.Generator().manual_seed(0), spacing=(1, 1, 1)), x, atol=1e-5)


def test_mirror_flips_left_and_right_only() -> None:
    still = Augmentation(mirror=1, rotation=0, scale=0, shift=0, elastic=0, gain=0, gamma=0)
    x = torch.rand(1, 1, 8, 12, 16)
    assert torch.allclose(augment(x, still, torch.Generator().manual_seed(0), spacing=(1, 1, 1)), x.flip(2), atol=1e-5)


def test_masks_move_with_the_volume_and_keep_their_brightness() -> None:
    x = (torch.rand(1, 1, 16, 16, 16) > 0.5).float().repeat(1, 2, 1, 1, 1) * 0.4
    out = augment(x, Augmentation(gain=0.3, gamma=0), torch.Generator().manual_seed(3), spacing=(1, 1, 1))
    assert float(out[:, 1].max()) <= 1 + 1e-6
    ratio = out[:, 0][out[:, 1] > 0.1] / out[:, 1][out[:, 1] > 0.1]
    assert float(ratio.std()) < 0.05


def test_power_average_of_a_constant_is_the_constant_and_of_a_line_lags() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    ema = PowerEMA(layer)
    for step in range(1, 1001):
        with torch.no_grad():
            layer.weight.fill_(float(step))
        ema.update(layer, step)
    # mean of i with weights (i / n) ** gamma: (gamma + 1) / (gamma + 2) of the end
    assert float(ema.weights["weight"]) == pytest.approx(1000 * 7.94 / 8.94, rel=0.01)


def test_learning_rate_rises_stays_and_falls() -> None:
    how = Schedule(rate=1.0, warmup=10, constant=100)
    rates = np.array([how.learning_rate(s) for s in (0, 9, 50, 99, 399)])
    assert np.allclose(rates, [0.1, 1, 1, 1, 0.5])


def test_how_long_the_stages_are_may_change_on_the_way(
    tiny_recipe: Recipe, tiny_store: CohortStore, tiny_run: Path, tmp_path: Path
) -> None:
    """Also for runs begun when there was no texture: their claim does not name it."""
    shutil.copytree(tiny_run, tmp_path / "run")
    claim = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))
    del claim["recipe"]["texture"], claim["recipe"]["texture_share"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(claim), "utf-8")
    longer = replace(
        tiny_recipe, autoencoder_share=0.2, flow=replace(tiny_recipe.flow, steps=tiny_recipe.flow.steps + 1)
    )
    assert [p.step for p in train(longer, tiny_store, tmp_path / "run") if p.stage == "flow"][-1] == longer.flow.steps
    with pytest.raises(RunError, match="another recipe"):
        next(train(replace(longer, flow=replace(longer.flow, copies=9)), tiny_store, tmp_path / "run"))
