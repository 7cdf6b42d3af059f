"""Which persons of a cohort: an expression in the grammar of pandas' ``query``, over the table, structured reports and headers at once.

``age >= 40 and bmi.notna() and manufacturer == "SIEMENS"``. Only what is listed in :data:`WORDS` may stand in it; everything else is
refused by name, and nothing is ever run as a program. A person is taken where the expression is known to be true: a comparison with
a missing cell is unknown (as in SQL and pandas' nullable types), and so is its negation.
"""

from __future__ import annotations

import ast
import difflib
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from engine.cohort.participants import P, Roles
from engine.vocabulary.headings import ID
from engine.vocabulary.refusal import Refusal


class FilterError(Refusal):
    """An expression that cannot be read or says nothing of persons; the message names the part."""


WORDS = (
    "names of columns, numbers, texts, lists, == != < <= > >= in, and or not (& | ~), + - * / **, "
    ".isna() .notna() .isin() .between() .str.contains()"
)
#: characters of an expression, and parts of its tree
MOST_LETTERS, MOST_PARTS = 2000, 500
ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|`([^`\n]+)`")


@dataclass(frozen=True, kw_only=True)
class Part:
    """One condition: its ``text``, for how many persons it is true, and for how many it cannot be known."""

    text: str
    fits: int
    unknown: int


@dataclass(frozen=True, kw_only=True)
class Selection:
    """For whom an expression is true (``taken``, one truth value a person), and the conditions that ``and`` joins in it."""

    taken: tuple[bool, ...]
    parts: tuple[Part, ...] = ()

    @property
    def count(self) -> int:
        return sum(self.taken)

    def lines(self) -> list[str]:
        """The counts in words."""
        of = len(self.taken)
        said = [f"{self.count} of {of} persons fit"]
        for part in self.parts:
            unknown = f", unknown of {part.unknown}" if part.unknown else ""
            said.append(f"  {part.text}: {part.fits} of {of}{unknown}")
        return said


def select(rows: Sequence[Mapping[str, Any]], where: str) -> Selection:
    """The persons for whom ``where`` is true, all of them for an empty one. Raises :class:`FilterError`.

    >>> people = [{"age": 50.0, "sex": "F"}, {"age": None, "sex": "M"}, {"age": 30.0, "sex": "F"}]
    >>> select(people, "age >= 40 or sex == 'M'").taken
    (True, True, False)
    """
    if not where.strip():
        return Selection(taken=(True,) * len(rows))
    tree, names = _parsed(where)
    frame = _Frame(rows, names)
    conditions = _joined(tree)
    truths = [frame.truth(one) for one in conditions]
    parts = []
    for one, truth in zip(conditions, truths, strict=True):
        unknown = int(truth.isna().sum())
        parts.append(Part(text=_text(one, names), fits=int(truth.fillna(False).sum()), unknown=unknown))
    taken = np.ones(len(rows), bool)
    for truth in truths:
        taken &= truth.fillna(False).to_numpy(bool)
    return Selection(taken=tuple(map(bool, taken)), parts=tuple(parts))


def narrowed(store: P, where: str) -> tuple[P, Selection]:
    """A store in whose parts only those are for whom ``where`` is true of their row; the others take no part in anything. Raises
    :class:`FilterError`, also where none of those who train is left."""
    selection = select(store.rows, where)
    if not where.strip():
        return store, selection
    taken = np.array(selection.taken, bool)
    roles = store.roles or Roles(parts=store.split())
    parts = {name: rows[taken[rows]] for name, rows in roles.parts.items()}
    if not len(parts["train"]):
        raise FilterError(f"none of those who train fits {where!r} ({'; '.join(selection.lines()[1:])}); loosen it")
    return store.with_roles(replace(roles, parts=parts)), selection


def _parsed(where: str) -> tuple[ast.expr, dict[str, str]]:
    """The tree of an expression, and what names between backticks stand for."""
    if len(where) > MOST_LETTERS:
        raise FilterError(f"the expression has {len(where)} characters, {MOST_LETTERS} are the most; shorten it")
    names: dict[str, str] = {}

    def replaced(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0]
        return names.setdefault(found[1], f"backtick_{len(names)}_")

    text = _QUOTED.sub(replaced, where.strip())
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        at = (
            f" near {where.strip()[max((error.offset or 1) - 6, 0) :][:12]!r}" if isinstance(error, SyntaxError) else ""
        )
        raise FilterError(f"the expression cannot be read{at}; write it as in age >= 40 and sex == 'F'") from None
    if sum(1 for _ in ast.walk(tree)) > MOST_PARTS:
        raise FilterError(f"the expression has more than {MOST_PARTS} parts; shorten it")
    return tree, {stand: name for name, stand in names.items()}


def _joined(tree: ast.expr) -> list[ast.expr]:
    """The conditions that all have to be true."""
    if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And):
        return [one for value in tree.values for one in _joined(value)]
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.BitAnd):
        return [*_joined(tree.left), *_joined(tree.right)]
    return [tree]


def _text(tree: ast.AST, names: Mapping[str, str]) -> str:
    """A part of the expression as it was written, names between backticks again."""
    text = ast.unparse(tree)
    for stand, name in names.items():
        text = text.replace(stand, f"`{name}`")
    return text


class _Frame:
    """Columns as pandas' nullable types, and what each kind of part makes of them."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> None:
        self.names, self.rows = names, rows
        columns = dict.fromkeys(name for row in rows for name in row)
        self.columns = {name: self._column([row.get(name) for row in rows]) for name in columns}

    @staticmethod
    def _column(cells: Sequence[Any]) -> pd.Series:
        known = [cell for cell in cells if cell is not None]
        if known and all(isinstance(cell, int | float) for cell in known):
            return pd.Series([None if cell is None else float(cell) for cell in cells], dtype="Float64")
        return pd.Series([None if cell is None else str(cell) for cell in cells], dtype="string")

    def truth(self, tree: ast.expr) -> pd.Series:
        """What is true of each person: boolean, missing where it cannot be known."""
        found = self.value(tree)
        if not isinstance(found, pd.Series) or str(found.dtype) != "boolean":
            raise FilterError(f"{_text(tree, self.names)} is no condition; compare it, as in age >= 40")
        return found

    def value(self, tree: ast.expr) -> Any:
        """A column, a number, a text or a list."""
        kinds: dict[type[ast.expr], Callable[[Any], Any]] = {
            ast.Name: self._name,
            ast.Constant: self._constant,
            ast.List: self._list,
            ast.Tuple: self._list,
            ast.BoolOp: self._bool,
            ast.UnaryOp: self._unary,
            ast.BinOp: self._binary,
            ast.Compare: self._compare,
            ast.Call: self._call,
        }
        if type(tree) not in kinds:
            raise FilterError(f"{_text(tree, self.names)!r} cannot stand in an expression; use {WORDS}")
        return kinds[type(tree)](tree)

    def _name(self, tree: ast.Name) -> pd.Series:
        name = self.names.get(tree.id, tree.id)
        if name not in self.columns:
            near = difflib.get_close_matches(name, self.columns, 1)
            meant = f"did you mean {near[0]}? " if near else ""
            known = ", ".join(column for column in self.columns if column != ID)
            raise FilterError(f"there is no column {name!r}; {meant}the columns are {known}")
        return self.columns[name]

    def _constant(self, tree: ast.Constant) -> Any:
        if isinstance(tree.value, bool) or not isinstance(tree.value, int | float | str):
            raise FilterError(f"{tree.value!r} cannot stand in an expression; use {WORDS}")
        try:
            return tree.value if isinstance(tree.value, str) else float(tree.value)
        except OverflowError:
            raise FilterError("a number in the expression is too large; give one that a person can have") from None

    def _list(self, tree: ast.List | ast.Tuple) -> list[Any]:
        if not all(isinstance(one, ast.Constant | ast.UnaryOp) for one in tree.elts):
            raise FilterError(f"{_text(tree, self.names)} is no list of numbers or texts; write it as in ['A', 'B']")
        return [self.value(one) for one in tree.elts]

    def _bool(self, tree: ast.BoolOp) -> pd.Series:
        found = [self.truth(one) for one in tree.values]
        total = found[0]
        for one in found[1:]:
            total = total & one if isinstance(tree.op, ast.And) else total | one
        return total

    def _unary(self, tree: ast.UnaryOp) -> Any:
        if isinstance(tree.op, ast.Not | ast.Invert):
            return ~self.truth(tree.operand)
        value = self._number(tree.operand)
        return -value if isinstance(tree.op, ast.USub) else value

    def _number(self, tree: ast.expr) -> Any:
        found = self.value(tree)
        if not isinstance(found, float) and not (isinstance(found, pd.Series) and str(found.dtype) == "Float64"):
            raise FilterError(
                f"{_text(tree, self.names)} is no number, so it cannot be computed with; use a column of numbers"
            )
        return found

    def _binary(self, tree: ast.BinOp) -> Any:
        if isinstance(tree.op, ast.BitAnd | ast.BitOr):
            left, right = self.truth(tree.left), self.truth(tree.right)
            return left & right if isinstance(tree.op, ast.BitAnd) else left | right
        if type(tree.op) not in ARITHMETIC:
            raise FilterError(
                f"{_text(tree, self.names)!r} is computed in a way that is not known here; use + - * / **"
            )
        left, right = self._number(tree.left), self._number(tree.right)
        try:
            with np.errstate(all="ignore"):
                found = ARITHMETIC[type(tree.op)](left, right)
        except (ArithmeticError, ValueError):
            raise FilterError(f"{_text(tree, self.names)} has no value; correct it") from None
        if isinstance(found, pd.Series):
            finite = np.isfinite(found.to_numpy(float, na_value=np.nan))
            return found.where(finite)
        if not isinstance(found, float):
            raise FilterError(f"{_text(tree, self.names)} has no value; correct it")
        return found

    def _compare(self, tree: ast.Compare) -> pd.Series:
        total: pd.Series | None = None
        sides = [tree.left, *tree.comparators]
        for left, op, right in zip(sides, tree.ops, sides[1:], strict=False):
            found = self._one(tree, left, op, right)
            total = found if total is None else total & found
        assert total is not None
        return total

    def _one(self, tree: ast.Compare, left: ast.expr, op: ast.cmpop, right: ast.expr) -> pd.Series:
        one, other = self.value(left), self.value(right)
        if isinstance(op, ast.In | ast.NotIn):
            if not isinstance(one, pd.Series) or not isinstance(other, list):
                raise FilterError(f"{_text(tree, self.names)}: in needs a column and a list, as in site in ['A', 'B']")
            found = self._within(one, other, _text(tree, self.names))
            return ~found if isinstance(op, ast.NotIn) else found
        if type(op) not in COMPARED:
            raise FilterError(
                f"{_text(tree, self.names)!r} compares in a way that is not known here; use == or != or .isna()"
            )
        if not isinstance(one, pd.Series) and not isinstance(other, pd.Series):
            raise FilterError(f"{_text(tree, self.names)} says nothing of a person; name a column in it")
        kinds = {_kind(one), _kind(other)}
        if len(kinds) > 1 or not kinds <= {"number", "text"}:
            raise FilterError(f"{_text(tree, self.names)} compares a number with a text; give both as one kind")
        return COMPARED[type(op)](one, other).astype("boolean")

    def _within(self, column: pd.Series, among: Sequence[Any], text: str) -> pd.Series:
        if any(_kind(one) != _kind(column) for one in among):
            raise FilterError(f"{text} compares a number with a text; give both as one kind")
        return column.isin(list(among)).astype("boolean").mask(column.isna())

    def _call(self, tree: ast.Call) -> pd.Series:
        text = _text(tree, self.names)
        method, owner = _method(tree.func)
        if owner is None or method not in ("isna", "notna", "isin", "between", "str.contains"):
            raise FilterError(f"{text!r} cannot stand in an expression; use {WORDS}")
        column = self.value(owner)
        if not isinstance(column, pd.Series) or str(column.dtype) == "boolean":
            raise FilterError(f"{text}: {method} needs a column before it; name one")
        given = [self.value(one) for one in tree.args]
        case = True
        for keyword in tree.keywords:
            if method != "str.contains" or keyword.arg != "case" or not isinstance(keyword.value, ast.Constant):
                raise FilterError(f"{text}: {method} knows no {keyword.arg}; leave it out")
            case = bool(keyword.value.value)
        if method in ("isna", "notna") and not given:
            return (column.isna() if method == "isna" else column.notna()).astype("boolean")
        if method == "isin" and len(given) == 1 and isinstance(given[0], list):
            return self._within(column, given[0], text)
        if method == "between" and len(given) == 2 and all(_kind(one) == _kind(column) == "number" for one in given):
            return ((column >= given[0]) & (column <= given[1])).astype("boolean")
        if method == "str.contains" and len(given) == 1 and isinstance(given[0], str) and _kind(column) == "text":
            return column.str.contains(given[0], case=case, regex=False).astype("boolean")
        raise FilterError(f"{text}: {method} is given what it cannot take; write {EXAMPLES[method]}")


EXAMPLES = {
    "isna": "bmi.isna()",
    "notna": "bmi.notna()",
    "isin": "site.isin(['A', 'B'])",
    "between": "age.between(40, 60)",
    "str.contains": "site.str.contains('Basel')",
}


def _method(tree: ast.expr) -> tuple[str, ast.expr | None]:
    """``column.method`` or ``column.str.method`` in two; no owner for anything else."""
    if not isinstance(tree, ast.Attribute):
        return "", None
    inner = tree.value
    if isinstance(inner, ast.Attribute) and inner.attr == "str":
        return f"str.{tree.attr}", inner.value
    return tree.attr, inner


def _kind(value: Any) -> str:
    if isinstance(value, pd.Series):
        return {"Float64": "number", "string": "text"}.get(str(value.dtype), "condition")
    if isinstance(value, float):
        return "number"
    return "text" if isinstance(value, str) else "list"
