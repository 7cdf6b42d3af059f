"""The example that a checkpoint brings, and what is said of it where a page opens with it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image

from engine.checkpoints.example import Example, ExamplePerson, example_file, read_example
from engine.checkpoints.files import directory
from pages.components.parts.checkpoint_cards import Kept
from pages.components.state.person_table import label, summary

#: how an example is marked wherever it is shown
MARK = ":material/inventory_2: **Example, drawn beforehand**"
PAIR = "The same person who does not exist, of {attribute} {values}: drawn by {name}. Synthetic, not for diagnosis."
NONE = "There is no example for these weights: `somatwin example {name}` makes one. {todo}"


def example_of(name: str, digest: str) -> Example | None:
    """The example of the checkpoint ``name``, if it was drawn with the weights of this ``digest``."""
    folder = directory() / name
    try:
        changed = example_file(folder).stat().st_mtime
    except OSError:
        return None
    found = _read(str(folder), changed)
    return found if found is not None and found.digest == digest else None


@st.cache_data(max_entries=8, show_spinner=False)
def _read(folder: str, changed: float) -> Example | None:
    del changed  # one that was made anew is read again
    return read_example(Path(folder))


def any_example() -> Example | None:
    """The first example at hand, whatever weights drew it."""
    for file in sorted(directory().glob(f"[!.]*/{example_file(Path()).name}")):
        if found := _read(str(file.parent), file.stat().st_mtime):
            return found
    return None


def marked(example: Example, text: str) -> None:
    """Say that what follows is the example, of which weights, and what to do for more."""
    st.info(f"{MARK} with {example.name}, weights {example.digest}. {text}")


def pixels(picture: bytes) -> np.ndarray:
    """A stored picture, uint8 (height, width)."""
    return np.asarray(Image.open(io.BytesIO(picture)).convert("L"))


def about(person: ExamplePerson) -> str:
    """``female, 61, seed 3``."""
    return f"{summary(person.row)}, seed {person.seed}"


def pair_shown(models: Sequence[Kept]) -> None:
    """What the app does, by a picture: one person of each model's example, and the same one of another age."""
    there = [found for kept in models if (found := example_of(kept.name, kept.digest)) and len(found.whatif) == 2]
    for example in there:
        with st.container(border=True):
            for place, person in zip(st.columns(2), example.whatif, strict=True):
                if person.planes:
                    place.image(pixels(person.planes), width="stretch", alt=f"Synthetic scan, {about(person)}")
            ages = " and ".join(f"{person.row[example.attribute]:.0f}" for person in example.whatif)
            st.caption(PAIR.format(attribute=label(example.attribute).lower(), values=ages, name=example.name))
