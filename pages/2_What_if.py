"""The same person otherwise: synthetic, or in a scan of the reader's; what changes, and how far to trust it."""

import streamlit as st

from pages.components.parts.frame import YOUR_SCAN, frame, real_scans_shown

status = frame("What if")
with st.spinner("Starting the engine"):
    from pages.components.parts.facts import refused
    from pages.components.parts.model_picker import model_picker
    from pages.components.parts.onward import onward_from_whatif
    from pages.components.parts.ruler.reader import ruler_for
    from pages.components.whatif.opening import example_shown
    from pages.components.whatif.question import arrive, question_controls, remember
    from pages.components.whatif.upload import WAITING, scan_in_use
    from pages.components.whatif.view import answer_shown, concluded, plans_shown, scan_shown
    from pages.components.whatif.visit import visit
    from pages.components.whatif.work import asked_at, carry_out, next_work

remember()
with st.sidebar:
    name, model = model_picker()
    arrive(name, model)
    current, scan, files = question_controls(name, model)
    with st.container(key="go"):  # frame.css keeps it in sight
        if st.button("Draw", type="primary", width="stretch", disabled=current is None) and current:
            visit().draw(current)
        places = {"draw": st.empty()}
if files:
    visit().read(files)
if scan_in_use(model):
    real_scans_shown(YOUR_SCAN)
ruler, why_not = ruler_for(model)
notice = st.empty()  # holds its place, so that nothing below moves when it goes
if visit().problems:
    sentences = "".join(f"\n* {refused(problem)}" for problem in visit().problems)
    notice.warning(f"That cannot be done, so nothing was drawn.{sentences}", icon=":material/link_off:")
if why_not:
    st.warning(why_not, icon=":material/straighten:")
found = visit().answer(model.digest, current)
if current is None and (doubted := visit().scan) and doubted.digest == model.digest:
    scan_shown(model, doubted)
elif current is None:
    st.info(WAITING, icon=":material/upload_file:")
else:
    shown = answer_shown(model, found)
    if found is None and scan:
        scan_shown(model, scan)
    elif not shown and not example_shown(name, model, ruler) and not visit().wanted:
        st.info("Say on the left what is to be otherwise, and press Draw.")
    places |= plans_shown(model, current, ruler)
if work := next_work(model, scan, ruler):
    carry_out(work, (asked_at(places), status))
elif found and current:
    concluded(model, found, current, status)
    onward_from_whatif(found.question, model.schema)
