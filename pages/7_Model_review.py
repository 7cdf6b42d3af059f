"""How good a model is: every figure of its card or of a report, beside what real and broken data score."""

import streamlit as st

from pages.components.frame import frame, refuse, trained_on, training_data

status = frame("Model review")
with st.spinner("Starting the engine"):
    from pages.components.address import Request
    from pages.components.checkpoint_cards import Kept, kept_checkpoints
    from pages.components.generation import draw
    from pages.components.model_picker import load_model
    from pages.components.review.report import Review, ReviewError, Worst, card_review, read_report, worst
    from pages.components.review.show import asked_parts, facts_list, in_short, parts_shown
    from pages.components.viewer import viewer

FOLDER = "What `somatwin evaluate` or `somatwin audit` wrote with `--out`. Only its figures are read."
UNKNOWN = (
    "Nothing is known of this model's quality yet. Its card has no figures; `somatwin evaluate {name} STORE --out DIR --card` "
    "makes them from the store it was trained on, and `somatwin audit` asks whether it remembers persons."
)
ANOTHER = "The report is of other weights ({report}) than {name} here ({model}), which would draw other people."
state = st.session_state


def sources() -> tuple[Kept, str]:
    """The reader's choice: a model, and the folder of a report (empty: its card)."""
    models = {kept.name: kept for kept in kept_checkpoints() if kept.draws}
    if not models:
        refuse("There is no model here yet. Train one, or put a checkpoint folder under `checkpoints/`.")
    last = state.get("review.kept", {"model": state.get("model last"), "folder": ""})  # other pages forget controls
    if state.get("review.model") not in models:
        state["review.model"] = last["model"] if last["model"] in models else next(iter(models))
    state.setdefault("review.folder", last["folder"])
    with st.sidebar:
        name = st.selectbox("Model", list(models), key="review.model")
        folder = st.text_input(
            "Report folder", key="review.folder", placeholder="none: what the card says", help=FOLDER
        )
    state["review.kept"] = {"model": name, "folder": folder}
    return models[name], folder.strip()


def worst_persons(name: str, review: Review, persons: list[Worst]) -> None:
    """Those whose scans show least what was asked for, drawn again when the reader wants to see one."""
    st.subheader("Worst persons", anchor=False)
    st.caption(
        "Synthetic persons whose scans are read farthest from where a real person's would be. Nobody here exists."
    )
    labels = [person.in_words() for person in persons]
    chosen = persons[labels.index(st.radio("Person", labels, key="review.worst", label_visibility="collapsed"))]
    model = load_model(name)
    if model.digest != review.digest:
        st.info(ANOTHER.format(report=review.digest, name=name, model=model.digest))
        return
    if review.guidance not in (None, model.checkpoint.config.guidance):
        st.caption(f"The report drew with guidance {review.guidance:g}; here it is the model's own.")
    given = ((chosen.attribute, chosen.asked),)
    request = Request(model=name, given=given, seed=chosen.seed, steps=review.steps)
    if st.button("Draw this person again", icon=":material/person_search:"):
        bar = status.progress(0.0, "Starting")
        try:
            state["worst"] = draw(model, request, bar.progress)
        except ValueError as error:
            st.error(str(error))
        bar.empty()
    drawn = state.get("worst")
    if drawn is not None and (drawn.request, drawn.digest) == (request, model.digest):
        viewer(drawn.scene)


kept, folder = sources()
name, card = kept.name, kept.card
try:
    review = read_report(folder) if folder else card_review(card)
except ReviewError as error:
    refuse(str(error))
trained_on({"trained_on": review.cohort})
if not review.parts:
    st.info(UNKNOWN.format(name=name))
    st.stop()
st.header(review.title, anchor=False)
facts = {"Cohort": training_data(card), "What it is not": str(card.get("what_it_is_not", ""))} if not folder else {}
facts_list({title: text for title, text in (facts | dict(review.facts)).items() if text})
in_short(review)
part = parts_shown(review)
if asked_parts(part) and (persons := worst(review)):
    worst_persons(name, review, persons)
