"""Who trains, who validates, who tests: by hash, balanced over sex and age.

A person's rank is the SHA-256 of their identifier, so the split depends on neither row order nor a random generator.
Within each stratum (sex x age tercile) the first ranks test, the next validate, the rest train. On the 148 IXI heads:
108 / 12 / 28.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

import numpy as np

TEST, VALIDATION = 28 / 144, 12 / 144


def split(
    rows: Sequence[Mapping[str, object]], *, test: float = TEST, validation: float = VALIDATION
) -> dict[str, np.ndarray]:
    """Row indices (ascending, int64) under the keys ``train``, ``validation`` and ``test``.

    ``rows`` carry ``participant_id``, ``age`` (number or None) and ``sex`` (string or None); a row that lacks age or
    sex only trains. The whole counts are ``round(n * fraction)`` over the n complete rows, shared among the strata by
    largest remainder. Raises :class:`ValueError` for a repeated identifier or fractions that leave nobody to train on.

    >>> people = [{"participant_id": f"p{i}", "age": i, "sex": "FM"[i % 2]} for i in range(144)]
    >>> {name: len(rows) for name, rows in split(people).items()}
    {'train': 104, 'validation': 12, 'test': 28}
    """
    if min(test, validation) < 0 or test + validation >= 1:
        raise ValueError(f"test {test} and validation {validation} must be fractions that leave a part to train on")
    names = [str(row["participant_id"]) for row in rows]
    if len(set(names)) != len(names):
        raise ValueError("two rows have the same participant_id; give every person their own")
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


def _strata(rows: Sequence[Mapping[str, object]]) -> list[list[int]]:
    """Indices of the complete rows by sex and age tercile, in an order that does not depend on the rows' order."""
    complete = [i for i, row in enumerate(rows) if isinstance(row.get("age"), int | float) and row.get("sex")]
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
