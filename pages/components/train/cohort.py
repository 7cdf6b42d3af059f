"""What somebody wants to train on: is it there, does it fit the recipe, and what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.checkpoints.files import checkpoints
from engine.cohort.filter import narrowed
from engine.cohort.missing import missing_cells
from engine.cohort.sources.table import TableCohort
from engine.cohort.store import CohortStore
from engine.imaging.grid import in_words
from engine.training.claim import fitted_schema
from engine.training.recipes import RECIPES, TABLE, table
from engine.vocabulary.refusal import Refusal
from engine.vocabulary.schema import Category, Number
from pages.components.state.person_table import unit

#: recipes a reader may choose, and what each takes
CHOICES = {
    "head_t1": "T1-weighted heads at 2 mm with age, sex, height, BMI and ethnicity. Takes a store made by `somatwin ingest`.",
    "torso_dixon": "Computed torsos, water and fat, with body composition. Takes a store made by `somatwin phantom`.",
    "heart_cine": "Computed hearts over a cycle, with volumes and ejection fraction. Takes a store made by `somatwin phantom "
    "--recipe heart_cine`.",
    TABLE: "People without scans. Takes a CSV or TSV file with a header, one person a row.",
    "tiny": "A first try in seconds: 32 x 32 x 32 voxels. Takes a store made with `somatwin ingest --recipe tiny`.",
}
#: fewest persons that a model is trained on
FEWEST = 8


class CohortError(Refusal):
    """A path that holds nothing to train on; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A cohort in words: ``columns`` with their ranges, ``missing`` cells by column, ``flags`` of what was left out,
    ``chosen`` how many persons fit what they are chosen by."""

    path: str
    persons: int
    split: Mapping[str, int]
    grid: str
    columns: Mapping[str, str]
    missing: Mapping[str, str]
    flags: tuple[str, ...]
    chosen: tuple[str, ...]


def check(text: str, recipe: str, size: str = "cpu", where: str = "") -> Summary:
    """Open what ``text`` names, leave out for whom ``where`` is not true, and fit the recipe's columns to it.

    Raises :class:`CohortError`, or another refusal of the engine, or :class:`OSError`.
    """
    path = Path(text.strip().strip("'\"")).expanduser().absolute()
    cohort, selection = narrowed(_opened(path, recipe), where)
    made = table(cohort.schema, size) if isinstance(cohort, TableCohort) else RECIPES[recipe](size)
    split = {part: len(rows) for part, rows in cohort.split().items()}
    if split["train"] < FEWEST:
        raise CohortError(f"{path} leaves {split['train']} persons to train on: give {FEWEST} or more")
    schema = fitted_schema(made, cohort)
    columns = {}
    for column in schema.columns:
        if isinstance(column, Category):
            columns[column.name] = ", ".join(column.levels)
        elif isinstance(column, Number):
            low, high = column.seen
            columns[column.name] = f"{low:.4g} to {high:.4g} {unit(column.unit)}".rstrip()
    grid = "none, a table alone"
    if isinstance(cohort, CohortStore):
        spacing = " x ".join(f"{mm:g}" for mm in cohort.spacing)
        grid = f"{' x '.join(map(str, cohort.grid))} voxels of {spacing} mm, {in_words(cohort.channels)}"
    return Summary(
        path=str(path),
        persons=len(cohort),
        split=split,
        grid=grid,
        columns=columns | {d.name: "computed" for d in schema.derived},
        missing=missing_cells([cohort.rows[i] for i in cohort.split()["train"]], schema),
        flags=tuple(cohort.flags) if isinstance(cohort, TableCohort) else (),
        chosen=tuple(selection.lines()) if where.strip() else (),
    )


def starts(recipe: str, size: str) -> list[str]:
    """The models at hand that a training by ``recipe`` can go on from."""
    return [] if recipe == TABLE else checkpoints(model=RECIPES[recipe](size).model)


def _opened(path: Path, recipe: str) -> CohortStore | TableCohort:
    if not path.exists():
        raise CohortError(
            f"there is nothing at {path}: give a {'file' if recipe == TABLE else 'folder'} on this machine"
        )
    if recipe == TABLE:
        if path.is_dir():
            raise CohortError(f"{path} is a folder: the recipe table takes a CSV or TSV file, one person a row")
        return TableCohort.open(path)
    if path.is_file():
        raise CohortError(f"{path} is a file: this recipe takes a store, a table alone takes the recipe table")
    if (path / "participants.tsv").is_file() and not (path / "store.json").is_file():
        raise CohortError(f"{path} is a BIDS folder: run somatwin ingest {path} STORE --recipe {recipe} and give STORE")
    return CohortStore.open(path)


def facts(summary: Summary) -> dict[str, str]:
    """The summary by heading."""
    parts = ", ".join(f"{n} {part}" for part, n in summary.split.items() if n)
    chosen = sum(summary.split.values())
    persons = f"{chosen} of {summary.persons}" if summary.chosen else f"{summary.persons}"
    return {"Persons": f"{persons}: {parts}", "Grid": summary.grid, "Path": summary.path}
