"""Who the person is, and for every column whether it stays, follows, or is set to something else."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from engine.vocabulary.schema import AttributeSchema, Category, Cell, Number
from pages.components.parts.attribute_controls import COUNT_TEXTS, FIRST
from pages.components.parts.person_table import label, level, sentence, unit
from pages.components.state.address import COUNTS, seen_range, tidy, whole
from pages.components.whatif.answer import Cells, Question, read_question
from pages.components.whatif.upload import File, Scan, upload_panel

SYNTHETIC, OWN = "Synthetic", "Scan of yours"
#: who a person is, and stays at first; what their body is made of follows
STAYING = ("age", "sex", "height", "ethnicity", "smoking")
STAYS, FOLLOWS, SET = "stays", "follows", "set to"
#: sampling steps at first: of a synthetic person, and of a scan, which is also run backwards
STEPS = {SYNTHETIC: 8, OWN: 16}
PREFIX = "whatif."
HOW = (
    "Stays: held as it was before. Follows: moves with what is set, as it does in the cohort. "
    "Set to: the intervention. A computed column such as weight follows."
)
#: what a control of an uploaded scan's person is called apart from that of a synthetic one
WHOSE = {SYNTHETIC: "person", OWN: "scan"}
#: how the keys of controls begin that are kept while another page is shown
KEPT = ("whatif.source", "whatif.person.", "whatif.scan.", "whatif.sweep.", "whatif.grid.")


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
        how = SET if name in change else STAYS if name in before or name in question.held else FOLLOWS
        values[_key(SYNTHETIC, name, "how")] = how
        values[_key(SYNTHETIC, name, "before")] = _start(column, before.get(name))
        values[_key(SYNTHETIC, name, "after")] = _start(column, change.get(name, before.get(name)))
    st.session_state["kept whatif"] = {**st.session_state.get("kept whatif", {}), **values}
    st.session_state.update(values)


def arrive(name: str, model: Any) -> None:
    """Take over a new address, or another model; at first an example."""
    state, address = st.session_state, st.query_params.to_dict()
    if set(address) - {"model"} and address != state.get("whatif address"):
        question, problems = read_question(address, name, model)
        state["whatif.source"] = SYNTHETIC
    elif state.get("whatif of") != model.digest:
        question, problems = example(name, model), []
    else:
        return
    restore(question, model.schema)
    wanted = () if problems else ((question, True),)
    state.update({"whatif problems": problems, "whatif wanted": wanted, "whatif of": model.digest})
    state["whatif address"] = address


def example(name: str, model: Any) -> Question:
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


def question_controls(name: str, model: Any) -> tuple[Question | None, Scan | None, list[File]]:
    """Draw the controls: the what-if they ask for (None while there is no scan), the scan in use, files to be read."""
    source = st.segmented_control("Who", [SYNTHETIC, OWN], key="whatif.source", required=True, width="stretch")
    asked = Question(model=name, digest=model.digest)
    if source == OWN:
        scan, files = upload_panel(model)
        if scan is None:
            return None, None, files
        asked = replace(asked, scan=scan.key, steps=_count("steps", OWN))
        before, known = _scan_before(scan, model.schema)
        how, change = _changes(OWN, model.schema, before, known)
        loose = tuple(sorted(column for column in before if how[column] == FOLLOWS))
        return replace(asked, before=tuple(before.items()), change=change, loose=loose), scan, []
    left, right = st.columns(2)
    asked = replace(asked, seed=_count("seed", SYNTHETIC, left), steps=_count("steps", SYNTHETIC, right))
    before = _person_before(model.schema)
    how, change = _changes(SYNTHETIC, model.schema, before, set(before))
    held = tuple(sorted(column for column in how if column not in before and how[column] == STAYS))
    return replace(asked, before=tuple(before.items()), change=change, held=held), None, []


def _count(name: str, source: str, place: Any = st) -> int:
    default, low, high = COUNTS[name]
    key = _key(source, name, "count")
    st.session_state.setdefault(key, STEPS[source] if name == "steps" else default)
    return int(place.number_input(name.capitalize(), low, high, key=key, help=COUNT_TEXTS[name][1]))


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
            if st.toggle(_title(column), key=key, help=text, on_change=_regard, args=(SYNTHETIC, column.name)):
                cells[column.name] = _value(column, _key(SYNTHETIC, column.name, "before"), "before", None)
    return {column.name: cells[column.name] for column in schema.columns if column.name in cells}


def _scan_before(scan: Scan, schema: AttributeSchema) -> tuple[dict[str, Cell], set[str]]:
    """Every attribute of the scan's person, as the model reads it or as the reader corrects it; and which were corrected."""
    cells: dict[str, Cell] = {}
    known = set()
    with st.expander("Before: as read off the scan", expanded=True):
        st.caption("With what the model thinks possible. Correct what you know.")
        for column in [part for group in _ordered(schema) for part in group]:
            read, words = _read(column, scan.columns[column.name])
            key = _key(OWN, column.name, "given")
            st.session_state.setdefault(key, False)
            title = f"{_title(column)}: {words}"
            if st.toggle(title, key=key, help="On: correct it.", on_change=_regard, args=(OWN, column.name)):
                read = _value(column, _key(OWN, column.name, "before"), "before", read)
                known.add(column.name)
            cells[column.name] = read
    return {column.name: cells[column.name] for column in schema.columns}, known


