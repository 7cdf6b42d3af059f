"""The surfaces of a person shown: made when asked for, looked at where the browser has WebGL, taken away as STL."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from streamlit.components.v2 import component

from engine.anatomy.region import Region, Tissue
from engine.figures.surface import Part, surface_figure
from engine.imaging.surface import Surface, SurfaceError, softened, surface
from engine.imaging.volume import Volume
from engine.vocabulary.refusal import Refusal
from pages.components.parts.download import stem, stl_zip
from pages.components.parts.ruler.reader import body_of, region_drawn, ruler_for
from pages.components.state.generation import Drawn, Report, time_left
from pages.components.state.job import alive
from pages.components.state.overlay import Groups, class_title

if TYPE_CHECKING:
    from engine.imaging.segmentation import Segmentation
    from engine.inference.generate import Model, Person
    from engine.measure.ruler import Ruler

#: title, colour and opacity
SKIN = ("Skin", "#cfa98c", 0.18)
#: triangles of a surface that is shown, at most: a browser without a graphics card draws them, too
SHOWN = 20_000
NO_WEBGL = (
    "This browser cannot show surfaces: WebGL is missing or switched off. The fourth view of the viewer above shows the body "
    "in 3D without it, and the STL files can be saved all the same."
)
ABOUT = (
    "Where the network that measures scans sees each tissue, as smoothed borders in mm (right, anterior, superior positive). "
    "Drag to turn; a click in the legend hides a part. This person does not exist."
)
ABOUT_MASK = (
    "Borders of the mask that the scan was drawn for or together with, the model's own, smoothed, in mm (right, anterior, superior "
    "positive); the skin is that of the scan. Drag to turn; a click in the legend hides a part. This person does not exist."
)
#: name, colour, opacity, field and its affine of a surface to be made
Job = tuple[str, str, float, np.ndarray, np.ndarray]
_webgl = component("somatwin_webgl", html="<span></span>", js=Path(__file__).with_name("webgl.js").read_text("utf-8"))


def surfaces_section(model: Model, drawn: Drawn, names: Sequence[str] = ()) -> None:
    """A section that makes the surfaces of one of the people shown when asked; ``names`` are theirs where they are not counted,
    and the last one is offered first."""
    st.fragment(_section)(model, drawn, names)


def _section(model: Model, drawn: Drawn, names: Sequence[str]) -> None:
    state = st.session_state
    with st.expander("Surfaces", icon=":material/deployed_code:"):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            number = 0
            if len(drawn.people) > 1:
                words = names or [f"Person {i + 1}" for i in range(len(drawn.people))]
                number = st.selectbox("Of", range(len(words)), format_func=words.__getitem__, width=160,
                                      key=f"surfaces.of.{len(words)}.{'-'.join(names)}",
                                      index=len(names) - 1 if names else 0)  # fmt: skip
            person = drawn.people[number]
            key = (
                drawn.digest,
                drawn.request.given,
                drawn.request.steps,
                person.seed,
                drawn.edit,
                number if names else 0,
            )
            made = state.get("surfaces")
            if made is None or made[0] != key:
                wish = partial(state.update, {"surfaces wanted": key})
                st.button("Make surfaces", on_click=wish, icon=":material/deployed_code:", help="Takes some seconds.")
            else:
                named = {part.name: part.surface for part in made[1]}
                st.download_button("STL files", partial(stl_zip, drawn, [(person, named)]), f"{stem(drawn, person)}_stl.zip",
                                   "application/zip", on_click="ignore", icon=":material/save_alt:")  # fmt: skip
        if made is not None and made[0] == key:
            _show(*made[1:])
        elif state.get("surfaces wanted") == key:
            _make(model, person, key)


def _make(model: Model, person: Person, key: tuple[Any, ...]) -> None:
    """Make the surfaces with a way out, and show them by running the section again."""
    state = st.session_state
    with st.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, "Starting")
        st.button("Stop", key="surfaces stop", on_click=lambda: state.update({"surfaces wanted": None}), type="tertiary",
                  icon=":material/stop_circle:")  # fmt: skip
    ruler, why_not = (None, "") if person.mask is not None else ruler_for(model)
    with alive(bar.progress) as report:
        parts, notes = surfaces_of(ruler, person.volume, report, person.mask, region_drawn(model))
    notes = [why_not, *notes] if why_not else notes
    about = ABOUT if person.mask is None else ABOUT_MASK
    state.update({"surfaces": (key, parts, notes, about), "surfaces wanted": None})
    st.rerun(scope="fragment")


def _show(parts: list[Part], notes: list[str], about: str) -> None:
    place = st.container()
    there = _webgl(key="webgl", on_there_change=lambda: None).there
    if there:
        # the wheel scrolls the page, as everywhere
        config = {"displaylogo": False, "scrollZoom": False}
        place.plotly_chart(surface_figure(parts), key="surfaces figure", config=config)
        place.caption(about)
    elif there is False:
        place.info(NO_WEBGL, icon=":material/visibility_off:")
    for note in notes:
        st.caption(f":material/info: {note}")


def surfaces_of(
    ruler: Ruler | None,
    volume: Volume,
    report: Report,
    mask: Segmentation | None = None,
    region: Region | None = None,
) -> tuple[list[Part], list[str]]:
    """Skin, and what is inside, by the person's ``mask`` where there is one, else by the ruler; and sentences on what could not
    be made."""
    began = time.monotonic()

    def said(share: float, text: str) -> None:
        report(share, text + time_left(began, share))

    said(0.0, "Finding the skin")
    jobs: list[Job] = [(*SKIN, _skin(volume), volume.affine)]
    notes: list[str] = []
    if mask is not None:
        jobs += list(_of_mask(region, mask))
    elif ruler is not None:
        said(0.1, "Finding what is inside")
        try:
            jobs += list(_inside(ruler, volume))
        except Refusal as error:
            notes.append(f"Only the skin is shown: {error}.")
    if volume.phases > 1 and len(jobs) > 1:
        jobs = jobs[1:]  # what a stack of slices shows of the chest is a slab
        notes.append("Of the first phase, end-diastole.")
    parts = []
    for done, (name, colour, opacity, field, affine) in enumerate(jobs):
        said(0.6 + 0.4 * done / len(jobs), f"Surface {done + 1} of {len(jobs)}: {name.lower()}")
        try:
            parts.append(Part(name, surface(field, affine, most=SHOWN), colour, opacity))
        except SurfaceError as error:
            notes.append(f"{name}: {error}.")
    return parts, notes


def skin_surface(volume: Volume) -> Surface:
    """The body's outline; raises :class:`SurfaceError` where there is no body."""
    return surface(_skin(volume), volume.affine, most=SHOWN)


