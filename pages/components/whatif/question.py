"""Who the person is, and for every column whether it stays, follows, or is set to something else."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.vocabulary.catalogue import OPT_IN
from engine.vocabulary.schema import AttributeSchema, Category, Cell, Number
from pages.components.parts.attribute_controls import COUNT_TEXTS, FIRST, number_control
from pages.components.parts.mask.controls import edit_controls, restore_edit
from pages.components.parts.mask.edited import regions_volumes, stays_in_words
from pages.components.parts.onward import STAYING
from pages.components.state.address import COUNTS, seen_range, tidy
from pages.components.state.generation import person_kept
from pages.components.state.intervention import Cells, Question, read_question
from pages.components.state.person_table import label, level, sentence, titled, unit
from pages.components.state.region_edit import RegionEdit
from pages.components.whatif.upload import File, Scan, likeliest, upload_panel
from pages.components.whatif.visit import Plan, visit, with_cells

if TYPE_CHECKING:
    from engine.imaging.segmentation import Segmentation
    from engine.inference.generate import Model

SYNTHETIC, OWN = "Synthetic", "Scan of yours"
STAYS = "stays"
FOLLOWS = "follows"
SET = "set to"
#: sampling steps at first: of a synthetic person, and of a scan, which is also run backwards
STEPS = {SYNTHETIC: 8, OWN: 16}
#: values of a sweep, least, at first and most; and along each side of a grid
SWEEP, GRID = (3, 5, 11), 3
#: how far into the seen range the ends of a grid lie
ENDS = (0.1, 0.9)
#: the attribute that is swept, and whether somebody chose it
SWEPT, CHOSEN = "whatif.sweep.column", "whatif.sweep.chosen"
PREFIX = "whatif."
HOW = (
    "Stays: held as before. Follows: moves with what is set, as in the cohort. Set to: what you ask for. "
    "Who the person is stays at first; a computed column such as weight follows."
)
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
    """Take over a new address, or another model; at first an example."""
    here, address = visit(), st.query_params.to_dict()
    if set(address) - {"model"} and address != here.address:
        question, problems = read_question(address, name, model)
        st.session_state["whatif.source"] = SYNTHETIC
    elif here.controls != model.digest:
        question, problems = example(name, model), []
    else:
        return

    restore(question, model.schema)
    here.problems = problems
    here.wanted = () if problems else ((question, True),)
    here.controls = model.digest
    here.address = address


def example(name: str, model: Model) -> Question:
    """What is asked at first: somebody young, of age or of the first number there is, and the same at the other end."""
    columns = [c for c in model.schema.columns if isinstance(c, Number)]
    chosen = next((c for c in columns if c.name == "age"), columns[0] if columns else None)
    cells: list[Cells] = [(), ()]
    if chosen:
        low, high = seen_range(chosen)
        cells = [((chosen.name, tidy(chosen, low + share * (high - low))),) for share in (0.15, 0.85)]
    apart = tuple(sorted(c.name for c in model.schema.columns if c is not chosen and c.name in STAYING))
    asked = Question(model=name, digest=model.digest, steps=STEPS[SYNTHETIC], held=apart)
    return replace(asked, before=cells[0], change=cells[1])


def question_controls(name: str, model: Model) -> tuple[Question | None, Scan | None, list[File]]:
    """Draw the controls: the what-if they ask for (None while there is no scan), the scan in use, files to be read."""
    source = st.segmented_control("Who", [SYNTHETIC, OWN], key="whatif.source", required=True, width="stretch")
    asked = Question(model=name, digest=model.digest)
    if source == OWN:
        scan, files = upload_panel(model)
        if scan is None:
            return None, None, files
        asked = replace(asked, scan=scan.key, steps=_count("steps", OWN))
        before, known, unread = _scan_before(scan, model.schema)
        how, change = _changes(OWN, model.schema, before, known, unread)
        loose = tuple(sorted(column for column in before if how[column] == FOLLOWS))
        edit = _edit(model, scan.mask)
        asked = replace(asked, unread=tuple(sorted(unread)))
        return replace(asked, before=tuple(before.items()), change=change, loose=loose, edit=edit), scan, []
    left, right = st.columns(2)
    asked = replace(asked, seed=_count("seed", SYNTHETIC, left), steps=_count("steps", SYNTHETIC, right))
    before = _person_before(model.schema)
    how, change = _changes(SYNTHETIC, model.schema, before, set(before))
    held = tuple(sorted(column for column in how if column not in before and how[column] == STAYS))
    asked = replace(asked, before=tuple(before.items()), change=change, held=held)
    person = person_kept(model, asked.person()) if model.has_mask else None
    return replace(asked, edit=_edit(model, person.mask if person else None)), None, []


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
    st.caption(HOW)
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
        usual = STAYS if name in known or name in STAYING else FOLLOWS
        if st.session_state.get(key) not in options:
            st.session_state[key] = usual
        with place:
            how[name] = str(st.segmented_control(titled(column), options, key=key, required=True, width="stretch"))
            if how[name] == SET:
                cells[name] = _value(column, _key(source, name, "after"), AFTER, before.get(name))
    return how, tuple(sorted(cells.items()))


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


def sweep_controls(schema: AttributeSchema, question: Question) -> Plan | None:
    """Which attribute, between which ends, in how many steps; the what-ifs when the button was pressed."""
    numbers = [column for column in schema.columns if isinstance(column, Number)]
    left, middle, right, button = st.columns([2, 4, 1.4, 1.6], vertical_alignment="bottom")
    names = [column.name for column in numbers]
    if not st.session_state.get(CHOSEN) or st.session_state.get(SWEPT) not in names:
        # until one is chosen, it is what the what-if changes
        changed = [name for name, _ in question.change if name in names]
        st.session_state[SWEPT] = changed[0] if changed else _first(numbers, "age")
    name = left.selectbox("Attribute", names, key=SWEPT, format_func=label, on_change=_sweep_chosen)
    column = next(c for c in numbers if c.name == name)
    low, high = seen_range(column)
    key = f"whatif.sweep.{question.model}.{name}.ends"
    ends = st.session_state.get(key, (low, high))
    st.session_state[key] = tuple(min(high, max(low, float(end))) for end in ends)
    chosen: Any = middle.slider(  # a pair, since its state is one
        f"From, to ({unit(column.unit)})", low, high, step=0.5, format="%g", key=key
    )
    start, stop = chosen
    st.session_state.setdefault("whatif.sweep.n", SWEEP[1])
    n = right.number_input("Values", SWEEP[0], SWEEP[2], key="whatif.sweep.n")
    if not button.button("Sweep", width="stretch", icon=":material/play_arrow:", disabled=start == stop):
        return None
    values = dict.fromkeys(tidy(column, value) for value in np.linspace(start, stop, int(n)).tolist())
    return Plan(
        base=question, columns=(name,), questions=tuple(with_cells(question, {name: value}) for value in values)
    )


def _sweep_chosen() -> None:
    st.session_state[CHOSEN] = True


def grid_controls(schema: AttributeSchema, question: Question) -> Plan | None:
    """Which two attributes; the what-ifs, row by row, when the button was pressed."""
    numbers = [column for column in schema.columns if isinstance(column, Number)]
    if len(numbers) < 2:
        st.caption("A grid needs two columns that are numbers.")
        return None
    names = [column.name for column in numbers]
    left, right, button = st.columns([3, 3, 2], vertical_alignment="bottom")
    st.session_state.setdefault("whatif.grid.across", _first(numbers, "bmi"))
    across = left.selectbox("Across", names, key="whatif.grid.across", format_func=label)
    others = [name for name in names if name != across]
    if st.session_state.get("whatif.grid.down") not in others:
        st.session_state["whatif.grid.down"] = "age" if "age" in others else others[0]
    down = right.selectbox("Down", others, key="whatif.grid.down", format_func=label)
    if not button.button(f"Draw {GRID} x {GRID}", width="stretch", icon=":material/grid_on:"):
        return None
    one, other = (next(c for c in numbers if c.name == name) for name in (across, down))
    questions = [with_cells(question, {across: x, down: y}) for y in _grid_values(other) for x in _grid_values(one)]
    return Plan(base=question, columns=(across, down), questions=tuple(questions))


def _grid_values(column: Number) -> list[Cell]:
    low, high = seen_range(column)
    return [tidy(column, low + share * (high - low)) for share in np.linspace(*ENDS, GRID)]


def _first(numbers: list[Number], wish: str) -> str:
    names = [column.name for column in numbers]
    return wish if wish in names else names[0]
