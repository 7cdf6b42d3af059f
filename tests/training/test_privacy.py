"""Training within a privacy budget: what one person can change, the noise against it, what all steps spend, what is refused."""

from __future__ import annotations

import csv
import math
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from opacus.accountants.utils import get_noise_multiplier
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from engine.__main__ import main
from engine.checkpoints.checkpoint import load_checkpoint
from engine.checkpoints.files import CheckpointError
from engine.cohort.sources.table import TableCohort
from engine.cohort.store import CohortStore
from engine.model.config import TransformerConfig, table_config
from engine.model.flow import NoiseMixture, flow_loss, interpolate
from engine.model.joint import JointModel
from engine.training.claim import RunError, fitted_schema
from engine.training.pipeline import train
from engine.training.privacy.budget import Budget, Lots, Privacy, PrivacyError, epsilon_of
from engine.training.privacy.gradients import KEY, PrivateGradients, Secret
from engine.training.privacy.plan import planned
from engine.training.recipes import PRIVATE_STEPS, Recipe, private, table
from engine.training.run import Stage
from engine.training.stages.flow import PersonError
from engine.training.stages.flow_examples import Examples, Latents, examples_of, tables_of
from engine.training.world import Shard, World

PERSONS = 60


def write_people(path: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["participant_id", "sex", "age", "height", "smoker"])
        for i in range(PERSONS):
            male, age = rng.random() < 0.5, int(rng.integers(20, 86))
            height = round(float(np.clip(rng.normal(176 if male else 163, 7), 150, 190)), 1)
            smoker = "yes" if rng.random() < (0.4 if male else 0.1) else "no"
            age, height = [(20, 150.0), (85, 190.0)][i] if i < 2 else (age, height)
            writer.writerow([f"of-{seed}-{i}", "male" if male else "female", age, height, smoker])
    return path


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> TableCohort:
    return TableCohort.open(write_people(tmp_path_factory.mktemp("people") / "people.csv", 0))


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> TableCohort:
    """People with the same columns, none of them among ``people``."""
    return TableCohort.open(write_people(tmp_path_factory.mktemp("others") / "others.csv", 1))


def small(people: TableCohort, steps: int = 6) -> Recipe:
    recipe = table(people.schema)
    flow = replace(recipe.flow, steps=steps, batch=8, warmup=2, bfloat16=False, table_versions=2)
    return replace(recipe, model=table_config(TransformerConfig(width=8, depth=1, heads=2), people.schema), flow=flow)


@pytest.fixture(scope="module")
def errors(people: TableCohort) -> tuple[PersonError, Examples]:
    """The error of a person under a network with random weights, and an example of every person with all cells noised."""
    recipe = small(people)
    rows = [people.rows[i] for i in people.split()["train"]]
    generator = torch.Generator().manual_seed(0)
    model = JointModel(recipe.model, fitted_schema(recipe, people))
    with torch.no_grad():
        for parameter in model.velocity_net.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    noised = NoiseMixture(equal=1.0, table_clean=0, image_clean=0, table_noise=0, independent=0, reveal=0)
    flow = replace(recipe.flow, mixture=noised)
    latents, tables = Latents.of_rows(len(rows)), tables_of(model, rows, 2, 0, torch.device("cpu"))
    everybody = torch.arange(len(rows))
    examples, _ = examples_of(model, latents, tables, flow, 1, 0, Shard.of(len(rows), 0, 1), everybody)
    return PersonError(model, flow), examples


def gradients(
    error: PersonError, persons: int, *, clip: float, noise: float, batch: int = 8, alone: bool = False
) -> PrivateGradients:
    stage = Stage("flow", None, error.model.velocity_net)
    stages = {"flow": Lots(batch, 10)}
    budget = Budget(epsilon=1, delta=1e-3, persons=persons, noise=noise, stages=stages, clip=clip)
    return PrivateGradients(stage, error, budget, Secret(key=bytes(32), stage="flow"), alone=alone)


