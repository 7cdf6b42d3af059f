"""Pictures of the persons that a model draws while it is trained, in its run directory. No torch is needed to look at them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from engine.cohort.bids_write import DESCRIPTION
from engine.imaging.pictures import planes
from engine.imaging.volume import Volume
from engine.storage.whole import whole_file

FOLDER = "samples"
#: pictures kept
MOST = 12
#: pixels: width of a person, between two pictures, height of the footer, size of letters
PERSON, GAP, FOOTER, LETTERS = 240, 4, 28, 15
#: greys of the words, and of the background
WORDS, BACKGROUND = 200, 0
_NAME = re.compile(r"flow-(\d{6,})\.png")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A picture (``png``) of what the model drew after ``step``; ``persons`` says who in words."""

    step: int
    persons: str
    png: bytes


def sample_steps(run_dir: Path) -> list[int]:
    """The steps of which there is a picture, rising."""
    try:
        names = os.listdir(run_dir / FOLDER)
    except OSError:
        return []
    return sorted(int(found[1]) for name in names if (found := _NAME.fullmatch(name)))


def read_sample(run_dir: Path, step: int) -> Sample | None:
    """The picture of a step; None where it is gone or no picture."""
    path = _path(run_dir, step)
    try:
        with Image.open(path) as picture:
            persons = str(picture.info.get("Persons", ""))
        return Sample(step=step, persons=persons, png=path.read_bytes())
    except OSError:
        return None


def write_sample(run_dir: Path, step: int, persons: Sequence[tuple[str, Volume]]) -> None:
    """Add a picture of ``persons`` (words and scan), whole or not at all; of more than :data:`MOST` one goes.

    Raises OSError when the disk refuses.
    """
    path = _path(run_dir, step)
    path.parent.mkdir(parents=True, exist_ok=True)
    said = f"{DESCRIPTION}, step {step}"
    facts = PngImagePlugin.PngInfo()
    facts.add_text("Persons", "; ".join(words for words, _ in persons))
    facts.add_text("Comment", said)
    with whole_file(path) as part:
        sheet(persons, said).save(part, "PNG", pnginfo=facts)
    while gone := superfluous(sample_steps(run_dir)):
        _path(run_dir, gone).unlink(missing_ok=True)


def forget_samples(run_dir: Path, after: int) -> None:
    """Remove the pictures of later steps, which are trained again."""
    for step in sample_steps(run_dir):
        if step > after:
            _path(run_dir, step).unlink(missing_ok=True)


def superfluous(steps: Sequence[int]) -> int | None:
    """Of more than :data:`MOST` rising steps the one least missed: its neighbours are nearest to each other; the first and
    the last stay.

    >>> superfluous(range(100, 1300, 100)), superfluous([*range(100, 1300, 100), 1210])
    (None, 1200)
    """
    if len(steps) <= MOST:
        return None
    inner = range(1, len(steps) - 1)
    return steps[min(inner, key=lambda k: steps[k + 1] - steps[k - 1])]


def sheet(persons: Sequence[tuple[str, Volume]], footer: str) -> Image.Image:
    """A grey page: of every person beside the next the coronal and the sagittal slice, the axial one below, and the words."""
    cells = [_cell(scan, words) for words, scan in persons]
    high = max(cell.height for cell in cells)
    page = Image.new("L", ((PERSON + GAP) * len(cells) - GAP, high + GAP + FOOTER), BACKGROUND)
    for k, cell in enumerate(cells):
        page.paste(cell, ((PERSON + GAP) * k, 0))
    _write(page, footer, (page.width // 2, high + GAP + FOOTER // 2))
    return page


def _cell(scan: Volume, words: str) -> Image.Image:
    turned = scan.reoriented("RAS")
    wide, deep, _ = (n * mm for n, mm in zip(turned.grid, turned.spacing, strict=True))
    axial, coronal, sagittal = (Image.fromarray(p) for p in planes(turned, (wide + deep) / (PERSON - GAP)))
    cell = Image.new("L", (PERSON, coronal.height + GAP + axial.height), BACKGROUND)
    below, right = coronal.height + GAP, coronal.width + GAP
    cell.paste(coronal, (0, 0))
    cell.paste(sagittal, (right, 0))
    cell.paste(axial, (0, below))
    _write(cell, words.replace(", ", "\n"), (right + sagittal.width // 2, below + axial.height // 2))
    return cell


def _write(picture: Image.Image, words: str, middle: tuple[int, int]) -> None:
    font = ImageFont.load_default(LETTERS)
    ImageDraw.Draw(picture).multiline_text(middle, words, WORDS, font, anchor="mm", align="center")


def _path(run_dir: Path, step: int) -> Path:
    return run_dir / FOLDER / f"flow-{step:06d}.png"
