"""The front page: what this is, by a picture, persons worth showing, what can be done, and the models at hand."""

import streamlit as st

from engine.vocabulary.refusal import Refusal
from pages.components.parts.checkpoint_cards import kept_checkpoints
from pages.components.parts.frame import CARDS, frame, pages, trained_on
from pages.components.parts.teaching.example import pair_shown
from pages.components.parts.teaching.tour import start_link

WHAT = (
    "Somatwin draws people who do not exist: a three-dimensional scan together with its clinical table, "
    "from one generative model that learned both at once. "
    "Fix any attribute you like and leave the others free; the model samples the rest so that body and table agree. "
    "It is made for teaching, for trying out methods, and for asking what a model believes about anatomy."
)
CARDS_A_ROW = 3

status = frame("Somatwin")
st.html(f'<p class="lead">{WHAT}</p>')
models = [kept for kept in kept_checkpoints() if kept.draws]
pair_shown(models)
with st.container(horizontal=True, vertical_alignment="center"):
    if models:
        start_link(models[0].name)
    cases = st.container(horizontal=True, width="content")

st.header("What you can do", anchor=False)
for row in range(0, len(pages()), CARDS_A_ROW):
    for column, (path, name) in zip(st.columns(CARDS_A_ROW), pages()[row : row + CARDS_A_ROW], strict=False):
        with column.container(border=True, height="stretch"):
            icon, text = CARDS.get(name, (":material/chevron_right:", ""))
            st.page_link(path, label=f"**{name}**", icon=icon)
            st.caption(text)

st.header("Models", anchor=False)
with st.spinner("Starting the engine"):
    from pages.components.parts.facts import refused
    from pages.components.parts.model_picker import checkpoint_names, load_model, model_card
    from pages.components.parts.session_file import open_session
    from pages.components.parts.teaching.cases import case_links, cases_of
names = checkpoint_names()
open_session(status, names, load_model)
if not names:
    st.info("There is no model here yet: put a checkpoint folder under `checkpoints/`, or train one of your own.")
cards = []
for name in names:
    with st.container(border=True):
        try:
            model = load_model(name)
        except Refusal as error:
            st.error(refused(error))
            continue
        model_card(name, model)
        cards.append(model.card)
    # "(computed persons)" stands in the card below
    short = str(model.card.get("title", name)).partition(" (")[0]
    with cases.popover(f"Teaching cases: {short}", icon=":material/school:"):
        case_links(name, cases_of(model.schema))
trained_on(*cards)
