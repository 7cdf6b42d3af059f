"""People rate scans blindly: real or synthetic, and how plausible."""

import streamlit as st

from pages.components.frame import frame, refuse, trained_on

status = frame("Review")
with st.spinner("Starting the engine"):
    from pages.components.model_picker import model_picker
    from pages.components.rating.people import draw_scans
    from pages.components.rating.questions import questions, scan_shown, shown_since
    from pages.components.rating.session import Session
    from pages.components.rating.setup import model_of, resume, sentence, set_up
    from pages.components.rating.show import compare, results_shown, session_button

WHAT = (
    "Look at scans one after another without knowing where they come from; say whether each is real or synthetic, and how "
    "plausible its anatomy is. Nothing is revealed before the last answer."
)
HOW = (
    "All scans are drawn before the first is shown, on one grid with the same 256 grey values, and sent in the same number "
    "of bytes, so that only the picture itself can tell. Its texture may: generated scans are often smoother than real "
    "ones. The keys stand on the buttons. Your name or code is kept in the session file and nowhere else."
)
state = st.session_state
state.setdefault("rating.session", None)  # the rating that goes on, or was finished


def side(session: Session) -> None:
    """Whose rating this is, its file, and the way out."""
    plan = session.plan
    with st.sidebar:
        st.caption(f"{session.reviewer} rates {plan.model} · weights {plan.digest} · seed {plan.seed}")
        session_button(session)
        with st.popover("Leave this rating", icon=":material/logout:"):
            st.write("Save the session first if you want to go on with it later.")
            if st.button("Leave without saving" if not session.finished else "Leave"):
                state["rating.session"] = None
                st.rerun()


def draw(session: Session) -> None:
    """Draw the scans that are missing, then run the page again."""
    scans, ready = session.plan.scans, state["rating.scenes"]
    if state["rating.paused"]:
        st.info(f"Stopped: {len(ready)} of {scans} scans are ready, and are kept.", icon=":material/pause_circle:")
        if st.button("Draw the others", type="primary"):
            state["rating.paused"] = False
            st.rerun()
        return
    st.write("The scans are drawn before the first is shown, so that no waiting time tells one from another.")
    with status.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(len(ready) / scans, "Starting")
        pause = {"rating.paused": True}
        st.button("Stop", on_click=state.update, args=(pause,), type="tertiary", icon=":material/stop_circle:")
    try:
        model = model_of(session.plan)
        state.update({"rating.card": model.card, "rating.several": len(model.checkpoint.config.channels) > 1})
        trained_on(model.card)
        draw_scans(model, session.plan, state["rating.persons"], ready, bar.progress)
    except ValueError as error:  # the engine's refusals and ours, written to be read
        refuse(sentence(error))
    st.rerun()


def rate(session: Session) -> None:
    """One scan, and what is asked of it."""
    at, plan = state["rating.at"], session.plan
    status.progress(session.done / plan.scans, f"Scan {at + 1} of {plan.scans}, {session.done} answered")
    shown_since()
    trained_on(state["rating.card"])
    questions(at, state["rating.several"])
    scan_shown(at)


session = state["rating.session"]
if session is None:
    with st.sidebar:
        chosen = model_picker()
    with st.container():  # never a placeholder: it empties on every run, and what is being typed is lost
        st.html(f'<p class="lead">{WHAT}</p>')
        set_up(*chosen)
        st.caption(HOW)
        left, right = st.columns(2)
        with left:
            resume()
        with right:
            compare()
else:
    st.empty()  # in the place of the set-up, which would stay, greyed, while scans are drawn
    side(session)
    if session.finished:
        results_shown(session)
    elif len(state["rating.scenes"]) < session.plan.scans:
        draw(session)
    else:
        rate(session)
