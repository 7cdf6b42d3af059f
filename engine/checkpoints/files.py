"""What every kind of checkpoint shares: where it is looked for, its card, and that it is written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from engine.vocabulary.refusal import Refusal

#: the ``format`` of config.json: a joint model (:mod:`engine.checkpoints.checkpoint`), a ruler (:mod:`engine.measure.head`)
JOINT, RULER = "somatwin-checkpoint", "somatwin-measure"


class CheckpointError(Refusal):
    """A checkpoint that is missing, damaged, changed or foreign; the message says what to do."""


def directory() -> Path:
    """Where named checkpoints are looked for: ``$SOMATWIN_CHECKPOINTS``, or ``checkpoints`` of the clone."""
    return Path(os.environ.get("SOMATWIN_CHECKPOINTS") or Path(__file__).parents[2] / "checkpoints")


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """A hidden sibling to write into; it takes the place of ``path`` when the block ends well, and goes otherwise.

    Raises :class:`CheckpointError` when the disk refuses.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        shutil.rmtree(path, ignore_errors=True)
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{path} cannot be written ({reason}); free some space or choose another place") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_card(path: Path, card: Mapping[str, Any]) -> None:
    """The model card as JSON and, from the same facts, as Markdown."""
    (path / "model_card.json").write_text(json.dumps(card, indent=1), "utf-8")
    lines = [f"# {card['title']} ({card['name']})", ""]
    for key, value in card.items():
        if key not in ("name", "title"):
            lines += [f"## {key.replace('_', ' ').capitalize()}", "", *_markdown(value), ""]
    (path / "model_card.md").write_text("\n".join(lines), "utf-8")


def one_line(value: Any) -> str:
    """A fact on one line.

    >>> one_line({"age": "3.7% missing", "sex": "none"})
    'age 3.7% missing, sex none'
    """
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)


def _markdown(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"* {str(key).replace('_', ' ')}: {one_line(item)}" for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [f"* {item}" for item in value]
    return [str(value)]
