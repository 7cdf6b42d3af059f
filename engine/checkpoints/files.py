"""Where checkpoints of every kind lie: the folder of named ones, finding one, and writing one whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from engine.model.config import FACTOR, ModelConfig
from engine.storage import strict_json
from engine.storage.whole import amended_directory, refusing, settle_all, settled, whole_directory
from engine.vocabulary.refusal import Refusal

#: the ``format`` of config.json: a joint model (:mod:`engine.checkpoints.config`), a ruler (:mod:`engine.measure.ruler`)
JOINT, RULER = "somatwin-checkpoint", "somatwin-measure"
#: and a learned anatomy (:mod:`engine.phantom.atlas.checkpoint`)
ANATOMY = "somatwin-anatomy"
CONFIG, WEIGHTS = "config.json", "weights.safetensors"


class CheckpointError(Refusal):
    """A checkpoint that is missing, damaged, changed or foreign; the message says what to do."""


def directory() -> Path:
    """Where named checkpoints are looked for: ``$SOMATWIN_CHECKPOINTS``, or ``checkpoints`` of the clone."""
    return Path(os.environ.get("SOMATWIN_CHECKPOINTS") or Path(__file__).parents[2] / "checkpoints")


def sizes_of(model: ModelConfig) -> dict[str, Any]:
    """A model's sizes as its file has them: what the first files did not name yet, only where there is some."""
    found = {k: v for k, v in asdict(model).items() if v or k not in ("mask", "detail", "calibrated")}
    if model.mask and not model.mask.atlas:
        found["mask"] = {k: v for k, v in asdict(model.mask).items() if k != "atlas"}
    usual = {"patch": (FACTOR, FACTOR, FACTOR), "reduction": 1}
    found["image"] = {k: v for k, v in asdict(model.image).items() if k not in usual or v != usual[k]}
    if model.detail:
        later = ("classes", "codes", "walls", "mask_steps", "class_widths")
        found["detail"] = {k: v for k, v in asdict(model.detail).items() if v or k not in later}
    return found


def checkpoints(*, scans: bool = False, model: ModelConfig | None = None) -> list[str]:
    """Names of the joint models at hand, in alphabetical order; with ``scans`` but for those of tables only, with ``model``
    those of its sizes, whatever they have to draw rows."""
    settle_all(directory())
    found = {path.parent.name: stated(path) for path in directory().glob(f"[!.]*/{CONFIG}")}
    sizes = model and {**strict_json.parse(strict_json.text_of(sizes_of(model))), "rows": None}
    return sorted(
        name
        for name, config in found.items()
        if config.get("format") == JOINT
        and not (scans and config.get("channels") == [])
        and (sizes is None or {**config.get("model", {}), "rows": None} == sizes)
    )


def find(name: str | Path) -> Path:
    """The directory of a checkpoint given by name or path."""
    for path in (directory() / name, Path(name)):
        place = settled(path)
        if (place / CONFIG).is_file():
            return place
    raise CheckpointError(
        f"there is no checkpoint {str(name)!r}; at hand: {', '.join(checkpoints()) or 'none'}, or give a path"
    )


def stated(path: Path) -> Mapping[str, Any]:
    """What a config.json says, unchecked; nothing where it is none."""
    try:
        found = strict_json.read(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def digest_of(config: Mapping[str, Any]) -> str:
    """What identifies a checkpoint by its config.json as it stands, 12 hexadecimal digits: weights and settings together."""
    said = str(config.get("weights_sha256", "")) + json.dumps(config)
    return hashlib.sha256(said.encode()).hexdigest()[:12]


@contextmanager
def checkpoint_directory(path: Path) -> Iterator[Path]:
    """A hidden sibling to write a checkpoint into; it takes the place of ``path`` when the block ends well.

    Raises :class:`CheckpointError` when the disk refuses, and then ``path`` is what it was.
    """
    with _sentence(path), whole_directory(path) as part:
        yield part


@contextmanager
def amended_checkpoint(path: Path) -> Iterator[Path]:
    """As :func:`checkpoint_directory`, with every file of the checkpoint there already: what is written replaces its like."""
    with _sentence(path), amended_directory(path) as part:
        yield part


@contextmanager
def _sentence(path: Path) -> Iterator[None]:
    try:
        with refusing(path, CheckpointError):
            yield
    except SafetensorError as error:
        raise CheckpointError(f"{path} cannot be written ({error}); free some space or choose another place") from None
