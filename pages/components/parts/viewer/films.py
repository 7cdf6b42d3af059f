"""People as movies and as a page to print: a turn of the body, a heart's cycle, a sweep, a sheet; every one marked, seed and
weights burned in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from engine.anatomy import regions
from engine.anatomy.region import ENDS
from engine.figures.sheet import Picture, sheet
from engine.imaging.film.movie import Frame, to_gif, to_mp4
from engine.imaging.film.turntable import FRAMES, Body, turned
from engine.imaging.pictures import Ends, body_box, captioned, lettered, widened
from engine.imaging.volume import Volume
from engine.vocabulary.schema import AttributeSchema
from pages.components.parts.ruler.surfaces import surfaces_of
from pages.components.state.generation import Drawn
from pages.components.state.person_table import person_rows, summary
from pages.components.state.scene import FOOTER

if TYPE_CHECKING:
    from engine.anatomy.region import Region
    from engine.imaging.segmentation import Segmentation
    from engine.inference.generate import Person

#: pixels of a frame of slices, of a person's row in one of a cycle, of one of a turn (wide, high), and of a picture on paper
HIGH, ROW, TURN, PRINTED = 720, 420, (720, 720), 1000
#: ms for which a value of a sweep stays, and a frame of a turn
SWEEP_MS, TURN_MS = 500, 90
#: from where a turning body is seen, a quarter of a turn each
SIDES = ("from the front", "from the patient's right", "from behind", "from the patient's left")
#: seconds of a cycle whose length nobody knows, as the viewer plays it, and how often an MP4 shows it
CYCLE, LOOPS = 1.0, 3
#: of a surface that turns: so much is seen of the skin before what is inside
SKIN_OPACITY = 0.32

Encoder = Callable[[Sequence[Frame], float, str], bytes]


def slides(frames: Sequence[Frame], milliseconds: float, comment: str) -> bytes:
    """An MP4 of the shape of a slide, 16 : 9."""
    return to_mp4([widened(frame) for frame in frames], milliseconds, comment)


#: what a movie can be, by the end of its file's name
KINDS: dict[str, tuple[Encoder, str]] = {"mp4": (slides, "video/mp4"), "gif": (to_gif, "image/gif")}


def marks_in_words(model: str, origin: str, weights: str) -> str:
    """The line that is burned into every picture; ``origin``: a seed, or that a scan was given."""
    return f"{FOOTER} · {model}, {origin}, weights {weights}"


def ends_of(volume: Volume) -> Ends:
    """What lies at the ends of a scan's axes: left and right, or what its region calls them."""
    return next((region.ends for region in regions() if region.channels == volume.kinds), ENDS)


def turn_movie(
    volume: Volume, mask: Segmentation | None, region: Region | None, title: str, marks: str, kind: str
) -> bytes:
    """A whole turn of the body, its organs within the skin where there is a mask, as a file of a ``kind``."""
    parts, _ = surfaces_of(None, volume, lambda share, text: None, mask, region)
    alone = len(parts) == 1
    bodies = [
        Body(
            part.surface,
            _colour(part.colour),
            (1.0 if alone else SKIN_OPACITY) if part.name == "Skin" else part.opacity,
        )
        for part in parts
    ]
    frames = [
        captioned(frame, f"{title}, {side_seen(k / FRAMES)}", marks)
        for k, frame in enumerate(turned(bodies, TURN, FRAMES))
    ]
    return KINDS[kind][0](frames, TURN_MS, marks)


def side_seen(share: float) -> str:
    """From where a body is seen after this share of a turn.

    >>> [side_seen(share) for share in (0, 0.25, 0.5, 0.75, 0.9)]
    ['from the front', "from the patient's right", 'from behind', "from the patient's left", 'from the front']
    """
    return SIDES[round(len(SIDES) * share) % len(SIDES)]


def sweep_movie(volumes: Sequence[Volume], titles: Sequence[str], marks: str, kind: str) -> bytes:
    """People on one grid one after the other and back again, as slices in one fixed window; each with its title."""
    box, ends = body_box(volumes), ends_of(volumes[0])
    last = max(1, len(volumes) - 1)
    frames = [
        captioned(lettered(volume, box, HIGH, ends), title, marks, k / last)
        for k, (volume, title) in enumerate(zip(volumes, titles, strict=True))
    ]
    return KINDS[kind][0]([*frames, *frames[-2:0:-1]], SWEEP_MS, marks)


