"""A ruler on disk: weights, settings and card of what measures scans, checked when they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from engine.checkpoints.card import write_card
from engine.checkpoints.files import RULER, CheckpointError, checkpoint_directory
from engine.storage import strict_json
from engine.storage.whole import file_sha256

VERSION = 1


@dataclass(frozen=True, eq=False)
class StoredRuler:
    """What :func:`read_ruler` found: the ``config``, the ``weights`` by name, the ``card``, the ``digest`` of the weights."""

    path: Path
    config: dict[str, Any]
    weights: dict[str, Tensor]
    card: dict[str, Any]
    digest: str

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Whatever the block cannot make of the contents becomes a :class:`CheckpointError`."""
        with _sentence(self.path):
            yield


def read_ruler(path: Path, name: str) -> StoredRuler:
    """Read the ruler ``name`` from the folder ``path`` and check that its weights are those it was saved with.

    Raises :class:`CheckpointError` when it is missing, of another kind, or was changed.
    """
    if not (path / "config.json").is_file():
        raise CheckpointError(f"there is no {name} at {path}; restore the folder {name} beside the other checkpoints")
    with _sentence(path):
        stored = strict_json.read(path / "config.json")
        if not isinstance(stored, dict) or stored.get("format") != RULER or stored.get("version") != VERSION:
            raise CheckpointError(f"{path} is not a Somatwin measure of version {VERSION}; restore or replace it")
        if stored.get("name") != name:
            raise CheckpointError(f"{path} holds {stored.get('name')}, not {name}; restore or replace it")
        digest = file_sha256(path / "weights.safetensors")
        if digest != stored["weights_sha256"]:
            raise CheckpointError(f"the weights in {path} are not those it was saved with; restore or replace it")
        weights = load_file(path / "weights.safetensors")
        card = strict_json.read(path / "model_card.json")
    return StoredRuler(path, stored, weights, card, digest[:12])


def write_ruler(path: Path, name: str, about: Mapping[str, Any], net: nn.Module, card: Mapping[str, Any]) -> None:
    """Write a ruler, weights as bfloat16, whole or not at all; ``about`` are its settings and where it comes from.

    Raises :class:`CheckpointError` when the disk refuses.
    """
    with checkpoint_directory(path) as part:
        tensors = {k: v.detach().cpu().bfloat16().contiguous() for k, v in net.named_parameters()}
        save_file(tensors, part / "weights.safetensors")
        digest = file_sha256(part / "weights.safetensors")
        config = {"format": RULER, "version": VERSION, "name": name, **about, "weights_sha256": digest}
        (part / "config.json").write_text(strict_json.text_of(config), "utf-8")
        write_card(part, card)


def fields(part: Mapping[str, Any]) -> dict[str, Any]:
    """Stored settings as a dataclass takes them: JSON's lists are tuples.

    >>> fields({"window": [80, 112], "spacing": 2.0})
    {'window': (80, 112), 'spacing': 2.0}
    """
    return {key: tuple(value) if isinstance(value, list) else value for key, value in part.items()}


@contextmanager
def _sentence(path: Path) -> Iterator[None]:
    try:
        yield
    except CheckpointError:
        raise
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, AttributeError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError(f"{path} cannot be read as a measure ({reason}); restore or replace it") from None
