"""What a ruler reads in the scans of the people shown, beside what the model sampled together with them."""

from __future__ import annotations

import math
import time
import zlib
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import streamlit as st
from streamlit.components.v2 import component

from engine.anatomy.head import HEAD
from engine.anatomy.region import Region
from engine.anatomy.torso import TORSO
from engine.anatomy.words import measure_title
from engine.imaging.volume import Volume
from engine.measure.clinical import LIMITS, Limit, written
from engine.vocabulary.refusal import Refusal
from engine.vocabulary.schema import AttributeSchema
from pages.components.parts.evaluation.trust import UNEVALUATED, texture_trust, trust_in_words, trust_of
from pages.components.parts.heart.panel import Shown, heart_panel
from pages.components.parts.mask.asked import NOTE, asked_table
from pages.components.parts.ruler.numbers import (
    Told,
    column_like,
    error_of,
    limit_words,
    offsets,
    offsets_in_words,
    place,
    signed_known,
)
from pages.components.parts.ruler.reader import cycle_read, digits_of, labels_seen, millilitres, ruler_for
from pages.components.parts.teaching.example import example_of
from pages.components.parts.teaching.glossary import terms
from pages.components.parts.viewer.viewer import TABLE_SCRIPT, TABLE_STYLE, script, style
from pages.components.state.generation import Drawn, Report, scene_of, time_left
from pages.components.state.job import Job, session_is_open
from pages.components.state.overlay import titles_of
from pages.components.state.person_table import level, summary, unit
from pages.components.state.scene import fingerprint

if TYPE_CHECKING:
    from engine.inference.generate import Model, Person
    from engine.measure.heart.reading import HeartReading
    from engine.measure.ruler import Ruler

HERE = Path(__file__).parent
#: people whose readings are kept, over all sessions
KEPT = 512
#: seconds a person up to which scans are measured unasked, and seconds from which progress is shown
QUICK, LONG = 1.0, 2.0
#: seconds between two looks at the progress
LOOK = 0.5
READ = "Read off the scan by a network that sees no table."
#: what is to be said of a region's measures, by its name; of any other region :data:`READ`
ABOUT = {
    TORSO.name: "Read off water and fat by a network that sees no table; the model sampled the table, and the scan to go with "
    "it. Where both agree, body and table are one person; what is read errs by its ±.",
    HEAD.name: f"{READ} The fine detail of generated scans is plausible, not anybody's, "
    "and measures a little differently from that of real ones.",
}
TRUSTED = (
    "From the evaluation in the model's card, beside real persons who took no part in the training; see Model review. What was not "
    "evaluated may be right or wrong."
)
LABELS = "Labels, under the scan, colours the tissues it told apart."

Key = tuple[object, ...]


class Findings(NamedTuple):
    """Values by measure, a sentence where there are none, the packed labels of the region's tissues in each phase, empty where
    there are none, mL of each class, and of a heart its cycle."""

    values: dict[str, float]
    problem: str = ""
    labels: bytes = b""
    classes: Mapping[str, float] = MappingProxyType({})
    cycle: HeartReading | None = None


_component = component(
    "somatwin_measured",
    html='<section class="measured" aria-label="Measured in the scan"></section>',
    css=style((TABLE_STYLE, HERE / "measured.css")),
    js=script((TABLE_SCRIPT, HERE / "measured.js")),
)


@dataclass
class _Shared:
    """Readings of all sessions, and the least seconds that one took, by region."""

    readings: OrderedDict[Key, Findings] = field(default_factory=OrderedDict)
    pace: dict[str, float] = field(default_factory=dict)

    def put(self, key: Key, reading: Findings) -> None:
        self.readings[key] = reading
        while len(self.readings) > KEPT:
            self.readings.popitem(last=False)


@st.cache_resource
def _shared() -> _Shared:
    return _Shared()


