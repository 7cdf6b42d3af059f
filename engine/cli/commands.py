"""What the command line asks of a model: each command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from engine.cli.masks import read_mask
from engine.cli.terminal import Meter, attributes_of

#: other names of formats
FORMS = {"bids": "nifti"}


def run_generate(args: argparse.Namespace, meter: Meter) -> None:
    """Persons from a checkpoint as a BIDS folder; on stdout the folder."""
    from engine.inference.export import write_people
    from engine.inference.generate import load
    from engine.training.world import joined

    began = time.monotonic()

    def progress(done: int, total: int) -> None:
        left = (time.monotonic() - began) / done * (total - done)
        meter.show(f"{done * args.n // total} of {args.n} persons", left, now=done == total)

    with joined(args.device) as world:
        with world.together(prompt=True):
            model = load(args.checkpoint, args.device)
            given = attributes_of(model, args.set)
            seed, steps, guidance = args.seed, args.steps, args.guidance
            how = {"seed": seed, "steps": steps, "guidance": guidance, "form": FORMS.get(args.format, args.format)}
            how |= {"mask": read_mask(model, args.mask), "with_mask": args.labels, "with_sr": args.sr}
        asked = {**vars(args), "mask": str(args.mask), "out": ""}
        world.agree({"checkpoint": model.digest, "command": json.dumps(asked, sort_keys=True, default=str)})
        began = time.monotonic()
        how |= {"progress": progress if world.leads else None, "ranks": world}
        written = write_people(model, args.out, n=args.n, given=given, **how)
        if world.leads:
            meter.close()
            print(written)


def run_example(args: argparse.Namespace, meter: Meter) -> None:
    """The example of a checkpoint; on stdout its file."""
    from engine.evaluation.example import Sizes, write_example
    from engine.inference.generate import load

    sizes = Sizes(people=args.n, training=args.training)
    written = write_example(load(args.checkpoint, args.device), sizes, lambda text: meter.show(text, None))
    meter.close()
    print(written)


def run_measure(args: argparse.Namespace, meter: Meter) -> None:
    """What is read off each scan, on stdout as one line of JSON a scan; of several one that is refused says why in its line, and
    the next is measured."""
    from engine.measure.report import write_report
    from engine.measure.scan import measure_scan, scans_of
    from engine.vocabulary.refusal import Refusal, RequestError

    scans, refused, began = list(scans_of(args.scans)), 0, time.monotonic()
    for done, scan in enumerate(scans):
        left = (time.monotonic() - began) / done * (len(scans) - done) if done else None
        meter.show(f"{done} of {len(scans)} scans ({scan.name})", left)
        try:
            measured = measure_scan(scan, args.kind)
            if args.sr:
                measured["report"] = str(write_report(measured, args.sr))
        except Refusal as error:
            if len(scans) == 1:
                raise
            measured, refused = {"scan": [str(scan)], "refused": str(error)}, refused + 1
        meter.close()
        print(json.dumps(measured, ensure_ascii=False), flush=True)
    if refused:
        raise RequestError(f"{refused} of {len(scans)} scans were not measured; their lines say why")


def run_infer(args: argparse.Namespace, meter: Meter) -> None:
    """What a scan, or what is known, tells of its person's table, on stdout as JSON."""
    from engine.inference.generate import DISCLAIMER, load
    from engine.inference.infer import infer, posterior
    from engine.inference.intake import admit

    meter.show("loading the model and the scan", None, now=True)
    model = load(args.checkpoint, args.device)
    given = attributes_of(model, args.set)
    scan, warnings = admit(model, args.scan, force=args.force) if args.scan else (None, [])
    draws = infer(model, scan, given, samples=args.samples, seed=args.seed)
    meter.close()
    about = {
        "scan": args.scan and str(args.scan),
        "checkpoint": {"name": model.name, "digest": model.digest},
        "warnings": warnings,
    }
    found = {"samples": args.samples, "seed": args.seed, "columns": posterior(model.schema, draws, given)}
    print(json.dumps({**about, **found, "disclaimer": DISCLAIMER}, indent=1, ensure_ascii=False))


