"""Who took part in making a checkpoint: salted hashes of identities, so that nobody is judged on whom it was trained.

``participants.json`` lies beside the weights and holds, for each cohort that the weights have seen, its name, a random salt
and the SHA-256 of salt and identity of everybody who trained, validated and tested. It holds no name, and reveals whether a
person took part only to somebody who knows theirs. Checkpoints older than this have no such file.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from engine.cohort.split import PARTS, Parts, identities, split
from engine.vocabulary.refusal import Refusal

FILE = "participants.json"
FORMAT, VERSION = "somatwin-participants", 1
#: hexadecimal digits of a hash that are kept, and bytes of a salt
DIGITS, SALT = 32, 16


class ParticipantsError(Refusal):
    """A record of participants that cannot be read; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class CohortRecord:
    """The persons of one cohort in their ``parts``, as hashes."""

    source_name: str
    salt: str
    parts: Mapping[str, frozenset[str]]

    def hashed(self, identity: str) -> str:
        return sha256(f"{self.salt} {identity}".encode()).hexdigest()[:DIGITS]

    def part_of(self, identity: str) -> str | None:
        """The part in which a person took part; None for somebody who did not."""
        found = self.hashed(identity)
        return next((name for name in PARTS if found in self.parts[name]), None)


@dataclass(frozen=True, kw_only=True)
class Participants:
    """All cohorts that a checkpoint has seen."""

    cohorts: tuple[CohortRecord, ...]

    def of(self, source_name: str) -> CohortRecord | None:
        return next((cohort for cohort in self.cohorts if cohort.source_name == source_name), None)

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON; in an order that says nothing of the persons."""
        cohorts = [
            {
                "source_name": cohort.source_name,
                "salt": cohort.salt,
                **{name: sorted(cohort.parts[name]) for name in PARTS},
            }
            for cohort in self.cohorts
        ]
        return {"format": FORMAT, "version": VERSION, "cohorts": cohorts}


@dataclass(frozen=True, eq=False, kw_only=True)
class Roles:
    """Parts given to a store's rows instead of its own split, and the record that they come from."""

    parts: Parts
    record: Participants | None = field(default=None)


#: the type that a method belongs to; checked calls know typing.Self in dataclasses only
Own = TypeVar("Own")


@runtime_checkable
class People(Protocol):
    """A store of persons, with scans or without."""

    @property
    def rows(self) -> Any: ...
    @property
    def meta(self) -> dict[str, Any]: ...
    @property
    def roles(self) -> Roles | None: ...
    def split(self) -> Parts: ...
    def older_split(self) -> Parts: ...
    def with_roles(self: Own, roles: Roles) -> Own: ...


P = TypeVar("P", bound=People)


def read_participants(checkpoint: Path) -> Participants | None:
    """The record in a checkpoint's directory; None where it has none. Raises :class:`ParticipantsError`."""
    try:
        found = json.loads((checkpoint / FILE).read_text("utf-8"))
        if (found["format"], found["version"]) != (FORMAT, VERSION):
            raise ParticipantsError(f"{checkpoint / FILE} is of another version; use the program that wrote it")
        cohorts = tuple(
            CohortRecord(
                source_name=str(one["source_name"]),
                salt=str(one["salt"]),
                parts={name: frozenset(map(str, one[name])) for name in PARTS},
            )
            for one in found["cohorts"]
        )
    except FileNotFoundError:
        return None
    except ParticipantsError:
        raise
    except (OSError, ValueError, KeyError, TypeError):
        raise ParticipantsError(
            f"{checkpoint / FILE} is damaged; restore it from where the checkpoint is from"
        ) from None
    return Participants(cohorts=cohorts)


def recorded(store: People) -> Participants:
    """The record of a training on ``store``: its own persons, and those whom the checkpoint that it began from had seen."""
    name, before = _name(store), store.roles.record if store.roles else None
    known = before.of(name) if before else None
    fresh = CohortRecord(source_name=name, salt=known.salt if known else secrets.token_hex(SALT), parts={})
    names = identities(store.rows, store.meta)
    parts = {
        part: frozenset(fresh.hashed(names[i]) for i in rows.tolist()) | (known.parts[part] if known else frozenset())
        for part, rows in store.split().items()
    }
    mine = CohortRecord(source_name=name, salt=fresh.salt, parts=parts)
    others = [cohort for cohort in (before.cohorts if before else ()) if cohort.source_name != name]
    return Participants(cohorts=(mine, *others))


def inherited(store: P, record: Participants | None) -> P:
    """The store as a training that begins from a checkpoint has to use it: whoever trained trains, whoever tested tests.

    New persons go where their own hash puts them. A checkpoint without a record (None) is older than version 2 of the split,
    so the store is split by version 1.
    """
    return store.with_roles(Roles(parts=_parts(store, record, judged=False), record=record))


def judged(store: P, record: Participants | None, name: str) -> tuple[P, str]:
    """The store as the checkpoint called ``name`` may be judged on it, and a sentence on who is who.

    Only persons who took part as such are its training persons. Persons whom it has not seen test where their hash puts them
    into test, and are left out otherwise.
    """
    roles = Roles(parts=_parts(store, record, judged=True), record=record)
    return store.with_roles(roles), _said(store, record, roles.parts, name)


def _parts(store: People, record: Participants | None, *, judged: bool) -> Parts:
    if record is None:
        return store.older_split()
    cohort = record.of(_name(store))
    if cohort is None:
        return store.split()
    own = split(store.rows, store.meta)
    where = {int(i): part for part, rows in own.items() for i in rows}
    parts: dict[str, list[int]] = {name: [] for name in PARTS}
    for i, identity in enumerate(identities(store.rows, store.meta)):
        part = cohort.part_of(identity)
        if part is not None:
            parts[part].append(i)
        elif not judged or where[i] == "test":
            parts[where[i]].append(i)
    return {name: np.array(part, dtype=np.int64) for name, part in parts.items()}


def _said(store: People, record: Participants | None, parts: Parts, name: str) -> str:
    if record is None:
        return f"{name} has no record of its participants; those of the older split of this store are taken for them"
    cohort = record.of(_name(store))
    if cohort is None:
        seen = ", ".join(repr(one.source_name) for one in record.cohorts)
        return f"{name} was trained on {seen} and this is {_name(store)!r}: its persons are taken for others, whatever their names"
    names = identities(store.rows, store.meta)
    new = sum(cohort.part_of(identity) is None for identity in names)
    held = len(names) - sum(len(rows) for rows in parts.values())
    return f"{len(names) - new} of {len(names)} persons took part in making {name} and keep their part; of {new} others {held} are left out"


def _name(store: People) -> str:
    return str(store.meta.get("source_name", ""))