def measured_section(model: Model, drawn: Drawn, names: Sequence[str] = ()) -> None:
    """The people shown, measured in the background: at once where that is quick or was asked for before, else on demand.
    ``names`` are theirs where they are not simply counted."""
    st.header("Measured in the scan", anchor=False)
    ruler, problem = ruler_for(model)
    if ruler is None:
        st.caption(problem)
        return
    state, shared = st.session_state, _shared()
    keys = keys_of(ruler, drawn)
    job, whom = state.get("measuring", (None, None))
    if job is not None and whom != keys:
        job.stop()
        job = None
    active = job is not None and job.active  # asked before what is missing: it may end meanwhile
    missing = {key: person for key, person in zip(keys, drawn.people, strict=True) if key not in shared.readings}
    pace = shared.pace.get(ruler.region.name, math.inf)
    if missing and job is None and state.get("measure wish", pace < QUICK):
        job, active = Job(partial(measure, ruler, missing, shared), session_is_open()), True
        state["measuring"] = job, keys
    if len(missing) < len(keys):
        readings = readings_kept(ruler, drawn)
        known = told_of(model, ruler)
        _component(data=tables(ruler, model.schema, drawn, readings, names, known), key="measured")
        told = any(reading.labels for reading in readings if reading) and not model.has_mask
        st.caption(f"{ABOUT.get(ruler.region.name, READ)} {LABELS if told else ''}")
        _trusted(model, ruler.measures, known)
        if model.has_mask:
            _asked(model, drawn, readings, names)
        error = partial(error_of, ruler)
        heart_panel(
            _hearts(drawn, readings, names), key="measured", table=False, error=error
        )  # a table would repeat the one above
    if missing and job is not None and active:
        st.fragment(_progress, run_every=LOOK)(job, pace * len(missing) >= LONG, [])
    elif missing:
        _offer(len(missing), pace, job)
    if job is not None:
        job.check()


def _trusted(model: Model, measures: Collection[str], known: Told) -> None:
    """How far what is drawn may be believed, a line a measure; what is read otherwise than drawn, and the limits' sources."""
    with st.expander("How far to trust it", icon=":material/verified_user:"):
        said = trust_in_words(known.trust, texture_trust(model.card))
        st.markdown(said)
        if said != UNEVALUATED:
            st.caption(
                TRUSTED, help=terms("percentile", *(name for name in ("SAT", "VAT") if name.lower() in measures))
            )
        if sources := sources_in_words(measures):
            st.markdown(f"**Sources of the reference limits**\n\n{sources}")


def named_limits(measures: Collection[str]) -> list[tuple[str, Limit]]:
    """The limits of measures, with the measure in words."""
    return [(measure_title(name), LIMITS[name]) for name in measures if name in LIMITS]


def sources_in_words(measures: Collection[str]) -> str:
    """Where the limits of measures stand, a line a source."""
    named: dict[str, list[str]] = {}
    for name, limit in named_limits(measures):
        named.setdefault(limit.source, []).append(name)
    return "\n".join(f"* {', '.join(names)}: {source}" for source, names in named.items())


def _asked(model: Model, drawn: Drawn, readings: Sequence[Findings | None], names: Sequence[str]) -> None:
    """Volumes of the masks that the scans were drawn for, against those read off the scans."""
    names = names or [f"Person {i + 1}" for i in range(len(drawn.people))]
    read = zip(drawn.people, readings, names, strict=True)
    there = [
        (person.mask, found.classes, name) for person, found, name in read if person.mask and found and found.classes
    ]
    if not there:
        return
    masks, classes, whose = zip(*there, strict=True)
    table = asked_table(masks, classes, titles_of(model), whose)
    if table.empty:
        return
    with st.expander("Mask against scan", icon=":material/compare_arrows:", expanded=len(drawn.people) < 3):
        st.table(table)
        st.caption(NOTE)


def _hearts(drawn: Drawn, readings: Sequence[Findings | None], names: Sequence[str]) -> list[Shown]:
    """Those of the people whose cycle was read."""
    counted = [f"Person {i + 1}" for i in range(len(drawn.people))] if len(drawn.people) > 1 else [""]
    return [
        Shown(title=name, reading=found.cycle, row=person.attributes, seconds=person.volume.cycle)
        for person, found, name in zip(drawn.people, readings, names or counted, strict=True)
        if found and found.cycle
    ]


def keys_of(ruler: Ruler, drawn: Drawn) -> list[Key]:
    """What decides a reading, for each of the people."""
    request = drawn.request
    keys: list[Key] = [(ruler.digest, drawn.digest, request.given, request.steps, p.seed) for p in drawn.people]
    return keys if drawn.edit is None else [(*key, drawn.edit, i) for i, key in enumerate(keys)]


