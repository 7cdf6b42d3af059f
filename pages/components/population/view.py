"""A cohort on the page: its progress, a gallery, the table, plots, one person in full, and files to take away."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.figures.cohort import histogram_figure, scatter_figure, shares_figure
from engine.vocabulary.schema import Category
from pages.components.parts.chart import saved_as
from pages.components.parts.choice import one_of
from pages.components.parts.facts import refused
from pages.components.parts.onward import onward
from pages.components.parts.takeaway import download_popover
from pages.components.parts.teaching.example import NONE, example_of, marked
from pages.components.parts.viewer.viewer import viewer
from pages.components.population.export import to_csv, too_many, write_zip
from pages.components.population.filters import Filters, decimals, in_one_line, table_of
from pages.components.population.question import filter_controls
from pages.components.population.work import Cohort, example_cohort, visit
from pages.components.state.generation import draw, model_lock
from pages.components.state.job import Job, alive, session_is_open
from pages.components.state.person_table import capital, label, level, person_rows, summary, titled

if TYPE_CHECKING:
    from engine.inference.generate import Model

#: seconds between two looks at the progress, and at the cohort as it grows
LOOK, REFRESH = 1.0, 4.0
#: persons on a page of the gallery, and pixels of a picture there
PAGE, PICTURE = 24, 112
VIEWS = {"Gallery": ":material/grid_view:", "Table": ":material/table:", "Plots": ":material/bar_chart:"}
FOLLOWS = "Grey is the whole training cohort, also where attributes are fixed or filtered."


def active(name: Literal["run", "export"]) -> Job | None:
    """The job of that name, while it goes on."""
    job = getattr(visit(), name)
    return job if job is not None and job.active else None


def progress(status: DeltaGenerator) -> None:
    """What is going on, each with a way out, the first beside the title; the page runs again when one ends."""
    jobs = [job for job in (active("run"), active("export")) if job]
    for k, (job, place) in enumerate(zip(jobs, (status, st.container()), strict=False)):
        with place:
            st.fragment(_progress, run_every=LOOK)(job, k, [])


def _progress(job: Job, k: int, looks: list[bool]) -> None:
    """``looks`` grows with every look: the first one belongs to the run of the page, and to rerun that at once would lose
    what it has set the controls to."""
    if not job.active and looks:
        st.rerun()
    looks.append(job.active)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(job.share, "Stopping" if job.stopping else job.words)
        icon = ":material/stop_circle:"
        st.button("Stop", key=f"population stop {k}", on_click=job.stop, type="tertiary", icon=icon)


def said() -> None:
    """Why nobody was drawn, or why the drawing ended."""
    here = visit()
    if here.problems:
        sentences = "".join(f"\n* {refused(problem)}" for problem in here.problems)
        st.warning(f"The model cannot do what was asked, so nobody was drawn.{sentences}", icon=":material/link_off:")
    if here.run is not None and here.run.problem:
        st.warning(f"The drawing ended: {here.run.problem}.", icon=":material/error:")


def bugs() -> None:
    """Show what went wrong in the background as the error it is, below all that there is to see."""
    for job in (visit().run, visit().export):
        if job is not None:
            job.check()


def concluded(cohort: Cohort) -> None:
    """Put the cohort shown into the page's address."""
    visit().address.write(cohort.request.to_query())


def opened(name: str, model: Model) -> None:
    """What stands here before anybody was drawn: the example of the model, or what to do."""
    todo = "Say on the left who is to be drawn, and press Draw. You can look at other pages meanwhile."
    if example := example_of(name, model.digest):
        marked(example, todo)
        cohort = visit().example
        if cohort is None or cohort.digest != model.digest:
            cohort = visit().example = example_cohort(model, example)
        cohort_shown(model, cohort, current=True)
    else:
        st.info(NONE.format(name=name, todo=todo))


def cohort_shown(model: Model, cohort: Cohort, current: bool) -> None:
    """Everything about the cohort. What is below the filters is looked at again while it grows, the filters are left alone:
    a list that is open there, or a slider being dragged, is not drawn anew under the reader's hand."""
    growing = active("run") is not None and not cohort.whole
    st.fragment(_filtered)(model, cohort, current, REFRESH if growing else None)


