"""The command line: ``somatwin COMMAND`` or ``python -m engine COMMAND``; a command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from engine.arguments import parser
from engine.terminal import Meter, cell

if TYPE_CHECKING:
    from engine.training.pipeline import Recipe
    from engine.training.run import Progress


def recipe_named(name: str, size: str = "cpu") -> Recipe:
    from engine.generate import RequestError
    from engine.recipes import RECIPES

    if name not in RECIPES:
        raise RequestError(f"there is no recipe {name!r}; the recipes are {', '.join(RECIPES)}")
    return RECIPES[name](size)


def run_ingest(args: argparse.Namespace, meter: Meter) -> None:
    """A BIDS data set to a store; on stdout what became of it."""
    from engine.cohort.ingest import ingest
    from engine.generate import RequestError, choose_device

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
    from engine.generate import choose_device
    from engine.phantom.cohort import write_cohort, write_nifti

    device = choose_device(args.device)
    steps = write_cohort(args.store, n=args.n, seed=args.seed, device=device, labels=args.labels, nifti=args.nifti)
    first: int | None = None
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            store = end.value
            break
        first = step.done if first is None else first
        left = step.seconds / (step.done - first) * (step.total - step.done) if step.done > first else None
        meter.show(f"{step.done} of {step.total} persons", left, now=step.done == step.total)
    meter.close()
    print(f"{args.store}: {len(store)} in-silico persons (seed {args.seed}), not for diagnosis")
    if args.nifti:
        print(write_nifti(store, args.nifti, device))


def run_train(args: argparse.Namespace, meter: Meter) -> None:
    """A store to a checkpoint, resuming what is in the run directory; on stdout the checkpoint."""
    from engine.cohort.store import CohortStore
    from engine.generate import RequestError, choose_device
    from engine.recipes import ENCODERS
    from engine.training.features import train_features
    from engine.training.pipeline import train

    if args.minutes is not None and not args.minutes > 0:
        raise RequestError(f"{args.minutes} minutes are no time to train; give more than 0")
    store, device = CohortStore.open(args.store), choose_device(args.device)
    if args.recipe in ENCODERS:  # always on the CPU
        steps, share = train_features(ENCODERS[args.recipe](), store, args.run_dir, minutes=args.minutes), 1.0
    else:
        recipe = recipe_named(args.recipe, args.size)
        steps = train(recipe, store, args.run_dir, device=device, minutes=args.minutes)
        share = recipe.autoencoder_share
    _follow(steps, args, meter, share)


def _follow(steps: Iterator[Progress], args: argparse.Namespace, meter: Meter, first_share: float) -> None:
    """Show a training's progress; ``first_share`` of a limited time goes to the autoencoder. On stdout the checkpoint."""
    began, stage = time.monotonic(), ""
    for progress in steps:
        left = (progress.total - progress.step) * progress.seconds / max(progress.step, 1)
        if args.minutes is not None:
            share = first_share if progress.stage == "autoencoder" else 1.0
            left = min(left, args.minutes * 60 * share - (time.monotonic() - began))
        if progress.stage != stage:
            meter.close()
        meter.show(_losses(progress), left, now=progress.stage != stage)
        stage = progress.stage
    meter.close()
    print(args.run_dir / "checkpoint")


def _losses(progress: Progress) -> str:
    losses = "".join(f", {name} {value:.4g}" for name, value in progress.losses.items())
    return f"{progress.stage} {progress.step} of {progress.total}{losses}"


def run_generate(args: argparse.Namespace, meter: Meter) -> None:
    """Persons from a checkpoint as a BIDS folder; on stdout the folder."""
    from engine.attributes import Category
    from engine.export import write_people
    from engine.generate import RequestError, load

    names = [name for name, _ in args.set]
    if twice := [name for name in names if names.count(name) > 1]:
        raise RequestError(f"{twice[0]} is set twice; set it once")
    model = load(args.checkpoint, args.device)
    given = {name: text if isinstance(model.schema[name], Category) else cell(text) for name, text in args.set}
    began = time.monotonic()

    def progress(done: int, total: int) -> None:
        left = (time.monotonic() - began) / done * (total - done)
        meter.show(f"{done * args.n // total} of {args.n} persons", left, now=done == total)

    seed, steps, guidance = args.seed, args.steps, args.guidance
    written = write_people(
        model, args.out, n=args.n, given=given, seed=seed, steps=steps, guidance=guidance, progress=progress
    )
    meter.close()
    print(written)


def run_measure(args: argparse.Namespace, meter: Meter) -> None:
    """What is read off each scan, on stdout as one line of JSON a scan."""
    from engine.measure.scan import measure_scan, scans_of

    scans, began = list(scans_of(args.scans)), time.monotonic()
    for done, scan in enumerate(scans):
        left = (time.monotonic() - began) / done * (len(scans) - done) if done else None
        meter.show(f"{done} of {len(scans)} scans ({scan.name})", left)
        measured = measure_scan(scan, args.kind)
        meter.close()
        print(json.dumps(measured, ensure_ascii=False), flush=True)


def run_info(args: argparse.Namespace, meter: Meter) -> None:
    """The model card on stdout, after the whole checkpoint was checked."""
    from engine.checkpoint import ruler_card
    from engine.generate import load

    if (found := ruler_card(args.checkpoint)) is None:
        model = load(args.checkpoint, args.device)
        found = model.card, model.card_markdown
    card, markdown = found
    print(json.dumps(card, indent=2, ensure_ascii=False) if args.json else markdown.rstrip())


def run_evaluate(args: argparse.Namespace, meter: Meter) -> None:
    """A report of a checkpoint's quality or, as ``audit``, of its privacy; on stdout the page."""
    from engine.evaluation.report import Options, into_card, report

    more = {}
    if args.command == "evaluate":
        more = {"features": args.features, "rivals": args.rivals, "cost": args.cost}
    options = Options(
        n=args.n,
        seed=args.seed,
        steps=args.steps,
        guidance=args.guidance,
        device=args.device,
        **more,
    )
    what = ""
    for step in report(args.command, args.checkpoint, args.store, args.out, options):
        meter.show(f"{step.what}: {step.done} of {step.total}", step.left, now=step.what != what)
        what = step.what
    meter.close()
    print(args.out / "report.html")
    if args.card:
        print(into_card(args.checkpoint, args.out))


def run_bench(args: argparse.Namespace, meter: Meter) -> None:
    """Measurements on stdout, as JSON."""
    from engine.benchmark import benchmark, benchmark_phantom

    began = time.monotonic()

    def progress(what: str, done: int, total: int) -> None:
        nonlocal began
        began = began if done else time.monotonic()
        left = (time.monotonic() - began) / done * (total - done) if done else None
        meter.show(f"{what} ({done} of {total} requests)", left, now=done in (0, total))

    if args.checkpoint == "phantom":
        measured = benchmark_phantom(device=args.device, progress=progress)
    else:
        measured = benchmark(args.checkpoint, device=args.device, runs=args.runs, progress=progress)
    meter.close()
    print(json.dumps(measured, indent=2, ensure_ascii=False))


COMMANDS = {
    "ingest": run_ingest,
    "phantom": run_phantom,
    "train": run_train,
    "generate": run_generate,
    "measure": run_measure,
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
    if isinstance(error, ValueError) and type(error).__module__.startswith("engine."):
        return " ".join(str(error).split())
    if isinstance(error, OSError) and (error.filename or error.errno in (errno.ENOSPC, errno.EDQUOT)):
        return f"{error.filename or 'a file'} cannot be used ({error.strerror}); check the path and the space left"
    return None


if __name__ == "__main__":
    sys.exit(main())
