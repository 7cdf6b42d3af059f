"""Samples while training: they change nothing, say what they are, cost little and stay few."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.cohort.sources.table import TableCohort
from engine.cohort.store import CohortStore
from engine.imaging.volume import Volume, centred_affine
from engine.model.joint import JointModel
from engine.training import samples as module
from engine.training.claim import fitted_schema
from engine.training.ema import PowerEMA
from engine.training.gallery import FOLDER, MOST, Sample, read_sample, sample_steps, sheet, superfluous, write_sample
from engine.training.pipeline import train
from engine.training.recipes import Recipe, table
from engine.training.run import load_tensors
from engine.training.samples import SHARE, Samples, asked, next_time
from engine.training.stages.flow import train_flow
from engine.training.stages.flow_examples import Latents
from engine.vocabulary.schema import AttributeSchema, Number
from tests.inference.test_table_models import write_people

STEPS = 4


@pytest.fixture
def learn(tiny_recipe: Recipe, tiny_store: CohortStore) -> Callable[[Path, Samples | None], JointModel]:
    """Train the flow alone on noise for latents; ends with the model."""
    schema = fitted_schema(tiny_recipe, tiny_store)
    flow = replace(tiny_recipe.flow, steps=STEPS)
    latent = tiny_recipe.model.image

    def run(folder: Path, samples: Samples | None) -> JointModel:
        folder.mkdir()
        torch.manual_seed(0)
        model = JointModel(tiny_recipe.model, schema)
        torch.nn.init.normal_(model.autoencoder.tail.weight)
        model.autoencoder.template.fill_(0.5)
        rows = list(tiny_store.rows)
        latents = torch.randn(len(rows), 2, latent.tokens, latent.latent, generator=torch.Generator().manual_seed(1))
        for _ in train_flow(model, Latents.of_scans(latents), rows, flow, run_dir=folder, seed=0, samples=samples):
            pass
        return model

    return run


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture after every step."""
    monkeypatch.setattr(module, "next_time", lambda *_: 0.0)


def drawing(folder: Path, store: CohortStore) -> Samples:
    return Samples(run_dir=folder, affine=store.affine, channels=store.channels, guidance=2.5, first=0.0)


def pictures(folder: Path) -> dict[int, Sample]:
    return {step: sample for step in sample_steps(folder) if (sample := read_sample(folder, step))}


def grey(sample: Sample) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(sample.png)))


@pytest.mark.usefixtures("always")
def test_a_run_with_samples_ends_as_one_without(learn: Callable, tiny_store: CohortStore, tmp_path: Path):
    plain = learn(tmp_path / "plain", None)
    drawn = torch.get_rng_state()
    seen = learn(tmp_path / "seen", drawing(tmp_path / "seen", tiny_store))
    assert torch.equal(drawn, torch.get_rng_state())
    blocked = drawing(tmp_path / "blocked", tiny_store)
    blocked.run_dir = tmp_path / "file"  # the disk refuses
    blocked.run_dir.write_text("")
    refused = learn(tmp_path / "blocked", blocked)

    assert sample_steps(tmp_path / "seen") == list(range(1, STEPS + 1))
    assert not sample_steps(tmp_path / "blocked")
    for other in (seen, refused):
        assert all(torch.equal(other.state_dict()[k], v) for k, v in plain.state_dict().items())
    states = [load_tensors(tmp_path / name / "flow.safetensors")[0] for name in ("plain", "seen", "blocked")]
    for state in states[1:]:
        assert state.keys() == states[0].keys()
        assert all(torch.equal(state[k], v) for k, v in states[0].items())


@pytest.mark.slow
@pytest.mark.usefixtures("always")
def test_the_same_step_and_weights_make_the_same_picture(learn: Callable, tiny_store: CohortStore, tmp_path: Path):
    for name in ("one", "two"):
        learn(tmp_path / name, drawing(tmp_path / name, tiny_store))
    one, two = (pictures(tmp_path / name) for name in ("one", "two"))
    assert one == two
    assert not np.array_equal(grey(one[1])[:200], grey(one[STEPS])[:200])


def test_a_picture_shows_three_persons_and_says_what_they_are(tiny_run: Path):
    (step,) = sample_steps(tiny_run)
    assert step == 60
    sample = read_sample(tiny_run, step)
    assert sample
    assert sample.persons == "nothing given, seed 0; sex F, seed 1; sex M, seed 1"
    image = Image.open(io.BytesIO(sample.png))
    assert image.info["Comment"] == "SYNTHETIC - not for diagnosis, step 60"
    drawn = np.asarray(image)
    assert drawn.ndim == 2
    third = (drawn.shape[1] + 4) // 3
    people = [drawn[:-32, k * third : k * third + 240] for k in range(3)]
    assert all(len(np.unique(person)) > 20 for person in people)
    assert not np.array_equal(people[0], people[1])
    assert drawn[-28:].max() > 150
    assert [file.name for file in (tiny_run / FOLDER).iterdir()] == ["flow-000060.png"]


