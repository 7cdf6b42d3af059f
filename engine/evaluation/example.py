"""Makes the small example of a checkpoint (:mod:`engine.checkpoints.example`) from whatever checkpoint is there."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy.stats import qmc

from engine.anatomy import region_of
from engine.checkpoints.example import HELD, Example, ExamplePerson, Losses, example_file, example_text
from engine.cohort.sources.table import TableCohort
from engine.imaging.pictures import Planes, planes
from engine.imaging.volume import Volume
from engine.inference.counterfactual import generated_counterfactual
from engine.inference.generate import Model, Person
from engine.measure.ruler import Ruler
from engine.measure.shipped import load_ruler
from engine.storage.whole import write_text
from engine.training.pipeline import train
from engine.training.recipes import table
from engine.vocabulary.refusal import Refusal
from engine.vocabulary.schema import Number, Row

#: attributes that can be asked for, the first that the model and its ruler's cohort have
ASKED = ("age", "bmi")
#: pixels of a picture's longer side, and of three planes side by side; people who have the latter
SIDE, WIDE, SHOWN = 96, 480, 4
#: how far up the axial slice of a head lies, as a share of the grid: where the ventricles are
HIGH = 0.62
#: quality of a WebP picture, 0 to 100
QUALITY = 70
#: rows a step of the training, and fewest people, of whom some test
BATCH, FEWEST = 32, 12
#: points of a loss that are kept
POINTS = 60
#: where in the attribute's range a what-if begins and ends
BEFORE, AFTER = 0.15, 0.85


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many ``people`` are drawn freely and how many are ``asked`` for, and the steps of the ``training`` on their rows."""

    people: int = 40
    asked: int = 16
    training: int = 300

    def __post_init__(self) -> None:
        if self.people < FEWEST or self.asked < 2 or self.training < 1:
            sizes = f"{self.people} people, {self.asked} asked for and {self.training} steps"
            raise ExampleError(f"{sizes} make no example: give at least {FEWEST}, 2 and 1")


class ExampleError(Refusal):
    """An example that cannot be made; the message says what to do."""


def write_example(model: Model, sizes: Sizes, said: Callable[[str], object] = lambda text: None) -> Path:
    """Draw, measure and train, and put the example beside the weights; ``said`` hears what is being done."""
    file = example_file(model.checkpoint.path)
    write_text(file, example_text(make_example(model, sizes, said)))
    return file


def make_example(model: Model, sizes: Sizes, said: Callable[[str], object] = lambda text: None) -> Example:
    """The example of a model that draws scans, or of one that draws tables."""
    ruler = _ruler(model)
    people = []
    for i in range(sizes.people):
        said(f"{i} of {sizes.people} persons")
        people.append(_seen(_drawn(model, {}, i), ruler, wide=i < SHOWN))
    column, low, high = _asked_for(model, ruler)
    asked = []
    if column and ruler:
        for i, value in enumerate(values_over(low, high, sizes.asked)):
            said(f"{i} of {sizes.asked} persons asked for")
            asked.append(_seen(_drawn(model, {column.name: _tidy(column, value)}, i), ruler))
    said("a what-if")
    pair = _whatif(model, ruler, column) if column and model.has_image else ()
    said("a training")
    return Example(
        name=model.name,
        digest=model.digest,
        steps=model.steps,
        people=tuple(people),
        attribute=column.name if column else "",
        low=low,
        high=high,
        asked=tuple(asked),
        whatif=pair,
        losses=trained(model, [person.row for person in people], sizes.training),
    )


def values_over(low: float, high: float, n: int) -> list[float]:
    """``n`` values from low to high: the ends first, then ever finer between them, so that few cover the range already.

    >>> values_over(20, 60, 5)
    [20.0, 60.0, 40.0, 30.0, 50.0]
    """
    between = qmc.Halton(d=1, scramble=False).random(max(1, n - 1))[1:, 0]
    return [low + share * (high - low) for share in [0.0, 1.0, *map(float, between)][:n]]


def usual_range(column: Number, real: tuple[float, float]) -> tuple[float, float]:
    """The whole numbers between which an attribute is asked for at first: where the ruler's cohort and training both reach."""
    low, high = column.seen
    first = max(np.floor(low), column.low, real[0])
    last = min(np.ceil(high), column.high, real[1])
    return float(round(first)), float(round(last))