def found(made: PrivateGradients) -> Tensor:
    """The gradient that stands in the parameters."""
    grads = [p.grad for p in made.parameters.values()]
    assert all(g is not None for g in grads)
    return torch.cat([g.flatten() for g in grads if g is not None]).double()


def without(examples: Examples, person: int) -> Examples:
    return tree_map(lambda part: torch.cat([part[:person], part[person + 1 :]]), examples)


def test_without_clipping_and_noise_it_is_the_gradient_of_the_batch(errors: tuple[PersonError, Examples]) -> None:
    error, examples = errors
    persons = len(examples.here)
    made = gradients(error, persons, clip=1e9, noise=0.0, batch=persons)
    reported = made(0, examples)
    mine = found(made)
    assert made.rate == 1
    # all cells of all persons are noised, so the mean over persons is that over cells, which the flow is else trained on
    clean, noise, levels, here, has_mask = examples
    model, every = error.model, torch.ones(persons, dtype=torch.bool)
    predicted = model.velocity(interpolate(clean, noise, levels), levels)
    whole = flow_loss(predicted, clean, noise, levels, here, every, model.codes, has_mask).table
    parts = torch.autograd.grad(whole, list(made.parameters.values()), materialize_grads=True)
    expected = torch.cat([part.flatten() for part in parts]).double()
    assert expected.norm() > 0.01
    assert (mine - expected).norm() < 1e-5 * expected.norm()
    assert float(reported["table"]) == pytest.approx(whole.item(), rel=1e-5)


def test_the_gradient_does_not_depend_on_how_many_persons_there_is_room_for(
    errors: tuple[PersonError, Examples], monkeypatch: pytest.MonkeyPatch
) -> None:
    error, examples = errors
    made = gradients(error, len(examples.here), clip=0.5, noise=0.3)
    made(0, examples)
    once = found(made)
    numbers = sum(p.numel() for p in made.parameters.values())
    monkeypatch.setattr("engine.training.privacy.gradients.KEPT", 7 * numbers)
    made = gradients(error, len(examples.here), clip=0.5, noise=0.3)
    made(0, examples)
    assert (found(made) - once).norm() < 1e-5 * once.norm()


def test_one_person_changes_the_sum_by_no_more_than_the_clipping_norm(errors: tuple[PersonError, Examples]) -> None:
    error, examples = errors
    persons, clip = len(examples.here), 0.25
    made = gradients(error, persons, clip=clip, noise=0.0)
    made(0, examples)
    whole = 8 * found(made)
    changes = []
    for person in range(0, persons, 6):
        made(0, without(examples, person))
        changes.append(float((whole - 8 * found(made)).norm()))
    assert max(changes) <= clip * (1 + 1e-4)
    assert max(changes) > 0.99 * clip, "some are clipped"
    # whoever is told anything extreme is no exception
    for times in (1e4, math.inf):
        extreme = examples._replace(clean=examples.clean._replace(table=examples.clean.table.clone()))
        extreme.clean.table[0] *= times
        made(0, extreme)
        changed = 8 * found(made)
        made(0, without(extreme, 0))
        assert float((changed - 8 * found(made)).norm()) <= clip * (1 + 1e-3)


def test_the_noise_has_the_size_that_was_accounted_for_also_where_nobody_is_drawn(
    errors: tuple[PersonError, Examples],
) -> None:
    error, examples = errors
    made = gradients(error, len(examples.here), clip=0.5, noise=3.0)
    nobody = tree_map(lambda part: part[:0], examples)
    draws = []
    for step in range(40):
        assert made(step, nobody) == {}
        draws.append(8 * found(made))
    noise = torch.stack(draws)
    assert float(noise.std()) == pytest.approx(1.5, rel=0.01)
    assert abs(float(noise.mean())) < 4 * 1.5 / noise.numel() ** 0.5
    assert abs(float(torch.corrcoef(noise[:2])[0, 1])) < 0.15, "each step has its own"
    made(0, examples)
    with_persons = 8 * found(made)
    silent = gradients(error, len(examples.here), clip=0.5, noise=0.0)
    silent(0, examples)
    assert torch.allclose(with_persons - 8 * found(silent), draws[0], atol=1e-4), "what persons say is added to it"


