"""A trained model on disk: safetensors weights and JSON, never pickle; whole or not at all; checked when read.

``checkpoints/NAME/`` holds ``weights.safetensors`` (bfloat16, large ones as 8-bit integers:
:mod:`engine.checkpoints.compact`), ``config.json`` (:mod:`engine.checkpoints.config`) and the model card,
``model_card.json`` and ``model_card.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.checkpoints.card import checked_config, read_card, write_card
from engine.checkpoints.compact import compacted, expanded, is_compact
from engine.checkpoints.config import CheckpointConfig
from engine.checkpoints.files import CONFIG, WEIGHTS, CheckpointError, checkpoint_directory, digest_of, find
from engine.cohort.participants import FILE, Participants
from engine.imaging.segmentation import Segmentation
from engine.imaging.volume import Volume
from engine.model.joint import JointModel
from engine.storage import strict_json
from engine.storage.whole import file_sha256
from engine.vocabulary.refusal import RequestError

#: small buffers that stay in single precision
EXACT = (
    *("centre", "rotation", "scale", "image_variance", "table_variance", "table_loadings", "table_centre"),
    *("mask_centre", "mask_rotation", "mask_scale", "mask_variance"),
)
#: tensors that the first checkpoints had not yet
LATER = (
    *("table_centre", "correction", "detail.gain", "detail.grain", "mask_autoencoder.residual"),
    "tissues.told.weight",
)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model with what is known of it: ``digest`` identifies weights and config, ``affine`` is the grid's ijk_to_ras."""

    path: Path
    model: JointModel
    config: CheckpointConfig
    card: dict[str, Any]
    card_markdown: str
    digest: str

    @property
    def affine(self) -> Float[np.ndarray, "4 4"]:
        return self.config.ijk_to_ras

    def on_grid(self, volume: Volume) -> Float[Tensor, "c x y z"]:
        """The voxels of a scan that has the model's channels and grid; raises :class:`RequestError` for any other."""
        image = self.config.model.image
        data = np.asarray(volume.data, np.float32).reshape(-1, *volume.grid)
        if data.shape != (image.channels, *image.grid):
            raise RequestError(
                f"the scan has shape {data.shape}, the model's grid is {(image.channels, *image.grid)}; preprocess it"
            )
        return torch.from_numpy(data)

    def labels_on_grid(self, mask: Segmentation) -> UInt8[Tensor, "x y z"]:
        """The voxels of a segmentation that has the model's classes and grid; raises :class:`RequestError` for any other."""
        config = self.config.model
        if config.mask is None:
            raise RequestError(f"{self.config.name} knows no masks; choose a model that was trained on label maps")
        if mask.classes != config.mask.classes or mask.labels.shape != config.image.grid:
            raise RequestError(
                f"the mask has {len(mask.classes)} classes on a grid of {mask.labels.shape}, {self.config.name} has "
                f"{len(config.mask.classes)} on {config.image.grid}; read it with read_segmentation"
            )
        return torch.from_numpy(np.ascontiguousarray(mask.labels))


def save_checkpoint(
    path: Path,
    model: JointModel,
    *,
    name: str,
    title: str,
    affine: Float[np.ndarray, "4 4"],
    channels: tuple[str, ...],
    preprocess: Mapping[str, Any],
    provenance: Mapping[str, Any],
    guidance: float = 1.0,
    card: Mapping[str, Any] | None = None,
    participants: Participants | None = None,
) -> None:
    """Write a checkpoint into a directory of its own, replacing an older one only when the new one is whole.

    ``guidance`` is the weight that generation uses by default, ``participants`` those whom the weights have seen. Raises
    :class:`CheckpointError` when the disk refuses, or when what is to be said of the model cannot be read again.
    """
    with checkpoint_directory(path) as part:
        tensors: dict[str, Tensor] = {}
        for key, value in model.state_dict().items():
            tensors |= _stored(key, value.detach().cpu().contiguous())
        save_file(tensors, part / WEIGHTS)
        config = CheckpointConfig(
            name=name,
            title=title,
            model=model.config,
            schema=model.schema,
            affine=tuple(tuple(row) for row in np.asarray(affine, float).tolist()),
            channels=channels,
            preprocess=preprocess,
            provenance=provenance,
            guidance=guidance,
            weights_sha256=file_sha256(part / WEIGHTS),
        )
        (part / CONFIG).write_text(strict_json.text_of(config.to_json()), "utf-8")
        write_card(part, {"name": name, "title": title, **(card or {})})
        if participants:
            (part / FILE).write_text(strict_json.text_of(participants.to_json()), "utf-8")


def _stored(name: str, value: Tensor) -> dict[str, Tensor]:
    """A tensor of a model as it stands in its file."""
    if is_compact(name, value):
        return compacted(name, value)
    exact = name.removeprefix("rows.") in EXACT or not value.is_floating_point()
    return {name: value if exact else value.bfloat16()}


def load_checkpoint(name: str | Path, device: str = "cpu") -> Checkpoint:
    """Read and check a checkpoint by name or path.

    Raises :class:`CheckpointError` when a file is missing, the weights' hash differs, or it is of another kind.
    """
    path = find(name)
    try:
        config = checked_config(path)
        _ = config.preprocessing  # needed when a scan is taken in, so it is checked now
        model = JointModel(config.model, config.schema)
        stored = expanded(load_file(path / WEIGHTS))
        later = {k: v for k, v in model.state_dict().items() if k in LATER}
        model.load_state_dict({**later, **stored})
        card, markdown = read_card(path)
        # as it stands, so that a digest stays what it is
        digest = digest_of(strict_json.read(path / CONFIG))
    except CheckpointError:
        raise
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError(f"{path} cannot be read as a checkpoint ({reason}); restore or replace it") from None
    model.requires_grad_(False).eval().to(device)
    return Checkpoint(path, model, config, card, markdown, digest)