def _regard(source: str, name: str) -> None:
    """What is now given stays, what is no longer given follows, unless it is set."""
    state, how = st.session_state, _key(source, name, "how")
    if state.get(how) != SET:
        state[how] = STAYS if state[_key(source, name, "given")] else FOLLOWS


def _read(column: Number | Category, found: dict[str, Any]) -> tuple[Cell, str]:
    """The likeliest value of a column, and in words how sure the model is."""
    if isinstance(column, Category):
        name = found["likeliest"]
        return name, f"{level(column.name, name)} ({found['shares'][name]:.0%})"
    low, high = found["interval"]
    least, most = seen_range(column)
    value = tidy(column, min(most, max(least, found["median"])))
    return value, f"{value:g} ({low:.0f} to {high:.0f})"


def _changes(
    source: str, schema: AttributeSchema, before: Mapping[str, Cell], known: Collection[str]
) -> tuple[dict[str, str], Cells]:
    """For every column whether it stays, follows or is set; and what is set, by name."""
    how: dict[str, str] = {}
    cells: dict[str, Cell] = {}
    st.markdown("**What if**", help=HOW)
    first, rest = _ordered(schema)
    places = [(column, st.container()) for column in first]
    if rest:
        with st.expander("More attributes" if first else "Attributes", expanded=not first):
            places += [(column, st.container()) for column in rest]
    for column, place in places:
        name = column.name
        key, options = _key(source, name, "how"), [STAYS, FOLLOWS, SET]
        if source == SYNTHETIC and name in known:
            options.remove(FOLLOWS)
        usual = STAYS if name in known else FOLLOWS
        if st.session_state.get(key) not in options:
            st.session_state[key] = usual
        with place:
            how[name] = str(st.segmented_control(_title(column), options, key=key, required=True, width="stretch"))
            if how[name] == SET:
                cells[name] = _value(column, _key(source, name, "after"), "in the what-if", before.get(name))
    return how, tuple(sorted(cells.items()))


def _title(column: Number | Category) -> str:
    units = "" if isinstance(column, Category) else unit(column.unit)
    return f"{label(column.name)}, {units}" if units else label(column.name)


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
    low, high = seen_range(column)
    st.session_state[key] = _start(column, st.session_state.get(key, start))
    by_ones = whole(column)
    value = st.slider(
        title,
        int(low) if by_ones else low,
        int(high) if by_ones else high,
        step=1 if by_ones else 0.1,
        format="%d" if by_ones else "%.1f",
        key=key,
        label_visibility="collapsed",
    )
    return tidy(column, value)