def test_persons_are_drawn_with_the_chance_that_was_accounted_for(errors: tuple[PersonError, Examples]) -> None:
    error, examples = errors
    persons = len(examples.here)
    made = gradients(error, persons, clip=1, noise=1)
    lots = torch.stack([torch.zeros(persons).index_fill(0, made.lot(step), 1.0) for step in range(4000)])
    chance = 8 / persons
    spread = (chance * (1 - chance) / len(lots)) ** 0.5
    assert float((lots.mean(0) - chance).abs().max()) < 4.5 * spread
    assert float(lots.sum(1).var()) == pytest.approx(persons * chance * (1 - chance), rel=0.1), "and independently"


def test_who_is_drawn_and_the_noise_hang_on_the_key_the_stage_and_the_step() -> None:
    def drawn(key: int, stage: str, use: str, step: int) -> float:
        secret = Secret(key=bytes([key]) * 32, stage=stage)
        return float(torch.rand((), generator=secret.generator(use, step)))

    asked = [(0, "flow", "lot", 0), (1, "flow", "lot", 0), (0, "rows", "lot", 0), (0, "flow", "noise", 0)]
    values = [drawn(*each) for each in [*asked, (0, "flow", "lot", 1)]]
    assert len(set(values)) == len(values)
    assert drawn(*asked[0]) == values[0]


@pytest.mark.parametrize("epsilon", [0.5, 8.0])
def test_what_all_steps_spend_stays_within_epsilon_and_near_it(epsilon: float) -> None:
    stages = {"rows": Lots(64, 300), "flow": Lots(16, 1000)}
    budget = Budget.of(Privacy(epsilon=epsilon, delta=1e-5), 2000, stages)
    taken = {name: lots.steps for name, lots in stages.items()}
    assert 0.97 * epsilon < budget.spent(taken) <= epsilon
    spent = [budget.spent({"rows": 300, "flow": steps}) for steps in (0, 1, 10, 500, 1000)]
    assert spent == sorted(spent)
    assert 0 < spent[0] < spent[2] < spent[4]
    assert budget.spent({"rows": 0, "flow": 0}) == 0


@pytest.mark.filterwarnings("ignore:Optimal order")
def test_the_noise_is_what_opacus_itself_would_choose_and_within_the_bound_of_plain_gaussian_noise() -> None:
    budget = Budget.of(Privacy(epsilon=2.0, delta=1e-5), 1000, {"flow": Lots(50, 400)})
    theirs = get_noise_multiplier(
        target_epsilon=2.0, target_delta=1e-5, sample_rate=0.05, steps=400, accountant="rdp", epsilon_tolerance=0.001
    )
    assert budget.noise == pytest.approx(theirs, rel=0.01)
    # everybody in each of T steps: rho = T / (2 noise^2) of zero-concentrated privacy (Bun and Steinke 2016, proposition 1.3)
    rho = 20 / (2 * 10.0**2)
    plain = rho + 2 * math.sqrt(rho * math.log(1e5))
    assert 0.7 * plain < epsilon_of([(10.0, 1.0, 20)], 1e-5) <= plain
    assert epsilon_of([(10.0, 0.1, 20)], 1e-5) < 0.3 * plain, "a sample says less of each"


def test_a_delta_is_a_tenth_of_one_over_the_persons_unless_it_is_given() -> None:
    stages = {"flow": Lots(8, 5)}
    assert Budget.of(Privacy(epsilon=3), 500, stages).delta == pytest.approx(2e-4)
    assert Budget.of(Privacy(epsilon=3, delta=1e-6), 500, stages).delta == 1e-6


def flow_of(run: Path) -> Tensor:
    net: nn.Module = load_checkpoint(run / "checkpoint").model.velocity_net
    return torch.cat([p.flatten() for p in net.parameters()])


def with_key(run: Path, of: Path) -> Path:
    run.mkdir()
    shutil.copy(of / KEY, run / KEY)
    return run


