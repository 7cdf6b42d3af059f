"""One what-if: what is asked, and what comes of it."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.imaging.volume import Volume
from engine.vocabulary.refusal import RequestError
from engine.vocabulary.schema import Row
from pages.components.parts.ruler.reader import Seen, look, region_drawn
from pages.components.state.address import Request
from pages.components.state.generation import Report, engaged, model_lock, people_of, step_in_words, turn
from pages.components.state.intervention import Question
from pages.components.state.person_table import person_rows, summary
from pages.components.state.scene import payload
from pages.components.whatif.figures import Slices, slices_of
from pages.components.whatif.regions import Spread, compared, expected, spread
from pages.components.whatif.upload import Scan

if TYPE_CHECKING:
    from engine.inference.generate import Model, Person
    from engine.measure.ruler import Ruler

GONE = "the scan of this what-if is no longer here; upload it again"


@dataclass(frozen=True, eq=False, kw_only=True)
class Answer:
    """What came of a question. ``rows``: the table before and after; ``slices`` of the what-if, and what is ``read`` off it
    by measure. Of a whole answer also ``measured``: before and after compared; ``scenes``: what the viewer shows, by name;
    ``psnr``: dB by name; ``places``: where the change lies, ``expected`` in words where it should, and ``even``, the share
    of the picture outside of that; ``nothing``: whether no voxel differs; ``problem``: why nothing could be measured."""

    question: Question
    rows: tuple[dict[str, Any], dict[str, Any]]
    slices: Slices
    read: dict[str, float]
    measured: list[dict[str, Any]] = field(default_factory=list)
    scenes: dict[str, bytes] = field(default_factory=dict)
    psnr: dict[str, float] = field(default_factory=dict)
    places: dict[str, Spread] = field(default_factory=dict)
    expected: str = ""
    even: float = 0.0
    nothing: bool = False
    problem: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, eq=False, kw_only=True)
class _Made:
    """Volumes of one what-if: before and after as the model draws them, the null intervention and what it should equal."""

    before: Volume
    after: Volume
    null: Volume | None
    origin: Volume | None
    rows: tuple[dict[str, Any], dict[str, Any]]
    shown: dict[str, tuple[Volume, Volume]]
    psnr: dict[str, float]


def answer(
    model: Model, question: Question, scan: Scan | None, ruler: Ruler | None, report: Report, whole: bool
) -> Answer:
    """Draw the what-if and measure it; with ``whole`` also what the viewer shows and the error bars.

    Raises the engine's refusals.
    """
    began = time.monotonic()

    def drawing(share: float, text: str) -> None:
        report(0.8 * share, text)

    made = _of_scan(model, question, scan, drawing) if question.scan else _synthetic(model, question, drawing, whole)
    seen: dict[int, Seen] = {}
    volumes = [made.after]
    if whole:
        volumes += [made.before, *(volume for volume in (made.null, made.origin) if volume is not None)]
    for k, volume in enumerate(volumes):
        report(0.8 + 0.2 * k / len(volumes), "Measuring")
        if id(volume) not in seen:
            seen[id(volume)] = look(ruler, volume)
    looked = [seen[id(volume)] for volume in volumes]
    found = Answer(
        question=question,
        rows=made.rows,
        slices=slices_of(made.after),
        read=looked[0].values,
        problem=next((one.problem for one in looked if one.problem), ""),
        nothing=bool(np.array_equal(made.before.data, made.after.data)),
    )
    if whole:
        report(1.0, "Preparing the view")
        found = replace(found, measured=compared(ruler, looked), **_whole(model, question, made, looked))
    return replace(found, seconds=time.monotonic() - began)


def _whole(model: Model, question: Question, made: _Made, looked: list[Seen]) -> dict[str, Any]:
    """Scenes for the viewer, and where the change lies beside the error of the null intervention."""
    mask, words = expected(region_drawn(model), looked[1], looked[0], [name for name, _ in question.change])
    places = {"This what-if": spread(made.after.data - made.before.data, mask)}
    if made.null is not None and made.origin is not None:
        places["No intervention"] = spread(made.null.data - made.origin.data, mask)
    scenes = {title: _scene(model, question, pair, made.rows) for title, pair in made.shown.items()}
    even = float((~mask).mean())
    return {"scenes": scenes, "places": places, "expected": words, "psnr": made.psnr, "even": even}


def _synthetic(model: Model, question: Question, report: Report, whole: bool) -> _Made:
    """The synthetic person and the same noise under the intervention; the first drawn once more is the null intervention."""
    from engine.inference.counterfactual import generated_counterfactual, psnr

    asked: list[Request] = []

    def draw(given: Row) -> Person:
        """Of whom was kept from before, or else anew."""
        request = Request(model=question.model, given=tuple(given.items()), seed=question.seed, steps=question.steps)
        asked.append(request)
        ((found,), _) = people_of(model, request, lambda share, text: report(share / 2, text))
        return found.person

    given, change = dict(question.before), dict(question.change)
    one, other = generated_counterfactual(
        model, question.seed, given, change, question.steps, hold=question.held, draw=draw
    )
    null = None
    if whole:
        null = _again(model, asked[-2], lambda share, text: report(0.5 + share / 2, text))
        if np.array_equal(null.data, one.volume.data):
            null = one.volume  # measured once
    return _Made(
        before=one.volume,
        after=other.volume,
        null=null,
        origin=one.volume if whole else None,
        rows=(dict(one.attributes), dict(other.attributes)),
        shown={"As drawn": (one.volume, other.volume)},
        psnr={"No intervention": psnr(null.data, one.volume.data)} if null else {},
    )


def _again(model: Model, request: Request, report: Report) -> Volume:
    """The person of a request drawn once more, whether or not they are kept: the null intervention."""

    def progress(done: int, total: int) -> None:
        report(done / total, f"Null intervention, step {step_in_words(done, total)}")

    with turn(model_lock(), report):
        given = dict(request.given)
        (person,) = model.generate(given=given, seed=request.seed, steps=request.steps, progress=progress)
    return person.volume


def _of_scan(model: Model, question: Question, scan: Scan | None, report: Report) -> _Made:
    """The person in the scan, under the intervention."""
    if scan is None or scan.key != question.scan:
        raise RequestError(GONE)
    from engine.inference.counterfactual import counterfactual

    with engaged("What-if", report) as progress:
        made = counterfactual(
            model,
            scan.volume,
            factual=dict(question.before),
            intervention=dict(question.change),
            steps=question.steps,
            free=question.loose,
            progress=progress,
        )
    return _Made(
        before=made.null,
        after=made.volume,
        null=made.null,
        origin=scan.volume,
        rows=(dict(made.factual), dict(made.row)),
        shown={"With the scan's detail": (scan.volume, made.restored), "As the model draws": (made.null, made.volume)},
        psnr={"Autoencoder": made.autoencoder_psnr, "No intervention": made.null_psnr},
    )


def _scene(model: Model, question: Question, pair: tuple[Volume, Volume], rows: tuple[dict, dict]) -> bytes:
    """Before and after, to be compared; beside each value after why it is so."""
    name = "scan" if question.scan else f"{question.model}_seed-{question.seed}"
    given = {column: value for column, value in question.before if column not in question.loose}
    tables = [person_rows(model.schema, row, given) for row in rows]
    tables[1] = [row | {"origin": _why(question, row)} for row in tables[1]]
    people = [
        {"title": title, "subtitle": summary(row), "file": f"{name}_{suffix}", "rows": table}
        for title, suffix, row, table in zip(("Before", "What if"), ("before", "whatif"), rows, tables, strict=True)
    ]
    note = "Associations of the cohort, not causes: nobody's body is foretold."
    return payload(list(pair), people, compare=True, model=question.model, draft=False, note=note)


def _why(question: Question, row: Mapping[str, Any]) -> str:
    """Why a column is what it is in the what-if: it was set, was held, is computed, or follows what was set."""
    if row["name"] in dict(question.change):
        return "set"
    if row["origin"] == "derived":
        return "computed"
    return "held" if row["origin"] == "given" or row["name"] in question.held else "follows"


def export(model: Model, question: Question, scan: Scan | None, report: Report) -> bytes:
    """A zip of NIfTI files (before, what-if, difference) and whatif.json, as the command line writes them."""
    from engine.inference.export import write_counterfactuals, write_generated_counterfactuals

    common = {"factual": dict(question.before), "interventions": [dict(question.change)], "steps": question.steps}
    with TemporaryDirectory() as folder, engaged("Writing", report) as progress:
        out = Path(folder) / "whatif"
        if question.scan:
            if scan is None or scan.key != question.scan:
                raise RequestError(GONE)
            more = {"free": question.loose, "warnings": [*scan.notes, *scan.doubts]}
            write_counterfactuals(model, scan.volume, out, **common, **more, progress=progress)
        else:
            write_generated_counterfactuals(
                model, out, seed=question.seed, hold=question.held, **common, progress=progress
            )
        return _zipped(out)


def _zipped(folder: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return stream.getvalue()
