"""Limits, licences, keys, versions, where the models come from, how to cite and where to turn."""

import streamlit as st

from pages.components.about.view import checkpoints_shown, keys_shown
from pages.components.about.work import citation
from pages.components.parts.checkpoint_cards import kept_checkpoints
from pages.components.parts.facts import program_version
from pages.components.parts.frame import frame, trained_on

LIMITS = """
* **Nobody shown here exists.** A generated scan can look right and be wrong: it is no basis for diagnosis, treatment or any
  decision about a person.
* **Associations, not causes.** A model shows what goes together in the people it was trained on. Moving a slider does not
  show what ageing, weight or anything else does to anybody.
* **Only people like those.** Whoever was rare in the cohort is guessed, and outside its range nothing is known.
* **Not anonymous by proof.** Models may remember. What an audit found of a model stands on the page Model review.
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

frame("About")
found = kept_checkpoints()
trained_on(*(kept.card for kept in found if kept.draws))
st.header("Limits", anchor=False)
st.markdown(LIMITS)

st.header("Checkpoints", anchor=False)
checkpoints_shown(found)

st.header("Keys of the viewer", anchor=False)
st.caption("They work while the viewer has the focus: click into it first. H shows them there.")
keys_shown()

st.header("Command line", anchor=False)
st.code(COMMANDS, language="bash", wrap_lines=True)
st.header("How to cite", anchor=False)
st.code(citation(found), language=None, wrap_lines=True)
st.caption(
    "The program is free under the Apache License 2.0; models and what is drawn with them have licences of their own, above."
)
st.header("Problems", anchor=False)
st.markdown(f"{PROBLEMS} This is version {program_version()}.")
