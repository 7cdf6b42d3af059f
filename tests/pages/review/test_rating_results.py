"""What a finished rating tells: known figures, a spreadsheet, the agreement of two readers."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from pages.components.review.results import kappa, merge, results, rows, to_csv
from pages.components.review.session import PLAUSIBILITY, Answer, RatingError, Session
from tests.pages.review.ratings import PLAN, rated


def test_the_figures_of_a_known_session():
    found = results(rated(PLAN, "A", wrong=5))
    wrong_synthetic = sum(not who.real for who in PLAN.people[:5])
    assert found.right is not None
    assert found.sensitivity is not None
    assert found.specificity is not None
    assert (found.right.value, found.right.n) == (0.75, 20)
    assert (found.right.low, found.right.high) == pytest.approx((0.5090, 0.9134), abs=1e-4)  # Clopper and Pearson
    assert found.sensitivity.value == 1 - wrong_synthetic / 10
    assert found.specificity.value == 1 - (5 - wrong_synthetic) / 10
    assert found.seconds == 11.0
    table = rows(rated(PLAN, "A", wrong=5))
    means = {
        side: np.mean([row["plausibility"] for row in table if row["was"] == side]) for side in ("real", "synthetic")
    }
    assert found.real is not None
    assert (found.real.value, found.synthetic.value) == pytest.approx((means["real"], means["synthetic"]))
    assert found.real.low <= found.real.value <= found.real.high
    pairs = [
        (a["plausibility"] > b["plausibility"]) + 0.5 * (a["plausibility"] == b["plausibility"])
        for a in table
        for b in table
        if a["was"] == "real" and b["was"] == "synthetic"
    ]
    assert found.auc is not None
    assert found.auc.value == pytest.approx(np.mean(pairs))
    alone = results(rated(replace(PLAN, source="none"), "A"))
    assert (alone.right, alone.real, alone.auc) == (None, None, None)
    assert rows(early(rated(PLAN, "A", wrong=5), 5))[4] == rows(rated(PLAN, "A", wrong=5))[4]
    few = results(early(rated(PLAN, "A", wrong=5), 5))
    assert few.right is not None
    assert (few.right.value, few.right.n) == (0.0, 5), "the first five are those that are wrong"
    one = results(early(rated(PLAN, "A"), 1))
    assert [side for side in (one.synthetic, one.real) if side is None] == [None]
    assert one.auc is None
    with pytest.raises(RatingError, match="0 of 20 scans are rated"):
        results(Session.begun(PLAN, "A"))


def early(session: Session, done: int) -> Session:
    """The session as it is when its reader finishes after so many scans."""
    answers = (*session.answers[:done], *(Answer(),) * (session.plan.scans - done))
    return replace(session, answers=answers)


def test_the_spreadsheet_is_marked_and_holds_no_formula():
    table = list(csv.DictReader(io.StringIO(to_csv(rated(PLAN, "A")).decode("utf-8-sig"))))
    assert len(table) == 20
    assert all("Not for diagnosis" in row["notice"] for row in table)
    assert all(row["comment"].startswith("'=scan") for row in table)
    assert (table[1]["place"], table[1]["voxel"], table[0]["voxel"]) == ("R 1 P 2.5 S 3", "10 8 1", "")
    assert [row["person"] for row in table] == [PLAN.person(i) for i in range(20)]


def test_kappa_of_known_tables():
    """20, 5, 10 and 15 of fifty; perfect, opposite and constant answers; both kinds as scikit-learn has them."""
    one, other = np.repeat([1, 0], 25), np.repeat([1, 0, 1, 0], [20, 5, 10, 15])
    assert kappa(one, other, (0, 1)) == pytest.approx(0.4)
    assert kappa(one, one, (0, 1)) == 1
    assert kappa(one, 1 - one, (0, 1)) == -1
    assert math.isnan(kappa(one[:9], one[:9], (0, 1)))
    rng = np.random.default_rng(5)
    a = rng.integers(1, 6, 40)
    b = np.clip(a + rng.integers(-1, 2, 40), 1, 5)
    for quadratic, name in ((False, None), (True, "quadratic")):
        assert kappa(a, b, PLAUSIBILITY, quadratic=quadratic) == pytest.approx(cohen_kappa_score(a, b, weights=name))


def test_two_sessions_merge_alike_in_either_order():
    one, other = rated(PLAN, "B", wrong=3), rated(PLAN, "A", wrong=6, seed=1)
    found = merge(one, other)
    assert found == merge(other, one)
    assert found.reviewers == ("A", "B")
    assert found.same is not None
    assert found.same.value == 17 / 20  # they part at scans 4 to 6
    assert [row["agree"] for row in found.rows] == ["yes"] * 3 + ["no"] * 3 + ["yes"] * 14
    assert [row["mm apart"] for row in found.rows[:2]] == ["", "1"], "both marked every second scan, 1 mm apart"
    assert (found.rows[1]["first place"], found.rows[1]["second place"]) == ("R 1 P 2.5 S 4", "R 1 P 2.5 S 3")
    assert found.sides is not None
    said_one, said_other = (np.array([answer.real for answer in session.answers]) for session in (one, other))
    assert found.sides.value == pytest.approx(kappa(said_one, said_other, (False, True)))
    assert found.sides.low <= found.sides.value <= found.sides.high
    part = merge(early(one, 6), other)
    assert [row["agree"] for row in part.rows] == ["yes"] * 3 + ["no"] * 3, "those that both answered"
    for wrong, words in [
        (one, "same session"),
        (rated(replace(PLAN, seed=8), "A"), "differ in seed"),
        (replace(other, finished=False), "not finished"),
    ]:
        with pytest.raises(RatingError, match=words):
            merge(one, wrong)