def _ruler(model: Model) -> Ruler | None:
    region = region_of(model.checkpoint.config.channels)
    try:
        return load_ruler(region) if region else None
    except Refusal:
        return None


def _asked_for(model: Model, ruler: Ruler | None) -> tuple[Number | None, float, float]:
    """The column that is asked for, and its range."""
    lines = ruler.cohort.lines.get("all", {}) if ruler else {}
    for name in ASKED:
        column = model.schema[name] if name in model.schema.names else None
        if isinstance(column, Number) and (not ruler or lines.get(name)):
            real = next(iter(lines[name].values())) if ruler else None
            return column, *usual_range(column, (real.low, real.high) if real else column.seen)
    return None, 0.0, 0.0


def _tidy(column: Number, value: float) -> float:
    low, high = column.seen
    return round(value) if high - low > 25 else round(value, 1)


def _drawn(model: Model, given: Row, seed: int) -> Person:
    (person,) = model.generate(given=given, seed=seed, with_mask=model.has_mask)
    return person


def _seen(person: Person, ruler: Ruler | None, *, wide: bool = False) -> ExamplePerson:
    """What is kept of a person."""
    found = {name: _short(value) for name, value in person.attributes.items()}
    if person.scan is None:
        return ExamplePerson(seed=person.seed, row=found, values={})
    values: Mapping[str, float] = {}
    if ruler:
        try:
            values = {name: float(f"{value:.5g}") for name, value in ruler.measure(person.scan).items()}
        except Refusal:
            values = {}
    plane = region_of(person.scan.channels)
    coronal = plane is not None and plane.plane == "coronal"
    up = 0.5 if coronal else HIGH
    side = planes(person.scan, _pixel(person.scan, SIDE), up)
    picture = side.coronal if coronal else side.axial
    three = _side_by_side(planes(person.scan, _pixel(person.scan, WIDE / 3), up)) if wide else None
    pictures = {"picture": _webp(picture), "planes": b"" if three is None else _webp(three)}
    return ExamplePerson(seed=person.seed, row=found, values=values, **pictures)


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _pixel(scan: Volume, side: float) -> float:
    """mm of a pixel, so that the longest side of the scan has ``side`` pixels."""
    return max(n * mm for n, mm in zip(scan.grid, scan.spacing, strict=True)) / side


def _side_by_side(three: Planes) -> np.ndarray:
    high = max(plane.shape[0] for plane in three)
    return np.concatenate([np.pad(plane, ((0, high - plane.shape[0]), (0, 4))) for plane in three], axis=1)


def _webp(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "WEBP", quality=QUALITY, method=6)
    return stream.getvalue()


def _whatif(model: Model, ruler: Ruler | None, column: Number) -> tuple[ExamplePerson, ...]:
    low, high = column.seen
    values = [_tidy(column, low + share * (high - low)) for share in (BEFORE, AFTER)]
    held = [one.name for one in model.schema.columns if one.name in HELD and one is not column]
    pair = generated_counterfactual(
        model, 0, {column.name: values[0]}, {column.name: values[1]}, model.steps, hold=held
    )
    return tuple(_seen(person, ruler, wide=True) for person in pair)


def trained(model: Model, rows: Sequence[Row], steps: int) -> Losses:
    """The losses of a small model of tables that learns the ``rows``."""
    found: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    computed = {derived.name for derived in model.schema.derived}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "people.csv"
        pd.DataFrame(rows).drop(columns=list(computed)).to_csv(file, index=False)
        cohort = TableCohort.open(file)
        usual = table(cohort.schema)
        recipe = replace(usual, flow=replace(usual.flow, steps=steps, batch=BATCH))
        for said in train(recipe, cohort, Path(folder) / "run"):
            for name, value in said.losses.items():
                xs, ys = found.setdefault(said.stage, {}).setdefault(name, ([], []))
                xs.append(said.step)
                ys.append(float(f"{value:.4g}"))
    return {stage: {name: _thinned(*xy) for name, xy in by.items()} for stage, by in found.items()}


def _thinned(xs: list[float], ys: list[float]) -> tuple[list[float], list[float]]:
    """Means over :data:`POINTS` stretches of a curve."""
    parts = [part for part in np.array_split(np.arange(len(xs)), POINTS) if len(part)]
    return [xs[part[-1]] for part in parts], [float(f"{np.mean([ys[i] for i in part]):.4g}") for part in parts]
