"""``somatwin train``: a store to a checkpoint, its progress shown and kept, its energy metered."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.cli.cohorts import recipe_named, show_computed
from engine.cli.terminal import Meter

if TYPE_CHECKING:
    from engine.training.journal import Journal
    from engine.training.recipes import Recipe
    from engine.training.run import Progress


def run_train(args: argparse.Namespace, meter: Meter) -> None:
    """A store to a checkpoint, resuming what is in the run directory, keeping a journal and metering the energy there; on
    stdout the checkpoint."""
    from engine.evaluation.bench.energy import energy, energy_into_card
    from engine.training.journal import recording
    from engine.vocabulary.refusal import RequestError

    if args.minutes is not None and not args.minutes > 0:
        raise RequestError(f"{args.minutes} minutes are no time to train; give more than 0")
    if args.persons is not None:
        _compute_first(args, meter)
    steps, share = _training(args)
    asked = {"recipe": args.recipe, "store": str(args.store.absolute()), "minutes": args.minutes, "size": args.size}
    with (
        recording(args.run_dir, {**asked, "seed": args.seed, "from": args.source, "where": args.where}) as journal,
        energy(args.run_dir),
    ):
        _follow(steps, args, meter, journal, share)
    energy_into_card(args.run_dir)
    print(args.run_dir / "checkpoint")


def _compute_first(args: argparse.Namespace, meter: Meter) -> None:
    """Make the in-silico cohort to train on where there is none yet; what that takes is taken off the time limit."""
    from engine.inference.generate import choose_device
    from engine.phantom.cohort import write_cohort
    from engine.training.recipes import ENCODERS, RULERS, SHAPES, TABLE
    from engine.vocabulary.refusal import RequestError

    if args.recipe in (TABLE, *ENCODERS, *RULERS, *SHAPES) or recipe_named(args.recipe).preprocess:
        raise RequestError(f"{args.recipe} does not train on computed persons; leave --persons {args.persons} out")
    if args.store.is_dir():
        return
    began = time.monotonic()
    show_computed(
        write_cohort(args.store, n=args.persons, device=choose_device(args.device), recipe=args.recipe), meter
    )
    if args.minutes is not None:
        spent = (time.monotonic() - began) / 60
        if spent >= args.minutes:
            raise RequestError(
                f"making {args.persons} persons took {spent:.1f} of {args.minutes:g} minutes; the same command goes on"
            )
        args.minutes -= spent


def _training(args: argparse.Namespace) -> tuple[Iterator[Progress], float]:
    """The training, not yet begun, and the share of a limited time that goes to its first stage."""
    from engine.cohort.sources.table import TableCohort
    from engine.cohort.store import CohortStore
    from engine.inference.generate import choose_device
    from engine.training.pipeline import train
    from engine.training.recipes import ENCODERS, RULERS, SHAPES, TABLE, table
    from engine.training.stages.features import train_features
    from engine.vocabulary.refusal import RequestError

    device = choose_device(args.device)
    if args.add and (args.source is None or args.recipe in (TABLE, *ENCODERS, *RULERS, *SHAPES)):
        raise RequestError(f"--add {args.add} goes with --from and a model of scans; leave it out or give them")
    if args.recipe == TABLE:
        cohort = TableCohort.open(args.store)
        for flag in cohort.flags:
            print(f"somatwin: {flag}", file=sys.stderr)
        recipe = _seeded(table(cohort.schema, args.size), args.seed)
        asked = {"minutes": args.minutes, "source": args.source, "where": args.where}
        return train(recipe, cohort, args.run_dir, device=device, **asked), 0.0
    if args.where and args.recipe in (*ENCODERS, *RULERS, *SHAPES):
        raise RequestError(f"{args.recipe} is trained on everybody; leave --where {args.where!r} out")
    if args.source and args.recipe in (*ENCODERS, *RULERS, *SHAPES):
        raise RequestError(f"{args.recipe} starts from nothing; leave --from {args.source} out")
    if args.recipe in SHAPES:
        return SHAPES[args.recipe](args.store, args.run_dir, minutes=args.minutes), 1.0
    store = CohortStore.open(args.store)
    if args.recipe in ENCODERS:  # always on the CPU, as rulers are
        return train_features(ENCODERS[args.recipe](), store, args.run_dir, minutes=args.minutes), 1.0
    if args.recipe in RULERS:
        return RULERS[args.recipe](store, args.run_dir, minutes=args.minutes), 1.0
    recipe = _seeded(recipe_named(args.recipe, args.size), args.seed)
    asked = {"minutes": args.minutes, "source": args.source, "add_mask": args.add == "mask", "where": args.where}
    steps = train(recipe, store, args.run_dir, device=device, **asked)
    return steps, recipe.autoencoder_share


def _seeded(recipe: Recipe, seed: int | None) -> Recipe:
    return recipe if seed is None else replace(recipe, seed=seed)


def _follow(
    steps: Iterator[Progress], args: argparse.Namespace, meter: Meter, journal: Journal, first_share: float
) -> None:
    """Show and note a training's progress; ``first_share`` of a limited time goes to the autoencoder."""
    from engine.training.journal import stop_asked

    began, stage = time.monotonic(), ""
    for progress in steps:
        journal.progress(progress.stage, progress.step, progress.total, progress.seconds, progress.losses)
        if stop_asked() and not progress.losses:  # a stage that learns saves and ends itself
            raise KeyboardInterrupt
        left = (progress.total - progress.step) * progress.seconds / max(progress.step, 1)
        if args.minutes is not None:
            share = first_share if progress.stage == "autoencoder" else 1.0
            left = min(left, args.minutes * 60 * share - (time.monotonic() - began))
        if progress.stage != stage:
            meter.close()
        meter.show(_losses(progress), left, now=progress.stage != stage)
        stage = progress.stage
    meter.close()


def _losses(progress: Progress) -> str:
    losses = "".join(f", {name} {value:.4g}" for name, value in progress.losses.items())
    return f"{progress.stage} {progress.step} of {progress.total}{losses}"
