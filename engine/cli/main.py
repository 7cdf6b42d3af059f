"""The command line: ``somatwin COMMAND`` or ``python -m engine COMMAND``; a command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import time
import traceback
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.cli.arguments import parser
from engine.cli.commands import (
    run_bench,
    run_evaluate,
    run_generate,
    run_impute,
    run_infer,
    run_info,
    run_measure,
    run_whatif,
)
from engine.cli.terminal import Meter
from engine.vocabulary.refusal import Refusal

if TYPE_CHECKING:
    from engine.cohort.store import CohortStore
    from engine.phantom.cohort import PhantomProgress
    from engine.training.journal import Journal
    from engine.training.recipes import Recipe
    from engine.training.run import Progress


def recipe_named(name: str, size: str = "cpu") -> Recipe:
    from engine.training.recipes import ENCODERS, RECIPES, RULERS, TABLE
    from engine.vocabulary.refusal import RequestError

    if name not in RECIPES:
        known = [*RECIPES, TABLE, *ENCODERS, *RULERS]
        raise RequestError(f"there is no recipe {name!r}; the recipes are {', '.join(known)}")
    return RECIPES[name](size)


def run_ingest(args: argparse.Namespace, meter: Meter) -> None:
    """A BIDS data set to a store; on stdout what became of it."""
    from engine.cohort.ingest import ingest
    from engine.inference.generate import choose_device
    from engine.vocabulary.refusal import RequestError

    choose_device(args.device)
    if (settings := recipe_named(args.recipe).preprocess) is None:
        raise RequestError(f"recipe {args.recipe} trains on computed persons; make them with somatwin phantom")
    steps = ingest(args.source, args.store, settings, recipe=args.recipe)
    spent: list[float] = []
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            store = end.value
            break
        if step.seconds > 0.01:  # less: done by an earlier, interrupted ingest
            spent.append(step.seconds)
        left = sum(spent) / max(len(spent), 1) * (step.total - step.done)
        meter.show(f"{step.done} of {step.total} persons ({step.subject})", left, now=step.done == step.total)
    meter.close()
    gone, grid = store.meta["left_out"], " x ".join(map(str, store.grid))
    print(f"{args.store}: {len(store)} persons, {grid} voxels, {len(gone)} left out (see quality.html there)")
    for who in gone:
        print(f"{who['participant_id']} left out: {who['reason']}")


def run_phantom(args: argparse.Namespace, meter: Meter) -> None:
    """An in-silico cohort as a store; on stdout what was made."""
    from engine.inference.generate import choose_device
    from engine.phantom.cohort import write_cohort, write_nifti

    device = choose_device(args.device)
    steps = write_cohort(args.store, n=args.n, seed=args.seed, device=device, labels=args.labels, nifti=args.nifti)
    store = _computed(steps, meter)
    print(f"{args.store}: {len(store)} in-silico persons (seed {args.seed}), not for diagnosis")
    if args.nifti:
        print(write_nifti(store, args.nifti, device))


def _computed(steps: Generator[PhantomProgress, None, CohortStore], meter: Meter) -> CohortStore:
    """The finished store of an in-silico cohort, its progress shown."""
    first: int | None = None
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            meter.close()
            return end.value
        first = step.done if first is None else first
        left = step.seconds / (step.done - first) * (step.total - step.done) if step.done > first else None
        meter.show(f"{step.done} of {step.total} persons", left, now=step.done == step.total)


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
    with recording(args.run_dir, {**asked, "seed": args.seed, "from": args.source}) as journal, energy(args.run_dir):
        _follow(steps, args, meter, journal, share)
    energy_into_card(args.run_dir)
    print(args.run_dir / "checkpoint")


def _compute_first(args: argparse.Namespace, meter: Meter) -> None:
    """Make the in-silico cohort to train on where there is none yet; what that takes is taken off the time limit."""
    from engine.inference.generate import choose_device
    from engine.phantom.cohort import write_cohort
    from engine.training.recipes import ENCODERS, RULERS, TABLE
    from engine.vocabulary.refusal import RequestError

    if args.recipe in (TABLE, *ENCODERS, *RULERS) or recipe_named(args.recipe).preprocess:
        raise RequestError(f"{args.recipe} does not train on computed persons; leave --persons {args.persons} out")
    if args.store.is_dir():
        return
    began = time.monotonic()
    _computed(write_cohort(args.store, n=args.persons, device=choose_device(args.device)), meter)
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
    from engine.training.recipes import ENCODERS, RULERS, TABLE, table
    from engine.training.stages.features import train_features
    from engine.vocabulary.refusal import RequestError

    device = choose_device(args.device)
    if args.recipe == TABLE:
        cohort = TableCohort.open(args.store)
        for flag in cohort.flags:
            print(f"somatwin: {flag}", file=sys.stderr)
        recipe = _seeded(table(cohort.schema, args.size), args.seed)
        return train(recipe, cohort, args.run_dir, device=device, minutes=args.minutes, source=args.source), 0.0
    store = CohortStore.open(args.store)
    if args.source and args.recipe in (*ENCODERS, *RULERS):
        raise RequestError(f"{args.recipe} starts from nothing; leave --from {args.source} out")
    if args.recipe in ENCODERS:  # always on the CPU, as rulers are
        return train_features(ENCODERS[args.recipe](), store, args.run_dir, minutes=args.minutes), 1.0
    if args.recipe in RULERS:
        return RULERS[args.recipe](store, args.run_dir, minutes=args.minutes), 1.0
    recipe = _seeded(recipe_named(args.recipe, args.size), args.seed)
    steps = train(recipe, store, args.run_dir, device=device, minutes=args.minutes, source=args.source)
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


COMMANDS = {
    "ingest": run_ingest,
    "phantom": run_phantom,
    "train": run_train,
    "generate": run_generate,
    "impute": run_impute,
    "measure": run_measure,
    "infer": run_infer,
    "whatif": run_whatif,
    "info": run_info,
    "evaluate": run_evaluate,
    "audit": run_evaluate,
    "bench": run_bench,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    meter = Meter()
    try:
        args = parser().parse_args(argv)
        COMMANDS[args.command](args, meter)
        sys.stdout.flush()
        return 0
    except SystemExit as end:  # argparse has said all
        return int(end.code or 0)
    except KeyboardInterrupt:
        return _fail(meter, "stopped", 130)
    except BrokenPipeError:  # the reader of stdout, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if sentence := refusal(error):
            return _fail(meter, sentence, 2)
        return _fail(meter, traceback.format_exc().rstrip(), 1)


def _fail(meter: Meter, message: str, code: int) -> int:
    meter.close()
    print(f"somatwin: {message}", file=sys.stderr)
    return code


def refusal(error: Exception) -> str | None:
    """What to say of bad input or an unusable file, in one line; None for an error that nobody foresaw."""
    if isinstance(error, Refusal):
        return " ".join(str(error).split())
    if isinstance(error, OSError) and (error.filename or error.errno in (errno.ENOSPC, errno.EDQUOT)):
        return f"{error.filename or 'a file'} cannot be used ({error.strerror}); check the path and the space left"
    return None
