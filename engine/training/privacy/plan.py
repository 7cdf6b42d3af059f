"""A training within a privacy budget: which stages spend it, what it does not cover, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from engine.checkpoints.checkpoint import Checkpoint
from engine.cohort.participants import read_participants
from engine.cohort.sources.table import TableCohort
from engine.cohort.split import identities
from engine.cohort.store import CohortStore
from engine.training.privacy.budget import Budget, Lots, Privacy, PrivacyError
from engine.training.recipes import Recipe
from engine.training.world import World


def planned(
    asked: Privacy | None,
    recipe: Recipe,
    store: CohortStore | TableCohort,
    begun: Checkpoint | None,
    world: World,
) -> Budget | None:
    """The budget of all that learns by gradient from the persons' rows and latents; None where none is ``asked``.

    Raises :class:`PrivacyError` under several ranks, for a start that has seen persons of the store, and for an epsilon that no noise
    reaches.
    """
    if asked is None:
        return None
    if world.size > 1:
        raise PrivacyError(
            f"epsilon {asked.epsilon:g} is kept by one process, and these are {world.size} ranks; start it without torchrun"
        )
    if begun is not None:
        _check_start(begun, store)
    stages: dict[str, Lots] = {}
    knows_rows = recipe.model.rows is not None or (begun is not None and begun.model.rows is not None)
    if knows_rows and recipe.rows is not None:
        stages["rows"] = Lots(recipe.rows.batch, recipe.rows.steps)
    if begun is not None and recipe.model.mask is not None and not begun.model.has_mask:
        stages["adapter"] = Lots(recipe.flow.batch, recipe.flow.steps // 2)
    stages["flow"] = Lots(recipe.flow.batch, recipe.flow.steps)
    return Budget.of(asked, len(store.split()["train"]), stages)


def _check_start(begun: Checkpoint, store: CohortStore | TableCohort) -> None:
    """Raises :class:`PrivacyError` unless nobody of the store took part in making the checkpoint."""
    record = read_participants(begun.path)
    if record is None:
        raise PrivacyError(
            f"{begun.path} has no record of whom it was trained on, so no epsilon can be kept; leave --from out"
        )
    names = identities(store.rows, store.meta)
    seen = sum(any(cohort.part_of(name) is not None for cohort in record.cohorts) for name in names)
    if seen:
        raise PrivacyError(
            f"{begun.path} has seen {seen} of these {len(names)} persons already, so no epsilon can be kept for them; leave --from "
            "out, or start from a model of others"
        )


def covered(budget: Budget) -> str:
    """Which weights the budget covers, in words."""
    words = {"rows": "the network of rows", "adapter": "what takes the mask in", "flow": "the flow"}
    return "the weights of " + " and ".join(words[name] for name in budget.stages)


def not_covered(*, scans: bool, begun: bool) -> str:
    """What is learned from the same persons without noise, in words."""
    closed = "the columns' ranges and quantiles and the linear Gaussian part (means and covariances)"
    found = [] if begun else [f"{closed}, which are fitted in closed form"]
    if scans:
        found += ["the autoencoders, the correction of mean images and the networks of masks, detail and texture"]
    beside = "the counts in the card, participants.json (who knows a name finds in it whether that person took part) and the run directory"
    return "; ".join([*found, beside])


def privacy_facts(budget: Budget, taken: Mapping[str, int], *, scans: bool, begun: bool) -> dict[str, Any]:
    """What the card says of privacy, once as many steps of each stage as were ``taken`` are spent."""
    stages = [
        f"{taken[name]} of {lots.steps} steps of {name}, each with {100 * budget.rate(name):.3g}% of the persons"
        for name, lots in budget.stages.items()
    ]
    return {
        "epsilon": budget.epsilon,
        "delta": float(f"{budget.delta:.4g}"),
        "spent": f"epsilon {budget.spent(taken):.3g} by {' and '.join(stages)}",
        "unit": f"one person (one row of the store) more or less among {budget.persons}",
        "covers": covered(budget),
        "does_not_cover": not_covered(scans=scans, begun=begun),
        "method": (
            f"DP-SGD (Abadi et al. 2016, arXiv 1607.00133): gradients clipped at {budget.clip:g}, noise of {budget.noise:.4g} times that, "
            "Poisson sampling of persons, AdamW"
        ),
        "accountant": (
            "Renyi differential privacy (Mironov 2017, arXiv 1702.07476) as computed by opacus "
            f"{version('opacus')} (Yousefpour et al. 2021, arXiv 2109.12298)"
        ),
    }
