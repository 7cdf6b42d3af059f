"""Who the person is, and for every column whether it stays, follows, or is set to something else."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.vocabulary.catalogue import OPT_IN
from engine.vocabulary.schema import AttributeSchema, Category, Cell, Number
from pages.components.parts.attribute_controls import COUNT_TEXTS, FIRST, number_control
from pages.components.parts.mask.controls import edit_controls, restore_edit
from pages.components.parts.mask.edited import regions_volumes, stays_in_words
from pages.components.parts.onward import follows_at_first
from pages.components.state.address import COUNTS, seen_range, tidy
from pages.components.state.generation import person_kept
from pages.components.state.intervention import Cells, Question, read_question
from pages.components.state.overlay import titles_of
from pages.components.state.person_table import cells_in_words, label, level, sentence, titled, unit
from pages.components.state.region_edit import RegionEdit
from pages.components.whatif.opening import STEPS as FIRST_STEPS
from pages.components.whatif.opening import opening
from pages.components.whatif.upload import OWN, SYNTHETIC, File, Scan, likeliest, upload_panel
from pages.components.whatif.visit import visit

if TYPE_CHECKING:
    from engine.imaging.segmentation import Segmentation
    from engine.inference.generate import Model

STAYS = "stays"
FOLLOWS = "follows"
SET = "set to"
#: sampling steps at first: of a synthetic person, and of a scan, which is also run backwards
STEPS = {SYNTHETIC: FIRST_STEPS, OWN: 16}
PREFIX = "whatif."
HOW = "Stays: held as before. Follows: moves with what is set, as in the cohort. Set to: what you ask for."
WHY_OPT_IN = (
    "Off at first. Ethnicity is a social category, not a finding: what a model reads off a scan is a guess from how its cohort was "
    "labelled, is often wrong for those who were rare in it, and may harm whom it labels. Off: the model uses it unseen; it is "
    "neither shown nor set."
)
#: of a control's title: the value that is set
AFTER = "in the what-if"
#: what a control of an uploaded scan's person is called apart from that of a synthetic one
WHOSE = {SYNTHETIC: "person", OWN: "scan"}
#: how the keys of controls begin that are kept while another page is shown
EDIT, EDITS = "whatif.edit", "whatif.edits"
KEPT = ("whatif.source", EDITS, "whatif.person.", "whatif.scan.", "whatif.sweep.", "whatif.grid.")


def remember() -> None:
    """Keep what the controls say: Streamlit forgets a control that a page, or another choice, does not show."""
    state = st.session_state
    kept = state.setdefault("kept whatif", {})
    kept.update({str(key): state[key] for key in state if str(key).startswith(KEPT)})
    for key, value in kept.items():
        state.setdefault(key, value)


def restore(question: Question, schema: AttributeSchema) -> None:
    """Set every control to what ``question`` says of a synthetic person; call before the controls are drawn."""
    before, change = dict(question.before), dict(question.change)
    values: dict[str, Any] = {"whatif.source": st.session_state.get("whatif.source", SYNTHETIC)}
    values |= {_key(SYNTHETIC, name, "count"): getattr(question, name) for name in ("seed", "steps")}
    for column in schema.columns:
        name = column.name
        values[_key(SYNTHETIC, name, "given")] = name in before
        stays = name in before or name in question.held
        how = STAYS if stays else FOLLOWS
        values[_key(SYNTHETIC, name, "how")] = SET if name in change else how
        values[_key(SYNTHETIC, name, "before")] = _start(column, before.get(name))
        values[_key(SYNTHETIC, name, "after")] = _start(column, change.get(name, before.get(name)))
    values[EDITS] = question.edit is not None
    restore_edit(EDIT, question.edit)
    st.session_state["kept whatif"] = {**st.session_state.get("kept whatif", {}), **values}
    st.session_state.update(values)


def arrive(name: str, model: Model) -> None:
    """Take over a new address, or another model; at first an example, which is drawn only where none was beforehand."""
    here, address = visit(), st.query_params.to_dict()
    shown = None
    if set(address) - {"model"} and here.address.changed():
        question, problems = read_question(address, name, model)
        st.session_state["whatif.source"] = SYNTHETIC
    elif here.controls != model.digest:
        (question, shown), problems = opening(name, model), []
    else:
        return

    restore(question, model.schema)
    here.problems = problems
    here.wanted = () if problems or shown else ((question, True),)
    here.controls = model.digest
    here.address.take()


def question_controls(name: str, model: Model) -> tuple[Question | None, Scan | None, list[File]]:
    """Draw the controls: the what-if they ask for (None while there is no scan), the scan in use, files to be read."""
    source = st.segmented_control("Who", [SYNTHETIC, OWN], key="whatif.source", required=True, width="stretch")
    asked = Question(model=name, digest=model.digest)
    if source == OWN:
        scan, files = upload_panel(model)
        if scan is None:
            return None, None, files
        asked = replace(asked, scan=scan.key, steps=_count("steps", OWN))
        seen = st.container()
        before, known, unread = _scan_before(scan, model.schema)
        how, change = _changes(OWN, model.schema, before, known, unread)
        loose = tuple(sorted(column for column in before if how[column] == FOLLOWS))
        edit = _edit(model, scan.mask)
        _asked_so_far(seen, OWN, model, {name: before[name] for name in before if name in known}, change, edit)
        asked = replace(asked, unread=tuple(sorted(unread)))
        return replace(asked, before=tuple(before.items()), change=change, loose=loose, edit=edit), scan, []
    seen = st.container()
    left, right = st.columns(2)
    asked = replace(asked, seed=_count("seed", SYNTHETIC, left), steps=_count("steps", SYNTHETIC, right))
    before = _person_before(model.schema)
    how, change = _changes(SYNTHETIC, model.schema, before, set(before))
    held = tuple(sorted(column for column in how if column not in before and how[column] == STAYS))
    asked = replace(asked, before=tuple(before.items()), change=change, held=held)
    person = person_kept(model, asked.person()) if model.has_mask else None
    edit = _edit(model, person.mask if person else None)
    _asked_so_far(seen, SYNTHETIC, model, before, change, edit)
    return replace(asked, edit=edit), None, []


def _asked_so_far(
    place: DeltaGenerator,
    source: str,
    model: Model,
    given: Mapping[str, Cell],
    change: Cells,
    edit: RegionEdit | None,
) -> None:
    """What is given and set, wherever its control is, also of an example or from an earlier visit; one press clears it."""
    known = {SYNTHETIC: "Given", OWN: "Corrected"}[source]
    first, _ = opening(model.name, model)
    if source == SYNTHETIC and change and (tuple(given.items()), change) == (first.before, first.change):
        place.caption("An example, to begin with:")
    parts = [(known, cells_in_words(model.schema, given)), ("Set", cells_in_words(model.schema, dict(change)))]
    parts += [("Edited", edit.in_words(titles_of(model).__getitem__))] if edit else []
    said = [f"**{title}:** {words}" for title, words in parts if words]
    if not change and edit is None:
        said.append("Nothing is set.")
    row = place.container(horizontal=True, vertical_alignment="center")
    row.markdown("  \n".join(said))
    if given or change or edit:
        row.button(
            "Clear all", key=f"whatif.clear.{WHOSE[source]}", on_click=clear, args=(source, model.schema), width="content",
            help=f"Nothing {known.lower()}, nothing set: all controls as they were at first.",
        )  # fmt: skip


def clear(source: str, schema: AttributeSchema) -> None:
    """Bring the controls of one source back to where they were at first; counts and what may be read stay."""
    state = st.session_state
    for names in (state, state.get("kept whatif", {})):
        for column in schema.columns:
            for part in ("given", "how", "before", "after"):
                names.pop(_key(source, column.name, part), None)
        names.pop(EDITS, None)
    restore_edit(EDIT, None)


def _edit(model: Model, mask: Segmentation | None) -> RegionEdit | None:
    """What is done to the ``mask``, which is known of whoever was drawn or segmented; None where nothing is."""
    if not model.has_mask:
        return None
    if not st.toggle(
        "Edit a region", key=EDITS, help="Grow, shrink or move a region; works together with what is set above."
    ):
        return None
    edit = edit_controls(model, mask, EDIT, narrow=True)
    also = " That holds for those that follow above, too." if edit.keep else ""
    st.caption(f"{stays_in_words(edit.keep, regions_volumes(model, edit.region))}{also}")
    return edit if edit.changes else None


def _count(name: str, source: str, place: DeltaGenerator | None = None) -> int:
    default, low, high = COUNTS[name]
    key = _key(source, name, "count")
    st.session_state.setdefault(key, STEPS[source] if name == "steps" else default)
    return int((place or st).number_input(name.capitalize(), low, high, key=key, help=COUNT_TEXTS[name][1]))


def _key(source: str, column: str, part: str) -> str:
    return f"{PREFIX}{WHOSE[source]}.{column}.{part}"


def _ordered(schema: AttributeSchema) -> tuple[list[Number | Category], list[Number | Category]]:
    """The columns shown at once, and those under a heading."""
    first = [column for name in FIRST for column in schema.columns if column.name == name]
    return first, [column for column in schema.columns if column not in first]


def _person_before(schema: AttributeSchema) -> dict[str, Cell]:
    """The given attributes of the synthetic person, in the schema's order; the others are sampled."""
    cells: dict[str, Cell] = {}
    with st.expander("Before: who this is"):
        for column in [part for group in _ordered(schema) for part in group]:
            key = _key(SYNTHETIC, column.name, "given")
            st.session_state.setdefault(key, False)
            text = f"{sentence(column.description)} Off: the model samples it, and the scan to go with it."
            if st.toggle(titled(column), key=key, help=text, on_change=_regard, args=(SYNTHETIC, column.name)):
                cells[column.name] = _value(column, _key(SYNTHETIC, column.name, "before"), "before", None)
    return {column.name: cells[column.name] for column in schema.columns if column.name in cells}