def test_the_same_key_ends_in_the_same_weights_wherever_it_is_stopped_and_another_in_others(
    people: TableCohort, tmp_path: Path
) -> None:
    recipe, asked = small(people), Privacy(epsilon=3)
    for _ in train(recipe, people, tmp_path / "run", privacy=asked):
        pass
    expected = flow_of(tmp_path / "run")
    assert (tmp_path / "run" / KEY).stat().st_mode & 0o777 == 0o600
    again = with_key(tmp_path / "again", tmp_path / "run")
    for minutes, reached in ((1e-9, 1), (1e-9, 2), (None, recipe.flow.steps)):
        *_, last = train(recipe, people, again, privacy=asked, minutes=minutes)
        assert last.step == reached
    assert torch.equal(flow_of(again), expected)
    for _ in train(recipe, people, tmp_path / "other", privacy=asked):
        pass
    assert not torch.allclose(flow_of(tmp_path / "other"), expected)


def test_the_card_says_what_is_kept_and_what_is_not(people: TableCohort, tmp_path: Path) -> None:
    for _ in train(small(people), people, tmp_path / "run", privacy=Privacy(epsilon=3, delta=1e-3)):
        pass
    made = load_checkpoint(tmp_path / "run" / "checkpoint")
    said = made.card["privacy"]
    assert (said["epsilon"], said["delta"]) == (3, 1e-3)
    assert said["covers"] == "the weights of the flow"
    assert "quantiles" in said["does_not_cover"]
    assert "linear Gaussian part" in said["does_not_cover"]
    for source in ("1607.00133", "1702.07476", "2109.12298"):
        assert source in said["method"] + said["accountant"]
    assert "6 of 6 steps of flow" in said["spent"]
    assert made.card["training"]["command"].endswith("--epsilon 3")
    assert "## Privacy" in made.card_markdown
    key = (tmp_path / "run" / KEY).read_text()
    assert not any(key.encode() in path.read_bytes() for path in (tmp_path / "run" / "checkpoint").iterdir())


def test_scans_and_rows_share_one_budget(tiny_recipe: Recipe, tiny_store: CohortStore, tmp_path: Path) -> None:
    recipe = replace(
        tiny_recipe,
        autoencoder=replace(tiny_recipe.autoencoder, steps=2),
        flow=replace(tiny_recipe.flow, steps=3, copies=1),
        rows=None if tiny_recipe.rows is None else replace(tiny_recipe.rows, steps=2, batch=8),
    )
    for _ in train(recipe, tiny_store, tmp_path / "run", privacy=Privacy(epsilon=5)):
        pass
    said = load_checkpoint(tmp_path / "run" / "checkpoint").card["privacy"]
    assert said["covers"] == "the weights of the network of rows and the flow"
    assert "autoencoders" in said["does_not_cover"]
    assert "2 of 2 steps of rows" in said["spent"]
    assert "3 of 3 steps of flow" in said["spent"]
    assert 4.8 < float(said["spent"].split()[1]) <= 5


def test_from_a_model_of_others_all_that_is_learned_of_a_table_is_covered(
    people: TableCohort, others: TableCohort, tmp_path: Path
) -> None:
    recipe = small(others)
    for _ in train(recipe, others, tmp_path / "others"):
        pass
    begun = load_checkpoint(tmp_path / "others" / "checkpoint")
    for _ in train(recipe, people, tmp_path / "run", privacy=Privacy(epsilon=3), source=begun.path):
        pass
    made = load_checkpoint(tmp_path / "run" / "checkpoint")
    assert made.card["privacy"]["does_not_cover"].startswith("the counts in the card, participants.json ")
    assert made.model.schema == begun.model.schema, "no quantile of theirs is kept"
    assert torch.equal(made.model.table_loadings, begun.model.table_loadings)
    assert not torch.equal(flow_of(tmp_path / "run"), flow_of(tmp_path / "others"))
    with pytest.raises(PrivacyError, match=f"has seen {PERSONS} of these {PERSONS} persons already"):
        train(recipe, others, tmp_path / "again", privacy=Privacy(epsilon=3), source=begun.path)
    (begun.path / "participants.json").unlink()
    with pytest.raises((PrivacyError, CheckpointError), match="no record of whom it was trained on"):
        train(recipe, people, tmp_path / "none", privacy=Privacy(epsilon=3), source=begun.path)


