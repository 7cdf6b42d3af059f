"""A checkpoint and a store to one report: ``report.json`` for machines, ``report.html`` for people."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from engine.anatomy.region import Region
from engine.checkpoints.card import write_card
from engine.checkpoints.files import CONFIG, amended_checkpoint, find, stated
from engine.cohort.participants import judged, read_participants
from engine.cohort.sources.table import TableCohort
from engine.cohort.store import CohortStore
from engine.evaluation.bench.sampling import machine
from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.report.page import page
from engine.evaluation.report.parts import Section
from engine.evaluation.report.table import ROWS, table_sections
from engine.evaluation.rivals.rivals import RIVALS
from engine.evaluation.sections.coherence import coherence_section
from engine.evaluation.sections.cost import cost_section
from engine.evaluation.sections.discriminator import discriminator_section
from engine.evaluation.sections.image import image_section
from engine.evaluation.sections.privacy import privacy_section
from engine.evaluation.sections.ranking import ranking_section, rival_tables
from engine.evaluation.sections.subgroups import subgroup_section
from engine.evaluation.sections.table import table_section
from engine.evaluation.sections.whatif import whatif_section
from engine.evaluation.subjects import plan
from engine.evaluation.subjects.extract import Setting, Task
from engine.evaluation.subjects.gather import Step, claim, gather
from engine.evaluation.subjects.gaussian import LatentGaussian
from engine.evaluation.subjects.people import Gathered
from engine.imaging.grid import phases_of
from engine.inference.generate import DISCLAIMER, Model, load
from engine.measure.shipped import load_ruler
from engine.storage.ranks import SINGLE, Ranks
from engine.storage.whole import write_text
from engine.vocabulary.schema import AttributeSchema

FORMAT, VERSION = "somatwin-report", 1
Kind = Literal["evaluate", "audit"]
#: persons drawn when nothing else is asked for
LEAST = 100


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a report is made with: ``n`` synthetic persons (None: as many as test persons, at least :data:`LEAST`), the ``seed``
    of everything, ``steps`` (None: the model's) and ``guidance`` of sampling, ``features`` another encoder; whether ``cost``
    is measured, ``rivals`` are fitted to the table and a ``classifier`` is trained to tell made scans from real ones, and how
    many persons are drawn by the ``local`` score model."""

    n: int | None = None
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    device: str = "auto"
    features: Path | None = None
    cost: bool = True
    rivals: bool = False
    classifier: bool = False
    local: int = 0
    workers: int | None = None


def report(
    kind: Kind, checkpoint: str | Path, store_path: Path, out: Path, options: Options, ranks: Ranks = SINGLE
) -> Iterator[Step]:
    """Write ``out/report.json`` and ``out/report.html``; yields progress. The same call again goes on where it stopped. Of several
    ``ranks`` each makes and reads persons of its own, and rank 0 writes the report.

    Raises :class:`EvaluationError`, :class:`engine.checkpoints.files.CheckpointError` for a changed checkpoint, encoder or ruler,
    :class:`engine.cohort.store.StoreError` for a changed store.
    """
    began = time.monotonic()
    if options.n is not None and options.n < plan.MINIMUM_SIDE:
        raise EvaluationError(f"n {options.n} is too few persons: draw {plan.MINIMUM_SIDE} or more")
    if options.local < 0:
        raise EvaluationError(f"local {options.local} is no number of persons: draw 0 or more")
    with ranks.together():
        model = load(checkpoint, options.device)
    if not model.has_image:
        if ranks.leads:
            yield from _of_tables(kind, model, TableCohort.open(store_path), out, options)
        return
    with ranks.together():
        store, who = judged(CohortStore.open(store_path), read_participants(model.checkpoint.path), model.name)
        plan.checked(model, store)
    yield Step("checking the store", 0, 1, None)
    with ranks.together():
        if ranks.leads:
            store.verify()
        used = plan.extractors(store, options.features)
        require_pins(model, used.pins, options.features is not None)
    n = options.n or max(LEAST, len(store.split()["test"]))
    about = facts(kind, model, store, used.pins, options, n) | {"participants": who}
    work, tasks = out / "work", plan.tasks(kind, model, store, n, options.seed, options.local)
    _begin(work, about, ranks)
    with ranks.together():
        if ranks.leads:
            prepare(model, store, work, tasks)
    setting = Setting(
        checkpoint=str(model.checkpoint.path),
        store=str(store_path),
        device=model.device,
        seed=options.seed,
        steps=options.steps or model.steps,
        guidance=options.guidance,
        encoder=None if used.encoder is None else str(used.encoder),
        region=None if used.region is None else used.region.name,
        folder=str(work),
    )
    with ranks.together():
        yield from gather(setting, tasks, work, workers=options.workers, ranks=ranks)
    if not ranks.leads:
        return
    data = plan.assembled(work, tasks, about, used, ruler_units(used.region))
    data = replace(data, channels=phases_of(model.checkpoint.config.channels)[0])
    sections: list[Section] = []
    yield from _sections(kind, model, options, data, work, sections)
    about["seconds"] = round(time.monotonic() - began, 1)
    about["machine"] = machine(model.device)
    about["persons"] = {name: len(side) for name, side in data.sides.items()}
    write(out, about, sections)
    yield Step("report", len(sections), len(sections), 0.0)