def _filtered(model: Model, cohort: Cohort, current: bool, every: float | None) -> None:
    st.fragment(_cohort, run_every=every)(model, cohort, current, filter_controls(cohort))


def _cohort(model: Model, cohort: Cohort, current: bool, filters: Filters) -> None:
    kept = filters.kept(cohort.rows)
    names = [name for name in VIEWS if name != "Gallery" or model.has_image]
    with st.container(horizontal=True, vertical_alignment="center"):
        view = one_of("View", names, "population.view", format_func=lambda name: f"{VIEWS[name]} {name}",
                      label_visibility="collapsed", persist_state="session", width="content")  # fmt: skip
        _figures(cohort, kept, current)
    if not kept:
        st.info("Nobody passes the filters: widen them." if cohort.rows else "The first persons are on their way.")
    elif view == "Gallery":
        _gallery(cohort, kept)
    elif view == "Table":
        _table(cohort, kept)
    else:
        _plots(cohort, kept)
    _files(model, cohort, kept)
    if visit().again:
        visit().again = False
        st.rerun()


def _figures(cohort: Cohort, kept: Sequence[int], current: bool) -> None:
    """How many, and what they take."""
    there = f"{len(cohort.rows):,} of {cohort.request.n:,}" if not cohort.whole else f"{len(cohort.rows):,}"
    left = f"**{len(kept):,}** pass the filters of " if len(kept) < len(cohort.rows) else ""
    again = ": scans are drawn again from their seeds" if cohort.pictures else ""
    memory = f"{round(cohort.nbytes / 1000):,} kB in memory{again}"
    older = "" if current else " · :orange[:material/history: Older than the controls: press Draw]"
    st.caption(f"{left}**{there}** persons · {memory}{older}", width="content")


