"""Limits, licences, keys, versions, what the models have cost, how to cite and where to turn."""

import pandas as pd
import streamlit as st

from pages.components.about.work import citation, energy, origin, program_version, shortcuts, training_time
from pages.components.model_review.view import facts_list
from pages.components.parts.checkpoint_cards import Kept, kept_checkpoints
from pages.components.parts.frame import frame, trained_on, training_data

LIMITS = """
* **Nobody shown here exists.** A generated scan can look right and be wrong: it is no basis for diagnosis, treatment or any
  decision about a person.
* **Associations, not causes.** A model shows what goes together in the people it was trained on. Moving a slider does not
  show what ageing, weight or anything else does to anybody.
* **Only people like those.** Whoever was rare in the cohort is guessed, and outside its range nothing is known.
* **Not anonymous by proof.** Models may remember: the privacy audit on the page Model review says what was tried.
* **No clinical use.** This is a program for teaching and research and no medical device.
"""
COMMANDS = """uv run somatwin generate head-t1 --n 4 --set age=60 --set sex=F --seed 0 --out people
uv run somatwin ingest path/to/bids store --recipe head_t1
uv run somatwin train head_t1 store --run-dir run --minutes 120
uv run somatwin evaluate head-t1 store --out report
uv run somatwin audit head-t1 store --out audit"""
PROBLEMS = (
    "Report problems where you got this program from, in the issues of its repository. Say what you did, what you saw and what "
    "you expected, the version, the model with the hash of its weights, and the address of the page, which draws the same "
    "people again. Never send scans or rows of real persons."
)


@st.cache_data(max_entries=32, show_spinner="Checking the weights")
def intact(_kept: Kept, path: str, sha256: str, changed: float) -> bool:
    """Whether weights on disk are those that were saved; looked at again when one of the last three differs."""
    del path, sha256, changed
    return _kept.intact()


def versions(found: list[Kept]) -> pd.DataFrame:
    """One row a checkpoint: what it does, its hash, whether it is whole, what it has cost."""
    rows = []
    for kept in found:
        weights = kept.path / "weights.safetensors"
        changed = weights.stat().st_mtime if weights.exists() else 0.0
        rows.append(
            {
                "Checkpoint": kept.name,
                "Does": "draws people" if kept.draws else "measures scans",
                "Format": f"version {kept.config.get('version', 'unknown')}",
                "Weights": kept.sha256[:12],
                "On disk": "as saved" if intact(kept, str(kept.path), kept.sha256, changed) else "damaged: restore it",
                "Training": training_time(kept.card) or "not recorded",
                "Energy": energy(kept.card) or "not recorded",
            }
        )
    return pd.DataFrame(rows).set_index("Checkpoint")


frame("About")
found = kept_checkpoints()
trained_on(*(kept.card for kept in found if kept.draws))
st.header("Limits", anchor=False)
st.markdown(LIMITS)

st.header("Checkpoints", anchor=False)
if found:
    st.table(versions(found), alt="Checkpoints, their hashes and what they have cost")
else:
    st.info("There is no checkpoint here yet.")
for kept in found:
    with st.expander(f"{kept.card.get('title', kept.name)} ({kept.name})"):
        facts_list({"Cohort": training_data(kept.card), **origin(kept)})

st.header("Keys of the viewer", anchor=False)
st.caption("They work while the viewer has the focus: click into it first. H shows them there.")
keys = [(" ".join(f"`{key}`" for key in keys.split()), words) for keys, words in shortcuts()]
for place, part in zip(st.columns(2), (keys[::2], keys[1::2]), strict=True):
    place.table(
        pd.DataFrame(part, columns=pd.Index(["Key", "What it does"])).set_index("Key"), alt="Keys of the viewer"
    )

st.header("Command line", anchor=False)
st.code(COMMANDS, language="bash", wrap_lines=True)
st.header("How to cite", anchor=False)
st.code(citation(found), language=None, wrap_lines=True)
st.caption(
    "The program is free under the Apache License 2.0; models and what is made with them have licences of their own, above."
)
st.header("Problems", anchor=False)
st.markdown(f"{PROBLEMS} This is version {program_version()}.")