def readings_kept(ruler: Ruler, drawn: Drawn) -> list[Findings | None]:
    """What was read of each of the people so far."""
    return [_shared().readings.get(key) for key in keys_of(ruler, drawn)]


def measure(ruler: Ruler, people: Mapping[Key, Person], shared: _Shared, report: Report) -> None:
    """Measure people into ``shared``, one after the other; every report is a point to stop at."""
    began = time.monotonic()
    for done, (key, person) in enumerate(people.items()):
        share, started = done / len(people), time.monotonic()
        who = f"person {done + 1} of {len(people)}" if len(people) > 1 else "this person"
        report(share, f"Measuring {who}{time_left(began, share)}")
        shared.put(key, _read(ruler, person.volume))
        took = time.monotonic() - started
        shared.pace[ruler.region.name] = min(took, shared.pace.get(ruler.region.name, took))


def _read(ruler: Ruler, volume: Volume) -> Findings:
    """What the ruler reads off a scan and tells apart in it."""
    try:
        found = ruler.classes_on(volume)
        values = ruler.values_of(found)
    except Refusal as error:
        return Findings({}, str(error))
    classes, cycle = millilitres(found), cycle_read(ruler, found)
    if not found.placed:
        return Findings(values, classes=classes, cycle=cycle)
    groups = [tissue.classes for tissue in ruler.region.tissues]
    return Findings(values, "", zlib.compress(labels_seen(found, volume, groups).tobytes(), 1), classes, cycle)


def labelled_scene(model: Model, drawn: Drawn) -> bytes:
    """The scene of the people shown, with the tissues of those in whom they were told apart."""
    shared, state = _shared(), st.session_state
    if not shared.readings or drawn.draft:
        return drawn.scene
    ruler, _ = ruler_for(model)
    if ruler is None:
        return drawn.scene
    packed = [reading.labels if (reading := shared.readings.get(key)) else b"" for key in keys_of(ruler, drawn)]
    if not any(packed):
        return drawn.scene
    whose = fingerprint(drawn.scene), tuple(map(bool, packed))
    if state.get("labelled", (None,))[0] != whose:
        shapes = [(person.volume.phases, *person.volume.grid) for person in drawn.people]
        labels = [
            np.frombuffer(zlib.decompress(data) if data else bytes(math.prod(shape)), np.uint8).reshape(shape)
            for data, shape in zip(packed, shapes, strict=True)
        ]
        scene = scene_of(model, drawn.request, drawn.people, labels=labels, legend=legend(ruler.region))
        state["labelled"] = whose, scene
    return state["labelled"][1]


def legend(region: Region) -> list[tuple[int, str, str]]:
    """Label, name and colour of each tissue that the viewer colours."""
    return [(label, tissue.title, tissue.colour) for label, tissue in enumerate(region.tissues, 1)]


def _progress(job: Job, long: bool, looks: list[float]) -> None:
    """How far it is; the page runs again when somebody was measured. The first look belongs to the run of the page."""
    if looks and (not job.active or job.share != looks[0]):
        st.rerun()
    looks.append(job.share)
    with st.container(horizontal=True, vertical_alignment="center"):
        if not long:
            st.caption(job.text)
            return
        st.progress(job.share, "Stopping" if job.stopping else job.words)
        icon = ":material/stop_circle:"
        st.button("Stop", key="measure stop", on_click=partial(_stop, job), type="tertiary", icon=icon)


def _stop(job: Job) -> None:
    """End it, and measure nobody from now on unless asked."""
    st.session_state["measure wish"] = False
    job.stop()


def _offer(missing: int, pace: float, job: Job | None) -> None:
    """A button for those who are not measured, and why the last try failed."""
    wish = {"measure wish": True, "measuring": (None, None)}
    who = "this person" if missing == 1 else f"{missing} persons"
    time_ = f" Takes about {max(1, round(pace * missing))} s here." if math.isfinite(pace) else ""
    with st.container(horizontal=True, vertical_alignment="center"):
        icon = ":material/straighten:"
        st.button(f"Measure {who}", key="measure", icon=icon, on_click=st.session_state.update, args=(wish,))
        said = f"The measuring ended: {job.problem}." if job is not None and job.problem else ""
        st.caption(said or f"Those drawn after are measured as well.{time_}", width="content")


