"""``somatwin bench``: what is measured on this machine, as JSON on stdout."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine.cli.terminal import Meter

if TYPE_CHECKING:
    from engine.cohort.store import CohortStore

Progress = Callable[[str, int, int], None]


def run_bench(args: argparse.Namespace, meter: Meter) -> None:
    """Measurements on stdout, as JSON."""
    began = time.monotonic()
    unit = "done" if args.infer or args.few or args.masks or args.whatif is not None else "requests"

    def progress(what: str, done: int, total: int) -> None:
        nonlocal began
        began = began if done else time.monotonic()
        left = (time.monotonic() - began) / done * (total - done) if done else None
        meter.show(f"{what} ({done} of {total} {unit})", left, now=done in (0, total))

    measured = _on_a_store(args, progress) or _alone(args, progress)
    meter.close()
    print(json.dumps(measured, indent=2, ensure_ascii=False))


def _on_a_store(args: argparse.Namespace, progress: Progress) -> dict[str, Any] | None:
    """What is measured beside the persons of a store; None where none is given."""
    how: dict[str, Any] = {"device": args.device, "progress": progress}
    if args.infer:
        from engine.evaluation.bench.infer import benchmark_infer

        return benchmark_infer(args.checkpoint, _judging(args.checkpoint, args.infer), **how)
    if args.few:
        from engine.evaluation.bench.steps import benchmark_steps

        return benchmark_steps(args.checkpoint, _judging(args.checkpoint, args.few), **how)
    if args.masks:
        from engine.evaluation.bench.masks import benchmark_masks

        return benchmark_masks(args.checkpoint, _judging(args.checkpoint, args.masks), baseline=args.segresnet, **how)
    return None


def _judging(checkpoint: str, folder: str) -> CohortStore:
    """The store in a folder, its parts as the checkpoint knows them: nobody is judged on whom it was trained."""
    from engine.checkpoints.files import find
    from engine.cohort.participants import judged, read_participants
    from engine.cohort.store import CohortStore

    path = find(checkpoint)
    store, said = judged(CohortStore.open(folder), read_participants(path), path.name)
    print(said, file=sys.stderr)
    return store


def _alone(args: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """What needs no store."""
    if args.whatif is not None:
        from engine.evaluation.bench.whatif import benchmark_whatif

        return benchmark_whatif(args.checkpoint, persons=args.whatif, device=args.device, progress=progress)
    if args.start:
        from engine.evaluation.bench.start import benchmark_start

        return benchmark_start(args.checkpoint, runs=args.runs, progress=progress)
    if args.sizes is not None:
        from engine.evaluation.bench.sizes import benchmark_sizes, grids_of

        return benchmark_sizes(args.checkpoint, grids_of(args.sizes), device=args.device, progress=progress)
    if args.plan is not None:
        from engine.cli.cohorts import recipe_named
        from engine.evaluation.bench.planning import ACCELERATOR, here, plan

        recipes = {size: recipe_named(args.checkpoint, size) for size in ("cpu", "gpu")}
        places = {"cpu": here(recipes["cpu"]), "gpu": ACCELERATOR}
        return {size: plan(recipes[size], persons=args.plan, hardware=places[size]) for size in recipes}
    if args.everything:
        from engine.evaluation.bench.everything import benchmark_everything

        return benchmark_everything(args.checkpoint, runs=args.runs, device=args.device, progress=progress)

    from engine.evaluation.bench.sampling import benchmark, benchmark_phantom

    if args.checkpoint == "phantom":
        return benchmark_phantom(device=args.device, progress=progress)
    return benchmark(args.checkpoint, device=args.device, runs=args.runs, progress=progress)
