"""The same questions for each part of the population: who is drawn how often, how well, and whose scans do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool

from engine.evaluation.metrics.interval import proportion
from engine.evaluation.metrics.manifold import kth_neighbour
from engine.evaluation.report.parts import Plot, Section, Sheet
from engine.evaluation.sections.image import projected
from engine.evaluation.subjects.people import Gathered
from engine.evaluation.subjects.readers import Readers
from engine.vocabulary.schema import AttributeSchema, Category

AGES = ((0, 40), (40, 60), (60, 200))
BMIS = ((0, 25), (25, 30), (30, 100))
#: fewest real persons of a group that are counted: below this a rate says too much of each of them
MINIMUM_GROUP = 5


def groups(schema: AttributeSchema) -> dict[str, Mapping[str, Any]]:
    """Name and rule of every group: sex x age band x BMI band, and each ethnicity."""
    levels = {c.name: c.levels for c in schema.columns if isinstance(c, Category)}
    sexes = levels.get("sex", ("",))
    found: dict[str, Mapping[str, Any]] = {}
    for sex in sexes:
        for low, high in AGES if "age" in schema.names else ((0, 200),):
            for least, most in BMIS if "bmi" in schema.names else ((0, 100),):
                rule = {"sex": sex or None, "age": (low, high), "bmi": (least, most)}
                found[f"{sex} {_band(low, high, 'years')}, BMI {_band(least, most, '')}".strip()] = rule
    return found | {f"ethnicity {level}": {"ethnicity": level} for level in levels.get("ethnicity", ())}


def _band(low: float, high: float, unit: str) -> str:
    text = f"under {high:g}" if low == 0 else f"{low:g} and over" if high >= 100 else f"{low:g} to {high:g}"
    return f"{text} {unit}".strip()


def member(row: Mapping[str, Any], rule: Mapping[str, Any]) -> bool:
    """Whether a row falls in a group; a missing cell does not."""
    for name, wanted in rule.items():
        cell = row.get(name)
        if wanted is None:
            continue
        if cell is None:
            return False
        if isinstance(wanted, tuple):
            if not wanted[0] <= float(cell) < wanted[1]:
                return False
        elif cell != wanted:
            return False
    return True


def subgroup_section(data: Gathered, schema: AttributeSchema, rng: np.random.Generator) -> Section:
    """Rates, share within the real support, and reading errors, by group."""
    readers = Readers.fitted(data, schema)
    made, real = data["synthetic"], [*data["train"].rows, *data["test"].rows]
    within = inside_support(data)
    errors = {name: readers.errors(data, made, name) for name in readers.models}
    rows, heat, labels = [], [], []
    for name, rule in groups(schema).items():
        mine = np.array([member(row, rule) for row in made.rows], bool)
        theirs = sum(member(row, rule) for row in real)
        cells: list[Any] = [
            name,
            proportion(theirs, len(real)) if theirs >= MINIMUM_GROUP else f"under {MINIMUM_GROUP}",
            proportion(int(mine.sum()), len(made)),
        ]
        some = mine.sum() >= MINIMUM_GROUP
        cells.append(float(within[mine].mean()) if some else None)
        cells += [float(np.nanmean(e[mine])) if some and np.isfinite(e[mine]).any() else None for e in errors.values()]
        rows.append(tuple(cells))
        if theirs >= MINIMUM_GROUP:
            labels.append(name)
            heat.append([float(mine.mean() - theirs / len(real)), cells[3]])
    return Section(
        key="subgroups",
        title="Subgroups",
        meaning="For whom does the model draw too few or too many, and for whom does it draw badly?",
        method="Rates with exact binomial intervals, free samples beside real persons (training and test). Within the support: nearer to "
        "some real person than that one's third real neighbour, in the features' projection. Reading errors are those of the "
        f"frozen regressors. Real groups of fewer than {MINIMUM_GROUP} are not counted.",
        sheets=[
            Sheet(
                title="Groups",
                columns=(
                    "group",
                    "share of real",
                    "share of synthetic",
                    "within the support",
                    *(f"{n}: reading error" for n in errors),
                ),
                rows=tuple(rows),
            )
        ],
        plots=[
            Plot(
                title="Share of synthetic minus share of real persons",
                kind="heat",
                x="",
                y="",
                series={"rows": [[h[0]] for h in heat], "labels": ["difference"], "rows_labels": labels},
            )
        ],
    )


def inside_support(data: Gathered) -> Bool[np.ndarray, " n"]:
    """Which synthetic persons lie within the reach of real ones, in the first feature space."""
    made = data["synthetic"]
    scores, _ = projected(data, data.features[0], min(len(made), len(data["test"])))
    real = np.concatenate([scores["train"], scores["test"]])
    reach = kth_neighbour(real, min(3, len(real) - 1))
    distance = np.linalg.norm(scores["synthetic"][:, None] - real[None], axis=-1)
    return (distance < reach[None]).any(1)