def run_whatif(args: argparse.Namespace, meter: Meter) -> None:
    """A scan's or a synthetic person with other attributes as a folder; on stdout the folder."""
    from engine.inference.export import write_counterfactuals, write_generated_counterfactuals
    from engine.inference.generate import load
    from engine.inference.intake import admit
    from engine.inference.masks import edit_of_scan, edit_of_seed
    from engine.vocabulary.refusal import RequestError

    meter.show("loading the model and the scan", None, now=True)
    model = load(args.checkpoint, args.device)
    given, changed = attributes_of(model, args.given), attributes_of(model, args.set)
    if args.sweep and args.sweep[0] in changed:
        raise RequestError(f"{args.sweep[0]} is to be otherwise by --set and by --sweep; leave it out of one")
    rows = [{**changed, args.sweep[0]: v} for v in args.sweep[1]] if args.sweep else [changed]
    after = read_mask(model, args.mask, args.scan)
    if not any(rows) and after is None:
        raise RequestError("nothing is to be otherwise; give --set, --sweep or --mask")
    if args.scan and (args.hold or args.seed is not None):
        raise RequestError("--hold and --seed are of a synthetic person; leave them out, or leave out the scan")
    if not args.scan and args.free:
        raise RequestError("--free is of a scan's person; give a scan, or leave the attribute out of --given")
    began = time.monotonic()

    def progress(done: int, total: int) -> None:
        left = (time.monotonic() - began) / done * (total - done)
        meter.show(f"{done * len(rows) // total} of {len(rows)} what-ifs", left, now=done == total)

    asked: dict[str, Any] = {"factual": given, "interventions": rows, "progress": progress}
    if args.scan:
        scan, warnings = admit(model, args.scan, force=args.force)
        more: dict[str, Any] = {"steps": args.steps or 32, "free": args.free, "warnings": warnings}
        if after is not None:
            edit, follow = edit_of_scan(model, scan, given, lambda _: after, held=changed)
            more |= {"edit": edit, "free": list(dict.fromkeys([*args.free, *follow]))}
        written = write_counterfactuals(model, scan, args.out, **asked, **more)
    else:
        more = {"steps": args.steps, "hold": args.hold, "seed": args.seed or 0}
        if after is not None:
            edit, asked["factual"] = edit_of_seed(
                model, more["seed"], given, lambda _: after, held=changed, steps=args.steps
            )
            more["edit"] = edit
        written = write_generated_counterfactuals(model, args.out, **asked, **more)
    meter.close()
    print(written)


def run_info(args: argparse.Namespace, meter: Meter) -> None:
    """The model card on stdout, after the whole checkpoint was checked."""
    from engine.checkpoints.card import checked_card

    if args.device == "cuda":
        from engine.inference.generate import choose_device

        choose_device(args.device)
    card, markdown = checked_card(args.checkpoint)
    print(json.dumps(card, indent=2, ensure_ascii=False) if args.json else markdown.rstrip())


def run_evaluate(args: argparse.Namespace, meter: Meter) -> None:
    """A report of a checkpoint's quality or, as ``audit``, of its privacy; on stdout the page."""
    from engine.evaluation.report.write import Options, into_card, report
    from engine.training.world import joined

    more = {}
    if args.command == "evaluate":
        more = {"features": args.features, "rivals": args.rivals, "cost": args.cost}
        more |= {"classifier": args.classifier, "local": args.local}
    options = Options(
        n=args.n,
        seed=args.seed,
        steps=args.steps,
        guidance=args.guidance,
        device=args.device,
        **more,
    )
    what = ""
    with joined(args.device) as world:
        for step in report(args.command, args.checkpoint, args.store, args.out, options, world):
            if world.leads:
                meter.show(f"{step.what}: {step.done} of {step.total}", step.left, now=step.what != what)
                what = step.what
        if world.leads:
            meter.close()
            print(args.out / "report.html")
            if args.card:
                print(into_card(args.checkpoint, args.out))