def tables(
    ruler: Ruler,
    schema: AttributeSchema,
    drawn: Drawn,
    readings: Sequence[Findings | None],
    names: Sequence[str] = (),
    told: Told | None = None,
) -> dict[str, Any]:
    """What the browser shows: the rows of each of the people; whether a column stands ``beside`` any measure."""
    counted = [f"Person {i + 1}" for i in range(len(drawn.people))] if len(drawn.people) > 1 else [""]
    who = [f"{name}, " if name else "" for name in names or counted]
    people = [
        {
            "title": f"{who[i]}{summary(person.attributes)}",
            "rows": rows(ruler, schema, person.attributes, reading.values, told) if reading and reading.values else [],
            "problem": f"could not be measured: {reading.problem}." if reading else "is not measured yet.",
        }
        for i, (person, reading) in enumerate(zip(drawn.people, readings, strict=True))
    ]
    for person in people:
        person["note"] = offsets_in_words([row for row in person["rows"] if row["note"] and row["difference"]], told)
    beside = any(column_like(schema, name, ruler) is not None for name in ruler.measures)
    return {"people": people, "beside": beside, "cohort": "Percentile, sex and age"}


def rows(
    ruler: Ruler,
    schema: AttributeSchema,
    attributes: Mapping[str, Any],
    values: Mapping[str, float],
    told: Told | None = None,
) -> list[dict[str, Any]]:
    """One JSON-ready row a measure, each number rounded to what is known of it.

    Where the model has a column of that name and unit: what it ``sampled``, and by how much the scan has more, with a ``note`` on
    how much more it has in others. The ``percentile`` is that of the measured value among the ruler's cohort of the person's sex
    and age, else in the training cohort; else there are mean and SD of the ``cohort``. Then the reference ``limit`` with its
    ``source``, and how far the model may be trusted there.
    """
    told = told or Told()
    sex = str(attributes.get("sex"))
    found = []
    for name, title in ruler.measures.items():
        value, column = values.get(name, math.nan), column_like(schema, name, ruler)
        seen, sampled = math.isfinite(value), attributes.get(name) if column else None
        error = error_of(ruler, name, value)
        percentile, among = place(ruler, name, value, attributes) if seen else (None, "")
        if percentile is None and column and seen:
            percentile, among = column.percentile(value), "of the training cohort"
        limit, source = limit_words(name, value, sex) if seen else ("", "")
        known = told.trust.get(name)
        found.append(
            {
                "name": name,
                "title": title,
                "description": ruler.definitions[name],
                "value": written(value, error) if seen else None,
                "unit": unit(ruler.units[name]),
                "error": f"± {written(error, error)}" if seen and math.isfinite(error) else "",
                "sampled": "" if sampled is None else written(float(sampled), error),
                "difference": signed_known(value - float(sampled), error) if seen and sampled is not None else "",
                "note": told.note(name, unit(ruler.units[name]), error),
                "offset": told.offset(name, unit(ruler.units[name]), error),
                "percentile": percentile,
                "among": among,
                "cohort": "" if percentile is not None else _cohort(ruler, name, attributes),
                "limit": limit,
                "source": source,
                "trust": known.short if known else "",
                "why": known.words if known else "",
            }
        )
    return found


def told_of(model: Model, ruler: Ruler) -> Told:
    """What is known of the measures of a model's persons."""
    example = example_of(model.name, model.digest)
    return Told(trust=trust_of(model.card, ruler.measures), offsets=offsets(example, model.schema, ruler))


def _cohort(ruler: Ruler, name: str, attributes: Mapping[str, Any]) -> str:
    """``mean 20.6, SD 6.6 (female)``, an aggregate that the ruler carries."""
    groups = ruler.cohort.levels.get(name, {})
    sex = str(attributes.get("sex"))
    found = groups.get(sex) or groups.get("all")
    if found is None:
        return ""
    digits = digits_of(found["mean"])
    who = f" ({level('sex', sex)})" if sex in groups else ""
    return f"mean {found['mean']:.{digits}f}, SD {found['sd']:.{digits}f}{who}"
