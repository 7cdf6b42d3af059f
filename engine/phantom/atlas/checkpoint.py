"""The learned anatomy of the torso on disk: fields and further tensors, whole or not at all, checked when read.

``checkpoints/anatomy-torso/`` holds ``weights.safetensors`` (:mod:`engine.phantom.atlas.storing`), a typed ``config.json`` with
its version and the weights' hash, and the model card.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.checkpoints.card import write_card
from engine.checkpoints.files import ANATOMY, CONFIG, WEIGHTS, CheckpointError, checkpoint_directory, directory
from engine.phantom.atlas.config import FieldConfig, GridConfig
from engine.phantom.atlas.field import LabelField
from engine.phantom.atlas.storing import restored, stored
from engine.storage import strict_json
from engine.storage.whole import file_sha256, settled
from engine.vocabulary.refusal import ConfigError

NAME = "anatomy-torso"
VERSION = 1
REMEDY = "restore it, or make it with somatwin train anatomy FOLDER"
FIELDS, EXTRAS = "fields.", "extras."


@dataclass(frozen=True, kw_only=True, eq=False)
class Anatomy:
    """The ``fields`` by name, further tensors (``extras``, such as a basis of skins) by name, the model card, and the start of
    the SHA-256 of the weights."""

    fields: Mapping[str, LabelField]
    extras: Mapping[str, Tensor]
    card: Mapping[str, Any]
    digest: str


def shipped() -> Path:
    """Where :func:`load_anatomy` looks when it is given no path."""
    return directory() / NAME


def save_anatomy(
    path: Path,
    fields: Mapping[str, LabelField],
    extras: Mapping[str, Tensor],
    card: Mapping[str, Any],
    about: Mapping[str, Any],
) -> None:
    """Write an anatomy, whole or not at all; ``about`` says where it comes from and what its figures are.

    Extras are kept in their own precision. Raises :class:`CheckpointError` when the disk refuses, :class:`ConfigError` for a
    field whose name has a dot.
    """
    if dotted := [name for name in fields if "." in name]:
        raise ConfigError(f"a field is named {dotted[0]!r}; give names without dots")
    tensors = {f"{EXTRAS}{name}": value.detach().cpu().contiguous() for name, value in extras.items()}
    for name, field in fields.items():
        tensors |= {f"{FIELDS}{name}.{key}": value.contiguous() for key, value in stored(field).items()}
    with checkpoint_directory(path) as part:
        save_file(tensors, part / WEIGHTS)
        config = {
            "format": ANATOMY,
            "version": VERSION,
            "name": NAME,
            "fields": {name: asdict(field.config) for name, field in fields.items()},
            "provenance": dict(about),
            "weights_sha256": file_sha256(part / WEIGHTS),
        }
        (part / CONFIG).write_text(strict_json.text_of(config), "utf-8")
        write_card(part, card)


def load_anatomy(path: Path | None = None) -> Anatomy:
    """Read and check an anatomy: the shipped one, or that in the folder ``path``; once a process while its files stay as they
    are.

    Raises :class:`CheckpointError` when it is missing, damaged, of another kind or version.
    """
    folder = settled(shipped() if path is None else path)
    config = folder / CONFIG
    if not config.is_file():
        raise CheckpointError(f"there is no learned anatomy at {folder}; {REMEDY}")
    return _loaded(folder, config.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _loaded(folder: Path, changed: int) -> Anatomy:
    del changed  # an anatomy that was replaced is read again
    try:
        return _read(folder)
    except CheckpointError:
        raise
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, AttributeError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError(f"{folder} cannot be read as a learned anatomy ({reason}); {REMEDY}") from None


def _read(folder: Path) -> Anatomy:
    said = strict_json.read(folder / CONFIG)
    if not isinstance(said, dict) or said.get("format") != ANATOMY:
        raise CheckpointError(f"{folder} is no learned anatomy; {REMEDY}")
    version = said.get("version")
    reader = READERS.get(version) if isinstance(version, int) else None
    if reader is None:
        known = ", ".join(map(str, READERS))
        raise CheckpointError(f"{folder} has anatomy version {version}, this program reads {known}; update Somatwin")
    digest = file_sha256(folder / WEIGHTS)
    if digest != said["weights_sha256"]:
        raise CheckpointError(f"the weights in {folder} are not those it was saved with; {REMEDY}")
    tensors = load_file(folder / WEIGHTS)
    return Anatomy(
        fields={name: restored(config, _part(tensors, f"{FIELDS}{name}.")) for name, config in reader(said).items()},
        extras=_part(tensors, EXTRAS),
        card=strict_json.read(folder / "model_card.json"),
        digest=digest[:12],
    )


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _version_1(said: Mapping[str, Any]) -> dict[str, FieldConfig]:
    """The fields' sizes; unknown keys are refused by TypeError."""
    found = {}
    for name, sizes in said["fields"].items():
        given = {key: tuple(value) if isinstance(value, list) else value for key, value in sizes.items()}
        found[name] = FieldConfig(**{**given, "grids": tuple(GridConfig(*grid) for grid in given["grids"])})
    return found


#: what reads the fields' sizes in each version of ``config.json``
READERS: dict[int, Callable[[Mapping[str, Any]], dict[str, FieldConfig]]] = {1: _version_1}
