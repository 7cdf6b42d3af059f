"""A checkpoint remembers its participants: they keep their parts, whatever a store says of them, and nobody is named."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.cohort.participants import (
    FILE,
    Participants,
    ParticipantsError,
    Roles,
    inherited,
    judged,
    read_participants,
    recorded,
)
from engine.cohort.split import Parts, split

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"


@dataclass(frozen=True)
class Crowd:
    """A store without arrays."""

    rows: list[dict[str, Any]]
    meta: dict[str, Any] = field(default_factory=lambda: {"source_name": "crowd"})
    roles: Roles | None = None

    def split(self) -> Parts:
        return self.roles.parts if self.roles else split(self.rows, self.meta)

    def older_split(self) -> Parts:
        return split(self.rows, self.meta, version=1)

    def with_roles(self, roles: Roles) -> Crowd:
        return replace(self, roles=roles)


def crowd(n: int, first: int = 0) -> Crowd:
    return Crowd([{"participant_id": f"sub-{i:03d}", "age": 20.0 + i, "sex": "FM"[i % 2]} for i in range(first, n)])


def names(store: Crowd, part: str) -> set[str]:
    return {store.rows[i]["participant_id"] for i in store.split()[part]}


def swapped(store: Crowd) -> Crowd:
    """The store with its training and test persons exchanged."""
    parts = store.split()
    return store.with_roles(Roles(parts={**parts, "train": parts["test"], "test": parts["train"]}))


def saved(record: Participants, folder: Path) -> Path:
    (folder / FILE).write_text(json.dumps(record.to_json()))
    return folder


def test_a_record_comes_back_and_names_nobody(tmp_path: Path):
    record = recorded(crowd(60))
    assert read_participants(saved(record, tmp_path)) == record
    text = (tmp_path / FILE).read_text()
    assert "sub-" not in text
    assert {name: len(part) for name, part in record.cohorts[0].parts.items()} == {
        name: len(part) for name, part in crowd(60).split().items()
    }
    again = recorded(crowd(60))
    assert not record.cohorts[0].parts["train"] & again.cohorts[0].parts["train"], "another salt, other hashes"
    assert read_participants(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format": "x", "version": 1}', '{"format": "somatwin-participants", "version": 1}']
)
def test_a_record_that_cannot_be_read_is_refused(text: str, tmp_path: Path):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ParticipantsError, match=r"restore it|another version"):
        read_participants(tmp_path)


def test_whoever_trained_is_never_judged_as_test():
    """The store would have all training persons tested; the record puts everybody back."""
    store = crowd(60)
    record = recorded(swapped(store))
    found, said = judged(store, record, "tiny")
    assert names(found, "train") == names(store, "test")
    assert names(found, "test") == names(store, "train")
    assert said.startswith("60 of 60 persons took part in making tiny")


def test_new_persons_test_where_their_hash_puts_them_and_train_nobody_else():
    old, store = crowd(40), crowd(90)
    record = recorded(old)
    found, said = judged(store, record, "tiny")
    assert names(found, "train") == names(old, "train")
    assert names(found, "test") == names(store, "test")
    left = 90 - sum(len(part) for part in found.split().values())
    assert said == f"40 of 90 persons took part in making tiny and keep their part; of 50 others {left} are left out"
    on = inherited(store, record)
    assert sorted(np.concatenate(list(on.split().values()))) == list(range(90))
    assert names(on, "train") == names(store, "train")


def test_a_training_that_goes_on_inherits_roles_and_remembers_who_is_gone():
    first = recorded(swapped(crowd(40)))
    on = inherited(crowd(60, first=20), first)
    assert names(on, "train") & names(crowd(40), "train") == set(), "who tested tests"
    second = recorded(on)
    gone = crowd(20)
    found, _ = judged(gone, second, "tiny")
    assert names(found, "train") == names(gone, "test")
    assert sum(len(part) for part in found.split().values()) == 20


def test_the_same_names_in_another_cohort_are_other_persons_and_that_is_said():
    record = recorded(swapped(crowd(40)))
    other = Crowd(crowd(40).rows, {"source_name": "elsewhere"})
    found, said = judged(other, record, "tiny")
    assert names(found, "test") == names(other, "test")
    assert (
        said
        == "tiny was trained on 'crowd' and this is 'elsewhere': its persons are taken for others, whatever their names"
    )
    both = recorded(inherited(other, record))
    assert [cohort.source_name for cohort in both.cohorts] == ["elsewhere", "crowd"]
    back, _ = judged(crowd(40), both, "tiny")
    assert names(back, "train") == names(crowd(40), "test")


def test_a_checkpoint_without_a_record_is_of_the_older_split():
    store = crowd(60)
    for found in (judged(store, None, "tiny")[0], inherited(store, None)):
        assert all((found.split()[part] == store.older_split()[part]).all() for part in store.split())
    assert "no record" in judged(store, None, "tiny")[1]


def test_a_computed_person_is_known_by_the_seed():
    meta = {"source_name": "phantom", "plan": {"phantom": 1}}
    rows = [{"participant_id": f"sub-{i}", "age": 30.0 + i, "sex": "F", "seed": i} for i in range(40)]
    record = recorded(swapped(Crowd(rows, meta)))
    renamed = Crowd([{**row, "participant_id": f"x-{row['seed']}"} for row in rows[::-1]], meta)
    found, _ = judged(renamed, record, "tiny")
    assert {renamed.rows[i]["seed"] for i in found.split()["train"]} == set(split(rows, meta)["test"].tolist())


#: torso-dixon went on from models of 1,444 and 741 other persons
@pytest.mark.parametrize(
    ("name", "sizes", "before"),
    [("head-t1", (108, 12, 28), 0), ("torso-dixon", (1444 + 741 + 1175, 167 + 100 + 128, 389 + 199 + 297), 1444 + 741)],
)
def test_the_shipped_records_hold_as_many_as_the_card_says(name: str, sizes: tuple[int, int, int], before: int):
    record = read_participants(CHECKPOINTS / name)
    assert record is not None
    (cohort,) = record.cohorts
    assert tuple(len(cohort.parts[part]) for part in ("train", "validation", "test")) == sizes
    provenance = json.loads((CHECKPOINTS / name / "config.json").read_text("utf-8"))["provenance"]
    assert provenance["persons"] == sizes[0] - before
    assert provenance["source_name"] == cohort.source_name
