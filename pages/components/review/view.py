"""The results of a finished rating, and of two readers beside each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.evaluation.metrics.interval import Figure
from engine.vocabulary.refusal import Refusal
from pages.components.parts.facts import refused
from pages.components.parts.frame import trained_on
from pages.components.parts.model_picker import load_model
from pages.components.parts.onward import onward
from pages.components.review.results import Results, merge, results, rows, to_csv
from pages.components.review.scan import questions, scan_shown, shown_since
from pages.components.review.session import PLAUSIBILITY, RatingError, Session
from pages.components.review.work import draw, leave, request_of, visit

HEAR = "95 % interval"


def side(session: Session) -> None:
    """Whose rating this is, its file, and the way out."""
    plan = session.plan
    with st.sidebar:
        st.caption(f"{session.reviewer} rates {plan.model} · weights {plan.digest} · seed {plan.seed}")
        session_button(session)
        with st.popover("Leave this rating", icon=":material/logout:"):
            st.write("Save the session first if you want to go on with it later.")
            if st.button("Leave without saving" if not session.finished else "Leave"):
                leave()
                st.rerun()


def drawing_shown(session: Session, status: DeltaGenerator) -> None:
    """Draw the scans that are missing, unless the reader stopped that."""
    here, scans = visit(), session.plan.scans
    if not here.paused:
        st.write("The scans are drawn before the first is shown, so that no waiting time tells one from another.")
        draw(session, status)
    ready = len(here.scenes)
    st.info(f"Stopped: {ready} of {scans} scans are ready, and are kept.", icon=":material/pause_circle:")
    if st.button("Draw the others", type="primary"):
        here.paused = False
        st.rerun()


def rate(session: Session, status: DeltaGenerator) -> None:
    """One scan, and what is asked of it."""
    here, scans = visit(), session.plan.scans
    status.progress(session.done / scans, f"Scan {here.at + 1} of {scans}, {session.done} answered")
    shown_since()
    trained_on(here.card)
    questions(here.at, here.several)
    scan_shown(here.at)


def percent(figure: Figure) -> str:
    """``70 % (35 to 93 %)``."""
    return f"{figure.value:.0%} ({100 * figure.low:.0f} to {figure.high:.0%})".replace("%", " %")


def decimal(figure: Figure) -> str:
    """``3.40 (2.90 to 3.90)``, without the interval where there is none."""
    if math.isnan(figure.value):
        return "undefined: one answer throughout"
    span = "no interval" if math.isnan(figure.low) else f"{figure.low:.2f} to {figure.high:.2f}"
    return f"{figure.value:.2f} ({span})"


def verdict(found: Results) -> str:
    """What the share called right says, in a sentence."""
    if found.right is None:
        return "There were no real scans in this rating: the figures say how plausible the synthetic ones looked."
    if found.right.low > 0.5:
        return (
            "This reader could tell real from synthetic: the whole interval lies above one half, what guessing gives."
        )
    if found.right.high < 0.5:
        return "This reader told two kinds apart but named them the wrong way round: the interval lies below one half."
    return "The interval includes one half, what guessing gives: with so many scans this reader was not seen to tell."


def results_shown(session: Session) -> None:
    """The figures, every scan with its answer, and the files."""
    found, listed = results(session), rows(session)
    table = pd.DataFrame(listed)
    st.info(f"{_how_many(session)}{verdict(found)}", icon=":material/insights:")
    figures = {
        "Called right": found.right and percent(found.right),
        "Sensitivity: synthetic ones called synthetic": found.sensitivity and percent(found.sensitivity),
        "Specificity: real ones called real": found.specificity and percent(found.specificity),
        "Mean plausibility of synthetic scans": found.synthetic and decimal(found.synthetic),
        "Mean plausibility of real scans": found.real and decimal(found.real),
        "AUC: chance that a real scan was rated the more plausible": found.auc and decimal(found.auc),
        "Median time a scan": f"{found.seconds:.1f} s",
    }
    left, right = st.columns([3, 2], gap="large")
    left.table(pd.DataFrame({f"Value ({HEAR})": {name: text for name, text in figures.items() if text}}))
    counts = pd.crosstab(table["was"], table["plausibility"], dropna=False).reindex(
        columns=list(PLAUSIBILITY), fill_value=0
    )
    right.caption("Scans by plausibility given")
    right.table(counts.rename_axis(index=None, columns=None))
    st.subheader("Scan by scan", anchor=False)
    _table(listed)
    _onward(session)
    stem = f"somatwin_rating_{session.plan.model}_seed-{session.plan.seed}"
    with st.container(horizontal=True):
        session_button(session)
        icon = ":material/table:"
        st.download_button("Table (CSV)", to_csv(session), f"{stem}.csv", "text/csv", on_click="ignore", icon=icon)


def _how_many(session: Session) -> str:
    scans = session.plan.scans
    return "" if session.done == scans else f"Finished early: {session.done} of {scans} scans were answered. "


def _onward(session: Session) -> None:
    """A synthetic person of the rating on another page, where the model that drew them is still at hand."""
    plan = session.plan
    drawn = [i for i in session.answered if not plan.people[i].real]
    if not drawn:
        return
    try:
        model = load_model(plan.model)
    except Refusal:
        return
    if model.digest != plan.digest:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        i = st.selectbox("A synthetic scan", drawn, format_func=lambda i: f"Scan {i + 1}, {plan.person(i)}", width=220)
        onward(request_of(plan, i), model.schema)


def _table(listed: Sequence[dict[str, Any]]) -> None:
    """The rows, without columns in which nobody said anything."""
    empty = [name for name in listed[0] if all(row[name] == "" for row in listed)]
    st.dataframe(pd.DataFrame(listed).drop(columns=empty), hide_index=True, width="stretch")


def session_button(session: Session) -> None:
    """Offer the session's file."""
    name = f"somatwin_rating_{session.plan.model}_seed-{session.plan.seed}.json"
    tip = "All answers and the plan, no scan: go on with it later, or compare it with another reviewer's."
    st.download_button(
        "Session (JSON)",
        session.to_json(),
        name,
        "application/json",
        on_click="ignore",
        icon=":material/download:",
        help=tip,
    )


def compare() -> None:
    """The agreement of two reviewers' finished sessions."""
    with st.container(border=True, height="stretch"):
        st.markdown("**Compare two reviewers**")
        files = st.file_uploader(
            "Two session files", "json", True, key="rating.files", max_upload_size=1, label_visibility="collapsed"
        )
        if len(files) != 2:
            st.caption("Choose two finished session files of the same model and seed.")
            return
        try:
            one, other = (Session.from_json(file.getvalue()) for file in files)
            found = merge(one, other)
        except RatingError as error:
            st.error(refused(error))
            return
        figures = {
            "Scans called alike": found.same and percent(found.same),
            "Cohen's kappa, real or synthetic": found.sides and decimal(found.sides),
            "Cohen's kappa, plausibility, quadratic weights": decimal(found.plausibility),
        }
        st.caption(f"First: {found.reviewers[0]}. Second: {found.reviewers[1]}.")
        st.table(pd.DataFrame({f"Value ({HEAR})": {name: text for name, text in figures.items() if text}}))
        _table(found.rows)
