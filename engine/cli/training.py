"""``somatwin train``: a store to a checkpoint, its progress shown and kept, its energy metered."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.cli.cohorts import recipe_named, show_computed
from engine.cli.terminal import Meter

if TYPE_CHECKING:
    from pathlib import Path

    from engine.training.journal import Journal
    from engine.training.privacy.budget import Privacy
    from engine.training.recipes import Recipe
    from engine.training.run import Progress
    from engine.training.world import World


def run_train(args: argparse.Namespace, meter: Meter) -> None:
    """A store to a checkpoint, resuming what is in the run directory, keeping a journal and metering the energy there; on
    stdout the checkpoint. Under torchrun by all ranks; rank 0 speaks and keeps the journal."""
    from engine.training.world import joined
    from engine.vocabulary.refusal import RequestError

    if args.minutes is not None and not args.minutes > 0:
        raise RequestError(f"{args.minutes} minutes are no time to train; give more than 0")
    with joined(args.device) as world:
        if args.persons is not None:
            _compute_first(args, meter, world)
        with world.together(prompt=True):
            steps, share = _training(args, world)
        _train(args, meter, world, steps, share)


def _train(args: argparse.Namespace, meter: Meter, world: World, steps: Iterator[Progress], share: float) -> None:
    """What :func:`run_train` does once everything is open."""
    from engine.evaluation.bench.energy import energy, energy_into_card
    from engine.training.journal import recording

    asked = {"recipe": args.recipe, "store": str(args.store.absolute()), "minutes": args.minutes, "size": args.size}
    asked |= {"seed": args.seed, "from": args.source, "where": args.where}
    if world.size > 1:
        asked |= {"ranks": world.size}
    if args.epsilon is not None:
        asked |= {"epsilon": args.epsilon, "delta": args.delta}
    with ExitStack() as stack:
        with world.together():
            journal = stack.enter_context(recording(args.run_dir, asked, leads=world.leads))
            used = stack.enter_context(energy(args.run_dir if world.leads else None))
        _follow(steps, args, meter if world.leads else None, journal, share)
    if world.size > 1:
        _add_energy(args.run_dir, used.kwh, world, args.device)
    if world.leads:
        energy_into_card(args.run_dir)
        print(args.run_dir / "checkpoint")


def _add_energy(run_dir: Path, kwh: float, world: World, device: str) -> None:
    """Add what the other ranks used to what rank 0 noted; of GPUs, which each meter reads whole, by one rank a machine."""
    from engine.evaluation.bench.energy import JOULES_PER_KWH
    from engine.inference.generate import choose_device
    from engine.storage.whole import write_text

    step = 1 if choose_device(device) == "cpu" else world.beside
    others = world.gathered(kwh)[step::step]
    if not world.leads:
        return
    path = run_dir / "energy.json"
    total = json.loads(path.read_text("utf-8"))
    total["kwh"] += sum(others)
    total["joules"] = total["kwh"] * JOULES_PER_KWH
    total["grams_co2e"] = total["kwh"] * total["grams_per_kwh"]
    total["method"] += f"; {len(others) + 1} meters of {world.size} ranks together"
    write_text(path, json.dumps(total, indent=1))


def _compute_first(args: argparse.Namespace, meter: Meter, world: World) -> None:
    """Make the in-silico cohort to train on where there is none yet; what that takes is taken off the time limit."""
    from engine.inference.generate import choose_device
    from engine.phantom.cohort import write_cohort
    from engine.training.recipes import ENCODERS, RULERS, SHAPES, TABLE
    from engine.vocabulary.refusal import RequestError

    if args.recipe in (TABLE, *ENCODERS, *RULERS, *SHAPES) or recipe_named(args.recipe).preprocess:
        raise RequestError(f"{args.recipe} does not train on computed persons; leave --persons {args.persons} out")
    if world.any(args.store.is_dir())[0]:
        return
    began = time.monotonic()
    how = {"n": args.persons, "device": choose_device(args.device), "recipe": args.recipe}
    steps = write_cohort(args.store, **how, ranks=world)
    show_computed(steps, meter if world.leads else None)
    if args.minutes is not None:
        spent = (time.monotonic() - began) / 60
        if spent >= args.minutes:
            raise RequestError(
                f"making {args.persons} persons took {spent:.1f} of {args.minutes:g} minutes; the same command goes on"
            )
        args.minutes -= spent


def _training(args: argparse.Namespace, world: World) -> tuple[Iterator[Progress], float]:
    """The training, not yet begun, and the share of a limited time that goes to its first stage."""
    from engine.anatomy.heart import HEART
    from engine.cohort.sources.table import TableCohort
    from engine.cohort.store import CohortStore
    from engine.inference.generate import choose_device
    from engine.training.pipeline import train
    from engine.training.recipes import ENCODERS, PATIENTS, RULERS, SHAPES, TABLE, private, table
    from engine.training.stages.features import train_features
    from engine.vocabulary.refusal import RequestError

    device = choose_device(args.device)
    privacy = _privacy(args)
    if args.patients and args.recipe not in (*PATIENTS, HEART.recipe):
        raise RequestError(f"{args.recipe} learns from its store alone; leave --patients {args.patients} out")
    if args.patients and privacy:
        raise RequestError(
            f"epsilon {args.epsilon:g} covers the persons of the store alone; leave --patients {args.patients} out, or --epsilon"
        )
    if world.size > 1 and args.recipe in (*ENCODERS, *RULERS, *SHAPES):
        raise RequestError(f"{args.recipe} is trained by one process; start it without torchrun")
    if args.add and (args.source is None or args.recipe in (TABLE, *ENCODERS, *RULERS, *SHAPES)):
        raise RequestError(f"--add {args.add} goes with --from and a model of scans; leave it out or give them")
    if args.recipe == TABLE:
        cohort = TableCohort.open(args.store)
        for flag in cohort.flags if world.leads else ():
            print(f"somatwin: {flag}", file=sys.stderr)
        recipe = _seeded(table(cohort.schema, args.size), args.seed)
        asked = {"minutes": args.minutes, "source": args.source, "where": args.where, "world": world}
        if privacy:
            recipe = private(recipe)
        steps = train(recipe, cohort, args.run_dir, device=device, privacy=privacy, **asked)
        _say_covered(privacy, recipe, args.source)
        return steps, 0.0
    if args.where and args.recipe in (*ENCODERS, *RULERS, *SHAPES):
        raise RequestError(f"{args.recipe} is trained on everybody; leave --where {args.where!r} out")
    if args.source and args.recipe in (*ENCODERS, *RULERS, *SHAPES):
        raise RequestError(f"{args.recipe} starts from nothing; leave --from {args.source} out")
    if args.recipe in SHAPES:
        return SHAPES[args.recipe](args.store, args.run_dir, minutes=args.minutes), 1.0
    store = CohortStore.open(args.store)
    if args.recipe in ENCODERS:  # always on the CPU, as rulers are
        return train_features(ENCODERS[args.recipe](), store, args.run_dir, minutes=args.minutes), 1.0
    if args.recipe in PATIENTS:
        return PATIENTS[args.recipe](store, args.run_dir, minutes=args.minutes, patients=args.patients), 1.0
    if args.recipe in RULERS:
        return RULERS[args.recipe](store, args.run_dir, minutes=args.minutes), 1.0
    recipe = _seeded(recipe_named(args.recipe, args.size), args.seed)
    if privacy:
        recipe = private(recipe)
    asked = {"minutes": args.minutes, "source": args.source, "add_mask": args.add == "mask", "where": args.where}
    asked["patients"] = args.patients
    steps = train(recipe, store, args.run_dir, device=device, world=world, privacy=privacy, **asked)
    _say_covered(privacy, recipe, args.source)
    return steps, recipe.autoencoder_share


def _privacy(args: argparse.Namespace) -> Privacy | None:
    """The privacy budget that is asked for, if any."""
    from engine.training.privacy.budget import Privacy
    from engine.training.recipes import ENCODERS, RULERS, SHAPES
    from engine.vocabulary.refusal import RequestError

    if args.epsilon is None:
        if args.delta is not None:
            raise RequestError(f"delta {args.delta:g} goes with an epsilon; give --epsilon too, or leave --delta out")
        return None
    if args.recipe in (*ENCODERS, *RULERS, *SHAPES):
        raise RequestError(f"{args.recipe} draws nobody and has no flow; leave --epsilon {args.epsilon:g} out")
    return Privacy(epsilon=args.epsilon, delta=args.delta)


def _say_covered(privacy: Privacy | None, recipe: Recipe, source: str | None) -> None:
    """Say on stderr what the privacy budget covers and what it does not."""
    from engine.training.privacy.plan import not_covered

    if privacy:
        rest = not_covered(scans=recipe.model.image.tokens > 0, begun=source is not None)
        print(f"somatwin: epsilon {privacy.epsilon:g} covers the flow; it does not cover {rest}", file=sys.stderr)


def _seeded(recipe: Recipe, seed: int | None) -> Recipe:
    return recipe if seed is None else replace(recipe, seed=seed)


def _follow(
    steps: Iterator[Progress], args: argparse.Namespace, meter: Meter | None, journal: Journal, first_share: float
) -> None:
    """Show (where there is a ``meter``) and note a training's progress; ``first_share`` of a limited time goes to the autoencoder."""
    from engine.training.journal import stop_asked

    began, stage = time.monotonic(), ""
    for progress in steps:
        journal.progress(progress.stage, progress.step, progress.total, progress.seconds, progress.losses)
        if stop_asked() and not progress.losses:  # a stage that learns saves and ends itself
            raise KeyboardInterrupt
        if meter is None:
            continue
        left = (progress.total - progress.step) * progress.seconds / max(progress.step, 1)
        if args.minutes is not None:
            share = first_share if progress.stage == "autoencoder" else 1.0
            left = min(left, args.minutes * 60 * share - (time.monotonic() - began))
        if progress.stage != stage:
            meter.close()
        meter.show(_losses(progress), left, now=progress.stage != stage)
        stage = progress.stage
    if meter:
        meter.close()


def _losses(progress: Progress) -> str:
    losses = "".join(f", {name} {value:.4g}" for name, value in progress.losses.items())
    return f"{progress.stage} {progress.step} of {progress.total}{losses}"