def _gallery(cohort: Cohort, kept: Sequence[int]) -> None:
    pages = -(-len(kept) // PAGE)
    page = st.pagination(pages, key="population.page", width="content") if pages > 1 else 1
    with st.container(horizontal=True, key="population gallery"):
        for i in kept[(page - 1) * PAGE : page * PAGE]:
            who = summary(cohort.rows[i]) or f"seed {cohort.seed(i)}"
            with st.container(width=PICTURE, gap=None):
                st.image(cohort.pictures[i], width=PICTURE, alt=f"Middle slice, {who}, seed {cohort.seed(i)}")
                st.button(
                    who,
                    key=f"population person {i}",
                    type="tertiary",
                    width="stretch",
                    help=f"Seed {cohort.seed(i)}: draw this person in full.",
                    on_click=partial(visit().open, cohort, i),
                )


def _table(cohort: Cohort, kept: list[int]) -> None:
    columns = [cohort.schema[name] for name in cohort.schema.names]
    config: dict[str, Any] = {"seed": st.column_config.NumberColumn("Seed", format="%d")}
    for column in columns:
        known = {"label": titled(column), "help": column.description or None}
        config[column.name] = (
            st.column_config.TextColumn(**known)
            if isinstance(column, Category)
            else st.column_config.NumberColumn(**known, format=f"%.{decimals(column)}f")
        )
    key = f"population.table.{hash((cohort.question, tuple(kept[:1]), len(kept) == len(cohort.rows)))}"

    def selected() -> None:
        if rows := st.session_state[key].selection.rows:
            visit().open(cohort, kept[rows[0]])

    st.dataframe(
        table_of(cohort.schema, cohort.rows, kept, cohort.request.seed),
        key=key,
        column_config=config,
        hide_index=True,
        height=430,
        on_select=selected,
        selection_mode="single-row",
        alt="The persons of the cohort",
    )
    st.caption("Choose a row to see that person in full; press a heading to sort.")


def _plots(cohort: Cohort, kept: Sequence[int]) -> None:
    """One column beside the training cohort's, and one against another."""
    schema, rows = cohort.schema, [cohort.rows[i] for i in kept]
    left, right = st.columns(2, gap="large")
    with left:
        name = _choice("Distribution of", schema.names, "one", 0)
        column, words = schema[name], {}
        if isinstance(column, Category):
            words = {each: level(name, each) for each in column.levels}
            figure = shares_figure(column, rows, titled(column), words)
        else:
            figure = histogram_figure(column, rows, titled(column))
        st.plotly_chart(figure, key="population histogram", config=saved_as("somatwin_population"))
        st.markdown(f"**{label(name)}:** {in_one_line(column, rows)}.")
        fitted = bool(column.shares if isinstance(column, Category) else getattr(column, "knots", ()))
        st.caption(FOLLOWS if fitted else "The checkpoint does not say how this column is distributed in its cohort.")
    with right:
        places = st.columns(2)
        with places[0]:
            x = _choice("Across", schema.names, "x", 0)
        with places[1]:
            y = _choice("Up", schema.names, "y", next((k for k, n in enumerate(schema.names) if n == "bmi"), -1))
        by = "sex" if "sex" in schema.names else None
        levels = [(c.name, each) for c in (schema[n] for n in {x, y, by} - {None}) if isinstance(c, Category)
                  for each in c.levels]  # fmt: skip
        words = {each: level(name, each) for name, each in levels}
        seeds, titles = [cohort.seed(i) for i in kept], (titled(schema[x]), titled(schema[y]))
        st.plotly_chart(
            scatter_figure((x, y), rows, seeds, titles, by=by, words=words),
            key="population scatter",
            config=saved_as("somatwin_population"),
        )


def _choice(title: str, names: Sequence[str], key: str, first: int) -> str:
    key = f"population.plot.{key}"
    if st.session_state.get(key) not in names:
        st.session_state[key] = names[first]
    return st.selectbox(title, names, key=key, format_func=label, persist_state="session")


def _files(model: Model, cohort: Cohort, kept: list[int]) -> None:
    """The table at once; the scans as a zip that is made in the background."""
    stem = f"somatwin_{cohort.request.model}_seed-{cohort.request.seed}"
    job = visit().export
    refusal = too_many(model, kept)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Table (CSV)", partial(to_csv, cohort, kept), f"{stem}.csv", "text/csv", on_click="ignore",
            icon=":material/download:", disabled=not kept, help="Those who pass the filters, with seeds and checkpoint.",
        )  # fmt: skip
        made = job.result if job is not None else None
        if made is not None and made.cohort.question == cohort.question:
            st.download_button(
                f"BIDS zip of {len(made.numbers):,} persons, {made.path.stat().st_size / 1e6:,.1f} MB",
                made.read,
                f"{stem}_bids.zip",
                "application/zip",
                on_click="ignore",
                icon=":material/download:",
            )
        if made is None or not made.holds(cohort, kept):
            st.button(
                "Prepare BIDS zip",
                icon=":material/folder_zip:",
                disabled=not kept or bool(refusal) or active("export") is not None,
                help=refusal or "Draws those who pass the filters again from their seeds. Goes on in the background.",
                on_click=partial(_export, model, cohort, kept),
            )
        if refusal:
            st.caption(refusal, width="content")
        elif job is not None and job.problem:
            st.caption(f":orange[:material/error: {job.problem}]", width="content")


def _export(model: Model, cohort: Cohort, kept: Sequence[int]) -> None:
    numbers, lock = tuple(kept), model_lock()
    here = visit()
    here.export = Job(lambda report: write_zip(model, cohort, numbers, lock, report), session_is_open())
    here.again = True


def person_opened(model: Model) -> None:
    """The person the reader chose, drawn again in full over the page."""
    if chosen := visit().opened:
        cohort, i = chosen
        title = f"{capital(summary(cohort.rows[i])) or 'Person'} · seed {cohort.seed(i)}"
        st.dialog(title, width="large", on_dismiss=visit().close)(_person)(model, cohort, i)


def _person(model: Model, cohort: Cohort, i: int) -> None:
    if not model.has_image:
        rows = person_rows(model.schema, cohort.rows[i], dict(cohort.request.given))
        st.table(pd.DataFrame(rows)[["label", "value", "unit", "origin"]].set_index("label"))
        onward(cohort.person(i), model.schema)
        return
    place = st.empty()
    bar = place.progress(0.0, "Starting")
    with alive(bar.progress) as report:
        found = draw(model, cohort.person(i), report)
    place.empty()
    viewer(found.scene, key="population viewer")
    with st.container(horizontal=True, vertical_alignment="center"):
        onward(cohort.person(i), model.schema)
        download_popover(found)
