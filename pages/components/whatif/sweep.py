"""A sweep in the main viewer and as a movie: the same person at each value, in one fixed window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pages.components.parts.viewer.films import cycle_movie, marks_in_words, printed, sweep_movie
from pages.components.state.generation import marks
from pages.components.state.intervention import Question
from pages.components.state.person_table import person_rows, summary
from pages.components.state.scene import payload
from pages.components.whatif.answer import Answer
from pages.components.whatif.scenes import pair_names, says_of
from pages.components.whatif.visit import Plan, Visit

if TYPE_CHECKING:
    from engine.inference.generate import Model

NOTE = "The same person, or the same noise, at each value. Associations of the cohort, not causes: nobody's body is foretold."


def drawn_of(plan: Plan, answers: Mapping[Question, Answer]) -> list[Answer]:
    """What of a sweep is drawn so far, in its order."""
    return [answers[question] for question in plan.questions if question in answers]


def swept_in_words(model: Model, answer: Answer, column: str) -> str:
    """What a person of a sweep is: ``BMI 22 kg/m²``."""
    alone = Question(model="", digest="", change=tuple(cell for cell in answer.question.change if cell[0] == column))
    return says_of(model.schema, alone, [answer.rows[1]])[0].removeprefix(": ")


def played_of(here: Visit, plan: Plan) -> tuple[list[Answer], bool]:
    """What of a sweep plays, and whether it is drafts: all of it in full; until then its drafts, or once it is stopped what is
    there in full."""
    full, drafts = drawn_of(plan, here.found()), drawn_of(plan, here.drafts)
    if len(full) == len(plan.questions) or (not here.wanted and len(full) > 1):
        return full, False
    return drafts, True


def played_scene(model: Model, here: Visit, plan: Plan) -> bytes:
    """The scene of what plays, made once."""
    found, draft = played_of(here, plan)
    if here.played[0] != tuple(found):
        here.played = tuple(found), sweep_scene(model, plan, found, draft)
    return here.played[1]


def sweep_scene(model: Model, plan: Plan, found: Sequence[Answer], draft: bool = False) -> bytes:
    """What the viewer shows of a sweep: each of its people with their table."""
    (column,) = plan.columns
    name = "scan" if plan.base.scan else f"{plan.base.model}_seed-{plan.base.seed}"
    people = []
    for answer in found:
        rows = [
            row | {"origin": answer.why.get(row["name"], row["origin"])}
            for row in person_rows(model.schema, answer.rows[1], dict(answer.question.before))
        ]
        says = swept_in_words(model, answer, column)
        value = f"{dict(answer.question.change)[column]}"
        person = {
            "title": says,
            "says": says,
            "subtitle": summary(answer.rows[1]),
            "file": f"{name}_{column}-{value}",
            "rows": rows,
        }
        people.append(person | ({} if plan.base.scan else {"seed": plan.base.seed}))
    facts = {"model": plan.base.model, "draft": draft, "note": NOTE, "sweep": True, **marks(model)}
    return payload([answer.scan for answer in found], people, **facts)


def movie_of_sweep(model: Model, plan: Plan, answers: Mapping[Question, Answer], kind: str) -> bytes:
    """The sweep there and back as a file of a ``kind``."""
    found = drawn_of(plan, answers)
    words = [swept_in_words(model, answer, plan.columns[0]) for answer in found]
    marked = marks_in_words(plan.base.model, plan.base.origin(), model.digest)
    return sweep_movie([answer.scan for answer in found], words, marked, kind)


def movie_of_cycles(model: Model, answer: Answer, kind: str) -> bytes:
    """The heart before and after as a file of a ``kind``, beating together."""
    question = answer.question
    says = says_of(model.schema, question, answer.rows)
    names = [f"{title}{told}" for title, told in zip(pair_names(question), says, strict=True)]
    marks = marks_in_words(question.model, question.origin(), model.digest)
    assert answer.first is not None
    return cycle_movie([answer.first, answer.scan], ("", *names), marks, kind)


def whatif_sheet(model: Model, answer: Answer) -> bytes:
    """A page with both scans and both tables of a what-if."""
    question = answer.question
    says = says_of(model.schema, question, answer.rows)
    names = [f"{title}{told}" for title, told in zip(pair_names(question), says, strict=True)]
    tables = [person_rows(model.schema, row, dict(question.before)) for row in answer.rows]
    tables[1] = [row | {"origin": answer.why.get(row["name"], row["origin"])} for row in tables[1]]
    facts = {
        "model": question.model,
        "seed": str(question.seed),
        "steps": str(question.steps),
        "weights": question.digest,
    }
    about = "A person who does not exist, twice. Both tables were drawn together with the scans, not read off them."
    if question.scan:
        facts["seed"] = "none, a real scan was given"
        about = "A real scan as the model redraws it, and what the model makes of it: both pictures are synthetic."
    assert answer.first is not None
    title = f"What if{says[1]}" if says[1] else "What if nothing is set"
    return printed(title, about, [answer.first, answer.scan], names, tables, facts)
