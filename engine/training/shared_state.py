"""The state of a stage as several ranks save it, by torch.distributed.checkpoint: each rank writes a part, in safetensors files,
and any number of ranks reads the whole."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from engine.storage.ranks import Ranks, RanksError, shared_directory
from engine.storage.whole import settled

#: numbers beside the tensors, and as what they are kept
NUMBERS = {"step": torch.int64, "seconds": torch.float64, "done": torch.bool}


def save_shared(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], ranks: Ranks) -> None:
    """The folder ``path``, whole or not at all, written by all ``ranks``; raises :class:`RanksError` on all where one cannot."""
    numbers = {f"meta.{name}": torch.tensor(meta[name], dtype=kind) for name, kind in NUMBERS.items()}
    state = {**{name: value.contiguous() for name, value in tensors.items()}, **numbers}
    try:
        with shared_directory(path, ranks) as part:
            save(state, storage_writer=HuggingFaceStorageWriter(str(part), save_distributed=True))
    except CheckpointException as error:
        rank, (reason, _) = next(iter(sorted(error.failures.items())))
        raise _unwritten(path, f"rank {rank}: {reason}") from None
    except (OSError, SafetensorError) as error:
        raise _unwritten(path, str(getattr(error, "strerror", None) or error)) from None


def _unwritten(path: Path, reason: str) -> RanksError:
    return RanksError(
        f"{path} cannot be written ({' '.join(reason.split())}); free some space, and the same command goes on from the last save"
    )


def shared_step(path: Path) -> int | None:
    """The step of a saved state; None where there is none. Raises as :func:`load_shared`."""
    if not settled(path).is_dir():
        return None
    return int(_read(path, lambda name: name == "meta.step")["meta.step"])


def load_shared(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All tensors of a saved state, on the CPU, and its numbers; raises :class:`RanksError` for a damaged one."""
    tensors = _read(path, lambda name: True)
    meta = {name: tensors.pop(f"meta.{name}").item() for name in NUMBERS}
    return tensors, meta


def _read(path: Path, wanted: Any) -> dict[str, Tensor]:
    try:
        kept = HuggingFaceStorageReader(str(path)).read_metadata().state_dict_metadata
        state = {
            name: torch.empty(facts.size, dtype=facts.properties.dtype)
            for name, facts in kept.items()
            if isinstance(facts, TensorStorageMetadata) and wanted(name)
        }
        with warnings.catch_warnings():  # each rank reads by itself, and means to
            warnings.simplefilter("ignore", UserWarning)
            load(state, storage_reader=HuggingFaceStorageReader(str(path)), no_dist=True)
        return {name: state[name] for name in (*state, *(f"meta.{name}" for name in NUMBERS if wanted(f"meta.{name}")))}
    except (CheckpointException, SafetensorError, OSError, KeyError, ValueError) as error:
        logging.getLogger(__name__).debug("unreadable", exc_info=True)
        reason = " ".join(str(error).split())[:120]
        raise RanksError(f"{path} is damaged or foreign ({reason}); delete it to start this stage again") from None
