"""Every checkpoint at hand by its card and config alone: no weights are loaded, no network is imported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.checkpoints.files import JOINT, digest_of, directory
from engine.storage.whole import file_sha256


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A checkpoint's folder: its ``config`` and ``card`` (empty where unreadable), and whether it draws people."""

    path: Path
    config: Mapping[str, Any]
    card: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def draws(self) -> bool:
        return self.config.get("format") == JOINT

    @property
    def digest(self) -> str:
        """The hash by which every page and file names it; of what measures the start of its weights' own."""
        return digest_of(self.config) if self.draws else self.sha256[:12]

    @property
    def sha256(self) -> str:
        """Of the weights, as they were saved."""
        return str(self.config.get("weights_sha256", ""))

    def intact(self) -> bool:
        """Are the weights on disk still those that were saved? Reads them through."""
        try:
            return file_sha256(self.path / "weights.safetensors") == self.sha256
        except OSError:
            return False


def kept_checkpoints() -> list[Kept]:
    """All checkpoints: models first, then what measures, each in alphabetical order."""
    found = []
    for file in sorted(directory().glob("[!.]*/config.json")):
        found.append(Kept(path=file.parent, config=_read(file), card=_read(file.with_name("model_card.json"))))
    return sorted((kept for kept in found if kept.config.get("format")), key=lambda kept: (not kept.draws, kept.name))


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