def _scan_before(scan: Scan, schema: AttributeSchema) -> tuple[dict[str, Cell], set[str], set[str]]:
    """Every attribute of the scan's person, as the model reads it or as the reader corrects it; which were corrected; and which
    were not to be read: the model has them, the reader does not see them."""
    cells: dict[str, Cell] = {}
    known: set[str] = set()
    unread: set[str] = set()
    with st.expander("Before: as read off the scan", expanded=True):
        st.caption("With what the model thinks possible. Correct what you know.")
        for column in [part for group in _ordered(schema) for part in group]:
            read, words = likeliest(column, scan.columns[column.name])
            if column.name in OPT_IN and not _wanted(column):
                cells[column.name] = read
                unread.add(column.name)
                continue
            key = _key(OWN, column.name, "given")
            st.session_state.setdefault(key, False)
            title = f"{titled(column)}: {words}"
            if st.toggle(title, key=key, help="On: correct it.", on_change=_regard, args=(OWN, column.name)):
                read = _value(column, _key(OWN, column.name, "before"), "before", read)
                known.add(column.name)
            cells[column.name] = read
    return {column.name: cells[column.name] for column in schema.columns}, known, unread


def _wanted(column: Number | Category) -> bool:
    """Does the reader ask for what is read off a scan only on demand? If not, the model fills it in where it needs it, unseen."""
    return st.toggle(
        f"Read {label(column.name).lower()} off the scan, too", key=f"whatif.scan.{column.name}.read", help=WHY_OPT_IN
    )


