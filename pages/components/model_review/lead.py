"""The head of a review: what fails, in sentences; the files to take away; another model's figures beside these."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from engine.vocabulary.refusal import Refusal
from pages.components.model_review.failures import Failure, explained, failures
from pages.components.model_review.work import Review, ReviewError, card_review, report_file
from pages.components.parts.checkpoint_cards import Kept
from pages.components.parts.evaluation.grade import Grade
from pages.components.parts.facts import refused
from pages.components.parts.frame import BANNER
from pages.components.parts.teaching.glossary import terms

#: how far a verdict goes
CHANCE = "Of honest figures one in twenty is flagged by chance; with few test persons many differences go unseen."
SIGNS = "● as real, ▲ not as real."
#: keys of the part, of a card or of a report, that says whether training persons are remembered; what is said where there is none
AUDITS = ("privacy audit", "privacy")
UNAUDITED = (
    "**Privacy was not tested**: nobody has asked yet whether this model remembers its training persons "
    "(`somatwin audit MODEL STORE --card`). Not tested does not mean safe."
)
#: sentences of a group that are shown at once
SHOWN = 2


def what_fails(review: Review) -> None:
    """Everything that is not as real, grouped, the worst first."""
    found = failures(review)
    judged = sum(part.judged()[1] for part in review.parts)
    if not judged:
        return
    st.subheader("What fails", anchor=False)
    if not found:
        st.success(f"None of {judged} figures is told from what real persons score. {CHANCE}")
        return
    hint = terms("AUC", "membership", "radiomics", "slope", "interval")
    st.caption(f"{len(found)} of {judged} figures: privacy, then the worst first. {CHANCE} {_whose(review)}", help=hint)
    if not any(part.key in AUDITS and part.grades for part in review.parts):
        st.markdown(UNAUDITED)
    groups = dict.fromkeys(one.group for one in found)
    for place, group in zip(st.columns(2) * len(groups), groups, strict=False):
        failing = [one for one in found if one.group == group]
        with place.container(border=True):
            st.markdown(f"**{group}**")
            st.markdown(_bullets(failing[:SHOWN]))
            if rest := failing[SHOWN:]:
                with st.expander(f"{len(rest)} more"):
                    st.markdown(_bullets(rest))


def _whose(review: Review) -> str:
    """Who the real persons are, where they are not."""
    return (
        "Here real persons and scans are computed ones that were held out."
        if "in-silico" in str(review.cohort).lower()
        else ""
    )


def _bullets(failing: Sequence[Failure]) -> str:
    return "\n".join(f"* {one.sentence}" for one in failing)


def files(review: Review, card: Mapping[str, Any], folder: str) -> None:
    """All figures as CSV; the report as JSON and as a page, or the card as JSON."""
    stem = f"somatwin_review_{review.title.split()[-1] if folder else card.get('name', 'model')}"
    with st.container(horizontal=True):
        st.download_button(
            "Figures (CSV)", to_csv(review), f"{stem}.csv", "text/csv", on_click="ignore", icon=":material/table:"
        )
        if not folder:
            text = json.dumps(dict(card), indent=1, ensure_ascii=False)
            st.download_button(
                "Card (JSON)", text, f"{stem}.json", "application/json", on_click="ignore", icon=":material/download:"
            )
        for label, name, kind in (
            ("Report (JSON)", "report.json", "application/json"),
            ("Report (HTML)", "report.html", "text/html"),
        ):
            path = _beside(folder, name)
            if path is not None:
                st.download_button(
                    label,
                    path.read_bytes(),
                    f"{stem}{path.suffix}",
                    kind,
                    on_click="ignore",
                    icon=":material/download:",
                )


def _beside(folder: str, name: str) -> Path | None:
    if not folder:
        return None
    path = report_file(folder).with_name(name)
    return path if path.is_file() else None


def to_csv(review: Review) -> bytes:
    """A figure a row: its recorded name, its title, value, interval, what real persons score, verdict, and what it means where it fails."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(
        ["part", "figure", "title", "value", "low", "high", "unit", "n", "real", "p", "verdict", "meaning", "notice"]
    )
    for part in review.parts:
        for grade in part.grades:
            meaning = explained(grade)[1] if grade.verdict and not grade.good else ""
            real = _plain(grade.real.value) if grade.real else _plain(grade.target)
            numbers = [_plain(x) for x in (grade.figure.value, grade.figure.low, grade.figure.high)]
            verdict = [real, grade.p, grade.verdict, meaning, BANNER]
            writer.writerow([part.title, grade.name, grade.title, *numbers, grade.unit, grade.n, *verdict])
    return stream.getvalue().encode("utf-8-sig")


def _plain(value: float | None) -> float | str:
    return "" if value is None or not math.isfinite(value) else value


def beside(name: str, review: Review, models: Sequence[Kept]) -> None:
    """The figures that another model's card has, too, next to these."""
    others = {kept.name: kept for kept in models if kept.draws and kept.name != name}
    if not others:
        return
    with st.expander("Beside another model"):
        chosen = st.selectbox("Other model", ["", *others], key="review.beside", format_func=lambda n: n or "none")
        if not chosen:
            return
        try:
            other = card_review(others[chosen].card)
        except (ReviewError, Refusal) as error:
            st.error(refused(error))
            return
        table = side_by_side((name, review), (chosen, other))
        if table.empty:
            st.info(f"{chosen} has no figure of the same name.")
        else:
            st.table(table, alt=f"Figures of {name} and {chosen}")
            st.caption(
                "Each beside real persons of its own cohort: different bodies and scans are not to be ranked. ● as real, ▲ not as real."
            )


def side_by_side(one: tuple[str, Review], other: tuple[str, Review]) -> pd.DataFrame:
    """The figures that two reviews share, a row each, with their verdicts."""
    mine, theirs = ({grade.name: grade for part in review.parts for grade in part.grades} for _, review in (one, other))
    rows = [
        {"Figure": mine[name].title, one[0]: _said(mine[name]), other[0]: _said(theirs[name])}
        for name in mine
        if name in theirs
    ]
    return pd.DataFrame(rows).set_index("Figure") if rows else pd.DataFrame()


def _said(grade: Grade) -> str:
    sign = "" if not grade.verdict else " ●" if grade.good else " ▲"
    return f"{grade.figure} {grade.unit}".rstrip() + sign
