"""``somatwin ingest``, ``deidentify`` and ``phantom``: cohorts, and what becomes of them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING

from engine.cli.terminal import Meter

if TYPE_CHECKING:
    from engine.cohort.preprocess.preprocess import PreprocessConfig
    from engine.cohort.sources.selected import Wanted
    from engine.cohort.store import CohortStore
    from engine.phantom.cohort import PhantomProgress
    from engine.training.recipes import Recipe


def recipe_named(name: str, size: str = "cpu") -> Recipe:
    from engine.training.recipes import ENCODERS, RECIPES, RULERS, SHAPES, TABLE
    from engine.vocabulary.refusal import RequestError

    if name not in RECIPES:
        known = [*RECIPES, TABLE, *ENCODERS, *RULERS, *SHAPES]
        raise RequestError(f"there is no recipe {name!r}; the recipes are {', '.join(known)}")
    return RECIPES[name](size)


def run_ingest(args: argparse.Namespace, meter: Meter) -> None:
    """A BIDS data set to a store; on stdout what became of it."""
    from engine.cohort.ingest import ingest
    from engine.cohort.sources.proposal import read_plan
    from engine.inference.generate import choose_device
    from engine.vocabulary.refusal import RequestError

    choose_device(args.device)
    if (settings := recipe_named(args.recipe).preprocess) is None:
        raise RequestError(f"recipe {args.recipe} trains on computed persons; make them with somatwin phantom")
    if args.check:
        _check(args, settings, meter)
        return
    if args.store is None:
        raise RequestError("ingest has no STORE to write to; name a new folder, or ask with --check only")
    if args.json:
        raise RequestError("--json is the form of --check; ask for both, or for neither")
    plan = read_plan(args.schema) if args.schema else None
    form = args.chunked or None
    steps = ingest(args.source, args.store, settings, recipe=args.recipe, plan=plan, wanted=_wanted(args), chunked=form)
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
    for line in store.meta.get("selection", []):
        print(line)
    for who in gone:
        print(f"{who['participant_id']} left out: {who['reason']}")
    for flag in store.meta["flagged"]:
        print(f"somatwin: {flag['participant_id']}: {flag['reason']}", file=sys.stderr)


def _wanted(args: argparse.Namespace) -> Wanted:
    """Which persons, columns and series are asked for."""
    from engine.cohort.sources.selected import Wanted

    columns = tuple(name for part in args.columns.split(",") if (name := part.strip()))
    return Wanted(where=args.where, columns=columns, series=args.series)


def _check(args: argparse.Namespace, settings: PreprocessConfig, meter: Meter) -> None:
    """What an ingest would do, on stdout in words or as JSON; a proposed schema into its file."""
    from engine.cohort.check import check
    from engine.cohort.sources.proposal import read_plan, write_plan

    plan = read_plan(args.schema) if args.schema and args.schema.exists() else None
    steps = check(args.source, settings, plan=plan, wanted=_wanted(args))
    while True:
        try:
            done, total = next(steps)
        except StopIteration as end:
            found = end.value
            break
        meter.show(f"{done} of {total} scans opened", None, now=done == total)
    meter.close()
    print(json.dumps(found.to_json(), indent=1, ensure_ascii=False) if args.json else "\n".join(found.lines()))
    if args.schema and plan is None and found.plan is not None:
        print(f"proposed in {write_plan(args.schema, found.plan)}: edit it and give it to ingest", file=sys.stderr)


def run_deidentify(args: argparse.Namespace, meter: Meter) -> None:
    """DICOM files as copies that name nobody; on stdout the report of what was removed, as JSON."""
    from engine.cohort.deidentify import deidentify

    steps = deidentify(args.source, args.out)
    while True:
        try:
            done = next(steps)
        except StopIteration as end:
            report = end.value
            break
        meter.show(f"{done} files", None)
    meter.close()
    print(json.dumps(report, indent=1))


def run_phantom(args: argparse.Namespace, meter: Meter) -> None:
    """An in-silico cohort as a store; on stdout what was made. Under torchrun each rank makes persons of its own."""
    from engine.inference.generate import choose_device
    from engine.phantom.cohort import write_cohort, write_nifti
    from engine.training.world import joined

    with joined(args.device) as world:
        with world.together(prompt=True):
            device = choose_device(args.device)
        how = {"n": args.n, "seed": args.seed, "labels": args.labels, "nifti": args.nifti, "recipe": args.recipe}
        how["chunked"] = args.chunked or None
        steps = write_cohort(args.store, **how, device=device, ranks=world)
        store = show_computed(steps, meter if world.leads else None)
        if world.leads:
            print(f"{args.store}: {len(store)} in-silico persons (seed {args.seed}), not for diagnosis")
            if args.nifti:
                print(write_nifti(store, args.nifti, device))


def show_computed(steps: Generator[PhantomProgress, None, CohortStore], meter: Meter | None) -> CohortStore:
    """The finished store of an in-silico cohort, its progress shown where there is a ``meter``."""
    first: int | None = None
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            if meter:
                meter.close()
            return end.value
        if meter is None:
            continue
        first = step.done if first is None else first
        left = step.seconds / (step.done - first) * (step.total - step.done) if step.done > first else None
        meter.show(f"{step.done} of {step.total} persons", left, now=step.done == step.total)
