"""One what-if: what is asked, and what comes of it."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from engine.imaging.volume import Volume
from engine.vocabulary.refusal import RequestError
from engine.vocabulary.schema import Row
from pages.components.parts.heart.panel import Shown
from pages.components.parts.mask.asked import asked_table
from pages.components.parts.mask.edited import edited_pair, masks_and_fact
from pages.components.parts.ruler.reader import Seen, look, region_drawn
from pages.components.state.address import Request
from pages.components.state.generation import (
    Report,
    engaged,
    model_lock,
    people_of,
    person_kept,
    step_in_words,
    turn,
)
from pages.components.state.intervention import Question
from pages.components.state.overlay import titles_of
from pages.components.state.region_edit import RegionEdit
from pages.components.state.scene import coded
from pages.components.whatif.figures import axial_slice
from pages.components.whatif.regions import Spread, expected, spread
from pages.components.whatif.scenes import WITH_DETAIL, pair_scene, reasons
from pages.components.whatif.upload import Scan

if TYPE_CHECKING:
    from engine.imaging.segmentation import Segmentation
    from engine.inference.generate import Model, Person
    from engine.inference.mask_edit import MaskEdit
    from engine.measure.clinical import Change
    from engine.measure.ruler import Ruler

#: what is drawn again although nothing is otherwise, and what the model's compression alone loses of a scan
NOTHING_SET, RECONSTRUCTED = "Nothing set", "Reconstruction"
GONE = "the scan of this what-if is no longer here; upload it again"


@dataclass(frozen=True, eq=False, kw_only=True)
class Answer:
    """What came of a question. ``rows``: the table before and after; an ``axial`` slice of the what-if, its whole ``scan`` in
    uint8, and what is ``read`` off it by measure; ``why`` a column of the what-if is what it is, by name. Of a whole answer also
    the scan ``first`` and ``measured``: before and after compared; ``scenes``: what the viewer shows, by name; ``psnr``: dB by
    name; ``places``: where the change lies, ``expected`` in words where it should, and ``even``, the share of the picture
    outside of that; ``nothing``: whether no voxel differs; ``problem``: why nothing could be measured; ``hearts``: the cycle
    before and after, of a heart. Where the mask was edited, ``asked``: volumes of the masks against those read off the scans,
    and ``follow``, the attributes that do."""

    question: Question
    rows: tuple[dict[str, Any], dict[str, Any]]
    axial: np.ndarray
    scan: Volume
    read: dict[str, float]
    first: Volume | None = None
    why: dict[str, str] = field(default_factory=dict)
    measured: list[Change] = field(default_factory=list)
    scenes: dict[str, bytes] = field(default_factory=dict)
    psnr: dict[str, float] = field(default_factory=dict)
    places: dict[str, Spread] = field(default_factory=dict)
    expected: str = ""
    even: float = 0.0
    nothing: bool = False
    problem: str = ""
    seconds: float = 0.0
    asked: pd.DataFrame = field(default_factory=pd.DataFrame)
    follow: tuple[str, ...] = ()
    hearts: tuple[Shown, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Made:
    """Volumes of one what-if: before and after as the model draws them, the null intervention and what it should equal. ``masks``:
    those that before and after were drawn for or with, and ``fact``, by name, what of an edited person stayed."""

    before: Volume
    after: Volume
    null: Volume | None
    origin: Volume | None
    rows: tuple[dict[str, Any], dict[str, Any]]
    shown: dict[str, tuple[Volume, Volume]]
    psnr: dict[str, float]
    masks: tuple[Segmentation, Segmentation] | None = None
    fact: Collection[str] = ()
    follow: tuple[str, ...] = ()


def answer(
    model: Model, question: Question, scan: Scan | None, ruler: Ruler | None, report: Report, whole: bool
) -> Answer:
    """Draw the what-if and measure it; with ``whole`` also what the viewer shows and the error bars.

    Raises the engine's refusals.
    """
    began = time.monotonic()

    def drawing(share: float, text: str) -> None:
        report(0.8 * share, text)

    if question.scan:
        made = _of_scan(model, question, scan, drawing)
    elif question.edit:
        made = _edited(model, question, question.edit, drawing, whole)
    else:
        made = _synthetic(model, question, drawing, whole)
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
        axial=axial_slice(made.after),
        scan=coded(made.after),
        first=coded(made.before) if whole else None,
        why=reasons(model, question, made),
        read=looked[0].values,
        problem=next((one.problem for one in looked if one.problem), ""),
        nothing=bool(np.array_equal(made.before.data, made.after.data)),
        follow=made.follow,
    )
    if whole:
        report(1.0, "Preparing the view")
        hearts = _hearts(made, looked)
        measured = _changes(ruler, looked)
        found = replace(found, measured=measured, hearts=hearts, **_whole(model, question, made, looked))
    return replace(found, seconds=time.monotonic() - began)


def _changes(ruler: Ruler | None, looked: list[Seen]) -> list[Change]:
    """What the ruler read of ``after, before`` and, where there are, ``null, scan``; nothing where one could not be read."""
    from engine.measure.clinical import changes

    if ruler is None or any(not seen.values for seen in looked):
        return []
    after, before, *rest = (seen.values for seen in looked)
    return changes(ruler, [before, after, *reversed(rest)] if len(rest) == 2 else [before, after])


def _hearts(made: Made, looked: list[Seen]) -> tuple[Shown, ...]:
    """The cycle before and after, where both were read."""
    pair = zip(("Before", "What if"), (made.before, made.after), (looked[1], looked[0]), made.rows, strict=True)
    found = [
        Shown(title=title, reading=seen.cycle, row=row, seconds=volume.cycle)
        for title, volume, seen, row in pair
        if seen.cycle is not None
    ]
    return tuple(found) if len(found) == 2 else ()


def _whole(model: Model, question: Question, made: Made, looked: list[Seen]) -> dict[str, Any]:
    """Scenes for the viewer, and where the change lies beside the error of the null intervention."""
    mask, words = expected(region_drawn(model), looked[1], looked[0], [name for name, _ in question.change])
    asked = pd.DataFrame()
    if question.edit and made.masks:
        from engine.inference.mask_edit import RIM, MaskEdit, window

        before, after = made.masks
        where, titles = window(MaskEdit(before=before, after=after)) > 0, titles_of(model)
        mask = where | mask if question.change else where
        edited = f"what was edited and {RIM:g} mm around it"
        words = f"{edited}, and {words}" if question.change else edited
        read = [looked[1].classes, looked[0].classes]
        asked = asked_table(made.masks, read, titles, ("Before", "What if")) if all(read) else asked
    places = {"This what-if": spread(made.after.data - made.before.data, mask)}
    if made.null is not None and made.origin is not None:
        places[NOTHING_SET] = spread(made.null.data - made.origin.data, mask)
    scenes = {title: pair_scene(model, question, title, made) for title in made.shown}
    even = float((~mask).mean())
    return {"scenes": scenes, "places": places, "expected": words, "psnr": made.psnr, "even": even, "asked": asked}


def _synthetic(model: Model, question: Question, report: Report, whole: bool) -> Made:
    """The synthetic person and the same noise under the intervention; the first drawn once more is the null intervention."""
    from engine.inference.counterfactual import generated_counterfactual, generated_counterfactual_units, psnr
    from engine.inference.generate import drawing_units

    asked: list[Request] = []
    drawn = generated_counterfactual_units(model, question.steps, question.held) // drawing_units(question.steps)
    # whoever was drawn before costs no time
    had = int(person_kept(model, question.person()) is not None)
    parts = drawn - had + int(whole)

    def draw(given: Row) -> Person:
        """Of whom was kept from before, or else anew."""
        request = Request(model=question.model, given=tuple(given.items()), seed=question.seed, steps=question.steps)
        asked.append(request)
        place = max(0, len(asked) - 1 - had)
        who = "What if" if len(asked) == drawn else "Before"
        said = partial(_of_whom, report, who, place / parts, 1 / parts)
        ((found,), _) = people_of(model, request, said)
        return found.person

    given, change = dict(question.before), dict(question.change)
    one, other = generated_counterfactual(
        model, question.seed, given, change, question.steps, hold=question.held, draw=draw
    )
    null = None
    if whole:
        null = _again(model, asked[-2], lambda share, text: report((parts - 1 + share) / parts, text))
        if np.array_equal(null.data, one.volume.data):
            null = one.volume  # measured once
    return Made(
        before=one.volume,
        after=other.volume,
        null=null,
        origin=one.volume if whole else None,
        rows=(dict(one.attributes), dict(other.attributes)),
        shown={"As drawn": (one.volume, other.volume)},
        psnr={NOTHING_SET: psnr(null.data, one.volume.data)} if null else {},
        masks=(one.mask, other.mask) if one.mask and other.mask else None,
    )


def _of_whom(report: Report, who: str, start: float, part: float, share: float, text: str) -> object:
    """Report a ``share`` of the ``part`` of a run that draws one person, beginning with who that is."""
    return report(start + part * share, f"{who}, {text[:1].lower()}{text[1:]}")


def _edited(model: Model, question: Question, edit: RegionEdit, report: Report, whole: bool) -> Made:
    """The synthetic person for the mask as it was, and for the edited one under the intervention."""
    from engine.inference.counterfactual import psnr

    change = dict(question.change)
    pair = edited_pair(
        model,
        question.person(),
        edit,
        lambda share, text: report(0.75 * share, text),
        change=change,
        hold=question.held,
    )
    one, other = pair.before, pair.after
    null = None
    if whole:
        asked = replace(question.person(), given=tuple(pair.fact.items()))
        null = _again(model, asked, lambda share, text: report(0.75 + share / 4, text), pair.edit.before)
        if np.array_equal(null.data, one.volume.data):
            null = one.volume  # measured once
    return Made(
        before=one.volume,
        after=other.volume,
        null=null,
        origin=one.volume if whole else None,
        rows=(dict(one.attributes), dict(other.attributes)),
        shown={"As drawn": (one.volume, other.volume)},
        psnr={NOTHING_SET: psnr(null.data, one.volume.data)} if null else {},
        masks=(pair.edit.before, pair.edit.after),
        fact=pair.fact,
        follow=pair.follow,
    )


def _again(model: Model, request: Request, report: Report, mask: Segmentation | None = None) -> Volume:
    """The person of a request drawn once more, whether or not they are kept, or for a ``mask``: the null intervention."""

    def progress(done: int, total: int) -> None:
        report(done / total, f"With nothing set, step {step_in_words(done, total)}")

    with turn(model_lock(), report):
        given = dict(request.given)
        how = {"mask": mask, "with_mask": model.has_mask and mask is None}
        (person,) = model.generate(given=given, seed=request.seed, steps=request.steps, progress=progress, **how)
    return person.volume


def _of_scan(model: Model, question: Question, scan: Scan | None, report: Report) -> Made:
    """The person in the scan, under the intervention."""
    if scan is None or scan.key != question.scan:
        raise RequestError(GONE)
    from engine.inference.counterfactual import counterfactual

    edit, free, follow = _scan_edit(model, question, scan)
    with engaged("What-if", report) as progress:
        made = counterfactual(
            model,
            scan.volume,
            factual=dict(question.before),
            intervention=dict(question.change),
            steps=question.steps,
            free=free,
            edit=edit,
            progress=progress,
        )
    return Made(
        before=made.null,
        after=made.volume,
        null=made.null,
        origin=scan.volume,
        rows=(dict(made.factual), dict(made.row)),
        shown={WITH_DETAIL: (scan.volume, made.restored), "As the model draws": (made.null, made.volume)},
        psnr={RECONSTRUCTED: made.autoencoder_psnr, NOTHING_SET: made.null_psnr},
        masks=(edit.before, edit.after) if edit else None,
        fact=[name for name, _ in question.before if name not in free],
        follow=follow,
    )


def _scan_edit(
    model: Model, question: Question, scan: Scan
) -> tuple[MaskEdit | None, tuple[str, ...], tuple[str, ...]]:
    """The edit of the model's own mask of a scan, the columns that are free, and those of them that follow the mask."""
    if question.edit is None or scan.mask is None:
        return None, question.loose, ()
    from engine.inference.mask_edit import MaskEdit, volume_ratios

    edit = MaskEdit(before=scan.mask, after=question.edit.on(scan.mask))
    change, known = dict(question.change), dict(question.before)
    follow = tuple(name for name in volume_ratios(model, edit) if name in known and name not in change)
    loose = () if question.edit.keep else question.loose
    return edit, tuple(dict.fromkeys([*loose, *follow])), follow


def export(model: Model, question: Question, scan: Scan | None, report: Report) -> bytes:
    """A zip of NIfTI files (before, what-if, difference) and whatif.json, as the command line writes them."""
    from engine.inference.export import write_counterfactuals, write_generated_counterfactuals

    common = {"factual": dict(question.before), "interventions": [dict(question.change)], "steps": question.steps}
    hold: dict[str, Any] = {"hold": question.held}
    if question.edit and not question.scan:
        asked = question.person(), question.edit, report, dict(question.change), question.held
        masks, common["factual"], _ = masks_and_fact(model, *asked)
        hold = {"edit": masks}
    with TemporaryDirectory() as folder, engaged("Writing", report) as progress:
        out = Path(folder) / "whatif"
        if question.scan:
            if scan is None or scan.key != question.scan:
                raise RequestError(GONE)
            edit, free, _ = _scan_edit(model, question, scan)
            more = {"free": free, "edit": edit, "warnings": [*scan.notes, *scan.doubts]}
            write_counterfactuals(model, scan.volume, out, **common, **more, progress=progress)
        else:
            write_generated_counterfactuals(model, out, seed=question.seed, **hold, **common, progress=progress)
        return _zipped(out)


def _zipped(folder: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return stream.getvalue()
