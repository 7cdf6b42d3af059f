"""Drafts of a sweep: every value with few steps and without detail, so that it plays before it is drawn in full."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from engine.vocabulary.schema import Row
from pages.components.state.address import Request
from pages.components.state.generation import DRAFT_STEPS, Report, people_of, person_kept
from pages.components.state.intervention import Question
from pages.components.state.scene import coded
from pages.components.whatif.answer import Answer, Made
from pages.components.whatif.figures import axial_slice
from pages.components.whatif.scenes import reasons
from pages.components.whatif.visit import Plan, Visit

if TYPE_CHECKING:
    from engine.inference.generate import Model, Person


def to_draft(here: Visit) -> Plan | None:
    """The sweep that is wanted, where drafts of it are to be drawn first: of a synthetic person without an edit, once."""
    plan = here.sweep
    if plan is None or here.wanted != tuple((question, False) for question in plan.questions):
        return None
    missing = sum(key not in here.answers for key in here.wanted)
    base = plan.base
    if missing < 2 or base.scan or base.edit or base.steps <= DRAFT_STEPS or here.drafted:
        return None
    return plan


def draft_answers(model: Model, plan: Plan, report: Report) -> dict[Question, Answer]:
    """Answers to the questions of a sweep, by question: scan and table alone, nothing is measured."""
    total = len(plan.questions)
    return {
        question: _draft(model, question, partial(_told, report, k, total)) for k, question in enumerate(plan.questions)
    }


def _told(report: Report, k: int, total: int, share: float, text: str) -> object:
    """Report a ``share`` of draft ``k`` of ``total``."""
    told = text.removeprefix("Draft, ")
    return report((k + share) / total, f"Draft {k + 1} of {total}: {told[:1].lower()}{told[1:]}")


def _draft(model: Model, question: Question, report: Report) -> Answer:
    from engine.inference.counterfactual import generated_counterfactual

    def draw(given: Row) -> Person:
        """Of whom was kept in full, or else a draft."""
        request = Request(model=question.model, given=tuple(given.items()), seed=question.seed, steps=question.steps)
        if kept := person_kept(model, request):
            return kept
        ((found,), _) = people_of(model, request, report, draft=True)
        return found.person

    given, change = dict(question.before), dict(question.change)
    one, other = generated_counterfactual(
        model, question.seed, given, change, question.steps, hold=question.held, draw=draw
    )
    made = Made(
        before=one.volume,
        after=other.volume,
        null=None,
        origin=None,
        rows=(dict(one.attributes), dict(other.attributes)),
        shown={},
        psnr={},
    )
    return Answer(
        question=question,
        rows=made.rows,
        axial=axial_slice(made.after),
        scan=coded(made.after),
        why=reasons(model, question, made),
        read={},
    )