def test_a_run_goes_on_with_its_own_budget_only(people: TableCohort, tmp_path: Path) -> None:
    recipe, run = small(people), tmp_path / "run"
    for _ in train(recipe, people, run, privacy=Privacy(epsilon=3), minutes=1e-9):
        pass
    longer = replace(recipe, flow=replace(recipe.flow, steps=7))
    for other, asked, words in (
        (recipe, Privacy(epsilon=4), "begun with epsilon 3 at delta .* asks for epsilon 4"),
        (recipe, Privacy(epsilon=3, delta=0.01), "asks for epsilon 3 at delta 0.01"),
        (longer, Privacy(epsilon=3), "asks for epsilon 3 at delta .* in 7 steps"),
        (recipe, None, "asks for no epsilon"),
    ):
        with pytest.raises(RunError, match=words):
            train(other, people, run, privacy=asked)
    for _ in train(recipe, people, tmp_path / "plain", minutes=1e-9):
        pass
    with pytest.raises(RunError, match="begun with no epsilon"):
        train(recipe, people, tmp_path / "plain", privacy=Privacy(epsilon=3))


def test_several_ranks_are_refused(people: TableCohort) -> None:
    with pytest.raises(PrivacyError, match="these are 2 ranks; start it without torchrun"):
        planned(Privacy(epsilon=3), small(people), people, None, World(rank=0, size=2))


def test_what_is_no_budget_is_refused(
    refused: Callable[..., str], people: TableCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("train", "table", people.path, "--run-dir", tmp_path / "run")
    for text in ("0", "-1", "nan", "inf"):
        assert f"epsilon {text} is no privacy budget" in refused(*asked, "--epsilon", text)
    for text in ("0", "1", "nan", "-0.5"):
        assert f"delta {text} is no chance" in refused(*asked, "--epsilon", "3", "--delta", text)
    assert "delta 0.1 goes with an epsilon" in refused(*asked, "--delta", "0.1")
    assert "epsilon 0.001 is out of reach in 2000 steps of flow" in refused(*asked, "--epsilon", "0.001")
    assert "leave --epsilon 3 out" in refused("train", "measure_head", *asked[2:], "--epsilon", "3")
    monkeypatch.setitem(sys.modules, "opacus", None)
    assert "uv sync --extra private" in refused(*asked, "--epsilon", "3")


def test_the_recipe_within_a_budget_has_few_steps(tiny_recipe: Recipe, people: TableCohort) -> None:
    assert private(table(people.schema)).flow.steps == PRIVATE_STEPS
    assert private(tiny_recipe) == tiny_recipe


def test_the_command_line_says_what_is_not_covered(
    people: TableCohort, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.training.recipes.table", lambda schema, size: small(people, 2))
    assert main(["train", "table", str(people.path), "--run-dir", str(tmp_path / "run"), "--epsilon", "3"]) == 0
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("somatwin: epsilon 3 covers the flow; it does not cover the columns' ranges and quantiles")


def test_a_network_of_many_tokens_has_the_same_gradients(
    errors: tuple[PersonError, Examples], monkeypatch: pytest.MonkeyPatch
) -> None:
    error, examples = errors
    made = gradients(error, len(examples.here), clip=0.5, noise=0.0)
    made(0, examples)
    whole = found(made)
    monkeypatch.setattr("engine.model.nn.transformer.EXPLICIT", 2)  # so that blocks are computed again for the gradient
    made = gradients(error, len(examples.here), clip=0.5, noise=0.0, alone=True)
    made(0, examples)
    assert (found(made) - whole).norm() < 1e-5 * whole.norm()