def _begin(work: Path, about: dict[str, Any], ranks: Ranks) -> None:
    """Claim the folder for what all ranks want alike, and see that all of them see it."""
    wanted = {k: about[k] for k in ("kind", "checkpoint", "store", "extractors", "sampling", "version")}
    ranks.agree({name: json.dumps(value, sort_keys=True) for name, value in wanted.items()})
    with ranks.together():
        if ranks.leads:
            claim(work, wanted)
    with ranks.together():
        if not (work / "plan.json").is_file():
            raise EvaluationError(f"{work} is not seen by this rank; name an --out on a disk that all ranks share")


def _sections(
    kind: Kind, model: Model, options: Options, data: Gathered, work: Path, sections: list[Section]
) -> Iterator[Step]:
    """Make the sections of the gathered persons into ``sections``, one after the other."""
    makers = section_makers(kind, model, options)
    if options.rivals:
        tables: dict[str, Any] = {}
        yield Step("other table generators", 0, len(RIVALS), None)
        for name, table in rival_tables(data, model.schema, work / "rivals", options.seed):
            tables[name] = table
            yield Step("other table generators", len(tables), len(RIVALS), None)
        makers.insert(2, ("ranking", lambda data, schema, rng: ranking_section(data, schema, tables, rng)))
    for k, (title, make) in enumerate(makers):
        yield Step(title, k, len(makers), None)
        sections.append(make(data, model.schema, np.random.default_rng([options.seed, k])))


def _of_tables(kind: Kind, model: Model, cohort: TableCohort, out: Path, options: Options) -> Iterator[Step]:
    """The report of a model that knows tables only."""
    if kind == "audit":
        raise EvaluationError(
            f"{model.name} knows tables only, and the audit is of scans: give a model that knows scans"
        )
    cohort, who = judged(cohort, read_participants(model.checkpoint.path), model.name)
    n = options.n or max(ROWS, len(cohort.split()["test"]))
    about, sections = facts(kind, model, cohort, {}, options, n) | {"participants": who}, []
    made = {"n": n, "seed": options.seed, "steps": options.steps or model.steps, "rivals": options.rivals}
    for part in table_sections(model, cohort, about, out / "work", **made):
        if isinstance(part, Step):
            yield part
        else:
            sections.append(part)
    write(out, about, sections)
    yield Step("report", 1, 1, 0.0)


def section_makers(
    kind: Kind, model: Model, options: Options
) -> list[tuple[str, Callable[[Gathered, AttributeSchema, np.random.Generator], Section]]]:
    """Title and maker of each section, in order."""
    if kind == "audit":
        return [("privacy", privacy_section)]
    makers = [
        ("image fidelity", lambda data, schema, rng: image_section(data, rng)),
        ("table fidelity", table_section),
        ("coherence", coherence_section),
        ("what-if", whatif_section),
        ("subgroups", subgroup_section),
    ]
    if options.classifier:
        makers.append(("real or synthetic", lambda data, schema, rng: discriminator_section(data, rng)))
    if options.cost:
        makers.append(("cost", lambda data, schema, rng: cost_section(model, options.steps or model.steps)))
    return makers


def facts(
    kind: Kind, model: Model, store: CohortStore | TableCohort, pins: dict[str, str], options: Options, n: int
) -> dict[str, Any]:
    """What the report is of."""
    split = store.split()
    return {
        "format": FORMAT,
        "version": VERSION,
        "kind": kind,
        "disclaimer": DISCLAIMER,
        "checkpoint": {
            "name": model.name,
            "digest": model.digest,
            "weights_sha256": model.checkpoint.config.weights_sha256,
        },
        "trained_on": model.card.get("trained_on", "unknown"),
        "licence": model.licence,
        "store": {
            "source": store.meta.get("source_name", "unnamed"),
            "participants_sha256": store.meta["participants_sha256"],
            **{part: len(rows) for part, rows in split.items()},
        },
        "extractors": dict(pins),
        "sampling": {"n": n, "seed": options.seed, "steps": options.steps or model.steps, "guidance": options.guidance},
    }


