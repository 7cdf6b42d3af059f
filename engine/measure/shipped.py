"""Which ruler measures which region, and the shipped one of each."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from engine.anatomy.head import HEAD
from engine.anatomy.heart import HEART
from engine.anatomy.region import Region
from engine.anatomy.torso import TORSO
from engine.checkpoints.files import directory
from engine.measure.head import HeadMeasure
from engine.measure.heart.ruler import HeartMeasure
from engine.measure.ruler import Ruler
from engine.measure.torso import TorsoMeasure

RULERS: dict[str, type[HeadMeasure] | type[TorsoMeasure] | type[HeartMeasure]] = {
    HEAD.ruler: HeadMeasure,
    TORSO.ruler: TorsoMeasure,
    HEART.ruler: HeartMeasure,
}


def load_ruler(region: Region, path: str | Path | None = None) -> Ruler:
    """The ruler of a region: the shipped one, or that in the folder ``path``; read once while its files stay as they are.

    Raises :class:`engine.checkpoints.files.CheckpointError` when it is missing, of another kind, or was changed.
    """
    folder = shipped(region) if path is None else Path(path)
    config = folder / "config.json"
    return _loaded(region.ruler, folder, config.stat().st_mtime_ns if config.exists() else 0)


def shipped(region: Region) -> Path:
    """Where :func:`load_ruler` looks when it is given no path."""
    return directory() / region.ruler


@lru_cache(maxsize=4)
def _loaded(name: str, folder: Path, changed: int) -> Ruler:
    del changed  # a ruler that was replaced is read again
    return RULERS[name].load(folder)