def cycle_movie(volumes: Sequence[Volume], titles: Sequence[str], marks: str, kind: str) -> bytes:
    """Cines on one grid, one below the other, a whole cycle at the first one's own rate: a GIF repeats it, an MP4 has it
    :data:`LOOPS` times. The others are shown at the same share of theirs, in the nearest phase."""
    box, first = body_box(volumes), volumes[0]
    ends = ends_of(first)
    seconds = first.cycle or CYCLE
    frames = []
    for phase in range(first.phases):
        share = phase / first.phases
        rows = [
            captioned(lettered(one.at_phase(round(share * one.phases) % one.phases), box, ROW, ends), title, "")
            for one, title in zip(volumes, titles[1:], strict=True)
        ]
        told = f"{titles[0]}, {1000 * seconds * share:.0f} of {1000 * seconds:.0f} ms".removeprefix(", ")
        frames.append(captioned(np.concatenate(rows), told, marks, share))
    return KINDS[kind][0](frames * (LOOPS if kind == "mp4" else 1), 1000 * seconds / first.phases, marks)


#: what a printed table has: of the values that were drawn, and of those that were read beside them
DRAWN = "The table was drawn by a generative model together with the scan; it is not read off it."
READ = (
    "The table was drawn by a generative model together with the scan. Beside it what a network that sees no table reads off the "
    "scan, ± its stated error: the two are different things and may differ."
)


def person_sheet(drawn: Drawn, schema: AttributeSchema, read: Sequence[Mapping[str, str]] = ()) -> bytes:
    """A page for the first of the people shown; of one before and after an edit both. ``read``: what was read off each one's
    scan, by column."""
    both = drawn.people[:2] if drawn.edit is not None else drawn.people[:1]
    names = ["Before the edit", "After the edit"] if drawn.edit is not None else [summary(both[0].attributes)]
    given = dict(drawn.request.given)
    tables = [person_rows(schema, person.attributes, given) for person in both]
    facts = {
        "model": drawn.request.model,
        "seed": str(both[0].seed),
        "steps": str(drawn.request.steps),
        "weights": drawn.digest,
    }
    beside = read[: len(both)] if any(read) else ()
    return printed(
        f"A person who does not exist: {summary(both[0].attributes)}",
        READ if beside else DRAWN,
        [person.volume for person in both],
        names,
        tables,
        facts,
        beside,
    )


def printed(
    title: str,
    about: str,
    volumes: Sequence[Volume],
    names: Sequence[str],
    tables: Sequence[Sequence[dict]],
    facts: dict[str, str],
    read: Sequence[Mapping[str, str]] = (),
) -> bytes:
    """A page with the slices of one person, or of two, and their tables side by side, and beside them what was ``read``."""
    box, ends = body_box(volumes), ends_of(volumes[0])
    pictures = [Picture(name, lettered(one, box, PRINTED, ends)) for one, name in zip(volumes, names, strict=True)]
    lines = table_lines(names, tables, read)
    right = " The patient's right is on the left." if ends == ENDS else ""
    note = f"Associations of the cohort, not causes: nobody's body is foretold.{right}"
    return sheet(title, about, pictures, lines, facts=facts, note=note)


def table_lines(
    names: Sequence[str], tables: Sequence[Sequence[dict]], read: Sequence[Mapping[str, str]] = ()
) -> list[list[str]]:
    """The lines of a printed table, its heads first: what was drawn, what was ``read`` of it, why, and its percentile."""
    alone = len(tables) == 1
    drawn = ["Drawn"] if alone else list(names)
    seen = ["Read off the scan" if alone else f"{name}, read" for name, _ in zip(names, read, strict=False)]
    lines = [["", *drawn, *seen, "", "Percentile in the training cohort"]]
    for rows in zip(*tables, strict=True):
        last = rows[-1]
        place = "" if last["percentile"] is None else f"{last['percentile']:.0f}"
        values = [f"{row['value']} {row['unit']}".strip() for row in rows]
        lines.append([last["label"], *values, *(one.get(last["name"], "") for one in read), last["origin"], place])
    return lines


def turn_of(person: Person, drawn: Drawn, region: Region | None, kind: str) -> bytes:
    """A turn of one of the people shown."""
    marks = marks_in_words(drawn.request.model, f"seed {person.seed}", drawn.digest)
    return turn_movie(person.volume, person.mask, region, summary(person.attributes), marks, kind)


def movie_of_cycle(people: Sequence[Person], drawn: Drawn, kind: str) -> bytes:
    """The cycle of one of the people shown, or of one before and after an edit."""
    names = [summary(person.attributes) for person in people]
    marks = marks_in_words(drawn.request.model, f"seed {people[-1].seed}", drawn.digest)
    titles = ("", *names) if len(people) > 1 else (names[0], "")
    return cycle_movie([person.volume for person in people], titles, marks, kind)


def _colour(text: str) -> tuple[int, int, int]:
    red, green, blue = (int(text[k : k + 2], 16) for k in (1, 3, 5))
    return red, green, blue