def prepare(model: Model, store: CohortStore, work: Path, tasks: Sequence[Task]) -> None:
    """The mean image, the normal distribution of latents and the persons of the local score model, all of training persons,
    where the tasks need them."""
    train = plan.subsample(store.split()["train"], plan.TRAINING, 0)
    needed = {task.make for task in tasks}
    if "mean" in needed and not (work / "mean.npy").exists():
        total = np.zeros(store.volumes.shape[1:], np.float64)
        for row in train:
            total += store.volumes[row]
        np.save(work / "mean.npy", (total / len(train) / 255).astype(np.float32))
    if "local" in needed and not (work / "local.npy").exists():
        np.save(work / "local.npy", plan.subsample(train, plan.PATCHED, 0))
    if "gaussian" in needed and not (work / "gaussian.npz").exists():
        LatentGaussian.fitted(model, store, train).save(work)


def ruler_units(region: Region | None) -> dict[str, str]:
    """What the ruler of a region measures, with units."""
    if region is None:
        return {}
    ruler = load_ruler(region)
    return {measure: ruler.units[measure] for measure in ruler.measures}


def pins_of(path: Path) -> dict[str, str]:
    """Which extractors a checkpoint was evaluated with; empty if never."""
    try:
        return json.loads((path / "evaluation.json").read_text("utf-8"))["extractors"]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError):
        raise EvaluationError(
            f"{path / 'evaluation.json'} is damaged: restore it, or delete it to pin the extractors anew"
        ) from None


def require_pins(model: Model, pins: dict[str, str], foreign: bool) -> None:
    """Refuse extractors other than those pinned with the checkpoint; ``foreign`` ones were asked for and are not compared."""
    for name, pinned in pins_of(model.checkpoint.path).items():
        if name == "encoded" and foreign:
            continue
        if pins.get(name) != pinned:
            raise EvaluationError(
                f"{model.name} was evaluated with {name} {pinned} and here is {pins.get(name, 'none')}: their figures do not compare; "
                f"restore it, or delete evaluation.json in {model.checkpoint.path} to pin anew"
            )


def write(out: Path, about: dict[str, Any], sections: Sequence[Section]) -> None:
    """Both files, each whole or not at all."""
    found = {**about, "sections": [section.to_json() for section in sections]}
    for name, text in (("report.json", json.dumps(found, indent=1, ensure_ascii=False)), ("report.html", page(found))):
        write_text(out / name, text)


def into_card(checkpoint: str | Path, out: Path) -> Path:
    """Put the report's figures into the checkpoint's card, and pin its extractors; returns the card.

    Raises :class:`EvaluationError` when the report is of other weights.
    """
    path, found = find(checkpoint), json.loads((out / "report.json").read_text("utf-8"))
    config = stated(path / CONFIG)
    if found["checkpoint"]["weights_sha256"] != config.get("weights_sha256"):
        raise EvaluationError(f"{out} reports on other weights than those in {path}: evaluate these")
    card = json.loads((path / "model_card.json").read_text("utf-8"))
    kind, sampling = found["kind"], found["sampling"]
    lines = {
        "how": f"somatwin {kind}, {sampling['n']} synthetic persons, seed {sampling['seed']}, {sampling['steps']} steps; "
        + ", ".join(found["extractors"].values())
    }
    for section in found["sections"]:
        for reported in section["entries"]:
            lines[reported["name"]] = in_words(reported)
    card["evaluation" if kind == "evaluate" else "privacy audit"] = lines
    pins = {**pins_of(path), **found["extractors"]}
    with amended_checkpoint(path) as part:
        write_card(part, card)
        write_text(part / "evaluation.json", json.dumps({"extractors": pins}, indent=1))
    return path / "model_card.md"


def in_words(reported: dict[str, Any]) -> str:
    """A reported figure as one line: value, interval, N, floor, p, verdict."""
    figure, floor = reported["figure"], reported["floor"]
    text = f"{_digits(figure['value'])} {reported['unit']}".strip()
    if figure["low"] is not None:
        text += f" ({_digits(figure['low'])} to {_digits(figure['high'])}, n = {figure['n']})"
    if floor is not None:
        text += f"; real {_digits(floor['value'])} ({_digits(floor['low'])} to {_digits(floor['high'])})"
    if reported["p"] is not None:
        text += f"; p = {reported['p']:.2g}"
    return f"{text}; {reported['verdict']}" if reported["verdict"] else text


def _digits(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3g}"


def figures_by_key(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """All figures of a report by key."""
    return {reported["key"]: reported for section in found["sections"] for reported in section["entries"]}