def _skin(volume: Volume) -> np.ndarray:
    """A field on the volume's voxels, 0.5 at the skin."""
    return softened(body_of(volume))


def _of_mask(region: Region | None, mask: Segmentation) -> Iterator[Job]:
    """The parts of a mask: the surfaces of its region, and each of the classes alone where it has none of them."""
    tissues = [tissue for tissue in region.surfaces if set(tissue.classes) & set(mask.classes)] if region else []
    if not tissues:
        legend = Groups(region, mask.classes).legend
        titles = {class_title(region, name): name for name in mask.classes[1:]}
        tissues = [Tissue(title=t, classes=(titles[t],), colour=c, opacity=0.5) for _, t, c in legend if t in titles]
    for tissue in tissues:
        chosen = [k for k, name in enumerate(mask.classes) if name in tissue.classes]
        there = np.isin(mask.labels, chosen)
        if there.any():
            yield tissue.title, tissue.colour, tissue.opacity, softened(there), mask.affine


def _inside(ruler: Ruler, volume: Volume) -> Iterator[Job]:
    """Name, colour, opacity, field and its affine of each part that the ruler tells apart."""
    found = ruler.classes_on(volume)
    if not found.placed:
        raise SurfaceError("the measuring network knows this model's heads only after turning them")
    for tissue in ruler.region.surfaces:
        yield tissue.title, tissue.colour, tissue.opacity, found.of(tissue.classes), found.affine
