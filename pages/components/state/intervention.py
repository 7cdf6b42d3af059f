"""What is asked of What if: a person, what is to be otherwise, and the page address that says the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.vocabulary.schema import AttributeSchema, AttributeValueError, Cell
from pages.components.state.address import Request, read_query
from pages.components.state.region_edit import RegionEdit, parted, read_edit

if TYPE_CHECKING:
    from engine.inference.generate import Model

Cells = tuple[tuple[str, Cell], ...]


@dataclass(frozen=True, kw_only=True)
class Question:
    """Who, and what is to be otherwise. ``scan`` is the key of an uploaded one, empty for the synthetic person of ``seed``.

    ``before``: a synthetic person's given attributes, or every modelled column of a scan's person. ``loose``: columns that
    follow although they are in ``before`` (a scan's); ``held``: columns that stay although they are not (a synthetic person's).
    ``edit``: what is done to the mask, None for nothing. ``unread``: columns of a scan's person that are not to be shown.
    """

    model: str
    digest: str
    scan: str = ""
    seed: int = 0
    steps: int = 8
    before: Cells = ()
    change: Cells = ()
    held: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()
    edit: RegionEdit | None = None
    unread: tuple[str, ...] = ()

    def person(self) -> Request:
        """The request of the synthetic person before anything is otherwise."""
        return Request(model=self.model, given=self.before, seed=self.seed, steps=self.steps)

    def origin(self) -> str:
        """What it is drawn from, in words."""
        return "from a real scan" if self.scan else f"seed {self.seed}"

    def to_query(self) -> dict[str, str]:
        """The address of exactly this what-if; a scan has none."""
        if self.scan:
            return {"model": self.model}
        request = self.person().to_query()
        query = {name: text for name, text in request.items() if name != "n"}
        changed = Request(model="", given=self.change).to_query()
        query |= {f"set.{name}": changed[name] for name, _ in self.change}
        query |= self.edit.to_query() if self.edit else {}
        return query | ({"hold": ",".join(self.held)} if self.held else {})


def read_question(query: Mapping[str, str], name: str, model: Model) -> tuple[Question, list[str]]:
    """The what-if an address asks for, and a sentence for each part of it that cannot be done (left out of it)."""
    schema: AttributeSchema = model.schema
    query, own = parted(query)
    edit, unedited = read_edit(own, model)
    plain = {key: text for key, text in query.items() if not key.startswith("set.") and key != "hold"}
    request, problems = read_query(plain, name, schema)
    changed, wrong = read_query({key[4:]: text for key, text in query.items() if key.startswith("set.")}, name, schema)
    held = [part for part in query.get("hold", "").split(",") if part]
    for part in held:
        try:
            schema[part]
        except AttributeValueError as error:
            wrong.append(str(error))
    free = [column.name for column in schema.columns if column.name not in dict(request.given) | dict(changed.given)]
    held = sorted(part for part in free if part in held)
    question = Question(
        model=name, digest=model.digest, seed=request.seed, steps=request.steps,
        before=request.given, change=tuple(sorted(changed.given)), held=tuple(held),
        edit=edit if edit and edit.changes else None,
    )  # fmt: skip
    return question, problems + wrong + unedited
