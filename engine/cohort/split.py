"""Who trains, who validates, who tests: by hash. Two versions, each store keeping the one that it was made with.

Version 2 (:func:`by_identity`) asks nobody but the person: a hash of their identity falls into one of three fixed ranges, so
whoever joins or leaves a cohort moves nobody else. The shares are those of :data:`TEST` and :data:`VALIDATION` on average.

Version 1 (:func:`stratified`), of older stores and checkpoints, ranks the hashes within each stratum (sex x age tercile): the
sizes are exact (108 / 12 / 28 on the 148 IXI heads), but the strata's borders, and with them persons, move with the cohort.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
from jaxtyping import Int

from engine.vocabulary.refusal import Refusal

TEST, VALIDATION = 28 / 144, 12 / 144
#: the version of the split that a new store gets
VERSION = 2
#: what is hashed before an identity in version 2: another text is another split
PREFIX = "somatwin-split-2"
PARTS = ("train", "validation", "test")

Parts = dict[str, Int[np.ndarray, " m"]]


class SplitError(Refusal):
    """A cohort that cannot be split; the message says why and what to do."""


def split(
    rows: Sequence[Mapping[str, Any]],
    meta: Mapping[str, Any],
    *,
    version: int = VERSION,
    test: float = TEST,
    validation: float = VALIDATION,
) -> Parts:
    """Row indices (ascending, int64) under the keys ``train``, ``validation`` and ``test``, by a version of the split.

    ``rows`` carry ``participant_id``, ``age`` (number or None) and ``sex`` (string or None); a row that lacks age or sex only
    trains. ``meta`` says how persons are told apart (:func:`identities`). Raises :class:`SplitError` for an unknown version,
    a repeated identifier, or fractions that leave nobody to train on.
    """
    if version == 1:
        return stratified(rows, test=test, validation=validation)
    if version == 2:
        return by_identity(rows, identities(rows, meta), test=test, validation=validation)
    raise SplitError(f"the split's version is {version}, this program knows 1 and 2; use the version that wrote it")


def identities(rows: Sequence[Mapping[str, Any]], meta: Mapping[str, Any]) -> list[str]:
    """What tells each person from the others, wherever their row stands.

    A computed person is their seed, a person of a table without identifiers (``anonymous``) is what their row says, anybody
    else is their participant_id.
    """
    if "phantom" in meta.get("plan", {}):
        return [f"seed {int(row['seed'])}" for row in rows]
    if meta.get("anonymous"):
        return [json.dumps({k: v for k, v in row.items() if k != "participant_id"}, sort_keys=True) for row in rows]
    return [str(row["participant_id"]) for row in rows]


def by_identity(
    rows: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    *,
    test: float = TEST,
    validation: float = VALIDATION,
) -> Parts:
    """Version 2: each row's part by its identity in ``names`` and by nothing else but whether it has age and sex.

    >>> people = [{"participant_id": f"p{i}", "age": 40, "sex": "F"} for i in range(14400)]
    >>> {name: round(len(rows) / 144) for name, rows in by_identity(people, [p["participant_id"] for p in people]).items()}
    {'train': 73, 'validation': 8, 'test': 19}
    """
    _checked(rows, test, validation)
    parts: dict[str, list[int]] = {name: [] for name in PARTS}
    for i, (row, name) in enumerate(zip(rows, names, strict=True)):
        parts[_part(name, test, validation) if _complete(row) else "train"].append(i)
    return {name: np.array(part, dtype=np.int64) for name, part in parts.items()}


def _part(name: str, test: float, validation: float) -> str:
    """The part that an identity falls into."""
    share = int.from_bytes(sha256(f"{PREFIX} {name}".encode()).digest()[:8], "big") / 2**64
    if share < test:
        return "test"
    return "validation" if share < test + validation else "train"


def stratified(rows: Sequence[Mapping[str, Any]], *, test: float = TEST, validation: float = VALIDATION) -> Parts:
    """Version 1: within each stratum the first hashes test, the next validate, the rest train.

    The whole counts are ``round(n * fraction)`` over the n complete rows, shared among the strata by largest remainder.

    >>> people = [{"participant_id": f"p{i}", "age": i, "sex": "FM"[i % 2]} for i in range(144)]
    >>> {name: len(rows) for name, rows in stratified(people).items()}
    {'train': 104, 'validation': 12, 'test': 28}
    """
    _checked(rows, test, validation)
    names = [str(row["participant_id"]) for row in rows]
    strata = _strata(rows)
    sizes = [len(members) for members in strata]
    tests = apportion(sizes, round(sum(sizes) * test))
    validations = apportion([n - t for n, t in zip(sizes, tests, strict=True)], round(sum(sizes) * validation))
    held: dict[str, list[int]] = {"validation": [], "test": []}
    for members, t, v in zip(strata, tests, validations, strict=True):
        ranked = sorted(members, key=lambda i: sha256(names[i].encode()).hexdigest())
        held["test"] += ranked[:t]
        held["validation"] += ranked[t : t + v]
    taken = set(held["test"]) | set(held["validation"])
    parts = {"train": [i for i in range(len(rows)) if i not in taken], **held}
    return {name: np.array(sorted(part), dtype=np.int64) for name, part in parts.items()}


def _checked(rows: Sequence[Mapping[str, Any]], test: float, validation: float) -> None:
    if min(test, validation) < 0 or test + validation >= 1:
        raise SplitError(f"test {test} and validation {validation} must be fractions that leave a part to train on")
    names = [str(row["participant_id"]) for row in rows]
    if len(set(names)) != len(names):
        raise SplitError("two rows have the same participant_id; give every person their own")


def _complete(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("age"), int | float) and bool(row.get("sex"))


def _strata(rows: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Indices of the complete rows by sex and age tercile, in an order that does not depend on the rows' order."""
    complete = [i for i, row in enumerate(rows) if _complete(row)]
    by_age = sorted(complete, key=lambda i: (float(str(rows[i]["age"])), str(rows[i]["participant_id"])))
    strata: dict[tuple[str, int], list[int]] = {}
    for rank, i in enumerate(by_age):
        strata.setdefault((str(rows[i]["sex"]), rank * 3 // len(by_age)), []).append(i)
    return [strata[key] for key in sorted(strata)]


def apportion(sizes: Sequence[int], total: int) -> list[int]:
    """``total`` shared in proportion to ``sizes`` by largest remainder, never more than a size.

    >>> apportion([10, 20, 30], 7)
    [1, 2, 4]
    """
    whole = sum(sizes)
    if whole == 0 or total <= 0:
        return [0] * len(sizes)
    quotas = [total * size / whole for size in sizes]
    shares = [int(q) for q in quotas]
    order = sorted(range(len(sizes)), key=lambda i: (shares[i] - quotas[i], i))
    for i in order[: total - sum(shares)]:
        shares[i] += 1
    return shares
