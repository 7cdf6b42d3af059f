"""The long commands on tiny inputs, each to be run in a process that can be killed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

import engine.cohort.ingest
from engine.__main__ import main
from engine.cohort.store import CohortStore
from engine.evaluation.report.write import Options, report
from engine.evaluation.subjects import plan
from engine.training.pipeline import train
from engine.training.recipes import tiny
from tests.cohort.heads import brain_of

STEPS = 12


def ingested(out: Path, source: Path) -> None:
    engine.cohort.ingest.deepbet_masker = lambda: brain_of
    assert main(["ingest", str(source), str(out), "--recipe", "tiny"]) == 0


def computed(out: Path, _: Path) -> None:
    assert main(["phantom", str(out), "--n", "4", "--seed", "3", "--labels"]) == 0


def trained(out: Path, store: Path) -> None:
    recipe = tiny()
    recipe = replace(
        recipe,
        autoencoder=replace(recipe.autoencoder, steps=STEPS),
        flow=replace(recipe.flow, steps=STEPS, copies=2),
        rows=replace(recipe.rows, steps=STEPS) if recipe.rows else None,
    )
    for _ in train(recipe, CohortStore.open(store), out, save_every=0.2):
        pass


def generated(out: Path, checkpoint: Path) -> None:
    assert (
        main(["generate", str(checkpoint), "--n", "8", "--seed", "5", "--steps", "2", "--sr", "--out", str(out)]) == 0
    )


def evaluated(out: Path, runs: Path) -> None:
    for name, value in (("ASKED", 5), ("WHATIFS", 4), ("READ", 8), ("SMALL", 4), ("TRAINING", 24)):
        setattr(plan, name, value)
    for _ in report("evaluate", runs / "tiny", runs / "balls", out, Options(n=12, cost=False, workers=1)):
        pass


COMMANDS = {
    "ingest": ingested,
    "phantom": computed,
    "train": trained,
    "generate": generated,
    "evaluate": evaluated,
}


def run(name: str, out: Path, given: Path) -> None:
    """One of :data:`COMMANDS`."""
    torch.set_num_threads(1)
    COMMANDS[name](out, given)
