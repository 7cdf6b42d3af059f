"""What a ruler reads in the scans of the people shown, beside what the model sampled together with them."""

from __future__ import annotations

import math
import time
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
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
from engine.imaging.volume import Volume
from engine.vocabulary.refusal import Refusal
from engine.vocabulary.schema import AttributeSchema, Number
from pages.components.parts.mask.asked import NOTE, asked_table
from pages.components.parts.ruler.reader import digits_of, millilitres, ruler_for, signed
from pages.components.parts.viewer.viewer import TABLE_SCRIPT, TABLE_STYLE, script, style
from pages.components.state.generation import Drawn, Report, scene_of, time_left
from pages.components.state.job import Job, session_is_open
from pages.components.state.overlay import titles_of
from pages.components.state.person_table import level, summary
from pages.components.state.scene import fingerprint

if TYPE_CHECKING:
    from engine.inference.generate import Model, Person
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
    "it. Where both agree, body and table are one person.",
    HEAD.name: f"{READ} The fine detail of generated scans is plausible, not anybody's, "
    "and measures a little differently from that of real ones.",
}
LABELS = "Labels, under the scan, colours the tissues it told apart."

Key = tuple[object, ...]


class Findings(NamedTuple):
    """Values by measure, a sentence where there are none, the packed labels of the region's tissues, empty where there are
    none, and mL of each class."""

    values: dict[str, float]
    problem: str = ""
    labels: bytes = b""
    classes: Mapping[str, float] = MappingProxyType({})


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
    state = st.session_state
    shared = _shared()
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
        readings = [shared.readings.get(key) for key in keys]
        _component(data=tables(ruler, model.schema, drawn, readings, names), key="measured")
        told = any(reading.labels for reading in readings if reading) and not model.has_mask
        st.caption(f"{ABOUT.get(ruler.region.name, READ)} {LABELS if told else ''}")
        if model.has_mask:
            _asked(model, drawn, readings, names)
    if missing and job is not None and active:
        st.fragment(_progress, run_every=LOOK)(job, pace * len(missing) >= LONG, [])
    elif missing:
        _offer(len(missing), pace, job)
    if job is not None:
        job.check()


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


def keys_of(ruler: Ruler, drawn: Drawn) -> list[Key]:
    """What decides a reading, for each of the people."""
    request = drawn.request
    keys: list[Key] = [(ruler.digest, drawn.digest, request.given, request.steps, p.seed) for p in drawn.people]
    return keys if drawn.edit is None else [(*key, drawn.edit, i) for i, key in enumerate(keys)]


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
    classes = millilitres(found)
    if not found.placed:
        return Findings(values, classes=classes)
    groups = [tissue.classes for tissue in ruler.region.tissues]
    return Findings(values, "", zlib.compress(found.labels(volume, groups).tobytes(), 1), classes)


def labelled_scene(model: Model, drawn: Drawn) -> bytes:
    """The scene of the people shown, with the tissues of those in whom they were told apart."""
    shared, state = _shared(), st.session_state
    if not shared.readings:
        return drawn.scene
    ruler, _ = ruler_for(model)
    if ruler is None:
        return drawn.scene
    packed = [reading.labels if (reading := shared.readings.get(key)) else b"" for key in keys_of(ruler, drawn)]
    if not any(packed):
        return drawn.scene
    whose = fingerprint(drawn.scene), tuple(map(bool, packed))
    if state.get("labelled", (None,))[0] != whose:
        grids = [person.volume.grid for person in drawn.people]
        labels = [
            np.frombuffer(zlib.decompress(data) if data else bytes(math.prod(grid)), np.uint8).reshape(grid)
            for data, grid in zip(packed, grids, strict=True)
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
        st.progress(job.share, "Stopping" if job.stopping else job.text)
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
) -> dict[str, Any]:
    """What the browser shows: the rows of each of the people; whether a column stands ``beside`` any measure."""
    counted = [f"Person {i + 1}" for i in range(len(drawn.people))] if len(drawn.people) > 1 else [""]
    who = [f"{name}, " if name else "" for name in names or counted]
    people = [
        {
            "title": f"{who[i]}{summary(person.attributes)}",
            "rows": rows(ruler, schema, person.attributes, reading.values) if reading and reading.values else [],
            "problem": f"could not be measured: {reading.problem}." if reading else "is not measured yet.",
        }
        for i, (person, reading) in enumerate(zip(drawn.people, readings, strict=True))
    ]
    beside = any(_column(schema, name, ruler) is not None for name in ruler.measures)
    return {"people": people, "beside": beside, "cohort": "Percentile" if beside else f"Among {ruler.region.cohort}"}


def rows(
    ruler: Ruler, schema: AttributeSchema, attributes: Mapping[str, Any], values: Mapping[str, float]
) -> list[dict[str, Any]]:
    """One JSON-ready row a measure. Where the model has a column of that name and unit: what it ``sampled``, by how much the
    scan has more, and the ``percentile`` of the measured value in the training cohort. Elsewhere: mean and SD of the
    ``cohort`` that the ruler was made with, of the person's sex where it has them."""
    found = []
    for name, title in ruler.measures.items():
        value, column = values.get(name, math.nan), _column(schema, name, ruler)
        seen, sampled = math.isfinite(value), attributes.get(name) if column else None
        digits = digits_of(value) if seen else 0
        found.append(
            {
                "name": name,
                "title": title,
                "description": ruler.definitions[name],
                "value": f"{value:.{digits}f}" if seen else None,
                "unit": ruler.units[name],
                "sampled": "" if sampled is None else f"{float(sampled):.{digits}f}",
                "difference": signed(value - float(sampled), digits) if seen and sampled is not None else "",
                "percentile": column.percentile(value) if column and seen else None,
                "cohort": "" if column else _cohort(ruler, name, attributes),
            }
        )
    return found


def _column(schema: AttributeSchema, name: str, ruler: Ruler) -> Number | None:
    """The fitted column that says the same as a measure."""
    column = schema[name] if name in schema.names else None
    if isinstance(column, Number) and column.knots and column.unit.lower() == ruler.units[name].lower():
        return column
    return None


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
