"""Which model is reviewed, by its card or by a report."""

from __future__ import annotations

import streamlit as st

from pages.components.model_review.work import Source, visit
from pages.components.parts.checkpoint_cards import Kept, kept_checkpoints
from pages.components.parts.frame import refuse
from pages.components.parts.model_picker import chosen_model

FOLDER = "What `somatwin evaluate` or `somatwin audit` wrote with `--out`. Only its figures are read."


def sources() -> tuple[Kept, str]:
    """The reader's choice: a model, and the folder of a report (empty: its card)."""
    models = {kept.name: kept for kept in kept_checkpoints() if kept.draws}
    if not models:
        refuse("There is no model here yet. Train one, or put a checkpoint folder under `checkpoints/`.")
    here = visit()
    if here.source is not None:  # other pages forget controls
        st.session_state.setdefault("review.folder", here.source.folder)
    with st.sidebar:
        name = chosen_model(list(models))
        folder = st.text_input(
            "Report folder", key="review.folder", placeholder="none: what the card says", help=FOLDER
        )
    here.source = Source(model=name, folder=folder)
    return models[name], folder.strip()
