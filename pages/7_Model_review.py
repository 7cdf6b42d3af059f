"""How good a model is: every figure of its card or of a report, beside what real and broken data score."""

import streamlit as st

from pages.components.parts.frame import frame, refuse, trained_on, training_data

status = frame("Model review")
with st.spinner("Starting the engine"):
    from pages.components.model_review.lead import beside, files, what_fails
    from pages.components.model_review.question import sources
    from pages.components.model_review.view import asked_parts, in_short, parts_shown, worst_persons
    from pages.components.model_review.work import ReviewError, card_review, read_report, worst
    from pages.components.parts.checkpoint_cards import kept_checkpoints
    from pages.components.parts.facts import facts_list, refused

UNKNOWN = (
    "Nothing is known of this model's quality yet. Its card has no figures; `somatwin evaluate {name} STORE --out DIR --card` "
    "makes them from the store it was trained on, and `somatwin audit` asks whether it remembers persons."
)

kept, folder = sources()
name, card = kept.name, kept.card
try:
    review = read_report(folder) if folder else card_review(card)
except ReviewError as error:
    refuse(refused(error))
trained_on({"trained_on": review.cohort})
if not review.parts:
    st.info(UNKNOWN.format(name=name))
    st.stop()
st.header(review.title, anchor=False)
facts = {"Cohort": training_data(card), "What it is not": str(card.get("what_it_is_not", ""))} if not folder else {}
facts_list({title: text for title, text in (facts | dict(review.facts)).items() if text})
what_fails(review)
in_short(review)
files(review, card, folder)
beside(name, review, kept_checkpoints())
part = parts_shown(review)
if asked_parts(part) and (persons := worst(review)):
    worst_persons(name, review, persons, status)
