"""A plan of a rating, and sessions that answer it."""

from __future__ import annotations

import numpy as np

from pages.components.review.session import Answer, Plan, Session

PLAN = Plan(model="tiny", digest="abc", seed=7, scans=20, steps=2, source="fresh")


def rated(plan: Plan, reviewer: str, wrong: int = 0, seed: int = 0) -> Session:
    """A finished session whose first ``wrong`` answers are wrong; plausibility is 4 or 5 of real ones, else 1 to 4."""
    rng = np.random.default_rng(seed)
    answers = tuple(
        Answer(
            real=None if plan.source == "none" else who.real != (i < wrong),
            plausibility=int(rng.integers(4, 6) if who.real else rng.integers(1, 5)),
            comment=f"=scan {i}, nö\n",
            place=(1.0, -2.5, 3.0 + seed) if i % 2 else None,
            voxel=(10, 8, i) if i % 4 == 1 else None,
            seconds=1.5 + i,
        )
        for i, who in enumerate(plan.people)
    )
    return Session(plan=plan, reviewer=reviewer, answers=answers, finished=True)