def _regard(source: str, name: str) -> None:
    """What is now given stays, what is no longer given follows, unless it is set."""
    state, how = st.session_state, _key(source, name, "how")
    if state.get(how) != SET:
        state[how] = STAYS if state[_key(source, name, "given")] else FOLLOWS


def _changes(
    source: str,
    schema: AttributeSchema,
    before: Mapping[str, Cell],
    known: Collection[str],
    unread: Collection[str] = (),
) -> tuple[dict[str, str], Cells]:
    """For every column whether it stays, follows or is set; and what is set, by name. Of the ``unread`` it is not asked."""
    how: dict[str, str] = {}
    cells: dict[str, Cell] = {}
    st.markdown("**What if**")
    st.caption(f"{HOW} {at_first_in_words(schema)}")
    how |= dict.fromkeys(unread, FOLLOWS)
    first, rest = ([column for column in part if column.name not in unread] for part in _ordered(schema))
    places = [(column, st.container()) for column in first]
    if rest:
        with st.expander("More attributes" if first else "Attributes", expanded=not first):
            places += [(column, st.container()) for column in rest]
    for column, place in places:
        name = column.name
        key, options = _key(source, name, "how"), [STAYS, FOLLOWS, SET]
        if source == SYNTHETIC and name in known:
            options.remove(FOLLOWS)
        usual = FOLLOWS if follows_at_first(name) and name not in known else STAYS
        if st.session_state.get(key) not in options:
            st.session_state[key] = usual
        with place:
            how[name] = str(st.segmented_control(titled(column), options, key=key, required=True, width="stretch"))
            if how[name] == SET:
                cells[name] = _value(column, _key(source, name, "after"), AFTER, before.get(name))
    return how, tuple(sorted(cells.items()))


def at_first_in_words(schema: AttributeSchema) -> str:
    """Which columns stay and which follow unless the reader says otherwise."""
    made_of = ", ".join(label(column.name) for column in schema.columns if follows_at_first(column.name))
    computed = ", ".join(label(column.name) for column in schema.derived)
    said = [f"what the body is made of ({made_of}) follows"] if made_of else []
    said += [f"what is computed ({computed}) follows"] if computed else []
    return f"At first {', '.join([*said, 'all else stays'])}."


def _start(column: Number | Category, value: Cell) -> Cell:
    """What a control of the column stands at first: ``value`` within its range, or the middle of the cohort."""
    if isinstance(column, Category):
        return value if value in column.levels else column.levels[0]
    low, high = seen_range(column)
    return tidy(column, min(high, max(low, float(column.median if value is None else value))))


def _value(column: Number | Category, key: str, when: str, start: Cell) -> Cell:
    """A value of the column."""
    title = f"{label(column.name)} {when}"
    if isinstance(column, Category):
        if st.session_state.get(key) not in column.levels:
            st.session_state[key] = _start(column, start)
        return st.selectbox(
            title,
            column.levels,
            key=key,
            format_func=lambda one: level(column.name, one).capitalize(),
            label_visibility="collapsed",
        )
    st.session_state[key] = _start(column, st.session_state.get(key, start))
    value = number_control(column, title, key)
    if when == AFTER and start is not None and value is not None:
        st.caption(apart_in_words(column, float(str(start)), float(str(value))))
    return value


def apart_in_words(column: Number, before: float, after: float) -> str:
    """How far a value lies from the one before: ``+20 years from 47``."""
    if tidy(column, after) == tidy(column, before):
        return f"As before, {before:g} {unit(column.unit)}".rstrip()
    apart = f"{abs(after - before):.1f}".removesuffix(".0")
    sign = "+" if after > before else "−"
    return f"{sign}{apart} {unit(column.unit)} from {before:g}".replace("  ", " ")