def test_slices_lie_as_a_radiologist_reads_them():
    """A block to the patient's right, front and top: on the left, and on top, of the coronal and the axial slice."""
    data = np.zeros((20, 20, 20), np.float32)
    data[10:, 10:, 10:] = 1.0
    page = np.asarray(sheet([("block", Volume(data, centred_affine(data.shape, (2.0, 2.0, 2.0))))], "footer"))
    side = 118
    coronal, sagittal, axial = page[:side, :side], page[:side, -side:], page[side + 4 : 2 * side + 4, :side]
    for view in (coronal, sagittal, axial):
        quarters = [view[:50, :50], view[:50, -50:], view[-50:, :50], view[-50:, -50:]]
        assert [round(float(q.mean()) / 255) for q in quarters] == [1, 0, 0, 0]


def test_few_are_kept_and_the_first_and_the_last_always(tmp_path: Path):
    scan = Volume(np.zeros((2, 2, 2), np.float32), np.eye(4))
    for step in range(10, 310, 10):
        write_sample(tmp_path, step, [("nobody", scan)])
    kept = sample_steps(tmp_path)
    assert len(kept) == MOST
    assert (kept[0], kept[-1]) == (10, 300)
    assert max(np.diff(kept)) <= 60
    assert superfluous(kept) is None


def test_steps_trained_again_and_pictures_cut_short_are_forgotten(tmp_path: Path, tiny_store: CohortStore):
    scan = Volume(np.zeros((2, 2, 2), np.float32), np.eye(4))
    for step in (50, 100, 150):
        write_sample(tmp_path, step, [("nobody", scan)])
    drawing(tmp_path, tiny_store).begin(100, 30.0)
    (tmp_path / FOLDER / "flow-000050.png").write_bytes(b"half")
    (tmp_path / FOLDER / ".part").write_bytes(b"half")
    assert list(pictures(tmp_path)) == [100]
    assert read_sample(tmp_path, 7) is None


@pytest.mark.parametrize(("whole", "cost"), [(300.0, 0.2), (1800.0, 3.0), (36000.0, 4.0), (36000.0, 60.0)])
def test_pictures_come_early_and_cost_little(whole: float, cost: float):
    times = [60.0]
    while (following := next_time(times[-1], whole - times[-1], cost)) < whole:
        times.append(following)
    gaps = np.diff([*times, whole])
    assert cost * len(gaps[:-1]) <= SHARE * whole
    assert gaps.max() <= max(whole / 10, cost / SHARE) + 1e-6
    assert len(times) <= 20


def test_without_sex_the_ends_of_bmi_are_drawn_and_without_that_anyone():
    bmi = Number(name="bmi", unit="kg/m2", low=12, high=70, knots=(20.0, 40.0), scores=(-1.0, 1.0))
    height = Number(name="height", unit="cm", low=120, high=220)
    assert asked(AttributeSchema(columns=(height, bmi))) == [
        ("nothing given", 0, {}),
        ("bmi 22", 1, {"bmi": 22.0}),
        ("bmi 38", 1, {"bmi": 38.0}),
    ]
    assert [(seed, given) for _, seed, given in asked(AttributeSchema(columns=(height,)))] == [
        (0, {}),
        (1, {}),
        (2, {}),
    ]


def test_own_weights_come_back_also_after_a_failure():
    layer = torch.nn.Linear(3, 3)
    ema = PowerEMA(layer)
    with torch.no_grad():
        layer.weight.add_(1.0)
    own = layer.weight.clone()
    seen = []

    def fail() -> None:
        with ema.standing_in(layer):
            seen.append(layer.weight.clone())
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        fail()
    assert torch.equal(seen[0], ema.weights["weight"])
    assert torch.equal(layer.weight, own)


def test_a_table_has_no_pictures(tmp_path: Path):
    cohort = TableCohort.open(write_people(tmp_path / "people.csv", 60))
    for _ in train(table(cohort.schema), cohort, tmp_path / "run", minutes=0.0):
        pass
    assert (tmp_path / "run" / "checkpoint" / "config.json").is_file()
    assert not (tmp_path / "run" / FOLDER).exists()
