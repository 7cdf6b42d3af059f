"""People rate scans blindly: real or synthetic, and how plausible."""

import streamlit as st

from pages.components.parts.frame import BLIND, frame, real_scans_shown

status = frame("Review")
with st.spinner("Starting the engine"):
    from pages.components.parts.model_picker import model_picker
    from pages.components.review.question import opened, resume, set_up
    from pages.components.review.view import compare, drawing_shown, rate, results_shown, side
    from pages.components.review.work import visit

WHAT = (
    "Look at scans one after another without knowing where they come from, and say how plausible their anatomy is; where real "
    "scans are among them, also which are real. Nothing is revealed before you finish, which you may at any time."
)
HOW = (
    "All scans are drawn before the first is shown, on one grid with the same 256 grey values, and sent in the same number "
    "of bytes, so that only the picture itself can tell. Its texture may: generated scans are often smoother than real "
    "ones. The keys stand on the buttons. Your name or code is kept in the session file and nowhere else."
)

session = visit().session
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
        opened(*chosen)
else:
    st.empty()  # in the place of the set-up, which would stay, greyed, while scans are drawn
    side(session)
    if session.plan.source == "store":
        real_scans_shown(BLIND)
    if session.finished:
        results_shown(session)
    elif len(visit().scenes) < session.plan.scans:
        drawing_shown(session, status)
    else:
        rate(session, status)
