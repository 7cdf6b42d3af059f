"""The About page's tables: the checkpoints, and the keys of the viewer."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages.components.about.work import origin, purpose, shortcuts
from pages.components.parts.checkpoint_cards import Kept
from pages.components.parts.facts import facts_list
from pages.components.parts.frame import training_data


@st.cache_data(max_entries=32, show_spinner="Checking the weights")
def intact(_kept: Kept, path: str, sha256: str, changed: float) -> bool:
    """Whether weights on disk are those that were saved; looked at again when one of the last three differs."""
    del path, sha256, changed
    return _kept.intact()


def versions(found: list[Kept]) -> pd.DataFrame:
    """One row a checkpoint: what it does, its hash, whether it is whole. What it has cost stands with the rest of its card below."""
    rows = []
    for kept in found:
        weights = kept.path / "weights.safetensors"
        changed = weights.stat().st_mtime if weights.exists() else 0.0
        rows.append(
            {
                "Checkpoint": kept.name,
                "Does": purpose(kept),
                "Weights": kept.digest,
                "On disk": "as saved" if intact(kept, str(kept.path), kept.sha256, changed) else "damaged: restore it",
            }
        )
    return pd.DataFrame(rows).set_index("Checkpoint")


def checkpoints_shown(found: list[Kept]) -> None:
    """What each checkpoint does, whether it is whole, and where it comes from."""
    if not found:
        st.info("There is no checkpoint here yet.")
        return
    st.table(versions(found), alt="Checkpoints, their hashes and whether they are whole")
    for kept in found:
        with st.expander(f"{kept.card.get('title', kept.name)} ({kept.name})"):
            facts_list({"Cohort": training_data(kept.card), **origin(kept)})


def keys_shown() -> None:
    """The keys of the viewer in two tables."""
    keys = [(" ".join(f"`{key}`" for key in keys.split()), words) for keys, words in shortcuts()]
    for place, part in zip(st.columns(2), (keys[::2], keys[1::2]), strict=True):
        table = pd.DataFrame(part, columns=pd.Index(["Key", "What it does"])).set_index("Key")
        place.table(table, alt="Keys of the viewer")
